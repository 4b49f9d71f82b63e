package online_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"example.org/souk/backbone"
	"example.org/souk/backbone/backbonetest"
	"example.org/souk/gateway/online"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/customers"
	"example.org/souk/mall/depot"
	"example.org/souk/mall/entrance"
	"example.org/souk/mall/exitgate"
	"example.org/souk/mall/fastlane"
	"example.org/souk/mall/inventory"
	"example.org/souk/mall/logistics"
	"example.org/souk/mall/orders"
	"example.org/souk/mall/payments"
	"example.org/souk/mall/stores"
)

// counter is a mall behind an intake, with owners that can be away.
type counter struct {
	*backbonetest.World
	intake online.Intake
	away   atomic.Bool
	asked  atomic.Int64 // how often the catalogue's owner was
}

var errAway = errors.New("nobody answers")

func openCounter(t *testing.T) *counter {
	c := &counter{World: backbonetest.Start(t, backbonetest.Config{Parts: []*backbone.Service{
		online.Service(), orders.Service(orders.Config{}), stores.Service(), customers.Service(), inventory.Service(), payments.Service(nil, payments.Config{}),
		entrance.Service(), exitgate.Service(), fastlane.Service("EUR"), logistics.Service(nil), depot.Service(depot.Config{}),
	}})}
	c.intake = online.Intake{Local: c.Runtime(), Log: c.Reader(online.ServiceName), Owner: c}
	c.Do(t, command.CreateStore{Store: "s", Name: "S", Location: mall.MainLocation})
	c.Do(t, command.EnableParticipation{Store: "s"})
	c.Do(t, command.AddProduct{Product: "p", Store: "s", Name: "P", SKU: "p", Price: euro(1000)})
	c.Do(t, command.ReceiveStock{SKU: "p", Location: mall.MainLocation, Quantity: 10})
	c.Do(t, command.RegisterCustomer{Customer: "c", Name: "sealed:v1:c:x"})
	c.Settle(t)
	return c
}

func euro(amount int64) mall.Money { return mall.Money{Amount: amount, Currency: "EUR"} }

// Order implements online.Orders as the owner does.
func (c *counter) Order(ctx context.Context, id string) (online.Order, bool, error) {
	if c.away.Load() {
		return online.Order{}, false, errAway
	}
	v, found, err := orders.Get(ctx, c.Reader("orders"), id)
	return online.Order{ID: id, Customer: v.Customer, Status: v.Shown(), Items: v.Items, Total: v.Total}, found, err
}

func (c *counter) Feed(context.Context, string, int64, int) ([]online.Entry, error) {
	return nil, errAway
}

// Product implements online.Catalogue as the owner does.
func (c *counter) Product(ctx context.Context, id string) (online.Product, bool, error) {
	c.asked.Add(1)
	if c.away.Load() {
		return online.Product{}, false, errAway
	}
	p, found, err := stores.Get(ctx, c.Reader("stores"), id)
	return online.Product{SKU: p.SKU, Name: p.Name, Price: p.Price}, found && p.Orderable, err
}

func order(id string, quantity int64) command.PlaceOrder {
	return command.PlaceOrder{Order: id, Customer: "c", Items: []mall.Item{{Product: "p", SKU: "p", Name: "P", Price: euro(1000), Quantity: quantity}}}
}

// E5: what was accepted while orders is away is seen as pending once orders answers again and has not taken it up, and goes on
// by itself. Red when the event leads to nothing.
func TestE5_WhatWasAcceptedGoesOn(t *testing.T) {
	c := openCounter(t)
	if err := c.Runtime().Pause(t.Context(), "orders"); err != nil {
		t.Fatal(err)
	}
	a, err := c.intake.Do(t.Context(), order("o1", 2), backbone.WithID("place-o1"))
	if err != nil || a.Err() != nil || a.Repeated {
		t.Fatalf("%+v, %v", a, err)
	}
	if o, ok, err := c.intake.Order(t.Context(), "o1"); err != nil || !ok || o.Status != "PENDING" || o.Customer != "c" || o.Total != euro(2000) {
		t.Fatalf("%+v, %v, %v", o, ok, err)
	}
	if a, err = c.intake.Do(t.Context(), order("o1", 2), backbone.WithID("place-o1")); err != nil || !a.Repeated {
		t.Fatalf("a repeat: %+v, %v", a, err)
	}
	if _, err = c.intake.Do(t.Context(), order("o1", 3), backbone.WithID("place-o1")); !errors.Is(err, backbone.ErrDifferentCommand) {
		t.Fatalf("another order under the id: %v", err)
	}
	c.away.Store(true)
	if _, _, err := c.intake.Order(t.Context(), "o1"); !errors.Is(err, errAway) {
		t.Fatalf("an order of which nobody knows how it stands: %v", err)
	}
	c.away.Store(false)
	if err := c.Runtime().Resume(t.Context(), "orders"); err != nil {
		t.Fatal(err)
	}
	c.Settle(t)
	if o, _, err := c.intake.Order(t.Context(), "o1"); err != nil || o.Status != "APPROVED" {
		t.Fatalf("%+v, %v", o, err)
	}
	if l, err := inventory.Get(t.Context(), c.Reader("inventory"), "p", mall.MainLocation); err != nil || l.Available != 8 {
		t.Fatalf("stock %+v, %v", l, err)
	}
}

// A cancel that was accepted before orders has heard of the order comes after it. Red when the two go by streams of their own.
func TestE7_CancelComesAfterItsOrder(t *testing.T) {
	c := openCounter(t)
	if err := c.Runtime().Pause(t.Context(), "orders"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.intake.Do(t.Context(), order("o1", 2), backbone.WithID("place-o1")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.intake.Do(t.Context(), command.CancelOrder{Order: "o1", Reason: "changed my mind"}, backbone.WithID("cancel-o1")); err != nil {
		t.Fatal(err)
	}
	if err := c.Runtime().Resume(t.Context(), "orders"); err != nil {
		t.Fatal(err)
	}
	c.Settle(t)
	if o, _, err := c.intake.Order(t.Context(), "o1"); err != nil || o.Status != "CANCELED" {
		t.Fatalf("%+v, %v", o, err)
	}
	if l, err := inventory.Get(t.Context(), c.Reader("inventory"), "p", mall.MainLocation); err != nil || l.Available != 10 {
		t.Fatalf("stock %+v, %v", l, err)
	}
}

// E3: an order that only its owner can refuse is seen as rejected by whom it was accepted from. Red when the refusal is dropped.
func TestE3_WhatTheOwnerRefusesIsSeen(t *testing.T) {
	c := openCounter(t)
	other := order("o1", 1)
	other.Customer = "d"
	c.Do(t, other) // placed elsewhere
	if a, err := c.intake.Do(t.Context(), order("o1", 2)); err != nil || a.Err() != nil {
		t.Fatalf("%+v, %v", a, err)
	}
	c.Settle(t)
	o, ok, err := c.intake.Order(t.Context(), "o1")
	if err != nil || !ok || o.Customer != "c" || o.Status != "REJECTED" || o.Shortage == nil || o.Shortage.Reason != "order_exists" {
		t.Fatalf("%+v, %v, %v", o, ok, err)
	}
}

// The gateway prices from what it has heard, also while the catalogue's owner is away, and asks for what it has not.
func TestB2_CatalogueOfTheGateway(t *testing.T) {
	c := openCounter(t)
	c.Do(t, command.IncreasePrice{Product: "p", Price: euro(1200)})
	c.Do(t, command.RebrandProduct{Product: "p", Name: "P2"})
	c.Settle(t)
	c.away.Store(true)
	p, ok, err := c.intake.Product(t.Context(), "p")
	if err != nil || !ok || p != (online.Product{SKU: "p", Name: "P2", Price: euro(1200)}) || c.asked.Load() != 0 {
		t.Fatalf("%+v, %v, %v, asked %d times", p, ok, err, c.asked.Load())
	}
	if _, _, err := c.intake.Product(t.Context(), "q"); !errors.Is(err, errAway) {
		t.Fatalf("what it has not heard of: %v", err)
	}
	c.away.Store(false)
	if _, ok, err := c.intake.Product(t.Context(), "q"); ok || err != nil {
		t.Fatalf("what nobody sells: %v, %v", ok, err)
	}
	for _, cmd := range []backbone.Command{
		command.DisableParticipation{Store: "s"}, command.EnableParticipation{Store: "s"}, command.RemoveProduct{Product: "p"},
	} {
		c.Do(t, cmd)
		c.Settle(t)
		_, ok, err := c.intake.Product(t.Context(), "p")
		if want := cmd.CommandType() == command.EnableParticipationV1; err != nil || ok != want {
			t.Fatalf("after %s: %v, %v", cmd.CommandType(), ok, err)
		}
	}
}

// What stands in the log stands there for ever.
func TestFrozenSamples(t *testing.T) {
	place, cancel := order("ORDER_001", 3), command.CancelOrder{Order: "ORDER_001", Reason: "canceled by the customer"}
	backbonetest.Frozen(t,
		online.TakeOrder{Order: place}, online.TakeCancel{Cancel: cancel},
		online.TurnAway{Order: "ORDER_001", Code: "order_exists", Detail: "another order has this id"},
		online.OrderTaken{Order: place}, online.CancelTaken{Cancel: cancel},
		online.OrderTurnedAway{Order: "ORDER_001", Code: "order_exists", Detail: "another order has this id"},
	)
}
