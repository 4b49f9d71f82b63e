// Package bench puts souk's transports and relay beside the clients that they are made of, and beside Watermill.
//
//	make bench-transports                                  all of it at full size
//	cd bench && go test -run TestFigures -v .              a smoke, in a minute
//	cd bench && go test -run TestFigures -v . -args -h     what can be chosen
//
// # Method
//
// For each broker one server is started, and everything is measured on it, in one process, in turns: each round measures
// each contender one after the other, beginning with another one each time, and the median of the rounds counts. Beside it
// stand the least and the greatest. What souk is of another is taken round by round. The server shares the machine with
// the clients. CPU and allocations are those of the measuring process.
//
// What is sent is a JSON object of 256 bytes. souk sends it in its envelope, a CloudEvent of sixteen attributes; "raw" sends
// the same body with the same attributes as headers, and Watermill with the same as metadata, so all three put the same
// bytes on the wire but for Watermill's own id. "bare" is the raw client with the body alone. "raw" has one consumer, on
// RabbitMQ one queue; "raw, 8 partitions" has the layout of souk, without which the order of a stream ends where several
// processes receive. Watermill has its defaults, with persistent messages, quorum queues and confirmations, which the
// others have too; "Watermill, tuned" does not wait for acknowledgements, and has a pool of channels and a larger prefetch.
//
//   - publish, 64 callers: each publishes one message, waits for its confirmation, and goes on, for a fixed time.
//   - publish, hundreds: one caller publishes 512 messages, waits for all confirmations, and goes on. Watermill waits for
//     each message of a call before it publishes the next; that is its interface.
//   - consume: a topic is filled (with the raw client where that is faster), then it is read to its end by a handler that
//     counts. The rate is that behind the first fifth, when all partitions are received.
//   - 16 lanes: the same with a handler of 10 ms and 16 at once; 1,600 a second is all there is. souk keeps the order of
//     each stream meanwhile, the others do not.
//   - latency: from the call that publishes to the end of the handler, at 200 messages a second.
//   - backlog: consume with a large backlog, as a share of the rate with a small one.
//
// souk is its transport through driver.Transport: Publish, and Subscribe with a sink that settles each message behind its
// handler. The database of its subscriptions is used for the leases of the partitions alone; what the inbox in the effect's
// transaction costs is not in these figures, and neither of the others has one.
//
// The relay is measured from a log that is full to the last confirmation: souk's own, one written by hand with the same
// bytes (relayByHand), and Watermill's forwarder over its outbox in SQL. Its latency is that from the return of a commit to a
// plain subscriber of the broker, at 200 commits a second.
package bench
