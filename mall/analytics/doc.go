// Package analytics counts.
//
// Decides: nothing.
//
// Keeps: the views sales (orders and revenue by hour), outcomes (what became of orders, by hour), products (what was
// ordered of each), and trade: the facts of every order, visit and basket. All can be made again from the log at any time.
//
// Handles: no command.
//
// Subscribes: to orders.*; for trade also to baskets.BasketStarted, BasketCheckedOut and BasketCanceled, exitgate.CustomerDeparted,
// fastlane.PaymentDue and ItemPriced, payments.InvoicePaid, InvoiceRefunded, PaymentCaptured, PaymentRefunded, VisitCharged and
// VisitChargeFailed, and stores.ProductAdded, since not every order says which shop sells a product.
//
// Refuses: nothing.
//
// An event counts in the hour in which it happened, whenever it arrives. The views sales, outcomes and products add up as events come:
// revenue there is that of approved orders as they were approved, by the hour of the approval; what is cancelled later is counted beside it
// under outcomes, not taken off.
//
// SalesBy, Funnel and TimeToReady answer from trade, where nothing is added up before it is asked for. There an order counts in the hour in
// which it was placed, with what is left of it:
//
//   - sold is what an approved order has of a product, less what was not found, with what came instead; an order that was rejected, cancelled or
//     expired counts no more, from the moment at which that is decided;
//   - a visit counts in the hour in which the visitor left, with what has a price, charged or not; what a clerk prices later is added to that hour;
//   - refunded is what was given back of that. What was given back because an order is undone or was paid before goods were missed is not: that is not
//     in what was sold.
//
// A product is a SKU of a shop, since that is what a gate knows of it.
package analytics
