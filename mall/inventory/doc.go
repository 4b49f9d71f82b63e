// Package inventory minds what is there, at each location.
//
// Decides: what can be held for an order (all of it or nothing), what is promised to it for good, what comes back, and
// what leaves with a visitor, and when more is needed. Available is on hand less held less committed, and never negative.
//
// Keeps: a stream for each SKU at each location (stock), one for each order that asked for goods (reservation) and one for
// each visit that goods left with (issue). A decision about an order or a visit reads and appends several of them in one
// transaction. The view stock, inline, shows the levels.
//
// Handles: ReceiveStock, AdjustStock, CountStock, SetThreshold; IssueStock, IssueReservedStock; ReserveStock, CommitStock, ReleaseStock, ExpireReservation; its
// own ResumeBackorders, TakeDelivery, ForgetPurchase and NoteShort.
//
// Subscribes: to stores.RestockThresholdSet, which says below which level how many pieces are ordered. What a product is
// called and what it costs stays outside: inventory hears of no name, no address and no price. To exitgate.CustomerDeparted,
// whose goods are issued, to logistics.GoodsReceived and PurchaseCanceled, and to depot.StopShort, which says what of an order was
// not found.
//
// Refuses: insufficient_stock (with the event StockRejected as data), reservation_over (released or expired before: also
// what a late ReserveStock meets after its ReleaseStock), not_reserved, other_lines, below_promised.
//
// An order that may wait is remembered by every SKU that was short, in the order of asking. Whenever more becomes
// available the waiting ones are tried again in that order. A newcomer in between is not held back by them: goods that
// are there for somebody are not kept for an order that still lacks something else.
//
// Public events on a SKU's stream are few, since every order would add to them: holding, committing and releasing tell it on the
// reservation's stream, and the SKU keeps a private StockShifted. InventoryUpdated follows what changes what is on hand:
// deliveries, corrections and visitors.
//
// What was not found when it was picked stays promised to its order, since the order may still be collected without it. It does not
// come back with an order that is undone: then it is a discrepancy and off the books, as when the rest is collected. Where the SKU was
// counted in between, the books are as the count has them, and it is a discrepancy alone.
//
// What visitors walk out with is booked once for each visit, as far as it is available; the rest is a discrepancy. More is
// needed when what is on hand and on order falls below the threshold. On order is what was asked for and has neither come nor
// been cancelled. A shelf that is back at its threshold counts on nothing any more.
package inventory
