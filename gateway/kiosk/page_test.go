package kiosk_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"example.org/souk/gateway/door"
	"example.org/souk/gateway/kiosk"
	"example.org/souk/internal/testserver"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
)

// browser is one without a script: it follows links and sends forms.
type browser struct {
	speaks string // Accept-Language; "": says nothing
	t      *testing.T
	client *http.Client
	base   string
	page   string // the last page
	at     *url.URL
	status int
}

// stand puts a browser at a kiosk that has signed in.
func (w *world) stand() *browser {
	w.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	b := &browser{t: w.t, base: w.url}
	b.client = &http.Client{Jar: jar, Transport: b}
	code, err := w.authority.Link(door.Grant{Role: door.Device, Subject: "kiosk-1"})
	if err != nil {
		w.t.Fatal(err)
	}
	b.post("/sign-in/"+code, nil)
	if b.at.Path != "/kiosk" {
		w.t.Fatalf("signed in, and at %s", b.at)
	}
	return b
}

// RoundTrip says which languages the browser speaks.
func (b *browser) RoundTrip(r *http.Request) (*http.Response, error) {
	if b.speaks != "" {
		r = r.Clone(r.Context())
		r.Header.Set("Accept-Language", b.speaks)
	}
	return http.DefaultTransport.RoundTrip(r)
}

func (b *browser) take(resp *http.Response, err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err := resp.Body.Close(); err != nil {
		b.t.Error(err)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	b.page, b.at, b.status = string(body), resp.Request.URL, resp.StatusCode
	policy := resp.Header.Get("Content-Security-Policy")
	if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") || strings.Contains(policy, "http") {
		b.t.Errorf("%s has the policy %q", b.at, policy)
	}
	if strings.Contains(b.page, "&lt;h") || strings.Count(b.page, "<h1") != 1 && strings.Contains(b.page, "<html") && b.at.Path != "/" {
		b.t.Errorf("%s has no heading that is one:\n%s", b.at, b.page)
	}
	if strings.Contains(b.page, "<script>") || regexp.MustCompile(`(?i)(src|href|action)="(https?:)?//|style="| on[a-z]+="`).MatchString(b.page) {
		b.t.Errorf("%s asks elsewhere, or has script or style within:\n%s", b.at, b.page)
	}
}

func (b *browser) get(path string) {
	b.t.Helper()
	b.take(b.client.Get(b.base + path))
}

func (b *browser) post(path string, form url.Values) {
	b.t.Helper()
	b.take(b.client.PostForm(b.base+path, form))
}

// send sends the first form of the page whose button has this text, as a browser would.
func (b *browser) send(button string, also ...string) {
	b.t.Helper()
	for _, form := range regexp.MustCompile(`(?s)<form[^>]*method="post"[^>]*action="([^"]+)"[^>]*>(.*?)</form>`).FindAllStringSubmatch(b.page, -1) {
		touched := regexp.MustCompile(`(?s)<button[^>]*(aria-label="` + regexp.QuoteMeta(button) + `[^>]*>|>\s*` + regexp.QuoteMeta(button) + `)`).FindString(form[2])
		if touched == "" || strings.Contains(form[2], "disabled") {
			continue
		}
		to := form[1]
		if m := regexp.MustCompile(` formaction="([^"]+)"`).FindStringSubmatch(touched); m != nil {
			to = m[1]
		}
		values := url.Values{}
		for _, input := range regexp.MustCompile(`<input[^>]*>`).FindAllString(form[2], -1) {
			attr := func(name string) string {
				m := regexp.MustCompile(` ` + name + `="([^"]*)"`).FindStringSubmatch(input)
				if m == nil {
					return ""
				}
				return strings.NewReplacer("&amp;", "&", "&#43;", "+", "&#34;", `"`).Replace(m[1])
			}
			switch {
			case (attr("type") == "checkbox" || attr("type") == "radio") && !strings.Contains(input, " checked"):
			case attr("name") != "":
				values.Add(attr("name"), attr("value"))
			}
		}
		for i := 0; i < len(also); i += 2 {
			values.Set(also[i], also[i+1])
		}
		b.post(to, values)
		return
	}
	b.t.Fatalf("%s has no form with %q:\n%s", b.at, button, b.page)
}

// cookie returns what the browser remembers by a cookie of the page; "" where it remembers nothing.
func (b *browser) cookie(name string) string {
	for _, c := range b.client.Jar.Cookies(b.at) {
		if c.Name == "souk-"+name {
			return c.Value
		}
	}
	return ""
}

// remembers sets a cookie by hand; "" takes it away.
func (b *browser) remembers(name, value string) {
	c := &http.Cookie{Name: "souk-" + name, Value: value, Path: "/"}
	if value == "" {
		c.MaxAge = -1
	}
	b.client.Jar.SetCookies(b.at, []*http.Cookie{c})
}

func (b *browser) sees(want ...string) {
	b.t.Helper()
	text := strings.Join(strings.Fields(regexp.MustCompile(`<[^>]*>`).ReplaceAllString(b.page, " ")), " ")
	for _, w := range want {
		if !strings.Contains(text, w) {
			b.t.Errorf("%s (%d) does not say %q: %s", b.at, b.status, w, text)
		}
	}
}

func (b *browser) blind(unwanted ...string) {
	b.t.Helper()
	for _, w := range unwanted {
		if strings.Contains(b.page, w) {
			b.t.Errorf("%s says %q", b.at, w)
		}
	}
}

func homes(_ *kiosk.Config, d *door.Config) { d.Homes = map[door.Role]string{door.Device: "/kiosk"} }

// The whole way from the start to the goods, without a script.
func TestThePageWorksWithoutAScript(t *testing.T) {
	t.Parallel()
	w := open(t, homes)
	w.listen()
	b := w.stand()
	b.sees("Touch to start", "Scan your card")
	b.get("/kiosk/shop")
	b.sees("Brass lamp", "49.00 EUR", "In stock", "Low", "Out", "There is nothing in it yet")
	b.blind("Old stock", "LAMP-01", ">40<", ">3<") // neither what is not sold nor how much is there
	b.sees("Everything", "House &amp; &lt;b&gt;", "Tea")
	b.get("/kiosk/shop?store=main-hall&category=" + url.QueryEscape("House & <b>"))
	b.sees("Brass lamp", "Woven rug")
	b.blind("Mint tea", "<b>")
	b.get("/kiosk/shop?category=Nothing")
	b.sees("Nothing fits.")
	b.get("/kiosk/shop?q=tea")
	b.sees("Mint tea")
	b.blind("Brass lamp")
	b.send("Add Mint tea, 250 g")
	b.sees("Guest", "Kept for you until", "Total 6.90 EUR")
	if b.at.RawQuery != "q=tea" {
		t.Errorf("came back to %s", b.at)
	}
	b.send("One Mint tea, 250 g more")
	b.sees("Total 13.80 EUR")
	page, at := b.page, b.at
	b.send("One Mint tea, 250 g more")
	b.page, b.at = page, at
	b.send("One Mint tea, 250 g more") // the same form again
	b.sees("Total 20.70 EUR")
	b.send("One Mint tea, 250 g fewer")
	b.sees("Total 13.80 EUR")
	b.get("/kiosk/shop")
	b.send("Add Brass lamp")
	b.sees("Total 62.80 EUR")
	b.send("Keep it longer")
	b.sees("The basket is kept for longer.")

	w.shop.costs("lamp", 5100)
	b.get("/kiosk/shop")
	b.sees("Something has changed", "Brass lamp now costs 51.00 EUR, before 49.00 EUR.", "Please look at what has changed first")
	b.post("/kiosk/checkout", url.Values{"whenShort": {"ask"}}) // though the button is off
	b.sees("A price has changed meanwhile")
	b.send("Accept the new prices")
	b.blind("Something has changed")
	b.sees("Total 64.80 EUR")

	b.send("Order for 64.80 EUR")
	if !strings.HasPrefix(b.at.Path, "/kiosk/orders/basket-") {
		t.Fatalf("at %s", b.at)
	}
	id := strings.TrimPrefix(b.at.Path, "/kiosk/orders/")
	b.sees("Order", "We have your order", "Cancel this order")
	w.shop.becomes(id, "picking", func(o *kiosk.Order) { o.Picked, o.Stops = 1, 2 })
	b.get("/kiosk/orders/" + id)
	b.sees("A robot is collecting: 1 of 2.")
	w.shop.becomes(id, "short", func(o *kiosk.Order) { o.Missing = append(o.Missing, mall.Line{SKU: "TEA-01", Quantity: 1}) })
	b.get("/kiosk/orders/" + id)
	b.sees("Something could not be found", "1 × Mint tea, 250 g")
	b.send("Bring me the rest")
	b.blind(`id="until"`)
	kept := time.Date(2026, time.December, 3, 14, 30, 0, 0, time.Local)
	w.shop.becomes(id, "ready", func(o *kiosk.Order) { o.KeptUntil = kept })
	b.get("/kiosk/orders/" + id)
	b.sees("Please pay there and collect it", "Kept for you until 3 December, 14:30")
	b.send("Deutsch", "language", "de")
	b.sees("Für Sie zurückgelegt bis 03.12.2026, 14:30")
	b.send("English", "language", "en")
	b.send("Pay 64.80 EUR here")
	b.sees("Thank you, that is paid", "Total, paid")
	b.blind(`id="pay"`)

	// Of what there was too little is said by its name.
	w.shop.becomes(id, "rejected", func(o *kiosk.Order) { o.SKU = "TEA-01" })
	b.get("/kiosk/orders/" + id)
	b.sees("too little of Mint tea, 250 g is there")

	// Whoever comes next finds nothing of this.
	b.get("/kiosk/shop")
	b.send("Add Brass lamp")
	b.send("Finish")
	b.sees("Welcome to the souk", "Thank you for your visit")
	b.blind("Guest")
	b.get("/kiosk/orders/" + id)
	if b.status != 404 {
		t.Errorf("the next one sees the order: %d", b.status)
	}
	b.get("/kiosk/shop")
	b.sees("There is nothing in it yet")
	given := 0
	for _, basket := range w.shop.baskets {
		if basket.Status == kiosk.BasketCanceled {
			given++
		}
	}
	if given != 1 {
		t.Errorf("%d baskets were given up", given)
	}

	b.get("/kiosk")
	b.send("Go", "card", "9999")
	b.sees("Nobody is known by this card")
	b.send("Go", "card", "1001")
	b.sees("Hello, Amina")
}

// Nothing that is typed or sent breaks the page, and nothing of it runs in it.
func TestB1_NothingBreaksThePage(t *testing.T) {
	t.Parallel()
	w := open(t, homes, func(_ *kiosk.Config, d *door.Config) { d.CallerRate = door.Rate{PerSecond: 1e6, Burst: 1e6} }) // all of it arrives
	w.listen()
	b := w.stand()
	b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	b.get("/kiosk/shop")
	b.send("Add Brass lamp")
	posts := []string{"card", "add", "take", "extend", "accept", "checkout", "drop", "orders/nothing/cancel", "orders/nothing/short", "orders/nothing/pay", "language"}
	fields := []string{"card", "product", "quantity", "amount", "currency", "quote", "whenShort", "key", "back", "visit", "choice", "language", "pay", "attempt", "basket"}
	for _, value := range []string{
		"", "0", "-1", "1e9", "99999999999999999999", "\x00", "\xff", "<script>alert(1)</script>", "//evil.example/kiosk", "/\\evil.example", "https://evil.example/kiosk/shop",
		"javascript:alert(1)", "/kiosk/../console", strings.Repeat("x", 5000), "lamp 1 EUR 1 1 1", "' OR 1=1 --", "%0d%0aSet-Cookie:x",
	} {
		for _, path := range posts {
			form := url.Values{"product": {"lamp"}, "quantity": {"1"}, "amount": {"4900"}, "currency": {"EUR"}}
			b.post("/kiosk/"+path, form)
			for _, f := range fields {
				form := url.Values{"product": {"lamp"}, "quantity": {"1"}, "amount": {"4900"}, "currency": {"EUR"}}
				form.Set(f, value)
				resp, err := b.client.PostForm(b.base+"/kiosk/"+path, form)
				if err != nil {
					t.Fatal(err)
				}
				to := resp.Header.Get("Location")
				if resp.StatusCode >= 500 || to != "" && (!strings.HasPrefix(to, "/kiosk") || strings.ContainsAny(to, "\\<>")) {
					t.Errorf("%s with %s=%q: %d to %q", path, f, value, resp.StatusCode, to)
				}
				if err := resp.Body.Close(); err != nil {
					t.Error(err)
				}
			}
		}
		for _, path := range []string{"shop?q=", "shop?store=", "shop?category=", "shop?after=", "shop?say=", "pay?attempt=", "pay?whenShort=", "orders/", "basket/events?back="} {
			if strings.HasPrefix(path, "basket") {
				continue
			}
			b.get("/kiosk/" + path + url.PathEscape(value))
			if b.status >= 500 {
				t.Errorf("%s%q: %d", path, value, b.status)
			}
			b.blind("<script>alert")
		}
	}
	b.post("/kiosk/add", url.Values{"product": {strings.Repeat("x", 20000)}})
	if b.status != 400 {
		t.Errorf("a form without end: %d", b.status)
	}
	r, _ := http.NewRequestWithContext(t.Context(), "POST", b.base+"/kiosk/add", strings.NewReader("product=lamp"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	b.take(b.client.Do(r))
	if b.status != 403 {
		t.Errorf("another site's form: %d", b.status)
	}
}

// In a browser the page follows what happens by itself, and can be used by keys alone.
func TestThePageIsAlive(t *testing.T) {
	t.Parallel()
	w, page, shots := browseLong(t)
	shots.take("1-start")
	page.Touch(".way .button")
	page.Visible(".cards")
	shots.take("2-shop")
	// By keys alone: the first product is reached with the tabulator and added with the space bar.
	press := func(until, keys string) { t.Helper(); page.KeysTo(40, until, keys) }
	press(`.card button`, " ")
	page.Visible("#more-lamp")
	page.Visible("#left")
	press(`#more-lamp`, "\r")
	page.Loaded(`location.hash === "#more-lamp" && document.querySelector(".count")?.getAttribute("aria-label") === "2 pieces"`)
	shots.take("3-basket")
	w.shop.costs("lamp", 5250)
	page.Visible("#accept")
	shots.take("4-price-changed")
	page.Touch("#accept")
	page.Gone("#accept")
	page.Visible("#order")
	if small := page.Value(`[...document.querySelectorAll("button, a.button, a.chip, .brand, fieldset label, .wait")]` +
		`.filter((e) => { const r = e.getBoundingClientRect(); return r.width > 0 && (r.height < 44 || r.width < 44); }).map((e) => e.outerHTML).join("\n")`); small != "" {
		t.Errorf("too small to touch:\n%s", small)
	}
	page.Touch("#order")
	page.Visible("#stage")
	id := w.orderOf().ID
	w.shop.becomes(id, "approved", nil)
	page.Visible(".stage.approved")
	w.shop.becomes(id, "picking", func(o *kiosk.Order) { o.Picked, o.Stops = 1, 2 })
	page.Visible(".stage.picking")
	shots.take("6-order")
	w.shop.becomes(id, "short", func(o *kiosk.Order) { o.Missing = append(o.Missing, mall.Line{SKU: "LAMP-01", Quantity: 1}) })
	page.Visible(".decide")
	if focused := page.Value(`document.activeElement.id`); focused != "decide-title" {
		t.Errorf("who cannot see it is at %q", focused)
	}
	shots.take("7-short")
	page.Touch("#rest")
	page.Visible(".stage.picking")
	w.shop.becomes(id, "ready", func(o *kiosk.Order) { o.KeptUntil = time.Now().Add(48 * time.Hour) })
	page.Visible("#pay")
	page.Visible("#until") // without a touch
	shots.take("8-ready")
	page.Touch("#pay")
	page.Gone("#pay")
	page.Visible("#stage")
	if cookies := page.Value(`document.cookie`); cookies != "" {
		t.Errorf("a script can read %q", cookies)
	}
}

// Whoever adds something stays where they were: at the same button, with what there is to be told in sight, on the screen of a phone too.
func TestThePageKeepsItsPlace(t *testing.T) {
	t.Parallel()
	w := open(t, homes, func(c *kiosk.Config, _ *door.Config) { c.IdleAfter = time.Hour })
	w.listen()
	w.shop.mu.Lock()
	w.shop.products["lamp"].Name = `Lamp "Aladdin" & <script>document.title = "broken"</script> ` + strings.Repeat("Donaudampfschifffahrt", 5)
	w.shop.mu.Unlock()
	page, shots := w.browse(t)
	page.Do(chromedp.EmulateViewport(360, 740))
	page.Go(w.url + "/kiosk/shop")
	inSight := func(selector string) {
		t.Helper()
		page.Until(`(() => { const r = document.querySelector(` + "`" + selector + "`" + `).getBoundingClientRect(); return r.height > 0 && r.top >= 0 && r.bottom <= innerHeight; })()`)
	}
	narrow := func() {
		t.Helper()
		page.Loaded(`document.getElementById("main")`)
		// Something reaches over the edge, of the page or of what it stands in.
		if over := page.Value(`[...document.querySelectorAll("main, main *")].filter((e) => !e.closest(".unseen, .quiet-title") && e.getBoundingClientRect().width > 0 &&
			(e.getBoundingClientRect().right > 360 || e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== "inline"))
			.map((e) => e.tagName + "." + e.className + "#" + e.id).join(" ")`); over != "" {
			t.Errorf("on a narrow screen these reach over an edge: %s", over)
		}
	}
	// sent does what sends a form, and waits for the page that comes of it: the one before may show the same by itself.
	sent := func(do func(string), what, shows string) {
		t.Helper()
		page.Value(`window.before = true`)
		do(what)
		page.Loaded(`!window.before && (` + shows + `)`)
	}
	enter := func(selector string) { t.Helper(); page.KeysAt(selector, "\r") }
	again := func(string) { t.Helper(); page.Keys("\r") }
	tea := func(pieces, focused string) string {
		return `document.querySelector("#more-tea")?.closest(".steps").querySelector(".count").innerText === "` + pieces + `" && document.activeElement.id === "` + focused + `"`
	}
	narrow()
	if page.Value(`document.querySelector(".cards").getBoundingClientRect().top < innerHeight * 2 / 3`) != "true" {
		t.Error("there are no goods on the first screen of a phone")
	}
	sent(page.Touch, "#add-tea", tea("1", "add-tea"))
	inSight("#add-tea")
	sent(page.Touch, "#add-lamp", `document.querySelector("#more-lamp")`)
	inSight("#add-lamp")
	narrow()

	// By keys alone, without looking for the button again.
	sent(enter, "#more-tea", tea("2", "more-tea"))
	sent(again, "", tea("3", "more-tea"))
	inSight("#more-tea")
	sent(enter, "#less-tea", tea("2", "less-tea"))

	// What cannot be done is said where they are.
	w.shop.mu.Lock()
	w.shop.unserved = command.AddItemV1
	w.shop.mu.Unlock()
	sent(page.Touch, "#more-tea", tea("2", "more-tea"))
	inSight("#more-tea")
	inSight("#say")

	w.shop.mu.Lock()
	w.shop.unserved = ""
	w.shop.mu.Unlock()
	page.Do(chromedp.EmulateViewport(1280, 800))
	sent(page.Touch, "#more-tea", tea("3", "more-tea"))
	inSight("#more-tea")
	page.Do(chromedp.EmulateViewport(360, 740))
	page.Touch("#order")
	page.Visible("#stage")
	narrow()
	page.Go(w.url + "/kiosk/orders")
	narrow()
	if title := page.Value("document.title"); title == "broken" {
		t.Error("the name of a product ran")
	}
	shots.take("9-orders")
}

// An order is followed again after a proxy has answered in the mall's place, and is shown no more once the session is over, in another window too.
func TestThePageFollowsUntilTheSessionIsOver(t *testing.T) {
	t.Parallel()
	w := open(t, homes, func(c *kiosk.Config, _ *door.Config) { c.IdleAfter = time.Hour })
	w.listen()
	at, err := url.Parse(w.url)
	if err != nil {
		t.Fatal(err)
	}
	var down atomic.Bool
	var turned atomic.Int64 // requests that were answered in the mall's place
	through := &httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(at) }, ErrorLog: log.New(io.Discard, "", 0)}
	proxy := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if down.Load() {
			turned.Add(1)
			out.WriteHeader(http.StatusBadGateway)
			return
		}
		through.ServeHTTP(out, r)
	}))
	t.Cleanup(proxy.Close)
	w.url = proxy.URL
	page, _ := w.browse(t)
	t.Cleanup(proxy.CloseClientConnections)
	page.Go(w.url + "/kiosk/shop")
	page.Touch("#add-lamp")
	page.Touch("#order")
	page.Loaded(`document.querySelector("#stage")`) // with its script
	id := w.orderOf().ID

	down.Store(true)
	proxy.CloseClientConnections()
	page.Visible("#lost")
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for turned.Load() < 2 { // the browser, which gives up, and then the page
		select {
		case <-tick.C:
		case <-page.Context().Done():
			t.Fatal("the page asks no more, though it says that it keeps trying")
		}
	}
	w.shop.becomes(id, "ready", nil)
	down.Store(false)
	page.Visible(".stage.ready")
	page.Gone("#lost")

	page.Value(`fetch("/kiosk/leave", { method: "POST" })`)
	page.Gone("#stage")
	if text := page.Text("main"); !strings.Contains(text, "Sorry") {
		t.Errorf("whoever comes next sees %q", text)
	}
}

// A basket whose time runs out while it is looked at says so, is not offered any more, and nothing goes on saying that there is a minute left.
func TestThePageSaysThatABasketExpired(t *testing.T) {
	t.Parallel()
	w, page, _ := browseLong(t)
	page.Do(chromedp.EmulateViewport(360, 740))
	page.Go(w.url + "/kiosk/shop")
	page.Touch("#add-tea")
	page.Visible(".below")
	kept := func(d time.Duration) {
		w.shop.mu.Lock()
		defer w.shop.mu.Unlock()
		for _, b := range w.shop.baskets {
			b.Expires = time.Now().Add(d)
			b.Version++
			w.shop.hub.Notify(kiosk.BasketTopic(b.ID))
		}
	}
	kept(40 * time.Second)
	page.Until(`document.querySelector("#say").innerText.includes("one more minute")`)
	kept(10 * time.Minute) // by another window
	page.Gone("#say")
	kept(40 * time.Second)
	page.Visible("#say")
	w.shop.mu.Lock()
	for _, b := range w.shop.baskets {
		b.Lines[0].Quantity = 2 // by another window
		b.Version++
		w.shop.hub.Notify(kiosk.BasketTopic(b.ID))
	}
	w.shop.mu.Unlock()
	page.Until(`document.querySelector(".below").innerText.includes("Basket: 2 for 13.80 EUR")`)
	w.shop.expires()
	page.Visible("#put-back")
	page.Gone(".below")
	if text := page.Text("#say"); !strings.Contains(text, "The time of this basket is over") {
		t.Errorf("it says %q", text)
	}
	page.KeysAt("#put-back", "\r")
	page.Loaded(`document.querySelector("#more-tea") && document.querySelector(".below").checkVisibility()`)
	page.Until(`(() => { const r = document.querySelector("#basket-title").getBoundingClientRect(); return r.top >= 0 && r.bottom <= innerHeight; })()`)
}

// Who comes back to a page after their session is told that it is over, and nothing that they touch there is done for somebody else. With their card they find their
// basket again.
func TestThePageSaysThatAVisitIsOver(t *testing.T) {
	t.Parallel()
	w := open(t, homes)
	w.listen()
	b := w.stand()
	end := func() {
		t.Helper()
		p, err := w.authority.Verify(b.cookie("shopper"), kiosk.Gate)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.authority.RevokeSession(p.Session); err != nil {
			t.Fatal(err)
		}
	}
	b.get("/kiosk")
	b.send("Go", "card", "1001")
	b.send("Add Brass lamp")
	people := len(w.shop.people)
	for _, touch := range []string{"One Brass lamp more", "One Brass lamp fewer", "Keep it longer", "Order for 49.00 EUR", "Add Mint tea, 250 g", "Keep this choice", "Give the basket up"} {
		b.get("/kiosk/shop")
		b.sees("Hello, Amina", "Total 49.00 EUR")
		end()
		b.send(touch)
		b.sees("Your last visit is over. Please begin again.", "There is nothing in it yet")
		b.blind("Hello, Amina", "Guest")
		b.get("/kiosk/shop")
		b.blind("visit is over") // it is said once
		b.get("/kiosk")
		b.send("Go", "card", "1001")
	}
	if len(w.shop.people) != people || len(w.shop.baskets) != 1 || len(w.shop.orders) != 0 {
		t.Errorf("%d people, %d baskets and %d orders", len(w.shop.people)-people, len(w.shop.baskets), len(w.shop.orders))
	}
	for _, path := range []string{"/kiosk", "/kiosk/shop", "/kiosk/orders", "/kiosk/orders/" + b.cookie("basket")} {
		end()
		b.get(path)
		b.sees("Your last visit is over. Please begin again.")
		b.get("/kiosk")
		b.blind("visit is over")
		b.send("Go", "card", "1001")
	}
	b.get("/kiosk/shop")
	b.send("Keep this choice", "whenShort", "rest")
	end()
	b.send("Finish") // is what they want
	b.sees("Thank you for your visit.")
	if c := b.cookie("wishes"); c != "" {
		t.Errorf("%q is left for whoever comes next", c)
	}
}

// When nobody is there the page asks whether somebody is. A touch is enough of an answer; where there is none the page begins anew.
func TestThePageAsksWhetherSomebodyIsThere(t *testing.T) {
	t.Parallel()
	w := open(t, homes, func(c *kiosk.Config, _ *door.Config) { c.IdleAfter, c.WarnFor = 2*time.Second, 20*time.Second })
	w.listen()
	page, shots := w.browse(t)
	page.Go(w.url + "/kiosk/shop")
	page.Visible("#idle[open]")
	var left int
	if _, err := fmt.Sscan(page.Text("#idle-left"), &left); err != nil || left < 1 || left > 20 {
		t.Errorf("%d s to answer, %v", left, err)
	}
	shots.take("5-idle")
	page.Touch("#idle .big")
	page.Until(`!document.getElementById("idle").open`)
	page.Visible("#idle[open]")
	page.Visible(".hero")
}

// browse opens the page of a kiosk that has signed in.
func (w *world) browse(t *testing.T) (*testserver.Page, screenshots) {
	t.Helper()
	code, err := w.authority.Link(door.Grant{Role: door.Device, Subject: "kiosk-1"})
	if err != nil {
		t.Fatal(err)
	}
	page := testserver.OpenPage(t, 3*time.Minute)
	page.Go(w.url + "/sign-in/" + code)
	page.Touch("button")
	page.Visible(".hero")
	return page, screenshots{t, page.Context()}
}

// browseLong opens a kiosk that asks nobody within an hour whether they are there, and its page.
func browseLong(t *testing.T) (*world, *testserver.Page, screenshots) {
	t.Helper()
	w := open(t, homes, func(c *kiosk.Config, _ *door.Config) { c.IdleAfter = time.Hour })
	w.listen()
	page, shots := w.browse(t)
	return w, page, shots
}

// screenshots takes pictures of a page in the sizes of kiosks and phones, where SOUK_SCREENSHOTS names a folder.
type screenshots struct {
	t   *testing.T
	ctx context.Context
}

func (s screenshots) take(name string) {
	s.t.Helper()
	dir := os.Getenv("SOUK_SCREENSHOTS")
	if dir == "" {
		return
	}
	for size, view := range map[string][2]int64{"1280x800": {1280, 800}, "1080x1920": {1080, 1920}, "480": {480, 900}} {
		if err := chromedp.Do(s.ctx, chromedp.EmulateViewport(view[0], view[1])); err != nil {
			s.t.Fatal(err)
		}
		data, err := chromedp.Run(s.ctx, chromedp.FullScreenshot(100))
		if err != nil {
			s.t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name+"-"+size+".png"), data, 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := chromedp.Do(s.ctx, chromedp.EmulateViewport(1280, 800)); err != nil {
		s.t.Fatal(err)
	}
}

// Whoever stands in a part that is drawn anew stays where they are, by the name of where that is. Red when something in it that takes the focus has none.
func TestWhatIsDrawnAnewKeepsItsPlace(t *testing.T) {
	t.Parallel()
	for file, part := range map[string]string{"basket.html": "basket", "order.html": "order", "pay.html": "pay"} {
		data, err := os.ReadFile(filepath.Join("page", file))
		if err != nil {
			t.Fatal(err)
		}
		_, text, found := strings.Cut(string(data), `{{define "`+part+`"}}`)
		if !found {
			t.Fatalf("%s has no part %s", file, part)
		}
		elements := regexp.MustCompile(`<(?:button|a|summary|select|textarea|input)[ >][^>]*`).FindAllString(text, -1)
		if len(elements) < 4 {
			t.Fatalf("%s: %q", file, elements)
		}
		for _, e := range elements {
			if !strings.Contains(e, ` id="`) && !strings.Contains(e, `type="hidden"`) {
				t.Errorf("%s: %s> has no name", file, e)
			}
		}
	}
}

// What comes while a touch is down is drawn when it is up, so that the touch is not lost; and what came with the page is not drawn once more. Red
// where what lies under the touch is another by then.
func TestAChangeWaitsForATouch(t *testing.T) {
	t.Parallel()
	w, page, _ := browseLong(t)
	page.Go(w.url + "/kiosk/shop")
	page.Touch("#add-lamp")
	page.Loaded(`document.querySelector("#more-lamp")`)
	page.Value(`(window.before = true, window.parts = [], window.more = document.querySelector("#more-lamp"),
		window.beside = new EventSource(document.querySelector("#live").dataset.live),
		beside.addEventListener("part", (e) => { parts.push(e.data); }))`)
	page.Until(`parts.length === 1`)
	if still := page.Value(`more.isConnected`); still != "true" {
		t.Error("what came with the page was drawn once more")
	}
	page.Value(`more.dispatchEvent(new PointerEvent("pointerdown", { bubbles: true }))`)
	w.shop.costs("lamp", 5000)
	page.Until(`parts.some((text) => text.includes('id="accept"'))`)
	page.Value(`(more.dispatchEvent(new PointerEvent("pointerup", { bubbles: true })), more.click())`) // which does nothing to what is not there any more
	page.Loaded(`!window.before && location.search.includes("say=price_changed")`)                     // the touch has come, though it is answered so
	page.Visible("#accept")

	page.Value(`(window.more = document.querySelector("#more-lamp"), more.dispatchEvent(new KeyboardEvent("keydown", { bubbles: true })))`)
	w.shop.costs("lamp", 4000)
	page.Value(`more.dispatchEvent(new KeyboardEvent("keyup", { bubbles: true }))`)
	page.Until(`!more.isConnected && document.querySelector("#live").innerText.includes("40.00")`) // nothing is held back for ever
}

// On the screen of a phone no word is broken in its middle, on any page that an order leads over.
func TestThePageBreaksNoWord(t *testing.T) {
	t.Parallel()
	w, page, _ := browseLong(t)
	page.Do(chromedp.EmulateViewport(360, 740))
	whole := func() {
		t.Helper()
		page.Loaded(`document.getElementById("main")`)
		if broken := page.Value(`(() => {
			const broken = [], texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
			while (texts.nextNode()) for (const word of texts.currentNode.data.matchAll(/\S+/g)) {
				const r = document.createRange();
				r.setStart(texts.currentNode, word.index);
				r.setEnd(texts.currentNode, word.index + word[0].length);
				if (new Set([...r.getClientRects()].map((at) => Math.round(at.top))).size > 1) broken.push(word[0]);
			}
			return broken.join(" ");
		})()`); broken != "" {
			t.Errorf("%s breaks %s", page.Value("location.pathname"), broken)
		}
		if lines := page.Value(`[...document.querySelectorAll(".ordered td, .price, .history strong")].filter((e) => {
			const r = document.createRange();
			r.selectNodeContents(e);
			return new Set([...r.getClientRects()].map((at) => Math.round(at.bottom))).size > 1;
		}).map((e) => e.innerText).join(", ")`); lines != "" {
			t.Errorf("%s has a number on two lines: %s", page.Value("location.pathname"), lines)
		}
	}
	page.Go(w.url + "/kiosk/shop")
	for _, product := range []string{"rug", "tea", "lamp"} {
		page.Value(`window.before = true`)
		page.Touch("#add-" + product)
		page.Loaded(`!window.before && document.querySelector("#more-` + product + `")`)
	}
	whole()
	page.Touch("#order")
	page.Visible("#stage")
	whole()
	w.shop.becomes(w.orderOf().ID, "rejected", func(o *kiosk.Order) { o.SKU = "RUG-01" })
	page.Visible(".stage.rejected")
	whole()
	page.Go(w.url + "/kiosk/orders")
	page.Visible(".history")
	whole()
}
