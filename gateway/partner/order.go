package partner

import (
	"example.org/souk/backbone"
	"example.org/souk/mall"
)

// Why an order or a message is refused.
const (
	CauseUnknownItem = "unknown_item" // nobody sells it now
	CauseMalformed   = "malformed"    // no order can be read from it
)

// TakePartnerOrder asks that an order of a partner be taken. The gateway sends it for each message that it could read.
type TakePartnerOrder struct {
	Order      string `json:"order"` // derived from Account and ID
	Connection string `json:"connection"`
	Account    string `json:"account"`
	ID         string `json:"id"`
	Item       string `json:"item"`
	Quantity   int64  `json:"quantity"`
	// Product is what Item is called in the catalogue; the zero value where nobody sells it.
	Product mall.Item `json:"product,omitzero"`
	// Redelivered says that the broker has handed the message out before.
	Redelivered bool `json:"redelivered,omitempty"`
}

// CommandType returns the wire name.
func (TakePartnerOrder) CommandType() string { return "souk.partner.TakePartnerOrder.v1" }

// Stream returns the id of the order.
func (c TakePartnerOrder) Stream() string { return c.Order }

func (c TakePartnerOrder) asked() asked { return asked{c.ID, c.Item, c.Quantity} }

// RefusePartnerOrder brings back that the orders service has refused an order. The saga sends it.
type RefusePartnerOrder struct {
	Order      string `json:"order"`
	Connection string `json:"connection"`
	ID         string `json:"id"`
	Item       string `json:"item"`
	Quantity   int64  `json:"quantity"`
	Cause      string `json:"cause"`
	Detail     string `json:"detail,omitempty"`
}

// CommandType returns the wire name.
func (RefusePartnerOrder) CommandType() string { return "souk.partner.RefusePartnerOrder.v1" }

// Stream returns the id of the order.
func (c RefusePartnerOrder) Stream() string { return c.Order }

// AnnounceOrder asks that partners be told of an order. The service sends it to itself.
type AnnounceOrder struct {
	Order    string      `json:"order"`
	Customer string      `json:"customer"`
	Total    mall.Money  `json:"total"`
	Items    []mall.Item `json:"items"`
}

// CommandType returns the wire name.
func (AnnounceOrder) CommandType() string { return "souk.partner.AnnounceOrder.v1" }

// Stream returns the id of the order.
func (c AnnounceOrder) Stream() string { return c.Order }

// RecordUnpublished brings back that a connection was not told of an order. The service sends it to itself.
type RecordUnpublished struct {
	Order      string `json:"order"`
	Connection string `json:"connection"`
	Cause      string `json:"cause"`
}

// CommandType returns the wire name.
func (RecordUnpublished) CommandType() string { return "souk.partner.RecordUnpublished.v1" }

// Stream returns the id of the order.
func (c RecordUnpublished) Stream() string { return c.Order }

// OrderTaken says that an order of a partner was taken, at the catalogue's price of then.
type OrderTaken struct {
	Order      string    `json:"order"`
	Connection string    `json:"connection"`
	Account    string    `json:"account"`
	ID         string    `json:"id"`
	Item       string    `json:"item"`
	Quantity   int64     `json:"quantity"`
	Product    mall.Item `json:"product"`
}

// EventType returns the wire name.
func (OrderTaken) EventType() string { return "souk.partner.OrderTaken.v1" }

// OrderRepeated says that an order came again and was passed over: duplicate, ignored. Where Redelivered is set, it may
// be a copy that the broker made.
type OrderRepeated struct {
	Order       string `json:"order"`
	Connection  string `json:"connection"`
	Redelivered bool   `json:"redelivered,omitempty"`
}

// EventType returns the wire name.
func (OrderRepeated) EventType() string { return "souk.partner.OrderRepeated.v1" }

// OrderConflicted says that another order came under the id of one that was taken, and was passed over.
type OrderConflicted struct {
	Order         string `json:"order"`
	Connection    string `json:"connection"`
	ID            string `json:"id"`
	Item          string `json:"item"`
	Quantity      int64  `json:"quantity"`
	TakenItem     string `json:"takenItem"`
	TakenQuantity int64  `json:"takenQuantity"`
}

// EventType returns the wire name.
func (OrderConflicted) EventType() string { return "souk.partner.OrderConflicted.v1" }

// OrderRefused says that an order of a partner could not be placed: Cause is CauseUnknownItem, after which the partner may
// send it again, or the code of the orders service's refusal.
type OrderRefused struct {
	Order      string `json:"order"`
	Connection string `json:"connection"`
	ID         string `json:"id"`
	Item       string `json:"item"`
	Quantity   int64  `json:"quantity"`
	Cause      string `json:"cause"`
	Detail     string `json:"detail,omitempty"`
}

// EventType returns the wire name.
func (OrderRefused) EventType() string { return "souk.partner.OrderRefused.v1" }

// OrderAnnounced says what partners are told of an order. From is the connection that it came from; empty: it was placed
// elsewhere.
type OrderAnnounced struct {
	Order    string      `json:"order"`
	Customer string      `json:"customer"`
	Total    mall.Money  `json:"total"`
	Items    []mall.Item `json:"items"`
	From     string      `json:"from,omitempty"`
}

// EventType returns the wire name.
func (OrderAnnounced) EventType() string { return "souk.partner.OrderAnnounced.v1" }

// OrderUnpublished says that a connection was given up before it was told of an order.
type OrderUnpublished struct {
	Order      string `json:"order"`
	Connection string `json:"connection"`
	Cause      string `json:"cause"`
}

// EventType returns the wire name.
func (OrderUnpublished) EventType() string { return "souk.partner.OrderUnpublished.v1" }

// order is the state of an order: what a partner asked for, and whether partners are told of it.
type order struct {
	Asked     asked // the zero value: it was not taken from a partner
	From      string
	Customer  string
	Announced bool
}

var orders = &backbone.Aggregate[order]{
	Name: "order",
	Private: []backbone.Event{
		OrderTaken{}, OrderRepeated{}, OrderConflicted{}, OrderRefused{}, OrderAnnounced{}, OrderUnpublished{},
	},
	Evolve: func(o order, e backbone.Event) order {
		switch e := e.(type) {
		case OrderTaken:
			o.Asked, o.From, o.Customer = asked{e.ID, e.Item, e.Quantity}, e.Connection, e.Account
		case OrderAnnounced:
			o.Announced = true
		}
		return o
	},
}

func take(o order, c TakePartnerOrder, _ backbone.Meta) ([]backbone.Event, error) {
	switch {
	case o.Asked == c.asked():
		return one(OrderRepeated{c.Order, c.Connection, c.Redelivered})
	case o.Asked != asked{}:
		return one(OrderConflicted{
			Order: c.Order, Connection: c.Connection, ID: c.ID, Item: c.Item, Quantity: c.Quantity,
			TakenItem: o.Asked.Item, TakenQuantity: o.Asked.Quantity,
		})
	case c.Product == mall.Item{}:
		return one(OrderRefused{
			Order: c.Order, Connection: c.Connection, ID: c.ID, Item: c.Item, Quantity: c.Quantity, Cause: CauseUnknownItem,
		})
	}
	return one(OrderTaken{
		Order: c.Order, Connection: c.Connection, Account: c.Account, ID: c.ID, Item: c.Item, Quantity: c.Quantity, Product: c.Product,
	})
}

func refuse(_ order, c RefusePartnerOrder, _ backbone.Meta) ([]backbone.Event, error) {
	return one(OrderRefused(c))
}

func announce(o order, c AnnounceOrder, _ backbone.Meta) ([]backbone.Event, error) {
	if o.Announced {
		return nil, nil
	}
	e := OrderAnnounced{Order: c.Order, Customer: c.Customer, Total: c.Total, Items: c.Items}
	if o.Customer == c.Customer { // otherwise somebody else has an order of that id
		e.From = o.From
	}
	return one(e)
}

func unpublished(_ order, c RecordUnpublished, _ backbone.Meta) ([]backbone.Event, error) {
	return one(OrderUnpublished(c))
}

func one(e backbone.Event) ([]backbone.Event, error) { return []backbone.Event{e}, nil }

// RefusePartnerMessage keeps a message that no order can be read from. The gateway sends it.
type RefusePartnerMessage struct {
	Message     string `json:"message"` // a hash of where it came from and what it is
	Connection  string `json:"connection"`
	Cause       string `json:"cause"`
	Detail      string `json:"detail"`
	Body        kept   `json:"body"`
	Redelivered bool   `json:"redelivered,omitempty"`
}

// CommandType returns the wire name.
func (RefusePartnerMessage) CommandType() string { return "souk.partner.RefusePartnerMessage.v1" }

// Stream returns the hash.
func (c RefusePartnerMessage) Stream() string { return c.Message }

// PartnerMessageRefused says that no order could be read from a message, and why. At most 64 KiB of it are kept.
type PartnerMessageRefused struct {
	Message    string `json:"message"`
	Connection string `json:"connection"`
	Cause      string `json:"cause"`
	Detail     string `json:"detail"`
	Body       kept   `json:"body"`
}

// EventType returns the wire name.
func (PartnerMessageRefused) EventType() string { return "souk.partner.PartnerMessageRefused.v1" }

// refused is the state of a message that was refused.
type refused struct{ Kept bool }

var messages = &backbone.Aggregate[refused]{
	Name:    "message",
	Private: []backbone.Event{PartnerMessageRefused{}},
	Evolve:  func(refused, backbone.Event) refused { return refused{Kept: true} },
}

// keepMessage keeps a message each time that it is sent, but not what a broker hands out again.
func keepMessage(s refused, c RefusePartnerMessage, _ backbone.Meta) ([]backbone.Event, error) {
	if s.Kept && c.Redelivered {
		return nil, nil
	}
	return one(PartnerMessageRefused{Message: c.Message, Connection: c.Connection, Cause: c.Cause, Detail: c.Detail, Body: c.Body})
}
