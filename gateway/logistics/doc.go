// Package logistics is the way to the message bus of the logistics department: a connection of its own, to an MQTT server
// that belongs to somebody else.
//
// Out: RestockNeeded, for each purchase once it is confirmed by the bus, and RestockCanceled, when it is not wanted any more.
// A purchase that is in doubt is sent again with the same purchase_id.
//
// In: delivery-notice and purchase-canceled. A notice is acknowledged when what was decided is durable, and answered with a
// receipt, so that a supplier whose bus forgets can send it again. The same delivery_id again is a copy.
package logistics
