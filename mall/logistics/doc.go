// Package logistics minds refilling: what is bought, where it is sent, what came.
//
// Decides: that a SKU which runs low is bought, once for each RestockNeeded; whether a delivery is new; how much of a purchase is
// still open.
//
// Keeps: a stream for each purchase, under the id of the RestockNeeded that asked for it.
//
// Handles: AcceptDelivery, CancelPurchase; its own ProposePurchase and RecordSending.
//
// Subscribes: to inventory.RestockNeeded.
//
// Refuses: purchase_unknown, wrong_sku, purchase_over.
//
// A purchase goes out as a call (interface Bus) to the message bus of the logistics department. It is tried for a week; then it is
// cancelled, which re-arms the threshold. What comes after a purchase was cancelled is received all the same: it is there.
package logistics
