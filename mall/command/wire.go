package command

// The wire names, all of them. They stand in logs, on brokers and in the code of people we do not know, so none is ever
// changed or used again.
const (
	RegisterCustomerV1  = "souk.customers.RegisterCustomer.v1"
	ChangeContactV1     = "souk.customers.ChangeContact.v1"
	EnableCustomerV1    = "souk.customers.EnableCustomer.v1"
	DisableCustomerV1   = "souk.customers.DisableCustomer.v1"
	LinkCardV1          = "souk.customers.LinkCard.v1"
	AuthorizeCustomerV1 = "souk.customers.AuthorizeCustomer.v1"
	ForgetCustomerV1    = "souk.customers.ForgetCustomer.v1"

	CreateStoreV1          = "souk.stores.CreateStore.v1"
	RebrandStoreV1         = "souk.stores.RebrandStore.v1"
	EnableParticipationV1  = "souk.stores.EnableParticipation.v1"
	DisableParticipationV1 = "souk.stores.DisableParticipation.v1"
	AddProductV1           = "souk.stores.AddProduct.v1"
	RebrandProductV1       = "souk.stores.RebrandProduct.v1"
	IncreasePriceV1        = "souk.stores.IncreasePrice.v1"
	DecreasePriceV1        = "souk.stores.DecreasePrice.v1"
	RemoveProductV1        = "souk.stores.RemoveProduct.v1"

	PlaceOrderV1        = "souk.orders.PlaceOrder.v1"
	RejectOrderV1       = "souk.orders.RejectOrder.v1"
	BackorderOrderV1    = "souk.orders.BackorderOrder.v1"
	ReserveOrderStockV1 = "souk.orders.ReserveOrderStock.v1"
	ApproveOrderV1      = "souk.orders.ApproveOrder.v1"
	CancelOrderV1       = "souk.orders.CancelOrder.v1"
	FinishCancelOrderV1 = "souk.orders.FinishCancelOrder.v1"
	ExpireOrderV1       = "souk.orders.ExpireOrder.v1"

	ReceiveStockV1      = "souk.inventory.ReceiveStock.v1"
	ReserveStockV1      = "souk.inventory.ReserveStock.v1"
	CommitStockV1       = "souk.inventory.CommitStock.v1"
	ReleaseStockV1      = "souk.inventory.ReleaseStock.v1"
	AdjustStockV1       = "souk.inventory.AdjustStock.v1"
	SetThresholdV1      = "souk.inventory.SetThreshold.v1"
	ExpireReservationV1 = "souk.inventory.ExpireReservation.v1"
	IssueStockV1        = "souk.inventory.IssueStock.v1"

	AuthorizePaymentV1 = "souk.payments.AuthorizePayment.v1"
	ConfirmPaymentV1   = "souk.payments.ConfirmPayment.v1"
	CapturePaymentV1   = "souk.payments.CapturePayment.v1"
	VoidPaymentV1      = "souk.payments.VoidPayment.v1"
	RefundPaymentV1    = "souk.payments.RefundPayment.v1"
	CreateInvoiceV1    = "souk.payments.CreateInvoice.v1"
	AdjustInvoiceV1    = "souk.payments.AdjustInvoice.v1"
	PayInvoiceV1       = "souk.payments.PayInvoice.v1"
	CancelInvoiceV1    = "souk.payments.CancelInvoice.v1"
	ChargeVisitV1      = "souk.payments.ChargeVisit.v1"

	ScanCardV1 = "souk.entrance.ScanCard.v1"

	ScanExitV1 = "souk.exitgate.ScanExit.v1"

	PriceUnknownV1 = "souk.fastlane.PriceUnknown.v1"

	AcceptDeliveryV1 = "souk.logistics.AcceptDelivery.v1"
	CancelPurchaseV1 = "souk.logistics.CancelPurchase.v1"
)
