package logistics

import (
	"context"
	"errors"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"example.org/souk/backbone"
	"example.org/souk/backbone/backbonetest"
	"example.org/souk/mall/command"
	"example.org/souk/mall/event"
)

var (
	needed   = ProposePurchase{Purchase: "p1", SKU: "pen", Location: "main", Quantity: 20, Threshold: 5}
	proposed = event.PurchaseProposed{Purchase: "p1", SKU: "pen", Location: "main", Quantity: 20, Threshold: 5}
	sent     = event.PurchaseSent{Purchase: "p1", SKU: "pen", Location: "main", Quantity: 20}
)

func received(delivery string, n, settled int64) event.GoodsReceived {
	return event.GoodsReceived{Purchase: "p1", Delivery: delivery, SKU: "pen", Location: "main", Quantity: n, Settled: settled}
}

func canceled(open int64, reason string) event.PurchaseCanceled {
	return event.PurchaseCanceled{Purchase: "p1", SKU: "pen", Location: "main", Open: open, Reason: reason}
}

func delivery(id string, n int64) command.AcceptDelivery {
	return command.AcceptDelivery{Purchase: "p1", Delivery: id, SKU: "pen", Quantity: n}
}

func events(list ...backbone.Event) []backbone.Event { return list }

func TestPurchases(t *testing.T) {
	t.Parallel()
	drop := command.CancelPurchase{Purchase: "p1", Reason: "sold out"}
	wrong := delivery("d1", 20)
	wrong.SKU = "ink"
	for name, c := range map[string]struct {
		given   []backbone.Event
		when    backbone.Command
		then    []backbone.Event
		refused string
	}{
		"needed":                       {nil, needed, events(proposed), ""},
		"needed, told twice":           {events(proposed), needed, nil, ""},
		"out":                          {events(proposed), RecordSending{Purchase: "p1"}, events(sent), ""},
		"out twice":                    {events(proposed, sent), RecordSending{Purchase: "p1"}, nil, ""},
		"never out":                    {events(proposed), RecordSending{Purchase: "p1", Failed: true}, events(canceled(20, ReasonNotSent)), ""},
		"never out, canceled before":   {events(proposed, canceled(20, "x")), RecordSending{Purchase: "p1", Failed: true}, nil, ""},
		"came":                         {events(proposed, sent), delivery("d1", 20), events(received("d1", 20, 20)), ""},
		"came, told twice":             {events(proposed, sent, received("d1", 20, 20)), delivery("d1", 20), nil, ""},
		"came in parts":                {events(proposed, sent, received("d1", 15, 15)), delivery("d2", 5), events(received("d2", 5, 5)), ""},
		"more came than was open":      {events(proposed, sent, received("d1", 15, 15)), delivery("d2", 9), events(received("d2", 9, 5)), ""},
		"came before we knew it went":  {events(proposed), delivery("d1", 20), events(received("d1", 20, 20)), ""},
		"came though it was canceled":  {events(proposed, sent, canceled(20, "x")), delivery("d1", 20), events(received("d1", 20, 0)), ""},
		"canceled":                     {events(proposed, sent), drop, events(canceled(20, "sold out")), ""},
		"canceled after a part":        {events(proposed, sent, received("d1", 15, 15)), drop, events(canceled(5, "sold out")), ""},
		"canceled twice":               {events(proposed, sent, canceled(20, "x")), drop, nil, ""},
		"canceled when all had come":   {events(proposed, sent, received("d1", 20, 20)), drop, nil, "purchase_over"},
		"came for nobody":              {nil, delivery("d1", 20), nil, "purchase_unknown"},
		"nobody's canceled":            {nil, drop, nil, "purchase_unknown"},
		"something else came":          {events(proposed, sent), wrong, nil, "wrong_sku"},
		"nobody's sending comes back":  {nil, RecordSending{Purchase: "p1"}, nil, ""},
		"sending fails after delivery": {events(proposed, sent, received("d1", 20, 20)), RecordSending{Purchase: "p1", Failed: true}, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := backbonetest.Given(t, Service(nil), c.given...).When(c.when)
			if c.refused != "" {
				o.ThenRefused(c.refused, c.then...)
				return
			}
			o.Then(c.then...)
		})
	}
}

// What is on order goes down by what is settled, never below nothing, and each delivery counts once.
func TestOpenAddsUp(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		history := events(proposed, sent)
		open, seen := int64(20), map[string]bool{}
		for range rapid.IntRange(1, 20).Draw(rt, "steps") {
			d := rapid.SampledFrom([]string{"d1", "d2", "d3", "d4", "d5"}).Draw(rt, "delivery")
			c := delivery(d, rapid.Int64Range(1, 9).Draw(rt, "n"))
			out, err := accept(purchases.Fold(history...), c, backbone.Meta{})
			if err != nil || (len(out) == 1) == seen[d] {
				rt.Fatalf("delivery %s, seen %v: %v %v", d, seen[d], out, err)
			}
			for _, e := range out {
				open -= e.(event.GoodsReceived).Settled
			}
			seen[d], history = true, append(history, out...)
			if s := purchases.Fold(history...); s.Open != open || open < 0 {
				rt.Fatalf("open %d, want %d", s.Open, open)
			}
		}
	})
}

type bus struct{ err error }

func (b bus) Send(context.Context, Order) error { return b.err }

func TestCalls(t *testing.T) {
	t.Parallel()
	m := backbone.Meta{ID: "p1", Time: backbonetest.Epoch}
	o := Order{Purchase: "p1", SKU: "pen", Location: "main", Quantity: 20, Threshold: 5, Asked: m.Time.UnixMicro()}
	want := []backbone.Effect{backbone.MakeCall(sendName, "p1", "p1", o, m.Time.Add(patience))}
	if got := sendWhenProposed(proposed, m); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	if got := outcome(o, backbone.CallOutcome{Failed: true}); got != (RecordSending{Purchase: "p1", Failed: true}) {
		t.Errorf("%+v", got)
	}
	away := errors.New("away")
	if _, err := (busCaller{bus{away}}).Call(t.Context(), backbone.CallRequest{}, o); !errors.Is(err, away) {
		t.Errorf("%v", err)
	}
	needs := event.RestockNeeded{SKU: "pen", Location: "main", OnHand: 4, Threshold: 5, Quantity: 20}
	if got := proposeWhenNeeded(needs, m); !reflect.DeepEqual(got, []backbone.Effect{backbone.Send(needed)}) {
		t.Errorf("%+v", got)
	}
	needs.Quantity = 0
	if got := proposeWhenNeeded(needs, m); got != nil {
		t.Errorf("nothing is bought as: %+v", got)
	}
}

func TestFrozenSamples(t *testing.T) {
	t.Parallel()
	backbonetest.Frozen(t,
		ProposePurchase{Purchase: "PURCHASE_001", SKU: "PRODUCT_001", Location: "main", Quantity: 20, Threshold: 5},
		RecordSending{Purchase: "PURCHASE_001", Failed: true},
	)
}
