package store

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.org/souk/internal/control"
	"example.org/souk/internal/testserver"
)

// walkPartners has the mall die by SIGKILL at every crash point of the gateway to partners, while a partner orders and others order online. What the partner
// has sent is placed once, whenever the broker hands it out again; what was placed is told once or more, in the same words; and the invariants hold. Red when a
// message is acknowledged before what was decided is durable, when one that comes again is another order, and when what went out is noted before it did.
func walkPartners(t *testing.T, crashing string, p partners, passes []int) {
	t.Helper()
	var points []string
	for _, c := range testserver.CrashPoints(t) {
		if c.Below("gateway/partner") {
			points = append(points, c.Name)
		}
	}
	if len(points) < 4 {
		t.Fatalf("only these crash points were found: %v", points)
	}
	p.fresh(t)
	out := startOutside(t, crashing)
	m := startWith(t, out, crashing, filepath.Join(t.TempDir(), "mall"), nil, "--partner", p.url())
	m.seed()
	for _, product := range []string{"PRODUCT_001", "PRODUCT_002"} {
		if err := m.ask(t.Context(), "stock receive", control.Args{"sku": product, "quantity": "100000"}); err != nil {
			t.Fatal(err)
		}
	}
	m.taking(p)
	told := p.listen(t, "order.placed")
	sent := 0
	var accepted []string
	for _, point := range points {
		for _, pass := range passes {
			m.end("partner")
			mark, arm := filepath.Join(t.TempDir(), "reached"), filepath.Join(t.TempDir(), "armed")
			m.beginWhatEnded(fmt.Sprintf("SOUK_CRASH=%s:%d", point, pass), "SOUK_CRASH_MARK="+mark, "SOUK_CRASH_ARM="+arm)
			for n := 0; !m.of("partner").proc.Ended(); n++ {
				if n == underLoad {
					if err := os.WriteFile(arm, nil, 0o600); err != nil {
						t.Fatal(err)
					}
				}
				if n == 5000 {
					t.Fatalf("%s was not passed %d times", point, pass)
				}
				p.send(t, wish(sent, "Product 2", 1))
				sent++
				id := fmt.Sprintf("ONLINE%05d", sent)
				if status, _ := m.call("POST", "/order", order(id, customerOf(sent), item{"PRODUCT_001", 10, 1})); status == 202 || status == 200 {
					accepted = append(accepted, id)
				}
			}
			if _, err := os.Stat(mark); err != nil || m.of("partner").proc.Wait().Signal == 0 {
				t.Fatalf("%s was not reached: the process ended with %v", point, m.of("partner").proc.Wait())
			}
			m.beginWhatEnded()
		}
	}
	for i := range sent {
		await(t, "order "+partnerOrder(i), func() bool { return m.status(partnerOrder(i)) != "" })
	}
	k := m.holdsRebuilt()
	fromPartner := 0
	for id := range k.placed {
		if strings.HasPrefix(id, "PARTNER_001-") {
			fromPartner++
		}
	}
	if fromPartner != sent {
		t.Errorf("%d orders of the partner are placed, and %d were sent", fromPartner, sent)
	}
	for _, id := range accepted {
		if _, found := k.placed[id]; !found {
			t.Errorf("order %s was accepted and is gone", id)
		}
	}
	words := map[string]string{}
	for len(words) < len(k.placed) {
		body := told()
		var e struct {
			Order string `json:"order_id"`
		}
		if err := json.Unmarshal([]byte(body), &e); err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		if _, found := k.placed[e.Order]; !found || words[e.Order] != "" && words[e.Order] != body {
			t.Errorf("partners were told %s, and before %q", body, words[e.Order])
		}
		words[e.Order] = body
	}
	t.Logf("%d deaths; %d orders of a partner and %d others, each placed once and told", len(points)*len(passes), sent, len(k.placed)-sent)
}
