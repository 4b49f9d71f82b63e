package event

// All returns one zero value of every event, grouped by owning service, in a slice of its own.
func All() []Event {
	return []Event{
		CustomerRegistered{},
		ContactChanged{},
		CustomerEnabled{},
		CustomerDisabled{},
		CardLinked{},
		CustomerForgotten{},

		StoreCreated{},
		StoreRebranded{},
		ParticipationEnabled{},
		ParticipationDisabled{},
		ProductAdded{},
		RestockThresholdSet{},
		ProductRebranded{},
		PriceIncreased{},
		PriceDecreased{},
		ProductRemoved{},

		OrderPlaced{},
		OrderStockReserved{},
		OrderApproved{},
		OrderRejected{},
		OrderBackordered{},
		OrderPicking{},
		OrderShort{},
		OrderReadied{},
		OrderPaid{},
		OrderCollected{},
		OrderCompleted{},
		OrderCancelling{},
		OrderCanceled{},
		OrderExpired{},

		StockReceived{},
		StockReserved{},
		StockRejected{},
		StockCommitted{},
		StockReleased{},
		ReservationExpired{},
		StockIssued{},
		StockDiscrepancy{},
		StockAdjusted{},
		InventoryUpdated{},
		RestockNeeded{},

		PaymentAuthorized{},
		PaymentDeclined{},
		PaymentConfirmed{},
		PaymentCaptured{},
		PaymentVoided{},
		PaymentRefunded{},
		InvoiceCreated{},
		InvoiceAdjusted{},
		InvoicePaid{},
		InvoiceCanceled{},
		VisitCharged{},
		VisitChargeFailed{},

		NotificationSent{},
		NotificationFailed{},

		CustomerArrived{},

		WelcomeShown{},

		CustomerDeparted{},

		PaymentDue{},
		ItemPriced{},

		PurchaseProposed{},
		PurchaseSent{},
		PurchaseCanceled{},
		GoodsReceived{},
	}
}
