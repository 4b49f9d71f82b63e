package store

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"example.org/souk/internal/testserver"
)

// DOMAIN 4: two partners at two brokers, each with an account of its own, send an order of the same id. They are two orders, each its partner's; each
// partner hears that its own was placed; and what one sends again, or otherwise, meets its own order and not the other's. Red where one account is
// that of all connections.
func TestC1_PartnersWithAccountsOfTheirOwn(t *testing.T) {
	t.Parallel()
	one, two := &plain{testserver.NATSOwn(t)}, &plain{testserver.NATSOwn(t)}
	// The first has the account of the connections that name none.
	m := start(t, program(t), filepath.Join(t.TempDir(), "mall"), nil, "--partner", one.url(), "--partner", "PARTNER_002="+two.url())
	m.seed()
	m.souk("customer", "register", "--customer", "PARTNER_002", "--name", "Partner Two", "--email", "two@partner.example")
	m.taking(one)
	m.taking(two)
	toldOne, toldTwo := one.listen(t, "order.placed"), two.listen(t, "order.placed")
	one.send(t, wish(1, "Laptop", 1))
	m.awaitStatus("PARTNER_001-1", "APPROVED")
	two.send(t, wish(1, "Product 2", 3)) // which would be another order under an id that was taken
	m.awaitStatus("PARTNER_002-1", "APPROVED")
	if laptops, others := m.available("Laptop"), m.available("PRODUCT_002"); laptops != 9 || others != 12 {
		t.Errorf("%d and %d are available, want 9 and 12", laptops, others)
	}
	placed := []string{
		`{"order_id":"PARTNER_001-1","user_id":"PARTNER_001","total":1200,"items":[{"sku":"Laptop","qty":1}]}`,
		`{"order_id":"PARTNER_002-1","user_id":"PARTNER_002","total":15,"items":[{"sku":"PRODUCT_002","qty":3}]}`,
	}
	hears := func(told func() string, want string) {
		t.Helper()
		for range placed {
			if got := told(); got == want {
				return
			} else if !slices.Contains(placed, got) {
				t.Errorf("told %s", got)
			}
		}
		t.Errorf("not told %s", want)
	}
	hears(toldOne, placed[0])
	hears(toldTwo, placed[1])

	two.send(t, wish(1, "Laptop", 1)) // the first one's order to the letter
	one.send(t, wish(1, "Laptop", 1))
	outcomes := func() (list []string) {
		for _, e := range said(m) {
			for _, kind := range []string{"OrderRepeated", "OrderConflicted"} {
				for _, order := range []string{"PARTNER_001-1", "PARTNER_002-1"} {
					if strings.HasPrefix(e, kind+" ") && strings.Contains(e, fmt.Sprintf("%q", order)) {
						list = append(list, kind+" "+order)
					}
				}
			}
		}
		slices.Sort(list)
		return list
	}
	await(t, "both are decided", func() bool { return len(outcomes()) >= 2 })
	if got, want := outcomes(), []string{"OrderConflicted PARTNER_002-1", "OrderRepeated PARTNER_001-1"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if k := m.holds(); len(k.placed) != 2 {
		t.Errorf("%d orders are placed, want 2", len(k.placed))
	}
}
