// Package search finds orders.
//
// Decides: nothing.
//
// Keeps: the view orders: of each order its total, its times, the history of its status and what payments said of it, and the terms that it is
// found by; with them which shop sells a product, what shops are called, and whose card is whose. It can be made again from the logs at any time.
//
// Handles: no command.
//
// Subscribes: to orders.*, payments.*, stores.* and customers.*, as far as they concern an order.
//
// Refuses: nothing; a filter that makes no sense is an error of Find.
//
// An order is found by its own id, its customer or their card, its shops, products and SKUs, its basket and payment, its total, the time at which it was
// placed, its status, and by words: of its id, and of what the goods and shops were called when it was placed. Nobody is found by name, mail address or
// phone number: these are sealed, and nothing is kept here that could be compared with them (docs/decisions/0018). What
// a customer or a clerk wrote into a reason is shown and is not searched either, since it may name somebody.
package search
