package store

import (
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// B4, B16: what somebody pays beforehand on the page of a kiosk is at the provider what the page says: nothing when it was declined, once when it was
// approved, and free again when the order is canceled, when too little is there, or when whoever began to pay walks away while the provider answers nobody.
// Nothing is taken until a robot has fetched it all; then it is, once, and the order is collected. Red when that is asked for at the depot once more.
func TestB4_PayingBeforehandAtAKiosk(t *testing.T) {
	t.Parallel()
	binary := program(t)
	out := startOutside(t, binary)
	m := startWith(t, out, binary, t.TempDir(), nil)
	m.seed()
	visit := m.atKiosk()
	fill := func(visiting, pieces string) {
		t.Helper()
		visit("/kiosk/add", url.Values{"product": {"PRODUCT_002"}, "quantity": {pieces}, "amount": {"500"}, "currency": {"EUR"}, "visit": {visiting}, "key": {visiting}})
	}
	pay := func(attempt string) (at string) {
		t.Helper()
		for range 2 { // touched twice
			at, _ = visit("/kiosk/checkout", url.Values{"pay": {"now"}, "attempt": {attempt}})
		}
		if !strings.HasPrefix(at, "/kiosk/pay?") && !strings.HasPrefix(at, "/kiosk/orders/") {
			t.Fatalf("paying, and at %s", at)
		}
		return at
	}
	shows := func(at, want string) {
		t.Helper()
		await(t, at+" says "+want, func() bool { _, page := visit(at, nil); return strings.Contains(page, want) })
	}
	total := func(authorized, voided, captured int64) {
		t.Helper()
		await(t, "what the provider has set aside and taken", func() bool {
			all := out.money(t).Totals["EUR"]
			return all.Authorized == authorized && all.Voided == voided && all.Captured == captured && all.Refunded == 0
		})
	}

	fill("first", "2")
	out.troubleMoney(t, `{"decline_percent":100}`)
	shows(pay("1"), "The payment was declined. Nothing was charged.")
	total(0, 0, 0)
	out.troubleMoney(t, `{"pause":true}`)
	at := pay("2")
	shows(at, "waiting for the payment to be approved")
	out.troubleMoney(t, `{}`)
	shows(at, "The payment is approved")
	total(1000, 0, 0)
	at, page := visit("/kiosk/checkout", url.Values{"pay": {"now"}, "attempt": {"2"}})
	placed := regexp.MustCompile(`/kiosk/orders/([^/?]+)`).FindStringSubmatch(at)
	if placed == nil {
		t.Fatalf("approved, and at %s: %s", at, page)
	}
	shows(at, "Your order is confirmed")
	shows(at, "Total, approved beforehand")
	total(1000, 0, 0)
	visit(at+"/cancel", url.Values{})
	shows(at, "Your order is cancelled")
	total(1000, 1000, 0)

	out.troubleMoney(t, `{"pause":true}`)
	fill("second", "2")
	shows(pay("1"), "waiting for the payment to be approved")
	visit("/kiosk/leave", url.Values{})
	out.troubleMoney(t, `{}`)
	total(2000, 2000, 0)

	fill("third", "20") // of 15
	await(t, "an order that was paid", func() bool {
		at, _ = visit("/kiosk/checkout", url.Values{"pay": {"now"}})
		return strings.HasPrefix(at, "/kiosk/orders/")
	})
	shows(at, "too little of ")
	total(12000, 12000, 0)

	m.robot("robot-1")
	fill("fourth", "2")
	await(t, "an order that is paid", func() bool {
		at, _ = visit("/kiosk/checkout", url.Values{"pay": {"now"}})
		return strings.HasPrefix(at, "/kiosk/orders/")
	})
	shows(at, "Everything is at the depot, and paid.")
	total(13000, 12000, 1000)
	order := regexp.MustCompile(`/kiosk/orders/([^/?]+)`).FindStringSubmatch(at)[1]
	m.must(200, "POST", "/staff/orders/"+order+"/hand-over", `{}`)
	shows(at, "You have your goods.")
	total(13000, 12000, 1000)
	for key, n := range out.money(t).Executions {
		if n != 1 {
			t.Errorf("%s took effect %d times", key, n)
		}
	}
}
