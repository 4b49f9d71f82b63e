// Package exitgate minds who leaves with what: the Gate-exit Guardian.
//
// Decides: whether a scanned bag is a departure, and of which visit. A departure without an open visit is one as well, and
// says so: goods that left have left.
//
// Keeps: a stream for each visitor of a store (visitor); the view goods, which says what is meant by a barcode, a SKU or a
// product's id, and where a store's goods lie.
//
// Handles: ScanExit; its own AdoptVisit.
//
// Subscribes: to entrance.CustomerArrived for the visits; to stores.StoreCreated, ProductAdded and BarcodeAssigned for the
// goods.
//
// Refuses: nothing.
//
// A scan without a time of its own may be a copy. It is taken for one where the last departure was of the same bag at the
// same device within two seconds, or where it was sent before.
package exitgate
