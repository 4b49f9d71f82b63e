// Package bench puts load on a mall as its users would, through its ways in, and
// says what came of it. The load and the mall are processes of their own on one
// machine, so what the client needs is counted against what the mall can do, but
// not as the mall's own cost.
//
// Orders is the full path of an order; with Beside it measures Handwritten in the
// same run, the same order without events, and with Apart it has each part of the mall in a
// process of its own, on databases that are given to it; with Kiosk it begins with a basket. Departures, Robots and
// Sockets do the same for gates, robots and the screens of staff. Depth gives that load to malls with a
// short and a long log. Rebuild makes a view again from a long log. Backlog, Lanes
// and Delivery run services of their own in this process: what joins late, what is
// slow, and how soon an event is handled elsewhere.
//
// Each works on throw-away data in os.TempDir and removes it; Apart leaves what it was given. Each compares what was
// kept with what must be there: a result with Violations has no figures. A log that
// must be long is filled by fill, always with the same orders, so that the sums over
// it are known. What must be measured alone runs as a process of its own: runPart,
// startProcess.
package bench
