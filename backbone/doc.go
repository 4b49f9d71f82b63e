// Package backbone carries events between services so that nothing is lost,
// nothing takes effect twice, and everything can be seen and replayed.
//
// # A service is a table
//
// A Service is one value: the commands that it decides, the events that it
// subscribes to, the sagas, timers and calls that it runs, the views that it
// keeps. A Runtime reads the table to run it.
//
//	var account = &backbone.Aggregate[State]{
//		Name:   "account",
//		Public: []backbone.Event{Opened{}, Paid{}},
//		Evolve: evolve,
//	}
//
//	func Service() *backbone.Service {
//		return &backbone.Service{
//			Name:    "accounts",
//			Handles: []backbone.Handler{backbone.Decide(account, open), backbone.Decide(account, pay)},
//		}
//	}
//
// # Decisions are pure
//
// decide(state, command) -> events and evolve(state, event) -> state know no
// clock, no network and no database. A decision that will not do what a command
// says returns a Refusal, which is recorded as the command's answer like any other.
//
// # One transaction a batch
//
// Everything that follows from a message (its record as handled, events, commands,
// answers, timers, calls, the service's own rows) commits together: that makes its
// effects happen once. Many messages share one commit: that makes it fast. A
// message that fails hurts none of its neighbours.
//
// # The log is the truth
//
// Each service appends to a log of its own in its database (driver.Store); a
// driver.Transport carries it to those who subscribed. The log is event store,
// outbox, audit trail and source of every rebuild.
//
// # Failure is data
//
// A message that fails is parked with its cause, and those of the same key queue
// up behind it while all others flow. Redrive, edit and discard are requests, each
// with who and why.
//
// # Where to look
//
// Event, Command, Aggregate, Decide and DecideMany make decisions; Whenever and On
// react; Saga runs a process over several services; View shows; CallTo reaches the
// outside; New, Runtime.Start and Runtime.Do run it all. Package backbonetest tests
// it in a line. Databases are in sqlitestore and pgstore, transports in logbus, membus,
// natsbus, rabbitbus and kafkabus, metrics and traces in telemetry. Runtime.Ready,
// Pause, Parked, Redrive and Rebuild are for those who operate it.
//
// docs/guides/a-program-of-your-own.md builds a whole program, from main to its tests.
package backbone
