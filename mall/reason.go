package mall

// Reasons that programs act on, in the Reason of a rejection, a release or a cancellation. Other texts are allowed there and are for people.
const (
	// ReasonOutOfStock says that less was available than was wanted.
	ReasonOutOfStock = "out_of_stock"
	// ReasonCustomerRefused says that the customer is unknown or may not buy.
	ReasonCustomerRefused = "customer_refused"
	// ReasonPaymentRefused says that the payment was declined, is another customer's, is used already or does not cover the total.
	ReasonPaymentRefused = "payment_refused"
	// ReasonOrderCanceled says that the order was cancelled.
	ReasonOrderCanceled = "order_canceled"
	// ReasonOrderExpired says that the order waited until its own expiry.
	ReasonOrderExpired = "order_expired"
	// ReasonShort says that goods that were promised were not found.
	ReasonShort = "short"
	// ReasonUncollected says that the order was ready and nobody came for it.
	ReasonUncollected = "uncollected"
	// ReasonBasketExpired says that the basket was kept for its whole time and nobody checked it out.
	ReasonBasketExpired = "basket_expired"
)
