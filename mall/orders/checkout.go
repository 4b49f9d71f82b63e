package orders

import (
	"encoding/json"
	"slices"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/event"
)

// purchase is what the checkout carries from step to step.
type purchase struct {
	Order    string      `json:"order"`
	Customer string      `json:"customer"`
	Lines    []mall.Line `json:"lines"`
	Total    mall.Money  `json:"total"`
	Payment  string      `json:"payment,omitempty"`
	Wait     bool        `json:"wait,omitempty"`
	Expires  int64       `json:"expires"`

	// For a checkout with a depot.
	Stops     []mall.Stop    `json:"stops,omitempty"`
	WhenShort mall.WhenShort `json:"whenShort,omitempty"`
}

const (
	authorizeCustomer = "authorize customer"
	reserveTheStock   = "reserve stock"
	createList        = "create shopping list"
	confirmPayment    = "confirm payment"
)

// holdLonger is how much longer the stock is held than the order may wait. The order decides when it expires, and has its
// stock released; the reservation's own end is there for the case that nobody comes to do so, and must not come first.
const holdLonger = time.Hour

// stepPatience is how long a step waits for its answer where a shop does not say.
const stepPatience = 30 * time.Second

// undone is why stock and payment are given back.
const undone = "the order was undone"

// checkout takes an order from placed to approved, or undoes it. A step of another service that does not answer is
// waited for, up to the order's own end; only money is not left in doubt for so long.
var checkout = &backbone.Saga[purchase]{
	Name:    "checkout",
	Version: 1,
	Starts: backbone.StartsOn(func(e event.OrderPlaced, _ backbone.Meta) (string, purchase) {
		return e.Order, purchase{
			Order: e.Order, Customer: e.Customer, Lines: mall.Lines(e.Items), Total: e.Total,
			Payment: e.Payment, Wait: e.WaitForStock, Expires: e.Expires,
		}
	}),
	Steps: []backbone.Step[purchase]{
		{
			Name: authorizeCustomer,
			Do: func(p purchase) backbone.Command {
				return command.AuthorizeCustomer{Customer: p.Customer, Order: p.Order}
			},
			OnTimeout: backbone.Wait,
		},
		{
			Name: reserveTheStock,
			Do: func(p purchase) backbone.Command {
				return command.ReserveStock{
					Order: p.Order, Lines: p.Lines, Location: mall.MainLocation, Wait: p.Wait,
					Expires: p.Expires + holdLonger.Microseconds(),
				}
			},
			// This covers what CommitStock does as well: what is committed is released alike.
			Undo: func(p purchase) backbone.Command {
				return command.ReleaseStock{Order: p.Order, Lines: p.Lines, Location: mall.MainLocation, Reason: undone}
			},
			Then: func(p purchase, a backbone.Answer) (purchase, []backbone.Command, backbone.Progress) {
				reserved := a.Ref(event.StockReservedV1)
				if reserved == "" {
					return p, nil, backbone.Stay // a backorder: StockReserved will tell
				}
				return p, p.recordStock(reserved), backbone.Next
			},
			OnTimeout: backbone.Wait,
		},
		{
			Name: confirmPayment,
			When: func(p purchase) bool { return p.Payment != "" },
			Do: func(p purchase) backbone.Command {
				return command.ConfirmPayment{Payment: p.Payment, Order: p.Order, Customer: p.Customer, Amount: p.Total}
			},
			Undo: func(p purchase) backbone.Command {
				return command.VoidPayment{Payment: p.Payment, Order: p.Order, Reason: undone}
			},
			OnTimeout: backbone.Compensate,
		},
		{
			Name:  "approve",
			Local: func(p purchase) backbone.Command { return command.ApproveOrder{Order: p.Order} },
			Pivot: true,
		},
		{
			Name: "commit stock",
			Do: func(p purchase) backbone.Command {
				return command.CommitStock{Order: p.Order, Lines: p.Lines, Location: mall.MainLocation}
			},
			OnTimeout: backbone.Wait,
		},
	},
	Advances: []backbone.SagaAdvance[purchase]{
		backbone.AdvancesOn(reserveTheStock,
			func(e event.StockReserved) string { return e.Order },
			func(p purchase, _ event.StockReserved, m backbone.Meta) (purchase, []backbone.Command, backbone.Progress) {
				return p, p.recordStock(m.ID), backbone.Next
			}),
	},
	Aborts: []backbone.SagaAbort[purchase]{
		backbone.AbortsOn(func(e event.OrderCancelling) string { return e.Order },
			func(p purchase) backbone.Command { return command.FinishCancelOrder{Order: p.Order} }),
		backbone.AbortsOn[purchase](func(e event.OrderExpired) string { return e.Order }, nil),
	},
	Rejected: rejection,
}

// checkoutWithDepot is the checkout of a mall in which robots fetch the goods: the depot learns what is to be fetched before
// the order is approved, and has it fetched afterwards.
var checkoutWithDepot = &backbone.Saga[purchase]{
	Name:    checkout.Name,
	Version: 2,
	Starts: backbone.StartsOn(func(e event.OrderPlaced, _ backbone.Meta) (string, purchase) {
		return e.Order, purchase{
			Order: e.Order, Customer: e.Customer, Lines: mall.Lines(e.Items), Total: e.Total,
			Payment: e.Payment, Wait: e.WaitForStock, Expires: e.Expires, Stops: mall.Stops(e.Items), WhenShort: e.WhenShort,
		}
	}),
	Steps: []backbone.Step[purchase]{
		// An event advances a step by its number, in the newest version: the steps up to the stock stay where they are.
		checkout.Steps[0],
		checkout.Steps[1],
		{
			Name: createList,
			Do: func(p purchase) backbone.Command {
				return command.CreateShoppingList{List: p.Order, Order: p.Order, Stops: p.Stops, WhenShort: p.WhenShort}
			},
			// However far the list has come by then: what was fetched goes back.
			Undo: func(p purchase) backbone.Command {
				return command.CancelList{List: p.Order, Reason: undone}
			},
			OnTimeout: backbone.Wait,
		},
		checkout.Steps[2], // confirm payment
		checkout.Steps[3], // approve
		{
			Name:      "initiate shopping",
			Do:        func(p purchase) backbone.Command { return command.InitiateShopping{List: p.Order} },
			OnTimeout: backbone.Wait,
		},
		checkout.Steps[4], // commit stock
	},
	Advances: checkout.Advances,
	Aborts:   checkout.Aborts,
	Rejected: rejection,
}

// within returns the checkout of a shop whose steps wait so long for an answer.
func within(saga *backbone.Saga[purchase], patience time.Duration) *backbone.Saga[purchase] {
	c := *saga
	c.Steps = slices.Clone(c.Steps)
	for i := range c.Steps {
		if c.Steps[i].Do != nil {
			c.Steps[i].Timeout = patience
		}
	}
	return &c
}

func (p purchase) recordStock(inventoryEvent string) []backbone.Command {
	return []backbone.Command{command.ReserveOrderStock{Order: p.Order, Lines: p.Lines, InventoryEvent: inventoryEvent}}
}

// rejection says to the customer why a step was refused.
func rejection(p purchase, step string, r backbone.Refusal) backbone.Command {
	c := command.RejectOrder{Order: p.Order, Reason: r.Code}
	switch step {
	case authorizeCustomer:
		c.Reason = mall.ReasonCustomerRefused
	case confirmPayment:
		c.Reason = mall.ReasonPaymentRefused
	case reserveTheStock:
		var short event.StockRejected
		if err := json.Unmarshal(r.Data, &short); err == nil && short.SKU != "" {
			c.Reason, c.SKU, c.Wanted, c.Available = mall.ReasonOutOfStock, short.SKU, short.Wanted, short.Available
		}
	}
	return c
}
