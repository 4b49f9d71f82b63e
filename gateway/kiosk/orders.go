package kiosk

import (
	"context"
	"hash/fnv"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"example.org/souk/gateway/door"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
)

type orderBody struct {
	Order     string        `json:"order"`
	Pickup    string        `json:"pickup" doc:"The number by which the order is called up at the depot."`
	Customer  string        `json:"customer"`
	Status    string        `json:"status" enum:"pending,reserved,backordered,approved,picking,short,ready,completed,rejected,expired,cancelling,canceled"`
	Items     []orderedBody `json:"items"`
	Total     moneyBody     `json:"total"`
	Payment   string        `json:"payment,omitempty" doc:"Authorized beforehand; missing: paid at the depot."`
	Paid      bool          `json:"paid"`
	Owed      bool          `json:"owed" doc:"What it comes to is asked for: it can be paid here or at the depot."`
	Missing   []missingBody `json:"missing,omitempty" doc:"Was not found: decide what is to become of it."`
	Reason    string        `json:"reason,omitempty" doc:"Why it was rejected or canceled."`
	Product   string        `json:"product,omitempty" doc:"Of which too little was there."`
	Picked    int64         `json:"picked" doc:"Stops at which a robot has been."`
	Stops     int64         `json:"stops" doc:"Stops in all; 0: not known."`
	KeptUntil time.Time     `json:"keptUntil,omitzero" doc:"Until when it waits to be collected, while it is ready; then it expires."`
	History   []stepBody    `json:"history"`
	Version   int64         `json:"version" doc:"Grows with everything that happens to the order."`
}

type orderedBody struct {
	Product  string    `json:"product"`
	Name     string    `json:"name"`
	Quantity int64     `json:"quantity"`
	Price    moneyBody `json:"price"`
	Total    moneyBody `json:"total"`
}

type missingBody struct {
	Product  string `json:"product"`
	Name     string `json:"name"`
	Quantity int64  `json:"quantity"`
}

type stepBody struct {
	Status string    `json:"status"`
	At     time.Time `json:"at"`
}

type summaryBody struct {
	Order  string    `json:"order"`
	Pickup string    `json:"pickup"`
	Status string    `json:"status"`
	Total  moneyBody `json:"total"`
	Placed time.Time `json:"placed"`
}

// OrderPath names the order of a path; it is exported for the library that reads it.
type OrderPath struct {
	Order string `path:"order" maxLength:"64" pattern:"^[A-Za-z0-9_-]+$"`
}

type orderOut struct{ Body orderBody }

type cancelIn struct {
	OrderPath
	Body *struct {
		Reason string `json:"reason,omitempty" maxLength:"200"`
	}
}

type decideIn struct {
	OrderPath
	Body struct {
		Choice string `json:"choice" enum:"rest,cancel" doc:"Take what there is, or nothing at all."`
	}
}

type historyIn struct {
	Customer string `query:"customer" maxLength:"64" pattern:"^[A-Za-z0-9_-]*$" doc:"Whose; a customer's own session needs none."`
	After    string `query:"after" maxLength:"64" pattern:"^[A-Za-z0-9_-]*$" doc:"The next of the page before."`
	Limit    int    `query:"limit" minimum:"1" maximum:"100" default:"20"`
}

type historyOut struct {
	Body struct {
		Orders []summaryBody `json:"orders"`
		Next   string        `json:"next,omitempty"`
	}
}

type paidOut struct {
	Body struct {
		Order  string    `json:"order"`
		Amount moneyBody `json:"amount"`
		Paid   bool      `json:"paid"`
	}
}

func (g *gateway) describeOrders(a *api) {
	own := policy{access: door.Access{door.Customer: door.Own, door.Staff: door.All}}
	streaming := own
	streaming.stream = true
	tags := []string{"orders"}
	add(a, huma.Operation{OperationID: "listOrders", Method: http.MethodGet, Path: "/orders", Tags: tags, Summary: "A customer's orders, the latest first"},
		own, func(ctx context.Context, r *door.Request, in *historyIn) (*historyOut, error) {
			customer := in.Customer
			if customer == "" {
				if !r.Caller.Limited() {
					return nil, door.InvalidField("customer", "is required")
				}
				customer = r.Caller.Subject
			}
			if !r.Caller.Owns(customer) {
				return nil, door.NotFound("customer")
			}
			list, next, err := g.history(ctx, customer, in.After, in.Limit)
			o := &historyOut{}
			o.Body.Orders, o.Body.Next = list, next
			return o, err
		})
	add(a, huma.Operation{OperationID: "getOrder", Method: http.MethodGet, Path: "/orders/{order}", Tags: tags, Summary: "An order as it stands"},
		own, func(ctx context.Context, r *door.Request, in *OrderPath) (*orderOut, error) {
			o, err := g.ownOrder(ctx, r, in.Order)
			return &orderOut{o}, err
		})
	add(a, huma.Operation{
		OperationID: "followOrder", Method: http.MethodGet, Path: "/orders/{order}/events", Tags: tags, Summary: "Follow an order live",
		Description: "Server-sent events named order. Each has the whole order as data, its history included, so nothing is missed when some are; " +
			"who comes back with Last-Event-ID is told at once if anything is another way.",
		Responses: streamOf(a, orderBody{}, "order"),
	}, streaming, func(ctx context.Context, r *door.Request, in *followOrderIn) (*huma.StreamResponse, error) {
		o, err := g.ownOrder(ctx, r, in.Order)
		if err != nil {
			return nil, err
		}
		return g.follow(r, "order", in.Last, []string{OrderTopic(o.Order), BasketTopic(o.Order)}, func(ctx context.Context) (any, int64, error) {
			o, err := g.order(ctx, o.Order)
			return o, o.Version, err
		})
	})
	add(a, huma.Operation{
		OperationID: "cancelOrder", Method: http.MethodPost, Path: "/orders/{order}/cancel", Tags: tags, DefaultStatus: http.StatusAccepted,
		Summary: "Have an order undone", Description: "It is undone when its status is canceled; until then it is cancelling.",
	}, own, func(ctx context.Context, r *door.Request, in *cancelIn) (*orderOut, error) {
		o, err := g.ownOrder(ctx, r, in.Order)
		if err != nil {
			return nil, err
		}
		reason := ""
		if in.Body != nil {
			reason = in.Body.Reason
		}
		if err := g.cancel(ctx, whoOf(r), o, reason); err != nil {
			return nil, err
		}
		if o, err = g.order(ctx, o.Order); err != nil {
			return nil, err
		}
		switch o.Status {
		case "completed", "rejected", "expired", "canceled":
		default:
			o.Status = "cancelling" // as it is as soon as its service has heard of it
		}
		return &orderOut{o}, nil
	})
	add(a, huma.Operation{
		OperationID: "decideShort", Method: http.MethodPost, Path: "/orders/{order}/short", Tags: tags, Summary: "Decide what is to become of what was not found",
	}, own, func(ctx context.Context, r *door.Request, in *decideIn) (*orderOut, error) {
		o, err := g.ownOrder(ctx, r, in.Order)
		if err != nil {
			return nil, err
		}
		if err := g.decide(ctx, whoOf(r), o, in.Body.Choice); err != nil {
			return nil, err
		}
		o, err = g.order(ctx, o.Order)
		return &orderOut{o}, err
	})
	add(a, huma.Operation{
		OperationID: "payOrder", Method: http.MethodPost, Path: "/orders/{order}/pay", Tags: tags, Summary: "Tell that an order was paid at this terminal",
		Description: "The terminal, or the clerk, has the money; so customers cannot say it of themselves.",
	}, policy{access: door.Access{door.Device: door.All, door.Staff: door.All}}, func(ctx context.Context, r *door.Request, in *OrderPath) (*paidOut, error) {
		o, err := g.order(ctx, in.Order)
		if err != nil {
			return nil, err
		}
		if err := g.pay(ctx, whoOf(r), o); err != nil {
			return nil, err
		}
		out := &paidOut{}
		out.Body.Order, out.Body.Amount, out.Body.Paid = o.Order, o.Total, true
		return out, nil
	})
}

// ownOrder returns an order, if it is there for this caller.
func (g *gateway) ownOrder(ctx context.Context, r *door.Request, id string) (orderBody, error) {
	o, err := g.order(ctx, id)
	if err == nil && !r.Caller.Owns(o.Customer) {
		return o, door.NotFound("order")
	}
	return o, err
}

// order shows an order. Of one that was checked out and that its service has not heard of yet the basket says what is in it.
func (g *gateway) order(ctx context.Context, id string) (orderBody, error) {
	o, ok, err := g.Orders.Order(ctx, id)
	if err != nil {
		return orderBody{}, unavailable(err)
	}
	if ok {
		return bodyOf(&o), nil
	}
	if o, err = g.awaited(ctx, id); err != nil {
		return orderBody{}, err
	}
	return bodyOf(&o), nil
}

func bodyOf(o *Order) orderBody {
	b := orderBody{
		Order: o.ID, Pickup: pickup(o.ID), Customer: o.Customer, Status: o.Status, Items: []orderedBody{}, Total: moneyOf(o.Total),
		Payment: o.Payment, Paid: o.Paid, Owed: o.Owed, Reason: o.Reason, Picked: o.Picked, Stops: o.Stops, KeptUntil: o.KeptUntil, History: []stepBody{}, Version: o.Version,
	}
	for _, item := range o.Items {
		cost, _ := item.Total() // less than all together, which the order has
		b.Items = append(b.Items, orderedBody{item.Product, item.Name, item.Quantity, moneyOf(item.Price), moneyOf(cost)})
		if item.SKU == o.SKU {
			b.Product = item.Product
		}
	}
	for _, l := range o.Missing {
		m := missingBody{Product: l.SKU, Name: l.SKU, Quantity: l.Quantity}
		for _, item := range o.Items {
			if item.SKU == l.SKU {
				m.Product, m.Name = item.Product, item.Name
			}
		}
		b.Missing = append(b.Missing, m)
	}
	for _, h := range o.History {
		b.History = append(b.History, stepBody{h.Status, h.At.UTC()})
	}
	return b
}

// pickup is a number of four digits for people to remember. It is not unique; whoever hands goods over asks for the order as well.
func pickup(order string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(order)) // never fails
	return strconv.FormatUint(uint64(1000+h.Sum32()%9000), 10)
}

func (g *gateway) history(ctx context.Context, customer, after string, limit int) (list []summaryBody, next string, err error) {
	all, err := g.Orders.History(ctx, customer, after, limit+1)
	if err != nil {
		return nil, "", unavailable(err)
	}
	if len(all) > limit {
		all = all[:limit]
		next = all[limit-1].ID
	}
	list = make([]summaryBody, len(all))
	for i, s := range all {
		list[i] = summaryBody{s.ID, pickup(s.ID), s.Status, moneyOf(s.Total), s.Placed.UTC()}
	}
	return list, next, nil
}

// cancel asks that an order be undone. One that its service has not heard of yet cannot be, so that is not taken in.
func (g *gateway) cancel(ctx context.Context, w who, o orderBody, reason string) error {
	if reason == "" {
		reason = "canceled by the customer"
	}
	id, c := derive("cancel", begun(o.Order), o.Order, reason), command.CancelOrder{Order: o.Order, Reason: reason}
	err := g.do(ctx, w, id, c)
	if o.Version == 0 {
		return err
	}
	return g.later(ctx, w, id, TakeCancel{c}, err)
}

// decide says what is to become of what was not found. The version tells a decision from one that is made of the next shortage.
func (g *gateway) decide(ctx context.Context, w who, o orderBody, choice string) error {
	return g.do(ctx, w, derive("decide", begun(o.Order), o.Order, strconv.FormatInt(o.Version, 10)), command.DecideShort{Order: o.Order, Choice: mall.WhenShort(choice)})
}

// pay says that the money for an order was taken. Its invoice has the id of the order. While there is none no command is sent, since its
// refusal would be the answer for good: of an order that is ready the payment is being settled.
func (g *gateway) pay(ctx context.Context, w who, o orderBody) error {
	switch {
	case o.Owed, o.Paid: // a repeat is answered as the first was
		return g.do(ctx, w, derive("pay", begun(o.Order), o.Order), command.PayInvoice{Invoice: o.Order})
	case o.Status == "ready":
		return door.NotYet("payment_settling", "The payment of this order is being settled. Nothing is to be paid; try again in a moment.")
	}
	return door.NewProblem(http.StatusConflict, "nothing_owed", "Nothing is asked for this order now.")
}
