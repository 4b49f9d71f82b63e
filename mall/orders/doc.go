// Package orders minds the life of an order and runs the checkout.
//
// Decides: how far an order is: pending, backordered, approved, picking, short (goods were not found, and somebody has to
// decide), ready, completed, or rejected, expired, cancelling, canceled. testdata/transitions.txt lists every step that there
// is. An order is completed when it is ready, paid and collected, and can be cancelled until then.
//
// Keeps: a stream for each order; the saga checkout, which takes it to its approval (authorize customer, reserve stock, create
// shopping list, confirm payment, approve) and lets it be carried out (initiate shopping, commit stock); the view feed,
// inline, which numbers what each customer is told without holes.
//
// Handles: PlaceOrder, CancelOrder, DecideShort, HandOverOrder; from the saga ReserveOrderStock, ApproveOrder, RejectOrder,
// FinishCancelOrder; from its policies BackorderOrder, PickOrder, ShortenOrder, ReadyOrder, PayOrder; by its timers ExpireOrder
// and ExpireUncollectedOrder.
//
// Subscribes: to inventory.StockReserved, which ends the wait of a backorder, and inventory.StockRejected, which begins it. With
// baskets in the mall (Config.Baskets) to baskets.BasketCheckedOut, and with a depot (Config.Depot) to depot.ShoppingListAssigned,
// StopShort and ShoppingListCompleted, payments.InvoicePaid and PaymentCaptured.
//
// Refuses: order_exists (with Existing as data), order_unknown, not_open, not_reserved, too_late, wrong_items, not_ready,
// not_paid, too_dear. A command that asks for what is already so is done without an event; in particular cancelling twice is
// cancelling once. What others tell of an order that has no use for it any more changes nothing.
//
// Without a depot the checkout is of version 1, which knows no shopping list, and an approved order stays approved. With one,
// orders that are placed from then on take version 2; those whose checkout has begun keep version 1.
package orders
