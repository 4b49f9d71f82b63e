// Package broker makes a transport of a message broker: Bus implements driver.Transport over a Client, which is all that
// the client library of one broker has to do. What every broker needs alike is written here once.
//
// Each service has a topic for its events (NAMESPACE.SERVICE) and one for what is addressed to it
// (NAMESPACE.SERVICE.commands), each divided into partitions by the hash of the stream. A subscription is a group at the
// broker; which process works which partition is settled by leases in the subscription's own database, one arbiter for all
// brokers, and every effect is guarded by the epoch of its partition (Delivery.Guard), so that a process that was paused
// past its lease can do nothing more. The inbox absorbs copies.
//
// Within a partition, the messages of a slice are handed over in order; what is handed back comes again before what follows
// it (line). A message is settled at the broker when its effect is committed, in whatever order that happens.
//
// What was committed before a group existed is read from the owner's log (partition.catchUp), so that a subscription can
// begin at the first record whatever the broker has kept.
//
// At a clean end nothing more is handed over, what is in flight is finished and settled, and only then receiving ends, so no
// handler sees a message twice because of it (subscription.revoke).
package broker
