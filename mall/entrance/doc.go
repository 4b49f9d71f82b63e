// Package entrance minds who comes in: the Gateway Guardian.
//
// Decides: whether a scan at the entrance opens a visit. A visitor has one visit at a time, in each store: another scan
// while it is open is the same visit.
//
// Keeps: a stream for each visitor of a store (visitor); the view cards, which says by which cards customers are known.
//
// Handles: ScanCard; its own CloseVisit, when the visitor has left or twelve hours have passed.
//
// Subscribes: to customers.CustomerRegistered, CardLinked and CustomerForgotten for the cards, and to
// exitgate.CustomerDeparted, which closes a visit.
//
// Refuses: nothing. Whoever is unknown comes in as well; the shop is open.
//
// A scan without a time of its own may be a copy. While the visit is open that makes no difference. When it is over, a scan at
// the same device within two seconds of the one that opened it, or one that was sent before, is taken for that one's copy.
package entrance
