package staff_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
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
	ctx, end := chromedp.NewContext(testserver.Chromium(t))
	defer end()
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(1280, 900), chromedp.Navigate(addr+"/sign-in/"+code)); err != nil {
		t.Fatal(err)
	}
	limited, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	do := func(actions ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		if err := chromedp.Do(limited, actions...); err != nil {
			t.Fatal(err)
		}
	}
	until := func(condition string) {
		t.Helper()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			if met, err := chromedp.Run(limited, chromedp.Evaluate[bool]("!!("+condition+")")); err != nil {
				t.Fatalf("%s: %v", condition, err)
			} else if met {
				return
			}
			<-tick.C
		}
	}
	text := func(selector string) string {
		t.Helper()
		v, err := chromedp.Run(limited, chromedp.Text(selector))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(strings.Fields(v), " ")
	}
	do(chromedp.Click("button"))
	until(`location.pathname === "/"`)
	do(chromedp.Navigate(addr+"/staff"), chromedp.WaitVisible("#state.live"))
	if low := text("#stock"); !strings.Contains(low, "SKU_1 main 1 0 0 ▼ 1 5") {
		t.Errorf("stock: %s", low)
	}
	screenshots(t, limited)

	// What happens is seen.
	s.receive(t, "SKU_1")
	until(`document.querySelector("#stock .chip").textContent === "▼ 2"`)
	w.gateway.Moved(staff.Position{Robot: "R1", At: mall.Place{X: 7, Y: 9}, Battery: 70})
	until(`document.querySelector("[data-robot=R1] .place").textContent === "7, 9"`)

	// The keyboard is enough; the focus stays where it was although the board is drawn anew.
	do(chromedp.Focus("#hand-O1"), chromedp.KeyEvent(kb.Enter))
	until(`document.getElementById("said").textContent.startsWith("Done: Take")`)
	until(`document.querySelector("#pickup").textContent.includes("✓ paid")`)
	until(`document.activeElement.id === "hand-O1"`)
	do(chromedp.Focus("#give-A1"), chromedp.KeyEvent(kb.Enter))
	until(`document.querySelector("#approvals .chip").textContent === "✓ done"`)
	s.mu.Lock()
	acted := len(s.done)
	s.mu.Unlock()
	if acted != 2 {
		t.Errorf("%d commands", acted)
	}

	// Paused, nothing moves; then it catches up.
	do(chromedp.Click("#pause"))
	until(`document.getElementById("state").textContent === "paused"`)
	s.receive(t, "SKU_1")
	until(`seq >= 5`)
	if low := text("#stock .chip"); low != "▼ 2" {
		t.Errorf("while it is paused: %s", low)
	}
	do(chromedp.KeyEvent("p"))
	until(`document.querySelector("#stock .chip").textContent === "▼ 3"`)

	until(`(heard = Date.now() - 40000) > 0`)
	do(chromedp.WaitVisible("#stale"))
	if stale := text("#stale"); !strings.Contains(stale, "This board is old: no news for 4") {
		t.Errorf("stale: %q", stale)
	}
	substitute(t, limited, s, do, until)
}

// substitute has somebody choose, with the keyboard alone, what comes instead of goods that were not found: what is misspelt is said where it stands and
// stays, what was chosen is taken back, what is too dear is refused and changed, and the board has one call less.
func substitute(t *testing.T, ctx context.Context, s *shop, do func(...chromedp.Action[chromedp.Void]), until func(string)) {
	t.Helper()
	keys := func(keys string) { t.Helper(); do(chromedp.KeyEvent(keys)) }
	add := func(text string) { t.Helper(); keys(text + kb.Enter) } // the page begins where one more is typed
	// A page that is still loading moves the focus to where it begins, and has no script yet that sends what is pressed.
	begun := func(condition string) {
		t.Helper()
		until(`document.readyState === "complete" && document.activeElement?.name === "find" && (` + condition + `)`)
	}
	until(`document.querySelector("#calls .count")?.textContent === "2"`)
	do(chromedp.Focus("#instead-O2"), chromedp.KeyEvent(kb.Enter))
	begun(`true`)
	add("Grean tea")
	begun(`document.getElementById("wrong")?.textContent.includes("Grean tea.")`)
	until(`document.activeElement?.value === "Grean tea" && document.activeElement?.getAttribute("aria-describedby") === "wrong"`)
	do(chromedp.Evaluate[chromedp.Void](`document.activeElement?.select()`))
	add("Gold tea")
	begun(`document.querySelector("#cost .chip")?.textContent === "⚠ too dear"`)
	screenshot(t, ctx, "staff-substitutes.png")
	do(chromedp.Focus("#send"), chromedp.KeyEvent(kb.Enter))
	until(`document.getElementById("said")?.textContent === "Not done: the substitutes cost more than what they stand in for."`)
	until(`document.activeElement?.id === "send"`)
	do(chromedp.Focus("#remove-0"), chromedp.KeyEvent(kb.Enter))
	begun(`document.querySelector("#instead .none") !== null`)
	keys("TEA_9" + kb.Tab + kb.Tab)
	until(`document.activeElement?.name === "price"`)
	add("500")
	begun(`document.querySelector("#cost")?.textContent.startsWith("5.00 EUR of at most 9.00 EUR")`)
	add("TEA_2")
	begun(`document.querySelector("#cost")?.textContent.startsWith("9.00 EUR of")`)
	for range 4 { // pieces, price, Add, and what sends it
		keys(kb.Tab)
	}
	until(`document.activeElement?.id === "send"`)
	keys(kb.Enter)
	until(`document.readyState === "complete" && document.querySelector("#order")?.textContent.includes("Nothing of this order waits for a decision.")`)
	s.mu.Lock()
	decided, ok := s.done[len(s.done)-1].(command.DecideShort)
	s.mu.Unlock()
	if !ok || decided.Order != "O2" || decided.Choice != mall.ShortSubstitute || len(decided.Substitutes) != 2 ||
		decided.Substitutes[0] != (mall.Item{Product: "gold", SKU: "TEA_9", Name: "Gold tea", Price: eur(500), Quantity: 1}) ||
		decided.Substitutes[1] != (mall.Item{Product: "green", SKU: "TEA_2", Name: "Green <tea>", Price: eur(400), Quantity: 1, Store: "S1"}) {
		t.Errorf("decided: %+v", decided)
	}
	do(chromedp.Focus("#back"), chromedp.KeyEvent(kb.Enter))
	do(chromedp.WaitVisible("#state.live"))
	until(`document.querySelector("#calls .count")?.textContent === "1"`)
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
