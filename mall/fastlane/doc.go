// Package fastlane minds what a walk-out costs: the Fastlane Finale.
//
// Decides: once for each departure, what is owed. Each product costs what it cost at the moment of the departure, whenever
// that is worked out. What has no price is flagged for a clerk and is not free: the clerk's price is owed as well.
//
// Keeps: a stream for each visit (bill); the view prices, a price list of its own with every version of every price.
//
// Handles: PriceUnknown from a clerk; its own BillVisit.
//
// Subscribes: to exitgate.CustomerDeparted; to stores.ProductAdded, PriceIncreased and PriceDecreased.
//
// Refuses: no_bill, not_unpriced, wrong_currency, too_expensive.
package fastlane
