package logistics

import (
	"slices"

	"example.org/souk/backbone"
	"example.org/souk/mall/command"
	"example.org/souk/mall/event"
)

// What the service refuses; compare with errors.Is.
var (
	ErrUnknown  = backbone.Refuse("purchase_unknown", "there is no such purchase")
	ErrWrongSKU = backbone.Refuse("wrong_sku", "the purchase is of something else")
	ErrOver     = backbone.Refuse("purchase_over", "all of the purchase has come")
)

// purchase is the state of a purchase. The zero value is one that nobody proposed.
type purchase struct {
	SKU        string
	Location   string
	Open       int64 // pieces that are still to come
	Sent       bool
	Canceled   bool
	Deliveries []string // that came
}

var purchases = &backbone.Aggregate[purchase]{
	Name:   "purchase",
	Public: []backbone.Event{event.PurchaseProposed{}, event.PurchaseSent{}, event.PurchaseCanceled{}, event.GoodsReceived{}},
	Evolve: evolve,
}

func evolve(s purchase, e backbone.Event) purchase {
	switch e := e.(type) {
	case event.PurchaseProposed:
		return purchase{SKU: e.SKU, Location: e.Location, Open: e.Quantity}
	case event.PurchaseSent:
		s.Sent = true
	case event.GoodsReceived:
		s.Open -= e.Settled
		s.Deliveries = append(slices.Clip(s.Deliveries), e.Delivery)
	case event.PurchaseCanceled:
		s.Canceled, s.Open = true, 0
	}
	return s
}

// ProposePurchase asks that more be bought. The service sends it to itself.
type ProposePurchase struct {
	Purchase  string `json:"purchase"`
	SKU       string `json:"sku"`
	Location  string `json:"location"`
	Quantity  int64  `json:"quantity"`
	Threshold int64  `json:"threshold"`
}

// RecordSending brings back what became of a sending. The service sends it to itself.
type RecordSending struct {
	Purchase string `json:"purchase"`
	Failed   bool   `json:"failed,omitempty"`
}

// CommandType returns the wire name.
func (ProposePurchase) CommandType() string { return "souk.logistics.ProposePurchase.v1" }

// Stream returns the id of the purchase.
func (c ProposePurchase) Stream() string { return c.Purchase }

// CommandType returns the wire name.
func (RecordSending) CommandType() string { return "souk.logistics.RecordSending.v1" }

// Stream returns the id of the purchase.
func (c RecordSending) Stream() string { return c.Purchase }

func propose(s purchase, c ProposePurchase, _ backbone.Meta) ([]backbone.Event, error) {
	if s.SKU != "" {
		return nil, nil
	}
	return one(event.PurchaseProposed{
		Purchase: c.Purchase, SKU: c.SKU, Location: c.Location, Quantity: c.Quantity, Threshold: c.Threshold,
	})
}

func recordSending(s purchase, c RecordSending, _ backbone.Meta) ([]backbone.Event, error) {
	switch {
	case s.SKU == "" || s.Sent || s.Canceled:
		return nil, nil
	case c.Failed:
		return one(s.canceled(c.Purchase, ReasonNotSent))
	}
	return one(event.PurchaseSent{Purchase: c.Purchase, SKU: s.SKU, Location: s.Location, Quantity: s.Open})
}

// ReasonNotSent says that the bus of the logistics department was away for too long.
const ReasonNotSent = "not_sent"

func (s purchase) canceled(id, reason string) event.PurchaseCanceled {
	return event.PurchaseCanceled{Purchase: id, SKU: s.SKU, Location: s.Location, Open: s.Open, Reason: reason}
}

func accept(s purchase, c command.AcceptDelivery, _ backbone.Meta) ([]backbone.Event, error) {
	switch {
	case s.SKU == "":
		return nil, ErrUnknown
	case s.SKU != c.SKU:
		return nil, ErrWrongSKU
	case slices.Contains(s.Deliveries, c.Delivery):
		return nil, nil
	}
	return one(event.GoodsReceived{
		Purchase: c.Purchase, Delivery: c.Delivery, SKU: s.SKU, Location: s.Location, Quantity: c.Quantity, Settled: min(c.Quantity, s.Open),
	})
}

func cancel(s purchase, c command.CancelPurchase, _ backbone.Meta) ([]backbone.Event, error) {
	switch {
	case s.SKU == "":
		return nil, ErrUnknown
	case s.Canceled:
		return nil, nil
	case s.Open == 0:
		return nil, ErrOver
	}
	return one(s.canceled(c.Purchase, c.Reason))
}

func one(e backbone.Event) ([]backbone.Event, error) { return []backbone.Event{e}, nil }
