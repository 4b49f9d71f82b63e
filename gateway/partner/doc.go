// Package partner is the way in and out for third parties that speak through a broker: orders come in from there, and
// every order that is placed anywhere goes out there.
//
// Open takes the addresses of brokers. Service is the service of the gateway, which stands on the map beside the others;
// Run takes messages in until its context ends; Close ends the connections. What a broker's client does stands in one
// small file each (rabbitmq.go, kafka.go, nats.go), behind the interface broker.
//
// In: the exchange, topic or subject "orders", with bodies such as {"id":1,"item":"Laptop","quantity":1}. A body is read
// strictly, item is looked up in the catalogue, which says the price, and the rest is the service's to decide. A message
// is acknowledged when what was decided is durable, whatever it was: what is refused is kept, so that it is lost neither
// here nor there.
//
// Out: the same shape on the same name, one message an item, and on "order.placed" one message an order. They go out as
// calls: rows first, confirmed by the broker, under ids that stay the same when they are sent again. They carry a mark,
// by which they are passed over on the way in, also those of another mall.
//
// The service:
//
// Decides: once for each order of a partner, whether it is taken; what an order looks like to partners.
//
// Keeps: a stream for each order, taken from a partner or announced to them, under the order's id; a stream for each
// message that no order could be read from, under a hash of it; the saga placing.
//
// Handles: TakePartnerOrder and RefusePartnerMessage from the gateway; AnnounceOrder, RefusePartnerOrder and
// RecordUnpublished from itself.
//
// Subscribes: to orders.OrderPlaced, from when it first runs.
//
// Refuses: nothing; a refusal is an event with its cause (OrderRefused, MessageRefused), since nobody waits for an answer.
package partner
