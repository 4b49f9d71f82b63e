package testserver

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// Page is a page in a browser as whoever sits before it has it. What it does is done to the page as it is shown then and to no other: a page that is
// still loading, and a part that is drawn anew while somebody reaches for it, is waited for. The test fails where that takes longer than the page's
// time. It is not for use by several goroutines.
type Page struct {
	t   testing.TB
	ctx context.Context
}

// OpenPage starts a browser of this test's own, which has so much time for all that is done with it.
func OpenPage(t testing.TB, within time.Duration) *Page {
	t.Helper()
	ctx, end := chromedp.NewContext(Chromium(t))
	t.Cleanup(end)
	// The first context is the browser's own: it must not end with the time of what is done with it.
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(1280, 800)); err != nil {
		t.Fatal(err)
	}
	limited, cancel := context.WithTimeout(ctx, within)
	t.Cleanup(cancel)
	return &Page{t, limited}
}

// Context is that of the page, for what is not said here.
func (p *Page) Context() context.Context { return p.ctx }

// Do does what chromedp has actions for.
func (p *Page) Do(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	if err := chromedp.Do(p.ctx, actions...); err != nil {
		p.t.Fatal(err)
	}
}

// Go opens an address and returns when all of it is there.
func (p *Page) Go(url string) { p.t.Helper(); p.Do(chromedp.Navigate(url)) }

// Until waits until a condition holds, in the words of a script. It may look at a page that is still loading: Loaded says that it is not.
func (p *Page) Until(condition string) {
	p.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		// A page that goes away while it is asked answers with an error, and so does one that has not got there yet.
		met, err := chromedp.Run(p.ctx, chromedp.Evaluate[bool]("!!("+condition+")"))
		if met && err == nil {
			return
		}
		select {
		case <-p.ctx.Done():
			p.t.Fatalf("it never came to be that %s: %v", condition, err)
		case <-tick.C:
		}
	}
}

// loaded is true of a page that has all of its scripts, and moves the focus nowhere by itself any more.
const loaded = `document.readyState === "complete"`

// Loaded is Until for a page that is there as a whole.
func (p *Page) Loaded(condition string) {
	p.t.Helper()
	p.Until(loaded + " && (" + condition + ")")
}

// Value returns what an expression comes to, as text.
func (p *Page) Value(expression string) string {
	p.t.Helper()
	v, err := chromedp.Run(p.ctx, chromedp.Evaluate[string]("String("+expression+")"))
	if err != nil {
		p.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// Visible waits until what a selector finds is shown.
func (p *Page) Visible(selector string) { p.t.Helper(); p.Until(shown(selector)) }

// Gone waits until a selector finds nothing that is shown, in a page that is loaded.
func (p *Page) Gone(selector string) { p.t.Helper(); p.Loaded("!" + shown(selector)) }

func shown(selector string) string {
	return `(document.querySelector(` + quoted(selector) + `)?.checkVisibility({ visibilityProperty: true }) === true)`
}

// Text returns what stands in the first that a selector finds, as it is shown. It waits until there is one.
func (p *Page) Text(selector string) string {
	p.t.Helper()
	p.Until(`document.querySelector(` + quoted(selector) + `)`)
	return p.Value(`document.querySelector(` + quoted(selector) + `)?.innerText`)
}

// Keys presses keys where the focus is.
func (p *Page) Keys(keys string) { p.t.Helper(); p.Do(chromedp.KeyEvent(keys)) }

// KeysAt moves the focus to what a selector finds, and presses keys there. Where the page draws it anew in between it has to keep the focus: that is a promise of
// our pages.
func (p *Page) KeysAt(selector, keys string) {
	p.t.Helper()
	p.Loaded(shown(selector))
	p.Until(`(document.querySelector(` + quoted(selector) + `)?.focus(), document.activeElement?.matches(` + quoted(selector) + `))`)
	p.Keys(keys)
}

// KeysTo goes with the tabulator to what a selector finds, over most others at most, and presses keys there.
func (p *Page) KeysTo(most int, selector, keys string) {
	p.t.Helper()
	p.Loaded(shown(selector))
	for range most {
		if p.Value(`document.activeElement?.matches(`+quoted(selector)+`) === true`) == "true" {
			p.Keys(keys)
			return
		}
		p.Keys("\t")
	}
	p.t.Fatalf("no key leads to %s", selector)
}

// Touch touches what a selector finds, in its middle, once the page is loaded and it lies there for a while with nothing above it.
func (p *Page) Touch(selector string) {
	p.t.Helper()
	p.Loaded(shown(selector))
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var last string
	for {
		at := p.Value(`(() => {
			const e = document.querySelector(` + quoted(selector) + `);
			if (!e || !(` + loaded + `)) return "";
			e.scrollIntoView({ block: "center", behavior: "instant" });
			const r = e.getBoundingClientRect(), x = r.x + r.width / 2, y = r.y + r.height / 2, top = document.elementFromPoint(x, y);
			return top && (top === e || e.contains(top)) ? x + " " + y : "";
		})()`)
		if at != "" && at == last {
			break
		}
		last = at
		select {
		case <-p.ctx.Done():
			p.t.Fatalf("%s cannot be touched", selector)
		case <-tick.C:
		}
	}
	var x, y float64
	if _, err := fmt.Sscan(last, &x, &y); err != nil {
		p.t.Fatal(err)
	}
	p.Do(chromedp.MouseClickXY(x, y))
}

// quoted writes a text for a script.
func quoted(text string) string {
	data, err := json.Marshal(text)
	if err != nil {
		panic(err) // a text can be written
	}
	return string(data)
}
