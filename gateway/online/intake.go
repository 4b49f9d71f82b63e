package online

import (
	"context"
	"errors"
	"fmt"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
)

// Intake stands between the gateway and services in other processes. A command is durable in the gateway's own log before
// it is answered, and goes to its service from there; what can be refused at once is refused from what the gateway's service knows.
// Several replicas of the gateway share one log. Its methods may be called concurrently.
type Intake struct {
	// Local runs the gateway's service.
	Local Commands
	// Log reads what the gateway's service keeps.
	Log *backbone.Reader
	// Owner shows the orders that their service knows, and the catalogue as its service has it.
	Owner interface {
		Orders
		Catalogue
	}
}

// Do implements Commands for what customers ask for.
func (i Intake) Do(ctx context.Context, c backbone.Command, options ...backbone.DoOption) (backbone.Answer, error) {
	switch c := c.(type) {
	case command.PlaceOrder:
		return i.Local.Do(ctx, TakeOrder{c}, options...)
	case command.CancelOrder:
		return i.Local.Do(ctx, TakeCancel{c}, options...)
	}
	return backbone.Answer{}, fmt.Errorf("%w by the intake: %s", backbone.ErrNotHandled, c.CommandType())
}

// Order implements Orders. What was accepted is seen at once, as pending until its service has taken it up; what that refused
// is seen as rejected.
func (i Intake) Order(ctx context.Context, id string) (Order, bool, error) {
	o, known, err := i.Owner.Order(ctx, id)
	if err != nil {
		return o, false, err
	}
	r, version, err := backbone.Load(ctx, i.Log, requests, id)
	if err != nil || version == 0 || r.Order.Order == "" {
		return o, known, err
	}
	if known && (r.Refused == "" || o.Customer == r.Order.Customer) {
		return o, true, nil
	}
	total, err := mall.Total(r.Order.Items)
	if err != nil {
		return Order{}, false, err
	}
	o = Order{
		ID: id, Customer: r.Order.Customer, Status: "PENDING", Items: r.Order.Items, Total: total,
		Payment: r.Order.Payment, WaitForStock: r.Order.WaitForStock, WhenShort: r.Order.WhenShort,
	}
	if r.Refused != "" {
		o.Status, o.Shortage = "REJECTED", &Shortage{Reason: r.Refused}
	}
	return o, true, nil
}

// Feed implements Orders.
func (i Intake) Feed(ctx context.Context, customer string, after int64, limit int) ([]Entry, error) {
	return i.Owner.Feed(ctx, customer, after, limit)
}

// Product implements Catalogue. What the gateway has not heard of yet is asked for before it is refused.
func (i Intake) Product(ctx context.Context, id string) (Product, bool, error) {
	p, orderable, known, err := i.product(ctx, id)
	if err != nil || known {
		return p, orderable, err
	}
	return i.Owner.Product(ctx, id)
}

func (i Intake) product(ctx context.Context, id string) (p Product, orderable, known bool, err error) {
	rows, err := i.Log.Query(ctx, `SELECT p.sku, p.name, p.price, p.currency, CASE WHEN p.removed = 0 AND s.participating = 1 THEN 1 ELSE 0 END
		FROM {products} p JOIN {shops} s ON s.store = p.store WHERE p.product = $1`, id)
	if err != nil {
		return p, false, false, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	if !rows.Next() {
		return p, false, false, rows.Err()
	}
	var can int64
	if err := rows.Scan(&p.SKU, &p.Name, &p.Price.Amount, &p.Price.Currency, &can); err != nil {
		return p, false, false, err
	}
	return p, can == 1, true, nil
}

// TakeOrder takes in that an order be placed.
type TakeOrder struct {
	Order command.PlaceOrder `json:"order"`
}

// CommandType returns the wire name.
func (TakeOrder) CommandType() string { return "souk.online.TakeOrder.v1" }

// Stream returns the id of the order.
func (c TakeOrder) Stream() string { return c.Order.Order }

// TakeCancel takes in that an order be canceled.
type TakeCancel struct {
	Cancel command.CancelOrder `json:"cancel"`
}

// CommandType returns the wire name.
func (TakeCancel) CommandType() string { return "souk.online.TakeCancel.v1" }

// Stream returns the id of the order.
func (c TakeCancel) Stream() string { return c.Cancel.Order }

// TurnAway brings back that the orders service has refused an order. The saga sends it.
type TurnAway struct {
	Order  string `json:"order"`
	Code   string `json:"code"`
	Detail string `json:"detail,omitempty"`
}

// CommandType returns the wire name.
func (TurnAway) CommandType() string { return "souk.online.TurnAway.v1" }

// Stream returns the id of the order.
func (c TurnAway) Stream() string { return c.Order }

// OrderTaken says that an order was accepted: it will be placed.
type OrderTaken struct {
	Order command.PlaceOrder `json:"order"`
}

// EventType returns the wire name.
func (OrderTaken) EventType() string { return "souk.online.OrderTaken.v1" }

// CancelTaken says that it was accepted that an order be canceled.
type CancelTaken struct {
	Cancel command.CancelOrder `json:"cancel"`
}

// EventType returns the wire name.
func (CancelTaken) EventType() string { return "souk.online.CancelTaken.v1" }

// OrderTurnedAway says that the orders service refused an order that was accepted here, such as one whose id somebody else
// has used meanwhile.
type OrderTurnedAway struct {
	Order  string `json:"order"`
	Code   string `json:"code"`
	Detail string `json:"detail,omitempty"`
}

// EventType returns the wire name.
func (OrderTurnedAway) EventType() string { return "souk.online.OrderTurnedAway.v1" }

// request is what was accepted of an order.
type request struct {
	Order    command.PlaceOrder
	Canceled bool
	Refused  string // the code of the orders service's refusal
}

var requests = &backbone.Aggregate[request]{
	Name:    "request",
	Private: []backbone.Event{OrderTaken{}, CancelTaken{}, OrderTurnedAway{}},
	Evolve: func(r request, e backbone.Event) request {
		switch e := e.(type) {
		case OrderTaken:
			r.Order = e.Order
		case CancelTaken:
			r.Canceled = true
		case OrderTurnedAway:
			r.Refused = e.Code
		}
		return r
	},
}

func takeOrder(r request, c TakeOrder, _ backbone.Meta) ([]backbone.Event, error) {
	if r.Order.Order != "" {
		return nil, &backbone.Refusal{Code: "order_exists", Detail: "another order has this id"}
	}
	return []backbone.Event{OrderTaken(c)}, nil
}

// takeCancel is right for an order that came in elsewhere too: its service knows.
func takeCancel(r request, c TakeCancel, _ backbone.Meta) ([]backbone.Event, error) {
	if r.Canceled {
		return nil, nil
	}
	return []backbone.Event{CancelTaken(c)}, nil
}

func turnAway(_ request, c TurnAway, _ backbone.Meta) ([]backbone.Event, error) {
	return []backbone.Event{OrderTurnedAway(c)}, nil
}

// placing passes an order on, and waits for its service for as long as that takes.
var placing = &backbone.Saga[OrderTaken]{
	Name:    "placing",
	Version: 1,
	Starts:  backbone.StartsOn(func(e OrderTaken, _ backbone.Meta) (string, OrderTaken) { return e.Order.Order, e }),
	Steps: []backbone.Step[OrderTaken]{{
		Name:      "place order",
		Do:        func(e OrderTaken) backbone.Command { return e.Order },
		OnTimeout: backbone.Wait,
	}},
	Rejected: func(e OrderTaken, _ string, r backbone.Refusal) backbone.Command {
		return TurnAway{Order: e.Order.Order, Code: r.Code, Detail: r.Detail}
	},
}

func cancelWhenAsked(e CancelTaken, _ backbone.Meta) []backbone.Effect {
	return []backbone.Effect{backbone.Send(e.Cancel)}
}
