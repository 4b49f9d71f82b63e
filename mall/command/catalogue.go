package command

// All returns one zero value of every command, grouped by owning service, in a slice of its own.
func All() []Command {
	return []Command{
		RegisterCustomer{},
		ChangeContact{},
		EnableCustomer{},
		DisableCustomer{},
		LinkCard{},
		AuthorizeCustomer{},
		ForgetCustomer{},

		CreateStore{},
		RebrandStore{},
		EnableParticipation{},
		DisableParticipation{},
		AddProduct{},
		RebrandProduct{},
		IncreasePrice{},
		DecreasePrice{},
		RemoveProduct{},

		PlaceOrder{},
		RejectOrder{},
		BackorderOrder{},
		ReserveOrderStock{},
		ApproveOrder{},
		CancelOrder{},
		FinishCancelOrder{},
		ExpireOrder{},

		ReceiveStock{},
		ReserveStock{},
		CommitStock{},
		ReleaseStock{},
		AdjustStock{},
		SetThreshold{},
		ExpireReservation{},
		IssueStock{},

		AuthorizePayment{},
		ConfirmPayment{},
		CapturePayment{},
		VoidPayment{},
		RefundPayment{},
		CreateInvoice{},
		AdjustInvoice{},
		PayInvoice{},
		CancelInvoice{},
		ChargeVisit{},

		ScanCard{},

		ScanExit{},

		PriceUnknown{},

		AcceptDelivery{},
		CancelPurchase{},
	}
}
