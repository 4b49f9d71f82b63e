// Package orders minds the life of an order and runs the checkout.
//
// Decides: how far an order is: pending, backordered, approved, picking, ready, completed, or rejected, expired,
// cancelling, canceled. testdata/transitions.txt lists every step that there is.
//
// Keeps: a stream for each order; the saga checkout (authorize customer, reserve stock, confirm payment, approve, commit
// stock); the view feed, inline, which numbers what each customer is told without holes.
//
// Handles: PlaceOrder, CancelOrder; from the saga ReserveOrderStock, ApproveOrder, RejectOrder, FinishCancelOrder; from
// itself BackorderOrder and, by its timer, ExpireOrder.
//
// Subscribes: to inventory.StockReserved, which ends the wait of a backorder, and inventory.StockRejected, which begins it.
//
// Refuses: order_exists (with Existing as data), order_unknown, not_open, not_reserved, too_late, wrong_items. A command
// that asks for what is already so is done without an event; in particular cancelling twice is cancelling once.
//
// Picking, readying, paying and collecting have their place in the life of an order; the services that tell of them are
// not part of every mall.
package orders
