// Package membus is a transport in the memory of one process, for tests and for
// trying the backbone. It behaves as a broker does: a relay publishes to it,
// subscriptions have queues, what is not acknowledged comes again, and copies can
// be asked for (Config.Copies).
//
// What it does not do: nothing survives the process, and other processes do not
// see it. Two Subscribe calls of one name share the subscription's slices as two
// processes at a broker would. A subscription may begin at the first record as
// long as the Bus still retains it, and is refused otherwise. Publish waits when
// a subscription's queue is full, so memory is bounded and a subscription that
// nobody works stops the sources it takes from.
package membus
