package house

import (
	"slices"
	"testing"

	"example.org/souk/backbone"
)

// What others must carry on they hear from the first event on: a basket that was checked out, or a visitor who left, before the service that is to
// see to it first ran, as where the processes of a new version begin one after the other. Red when one of these is heard from now on only.
func TestF7_WhatMustBeCarriedOnIsHeardFromTheFirst(t *testing.T) {
	t.Parallel()
	want := map[string][]string{
		"orders":    {"souk.baskets.BasketCheckedOut.v1"},
		"payments":  {"souk.fastlane.PaymentDue.v1", "souk.fastlane.ItemPriced.v1"},
		"inventory": {"souk.exitgate.CustomerDeparted.v1", "souk.logistics.GoodsReceived.v1"},
		"exitgate":  {"souk.entrance.CustomerArrived.v1"},
		"entrance":  {"souk.exitgate.CustomerDeparted.v1"},
		"fastlane":  {"souk.exitgate.CustomerDeparted.v1"},
	}
	m := backbone.Describe(Parts(Ports{}))
	for service, events := range want {
		for _, event := range events {
			if !slices.ContainsFunc(m.Services, func(s backbone.MapService) bool {
				return s.Name == service && slices.ContainsFunc(s.Subscribes, func(sub backbone.MapSubscription) bool {
					return sub.Event == event && sub.Saga == "" && sub.From == "first"
				})
			}) {
				t.Errorf("%s does not hear %s from the first", service, event)
			}
		}
	}
}
