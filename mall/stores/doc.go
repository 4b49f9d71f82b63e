// Package stores minds what is sold, by whom and at which price.
//
// Decides: whether a shop exists and takes part in the mall, and what its products are called and cost.
//
// Keeps: a stream for each store and each product; the view catalogue, inline, which answers what can be ordered now and under which
// categories, which product has a barcode, and what it cost at any version of its price or at any time.
//
// Handles: CreateStore, RebrandStore, EnableParticipation, DisableParticipation, AddProduct, RebrandProduct,
// AssignBarcode, CategorizeProduct, IncreasePrice, DecreasePrice, RemoveProduct.
//
// Subscribes: to nothing.
//
// Refuses: store_exists, store_unknown, product_exists, product_unknown, product_removed, not_higher, not_lower,
// wrong_currency. A command that asks for what is already so is done without an event.
//
// A product can be ordered while it is not removed and its store takes part.
package stores
