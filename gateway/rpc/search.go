package rpc

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"connectrpc.com/connect"

	soukv1 "example.org/souk/api/gen/souk/v1"
	"example.org/souk/api/gen/souk/v1/soukv1connect"
	"example.org/souk/mall"
	"example.org/souk/mall/search"
)

var searchPolicy = map[string]Access{
	"FindOrders": ownLook,
}

// searchFace answers for search.
type searchFace struct{ *server }

func serveSearch(s *server, o ...connect.HandlerOption) (string, http.Handler) {
	return soukv1connect.NewSearchServiceHandler(searchFace{s}, o...)
}

var methodsOfPayment = map[soukv1.PaymentMethod]search.Method{
	soukv1.PaymentMethod_PAYMENT_METHOD_UNSPECIFIED: "",
	soukv1.PaymentMethod_PAYMENT_METHOD_PREPAID:     search.Prepaid,
	soukv1.PaymentMethod_PAYMENT_METHOD_AT_DEPOT:    search.AtDepot,
}

// query reads a request. What a customer finds is their own, whether the request says so or not.
func (h searchFace) query(ctx context.Context, m *soukv1.FindOrdersRequest) (q search.Query, err error) {
	q = search.Query{
		Order: m.GetOrder(), Customer: m.GetCustomer(), Card: m.GetCard(), Store: m.GetStore(), Product: m.GetProduct(), Basket: m.GetBasket(),
		Payment: m.GetPayment(), Paid: m.Paid, Text: m.GetText(), Cursor: m.GetCursor(),
	}
	v := visitOf(ctx)
	if v.scope == Own && q.Customer == "" {
		q.Customer = v.caller.Subject
	}
	if !v.owns(q.Customer) {
		return q, ErrNotFound
	}
	if q.Limit, err = limit(m.GetLimit(), 50, search.MaxLimit); err != nil {
		return q, err
	}
	if len(m.GetStatuses()) > len(soukv1.OrderStatus_name) {
		return q, wrong("statuses", "names more than there are")
	}
	for i, s := range m.GetStatuses() {
		name, known := soukv1.OrderStatus_name[int32(s)]
		if !known || s == 0 {
			return q, wrong(fmt.Sprintf("statuses[%d]", i), "is not the status of an order")
		}
		q.Statuses = append(q.Statuses, strings.TrimPrefix(name, "ORDER_STATUS_"))
	}
	method, known := methodsOfPayment[m.GetMethod()]
	if !known {
		return q, wrong("method", "is not a method of payment")
	}
	q.Method = method
	for field, bound := range map[string]*soukv1.Money{"least": m.GetLeast(), "most": m.GetMost()} {
		switch {
		case bound == nil:
			continue
		case mall.ValidCurrency(bound.GetCurrency()) != nil:
			return q, wrong(field, "must have a currency of three capital letters")
		case q.Currency != "" && q.Currency != bound.GetCurrency():
			return q, wrong("most", "must be in the currency of least")
		}
		q.Currency = bound.GetCurrency()
	}
	q.Least = m.GetLeast().GetAmount()
	if q.Most = m.GetMost().GetAmount(); m.GetMost() != nil && q.Most <= 0 {
		return q, wrong("most", "must be above 0")
	}
	from, err := micros("from", m.GetFrom())
	if err != nil {
		return q, err
	}
	until, err := micros("until", m.GetUntil())
	if err != nil {
		return q, err
	}
	if from > 0 {
		q.From = time.UnixMicro(from)
	}
	if until > 0 {
		q.Until = time.UnixMicro(until)
	}
	return q, q.Check()
}

func (h searchFace) FindOrders(ctx context.Context, r *connect.Request[soukv1.FindOrdersRequest]) (*connect.Response[soukv1.FindOrdersResponse], error) {
	q, err := h.query(ctx, r.Msg)
	if err != nil {
		return nil, err
	}
	page, err := search.Find(ctx, h.Reader("search"), q)
	answer := &soukv1.FindOrdersResponse{NextCursor: page.Next}
	for _, o := range page.Orders {
		answer.Orders = append(answer.Orders, foundOf(&o))
	}
	return done(answer, unread(err))
}

func foundOf(o *search.Order) *soukv1.FoundOrder {
	found := &soukv1.FoundOrder{
		Order: o.ID, Customer: o.Customer, Name: string(o.Name), Basket: o.Basket, Total: moneyOf(o.Total), Status: statusOf(o.Status), Reason: o.Reason,
		Placed: timeOf(o.Placed), Changed: timeOf(o.Changed), Paid: timeOf(o.Paid), Collected: timeOf(o.Collected), Payment: o.Payment,
		PaymentState: o.Money.Payment, Captured: moneyOf(o.Money.Captured), InvoiceState: o.Money.Invoice, Invoiced: moneyOf(o.Money.Invoiced),
		Refunded: moneyOf(o.Money.Refunded),
	}
	for n, item := range itemsOf(o.Items) {
		found.Items = append(found.Items, &soukv1.FoundItem{Item: item, Store: o.Items[n].Store, StoreName: o.Items[n].StoreName})
	}
	for _, s := range o.History {
		found.History = append(found.History, &soukv1.OrderStep{Status: statusOf(s.Status), Since: timeOf(s.Since)})
	}
	return found
}
