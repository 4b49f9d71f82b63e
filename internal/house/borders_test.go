package house

import (
	"reflect"
	"slices"
	"testing"

	"example.org/souk/backbone"
	"example.org/souk/backbone/backbonetest"
	"example.org/souk/gateway/partner"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/event"
	"example.org/souk/mall/exitgate"
)

// reaches is what may reach each service of the mall with the events that it subscribes to and the commands that it
// handles: what a person is called and where to reach them, what something costs, what goods and shops are called.
var reaches = map[string][]string{
	"stores":        {"name", "price"},
	"customers":     {"person"},
	"baskets":       {"person", "name", "price"},
	"orders":        {"name", "price"},
	"inventory":     nil,
	"payments":      {"price"},
	"notifications": {"name", "person", "price"},
	"analytics":     {"name", "price"},
	"search":        {"name", "person", "price"},
	"entrance":      {"person"},
	"greeter":       {"person", "price"},
	"exitgate":      {"name", "price"},
	"fastlane":      {"name", "price"},
	"logistics":     nil,
	"depot":         {"name"},
	"devices":       {"person", "price"},
	"staff":         nil,
	"keys":          nil,
	"partner":       {"name", "price"},
}

// sorts adds what a type carries, at any depth.
func sorts(of reflect.Type, into map[string]bool) {
	switch {
	case of == reflect.TypeFor[mall.Personal]():
		into["person"] = true
	case of == reflect.TypeFor[mall.Money]():
		into["price"] = true
	case of.Kind() == reflect.Slice:
		sorts(of.Elem(), into)
	case of.Kind() == reflect.Struct:
		for i := range of.NumField() {
			f := of.Field(i)
			if (f.Name == "Name" || f.Name == "Description") && f.Type.Kind() == reflect.String && f.Type != reflect.TypeFor[mall.Personal]() {
				into["name"] = true
			}
			sorts(f.Type, into)
		}
	}
}

// F16: no event and no command carries to a service what it does not need. Red when inventory subscribes to ProductAdded.
func TestF16_NothingCrossesABorderThatIsNotNeeded(t *testing.T) {
	t.Parallel()
	types := map[string]reflect.Type{}
	for _, e := range event.All() {
		types[e.EventType()] = reflect.TypeOf(e)
	}
	for _, c := range command.All() {
		types[c.CommandType()] = reflect.TypeOf(c)
	}
	partners, err := partner.Open(partner.Config{Account: defaultPartner, Instance: "here"})
	if err != nil {
		t.Fatal(err)
	}
	services := backbone.Describe(Parts(Ports{Partners: partners})).Services
	for _, s := range services {
		found := map[string]map[string]bool{} // sort -> the types that carry it
		take := func(wire string) {
			of, known := types[wire]
			if !known {
				return // of its own: inventory's commands to itself, what comes back from a call
			}
			carried := map[string]bool{}
			sorts(of, carried)
			for sort := range carried {
				if found[sort] == nil {
					found[sort] = map[string]bool{}
				}
				found[sort][wire] = true
			}
		}
		for _, c := range s.Handles {
			take(c.Command)
		}
		subscribed := slices.Clone(s.Subscribes)
		for _, v := range s.Views {
			subscribed = append(subscribed, v.Events...)
		}
		for _, sub := range subscribed {
			if sub.Owner != s.Name {
				take(sub.Event)
			}
		}
		allowed, known := reaches[s.Name]
		if !known {
			t.Errorf("say what may reach %s", s.Name)
		}
		for sort, by := range found {
			if !slices.Contains(allowed, sort) {
				t.Errorf("%s is told of a %s, which it does not need, by %v", s.Name, sort, by)
			}
		}
		for _, sort := range allowed {
			if found[sort] == nil {
				t.Errorf("%s may be told of a %s and never is", s.Name, sort)
			}
		}
	}
	if len(services) != len(reaches) {
		t.Errorf("there are %d services, and of %d it is said what may reach them", len(services), len(reaches))
	}
}

// What a product is restocked by reaches inventory without the product's name and price. Red when stores does not tell it
// apart, or inventory does not hear it.
func TestF16_AThresholdReachesInventory(t *testing.T) {
	t.Parallel()
	w := backbonetest.Start(t, backbonetest.Config{Parts: Parts(Ports{})})
	w.Do(t, command.CreateStore{Store: "hall", Name: "Main hall", Location: mall.MainLocation})
	w.Do(t, command.AddProduct{
		Product: "lamp", Store: "hall", Name: "Brass lamp", SKU: "LAMP-01",
		Price: mall.Money{Amount: 4900, Currency: "EUR"}, RestockThreshold: 5, RestockQuantity: 20,
	})
	w.Settle(t)
	w.Do(t, command.ReceiveStock{SKU: "LAMP-01", Location: mall.MainLocation, Quantity: 6})
	w.Do(t, command.AdjustStock{SKU: "LAMP-01", Location: mall.MainLocation, Delta: -2, Reason: "broken"})
	w.Settle(t)
	want := event.RestockNeeded{SKU: "LAMP-01", Location: mall.MainLocation, OnHand: 4, Threshold: 5, Quantity: 20}
	if events := w.Events(t, "inventory"); !slices.Contains(events, backbone.Event(want)) {
		t.Errorf("inventory says %+v, want %+v among it", events, want)
	}
}

// A barcode that a product is given later reaches the gate that scans it, and the one before means nothing there any more.
func TestABarcodeReachesTheGate(t *testing.T) {
	t.Parallel()
	w := backbonetest.Start(t, backbonetest.Config{Parts: Parts(Ports{})})
	w.Do(t, command.CreateStore{Store: "hall", Name: "Main hall", Location: mall.MainLocation})
	w.Do(t, command.AddProduct{Product: "lamp", Store: "hall", Name: "Brass lamp", SKU: "LAMP-01", Barcode: "77", Price: mall.Money{Amount: 4900, Currency: "EUR"}})
	w.Do(t, command.AssignBarcode{Product: "lamp", Barcode: "78"})
	w.Settle(t)
	for scanned, want := range map[string]string{"78": "LAMP-01", "77": "", "lamp": "LAMP-01"} {
		if sku, _, err := exitgate.SKU(t.Context(), w.Reader("exitgate"), "hall", scanned); err != nil || sku != want {
			t.Errorf("%s means %q (%v), want %q", scanned, sku, err, want)
		}
	}
}
