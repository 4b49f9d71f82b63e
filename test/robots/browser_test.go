package robots

import (
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"example.org/souk/internal/testmall"
	"example.org/souk/internal/testserver"
	"example.org/souk/mall/event"
)

// sits opens a browser at one of the mall's pages for whoever has a token, and the page of the path.
func (f *floor) sits(gateway, path, role, subject string) *testserver.Page {
	f.T.Helper()
	token := strings.TrimSpace(f.Souk("token", "--role", role, "--subject", subject))
	page := testserver.OpenPage(f.T, 4*time.Minute)
	page.Go(f.At(gateway) + "/livez")
	page.Do(chromedp.Evaluate[chromedp.Void](`void (document.cookie = "souk=` + token + `; path=/; samesite=strict")`))
	page.Go(f.At(gateway) + path)
	return page
}

// Somebody chooses at a kiosk, orders and follows the order live, while robots fetch it and staff see on their board how it gets on, where the robots are, and hand
// it over: each page of a mall that runs, in a browser, loaded once. Red when one of them does not hear of what the other, or a robot, has done.
func TestB16_AKioskAndTheBoardInBrowsers(t *testing.T) {
	t.Parallel()
	f := open(t)
	kiosk, staff := f.sits("kiosk", "/kiosk/shop", "device", "kiosk-1"), f.sits("staff", "/staff", "clerk", "ann")
	staff.Visible("#state.live")
	staff.Do(chromedp.Evaluate[chromedp.Void](`window.once = true`))

	kiosk.Touch("#add-" + thing(0, 0))
	kiosk.Visible("#more-" + thing(0, 0))
	kiosk.Touch("#add-" + thing(1, 1))
	kiosk.Visible("#more-" + thing(1, 1))
	kiosk.Touch("#order")
	kiosk.Loaded(`location.pathname.startsWith("/kiosk/orders/")`)
	order := strings.TrimPrefix(kiosk.Value("location.pathname"), "/kiosk/orders/")
	kiosk.Do(chromedp.Evaluate[chromedp.Void](`window.once = true`))
	step := func(name string) {
		t.Helper()
		kiosk.Until(`window.once && document.querySelector(".stages [aria-current=step]")?.textContent.includes("` + name + `")`)
	}
	column := func(name string) {
		t.Helper()
		staff.Until(`window.once && [...document.querySelectorAll("#orders .column")].some((c) => c.querySelector("h3").textContent.includes("` + name + `") && c.querySelector("#order-` + order + `"))`)
	}
	step("Confirmed")
	column("approved")

	robots := f.robots("robot", 2, "--speed", "6000")
	staff.Until(`window.once && document.querySelectorAll("#robots [data-robot]").length === 2`)
	staff.Until(`(window.places ??= new Set()).add([...document.querySelectorAll("#robots .place")].map((p) => p.textContent).join("; ")).size > 3`)
	column("ready")
	step("At the depot")
	kiosk.Visible("#pay")

	staff.Touch("#hand-" + order)
	staff.Until(`window.once && document.getElementById("said").textContent.startsWith("Done: Take")`)
	staff.Until(`document.getElementById("hand-` + order + `") === null`)
	kiosk.Visible("#stage.completed")
	kiosk.Until(`window.once && document.querySelector("#pay, #cancel") === null`)
	if robots.Ended() {
		t.Error("the robots have ended")
	}
	f.Idle()
	done := testmall.Events[event.OrderCompleted](f.Mall, event.OrderCompletedV1)
	if len(done) != 1 || done[0].Order != order {
		t.Errorf("completed: %+v, want %s", done, order)
	}
	if lists := f.tally().completed[order]; len(lists) != 1 {
		t.Errorf("its list was completed %d times", len(lists))
	}
}
