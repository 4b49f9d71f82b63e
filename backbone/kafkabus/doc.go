// Package kafkabus speaks to a cluster over the Kafka protocol, for what backbone/internal/broker makes of it.
//
// Apache Kafka itself was not run: the tests run against kfake, the server that comes with the client library
// (franz-go), and compare with kcat (librdkafka), a client that shares no code with it. What is said here of brokers
// that fail over, of replicas and of leader epochs follows Kafka's documentation and was not provoked.
//
// # What maps to what
//
// A topic is a topic, of that name, and its partitions are the partitions. It is made by DeclareTopic, never by a
// cluster's own accord, with a replication factor of 3 (or as many as there are brokers), min.insync.replicas 2, no
// unclean elections, no compaction, no retention by size, and seven days of retention by time. One that exists keeps its
// settings and is refused where they lose messages. Kafka takes two names that differ in '.' and '_' only for the same.
//
// A message is a record: the key is the stream, the headers ce_NAME are the attributes, content-type is that of the data
// (binary mode of the CloudEvents Kafka protocol binding). A record whose content-type begins with application/cloudevents
// is an event in structured mode and is handed over as it is.
//
// A group is a name under which places (offsets) are committed. It has no members at the cluster: which process works a
// partition is decided above, by one arbiter for all transports, and the partition is then consumed directly. Tools see
// the group and its lag, as an empty one; its places may be moved with them, which ends what receives and lets it begin
// there. A group is new in a partition in which it has no place: Join commits the end, or the beginning. Places are gone
// after offsets.retention.minutes (seven days in Kafka) without a commit, which is why Check asks that they be kept no
// shorter than the messages. A cluster deletes the places together with a topic: a client that had joined the topic that
// was made again begins with its first message, but one that was started since cannot know, and goes by FromFirst.
//
// Kafka filters nothing. Types are looked at here, before the caller has work with what it does not take, and what is
// left out counts as settled. Backlog counts it.
//
// Where nobody is a member no handler is too slow for the cluster: there is no max.poll.interval.ms, and how long one may
// take is a matter of leases alone.
//
// Settling moves the group's place over what is settled without a gap, and that is committed once in ClientConfig.CommitEvery
// and at the end of Receive. So after a clean end nothing that was settled comes again; after a killed process what was
// settled in the last moments does, and everything behind the first message that was not.
//
// An anchor's identity is the topic's id, and its sequence the offset and 1; Holds reads the record there and compares
// the ids of the messages.
//
// # Order
//
// Within a partition of a topic the order is that of sending. One idempotent producer publishes, with acks=all; where it
// gives up a record it gives up everything that waits for the same partition, and where a broker has lost what it had
// confirmed it stops, so that nothing that follows is taken. A broker that has forgotten the producer too would take it:
// so behind a lost connection Send looks for the last message that the partition has confirmed to this client, before it
// publishes, and returns ErrLost, once, where that is gone. Whoever publishes goes back to an anchor that holds then.
//
// What is known to break the order, or to come twice:
//
//   - A record that the cluster refuses for itself alone, while the last records of the same Send are still being
//     buffered: those may be confirmed. Sizes, partitions and topics are therefore looked at before the first is sent.
//   - Send tries again with a new producer, so what was on its way twice is there twice: the first of each in order.
//   - A broker that forgets both its tail and the producer while a request is on its way takes that request. Send sees it
//     by the offset, too late for whoever has received it meanwhile.
//   - There is no order across partitions, nor across topics. A Whole group has one receiver of all partitions, and gets
//     them in turns: the order is that of each partition, not one of all.
//   - More partitions, added by hand, move keys. DeclareTopic keeps what is there, and never adds one.
//
// A receiver that was stopped for a while and replaced is found out when it commits, by the name that stands in the
// commit: it ends with ErrTaken and does not set back the group's place. Kafka has no lock for commits without members,
// so between the look and the commit a moment remains in which it does; then settled messages come again, and none is
// passed over, because nobody ever commits behind something that he has not settled.
//
// # When places are not there
//
// Receive ends with ErrGap where retention has passed the group, with ErrNoPlace where the group has none, and with
// ErrLost where the partition is now shorter than what was received. The last one heals with the next Receive, which
// begins where the partition's leader says that its log agrees; the first two need somebody to decide, with
// kafka-consumer-groups --reset-offsets or with Join.
//
// # Connections
//
// The library holds two or three connections to a broker for each of: what is asked, what is published, what a group
// receives, and each Tap while it lasts. One consumer serves all partitions of a group: 16 partitions that are received
// and published to take 9 connections to one broker. A cluster that does not
// answer is an error of every method after ClientConfig.Patience and some moments. Receive does not end for less.
package kafkabus
