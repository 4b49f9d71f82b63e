// Package rabbitbus speaks to RabbitMQ, from version 3.10 on, in its own protocol, AMQP 0-9-1.
//
// # What is what at the server
//
// A topic is a durable topic exchange of its name. A message's routing key is its partition, a dot and its type:
// 3.souk.orders.OrderPlaced.v1. How many partitions a topic has, and which one it is, a random identity, stands in the
// messages of a marker, the queue topic:NAME. The marker is made before the exchange and under a lock, so that a topic
// has one identity however many processes declare it at once, and keeps its partitions.
//
// A group has a durable quorum queue a partition, GROUP.0 and so on, bound to the topics of its inputs. Types become
// routing patterns, in which a type that ends in ".v*" is every last word. A whole group has the one queue GROUP.0, to
// which the messages of all partitions come, in the order in which the server routes them: the total order of one
// publisher who waits for each Send, and the order of each partition in any case. What a group is bound to is noted in
// the queue group:NAME, since the server tells that only to operators; so a type that an input no longer names comes no
// more. A group keeps its partitions. It begins with what is published from when it is joined; a new group that is to
// begin with the first message is refused (ErrNoPast), as RabbitMQ keeps nothing for groups to come.
//
// That a group is bound as it is to be is said by seals, one for each of its topics: the exchanges bound:NAME:HASH, of
// which the hash is of all that is to be bound. A seal is bound to the exchange of its topic and deletes itself, so that it
// goes with that exchange. That a queue is the one that was made for the group is said by its mark, the exchange
// queue:GROUP.0 and so on, which goes with the queue in the same way. Who joins and finds the queues, their marks, the
// marker and the seals asks for them and does nothing else, which is what every process but the first does. Otherwise it
// takes the lock, removes the seals, binds, and makes them.
//
// The lock is an exclusive queue, lock:..., which goes with the connection of its holder. souk.dead is an exchange and
// a queue, a safety net only: nothing gets there unless somebody limits by a policy how often a message is delivered or
// how old it may become.
//
// # Sending
//
// Messages are persistent and published on one channel, with 500 unconfirmed at most. The channel and a quorum queue
// keep the order. Two connections are used, since a server that is short of memory or disk stops reading from those that
// publish, which must not hold acknowledgements up; Send then fails after ten seconds, or when its context ends.
//
// A message that no queue takes is confirmed and gone. That is no loss where it is an event that no group has asked
// for. In a topic whose name ends in ".commands" it is an error, since a command has an addressee.
//
// # Receiving
//
// The queues have a single active consumer: a second receiver of a partition waits until the first is gone, and a
// process that stands still keeps its partitions until it has missed its heartbeats, ten to fifteen seconds. What a
// receiver has not settled is at the head of the queue again, in its order and marked as redelivered, whether its
// channel was closed, its process killed or the server. That holds because all receivers ask for the same number of
// messages at once (broker.Window), which is never less than what can come back, and because the consumer is never
// cancelled while messages of its are unsettled, which would let the next one begin behind them.
//
// Settling gathers for ten milliseconds and acknowledges in one word what lies before the oldest message that somebody
// works on, and the others one by one. The server does not answer acknowledgements, and a channel that is closed may
// forget some; so a receiving that ends waits until the queue has them. After a clean end nothing settled comes again;
// after anything else, some of what was settled last may.
//
// A handler that takes longer than the server waits for an acknowledgement (consumer_timeout, half an hour by default)
// costs its partition the channel: what was in hand comes again over the next one, is known, and settled there.
//
// # Anchors
//
// RabbitMQ numbers nothing and does not tell whether it still has a message. An anchor names the topic's identity, so it
// holds for as long as topic and server are the ones that confirmed it. It does not notice messages that were lost from
// a queue. A queue that is gone altogether is an error of Receive; the next Join makes it again and gives the topics of
// the group another identity, so that whoever publishes goes back. It does so too where the mark of a queue is gone: then
// somebody has deleted the queue and made another of its name, to which nothing comes. That the identity is still to be
// given is noted before the queue is made, for the case that whoever does so ends in between.
//
// # CloudEvents
//
// There is no binding for AMQP 0-9-1. As that for AMQP 1.0 has it, an attribute is a header cloudEvents_NAME; the other
// prefix, "cloudEvents:", is understood as well; datacontenttype is the property content-type. The properties
// message-id and type repeat the event's, for operators.
//
// # What breaks order, or loses messages
//
//   - A policy that limits the length of a group's queues: the queues are declared to refuse what is too much, so
//     nothing is dropped, but a message may be refused and a later one of the same Send taken.
//   - A policy with delivery-limit or message-ttl on the queues of groups moves messages to souk.dead. Check finds a
//     limit of deliveries that applies to queues of any name.
//   - Other programs that consume from the queues, bind or unbind them, publish to them directly, or delete a queue and
//     make it again as it was not.
//   - RabbitMQ 3.10 writes the name of a new quorum queue to disk some three seconds late. If the server is killed within
//     them, the queue is there afterwards and answers nothing, and what it held is lost: methods fail with the server
//     not having answered. Delete the queue and join again.
package rabbitbus
