package kiosk_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"example.org/souk/gateway/door"
	"example.org/souk/gateway/kiosk"
	"example.org/souk/mall/command"
)

type basket struct {
	Basket, Customer, Status, Order, Reason string
	Items                                   []struct {
		Product, Stock string
		Quantity       int64
		Changed, Sold  bool
		Price          struct{ Amount int64 }
		Now            struct {
			Price        struct{ Amount int64 }
			PriceVersion int64
		}
	}
	Total         struct{ Amount int64 }
	PricesChanged bool
	Expires       time.Time
	Version       int64
}

type order struct {
	Order, Pickup, Customer, Status string
	Total                           struct{ Amount int64 }
	Paid                            bool
	Missing                         []struct{ Product, Name string }
	History                         []struct{ Status string }
	Version                         int64
}

func key(k string) []string { return []string{"Idempotency-Key", k} }

// visit registers a guest at a kiosk and returns their session.
func (w *world) visit() (customer, session string) {
	w.t.Helper()
	kiosk1 := w.token(door.Device, "kiosk-1")
	var who struct{ Customer, Token string }
	w.must(201, w.call(kiosk1, "POST", "/customers", `{}`, key(w.t.Name())...), &who)
	w.must(201, w.call(kiosk1, "POST", "/sessions", `{"customer":"`+who.Customer+`"}`), &who)
	return who.Customer, who.Token
}

// A guest comes to a kiosk, buys, has a price changed under their hands, pays at the depot and sees every step.
func TestB16_AGuestAtAKiosk(t *testing.T) {
	t.Parallel()
	w := open(t)
	customer, session := w.visit()
	var b basket
	rec := w.call(session, "POST", "/baskets", "", key("b")...)
	w.must(201, rec, &b)
	if b.Customer != customer || b.Status != "open" || rec.Header().Get("Location") != "/kiosk/v1/baskets/"+b.Basket {
		t.Fatalf("%+v %v", b, rec.Header())
	}
	at := "/baskets/" + b.Basket
	w.must(200, w.call(session, "POST", at+"/items", `{"product":"lamp","quantity":3}`, key("1")...), nil)
	w.must(200, w.call(session, "POST", at+"/items", `{"product":"tea","quantity":2,"price":{"amount":690,"currency":"EUR"}}`, key("2")...), nil)
	w.must(200, w.call(session, "DELETE", at+"/items/lamp?quantity=2", ""), &b)
	if len(b.Items) != 2 || b.Items[0].Quantity != 1 || b.Total.Amount != 4900+2*690 || b.Items[0].Stock != "in_stock" || b.Items[1].Stock != "low" { // B10
		t.Fatalf("%+v", b)
	}
	w.refused(w.call(session, "DELETE", at+"/items/lamp?quantity=2", ""), 409, "too_few")

	w.shop.costs("lamp", 5100)
	w.must(200, w.call(session, "GET", at, ""), &b)
	if !b.PricesChanged || !b.Items[0].Changed || b.Items[0].Now.Price.Amount != 5100 || b.Total.Amount != 4900+2*690 {
		t.Fatalf("%+v", b)
	}
	w.refused(w.call(session, "POST", at+"/checkout", "", key("c")...), 409, "price_changed")
	w.refused(w.call(session, "POST", at+"/prices", `{"prices":[{"product":"lamp","price":{"amount":5000,"currency":"EUR"},"priceVersion":2}]}`), 409, "price_changed")
	w.must(200, w.call(session, "POST", at+"/prices", `{"prices":[{"product":"lamp","price":{"amount":5100,"currency":"EUR"},"priceVersion":2}]}`), &b)
	if b.PricesChanged || b.Total.Amount != 5100+2*690 {
		t.Fatalf("%+v", b)
	}
	before := b.Expires
	w.must(200, w.call(session, "POST", at+"/extend", ""), &b)
	if !b.Expires.After(before) {
		t.Errorf("kept until %v, before %v", b.Expires, before)
	}

	var o order
	rec = w.call(session, "POST", at+"/checkout", `{"whenShort":"ask"}`, key("d")...)
	w.must(202, rec, &o)
	if rec.Header().Get("Location") != "/kiosk/v1/orders/"+o.Order || o.Status != "pending" || o.Total.Amount != 5100+2*690 || len(o.Pickup) != 4 {
		t.Fatalf("%+v %v", o, rec.Header())
	}
	w.refused(w.call(session, "POST", at+"/items", `{"product":"tea","quantity":1}`, key("3")...), 409, "not_open")

	w.refused(w.call(session, "POST", "/orders/"+o.Order+"/pay", ""), 403, "forbidden")
	till := w.token(door.Device, "till-1")
	// While nothing is asked for nothing is taken, and no command sent whose refusal would stay: then it works.
	w.shop.becomes(o.Order, "picking", func(o *kiosk.Order) { o.Owed = false })
	w.refused(w.call(till, "POST", "/orders/"+o.Order+"/pay", ""), 409, "nothing_owed")
	w.shop.becomes(o.Order, "ready", nil)
	rec = w.call(till, "POST", "/orders/"+o.Order+"/pay", "")
	if w.refused(rec, 409, "payment_settling"); rec.Header().Get("Retry-After") != "1" {
		t.Errorf("%v", rec.Header())
	}
	if n := len(w.shop.log); w.shop.log[n-1].CommandType() == command.PayInvoiceV1 {
		t.Error("a payment was sent on its way")
	}
	w.shop.becomes(o.Order, "ready", func(o *kiosk.Order) { o.Owed = true })
	w.must(200, w.call(till, "POST", "/orders/"+o.Order+"/pay", ""), nil)
	w.must(200, w.call(till, "POST", "/orders/"+o.Order+"/pay", ""), nil)
	w.must(200, w.call(session, "GET", "/orders/"+o.Order, ""), &o)
	if !o.Paid {
		t.Error("not paid")
	}
	var list struct{ Orders []order }
	w.must(200, w.call(session, "GET", "/orders", ""), &list)
	if len(list.Orders) != 1 || list.Orders[0].Order != o.Order || list.Orders[0].Pickup != o.Pickup {
		t.Errorf("%+v", list)
	}
	w.must(204, w.call(session, "POST", "/sessions/end", ""), nil)
	w.refused(w.call(session, "GET", "/orders/"+o.Order, ""), 401, "unauthenticated")
	if got := strings.Join(w.shop.actors, " "); !strings.HasPrefix(got, "device:kiosk-1 customer:"+customer) || !strings.HasSuffix(got, "device:till-1") {
		t.Errorf("actors: %s", got)
	}
}

// What was checked out is there at once, though the service of orders has not heard of it yet.
func TestAnOrderIsThereAtOnce(t *testing.T) {
	t.Parallel()
	w := open(t)
	w.shop.placed = false
	_, session := w.visit()
	var b basket
	w.must(201, w.call(session, "POST", "/baskets", "", key("b")...), &b)
	w.must(200, w.call(session, "POST", "/baskets/"+b.Basket+"/items", `{"product":"lamp","quantity":1}`, key("1")...), nil)
	w.refused(w.call(session, "GET", "/orders/"+b.Basket, ""), 404, "not_found")
	var o order
	w.must(202, w.call(session, "POST", "/baskets/"+b.Basket+"/checkout", "", key("c")...), &o)
	w.must(200, w.call(session, "GET", "/orders/"+o.Order, ""), &o)
	if o.Status != "pending" || o.Total.Amount != 4900 || o.Version != 0 {
		t.Errorf("%+v", o)
	}
}

// Somebody's baskets and orders do not exist for anybody else, whatever the route.
func TestB16_OwnershipAndRoles(t *testing.T) {
	t.Parallel()
	w := open(t)
	amina, bruno := w.token(door.Customer, "amina"), w.token(door.Customer, "bruno")
	var b basket
	w.must(201, w.call(amina, "POST", "/baskets", "", key("b")...), &b)
	w.must(200, w.call(amina, "POST", "/baskets/"+b.Basket+"/items", `{"product":"lamp","quantity":1}`, key("1")...), nil)
	at := "/baskets/" + b.Basket
	for _, path := range []string{
		"GET " + at, "GET " + at + "/events", "POST " + at + "/items", "DELETE " + at + "/items/lamp", "POST " + at + "/extend", "POST " + at + "/prices",
		"POST " + at + "/cancel", "POST " + at + "/checkout",
	} {
		method, path, _ := strings.Cut(path, " ")
		body := map[string]string{"items": `{"product":"lamp","quantity":1}`, "prices": `{"prices":[{"product":"lamp","price":{"amount":1,"currency":"EUR"},"priceVersion":1}]}`}[path[strings.LastIndexByte(path, '/')+1:]]
		t.Log(path)
		w.refused(w.call(bruno, method, path, body, key("x")...), 404, "not_found")
		w.refused(w.call(w.token(door.Device, "kiosk-1"), method, path, body, key("x")...), 403, "forbidden")
	}
	var o order
	w.must(202, w.call(amina, "POST", at+"/checkout", "", key("c")...), &o)
	for _, path := range []string{"GET /orders/", "GET /orders/%s/events", "POST /orders/%s/cancel", "POST /orders/%s/short"} {
		method, path, _ := strings.Cut(path, " ")
		if strings.Contains(path, "%s") {
			path = fmt.Sprintf(path, o.Order)
		} else {
			path += o.Order
		}
		body := ""
		if strings.HasSuffix(path, "short") {
			body = `{"choice":"rest"}`
		}
		w.refused(w.call(bruno, method, path, body), 404, "not_found")
	}
	w.refused(w.call(bruno, "GET", "/orders?customer=amina", ""), 404, "not_found")
	w.refused(w.call(bruno, "POST", "/baskets", `{"customer":"amina"}`, key("y")...), 404, "not_found")
	w.must(200, w.call(w.token(door.Staff, "s"), "GET", "/orders/"+o.Order, ""), nil)
	w.refused(w.call(w.token(door.Staff, "s"), "GET", "/orders", ""), 400, "invalid_field")

	// A kiosk opens sessions for cards and for those who were registered at one, and for nobody by a name that can be guessed.
	kiosk1 := w.token(door.Device, "kiosk-1")
	w.must(201, w.call(kiosk1, "POST", "/sessions", `{"card":"1001"}`), nil)
	w.refused(w.call(kiosk1, "POST", "/sessions", `{"customer":"amina"}`), 404, "not_found")
	w.refused(w.call(kiosk1, "POST", "/sessions", `{"card":"9999"}`), 404, "not_found")
	w.refused(w.call(kiosk1, "POST", "/sessions", `{}`), 400, "invalid_field")
	w.refused(w.call(amina, "POST", "/sessions", `{"card":"1001"}`), 403, "forbidden")
	w.refused(w.call(w.token(door.Customer, "barred"), "POST", "/baskets", "", key("z")...), 409, "customer_refused") // B11
}

// Every route has a policy that was written down here; a new one fails until somebody has said who may use it.
func TestB16_EveryRouteIsListed(t *testing.T) {
	t.Parallel()
	policy := map[string]string{
		"GET /kiosk/v1/openapi.json":                        "public",
		"GET /kiosk/v1/stores":                              "customer staff device",
		"GET /kiosk/v1/categories":                          "customer staff device",
		"GET /kiosk/v1/products":                            "customer staff device",
		"GET /kiosk/v1/products/{product}":                  "customer staff device",
		"POST /kiosk/v1/customers":                          "staff device",
		"POST /kiosk/v1/sessions":                           "staff device",
		"POST /kiosk/v1/sessions/end":                       "own",
		"POST /kiosk/v1/baskets":                            "own staff",
		"GET /kiosk/v1/baskets/{basket}":                    "own staff",
		"GET /kiosk/v1/baskets/{basket}/events":             "own staff",
		"POST /kiosk/v1/baskets/{basket}/items":             "own staff",
		"DELETE /kiosk/v1/baskets/{basket}/items/{product}": "own staff",
		"POST /kiosk/v1/baskets/{basket}/extend":            "own staff",
		"POST /kiosk/v1/baskets/{basket}/prices":            "own staff",
		"POST /kiosk/v1/baskets/{basket}/cancel":            "own staff",
		"POST /kiosk/v1/baskets/{basket}/checkout":          "own staff",
		"GET /kiosk/v1/orders":                              "own staff",
		"GET /kiosk/v1/orders/{order}":                      "own staff",
		"GET /kiosk/v1/orders/{order}/events":               "own staff",
		"POST /kiosk/v1/orders/{order}/cancel":              "own staff",
		"POST /kiosk/v1/orders/{order}/short":               "own staff",
		"POST /kiosk/v1/orders/{order}/pay":                 "staff device",
	}
	w := open(t)
	for _, rt := range w.door.Routes() {
		if rt.Gate != kiosk.Gate || !strings.Contains(rt.Pattern, "/kiosk/v1/") {
			continue
		}
		want, listed := policy[rt.Pattern]
		delete(policy, rt.Pattern)
		if !listed {
			t.Errorf("%s has no line here", rt.Pattern)
			continue
		}
		if rt.Public != (want == "public") {
			t.Errorf("%s is public: %v", rt.Pattern, rt.Public)
		}
		for _, role := range door.Roles() {
			scope := door.None
			for _, word := range strings.Fields(want) {
				switch {
				case word == "own" && role == door.Customer:
					scope = door.Own
				case word == string(role):
					scope = door.All
				}
			}
			if rt.Access[role] != scope {
				t.Errorf("%s: %s has %v, want %v", rt.Pattern, role, rt.Access[role], scope)
			}
			if scope == door.None && !rt.Public {
				method, path, _ := strings.Cut(rt.Pattern, " ")
				path = strings.NewReplacer("/kiosk/v1", "", "{basket}", "b", "{order}", "o", "{product}", "p").Replace(path)
				rec := w.call(w.token(role, "somebody"), method, path, "")
				if rec.Code != 403 && rec.Code != 401 {
					t.Errorf("%s as %s: %d", rt.Pattern, role, rec.Code)
				}
			}
		}
		if rt.Pattern != "GET /kiosk/v1/openapi.json" {
			method, path, _ := strings.Cut(rt.Pattern, " ")
			w.refused(w.call("", method, strings.NewReplacer("/kiosk/v1", "", "{basket}", "b", "{order}", "o", "{product}", "p").Replace(path), ""), 401, "unauthenticated")
		}
	}
	for pattern := range policy {
		t.Errorf("%s is gone", pattern)
	}
}

// A POST that creates asks for an Idempotency-Key, answers a repeat as the first, and refuses another request under it.
func TestF9_IdempotencyKeys(t *testing.T) {
	t.Parallel()
	w := open(t)
	amina := w.token(door.Customer, "amina")
	kiosk1 := w.token(door.Device, "kiosk-1")
	var b basket
	first := w.call(amina, "POST", "/baskets", "", key("b")...)
	w.must(201, first, &b)
	at := "/baskets/" + b.Basket
	for _, c := range []struct{ token, path, body, other string }{
		{amina, "/baskets", "", `{"customer":"amina"}`},
		{amina, at + "/items", `{"product":"lamp","quantity":1}`, `{"product":"lamp","quantity":2}`},
		{kiosk1, "/customers", `{"name":"Dora"}`, `{"name":"Eva"}`},
		{amina, at + "/checkout", `{"whenShort":"rest"}`, `{"whenShort":"cancel"}`},
	} {
		t.Log(c.path)
		w.refused(w.call(c.token, "POST", c.path, c.body), 400, "invalid_field")
		one := w.call(c.token, "POST", c.path, c.body, key("k"+c.path)...)
		if one.Code/100 != 2 {
			t.Fatalf("%d %s", one.Code, one.Body)
		}
		two := w.call(c.token, "POST", c.path, c.body, key("k"+c.path)...)
		if two.Code != one.Code || two.Body.String() != one.Body.String() || two.Header().Get("Location") != one.Header().Get("Location") ||
			two.Header().Get("Idempotency-Replayed") != "true" {
			t.Errorf("%d %s, then %d %s", one.Code, one.Body, two.Code, two.Body)
		}
		w.refused(w.call(c.token, "POST", c.path, c.other, key("k"+c.path)...), 422, "key_reused")
	}
	// The key is the caller's own: for somebody else it is another one.
	var other basket
	w.must(201, w.call(w.token(door.Customer, "bruno"), "POST", "/baskets", "", key("b")...), &other)
	if other.Basket == b.Basket || other.Customer != "bruno" {
		t.Errorf("%+v", other)
	}
}

// A process that forgot its answers, since it died, does nothing twice: commands have ids that come of the key.
func TestF9_KeysOutliveTheMemory(t *testing.T) {
	t.Parallel()
	w := open(t, func(_ *kiosk.Config, d *door.Config) { d.Idempotency = forgetful{} })
	amina := w.token(door.Customer, "amina")
	var one, two basket
	w.must(201, w.call(amina, "POST", "/baskets", "", key("b")...), &one)
	w.must(201, w.call(amina, "POST", "/baskets", "", key("b")...), &two)
	if one.Basket != two.Basket || len(w.shop.baskets) != 1 {
		t.Errorf("%s and %s of %d", one.Basket, two.Basket, len(w.shop.baskets))
	}
	for range 3 {
		w.must(200, w.call(amina, "POST", "/baskets/"+one.Basket+"/items", `{"product":"lamp","quantity":2}`, key("i")...), &one)
	}
	if one.Items[0].Quantity != 2 {
		t.Errorf("%d lamps", one.Items[0].Quantity)
	}
	w.refused(w.call(amina, "POST", "/baskets/"+one.Basket+"/items", `{"product":"lamp","quantity":5}`, key("i")...), 409, "different_content")
}
