package stores

import (
	"errors"
	"reflect"
	"testing"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/event"
	"pgregory.net/rapid"
)

func eur(amount int64) mall.Money { return mall.Money{Amount: amount, Currency: "EUR"} }

var (
	created = event.StoreCreated{Store: "s1", Name: "Paper & Ink", Location: "main"}
	enabled = event.ParticipationEnabled{Store: "s1"}
	added   = event.ProductAdded{Product: "p1", Store: "s1", Location: "main", Name: "Pen", SKU: "pen", Price: eur(1000)}
	removed = event.ProductRemoved{Product: "p1", Store: "s1", SKU: "pen"}
	raised  = event.PriceIncreased{Product: "p1", Store: "s1", SKU: "pen", From: eur(1000), Price: eur(1100), PriceVersion: 2}
)

type history map[string][]backbone.Event

func store1(list ...backbone.Event) history { return history{"store/s1": list} }
func product1(list ...backbone.Event) history {
	return history{"store/s1": {created}, "product/p1": list}
}

func TestDecisions(t *testing.T) {
	t.Parallel()
	add := command.AddProduct{Product: "p1", Store: "s1", Name: "Pen", SKU: "pen", Price: eur(1000)}
	for _, c := range []struct {
		name    string
		given   history
		when    backbone.Command
		then    backbone.Event
		refused error
	}{
		{"a store", nil, command.CreateStore{Store: "s1", Name: "Paper & Ink", Location: "main"}, created, nil},
		{"a store twice", store1(created), command.CreateStore{Store: "s1", Name: "Other", Location: "main"}, nil, ErrStoreExists},
		{"another name", store1(created), command.RebrandStore{Store: "s1", Name: "Ink"}, event.StoreRebranded{Store: "s1", Name: "Ink"}, nil},
		{"the same name", store1(created), command.RebrandStore{Store: "s1", Name: "Paper & Ink"}, nil, nil},
		{"a name for nothing", nil, command.RebrandStore{Store: "s1", Name: "Ink"}, nil, ErrStoreUnknown},
		{"takes part", store1(created), command.EnableParticipation{Store: "s1"}, enabled, nil},
		{"takes part already", store1(created, enabled), command.EnableParticipation{Store: "s1"}, nil, nil},
		{"nothing takes part", nil, command.EnableParticipation{Store: "s1"}, nil, ErrStoreUnknown},
		{"stops", store1(created, enabled), command.DisableParticipation{Store: "s1"}, event.ParticipationDisabled{Store: "s1"}, nil},
		{"stopped already", store1(created), command.DisableParticipation{Store: "s1"}, nil, nil},
		{"nothing stops", nil, command.DisableParticipation{Store: "s1"}, nil, ErrStoreUnknown},

		{"a product", store1(created), add, added, nil},
		{"a product of no store", nil, add, nil, ErrStoreUnknown},
		{"a product twice", product1(added), add, nil, ErrProductExists},
		{"a removed product again", product1(added, removed), add, nil, ErrProductExists},
		{"rebranded", product1(added), command.RebrandProduct{Product: "p1", Name: "Quill"}, event.ProductRebranded{Product: "p1", Store: "s1", SKU: "pen", Name: "Quill"}, nil},
		{"named as before", product1(added), command.RebrandProduct{Product: "p1", Name: "Pen"}, nil, nil},
		{"nothing rebranded", nil, command.RebrandProduct{Product: "p1", Name: "Pen"}, nil, ErrProductUnknown},
		{"the removed rebranded", product1(added, removed), command.RebrandProduct{Product: "p1", Name: "Quill"}, nil, ErrProductRemoved},

		{"dearer", product1(added), command.IncreasePrice{Product: "p1", Price: eur(1100)}, raised, nil},
		{"no dearer", product1(added), command.IncreasePrice{Product: "p1", Price: eur(1000)}, nil, ErrNotHigher},
		{"dearer in yen", product1(added), command.IncreasePrice{Product: "p1", Price: mall.Money{Amount: 9000, Currency: "JPY"}}, nil, ErrCurrency},
		{"the removed dearer", product1(added, removed), command.IncreasePrice{Product: "p1", Price: eur(1100)}, nil, ErrProductRemoved},
		{
			"cheaper", product1(added, raised),
			command.DecreasePrice{Product: "p1", Price: eur(900)},
			event.PriceDecreased{Product: "p1", Store: "s1", SKU: "pen", From: eur(1100), Price: eur(900), PriceVersion: 3},
			nil,
		},
		{"no cheaper", product1(added), command.DecreasePrice{Product: "p1", Price: eur(1000)}, nil, ErrNotLower},
		{"cheaper in yen", product1(added), command.DecreasePrice{Product: "p1", Price: mall.Money{Amount: 9, Currency: "JPY"}}, nil, ErrCurrency},
		{"nothing cheaper", nil, command.DecreasePrice{Product: "p1", Price: eur(1)}, nil, ErrProductUnknown},

		{"removed", product1(added), command.RemoveProduct{Product: "p1"}, removed, nil},
		{"removed twice", product1(added, removed), command.RemoveProduct{Product: "p1"}, nil, nil},
		{"nothing removed", nil, command.RemoveProduct{Product: "p1"}, nil, ErrProductUnknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := decide(t, c.given, c.when)
			if !errors.Is(err, c.refused) || (err == nil) != (c.refused == nil) {
				t.Errorf("refused %v, want %v", err, c.refused)
			}
			var want []backbone.Event
			if c.then != nil {
				want = append(want, c.then)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("events %+v, want %+v", got, want)
			}
		})
	}
}

// A product that is to be restocked says so twice: to all who show it, and apart from its name and price to those who count.
func TestAProductThatIsRestocked(t *testing.T) {
	t.Parallel()
	got, err := decide(t, store1(created), command.AddProduct{
		Product: "p1", Store: "s1", Name: "Pen", SKU: "pen", Price: eur(1000), RestockThreshold: 5, RestockQuantity: 20,
	})
	restocked := added
	restocked.RestockThreshold, restocked.RestockQuantity = 5, 20
	want := []backbone.Event{restocked, event.RestockThresholdSet{SKU: "pen", Location: "main", Threshold: 5, Quantity: 20}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("events %+v (%v), want %+v", got, err, want)
	}
	if was, is := products.Fold(want[:1]...), products.Fold(want...); is != was {
		t.Errorf("the threshold made the product %+v from %+v", is, was)
	}
}

func decide(t testing.TB, given history, c backbone.Command) ([]backbone.Event, error) {
	t.Helper()
	for _, h := range Service().Handles {
		if h.CommandType() != c.CommandType() {
			continue
		}
		appended, err := h.Decision(given, c, backbone.Meta{})
		var events []backbone.Event
		for _, a := range appended {
			events = append(events, a.Events...)
		}
		return events, err
	}
	t.Fatalf("nobody handles %s", c.CommandType())
	return nil, nil
}

// Versions of prices have no gaps, and each price knows the one before.
func TestPriceVersionsAreDense(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		past := []backbone.Event{added}
		last, version := eur(1000), int64(1)
		for range rapid.IntRange(1, 40).Draw(rt, "commands") {
			price := eur(rapid.Int64Range(0, 50).Draw(rt, "price"))
			c := rapid.SampledFrom([]backbone.Command{
				command.IncreasePrice{Product: "p1", Price: price},
				command.DecreasePrice{Product: "p1", Price: price},
				command.RebrandProduct{Product: "p1", Name: "Quill"},
			}).Draw(rt, "command")
			events, _ := decide(t, product1(past...), c)
			for _, e := range events {
				switch e := e.(type) {
				case event.PriceIncreased:
					if e.From != last || e.PriceVersion != version+1 || e.Price.Amount <= last.Amount {
						rt.Fatalf("%+v after %v, version %d", e, last, version)
					}
					last, version = e.Price, e.PriceVersion
				case event.PriceDecreased:
					if e.From != last || e.PriceVersion != version+1 || e.Price.Amount >= last.Amount {
						rt.Fatalf("%+v after %v, version %d", e, last, version)
					}
					last, version = e.Price, e.PriceVersion
				}
			}
			past = append(past, events...)
			if s := products.Fold(past...); s.Price != last || s.PriceVersion != version {
				rt.Fatalf("the state says %v, version %d", s.Price, s.PriceVersion)
			}
		}
	})
}

func TestServiceIsWellFormed(t *testing.T) {
	t.Parallel()
	if err := backbone.Check([]*backbone.Service{Service()}); err != nil {
		t.Fatal(err)
	}
}
