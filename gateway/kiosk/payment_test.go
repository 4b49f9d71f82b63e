package kiosk_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"example.org/souk/gateway/door"
	"example.org/souk/gateway/kiosk"
	"example.org/souk/mall/command"
)

// paid asks for one payment of an amount in the end, and for how all of them stand.
func (w *world) paid(amount int64, want ...string) (id string) {
	w.t.Helper()
	list, statuses := w.shop.asked()
	if !slices.Equal(statuses, want) {
		w.t.Fatalf("payments are %v, want %v", statuses, want)
	}
	last := list[len(list)-1]
	if last.Amount != eur(amount) || last.Customer == "" {
		w.t.Errorf("asked for %+v", last)
	}
	return last.Payment
}

// orderOf returns the only order.
func (w *world) orderOf() kiosk.Order {
	w.t.Helper()
	w.shop.mu.Lock()
	defer w.shop.mu.Unlock()
	if len(w.shop.orders) != 1 {
		w.t.Fatalf("%d orders", len(w.shop.orders))
	}
	for _, o := range w.shop.orders {
		return *o
	}
	return kiosk.Order{}
}

// withLamp is a kiosk at which somebody has put a lamp into their basket.
func withLamp(t *testing.T) (*world, *browser) {
	t.Helper()
	w := open(t, homes)
	w.listen()
	b := w.stand()
	b.get("/kiosk/shop")
	b.send("Add Brass lamp")
	return w, b
}

// B4, B16: who pays beforehand has the amount set aside once, however often the form comes, and the order has that payment. Without a script. Red when the
// payment does not follow from the basket, and when an order is placed whose payment nobody has approved.
func TestPayingBeforehand(t *testing.T) {
	t.Parallel()
	w, b := withLamp(t)
	b.sees("Pay 49.00 EUR now", "Order for 49.00 EUR, pay at pickup")
	w.shop.provider = ""
	basket, at := b.page, b.at
	for range 3 { // the same form again
		b.page, b.at = basket, at
		b.send("Pay 49.00 EUR now", "pay", "now", "whenShort", "rest")
		b.sees("Payment", "49.00 EUR", "waiting for the payment to be approved", "charged once at most")
	}
	if b.at.Path != "/kiosk/pay" {
		t.Fatalf("at %s", b.at)
	}
	id := w.paid(4900, kiosk.PaymentAsked)
	page := b.at.String()[len(b.base):]
	b.get(strings.Replace(page, "attempt=1", "attempt=4", 1))
	b.sees("waiting for the payment")
	b.post("/kiosk/checkout", url.Values{"pay": {"now"}, "attempt": {"5"}}) // while the first is under way
	w.paid(4900, kiosk.PaymentAsked)
	if len(w.shop.orders) != 0 {
		t.Fatal("an order without its payment")
	}
	w.shop.said(id, kiosk.PaymentSetAside)
	b.get(page)
	b.sees("The payment is approved")
	page, at = b.page, b.at
	for range 2 {
		b.page, b.at = page, at
		b.send("Place the order")
	}
	if o := w.orderOf(); o.Payment != id || !strings.HasSuffix(b.at.Path, o.ID) {
		t.Errorf("at %s, and the order is paid with %q", b.at, o.Payment)
	}
	b.sees("Total, approved beforehand")
	w.paid(4900, kiosk.PaymentSetAside) // the order has it, so nothing frees it
	w.shop.becomes(w.orderOf().ID, "ready", nil)
	b.get(b.at.Path)
	b.sees("Your payment is being settled; nothing is to be paid there")
	b.blind(`id="pay"`)
}

// A declined payment is told of, may be tried again or left for the depot, and never more than five times. Red when an attempt is one of those before.
func TestADeclinedPayment(t *testing.T) {
	t.Parallel()
	w, b := withLamp(t)
	w.shop.provider = kiosk.PaymentDeclined
	b.send("Pay 49.00 EUR now", "pay", "now")
	declined := slices.Repeat([]string{kiosk.PaymentDeclined}, 4)
	for n := range declined {
		b.sees("The payment was declined. Nothing was charged.", "Pay at pickup instead", "Back to the basket")
		w.paid(4900, declined[:n+1]...)
		page, at := b.page, b.at
		b.send("Try again")
		b.page, b.at = page, at
		b.send("Try again") // the same form again
	}
	b.sees("tried often enough")
	b.blind(`id="again"`)
	b.post("/kiosk/checkout", url.Values{"pay": {"now"}, "attempt": {"6"}})
	w.paid(4900, append(declined, kiosk.PaymentDeclined)...)
	b.send("Pay at pickup instead")
	if o := w.orderOf(); o.Payment != "" || !o.Owed {
		t.Errorf("an order with the payment %q", o.Payment)
	}
}

// What was set aside for a basket that comes to something else, is given up, left behind or paid at the depot is freed. Red when nothing is voided.
func TestWhatIsNotNeededIsFreed(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(w *world, b *browser){
		"at the depot": func(_ *world, b *browser) {
			b.send("Pay at pickup instead")
			b.sees("We have your order")
		},
		"given up": func(_ *world, b *browser) {
			b.get("/kiosk/shop")
			b.send("Give the basket up")
		},
		"left": func(_ *world, b *browser) { b.send("Finish") },
		"another one": func(w *world, b *browser) {
			b.get("/kiosk/shop")
			b.send("Add Mint tea, 250 g")
			w.paid(4900, kiosk.PaymentAsked)
			b.get("/kiosk/pay?attempt=1")
			b.sees("The basket is another one now")
			b.get("/kiosk/shop")
			b.send("Pay 55.90 EUR now", "pay", "now")
			list, statuses := w.shop.asked()
			if len(list) != 2 || list[1].Amount != eur(5590) || statuses[1] != kiosk.PaymentAsked {
				w.t.Fatalf("%v %v", list, statuses)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, b := withLamp(t)
			w.shop.provider = ""
			b.send("Pay 49.00 EUR now", "pay", "now")
			w.paid(4900, kiosk.PaymentAsked)
			end(w, b)
			if _, statuses := w.shop.asked(); statuses[0] != kiosk.PaymentOver {
				t.Errorf("the payment is %s", statuses[0])
			}
		})
	}
}

// An order that came to nothing before its payment was bound to it has the amount freed as the page shows it; one that somebody else had set aside is theirs. Red
// when nothing is voided, and when anything is.
func TestNothingStaysSetAsideForARejectedOrder(t *testing.T) {
	t.Parallel()
	w, b := withLamp(t)
	b.send("Pay 49.00 EUR now", "pay", "now")
	b.send("Place the order")
	w.paid(4900, kiosk.PaymentSetAside)
	o := w.orderOf()
	w.shop.becomes(o.ID, "rejected", nil)
	b.get("/kiosk/orders/" + o.ID)
	b.sees("We cannot carry this order out")
	w.paid(4900, kiosk.PaymentOver)
	w.shop.becomes(o.ID, "rejected", func(o *kiosk.Order) { o.Payment = "PAY_OF_THEIRS" })
	w.shop.payments["PAY_OF_THEIRS"] = &kiosk.Payment{Status: kiosk.PaymentSetAside, Amount: eur(4900)}
	b.get("/kiosk/orders/" + o.ID)
	if is := w.shop.payments["PAY_OF_THEIRS"].Status; is != kiosk.PaymentSetAside {
		t.Errorf("what somebody else had set aside is %s", is)
	}
}

// The same where the basket came to more between its payment and its checkout, which is why the payment was not bound. Red when what the order comes to says
// whether it was paid here.
func TestNothingStaysSetAsideForAnOrderOfAnotherTotal(t *testing.T) {
	t.Parallel()
	w, b := withLamp(t)
	b.send("Pay 49.00 EUR now", "pay", "now")
	w.shop.meanwhile = func(b *kiosk.Basket) { b.Lines[0].Quantity++ } // in another tab
	b.send("Place the order")
	o := w.orderOf()
	if o.Total != eur(9800) || o.Payment != w.paid(4900, kiosk.PaymentSetAside) {
		t.Fatalf("an order over %s, paid with %q", o.Total, o.Payment)
	}
	w.shop.becomes(o.ID, "rejected", nil)
	b.get("/kiosk/orders/" + o.ID)
	w.paid(4900, kiosk.PaymentOver)
}

// Nobody frees what is set aside for somebody else, or for what they walked out with, whatever their browser says that it remembers. Red when an id is taken from
// the browser, and when a basket's owner is not looked at.
func TestNobodyFreesWhatIsNotTheirs(t *testing.T) {
	t.Parallel()
	w := open(t, homes)
	w.listen()
	w.shop.provider = ""
	theirs := w.stand()
	theirs.get("/kiosk/shop")
	theirs.send("Add Brass lamp")
	theirs.send("Pay 49.00 EUR now", "pay", "now")
	id := w.paid(4900, kiosk.PaymentAsked)
	theirs.get("/kiosk/shop")
	theirs.send("Add Mint tea, 250 g") // so that they would free it themselves
	walkout := "walkout-visit-1"
	w.shop.payments[walkout] = &kiosk.Payment{Status: kiosk.PaymentSetAside, Amount: eur(4900)}
	remembered := theirs.cookie("payment")
	if remembered == "" {
		t.Fatal("their browser remembers nothing")
	}
	for end, button := range map[string]string{"given up": "Give the basket up", "left": "Finish", "ordered": "Order for 49.00 EUR", "paid": "Pay 49.00 EUR now"} {
		for _, by := range []string{walkout, walkout + ".4900.EUR.1", id, id + ".4900.EUR.1", remembered} {
			b := w.stand()
			b.get("/kiosk/shop")
			b.send("Add Brass lamp")
			b.remembers("payment", by)
			if b.send(button, "pay", map[string]string{"paid": "now"}[end]); b.status != http.StatusOK {
				t.Errorf("%s: %d", end, b.status)
			}
			for payment, want := range map[string]string{walkout: kiosk.PaymentSetAside, id: kiosk.PaymentAsked} {
				if is, _, err := w.shop.Payment(t.Context(), payment); err != nil || is.Status != want {
					t.Fatalf("%s with %q, and %s is %s: %v", end, by, payment, is.Status, err)
				}
			}
		}
	}
	theirs.send("Finish")
	if is, _, err := w.shop.Payment(t.Context(), id); err != nil || is.Status != kiosk.PaymentOver {
		t.Errorf("they themselves leave it %s: %v", is.Status, err)
	}
}

// An order that waits for goods keeps what is set aside for it, also when the answer to its checkout was lost and the browser still remembers its payment as the
// basket's. Red when the payment that a basket was checked out with is freed.
func TestAnOrderKeepsWhatIsSetAsideForIt(t *testing.T) {
	t.Parallel()
	w, b := withLamp(t)
	b.send("Pay 49.00 EUR now", "pay", "now")
	basket, payment := b.cookie("basket"), b.cookie("payment")
	b.send("Place the order", "wait", "yes")
	w.shop.becomes(w.orderOf().ID, "backordered", nil)
	lost := func() { b.remembers("basket", basket); b.remembers("payment", payment) }
	lost()
	b.get("/kiosk/shop")
	b.send("Add Mint tea, 250 g")
	b.send("Pay 6.90 EUR now", "pay", "now")
	w.paid(690, kiosk.PaymentSetAside, kiosk.PaymentSetAside)
	b.send("Place the order")
	w.paid(690, kiosk.PaymentSetAside, kiosk.PaymentSetAside)
	lost()
	b.send("Finish")
	w.paid(690, kiosk.PaymentSetAside, kiosk.PaymentSetAside)
}

// What is set aside is freed also where the answer was lost that says so to the browser, where the basket has expired, and where the first try fails. Red when a payment is
// remembered only as it is asked for, when leaving looks at open baskets alone, and when one is forgotten that could not be freed.
func TestNothingStaysSetAside(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(w *world, b *browser){
		"lost, and given up": func(_ *world, b *browser) {
			b.remembers("payment", "")
			b.get("/kiosk/shop")
			b.send("Give the basket up")
		},
		"lost, and asked for again": func(_ *world, b *browser) {
			b.remembers("payment", "")
			b.get("/kiosk/shop")
			b.send("Pay 49.00 EUR now", "pay", "now")
			b.get("/kiosk/shop")
			b.send("Add Mint tea, 250 g")
			b.send("Finish")
		},
		"expired, and left": func(w *world, b *browser) {
			w.shop.expires()
			b.send("Finish")
		},
		"lost, expired, and left": func(w *world, b *browser) {
			b.remembers("payment", "")
			w.shop.expires()
			b.send("Finish")
		},
		"expired, and left by a browser that knows the payment alone": func(w *world, b *browser) {
			b.remembers("basket", "")
			w.shop.expires()
			b.send("Finish")
		},
		"expired, and something else ordered": func(w *world, b *browser) {
			w.shop.expires()
			b.get("/kiosk/shop")
			b.send("Add Mint tea, 250 g")
			b.send("Order for 6.90 EUR")
		},
		"its service was away": func(w *world, b *browser) {
			b.get("/kiosk/shop")
			b.send("Add Mint tea, 250 g")
			w.shop.unserved = command.VoidPaymentV1
			b.send("Pay 55.90 EUR now", "pay", "now")
			w.paid(4900, kiosk.PaymentAsked)
			w.shop.unserved = ""
			b.send("Finish")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, b := withLamp(t)
			w.shop.provider = ""
			b.send("Pay 49.00 EUR now", "pay", "now")
			w.paid(4900, kiosk.PaymentAsked)
			end(w, b)
			w.t = t
			w.paid(4900, kiosk.PaymentOver)
		})
	}
}

// Two tabs of one browser: what a page says acts on the basket that the page shows, whichever the other one has begun, and leaves the other alone. Red when the
// browser's basket goes before the form's, when ending one basket forgets another, and when what an open basket may be checked out with is freed.
func TestTwoTabsAreTwoBaskets(t *testing.T) {
	t.Parallel()
	w, b := withLamp(t)
	shop := b.page
	w.shop.provider = kiosk.PaymentDeclined
	b.send("Pay 49.00 EUR now", "pay", "now")
	page, at := b.page, b.at
	b.remembers("basket", "") // so that the other tab begins one while this one's is open
	b.get("/kiosk/shop")
	b.send("Add Mint tea, 250 g")
	second := b.cookie("basket")
	w.shop.provider = ""
	b.page, b.at = page, at
	b.send("Try again")
	b.sees("49.00 EUR", "waiting for the payment")
	w.paid(4900, kiosk.PaymentDeclined, kiosk.PaymentAsked)
	page, at = b.page, b.at
	b.get("/kiosk/shop")
	b.send("Pay 6.90 EUR now", "pay", "now")
	b.sees("6.90 EUR")
	w.paid(690, kiosk.PaymentDeclined, kiosk.PaymentAsked, kiosk.PaymentAsked)
	b.get(at.String()[len(b.base):])
	b.sees("49.00 EUR")
	b.page = shop
	b.send("Give the basket up")
	w.paid(690, kiosk.PaymentDeclined, kiosk.PaymentOver, kiosk.PaymentAsked)
	b.page, b.at = page, at
	b.send("Pay at pickup instead")
	b.sees("This basket is closed already")
	if len(w.shop.orders) != 0 || b.cookie("basket") != second || w.shop.baskets[second].Status != kiosk.BasketOpen {
		t.Errorf("%d orders, and the browser remembers %q, not %q", len(w.shop.orders), b.cookie("basket"), second)
	}
	b.send("Finish")
	w.paid(690, kiosk.PaymentDeclined, kiosk.PaymentOver, kiosk.PaymentOver)
}

// One whose outcome nobody knows is told to be settled; nothing is asked for that would not be ordered.
func TestPaymentsThatAreNotClear(t *testing.T) {
	t.Parallel()
	w, b := withLamp(t)
	w.shop.provider = kiosk.PaymentUnclear
	b.send("Pay 49.00 EUR now", "pay", "now")
	b.sees("It is being settled, and undone: nothing is charged.", "Try again")
	w.paid(4900, kiosk.PaymentUnclear)
	w.shop.costs("lamp", 5000)
	b.post("/kiosk/checkout", url.Values{"pay": {"now"}, "attempt": {"2"}, "back": {"/kiosk/shop"}})
	b.sees("A price has changed")
	w.paid(4900, kiosk.PaymentUnclear)
	b.send("Finish")
	b.get("/kiosk/pay")
	if b.status != http.StatusConflict {
		t.Errorf("the next one sees a payment: %d", b.status)
	}
}

// Twice at the same time is once.
func TestTwoTouchesAreOnePayment(t *testing.T) {
	t.Parallel()
	w, b := withLamp(t)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			resp, err := b.client.PostForm(b.base+"/kiosk/checkout", url.Values{"pay": {"now"}, "whenShort": {"ask"}})
			if err == nil {
				err = resp.Body.Close()
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	w.paid(4900, kiosk.PaymentSetAside)
}

// In a browser, by keys alone and in each language: both ways of paying are there, the page follows the payment, a declined one puts whoever
// cannot see it before the decision, and one that is approved becomes an order by itself.
func TestPayingByKeys(t *testing.T) {
	t.Parallel()
	w := open(t, homes, func(c *kiosk.Config, _ *door.Config) { c.IdleAfter = time.Hour })
	w.listen()
	w.shop.provider = ""
	page, shots := w.browse(t)
	says := func(selector, want string) {
		t.Helper()
		if text := page.Text(selector); !strings.Contains(text, want) {
			t.Errorf("%s says %q, want %q", selector, text, want)
		}
	}
	press := func(until, keys string) { t.Helper(); page.KeysTo(60, until, keys) }
	for n, in := range []struct{ code, now, later, asked, declined, again, pickup, approved string }{
		{"en", "Pay 49.00 EUR now", "pay at pickup", "follow the terminal", "was declined", "Try again", "Pay at pickup instead", "approved beforehand"},
		{"de", "Jetzt 49.00 EUR bezahlen", "beim Abholen bezahlen", "Kartengerät", "wurde abgelehnt", "Noch einmal versuchen", "Stattdessen beim Abholen bezahlen", "vorab bewilligt"},
		{"fr", "Payer 49.00 EUR maintenant", "payer au retrait", "terminal", "a été refusé", "Réessayer", "Payer plutôt au retrait", "autorisé d’avance"},
	} {
		page.Go(w.url + "/kiosk/shop")
		press("#language-"+in.code, "\r")
		page.Visible(`html[lang="` + in.code + `"] .cards`)
		press(".card button", " ")
		page.Visible("#pay-now")
		says("#pay-now", in.now)
		says("#order", in.later)
		if over := page.Value(`[...document.querySelectorAll(".checkout button")].filter((e) => e.scrollWidth > e.clientWidth).map((e) => e.id).join(" ")`); over != "" {
			t.Errorf("%s: more text than button: %s", in.code, over)
		}
		shots.take("9-ways-to-pay-" + in.code)
		press("#pay-now", "\r")
		page.Visible("#settling")
		says("#pay-status", in.asked)
		says(".total", "49.00 EUR")
		list, _ := w.shop.asked()
		w.shop.said(list[2*n].Payment, kiosk.PaymentDeclined)
		page.Visible("#again")
		says("#decide-title", in.declined)
		says("#again", in.again)
		says("#pickup", in.pickup)
		if focused := page.Value(`document.activeElement.id`); focused != "decide-title" {
			t.Errorf("who cannot see it is at %q", focused)
		}
		shots.take("10-declined-" + in.code)
		press("#again", " ")
		page.Visible("#settling")
		page.Do(chromedp.Reload())
		page.Visible("#settling")
		if list, _ = w.shop.asked(); len(list) != 2*n+2 {
			t.Fatalf("%d payments were asked for", len(list))
		}
		w.shop.said(list[2*n+1].Payment, kiosk.PaymentSetAside)
		page.Visible("#stage")
		says("tfoot", in.approved)
		press(`header form[action="/kiosk/leave"] button`, "\r")
		page.Visible(".hero")
	}
	w.shop.mu.Lock()
	defer w.shop.mu.Unlock()
	if len(w.shop.orders) != 3 {
		t.Errorf("%d orders", len(w.shop.orders))
	}
	for _, o := range w.shop.orders {
		if o.Payment == "" {
			t.Errorf("order %s has no payment", o.ID)
		}
	}
}
