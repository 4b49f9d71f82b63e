package store

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"example.org/souk/internal/testserver"
)

// The live page in a browser: an order that is placed elsewhere appears and its
// state changes by itself, and the stock falls.
func TestConsoleIsAlive(t *testing.T) {
	t.Parallel()
	m := start(t, program(t), t.TempDir(), nil)
	m.seed()
	page := testserver.OpenPage(t, time.Minute)
	page.Go(m.url + "/")
	page.Visible("#stock tr td")
	page.Visible("#no-orders")
	m.must(202, "POST", "/order", order1)
	page.Visible("#orders .chip.done")
	orders, stock := page.Text("#orders"), page.Text("#stock")
	shape := page.Value(`document.querySelectorAll("#map rect").length + " " + ` +
		`(document.querySelectorAll("#map path.command").length > 0) + " " + (document.querySelectorAll("#map path.event").length > 0)`)
	if !strings.Contains(orders, "ORDER_001") || !strings.Contains(orders, "approved") {
		t.Errorf("orders: %q", orders)
	}
	// It is held before it is committed, which the page may not have heard of yet.
	if shown := strings.Join(strings.Fields(stock), " "); !strings.Contains(shown, "PRODUCT_001 10 0 3 7") && !strings.Contains(shown, "PRODUCT_001 10 3 0 7") {
		t.Errorf("stock: %q", stock)
	}
	services := 18
	if m.others != nil {
		services = 21 // ways in that others may be away from take orders in by services of their own
	}
	if shape != fmt.Sprint(services, " true true") {
		t.Errorf("the map: %s", shape)
	}
	// However long the names of orders are, their states are seen; and no service hides another one.
	m.must(202, "POST", "/order", order("basket-06h1pb3g08059_OyJOOyx82kLRA14ThN4g", "CUSTOMER_001", item{"PRODUCT_001", 10, 1}))
	page.Until(`document.querySelector("#orders").textContent.includes("basket-06h1pb")`)
	if out := page.Value(`[...document.querySelectorAll("section")].filter((s) => s.scrollWidth > s.clientWidth).length`); out != "0" {
		t.Errorf("%s parts of the page reach beyond their edge", out)
	}
	if over := page.Value(`(() => {
		const all = [...document.querySelectorAll("#map rect")].map((r) => r.getBoundingClientRect());
		return all.filter((a, i) => all.some((b, j) => i < j && a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom)).length;
	})()`); over != "0" {
		t.Errorf("%s services of the map lie over others", over)
	}
	if dir := os.Getenv("SOUK_SCREENSHOTS"); dir != "" {
		wide, err := chromedp.Run(page.Context(), chromedp.FullScreenshot(100))
		if err != nil {
			t.Fatal(err)
		}
		page.Do(chromedp.EmulateViewport(480, 900))
		narrow, err := chromedp.Run(page.Context(), chromedp.FullScreenshot(100))
		if err != nil {
			t.Fatal(err)
		}
		for name, data := range map[string][]byte{"wide.png": wide, "narrow.png": narrow} {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if status, _ := m.call("GET", "/console", "", "Authorization", "Bearer nonsense"); status != 401 {
		t.Errorf("a bad token: %d", status)
	}
	m.holds()
}
