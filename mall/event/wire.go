package event

// The wire names, all of them. They stand in logs, on brokers and in the code of people we do not know, so none is ever
// changed or used again.
const (
	CustomerRegisteredV1 = "souk.customers.CustomerRegistered.v1"
	ContactChangedV1     = "souk.customers.ContactChanged.v1"
	CustomerEnabledV1    = "souk.customers.CustomerEnabled.v1"
	CustomerDisabledV1   = "souk.customers.CustomerDisabled.v1"
	CardLinkedV1         = "souk.customers.CardLinked.v1"
	CustomerForgottenV1  = "souk.customers.CustomerForgotten.v1"

	StoreCreatedV1          = "souk.stores.StoreCreated.v1"
	StoreRebrandedV1        = "souk.stores.StoreRebranded.v1"
	ParticipationEnabledV1  = "souk.stores.ParticipationEnabled.v1"
	ParticipationDisabledV1 = "souk.stores.ParticipationDisabled.v1"
	ProductAddedV1          = "souk.stores.ProductAdded.v1"
	RestockThresholdSetV1   = "souk.stores.RestockThresholdSet.v1"
	ProductRebrandedV1      = "souk.stores.ProductRebranded.v1"
	PriceIncreasedV1        = "souk.stores.PriceIncreased.v1"
	PriceDecreasedV1        = "souk.stores.PriceDecreased.v1"
	ProductRemovedV1        = "souk.stores.ProductRemoved.v1"

	OrderPlacedV1        = "souk.orders.OrderPlaced.v1"
	OrderStockReservedV1 = "souk.orders.OrderStockReserved.v1"
	OrderApprovedV1      = "souk.orders.OrderApproved.v1"
	OrderRejectedV1      = "souk.orders.OrderRejected.v1"
	OrderBackorderedV1   = "souk.orders.OrderBackordered.v1"
	OrderPickingV1       = "souk.orders.OrderPicking.v1"
	OrderShortV1         = "souk.orders.OrderShort.v1"
	OrderReadiedV1       = "souk.orders.OrderReadied.v1"
	OrderPaidV1          = "souk.orders.OrderPaid.v1"
	OrderCollectedV1     = "souk.orders.OrderCollected.v1"
	OrderCompletedV1     = "souk.orders.OrderCompleted.v1"
	OrderCancellingV1    = "souk.orders.OrderCancelling.v1"
	OrderCanceledV1      = "souk.orders.OrderCanceled.v1"
	OrderExpiredV1       = "souk.orders.OrderExpired.v1"

	StockReceivedV1      = "souk.inventory.StockReceived.v1"
	StockReservedV1      = "souk.inventory.StockReserved.v1"
	StockRejectedV1      = "souk.inventory.StockRejected.v1"
	StockCommittedV1     = "souk.inventory.StockCommitted.v1"
	StockReleasedV1      = "souk.inventory.StockReleased.v1"
	ReservationExpiredV1 = "souk.inventory.ReservationExpired.v1"
	StockIssuedV1        = "souk.inventory.StockIssued.v1"
	StockDiscrepancyV1   = "souk.inventory.StockDiscrepancy.v1"
	StockAdjustedV1      = "souk.inventory.StockAdjusted.v1"
	InventoryUpdatedV1   = "souk.inventory.InventoryUpdated.v1"
	RestockNeededV1      = "souk.inventory.RestockNeeded.v1"

	PaymentAuthorizedV1 = "souk.payments.PaymentAuthorized.v1"
	PaymentDeclinedV1   = "souk.payments.PaymentDeclined.v1"
	PaymentConfirmedV1  = "souk.payments.PaymentConfirmed.v1"
	PaymentCapturedV1   = "souk.payments.PaymentCaptured.v1"
	PaymentVoidedV1     = "souk.payments.PaymentVoided.v1"
	PaymentRefundedV1   = "souk.payments.PaymentRefunded.v1"
	InvoiceCreatedV1    = "souk.payments.InvoiceCreated.v1"
	InvoiceAdjustedV1   = "souk.payments.InvoiceAdjusted.v1"
	InvoicePaidV1       = "souk.payments.InvoicePaid.v1"
	InvoiceCanceledV1   = "souk.payments.InvoiceCanceled.v1"
	VisitChargedV1      = "souk.payments.VisitCharged.v1"
	VisitChargeFailedV1 = "souk.payments.VisitChargeFailed.v1"

	NotificationSentV1   = "souk.notifications.NotificationSent.v1"
	NotificationFailedV1 = "souk.notifications.NotificationFailed.v1"

	CustomerArrivedV1 = "souk.entrance.CustomerArrived.v1"

	WelcomeShownV1 = "souk.greeter.WelcomeShown.v1"

	CustomerDepartedV1 = "souk.exitgate.CustomerDeparted.v1"

	PaymentDueV1 = "souk.fastlane.PaymentDue.v1"
	ItemPricedV1 = "souk.fastlane.ItemPriced.v1"

	PurchaseProposedV1 = "souk.logistics.PurchaseProposed.v1"
	PurchaseSentV1     = "souk.logistics.PurchaseSent.v1"
	PurchaseCanceledV1 = "souk.logistics.PurchaseCanceled.v1"
	GoodsReceivedV1    = "souk.logistics.GoodsReceived.v1"
)
