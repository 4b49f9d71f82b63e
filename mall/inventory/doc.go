// Package inventory minds what is there, at each location.
//
// Decides: what can be held for an order (all of it or nothing), what is promised to it for good, what comes back, and
// when more is needed. Available is on hand less held less committed, and never negative.
//
// Keeps: a stream for each SKU at each location (stock) and one for each order that asked for goods (reservation). A
// decision about an order reads and appends both kinds in one transaction. The view stock, inline, shows the levels.
//
// Handles: ReceiveStock, AdjustStock, SetThreshold; ReserveStock, CommitStock, ReleaseStock, ExpireReservation; its own
// ResumeBackorders.
//
// Subscribes: to stores.RestockThresholdSet, which says below which level how many pieces are ordered. What a product is
// called and what it costs stays outside: inventory hears of no name, no address and no price.
//
// Refuses: insufficient_stock (with the event StockRejected as data), reservation_over (released or expired before: also
// what a late ReserveStock meets after its ReleaseStock), not_reserved, other_lines, below_promised.
//
// An order that may wait is remembered by every SKU that was short, in the order of asking. Whenever more becomes
// available the waiting ones are tried again in that order. A newcomer in between is not held back by them: goods that
// are there for somebody are not kept for an order that still lacks something else.
//
// Public events on a SKU's stream are few, since every order would add to them: holding, committing and releasing tell it on the
// reservation's stream, and the SKU keeps a private StockShifted. InventoryUpdated follows deliveries and corrections only.
package inventory
