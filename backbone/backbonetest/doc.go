// Package backbonetest tests services that are built on backbone: decisions in a
// line, and whole systems of services in process under a clock that the test turns.
//
// A decision is a history, a command and what follows:
//
//	backbonetest.Given(t, accounts.Service(), event.Opened{Owner: "C1"}).
//		When(command.Pay{Account: "A1", Amount: 5}).
//		Then(event.Paid{Amount: 5})
//
// A World runs services on a database of the test's own:
//
//	w := backbonetest.Start(t, backbonetest.Config{Parts: []*backbone.Service{accounts.Service(), books.Service()}})
//	w.Do(t, command.Pay{Account: "A1", Amount: 5})
//	w.Clock.Advance(24 * time.Hour)
//	w.Settle(t)
//
// Nothing waits by the clock on the wall: Settle counts what is in flight, and Pass
// lets days go by in a moment. Restart and Crash end the services and begin them again
// on the same database.
//
// World.Interleave plays a process over several services in an order that a source of
// choices gives: answers come late, twice and out of order.
package backbonetest
