package stores

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/backbonetest"
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
	coded   = event.BarcodeAssigned{Product: "p1", Store: "s1", SKU: "pen", Barcode: "4006381333931"}
	filed   = event.ProductCategorized{Product: "p1", Store: "s1", SKU: "pen", Category: "Ink"}
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

		{"a barcode", product1(added), command.AssignBarcode{Product: "p1", Barcode: "4006381333931"}, coded, nil},
		{"the same barcode", product1(added, coded), command.AssignBarcode{Product: "p1", Barcode: "4006381333931"}, nil, nil},
		{"no barcode any more", product1(added, coded), command.AssignBarcode{Product: "p1"}, event.BarcodeAssigned{Product: "p1", Store: "s1", SKU: "pen"}, nil},
		{"a barcode for nothing", nil, command.AssignBarcode{Product: "p1", Barcode: "1"}, nil, ErrProductUnknown},
		{"a barcode for the removed", product1(added, removed), command.AssignBarcode{Product: "p1", Barcode: "1"}, nil, ErrProductRemoved},

		{"a category", product1(added), command.CategorizeProduct{Product: "p1", Category: "Ink"}, filed, nil},
		{"the same category", product1(added, filed), command.CategorizeProduct{Product: "p1", Category: "Ink"}, nil, nil},
		{"no category any more", product1(added, filed), command.CategorizeProduct{Product: "p1"}, event.ProductCategorized{Product: "p1", Store: "s1", SKU: "pen"}, nil},
		{"a category for nothing", nil, command.CategorizeProduct{Product: "p1", Category: "Ink"}, nil, ErrProductUnknown},
		{"a category for the removed", product1(added, removed), command.CategorizeProduct{Product: "p1", Category: "Ink"}, nil, ErrProductRemoved},

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

// What is read of shops, products, barcodes and prices is as of now, and prices as of any time; a rebuild changes nothing.
func TestCatalogue(t *testing.T) {
	t.Parallel()
	w := backbonetest.Start(t, backbonetest.Config{Parts: []*backbone.Service{Service()}})
	ctx, r := t.Context(), w.Reader("stores")
	add := func(product, store string) command.AddProduct {
		return command.AddProduct{Product: product, Store: store, Name: product, SKU: product, Barcode: "400" + product, Category: "All", Price: eur(1000)}
	}
	for _, c := range []backbone.Command{
		command.CreateStore{Store: "s1", Name: "Paper & Ink", Location: "main"},
		command.CreateStore{Store: "s2", Name: "Tea house", Location: "annex"},
		command.EnableParticipation{Store: "s1"},
		add("ink", "s1"), add("pen", "s1"), add("quill", "s1"), add("tea", "s2"),
		command.RemoveProduct{Product: "quill"},
	} {
		w.Do(t, c)
	}
	begun := w.Clock.Now()
	for n, c := range []backbone.Command{
		command.IncreasePrice{Product: "pen", Price: eur(1100)},
		command.DecreasePrice{Product: "pen", Price: eur(900)},
		command.AssignBarcode{Product: "pen", Barcode: "77"},
		command.RebrandStore{Store: "s1", Name: "Ink & Paper"},
		command.CategorizeProduct{Product: "pen", Category: "Writing"},
		command.CategorizeProduct{Product: "tea", Category: "Tea"},
	} {
		w.Clock.Set(begun.Add(time.Duration(n+1) * time.Hour))
		w.Do(t, c)
	}
	check := func() {
		t.Helper()
		for at, want := range map[time.Duration]Price{
			0: {Version: 1, Price: eur(1000)}, 59 * time.Minute: {Version: 1, Price: eur(1000)}, time.Hour: {Version: 2, Price: eur(1100)},
			2*time.Hour - time.Microsecond: {Version: 2, Price: eur(1100)}, 2 * time.Hour: {Version: 3, Price: eur(900)}, 1000 * time.Hour: {Version: 3, Price: eur(900)},
		} {
			p, found, err := PriceAt(ctx, r, "pen", begun.Add(at))
			if err != nil || !found || p.Version != want.Version || p.Price != want.Price {
				t.Errorf("after %s the price is %+v (%v %v), want %+v", at, p, found, err, want)
			}
		}
		if _, found, err := PriceAt(ctx, r, "pen", begun.Add(-time.Microsecond)); found || err != nil {
			t.Errorf("a price before it was sold: %v", err)
		}
		for _, c := range []struct{ store, barcode, want string }{
			{"", "77", "pen"}, {"s1", "77", "pen"}, {"s2", "77", ""}, {"", "400pen", ""}, {"", "400ink", "ink"}, {"", "400quill", ""}, {"", "400tea", ""}, {"", "", ""},
		} {
			p, found, err := FindBarcode(ctx, r, c.store, c.barcode)
			if err != nil || p.Product != c.want || found != (c.want != "") {
				t.Errorf("%q of %q is %q (%v)", c.barcode, c.store, p.Product, err)
			}
		}
		for f, want := range map[Filter]string{
			{}: "ink pen tea", {After: "ink"}: "pen tea", {Store: "s2"}: "tea", {Orderable: true}: "ink pen", {Store: "s2", Orderable: true}: "",
			{Category: "Writing"}: "pen", {Category: "Tea"}: "tea", {Category: "Tea", Orderable: true}: "", {Category: "Tea", Store: "s1"}: "", {Category: "All"}: "ink",
		} {
			list, err := List(ctx, r, f, 10)
			var got []string
			for _, p := range list {
				got = append(got, p.Product)
			}
			if err != nil || strings.Join(got, " ") != want {
				t.Errorf("%+v lists %v (%v), want %s", f, got, err, want)
			}
		}
		for store, want := range map[string]string{"": "All Writing", "s1": "All Writing", "s2": "", "s3": ""} { // of what can be ordered
			if got, err := Categories(ctx, r, store, 10); err != nil || strings.Join(got, " ") != want {
				t.Errorf("the categories of %q are %v (%v)", store, got, err)
			}
		}
		all, err := ListStores(ctx, r, "", false, 10)
		want := []Store{{"s1", "Ink & Paper", "main", true}, {"s2", "Tea house", "annex", false}}
		open, openErr := ListStores(ctx, r, "", true, 10)
		second, secondErr := ListStores(ctx, r, "s1", false, 10)
		if err := errors.Join(err, openErr, secondErr); err != nil || !reflect.DeepEqual(all, want) ||
			!reflect.DeepEqual(open, want[:1]) || !reflect.DeepEqual(second, want[1:]) {
			t.Errorf("%+v %+v %+v (%v)", all, open, second, err)
		}
		if s, found, err := GetStore(ctx, r, "s2"); err != nil || !found || s != want[1] {
			t.Errorf("%+v %v %v", s, found, err)
		}
		if _, found, err := GetStore(ctx, r, "s3"); err != nil || found {
			t.Errorf("a shop that is not there: %v", err)
		}
	}
	check()
	if err := w.Runtime().Rebuild(ctx, "stores", "catalogue", nil); err != nil {
		t.Fatal(err)
	}
	check()
}

func TestServiceIsWellFormed(t *testing.T) {
	t.Parallel()
	if err := backbone.Check([]*backbone.Service{Service()}); err != nil {
		t.Fatal(err)
	}
}
