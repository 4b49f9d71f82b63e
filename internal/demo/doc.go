// Package demo runs a mall that lives: people order in its online store and walk through its supermarket, on throw-away data,
// until somebody has seen enough or so many orders were placed. Then Check looks at what the mall has kept, from outside of its
// services, and says what does not add up.
//
// What people do follows from a seed. With chaos the mall runs as a process of its own that is killed and started again, its
// services are paused, gates lose and double their messages, and the payment provider fails; what must hold is the same. On PostgreSQL
// every service and gateway is a process of its own, and chaos kills each in turn.
package demo
