package kiosk_test

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"example.org/souk/mall"
	"example.org/souk/mall/command"
)

// ordered returns how the last basket was checked out.
func (w *world) ordered() command.CheckoutBasket {
	w.t.Helper()
	w.shop.mu.Lock()
	defer w.shop.mu.Unlock()
	for i := len(w.shop.log) - 1; i >= 0; i-- {
		if c, ok := w.shop.log[i].(command.CheckoutBasket); ok {
			return c
		}
	}
	w.t.Fatal("nothing was ordered")
	return command.CheckoutBasket{}
}

// What somebody chose to happen when goods are missing stays chosen while they go on shopping, and in the order; whoever comes next has chosen nothing. Without a
// script. Red when the choice is not kept, is kept for another basket, or is anything that was sent.
func TestWishesAreKept(t *testing.T) {
	t.Parallel()
	w := open(t, homes)
	w.listen()
	b := w.stand()
	chosen := func(want ...string) {
		t.Helper()
		for _, id := range []string{"short-ask", "short-rest", "short-substitute", "short-cancel", "wait"} {
			is := strings.Contains(b.page, `id="`+id+`" checked>`)
			if should := strings.Contains(strings.Join(want, " "), id); is != should {
				t.Errorf("%s: %s is chosen: %v, want %v", b.at, id, is, should)
			}
		}
	}
	b.get("/kiosk/shop")
	b.send("Add Brass lamp")
	chosen("short-ask")
	b.send("Keep this choice", "whenShort", "rest", "wait", "yes")
	chosen("short-rest", "wait")
	b.send("One Brass lamp more")
	b.get("/kiosk/shop?q=tea")
	b.send("Add Mint tea")
	chosen("short-rest", "wait")
	if !strings.Contains(b.page, `<details id="wishes" open>`) {
		t.Error("what was chosen is hidden")
	}
	for _, bad := range []string{"<script>", "", "all"} {
		b.send("Keep this choice", "whenShort", bad)
		chosen("short-rest", "wait")
	}
	b.send("Deutsch", "language", "de")
	chosen("short-rest", "wait")
	b.send("Für 104.90 EUR bestellen")
	if c := w.ordered(); c.WhenShort != mall.ShortRest || !c.WaitForStock {
		t.Errorf("ordered by %+v", c)
	}
	if c := b.cookie("wishes"); c != "" {
		t.Errorf("%q is remembered of what was ordered", c)
	}
	b.get("/kiosk/shop")
	b.send("Brass lamp für")
	chosen("short-ask")
	b.send("Diese Wahl behalten", "whenShort", "cancel")
	chosen("short-cancel")
	kept := b.cookie("wishes")
	b.send("Fertig")
	if c := b.cookie("wishes"); c != "" {
		t.Errorf("%q is left for whoever comes next", c)
	}
	b.get("/kiosk/shop")
	b.send("Add Brass lamp")
	b.remembers("wishes", kept) // of a basket that is not theirs
	b.get("/kiosk/shop")
	chosen("short-ask")
}

// In a browser the choice needs no button, and is kept by whatever one does next: more of something, a search, a price that changes meanwhile.
func TestThePageKeepsWishes(t *testing.T) {
	t.Parallel()
	w, page, shots := browseLong(t)
	page.Do(chromedp.EmulateViewport(360, 740))
	page.Go(w.url + "/kiosk/shop")
	page.Touch("#add-lamp")
	page.Loaded(`document.querySelector("#more-lamp")`)
	page.KeysAt("#wishes summary", "\r")
	page.Value(`window.fetch = () => Promise.reject(new Error("the network is slow"))`) // the form takes it along all the same
	page.KeysAt("#short-rest", " ")
	page.KeysAt("#wait", " ")
	const chosen = `document.querySelector("#short-rest").checked && document.querySelector("#wait").checked && document.querySelector("#wishes").open`
	again := func(do func(), shows string) {
		t.Helper()
		page.Value(`window.before = true`)
		do()
		page.Loaded(`!window.before && ` + shows + ` && ` + chosen)
	}
	again(func() { page.KeysAt("#more-lamp", "\r") }, `document.querySelector(".count").innerText === "2"`)
	shots.take("17-wishes")
	page.KeysAt("#short-cancel", " ")
	page.KeysAt("#short-rest", " ") // changed as somebody does who hesitates
	again(func() { page.Touch("#add-tea") }, `document.querySelector("#more-tea")`)
	again(func() { page.Touch("#extend") }, `document.querySelector("#say").innerText !== ""`)
	w.shop.costs("lamp", 5000)
	page.Visible("#accept")
	again(func() { page.Touch("#accept") }, `!document.querySelector("#accept")`)
	again(func() { page.KeysAt("#q", "tea\r") }, `location.search.includes("q=tea")`)
	page.Touch("#order")
	page.Visible("#stage")
	if c := w.ordered(); c.WhenShort != mall.ShortRest || !c.WaitForStock {
		t.Errorf("ordered by %+v", c)
	}

	// With nothing but a link in between.
	page.Go(w.url + "/kiosk/shop")
	page.Touch("#add-lamp")
	page.Loaded(`document.querySelector("#more-lamp")`)
	page.KeysAt("#wishes summary", "\r")
	page.KeysAt("#short-substitute", " ")
	page.Loaded(`performance.getEntriesByType("resource").some((e) => e.name.endsWith("/kiosk/wishes") && e.responseEnd > 0)`)
	page.Go(w.url + "/kiosk/shop?q=lamp")
	page.Loaded(`document.querySelector("#short-substitute").checked`)
}
