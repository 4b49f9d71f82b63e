package rpc

import (
	"context"
	"errors"
	"net/http"
	"net/mail"
	"strings"
	"unicode"

	"connectrpc.com/connect"

	soukv1 "example.org/souk/api/gen/souk/v1"
	"example.org/souk/api/gen/souk/v1/soukv1connect"
	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/customers"
)

var customersPolicy = map[string]Access{
	"RegisterCustomer":  shop,
	"ChangeContact":     ownOrder,
	"EnableCustomer":    shop,
	"DisableCustomer":   shop,
	"LinkCard":          shop,
	"AuthorizeCustomer": processes,
	"ForgetCustomer":    shop,
	"GetCustomer":       ownLook,
}

// customersFace answers for customers.
type customersFace struct{ *server }

func serveCustomers(s *server, o ...connect.HandlerOption) (string, http.Handler) {
	return soukv1connect.NewCustomersServiceHandler(customersFace{s}, o...)
}

// contact is what names a person, as it came in and as it is kept.
type contact struct{ name, email, sms mall.Personal }

// sealed seals what names a customer. What is empty, or too long, or what no person is called, comes to no key.
func (h customersFace) sealed(ctx context.Context, customer, name, email, sms string) (c contact, err error) {
	if err := validID("customer", customer); err != nil {
		return c, err
	}
	for _, f := range []struct {
		name, text string
		valid      func(string) bool
		into       *mall.Personal
	}{
		{"name", name, func(s string) bool { return len(s) <= 200 && strings.TrimSpace(s) != "" }, &c.name},
		{"email", email, validAddress, &c.email},
		{"sms", sms, mall.ValidNumber, &c.sms},
	} {
		if f.name != "sms" && mall.HoldsCard(f.text) && !strings.HasPrefix(f.text, sealedMark) {
			return c, wrong(f.name, mall.NoCard)
		}
		if *f.into, err = h.seal(ctx, customer, f.name, f.text, f.valid); err != nil {
			return c, err
		}
	}
	return c, nil
}

const sealedMark = "sealed:v1:"

func (h customersFace) seal(ctx context.Context, customer, field, text string, valid func(string) bool) (mall.Personal, error) {
	switch {
	case text == "":
		return "", nil
	case strings.HasPrefix(text, sealedMark):
		if len(text) > mall.MaxPersonal || !strings.HasPrefix(text, sealedMark+customer+":") {
			return "", wrong(field, "is not sealed for this customer")
		}
		if h.Keys == nil {
			return mall.Personal(text), nil
		}
		if _, _, err := h.Keys.Reveal(ctx, text); errors.Is(err, backbone.ErrNotSealed) {
			return "", wrong(field, "is not sealed for this customer")
		} else if err != nil {
			return "", unread(err)
		}
		return mall.Personal(text), nil
	case !valid(text) || strings.ContainsFunc(text, unicode.IsControl):
		return "", wrong(field, "is none")
	case h.Keys == nil:
		return "", backbone.ErrUnavailable
	}
	token, err := h.Keys.Seal(ctx, customer, text)
	if err != nil && !errors.Is(err, backbone.ErrForgotten) {
		err = unread(err)
	}
	return mall.Personal(token), err
}

func validAddress(s string) bool {
	a, err := mail.ParseAddress(s)
	return err == nil && a.Address == s && len(s) <= 254
}

func (h customersFace) RegisterCustomer(ctx context.Context, r *connect.Request[soukv1.RegisterCustomerRequest]) (*connect.Response[soukv1.RegisterCustomerResponse], error) {
	c, err := h.sealed(ctx, r.Msg.GetCustomer(), r.Msg.GetName(), r.Msg.GetEmail(), r.Msg.GetSms())
	if err != nil {
		return nil, err
	}
	a, err := h.do(ctx, r.Msg, command.RegisterCustomer{
		Customer: r.Msg.GetCustomer(), Name: c.name, Email: c.email, SMS: c.sms, Card: r.Msg.GetCard(), Tell: told(r.Msg.GetTell()),
	})
	return done(&soukv1.RegisterCustomerResponse{Answer: a}, err)
}

func (h customersFace) ChangeContact(ctx context.Context, r *connect.Request[soukv1.ChangeContactRequest]) (*connect.Response[soukv1.ChangeContactResponse], error) {
	if !visitOf(ctx).owns(r.Msg.GetCustomer()) {
		return nil, ErrNotFound
	}
	c, err := h.sealed(ctx, r.Msg.GetCustomer(), r.Msg.GetName(), r.Msg.GetEmail(), r.Msg.GetSms())
	if err != nil {
		return nil, err
	}
	a, err := h.do(ctx, r.Msg, command.ChangeContact{Customer: r.Msg.GetCustomer(), Name: c.name, Email: c.email, SMS: c.sms, Tell: told(r.Msg.GetTell())})
	return done(&soukv1.ChangeContactResponse{Answer: a}, err)
}

func (h customersFace) EnableCustomer(ctx context.Context, r *connect.Request[soukv1.EnableCustomerRequest]) (*connect.Response[soukv1.EnableCustomerResponse], error) {
	a, err := h.do(ctx, r.Msg, command.EnableCustomer{Customer: r.Msg.GetCustomer()})
	return done(&soukv1.EnableCustomerResponse{Answer: a}, err)
}

func (h customersFace) DisableCustomer(ctx context.Context, r *connect.Request[soukv1.DisableCustomerRequest]) (*connect.Response[soukv1.DisableCustomerResponse], error) {
	a, err := h.do(ctx, r.Msg, command.DisableCustomer{Customer: r.Msg.GetCustomer()})
	return done(&soukv1.DisableCustomerResponse{Answer: a}, err)
}

func (h customersFace) LinkCard(ctx context.Context, r *connect.Request[soukv1.LinkCardRequest]) (*connect.Response[soukv1.LinkCardResponse], error) {
	a, err := h.do(ctx, r.Msg, command.LinkCard{Customer: r.Msg.GetCustomer(), Card: r.Msg.GetCard()})
	return done(&soukv1.LinkCardResponse{Answer: a}, err)
}

func (h customersFace) AuthorizeCustomer(ctx context.Context, r *connect.Request[soukv1.AuthorizeCustomerRequest]) (*connect.Response[soukv1.AuthorizeCustomerResponse], error) {
	a, err := h.do(ctx, r.Msg, command.AuthorizeCustomer{Customer: r.Msg.GetCustomer(), Order: r.Msg.GetOrder()})
	return done(&soukv1.AuthorizeCustomerResponse{Answer: a}, err)
}

// ForgetCustomer destroys the key once the customer is forgotten. Where that fails the same call made again does it.
func (h customersFace) ForgetCustomer(ctx context.Context, r *connect.Request[soukv1.ForgetCustomerRequest]) (*connect.Response[soukv1.ForgetCustomerResponse], error) {
	if h.Keys == nil {
		return nil, backbone.ErrUnavailable
	}
	a, err := h.do(ctx, r.Msg, command.ForgetCustomer{Customer: r.Msg.GetCustomer()})
	if err == nil {
		err = unread(h.Keys.DestroyKey(ctx, r.Msg.GetCustomer()))
	}
	return done(&soukv1.ForgetCustomerResponse{Answer: a}, err)
}

var customerStatuses = map[customers.Status]soukv1.CustomerStatus{
	customers.Enabled:   soukv1.CustomerStatus_CUSTOMER_STATUS_ENABLED,
	customers.Disabled:  soukv1.CustomerStatus_CUSTOMER_STATUS_DISABLED,
	customers.Forgotten: soukv1.CustomerStatus_CUSTOMER_STATUS_FORGOTTEN,
}

func (h customersFace) GetCustomer(ctx context.Context, r *connect.Request[soukv1.GetCustomerRequest]) (*connect.Response[soukv1.GetCustomerResponse], error) {
	id := r.Msg.GetCustomer()
	if !visitOf(ctx).owns(id) {
		return nil, ErrNotFound
	}
	if err := validID("customer", id); err != nil {
		return nil, err
	}
	c, err := customers.Get(ctx, h.Reader("customers"), id)
	if err == nil && c.Status == customers.Unknown {
		return nil, ErrNotFound
	}
	return done(&soukv1.GetCustomerResponse{Customer: &soukv1.Customer{
		Customer: id, Status: customerStatuses[c.Status], Name: string(c.Name), Email: string(c.Email), Sms: string(c.SMS), Card: c.Card,
	}}, unread(err))
}

// channels has the channels as they travel. One that is not known is kept as what it is not, so that it is refused.
var channels = map[soukv1.Channel]mall.Channel{
	soukv1.Channel_CHANNEL_UNSPECIFIED: "",
	soukv1.Channel_CHANNEL_EMAIL:       mall.ByEmail,
	soukv1.Channel_CHANNEL_SMS:         mall.BySMS,
	soukv1.Channel_CHANNEL_NONE:        mall.ByNone,
}

func told(t *soukv1.Tell) mall.Tell {
	channel := func(c soukv1.Channel) mall.Channel {
		if known, ok := channels[c]; ok {
			return known
		}
		return mall.Channel(c.String())
	}
	return mall.Tell{Asking: channel(t.GetAsking()), Progress: channel(t.GetProgress()), Receipts: channel(t.GetReceipts())}
}

// toldOf writes by which channel a customer is told what; the shop's choice is none.
func toldOf(t mall.Tell) *soukv1.Tell {
	if t == (mall.Tell{}) {
		return nil
	}
	channel := func(c mall.Channel) soukv1.Channel {
		return soukv1.Channel(soukv1.Channel_value["CHANNEL_"+strings.ToUpper(string(c))])
	}
	return &soukv1.Tell{Asking: channel(t.Asking), Progress: channel(t.Progress), Receipts: channel(t.Receipts)}
}
