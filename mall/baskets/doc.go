// Package baskets minds what a customer wants.
//
// Decides: whether a customer may have a basket, what is in it and at which prices, how long it is kept, and whether it ends as an
// order. Nothing is reserved for a basket.
//
// Keeps: a stream for each basket; the view known, its own idea of who may buy, of what is sold and of what it costs.
//
// Handles: StartBasket, AddItem, RemoveItem, AcceptPrices, ExtendBasket, CancelBasket, CheckoutBasket.
//
// Subscribes: to stores.StoreCreated, StoreRebranded, ParticipationEnabled, ParticipationDisabled, ProductAdded, ProductRebranded,
// PriceIncreased, PriceDecreased and ProductRemoved; to customers.CustomerRegistered, CustomerEnabled, CustomerDisabled and
// CustomerForgotten, of which it keeps nothing that names a person.
//
// Refuses: basket_exists, basket_unknown, not_open, customer_refused, not_sold, not_in_basket, too_few, too_much, wrong_currency,
// basket_empty, price_changed. A command that asks for what is already so is done without an event.
//
// What commands say of customers and products is filled in by Border, from the view known, wherever they come in. A price in a basket
// is the one that its customer was shown first and accepted; another one of now is shown beside it and asked about before checkout.
package baskets
