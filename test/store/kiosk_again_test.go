package store

import (
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// B16: at the kiosk of a whole mall somebody orders more than there is though the page says how much that is, is turned down, and orders again by one touch what can be had, which
// is done. Touched several times at once it fills one basket once.
func TestB16_OrderingAgainAtAKiosk(t *testing.T) {
	t.Parallel()
	m := start(t, program(t), t.TempDir(), nil)
	m.seed()
	visit := m.atKiosk()
	shows := func(at, want string) (page string) {
		t.Helper()
		await(t, at+" says "+want, func() bool { _, page = visit(at, nil); return strings.Contains(page, want) })
		return page
	}
	for product, pieces := range map[string]string{"PRODUCT_001 1000": "2", "PRODUCT_002 500": "20"} {
		id, price, _ := strings.Cut(product, " ")
		visit("/kiosk/add", url.Values{"product": {id}, "quantity": {pieces}, "amount": {price}, "currency": {"EUR"}, "visit": {"first"}, "key": {id}})
	}
	shows("/kiosk/shop", "Only 15 can be had now.")
	order, _ := visit("/kiosk/checkout", url.Values{"whenShort": {"ask"}})
	page := shows(order, "too little of")
	form := url.Values{}
	for _, name := range []string{"visit", "of"} {
		found := regexp.MustCompile(`name="` + name + `" value="([^"]+)"`).FindStringSubmatch(page)
		if found == nil {
			t.Fatalf("the page has no %s:\n%s", name, page)
		}
		form.Set(name, found[1])
	}
	var touches sync.WaitGroup
	for range 6 {
		touches.Go(func() { visit("/kiosk/again", form) })
	}
	touches.Wait()
	_, page = visit("/kiosk/again", form)
	for _, want := range []string{"Left out: 5 × ", `aria-label="15 pieces"`, `aria-label="2 pieces"`, "95.00 EUR"} {
		if !strings.Contains(page, want) {
			t.Errorf("the basket does not say %q:\n%s", want, page)
		}
	}
	order, _ = visit("/kiosk/checkout", url.Values{"whenShort": {"ask"}})
	shows(order, "Your order is confirmed.")
	if a, b := m.available("PRODUCT_001"), m.available("PRODUCT_002"); a != 8 || b != 0 {
		t.Errorf("%d and %d pieces are left of 10 and 15", a, b)
	}
}
