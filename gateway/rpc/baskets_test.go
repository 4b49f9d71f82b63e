package rpc

import (
	"strings"
	"testing"

	"example.org/souk/backbone"
	"example.org/souk/mall/command"
	"example.org/souk/mall/depot"
	"example.org/souk/mall/event"
)

// shop is stock, and a shop that takes no part.
func (b *bench) shop() {
	b.t.Helper()
	b.stock()
	for _, c := range []backbone.Command{
		command.AddProduct{Product: "ink", Store: "hall", Name: "Ink", SKU: "INK", Barcode: "4006381333931", Price: eur(500)},
		command.CreateStore{Store: "attic", Name: "Attic", Location: "main"},
		command.AddProduct{Product: "clock", Store: "attic", Name: "Clock", SKU: "CLOCK", Price: eur(9000)},
	} {
		b.Do(b.t, c)
	}
	b.Settle(b.t)
}

// calls makes calls one after the other and compares what they are answered: the code of an error, or "".
func (b *bench) calls(caller string, list ...string) {
	b.t.Helper()
	for i := 0; i < len(list); i += 3 {
		if answer, code := b.json(caller, list[i], list[i+1]); code != list[i+2] {
			b.t.Errorf("%s of %s by %s: %q %v, want %q", list[i], list[i+1], caller, code, answer, list[i+2])
		}
	}
}

// said is a member of an answer, by a path such as "basket.items.0.name".
func said(answer map[string]any, path string) any {
	var at any = answer
	for _, name := range strings.Split(path, ".") {
		switch v := at.(type) {
		case map[string]any:
			at = v[name]
		case []any:
			if len(v) <= int(name[0]-'0') {
				return nil
			}
			at = v[name[0]-'0']
		}
	}
	return at
}

// B2, B10 and B11 over the wire: from the start of a basket to its order, with a price that changes on the way. Red when a price in a
// request is taken for the catalogue's, and when a changed one is not asked about.
func TestB2_ABasketOverTheWire(t *testing.T) {
	t.Parallel()
	b := begin(t)
	b.shop()
	const me = "customer:C1"
	b.calls(me,
		"BasketsService/StartBasket", `{"commandId":"k1","basket":"B1","customer":"C1"}`, "",
		"BasketsService/StartBasket", `{"commandId":"k1","basket":"B1","customer":"C1"}`, "",
		"BasketsService/StartBasket", `{"commandId":"k2","basket":"B1","customer":"C1"}`, "failed_precondition",
		"BasketsService/AddItem", `{"commandId":"k3","basket":"B1","product":"pen","quantity":3}`, "",
		"BasketsService/AddItem", `{"commandId":"k3","basket":"B1","product":"pen","quantity":3}`, "",
		"BasketsService/AddItem", `{"commandId":"k4","basket":"B1","product":"pen","quantity":1,"price":{"amount":"1000","currency":"EUR"}}`, "",
		"BasketsService/AddItem", `{"commandId":"k5","basket":"B1","product":"pen","quantity":1,"price":{"amount":"1","currency":"EUR"}}`, "failed_precondition",
		"BasketsService/AddItem", `{"commandId":"k6","basket":"B1","product":"ink","quantity":0}`, "invalid_argument",
		"BasketsService/AddItem", `{"commandId":"k7","basket":"B1","product":"ink","quantity":-1}`, "invalid_argument",
		"BasketsService/AddItem", `{"commandId":"k8","basket":"B1","product":"clock","quantity":1}`, "failed_precondition",
		"BasketsService/AddItem", `{"commandId":"k9","basket":"B1","product":"nothing","quantity":1}`, "failed_precondition",
		"BasketsService/AddItem", `{"commandId":"k10","basket":"B1","product":"ink","quantity":1}`, "",
		"BasketsService/RemoveItem", `{"commandId":"k11","basket":"B1","product":"pen","quantity":2}`, "",
		"BasketsService/RemoveItem", `{"commandId":"k12","basket":"B1","product":"pen","quantity":3}`, "failed_precondition",
		"BasketsService/RemoveItem", `{"commandId":"k13","basket":"B1","product":"pen","quantity":0}`, "invalid_argument",
	)
	b.Do(t, command.IncreasePrice{Product: "pen", Price: eur(1150)})
	b.Settle(t)
	answer, code := b.json(me, "BasketsService/GetBasket", `{"basket":"B1"}`)
	for path, want := range map[string]any{
		"basket.status": "BASKET_STATUS_OPEN", "basket.customer": "C1", "basket.total.amount": "2500",
		"basket.items.0.quantity": "2", "basket.items.0.price.amount": "1000", "basket.items.0.changed.price.amount": "1150",
		"basket.items.0.changed.priceVersion": "2", "basket.items.0.storeName": "Hall", "basket.items.0.sold": true,
		"basket.items.1.product": "ink", "basket.items.1.changed": nil, "basket.items.2": nil,
	} {
		if got := said(answer, path); code != "" || got != want {
			t.Errorf("%s is %v, want %v in %s %v", path, got, want, code, answer)
		}
	}
	b.calls(me,
		"BasketsService/AddItem", `{"commandId":"k3","basket":"B1","product":"pen","quantity":3}`, "", // the first answer, at another price
		"BasketsService/AddItem", `{"commandId":"k3","basket":"B1","product":"pen","quantity":4}`, "already_exists",
		"BasketsService/AddItem", `{"commandId":"k4","basket":"B1","product":"pen","quantity":1,"price":{"amount":"1000","currency":"EUR"}}`, "",
		"BasketsService/CheckoutBasket", `{"commandId":"k14","basket":"B1","order":"O1"}`, "failed_precondition",
		"BasketsService/AcceptPrices", `{"commandId":"k15","basket":"B1","prices":[{"product":"pen","price":{"amount":"1000","currency":"EUR"}}]}`, "failed_precondition",
		"BasketsService/AcceptPrices", `{"commandId":"k16","basket":"B1"}`, "invalid_argument",
		"BasketsService/AcceptPrices", `{"commandId":"k17","basket":"B1","prices":[{"product":"pen","price":{"amount":"1150","currency":"EUR"},"priceVersion":"2"}]}`, "",
		"BasketsService/ExtendBasket", `{"commandId":"k18","basket":"B1"}`, "",
		"BasketsService/CheckoutBasket", `{"commandId":"k19","basket":"B1","order":"O1","whenShort":99}`, "invalid_argument",
		"BasketsService/CheckoutBasket", `{"commandId":"k20","basket":"B1","order":"O1","whenShort":"WHEN_SHORT_REST"}`, "",
		"BasketsService/CheckoutBasket", `{"commandId":"k21","basket":"B1","order":"O2"}`, "failed_precondition",
		"BasketsService/CancelBasket", `{"commandId":"k22","basket":"B1","reason":"too late"}`, "failed_precondition",
	)
	b.Do(t, command.IncreasePrice{Product: "pen", Price: eur(9999)})
	b.Settle(t)
	answer, code = b.json(me, "BasketsService/CheckoutBasket", `{"commandId":"k20","basket":"B1","order":"O1","whenShort":"WHEN_SHORT_REST"}`)
	if code != "" || said(answer, "answer.repeated") != true || said(answer, "answer.events.0.type") != event.BasketCheckedOutV1 {
		t.Errorf("again: %s %v", code, answer)
	}
	events := b.Events(t, "baskets")
	out, ok := events[len(events)-1].(event.BasketCheckedOut)
	if !ok || out.Total != eur(2800) || out.Order != "O1" || out.WhenShort != "rest" || len(out.Items) != 2 || out.Items[0].PriceVersion != 2 {
		t.Errorf("%+v", events[len(events)-1])
	}
	answer, _ = b.json(me, "BasketsService/GetBasket", `{"basket":"B1"}`)
	if said(answer, "basket.status") != "BASKET_STATUS_CHECKED_OUT" || said(answer, "basket.order") != "O1" || said(answer, "basket.items.0.changed") != nil {
		t.Errorf("%v", answer)
	}
}

// A basket is its customer's: to another it is not there, whatever they ask of it. Red when a method does not ask whose it is.
func TestBasketsAreTheirCustomers(t *testing.T) {
	t.Parallel()
	b := begin(t)
	b.shop()
	b.calls("customer:C2", "BasketsService/StartBasket", `{"commandId":"a","basket":"B1","customer":"C1"}`, "not_found")
	b.calls("customer:C1",
		"BasketsService/StartBasket", `{"commandId":"a","basket":"B1","customer":"C1"}`, "",
		"BasketsService/AddItem", `{"commandId":"b","basket":"B1","product":"pen","quantity":2}`, "")
	all := []struct{ method, body string }{
		{"BasketsService/GetBasket", `{"basket":"B1"}`},
		{"BasketsService/AddItem", `{"commandId":"c","basket":"B1","product":"pen","quantity":1}`},
		{"BasketsService/RemoveItem", `{"commandId":"d","basket":"B1","product":"pen","quantity":1}`},
		{"BasketsService/AcceptPrices", `{"commandId":"e","basket":"B1","prices":[{"product":"pen","price":{"amount":"1000","currency":"EUR"}}]}`},
		{"BasketsService/ExtendBasket", `{"commandId":"f","basket":"B1"}`},
		{"BasketsService/CheckoutBasket", `{"commandId":"g","basket":"B1"}`},
		{"BasketsService/CancelBasket", `{"commandId":"h","basket":"B1","reason":"no"}`},
	}
	for _, c := range all {
		b.calls("customer:C2", c.method, c.body, "not_found")
	}
	b.calls("customer:C1", "BasketsService/GetBasket", `{"basket":"B2"}`, "not_found", "BasketsService/ExtendBasket", `{"commandId":"i","basket":"B2"}`, "not_found")
	for _, c := range all[:6] {
		b.calls("customer:C1", c.method, c.body, "")
	}
	b.calls("staff:anna",
		"BasketsService/StartBasket", `{"commandId":"j","basket":"B3","customer":"C2"}`, "",
		"BasketsService/CancelBasket", `{"commandId":"k","basket":"B3","reason":"closing time"}`, "",
		"BasketsService/CancelBasket", `{"commandId":"l","basket":"B4","reason":"closing time"}`, "failed_precondition")
}

// B11: a disabled or unknown customer cannot start a basket. A customer of a moment ago, of whom baskets has not heard, can.
func TestB11_WhoStartsABasket(t *testing.T) {
	t.Parallel()
	b := begin(t)
	b.shop()
	b.Do(t, command.DisableCustomer{Customer: "C2"})
	b.Settle(t)
	if err := b.Runtime().Pause(t.Context(), "baskets"); err != nil {
		t.Fatal(err)
	}
	b.Do(t, command.RegisterCustomer{Customer: "C3", Name: "sealed"})
	if err := b.Runtime().Resume(t.Context(), "baskets"); err != nil {
		t.Fatal(err)
	}
	b.calls("customer:C3", "BasketsService/StartBasket", `{"commandId":"a","basket":"B3","customer":"C3"}`, "")
	b.calls("customer:C2", "BasketsService/StartBasket", `{"commandId":"a","basket":"B2","customer":"C2"}`, "failed_precondition")
	b.calls("staff:anna", "BasketsService/StartBasket", `{"commandId":"a","basket":"B4","customer":"nobody"}`, "failed_precondition")
	b.Do(t, command.EnableCustomer{Customer: "C2"})
	b.calls("customer:C2", "BasketsService/StartBasket", `{"commandId":"a","basket":"B2","customer":"C2"}`, "")
}

// A count that is not said is refused and not taken for 0, as which it travels; 0 that is said is 0. Red when what is not said is 0.
func TestB12_ACountThatIsNotSaid(t *testing.T) {
	t.Parallel()
	b := begin(t)
	b.shop()
	b.Do(t, command.ReceiveStock{SKU: "INK", Location: "main", Quantity: 10})
	onHand := func(want string) {
		t.Helper()
		answer, code := b.json("staff:anna", "InventoryService/GetLevel", `{"sku":"INK"}`)
		if got, _ := said(answer, "level.onHand").(string); code != "" || got != want {
			t.Errorf("%q are on hand, want %q: %s", got, want, code)
		}
	}
	count := func(id, counted string) string {
		return `{"commandId":"` + id + `","sku":"INK","reason":"counted"` + counted + `}`
	}
	b.calls("staff:anna", "InventoryService/CountStock", count("a", ``), "invalid_argument",
		"InventoryService/CountStock", count("b", `,"counted":"0"`), "invalid_argument",
		"InventoryService/CountStock", count("c", `,"counted":"3","pieces":"4"`), "invalid_argument",
		"InventoryService/CountStock", count("d", `,"pieces":"-1"`), "invalid_argument")
	onHand("10")
	b.calls("staff:anna", "InventoryService/CountStock", count("e", `,"counted":"7"`), "")
	onHand("7")
	b.calls("staff:anna", "InventoryService/CountStock", count("f", `,"counted":"6","pieces":"6"`), "")
	onHand("6")
	b.calls("staff:anna", "InventoryService/CountStock", count("g", `,"pieces":"0"`), "")
	onHand("")
}

// B12: goods that no shop sells, or has ever sold, are not taken in; what is not sold any more is, and so is what a process of the mall says. Red when any
// SKU is taken, and when that of a removed product is not.
func TestB12_GoodsOfAnUnknownSKU(t *testing.T) {
	t.Parallel()
	b := begin(t)
	b.shop()
	b.calls("staff:anna", "StoresService/RemoveProduct", `{"commandId":"r","product":"ink"}`, "")
	b.calls("staff:anna", "InventoryService/ReceiveStock", `{"commandId":"a","sku":"pen","quantity":"5"}`, "invalid_argument",
		"InventoryService/ReceiveStock", `{"commandId":"a","sku":"NOPE","quantity":"5"}`, "invalid_argument",
		"StoresService/FindProduct", `{"skuOrName":"pen","anyOfSku":true}`, "not_found", "StoresService/FindProduct", `{"skuOrName":"INK"}`, "not_found")
	b.calls("staff:anna", "InventoryService/ReceiveStock", `{"commandId":"b","sku":"PEN","quantity":"5"}`, "")
	b.calls("staff:anna", "InventoryService/ReceiveStock", `{"commandId":"c","sku":"INK","quantity":"5"}`, "")
	b.calls("customer:C1", "StoresService/FindProduct", `{"skuOrName":"INK","anyOfSku":true}`, "")
	b.calls("process:logistics", "InventoryService/ReceiveStock", `{"commandId":"d","sku":"NOPE","quantity":"5"}`, "")
}

// What is read of shops, barcodes and prices.
func TestCatalogueOverTheWire(t *testing.T) {
	t.Parallel()
	b := begin(t)
	b.shop()
	b.calls("customer:C1",
		"StoresService/AssignBarcode", `{"commandId":"a","product":"pen","barcode":"1"}`, "permission_denied",
		"StoresService/CategorizeProduct", `{"commandId":"a","product":"pen","category":"x"}`, "permission_denied",
		"StoresService/GetStore", `{"store":"none"}`, "not_found", "StoresService/GetStore", `{"store":"a b"}`, "invalid_argument",
		"StoresService/FindBarcode", `{"barcode":"1"}`, "not_found", "StoresService/FindBarcode", `{}`, "invalid_argument",
		"StoresService/GetPrice", `{"product":"pen","at":"2001-01-01T00:00:00Z"}`, "not_found", "StoresService/ListStores", `{"after":"a b"}`, "invalid_argument")
	b.calls("staff:anna", "StoresService/AssignBarcode", `{"commandId":"a","product":"pen","barcode":"1"}`, "")
	b.Settle(t) // each shop has a place
	const place = `{"commandId":"p","store":"hall","at":{"x":"500","y":"-700"}}`
	b.calls("customer:C1", "DepotService/PlaceStore", place, "permission_denied")
	b.calls("staff:anna", "DepotService/PlaceStore", strings.Replace(place, "hall", "none", 1), "failed_precondition",
		"DepotService/PlaceStore", `{"commandId":"p1","store":"hall"}`, "invalid_argument",
		"DepotService/PlaceStore", strings.Replace(place, "500", "1000001", 1), "invalid_argument")
	b.calls("staff:anna", "DepotService/PlaceStore", strings.Replace(place, `"p"`, `"p2"`, 1), "")
	placed, err := b.Reader("depot").Log(t.Context(), backbone.ReadQuery{Types: []string{depot.StorePlaced{}.EventType()}, Limit: 1, Descending: true})
	if err != nil || len(placed) != 1 || string(placed[0].Data) != `{"store":"hall","at":{"x":500,"y":-700}}` {
		t.Errorf("%v %+v", err, placed)
	}
	b.calls("staff:anna", "StoresService/CategorizeProduct", `{"commandId":"c","product":"pen","category":"Writing"}`, "")
	b.Do(t, command.IncreasePrice{Product: "pen", Price: eur(1150)})
	for call, want := range map[[3]string]any{
		{"StoresService/GetStore", `{"store":"attic"}`, "store.name"}:                                "Attic",
		{"StoresService/ListStores", `{}`, "stores.1.store"}:                                         "hall",
		{"StoresService/ListStores", `{"participating":true}`, "stores.0.store"}:                     "hall",
		{"StoresService/ListStores", `{"participating":true}`, "stores.1"}:                           nil,
		{"StoresService/FindBarcode", `{"barcode":"1"}`, "product.product"}:                          "pen",
		{"StoresService/GetProduct", `{"product":"pen"}`, "product.category"}:                        "Writing",
		{"StoresService/ListCategories", `{"store":"hall"}`, "categories.0"}:                         "Writing",
		{"StoresService/ListProducts", `{"category":"Writing"}`, "products.0.product"}:               "pen",
		{"StoresService/FindBarcode", `{"barcode":"4006381333931","store":"hall"}`, "product.sku"}:   "INK",
		{"StoresService/ListProducts", `{"store":"attic"}`, "products.0.product"}:                    "clock",
		{"StoresService/ListProducts", `{"store":"attic","orderable":true}`, "products"}:             nil,
		{"StoresService/GetPrice", `{"product":"pen"}`, "price.version"}:                             "2",
		{"StoresService/GetPrice", `{"product":"pen","at":"2200-01-01T00:00:00Z"}`, "price.version"}: "2",
	} {
		answer, code := b.json("customer:C1", call[0], call[1])
		if got := said(answer, call[2]); code != "" || got != want {
			t.Errorf("%v is %v, want %v: %s %v", call, got, want, code, answer)
		}
	}
}
