package kiosk_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"example.org/souk/gateway/door"
	"example.org/souk/gateway/door/hostile"
	"example.org/souk/gateway/kiosk"
)

// Whatever comes over any route is answered with what was wrong: no 5xx, nothing of the inside, and the process lives.
func TestB1_NothingBreaksTheKiosk(t *testing.T) {
	t.Parallel()
	w := open(t)
	amina, kiosk1 := w.token(door.Customer, "amina"), w.token(door.Device, "kiosk-1")
	var b basket
	w.must(201, w.call(amina, "POST", "/baskets", "", key("b")...), &b)
	var o order
	w.must(200, w.call(amina, "POST", "/baskets/"+b.Basket+"/items", `{"product":"lamp","quantity":1}`, key("i")...), nil)
	w.must(202, w.call(amina, "POST", "/baskets/"+b.Basket+"/checkout", "", key("c")...), &o)
	w.must(201, w.call(amina, "POST", "/baskets", "", key("again")...), &b)
	requests := 0
	try := func(token, method, path, body string, headers ...string) {
		t.Helper()
		requests++
		r, err := http.NewRequest(method, "http://kiosk.test/kiosk/v1"+path, io.NopCloser(strings.NewReader(body)))
		if err != nil {
			return // no client can ask for that
		}
		r.ContentLength = int64(len(body))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+token)
		for i := 0; i < len(headers); i += 2 {
			r.Header[headers[i]] = []string{headers[i+1]}
		}
		rec := serve(w, r)
		if rec.Code >= 500 || rec.Code < 200 {
			t.Errorf("%s %s %.60q: %d %s", method, path, body, rec.Code, rec.Body)
		}
		if rec.Code >= 400 {
			var p map[string]any
			if json.Unmarshal(rec.Body.Bytes(), &p) != nil || p["code"] == "" || p["code"] == "internal" {
				t.Errorf("%s %s %.60q: no problem document: %s", method, path, body, rec.Body)
			}
		}
		for _, inside := range []string{"SELECT", "goroutine", "huma", "runtime error", "sqlite", ".go:"} {
			if bytes.Contains(rec.Body.Bytes(), []byte(inside)) {
				t.Errorf("%s %s tells of the inside: %s", method, path, rec.Body)
			}
		}
	}
	n := 0
	for _, rt := range w.door.Routes() {
		if rt.Gate != kiosk.Gate || !strings.Contains(rt.Pattern, "/kiosk/v1/") {
			continue
		}
		method, pattern, _ := strings.Cut(strings.Replace(rt.Pattern, "/kiosk/v1", "", 1), " ")
		if rt.Stream {
			pattern = strings.Replace(pattern, "{basket}", "nothing", 1) // one that is there would stay open
			pattern = strings.Replace(pattern, "{order}", "nothing", 1)
		}
		token := amina
		if rt.Access[door.Customer] == door.None {
			token = kiosk1
		}
		if strings.HasSuffix(pattern, "/end") {
			token = w.token(door.Customer, "bruno") // whose session ends
		}
		good := strings.NewReplacer("{basket}", b.Basket, "{order}", o.Order, "{product}", "lamp").Replace(pattern)
		if strings.HasSuffix(pattern, "/cancel") || strings.HasSuffix(pattern, "/end") { // would end what the others are tried on
			good = strings.NewReplacer(b.Basket, "nothing", o.Order, "nothing", "/end", "/nothing").Replace(good)
		}
		for _, body := range hostile.Bodies() {
			n++
			try(token, method, good, body, "Idempotency-Key", "f"+strings.Repeat("i", n%40)+pattern[:3])
		}
		for _, id := range hostile.IDs() {
			try(token, method, strings.NewReplacer("{basket}", id, "{order}", id, "{product}", id).Replace(pattern), `{"product":"lamp","quantity":1}`, "Idempotency-Key", "s")
			for _, query := range []string{"after", "store", "q", "limit", "quantity", "customer", "else", id} {
				try(token, method, good+"?"+query+"="+id, "", "Idempotency-Key", "q")
			}
		}
		for _, h := range []string{"", "\x00", strings.Repeat("k", 300), "ä", `"`, `""`} {
			try(token, method, good, "", "Idempotency-Key", h)
			try(token, method, good, "", "Last-Event-Id", h)
		}
	}
	if requests < 3000 {
		t.Errorf("only %d requests", requests)
	}
	w.must(200, w.call(amina, "GET", "/stores", ""), nil)
}

// The right status for the right mistake (B12).
func TestB12_MistakesAreNamed(t *testing.T) {
	t.Parallel()
	w := open(t)
	amina := w.token(door.Customer, "amina")
	var b basket
	w.must(201, w.call(amina, "POST", "/baskets", "", key("b")...), &b)
	items := "/baskets/" + b.Basket + "/items"
	w.refused(w.call(amina, "GET", "/baskets/nothing", ""), 404, "not_found")
	w.refused(w.call(amina, "GET", "/products/nothing", ""), 404, "not_found")
	w.refused(w.call(amina, "GET", "/orders/nothing", ""), 404, "not_found")
	w.refused(w.call(amina, "GET", "/baskets/no%20id", ""), 400, "invalid_field")
	w.refused(w.call(amina, "GET", "/products?colour=red", ""), 400, "invalid_field")
	w.refused(w.call(amina, "PUT", "/stores", ""), 405, "method_not_allowed")
	w.refused(w.call(amina, "POST", items, `{"product":"gone","quantity":1}`, key("1")...), 409, "not_sold")
	w.refused(w.call(amina, "POST", items, `{"product":"lamp","quantity":1,"price":{"amount":1,"currency":"EUR"}}`, key("2")...), 409, "price_changed")
	for body, field := range map[string]string{
		`{"product":"lamp"}`:                       "quantity",
		`{"product":"lamp","quantity":0}`:          "quantity",
		`{"product":"lamp","quantity":"2"}`:        "quantity",
		`{"product":"la mp","quantity":2}`:         "product",
		`{"product":"lamp","quantity":2,"x":1}`:    "x",
		`{"quantity":2,"product":"a","product":1}`: "product",
	} {
		rec := w.call(amina, "POST", items, body, key("f")...)
		w.refused(rec, 400, "invalid_field")
		var p struct {
			Errors []struct{ Field, Reason string }
		}
		if err := json.Unmarshal(rec.Body.Bytes(), &p); err != nil || len(p.Errors) != 1 || p.Errors[0].Field != field || p.Errors[0].Reason == "" {
			t.Errorf("%s: %s", body, rec.Body)
		}
	}
	w.refused(w.call(amina, "POST", items, `{`, key("m")...), 400, "malformed_json")
	w.shop.mu.Lock()
	w.shop.away = true
	w.shop.mu.Unlock()
	rec := w.call(amina, "GET", "/baskets/"+b.Basket, "")
	w.refused(rec, 503, "unavailable")
	if rec.Header().Get("Retry-After") == "" {
		t.Error("nothing says when to try again")
	}
}
