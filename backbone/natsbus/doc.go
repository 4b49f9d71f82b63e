// Package natsbus is a client of NATS JetStream for the backbone's broker transport. It needs a server of version 2.14.5
// or newer.
//
// # What is what at the server
//
// A topic is a stream. Its name is the topic's, with '.' as '_' and what a name may not hold in hexadecimal (orders.eu
// is orders_eu), behind ClientConfig.Prefix. A message's subject is STREAM.PARTITION.TYPE.VERSION: an event
// shop.orders.Placed.v2 of partition 3 is published to orders_eu.3.shop_orders_Placed.v2, so an exact type and one in any
// version (shop.orders.Placed.v*) are both filters of the server. The number of partitions stands in the stream's
// metadata. The stream keeps its messages in files for ClientConfig.MaxAge, whether somebody has read them or not. A full one
// refuses; none can be deleted or purged. MaxAge must be below the window of the inboxes, since that is how old a copy can
// be. What a group has not read by then is gone from here; it is in the log. A stream that exists with other settings is
// refused, and each setting is named.
//
// A group is a position a topic and partition, in the stream PREFIX=positions. It holds the number of the event up to
// which everything is settled, that event's id, some earlier ones of the same kind, and the name of the consumer that
// reads. It is written by compare and swap. Join writes the first one, so a group from now misses nothing that is published
// afterwards. What a group takes is said by each Receive and kept nowhere; a type that is added comes from the group's
// position on. A group that is not wanted any more leaves its positions, some hundred bytes each, until somebody deletes
// them by hand.
//
// The position is not left to a durable consumer of the server. Such a consumer delivers what was not acknowledged in time
// behind what is newer, so it has to be made anew to begin at its oldest unsettled message, and in between its position
// would be nowhere. It forgets confirmed acknowledgements when the server is killed. And it knows a number only: where a
// server has lost the end of a stream, it gives the same numbers to other events, and whether the consumer is set back
// before that is up to the server (2.15 does it when it starts). So the consumers here ask for no acknowledgements, and a
// handler has no deadline at the server: how long it may take is a matter of leases alone.
//
// # Receiving
//
// Who receives a partition writes its name into the positions, takes away the consumer of the one before it, and makes a
// consumer of its own, in the server's memory, that begins behind the position. Dying anywhere on this way moves no
// position. Whoever had the partition can write no position any more, gets no further message, and asks before it hands
// out what it still holds if it has not asked within two seconds. Numbers of the consumer show whether a message is
// missing; then, as after a lost connection, Receive returns an error, and the next one begins behind the position again.
//
// Done is counted here. The position is written at once, then every second, and when Receive ends: after a clean end
// nothing comes again but what was not settled and what follows it; after a crash, a second's worth more. What was settled
// out of order, behind a message that was not, comes again with it: the inbox drops it. Redelivered is exact after a clean
// end; after a crash it is not said of what was handed out in the last second.
//
// Where the event at the position is not the one that was settled, the server has lost the end of the topic (or all of
// it). The group then goes back to the newest event of its position that the topic still holds, and to the first message
// where there is none.
//
// A group that is Whole reads all partitions of a topic by one consumer, in the order in which the topic has them, which
// is one order. Topics have no order among each other.
//
// # Sending and order
//
// Messages of one Send go to their topics as ordered batches of the server ("fast" batches, with gaps refused). In one of
// those nothing is stored behind a message that was refused, because of its size, a full stream or a server that is too
// busy, or that never came: what is stored of a batch is a first part of it. So the order of a partition holds when the
// caller sends everything again from the first message that was not confirmed. What breaks it is to send on behind an
// error instead, or to send a partition's messages in two calls at once. At most a thousand messages of a batch are
// unconfirmed: beyond that it goes on as the server says that it has stored.
//
// Where the server flushes every message (ClientConfig.Flushed), batches are atomic instead: such a one is stored as a whole
// or not at all, and flushed once, which is ten times as fast there.
//
// No message carries an id by which JetStream would drop copies: what is published again, because its first was lost, is
// stored again.
//
// # What a server on its defaults may lose
//
// NATS confirms a message when it has written it, and flushes every two minutes unless sync_interval is always. A server
// that is killed loses nothing by that; a machine without power loses the end of its streams. The client allows it, since
// the log has everything: Holds compares the id of the event under an anchor's number, and the time at which the stream
// was made, so a lost end and a stream that was made again are both seen, and the log is published again from there.
// Positions can be lost in the same way; then more comes again. A stream of positions that is lost altogether, as can
// happen to one that was just made, takes its groups along: Receive says that the group does not exist.
package natsbus
