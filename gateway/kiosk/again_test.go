package kiosk_test

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"example.org/souk/gateway/kiosk"
	"example.org/souk/mall/command"
)

// turnedDown orders five teas, two lamps and a rug, and has the order turned down: of the tea there was too little. The browser shows it.
func (w *world) turnedDown(b *browser) (order string) {
	w.t.Helper()
	b.get("/kiosk/shop")
	b.send("Add Mint tea, 250 g", "quantity", "5")
	b.send("Add Brass lamp", "quantity", "2")
	b.send("Add Woven rug")
	b.send("Order for 321.50 EUR")
	order = w.orderOf().ID
	w.shop.becomes(order, "rejected", func(o *kiosk.Order) { o.SKU = "TEA-01" })
	b.get("/kiosk/orders/" + order)
	return order
}

// held returns what the open baskets hold, and how many they are.
func (w *world) held() (pieces map[string]int64, open int) {
	w.shop.mu.Lock()
	defer w.shop.mu.Unlock()
	pieces = map[string]int64{}
	for _, b := range w.shop.baskets {
		if b.Status != kiosk.BasketOpen {
			continue
		}
		open++
		for _, l := range b.Lines {
			pieces[l.Product] += l.Quantity
		}
	}
	return pieces, open
}

// An order that was turned down is ordered again as far as it can be had, in one basket however often its form comes and whoever answers last, and what was left
// out is said. Red when what comes twice is put in twice, when more is put in than there is, and when the order of somebody else is.
func TestAnOrderIsOrderedAgain(t *testing.T) {
	t.Parallel()
	w := open(t, homes)
	w.listen()
	b := w.stand()
	id := w.turnedDown(b)
	b.sees("too little of Mint tea, 250 g is there", "Order again")

	visit := regexp.MustCompile(`name="visit" value="([^"]+)"`).FindStringSubmatch(b.page)
	if visit == nil {
		t.Fatalf("the form names no visit:\n%s", b.page)
	}
	form := url.Values{"visit": {visit[1]}, "of": {id}}
	var touches, looked sync.WaitGroup
	var adding atomic.Int64
	looked.Add(4)
	w.shop.adding = func() { // all have seen that nothing is in it yet
		if adding.Add(1) <= 4 {
			looked.Done()
			looked.Wait()
		}
	}
	for range 4 { // none of them knows of the basket of another
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.base+"/kiosk/again", strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for _, c := range b.client.Jar.Cookies(b.at) {
			r.AddCookie(c)
		}
		touches.Go(func() {
			if rec := serve(w, r); rec.Code != http.StatusSeeOther {
				t.Errorf("%d: %s", rec.Code, rec.Body)
			}
		})
	}
	touches.Wait()
	w.shop.adding = nil
	b.send("Order again")
	pieces, baskets := w.held()
	if baskets != 1 || pieces["tea"] != 3 || pieces["lamp"] != 2 || len(pieces) != 2 {
		t.Fatalf("%d baskets hold %v", baskets, pieces)
	}
	b.sees("Left out: 2 × Mint tea, 250 g, 1 × Woven rug.", "Total 118.70 EUR", "Brass lamp", "Kept for you until")
	b.send("One Mint tea, 250 g fewer")
	b.blind("Left out") // it is said once

	// A basket that is open is filled up, with what it does not hold.
	w.shop.mu.Lock()
	w.shop.stock["RUG-01"], w.shop.stock["TEA-01"] = 1, 9
	w.shop.mu.Unlock()
	b.get("/kiosk/orders/" + id)
	b.send("Order again")
	b.sees("All of it is in your basket.")
	if pieces, baskets = w.held(); baskets != 1 || pieces["tea"] != 5 || pieces["lamp"] != 2 || pieces["rug"] != 1 {
		t.Errorf("%d baskets hold %v", baskets, pieces)
	}

	// After that has been ordered another basket begins; of what is not sold any more nothing is put in.
	b.send("Order for 321.50 EUR")
	w.shop.mu.Lock()
	w.shop.products["lamp"].Sold = false
	w.shop.mu.Unlock()
	b.get("/kiosk/orders/" + id)
	b.send("Order again")
	b.sees("Left out: 2 × Brass lamp.")

	// Where nothing is to be had no basket begins.
	b.send("Give the basket up")
	w.shop.mu.Lock()
	w.shop.stock = map[string]int64{}
	w.shop.mu.Unlock()
	b.get("/kiosk/orders/" + id)
	b.send("Order again")
	b.sees("Nothing of it can be had now.", "Order again")
	if pieces, baskets = w.held(); baskets != 0 {
		t.Errorf("%d baskets hold %v", baskets, pieces)
	}

	// An order that goes on is not offered to be ordered again, and nobody orders again what is somebody else's, nor is told what it was.
	w.shop.becomes(id, "ready", nil)
	b.get("/kiosk/orders/" + id)
	b.blind("Order again")
	other := w.stand()
	other.get("/kiosk/shop")
	other.send("Add Mint tea, 250 g")
	other.post("/kiosk/again", form)
	other.get("/kiosk/shop?of=" + id)
	other.sees("Total 6.90 EUR")
	other.blind("Left out", "Woven rug</span>")
}

// A product that is sold in two stores is there once: together they are told and given no more than there is.
func TestWhatTwoStoresSellIsThereOnce(t *testing.T) {
	t.Parallel()
	w := open(t, homes)
	w.listen()
	w.shop.mu.Lock()
	w.shop.products["bag"] = &kiosk.Product{ID: "bag", SKU: "TEA-01", Name: "Tea in a bag", Price: eur(700), Store: "corner", StoreName: "Corner", PriceVersion: 1, Sold: true}
	w.shop.mu.Unlock()
	b := w.stand()
	b.get("/kiosk/shop")
	b.send("Add Mint tea, 250 g", "quantity", "2")
	b.send("Add Tea in a bag", "quantity", "2")
	b.sees("Only 1 can be had now.")
	b.send("Order for 27.80 EUR")
	w.shop.becomes(w.orderOf().ID, "rejected", func(o *kiosk.Order) { o.SKU = "TEA-01" })
	b.get("/kiosk/orders/" + w.orderOf().ID)
	b.send("Order again")
	if pieces, _ := w.held(); pieces["tea"] != 2 || pieces["bag"] != 1 {
		t.Errorf("put in %v", pieces)
	}
}

// Beside a line stands how many can be had where more is wanted, on the page and over REST, and nothing is refused for it. Red when a number is told to whoever
// wants no more than there is, and when what is short is not.
func TestALineSaysHowManyCanBeHad(t *testing.T) {
	t.Parallel()
	w := open(t, homes)
	w.listen()
	b := w.stand()
	b.get("/kiosk/shop")
	b.send("Add Mint tea, 250 g", "quantity", "3")
	b.blind("can be had", `id="scarce"`)
	b.send("One Mint tea, 250 g more")
	b.sees("Only 3 can be had now.", "Take fewer, or choose to wait for the next delivery")
	if before, _, _ := strings.Cut(b.page, `<details id="wishes"`); strings.Count(b.page, `id="wait"`) != 1 || !strings.Contains(before, `id="wait"`) {
		t.Error("that it can wait is hidden")
	}
	b.send("Add Woven rug")
	b.sees("There is none now.")
	b.send("Order for 216.60 EUR", "wait", "yes")
	w.shop.mu.Lock()
	last := w.shop.log[len(w.shop.log)-1]
	w.shop.mu.Unlock()
	if c, ok := last.(command.CheckoutBasket); !ok || !c.WaitForStock {
		t.Errorf("ordered by %+v", last)
	}

	amina := w.token("customer", "amina")
	var made, now struct {
		Basket string
		Items  []struct {
			Product   string
			Available *int64
		}
	}
	w.must(201, w.call(amina, "POST", "/baskets", "", key("b")...), &made)
	w.must(200, w.call(amina, "POST", "/baskets/"+made.Basket+"/items", `{"product":"lamp","quantity":40}`, key("1")...), nil)
	w.must(200, w.call(amina, "POST", "/baskets/"+made.Basket+"/items", `{"product":"tea","quantity":4}`, key("2")...), nil)
	w.must(200, w.call(amina, "POST", "/baskets/"+made.Basket+"/items", `{"product":"rug","quantity":1}`, key("3")...), &now)
	got := []int64{}
	for _, l := range now.Items {
		n := int64(-1) // nothing is said
		if l.Available != nil {
			n = *l.Available
		}
		got = append(got, n)
	}
	if !slices.Equal(got, []int64{-1, 3, 0}) {
		t.Errorf("of 40 lamps, 4 teas and 1 rug there are %v", got)
	}
}

// What expired is put into a new basket by one touch, once; what was in somebody else's is not.
func TestWhatExpiredIsPutIntoANewBasket(t *testing.T) {
	t.Parallel()
	w := open(t, homes)
	w.listen()
	b := w.stand()
	b.get("/kiosk/shop")
	b.send("Add Mint tea, 250 g", "quantity", "5")
	old := b.cookie("basket")
	w.shop.expires()
	b.get("/kiosk/shop")
	b.sees("The time of this basket is over. Nothing of it was ordered.")
	b.blind("Basket: 5 for")
	page, at := b.page, b.at
	b.send("Begin another one")
	b.sees("There is nothing in it yet")
	b.page, b.at = page, at
	b.send("Put it into a new basket")
	b.sees("Left out: 2 × Mint tea, 250 g.", "Total 20.70 EUR")
	b.page, b.at = page, at
	b.send("Put it into a new basket")
	if pieces, baskets := w.held(); baskets != 1 || pieces["tea"] != 3 {
		t.Errorf("%d baskets hold %v", baskets, pieces)
	}
	b.post("/kiosk/again", url.Values{"of": {b.cookie("basket")}, "visit": {"x"}}) // is open
	other := w.stand()
	other.get("/kiosk/shop")
	other.send("Add Brass lamp")
	for _, of := range []string{old, "", "nothing", "../shop", strings.Repeat("x", 100)} {
		other.post("/kiosk/again", url.Values{"of": {of}, "visit": {"x"}})
		other.sees("This is not here, or not yours to see.", "Total 49.00 EUR")
		other.blind("Left out")
	}
}
