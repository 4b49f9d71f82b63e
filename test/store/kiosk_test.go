package store

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
)

// acceptedAtKiosk has a basket checked out while baskets is away, and an order canceled while orders is: both are accepted, also asked for again,
// and go on when the service is there; what needs an answer is refused meanwhile.
func (m *mall) acceptedAtKiosk() {
	m.t.Helper()
	login := strings.TrimSpace(m.souk("token", "--role", "device", "--subject", "kiosk-1"))
	ask := func(want int, token, method, path, body, key string) map[string]any {
		m.t.Helper()
		headers := []string{"Authorization", "Bearer " + token}
		if key != "" {
			headers = append(headers, "Idempotency-Key", key)
		}
		status, text := callAt(m.t, m.of("kiosk").url, method, "/kiosk/v1"+path, body, headers...)
		var answer map[string]any
		if err := json.Unmarshal([]byte(text), &answer); err != nil || status != want {
			m.t.Fatalf("%s %s: %d %s, want %d", method, path, status, text, want)
		}
		return answer
	}
	guest := ask(201, login, "POST", "/customers", `{}`, "guest")["customer"].(string)
	session := ask(201, login, "POST", "/sessions", `{"customer":"`+guest+`"}`, "")["token"].(string)
	fill := func(key string) (basket string) {
		m.t.Helper()
		basket = ask(201, session, "POST", "/baskets", "", key)["basket"].(string)
		ask(200, session, "POST", "/baskets/"+basket+"/items", `{"product":"PRODUCT_002","quantity":1}`, key+"-item")
		return basket
	}
	become := func(order, want string) {
		m.t.Helper()
		is := any(nil)
		m.t.Cleanup(func() {
			if m.t.Failed() {
				m.t.Logf("order %s is %v", order, is)
			}
		})
		await(m.t, "order "+order+" is "+want, func() bool {
			is = ask(200, session, "GET", "/orders/"+order, "", "")["status"]
			return is == want
		})
	}
	first, second := fill("first"), fill("second")
	ask(202, session, "POST", "/baskets/"+first+"/checkout", "", "first-checkout")
	become(first, "approved")

	baskets := m.of("baskets")
	baskets.proc.Kill9()
	for range 2 {
		if answer := ask(202, session, "POST", "/baskets/"+second+"/checkout", "", "second-checkout"); answer["status"] != "pending" || answer["order"] != second {
			m.t.Errorf("accepted: %v", answer)
		}
	}
	ask(202, session, "POST", "/baskets/"+second+"/checkout", "", "by-another-kiosk")
	become(second, "pending")
	if p := ask(503, session, "POST", "/baskets/"+second+"/items", `{"product":"PRODUCT_002","quantity":1}`, "third"); p["status"] != 503.0 || p["title"] == "" {
		m.t.Errorf("refused: %v", p)
	}
	m.beginPart(baskets)
	become(second, "approved")

	orders := m.of("orders")
	orders.proc.Kill9()
	for range 2 {
		if answer := ask(202, session, "POST", "/orders/"+first+"/cancel", "", ""); answer["status"] != "cancelling" {
			m.t.Errorf("accepted: %v", answer)
		}
	}
	m.beginPart(orders)
	become(first, "canceled")
	become(second, "approved")
}

// People whom the shopper plays come to the kiosk of a whole mall: they look around, choose, order and change their minds, some requests
// come twice, and every order that was checked out is one order, whose customer alone sees it. Red when baskets are not checked out into orders,
// and when a request that is sent twice takes effect twice.
func TestB16_PeopleAtAKiosk(t *testing.T) {
	t.Parallel()
	m := start(t, program(t), t.TempDir(), nil)
	m.seed()
	login := strings.TrimSpace(m.souk("token", "--role", "device", "--subject", "kiosk-1"))
	kiosk := func(want int, token, method, path, body string, headers ...string) (answer map[string]any) {
		t.Helper()
		status, text := m.call(method, "/kiosk/v1"+path, body, append(headers, "Authorization", "Bearer "+token)...)
		if status != want {
			t.Fatalf("%s %s: %d %s, want %d", method, path, status, text, want)
		}
		if text != "" {
			if err := json.Unmarshal([]byte(text), &answer); err != nil {
				t.Fatalf("%s %s: %v in %s", method, path, err, text)
			}
		}
		return answer
	}
	guest := kiosk(201, login, "POST", "/customers", `{}`, "Idempotency-Key", "guest")["customer"].(string)
	session := kiosk(201, login, "POST", "/sessions", `{"customer":"`+guest+`"}`)["token"].(string)
	basket := kiosk(201, session, "POST", "/baskets", "", "Idempotency-Key", "b")["basket"].(string)
	for range 3 { // once
		kiosk(200, session, "POST", "/baskets/"+basket+"/items", `{"product":"PRODUCT_001","quantity":3}`, "Idempotency-Key", "i")
	}
	seen := kiosk(200, session, "DELETE", "/baskets/"+basket+"/items/PRODUCT_001?quantity=2", "")
	if total := seen["total"].(map[string]any)["amount"]; total != 1000.0 {
		t.Errorf("a basket of %v", seen)
	}
	order := kiosk(202, session, "POST", "/baskets/"+basket+"/checkout", "", "Idempotency-Key", "c")["order"].(string)
	kiosk(200, session, "GET", "/orders/"+order, "")
	await(t, "the order goes on", func() bool {
		status, _ := kiosk(200, session, "GET", "/orders/"+order, "")["status"].(string)
		return status != "pending" && status != "reserved"
	})
	if list := kiosk(200, session, "GET", "/orders", "")["orders"].([]any); len(list) != 1 {
		t.Errorf("orders of a guest: %v", list)
	}
	kiosk(404, strings.TrimSpace(m.souk("token", "--role", "customer", "--subject", "CUSTOMER_002")), "GET", "/orders/"+order, "")
	if a := m.available("PRODUCT_001"); a != 9 {
		t.Errorf("%d pieces are left of 10", a)
	}

	out := m.souk("device", "shopper", "kiosk-1", "--server", m.url, "--token", login, "--seed", "5", "--people", "12", "--rate", "20", "--patience", "2s",
		"--abandon", "20", "--cancel", "30", "--duplicates", "30", "--loss", "30")
	orders, refused := map[string]bool{order: true}, 0
	for line := range strings.Lines(out) {
		var done struct{ What, Order, Refused string }
		if err := json.Unmarshal([]byte(line), &done); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		if done.Refused != "" {
			refused++
		}
		if done.What == "check out" && done.Refused == "" {
			if orders[done.Order] {
				t.Errorf("order %s twice", done.Order)
			}
			orders[done.Order] = true
		}
	}
	if len(orders) < 5 {
		t.Fatalf("%d orders, %d refusals:\n%s", len(orders), refused, out)
	}
	staff := strings.TrimSpace(m.souk("token", "--role", "staff", "--subject", "s"))
	for id := range orders {
		await(t, "order "+id+" goes on", func() bool {
			status, _ := kiosk(200, staff, "GET", "/orders/"+id, "")["status"].(string)
			return status != "pending" && status != "reserved" && status != "cancelling"
		})
	}
	m.holdsRebuilt()
}

// atKiosk returns what a browser at a kiosk of the mall does: it opens a page, or sends a form where there is one, and says where that led to and what
// is shown there. Several goroutines may call it: somebody who touches more than once.
func (m *mall) atKiosk() func(path string, form url.Values) (at, page string) {
	m.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		m.t.Fatal(err)
	}
	client := &http.Client{Jar: jar}
	login := strings.TrimSpace(m.souk("token", "--role", "device", "--subject", "kiosk-1"))
	return func(path string, form url.Values) (at, page string) {
		method, body := http.MethodGet, io.Reader(nil)
		if form != nil {
			method, body = http.MethodPost, strings.NewReader(form.Encode())
		}
		r, err := http.NewRequestWithContext(m.t.Context(), method, m.url+path, body)
		if err != nil {
			m.t.Error(err)
			return "", ""
		}
		r.Header.Set("Authorization", "Bearer "+login)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := client.Do(r)
		if err != nil {
			m.t.Error(err)
			return "", ""
		}
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		if err != nil {
			m.t.Error(err)
		}
		return resp.Request.URL.RequestURI(), string(data)
	}
}
