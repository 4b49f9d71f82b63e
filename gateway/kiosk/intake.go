package kiosk

import (
	"context"
	"errors"

	"example.org/souk/backbone"
	"example.org/souk/gateway/door"
	"example.org/souk/mall/command"
)

// Intake takes in what is answered as accepted while the service that decides it is away, as it may be where it runs in another process: that a
// basket be checked out, and that an order be canceled. It is durable in the log of the gateway's own service before it is answered, and goes
// on when the other is there. Several replicas of the gateway share one log. Its methods may be called concurrently.
type Intake struct {
	// Local runs the gateway's service.
	Local Commands
	// Log reads what the gateway's service keeps.
	Log *backbone.Reader
}

// Service is the table of the gateway's service, which runs where there is an Intake.
func Service() *backbone.Service {
	return &backbone.Service{
		Name:  Gate,
		About: "Takes in what was accepted at kiosks while the services that it is for are away.",
		Handles: []backbone.Handler{
			backbone.Decide(requests, takeCheckout),
			backbone.Decide(requests, takeCancel),
			backbone.Decide(requests, turnAway),
		},
		Reacts: []backbone.Subscriber{backbone.Whenever(cancelWhenAsked)},
		Sends:  []backbone.Command{command.CancelOrder{}},
		Sagas:  []backbone.SagaDefinition{checkingOut},
	}
}

// TakeCheckout takes in that a basket be checked out.
type TakeCheckout struct {
	Checkout command.CheckoutBasket `json:"checkout"`
}

// CommandType returns the wire name.
func (TakeCheckout) CommandType() string { return "souk.kiosk.TakeCheckout.v1" }

// Stream returns the id of the order.
func (c TakeCheckout) Stream() string { return c.Checkout.Order }

// TakeCancel takes in that an order be canceled.
type TakeCancel struct {
	Cancel command.CancelOrder `json:"cancel"`
}

// CommandType returns the wire name.
func (TakeCancel) CommandType() string { return "souk.kiosk.TakeCancel.v1" }

// Stream returns the id of the order.
func (c TakeCancel) Stream() string { return c.Cancel.Order }

// TurnAway brings back that a basket could not be checked out after all. The saga sends it.
type TurnAway struct {
	Order string `json:"order"`
	Code  string `json:"code"`
}

// CommandType returns the wire name.
func (TurnAway) CommandType() string { return "souk.kiosk.TurnAway.v1" }

// Stream returns the id of the order.
func (c TurnAway) Stream() string { return c.Order }

// CheckoutTaken says that it was accepted that a basket be checked out.
type CheckoutTaken struct {
	Checkout command.CheckoutBasket `json:"checkout"`
}

// EventType returns the wire name.
func (CheckoutTaken) EventType() string { return "souk.kiosk.CheckoutTaken.v1" }

// CancelTaken says that it was accepted that an order be canceled.
type CancelTaken struct {
	Cancel command.CancelOrder `json:"cancel"`
}

// EventType returns the wire name.
func (CancelTaken) EventType() string { return "souk.kiosk.CancelTaken.v1" }

// CheckoutTurnedAway says that the service of baskets has refused what was accepted here, such as for a basket that had expired.
type CheckoutTurnedAway struct {
	Order string `json:"order"`
	Code  string `json:"code"`
}

// EventType returns the wire name.
func (CheckoutTurnedAway) EventType() string { return "souk.kiosk.CheckoutTurnedAway.v1" }

// request is what was accepted of an order.
type request struct {
	Taken    bool
	Canceled bool
	Refused  string // the code of the refusal
}

var requests = &backbone.Aggregate[request]{
	Name:    "request",
	Private: []backbone.Event{CheckoutTaken{}, CancelTaken{}, CheckoutTurnedAway{}},
	Evolve: func(r request, e backbone.Event) request {
		switch e := e.(type) {
		case CheckoutTaken:
			r.Taken = true
		case CancelTaken:
			r.Canceled = true
		case CheckoutTurnedAway:
			r.Refused = e.Code
		}
		return r
	},
}

func takeCheckout(r request, c TakeCheckout, _ backbone.Meta) ([]backbone.Event, error) {
	switch {
	case r.Refused != "":
		return nil, &backbone.Refusal{Code: r.Refused, Detail: "it was refused before"}
	case r.Taken:
		return nil, nil
	}
	return []backbone.Event{CheckoutTaken(c)}, nil
}

// takeCancel is right for every order that its service has heard of.
func takeCancel(r request, c TakeCancel, _ backbone.Meta) ([]backbone.Event, error) {
	if r.Canceled {
		return nil, nil
	}
	return []backbone.Event{CancelTaken(c)}, nil
}

func turnAway(_ request, c TurnAway, _ backbone.Meta) ([]backbone.Event, error) {
	return []backbone.Event{CheckoutTurnedAway(c)}, nil
}

// checkingOut passes a checkout on, and waits for its service for as long as that takes.
var checkingOut = &backbone.Saga[CheckoutTaken]{
	Name:    "checkout",
	Version: 1,
	Starts:  backbone.StartsOn(func(e CheckoutTaken, _ backbone.Meta) (string, CheckoutTaken) { return e.Checkout.Order, e }),
	Steps: []backbone.Step[CheckoutTaken]{{
		Name:      "check out",
		Do:        func(e CheckoutTaken) backbone.Command { return e.Checkout },
		OnTimeout: backbone.Wait,
	}},
	Rejected: func(e CheckoutTaken, _ string, r backbone.Refusal) backbone.Command {
		return TurnAway{Order: e.Checkout.Order, Code: r.Code}
	},
}

func cancelWhenAsked(e CancelTaken, _ backbone.Meta) []backbone.Effect {
	return []backbone.Effect{backbone.Send(e.Cancel)}
}

// later takes a command in whose service is away; err is what came of asking that. What is not taken in stays refused for now. The command has
// the same id here and there, so nothing comes of it twice.
func (g *gateway) later(ctx context.Context, w who, id string, c backbone.Command, err error) error {
	if g.Intake == nil || !errors.Is(err, backbone.ErrUnavailable) {
		return err
	}
	answer, err := g.Intake.Local.Do(ctx, c, backbone.WithID(id), backbone.By(w.actor), backbone.WithTrace(w.trace))
	if err == nil {
		err = answer.Err()
	}
	return err
}

// taken returns what was taken in of an order.
func (g *gateway) taken(ctx context.Context, order string) (r request, err error) {
	if g.Intake == nil {
		return r, nil
	}
	r, _, err = backbone.Load(ctx, g.Intake.Log, requests, order)
	if err != nil {
		return r, unavailable(err)
	}
	return r, nil
}

// awaited is an order as far as its service has not heard of it: pending where its basket was checked out, or where it was taken in that it be;
// rejected where that was refused then.
func (g *gateway) awaited(ctx context.Context, id string) (o Order, err error) {
	b, ok, err := g.Baskets.Basket(ctx, id)
	if err != nil {
		return o, unavailable(err)
	}
	if !ok {
		return o, door.NotFound("order")
	}
	o = Order{ID: id, Customer: b.Customer, Status: "pending", Total: b.Total}
	if b.Status != BasketCheckedOut || b.Order != id {
		r, err := g.taken(ctx, id)
		switch {
		case err != nil:
			return o, err
		case !r.Taken:
			return o, door.NotFound("order")
		case r.Refused != "":
			o.Status, o.Reason = "rejected", r.Refused
		}
	}
	for _, l := range b.Lines {
		o.Items = append(o.Items, l.Item)
	}
	return o, nil
}
