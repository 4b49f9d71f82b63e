package rpc

import (
	"context"
	"net/http"

	"connectrpc.com/connect"

	soukv1 "example.org/souk/api/gen/souk/v1"
	"example.org/souk/api/gen/souk/v1/soukv1connect"
	"example.org/souk/mall/command"
	"example.org/souk/mall/payments"
)

var paymentsPolicy = map[string]Access{
	"AuthorizePayment": shop,
	"ConfirmPayment":   processes,
	"CapturePayment":   shop,
	"VoidPayment":      shop,
	"RefundPayment":    processes, // staff need a second person for it: see gateway/staff
	"CreateInvoice":    shop,
	"AdjustInvoice":    shop,
	"PayInvoice":       shop,
	"CancelInvoice":    shop,
	"RefundInvoice":    processes, // as RefundPayment
	"GetPayment":       ownLook,
	"GetLedger":        lookers,
}

// paymentsFace answers for payments.
type paymentsFace struct{ *server }

func servePayments(s *server, o ...connect.HandlerOption) (string, http.Handler) {
	return soukv1connect.NewPaymentsServiceHandler(paymentsFace{s}, o...)
}

func (h paymentsFace) AuthorizePayment(ctx context.Context, r *connect.Request[soukv1.AuthorizePaymentRequest]) (*connect.Response[soukv1.AuthorizePaymentResponse], error) {
	a, err := h.do(ctx, r.Msg, command.AuthorizePayment{Payment: r.Msg.GetPayment(), Customer: r.Msg.GetCustomer(), Amount: money(r.Msg.GetAmount())})
	return done(&soukv1.AuthorizePaymentResponse{Answer: a}, err)
}

func (h paymentsFace) ConfirmPayment(ctx context.Context, r *connect.Request[soukv1.ConfirmPaymentRequest]) (*connect.Response[soukv1.ConfirmPaymentResponse], error) {
	a, err := h.do(ctx, r.Msg, command.ConfirmPayment{
		Payment: r.Msg.GetPayment(), Order: r.Msg.GetOrder(), Customer: r.Msg.GetCustomer(), Amount: money(r.Msg.GetAmount()),
	})
	return done(&soukv1.ConfirmPaymentResponse{Answer: a}, err)
}

func (h paymentsFace) CapturePayment(ctx context.Context, r *connect.Request[soukv1.CapturePaymentRequest]) (*connect.Response[soukv1.CapturePaymentResponse], error) {
	a, err := h.do(ctx, r.Msg, command.CapturePayment{Payment: r.Msg.GetPayment()})
	return done(&soukv1.CapturePaymentResponse{Answer: a}, err)
}

func (h paymentsFace) VoidPayment(ctx context.Context, r *connect.Request[soukv1.VoidPaymentRequest]) (*connect.Response[soukv1.VoidPaymentResponse], error) {
	a, err := h.do(ctx, r.Msg, command.VoidPayment{Payment: r.Msg.GetPayment(), Order: r.Msg.GetOrder(), Reason: r.Msg.GetReason()})
	return done(&soukv1.VoidPaymentResponse{Answer: a}, err)
}

func (h paymentsFace) RefundPayment(ctx context.Context, r *connect.Request[soukv1.RefundPaymentRequest]) (*connect.Response[soukv1.RefundPaymentResponse], error) {
	a, err := h.do(ctx, r.Msg, command.RefundPayment{Payment: r.Msg.GetPayment(), Amount: money(r.Msg.GetAmount()), Reason: r.Msg.GetReason()})
	return done(&soukv1.RefundPaymentResponse{Answer: a}, err)
}

func (h paymentsFace) RefundInvoice(ctx context.Context, r *connect.Request[soukv1.RefundInvoiceRequest]) (*connect.Response[soukv1.RefundInvoiceResponse], error) {
	a, err := h.do(ctx, r.Msg, command.RefundInvoice{Invoice: r.Msg.GetInvoice(), Amount: money(r.Msg.GetAmount()), Reason: r.Msg.GetReason()})
	return done(&soukv1.RefundInvoiceResponse{Answer: a}, err)
}

func (h paymentsFace) CreateInvoice(ctx context.Context, r *connect.Request[soukv1.CreateInvoiceRequest]) (*connect.Response[soukv1.CreateInvoiceResponse], error) {
	a, err := h.do(ctx, r.Msg, command.CreateInvoice{
		Invoice: r.Msg.GetInvoice(), Order: r.Msg.GetOrder(), Customer: r.Msg.GetCustomer(), Amount: money(r.Msg.GetAmount()),
	})
	return done(&soukv1.CreateInvoiceResponse{Answer: a}, err)
}

func (h paymentsFace) AdjustInvoice(ctx context.Context, r *connect.Request[soukv1.AdjustInvoiceRequest]) (*connect.Response[soukv1.AdjustInvoiceResponse], error) {
	a, err := h.do(ctx, r.Msg, command.AdjustInvoice{Invoice: r.Msg.GetInvoice(), Amount: money(r.Msg.GetAmount())})
	return done(&soukv1.AdjustInvoiceResponse{Answer: a}, err)
}

func (h paymentsFace) PayInvoice(ctx context.Context, r *connect.Request[soukv1.PayInvoiceRequest]) (*connect.Response[soukv1.PayInvoiceResponse], error) {
	a, err := h.do(ctx, r.Msg, command.PayInvoice{Invoice: r.Msg.GetInvoice(), Payment: r.Msg.GetPayment()})
	return done(&soukv1.PayInvoiceResponse{Answer: a}, err)
}

func (h paymentsFace) CancelInvoice(ctx context.Context, r *connect.Request[soukv1.CancelInvoiceRequest]) (*connect.Response[soukv1.CancelInvoiceResponse], error) {
	a, err := h.do(ctx, r.Msg, command.CancelInvoice{Invoice: r.Msg.GetInvoice(), Reason: r.Msg.GetReason()})
	return done(&soukv1.CancelInvoiceResponse{Answer: a}, err)
}

var paymentStatuses = map[payments.Status]soukv1.PaymentStatus{
	payments.Authorizing: soukv1.PaymentStatus_PAYMENT_STATUS_AUTHORIZING,
	payments.Authorized:  soukv1.PaymentStatus_PAYMENT_STATUS_AUTHORIZED,
	payments.Declined:    soukv1.PaymentStatus_PAYMENT_STATUS_DECLINED,
	payments.Confirmed:   soukv1.PaymentStatus_PAYMENT_STATUS_CONFIRMED,
	payments.Capturing:   soukv1.PaymentStatus_PAYMENT_STATUS_CAPTURING,
	payments.Captured:    soukv1.PaymentStatus_PAYMENT_STATUS_CAPTURED,
	payments.Voiding:     soukv1.PaymentStatus_PAYMENT_STATUS_VOIDING,
	payments.Voided:      soukv1.PaymentStatus_PAYMENT_STATUS_VOIDED,
	payments.Refunding:   soukv1.PaymentStatus_PAYMENT_STATUS_REFUNDING,
	payments.Refunded:    soukv1.PaymentStatus_PAYMENT_STATUS_REFUNDED,
	payments.Unclear:     soukv1.PaymentStatus_PAYMENT_STATUS_UNKNOWN,
}

func (h paymentsFace) GetPayment(ctx context.Context, r *connect.Request[soukv1.GetPaymentRequest]) (*connect.Response[soukv1.GetPaymentResponse], error) {
	if err := validID("payment", r.Msg.GetPayment()); err != nil {
		return nil, err
	}
	p, err := payments.Get(ctx, h.Reader("payments"), r.Msg.GetPayment())
	if err != nil {
		return nil, unread(err)
	}
	if !visitOf(ctx).owns(p.Customer) || p.Status == payments.None {
		return nil, ErrNotFound
	}
	return done(&soukv1.GetPaymentResponse{Payment: &soukv1.Payment{
		Payment: r.Msg.GetPayment(), Customer: p.Customer, Status: paymentStatuses[p.Status], Amount: moneyOf(p.Amount), Order: p.Order,
		Due: moneyOf(p.Due), Refunded: moneyOf(p.Refunded),
	}}, nil)
}

func (h paymentsFace) GetLedger(ctx context.Context, _ *connect.Request[soukv1.GetLedgerRequest]) (*connect.Response[soukv1.GetLedgerResponse], error) {
	list, err := payments.Ledger(ctx, h.Reader("payments"))
	answer := &soukv1.GetLedgerResponse{}
	for _, l := range list {
		answer.Sums = append(answer.Sums, &soukv1.LedgerSums{
			Currency: l.Currency, Authorized: l.Authorized, Voided: l.Voided, Captured: l.Captured, Refunded: l.Refunded,
		})
	}
	return done(answer, unread(err))
}
