package kiosk_test

import (
	"testing"

	"example.org/souk/backbone"
	"example.org/souk/backbone/backbonetest"
	"example.org/souk/gateway/kiosk"
	"example.org/souk/mall"
	"example.org/souk/mall/baskets"
	"example.org/souk/mall/command"
	"example.org/souk/mall/customers"
	"example.org/souk/mall/depot"
	"example.org/souk/mall/entrance"
	"example.org/souk/mall/event"
	"example.org/souk/mall/exitgate"
	"example.org/souk/mall/fastlane"
	"example.org/souk/mall/inventory"
	"example.org/souk/mall/logistics"
	"example.org/souk/mall/orders"
	"example.org/souk/mall/payments"
	"example.org/souk/mall/stores"
)

// E5: what was taken in while baskets and orders are away goes on when they are there, once; what
// only baskets can refuse is known to the gateway afterwards, and not taken in again. Red where the events lead to nothing.
func TestE5_WhatWasTakenInGoesOn(t *testing.T) {
	t.Parallel()
	w := backbonetest.Start(t, backbonetest.Config{Parts: []*backbone.Service{
		kiosk.Service(), baskets.Service(baskets.Config{}), orders.Service(orders.Config{Baskets: true}), stores.Service(), customers.Service(),
		inventory.Service(), depot.Service(depot.Config{}), payments.Service(nil, payments.Config{}), entrance.Service(), exitgate.Service(),
		fastlane.Service("EUR"), logistics.Service(nil),
	}})
	quote := mall.Quote{Product: "p", Price: eur(1000), PriceVersion: 1}
	w.Do(t, command.RegisterCustomer{Customer: "c", Name: "sealed:v1:c:x"})
	w.Do(t, command.PlaceOrder{
		Order: "o", Customer: "c", WaitForStock: true, Items: []mall.Item{{Product: "p", SKU: "p", Name: "P", Price: eur(1000), Quantity: 1}},
	})
	w.Do(t, command.StartBasket{Basket: "b", Customer: "c", MayBuy: true})
	w.Do(t, command.AddItem{Basket: "b", Item: mall.Item{Product: "p", SKU: "p", Name: "P", Price: eur(1000), Quantity: 2}, Sold: true})
	w.Settle(t)
	for _, service := range []string{"baskets", "orders"} {
		if err := w.Runtime().Pause(t.Context(), service); err != nil {
			t.Fatal(err)
		}
	}
	checkout := kiosk.TakeCheckout{Checkout: command.CheckoutBasket{Basket: "b", Order: "b", Prices: []mall.Quote{quote}}}
	nothing := kiosk.TakeCheckout{Checkout: command.CheckoutBasket{Basket: "x", Order: "x", Prices: []mall.Quote{quote}}}
	for _, c := range []backbone.Command{checkout, checkout, nothing} {
		w.Do(t, c) // without an id, as from two kiosks
	}
	w.Do(t, kiosk.TakeCancel{Cancel: command.CancelOrder{Order: "o", Reason: "changed my mind"}})
	for _, service := range []string{"orders", "baskets"} {
		if err := w.Runtime().Resume(t.Context(), service); err != nil {
			t.Fatal(err)
		}
	}
	w.Settle(t)
	n := 0
	for _, e := range w.Events(t, "baskets") {
		if e, ok := e.(event.BasketCheckedOut); ok && e.Order == "b" && e.Total == eur(2000) {
			n++
		}
	}
	if n != 1 {
		t.Errorf("checked out %d times", n)
	}
	if v, _, err := orders.Get(t.Context(), w.Reader("orders"), "o"); err != nil || v.Status != orders.Canceled {
		t.Errorf("the order is %+v, %v", v, err)
	}
	if s := w.Saga(t, kiosk.Gate, "checkout", "b"); s != backbone.SagaCompleted {
		t.Errorf("the saga is %s", s)
	}
	w.Refused(t, "basket_unknown", nothing)
}

// What stands in the log stands there for ever.
func TestFrozenSamples(t *testing.T) {
	t.Parallel()
	checkout := command.CheckoutBasket{
		Basket: "BASKET_001", Order: "BASKET_001", Payment: "PAYMENT_001", WaitForStock: true, WhenShort: mall.ShortRest,
		Prices: []mall.Quote{{Product: "PRODUCT_001", Price: eur(1150), PriceVersion: 3}},
	}
	cancel := command.CancelOrder{Order: "BASKET_001", Reason: "canceled by the customer"}
	backbonetest.Frozen(t,
		kiosk.TakeCheckout{Checkout: checkout}, kiosk.CheckoutTaken{Checkout: checkout}, kiosk.TakeCancel{Cancel: cancel}, kiosk.CancelTaken{Cancel: cancel},
		kiosk.TurnAway{Order: "BASKET_001", Code: "not_open"}, kiosk.CheckoutTurnedAway{Order: "BASKET_001", Code: "not_open"},
	)
}
