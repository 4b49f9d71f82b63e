package staff_test

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"example.org/souk/gateway/door"
	"example.org/souk/gateway/staff"
	"example.org/souk/internal/testserver"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
)

// The page in a browser: somebody signs in, sees what happens by itself, stops it, acts with the keyboard alone, and is told when the page is old.
func TestThePageInABrowser(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	w := open(t, s)
	s.World.Do(t, command.SetThreshold{SKU: "SKU_1", Location: mall.MainLocation, Threshold: 5, Quantity: 10})
	s.receive(t, "SKU_1")
	w.must(201, w.clerk("ann"), "POST", "/staff/approvals", `{"approval":"A1","what":"refund_payment","subject":"P1","amount":{"amount":250,"currency":"EUR"},"reason":"The vase came in two pieces."}`)
	addr := "http://" + serve(t, w)
	code, err := w.authority.Link(door.Grant{Role: door.Staff, Rank: door.Manager, Subject: "bob"})
	if err != nil {
		t.Fatal(err)
	}
	page := testserver.OpenPage(t, 3*time.Minute)
	page.Go(addr + "/sign-in/" + code)
	page.Touch("button")
	page.Until(`location.pathname === "/"`)
	page.Go(addr + "/staff")
	page.Visible("#state.live")
	text := func(selector string) string {
		t.Helper()
		return strings.Join(strings.Fields(page.Text(selector)), " ")
	}
	if low := text("#stock"); !strings.Contains(low, "SKU_1 main 1 0 0 ▼ 1 5") {
		t.Errorf("stock: %s", low)
	}
	screenshots(t, page.Context())

	// What happens is seen.
	s.receive(t, "SKU_1")
	page.Until(`document.querySelector("#stock .chip").textContent === "▼ 2"`)
	w.gateway.Moved(staff.Position{Robot: "R1", At: mall.Place{X: 7, Y: 9}, Battery: 70})
	page.Until(`document.querySelector("[data-robot=R1] .place").textContent === "7, 9"`)

	// The keyboard is enough; the focus stays where it was although the board is drawn anew.
	page.KeysAt("#hand-O1", kb.Enter)
	page.Until(`document.getElementById("said").textContent.startsWith("Done: Take")`)
	page.Until(`document.querySelector("#pickup").textContent.includes("✓ paid")`)
	page.Until(`document.activeElement.id === "hand-O1"`)
	page.KeysAt("#give-A1", kb.Enter)
	page.Until(`document.querySelector("#approvals .chip").textContent === "✓ done"`)
	s.mu.Lock()
	acted := len(s.done)
	s.mu.Unlock()
	if acted != 2 {
		t.Errorf("%d commands", acted)
	}

	// Paused, nothing moves; then it catches up.
	page.Touch("#pause")
	page.Until(`document.getElementById("state").textContent === "paused"`)
	s.receive(t, "SKU_1")
	page.Until(`seq >= 5`)
	if low := text("#stock .chip"); low != "▼ 2" {
		t.Errorf("while it is paused: %s", low)
	}
	page.Keys("p")
	page.Until(`document.querySelector("#stock .chip").textContent === "▼ 3"`)

	page.Until(`(heard = Date.now() - 40000) > 0`)
	page.Visible("#stale")
	if stale := text("#stale"); !strings.Contains(stale, "This board is old: no news for 4") {
		t.Errorf("stale: %q", stale)
	}
	substitute(t, page, s)

	// An order has a page of its own, and what is done there shows there.
	page.KeysAt("#order-O3", kb.Enter)
	page.Loaded(`document.querySelector("#now .chip")?.textContent === "✓ completed"`)
	page.KeysAt("#back", kb.Enter)
	page.Visible("#state.live")
	page.KeysAt("#order-O1", kb.Enter)
	page.Loaded(`document.querySelector("#now .chip")?.textContent === "● ready"`)
	screenshot(t, page.Context(), "staff-order.png")
	page.Do(chromedp.Evaluate[chromedp.Void](`window.before = true`))
	page.KeysAt("#hand", kb.Enter)
	page.Loaded(`!window.before && document.querySelector("#money .chip")?.textContent === "✓ paid"`) // it is shown anew
	s.mu.Lock()
	defer s.mu.Unlock()
	if last := s.done[len(s.done)-1]; last != (command.HandOverOrder{Order: "O1"}) {
		t.Errorf("the last that was done is %+v", last)
	}
}

// However long the names of things are, nothing of a part lies beyond its edge, on wide and on narrow screens. Red where the buttons of who agrees do.
func TestNothingReachesBeyondItsEdge(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	w := open(t, s)
	long := longID
	s.World.Do(t, command.SetThreshold{SKU: "SKU_1", Location: mall.MainLocation, Threshold: 5, Quantity: 10})
	s.receive(t, "SKU_1")
	w.must(201, w.clerk("ann"), "POST", "/staff/approvals", `{"approval":"A1","what":"refund_invoice","subject":"`+long+`","amount":{"amount":250,"currency":"EUR"},"reason":"scratched"}`)
	w.must(201, w.clerk("ann"), "POST", "/staff/approvals", `{"approval":"A2","what":"open_gate","subject":"`+long+`","reason":"`+strings.Repeat("stuck ", 30)+`"}`)
	w.must(200, w.manager("eve"), "POST", "/staff/approvals/A2/refuse", `{"reason":"`+strings.Repeat("not now ", 20)+`"}`)
	s.mu.Lock()
	s.orders = append(s.orders, staff.Order{
		OrderLine: staff.OrderLine{Order: long, Customer: long, Status: "READY", Total: eur(123456789)}, Reason: strings.Repeat("why", 60),
		Items:   []mall.Item{{SKU: long, Name: long + " " + long, StoreName: long, Price: eur(123456789), Quantity: mall.MaxQuantity}},
		History: []staff.Change{{Status: "OrderStockReserved", Actor: "customer:" + long, Reason: strings.Repeat("why ", 50)}},
	})
	s.mu.Unlock()
	addr := "http://" + serve(t, w)
	code, err := w.authority.Link(door.Grant{Role: door.Staff, Rank: door.Manager, Subject: "bob"})
	if err != nil {
		t.Fatal(err)
	}
	page := testserver.OpenPage(t, 3*time.Minute)
	page.Go(addr + "/sign-in/" + code)
	page.Touch("button")
	page.Until(`location.pathname === "/"`)
	for _, path := range []string{"/staff", "/staff/orders/" + long, "/staff/sales"} {
		page.Go(addr + path)
		page.Visible("section")
		widths := []int64{1280, 1010, 820, 390}
		if path == "/staff/sales" { // seven columns of figures are moved sideways on a telephone
			widths = widths[:3]
		}
		for _, width := range widths {
			page.Do(chromedp.EmulateViewport(width, 800))
			const beyond = `[...document.querySelectorAll("section")].filter((s) => s.scrollWidth > s.clientWidth).map((s) => s.id).join(" ")`
			if out := page.Value(beyond); out != "" {
				t.Errorf("%s, %d wide: these parts reach beyond their edge: %s", path, width, out)
			}
		}
	}
}

// substitute has somebody choose, with the keyboard alone, what comes instead of goods that were not found: what is misspelt is said where it stands and
// stays, what was chosen is taken back, what is too dear is refused and changed, and the board has one call less.
func substitute(t *testing.T, page *testserver.Page, s *shop) {
	t.Helper()
	add := func(text string) { t.Helper(); page.Keys(text + kb.Enter) } // the page begins where one more is typed
	begun := func(condition string) {
		t.Helper()
		page.Loaded(`document.activeElement?.name === "find" && (` + condition + `)`)
	}
	page.Until(`document.querySelector("#calls .count")?.textContent === "2"`)
	page.KeysAt("#instead-O2", kb.Enter)
	begun(`true`)
	add("Grean tea")
	begun(`document.getElementById("wrong")?.textContent.includes("Grean tea.")`)
	page.Until(`document.activeElement?.value === "Grean tea" && document.activeElement?.getAttribute("aria-describedby") === "wrong"`)
	page.Do(chromedp.Evaluate[chromedp.Void](`document.activeElement?.select()`))
	add("Gold tea")
	begun(`document.querySelector("#cost .chip")?.textContent === "⚠ too dear"`)
	screenshot(t, page.Context(), "staff-substitutes.png")
	page.KeysAt("#send", kb.Enter)
	page.Until(`document.getElementById("said")?.textContent === "Not done: the substitutes cost more than what they stand in for."`)
	page.Until(`document.activeElement?.id === "send"`)
	page.KeysAt("#remove-0", kb.Enter)
	begun(`document.querySelector("#instead .none") !== null`)
	page.Keys("TEA_9" + kb.Tab + kb.Tab)
	page.Until(`document.activeElement?.name === "price"`)
	add("500")
	begun(`document.querySelector("#cost")?.textContent.startsWith("5.00 EUR of at most 9.00 EUR")`)
	add("TEA_2")
	begun(`document.querySelector("#cost")?.textContent.startsWith("9.00 EUR of")`)
	for range 4 { // pieces, price, Add, and what sends it
		page.Keys(kb.Tab)
	}
	page.Until(`document.activeElement?.id === "send"`)
	page.Keys(kb.Enter)
	page.Loaded(`document.querySelector("#order")?.textContent.includes("Nothing of this order waits for a decision.")`)
	s.mu.Lock()
	decided, ok := s.done[len(s.done)-1].(command.DecideShort)
	s.mu.Unlock()
	if !ok || decided.Order != "O2" || decided.Choice != mall.ShortSubstitute || len(decided.Substitutes) != 2 ||
		decided.Substitutes[0] != (mall.Item{Product: "gold", SKU: "TEA_9", Name: "Gold tea", Price: eur(500), Quantity: 1}) ||
		decided.Substitutes[1] != (mall.Item{Product: "green", SKU: "TEA_2", Name: "Green <tea>", Price: eur(400), Quantity: 1, Store: "S1"}) {
		t.Errorf("decided: %+v", decided)
	}
	page.KeysAt("#back", kb.Enter)
	page.Visible("#state.live")
	page.Until(`document.querySelector("#calls .count")?.textContent === "1"`)
}

// A form that is sent while the page's script is still on its way, or never comes, does nothing: the page stays as it is, with all that was typed, and nothing of it
// stands in an address. Once the script is there the same form is sent. Red when a form is without its method: then the browser gets the page anew, with the
// fields in its address.
func TestFormsBeforeTheirScript(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	w := open(t, s)
	to, err := url.Parse("http://" + serve(t, w))
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var asked []string // for anything but what a page is made of
	comes := make(chan struct{})
	mall := httputil.NewSingleHostReverseProxy(to)
	mall.ErrorLog = log.New(io.Discard, "", 0) // a page that is left is left in the middle
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/staff/form.js":
			select {
			case <-comes:
			case <-r.Context().Done():
			}
		case strings.HasPrefix(r.URL.Path, "/staff") && path.Ext(r.URL.Path) == "":
			mu.Lock()
			asked = append(asked, r.Method+" "+r.URL.String())
			mu.Unlock()
		}
		mall.ServeHTTP(w, r)
	}))
	t.Cleanup(slow.Close)
	code, err := w.authority.Link(door.Grant{Role: door.Staff, Rank: door.Manager, Subject: "bob"})
	if err != nil {
		t.Fatal(err)
	}
	page := testserver.OpenPage(t, 3*time.Minute)
	page.Go(slow.URL + "/sign-in/" + code)
	page.Touch("button")
	page.Loaded(`location.pathname === "/"`)
	for _, at := range []string{"/staff", "/staff/orders/O2/substitutes?find=TEA_2&pieces=1"} {
		page.Do(chromedp.Evaluate[chromedp.Void](`location.assign("` + at + `")`))
		// The script is waited for when all of the page has been read.
		page.Until(`location.href === "` + slow.URL + at + `" && document.readyState === "interactive" && document.querySelector("form[data-post]") !== null`)
		page.Do(chromedp.Evaluate[chromedp.Void](`(() => {
			for (const form of document.querySelectorAll("form[data-post]")) {
				for (const field of form.querySelectorAll("input")) field.value = field.type === "number" ? "7" : "typed";
				form.noValidate = true;
				form.querySelector("button").click();
			}
			window.here = true;
			fetch("/staff/after").finally(() => { window.after = true; }); // whatever was to be sent is on its way by then
		})()`))
		page.Until(`window.after || !window.here`)
		if left := page.Value(`[location.href, window.here, [...document.querySelectorAll("form[data-post] input:not([type=number])")].every((i) => i.value === "typed")].join(" ")`); left != slow.URL+at+" true true" {
			t.Errorf("%s: afterwards it is %s", at, left)
		}
	}
	mu.Lock()
	s.mu.Lock()
	if want := []string{"GET /staff", "GET /staff/after", "GET /staff/orders/O2/substitutes?find=TEA_2&pieces=1", "GET /staff/after"}; !slices.Equal(asked, want) || len(s.done) != 0 {
		t.Errorf("without a script it was asked for %q, and %d commands were given", asked, len(s.done))
	}
	s.mu.Unlock()
	mu.Unlock()

	page.Do(chromedp.Evaluate[chromedp.Void](`location.assign("/staff")`))
	page.Until(`location.pathname === "/staff" && document.querySelector("#hand-O1") !== null`)
	page.Do(chromedp.Evaluate[chromedp.Void](`document.querySelector("#hand-O1").click()`))
	close(comes)
	page.KeysAt("#hand-O1", kb.Enter)
	page.Until(`document.getElementById("said").textContent.startsWith("Done: Take")`)
}

// A form that a script sends does nothing by itself; any other says how it is sent.
func TestEveryFormSaysHowItIsSent(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("*.html")
	if err != nil || len(pages) == 0 {
		t.Fatal(pages, err)
	}
	for _, name := range pages {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, form := range regexp.MustCompile(`<form[^>]*`).FindAllString(string(text), -1) {
			if strings.Contains(form, "data-post") != strings.Contains(form, ` method="dialog"`) || !strings.Contains(form, " method=") {
				t.Errorf("%s: %s", name, form)
			}
		}
	}
}

// screenshot keeps a picture of the page where somebody wants to look at it.
func screenshot(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	dir := os.Getenv("SOUK_SCREENSHOTS")
	if dir == "" {
		return
	}
	data, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// screenshots keeps pictures of the page at the widths of a desk and of a telephone.
func screenshots(t *testing.T, ctx context.Context) {
	t.Helper()
	if os.Getenv("SOUK_SCREENSHOTS") == "" {
		return
	}
	for name, width := range map[string]int64{"staff-wide.png": 1280, "staff-narrow.png": 480} {
		if err := chromedp.Do(ctx, chromedp.EmulateViewport(width, 900)); err != nil {
			t.Fatal(err)
		}
		screenshot(t, ctx, name)
	}
}
