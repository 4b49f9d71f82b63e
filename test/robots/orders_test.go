package robots

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	soukv1 "example.org/souk/api/gen/souk/v1"
	"example.org/souk/api/gen/souk/v1/soukv1connect"
	"example.org/souk/internal/control"
	"example.org/souk/internal/testmall"
	"example.org/souk/internal/testserver"
	"example.org/souk/mall/event"
	"example.org/souk/provider/payment/standin"
)

// paid opens a mall whose payments a provider makes that has books of its own.
func paid(t *testing.T, flags ...string) (*floor, *testmall.Provider) {
	t.Helper()
	provider := testmall.Provide(t, testserver.Build(t, "example.org/souk/cmd/souk"))
	return open(t, append(provider.Flags(), flags...)...), provider
}

// counter is where an order is placed and where it is collected: somebody at a kiosk, and a clerk at the depot.
type counter struct {
	*floor
	kiosk, session, clerk string // tokens
	customer              string
	asked                 int
}

// counter lets a guest come to a kiosk.
func (f *floor) counter() *counter {
	f.T.Helper()
	c := &counter{floor: f}
	c.kiosk = strings.TrimSpace(f.Souk("token", "--role", "device", "--subject", "kiosk-1"))
	c.clerk = strings.TrimSpace(f.Souk("token", "--role", "clerk", "--subject", "ann"))
	c.customer = c.ask(http.StatusCreated, c.kiosk, "POST", "/kiosk/v1/customers", `{}`)["customer"].(string)
	c.session = c.ask(http.StatusCreated, c.kiosk, "POST", "/kiosk/v1/sessions", `{"customer":"`+c.customer+`"}`)["token"].(string)
	return c
}

// ask makes a request at the gateway that its path names, which must be answered so. A mall that is too busy to answer is asked again, under the same key.
func (c *counter) ask(want int, token, method, path, body string) (answer map[string]any) {
	c.T.Helper()
	c.asked++
	key := fmt.Sprint("asked-", c.asked)
	var status int
	var text []byte
	c.until(method+" "+path+" is answered", time.Minute, func() bool {
		status, text = c.request(token, key, method, path, body)
		return status != http.StatusServiceUnavailable
	})
	if status != want {
		c.T.Fatalf("%s %s: %d %s, want %d", method, path, status, text, want)
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		c.T.Fatalf("%s %s: %v in %s", method, path, err, text)
	}
	return answer
}

// request makes a request once.
func (c *counter) request(token, key, method, path, body string) (status int, text []byte) {
	c.T.Helper()
	req, err := http.NewRequestWithContext(c.T.Context(), method, c.At(strings.Split(path, "/")[1])+path, bytes.NewBufferString(body))
	if err != nil {
		c.T.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.T.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if text, err = io.ReadAll(resp.Body); err != nil {
		c.T.Fatal(err)
	}
	return resp.StatusCode, text
}

// refused makes a request that must be refused with 409 and a code.
func (c *counter) refused(code, token, path, body string) {
	c.T.Helper()
	if got := c.ask(http.StatusConflict, token, "POST", path, body)["code"]; got != code {
		c.T.Errorf("%s is refused with %v, want %s", path, got, code)
	}
}

// setAside has an amount authorized beforehand: a payment for the next order.
func (c *counter) setAside(payment, amount string) {
	c.T.Helper()
	c.do("payment authorize", control.Args{"payment": payment, "customer": c.customer, "amount": amount})
	c.until(payment+" is authorized", time.Minute, func() bool { return c.payment(payment) == "authorized" })
}

// checkOut orders pieces of a product; terms are the body of the checkout.
func (c *counter) checkOut(product string, pieces int, terms string) (order string) {
	c.T.Helper()
	at := "/kiosk/v1/baskets/" + c.ask(http.StatusCreated, c.session, "POST", "/kiosk/v1/baskets", "")["basket"].(string)
	c.ask(http.StatusOK, c.session, "POST", at+"/items", fmt.Sprintf(`{"product":%q,"quantity":%d}`, product, pieces))
	return c.ask(http.StatusAccepted, c.session, "POST", at+"/checkout", terms)["order"].(string)
}

// seen is an order as its customer sees it.
type seen struct {
	Status     string
	Paid, Owed bool
	Total      struct{ Amount int64 }
	Missing    []struct{ Quantity int64 }
	History    []struct{ Status string }
}

func (c *counter) order(id string) (o seen) {
	c.T.Helper()
	data, err := json.Marshal(c.ask(http.StatusOK, c.session, "GET", "/kiosk/v1/orders/"+id, ""))
	if err == nil {
		err = json.Unmarshal(data, &o)
	}
	if err != nil {
		c.T.Fatal(err)
	}
	return o
}

// becomes waits until an order is something, and returns it.
func (c *counter) becomes(id, what string, is func(seen) bool) (o seen) {
	c.T.Helper()
	defer func() {
		if c.T.Failed() {
			c.T.Logf("order %s: %+v", id, o)
		}
	}()
	c.until("order "+id+" is "+what, 2*time.Minute, func() bool { o = c.order(id); return is(o) })
	return o
}

func (c *counter) status(id, want string) seen {
	c.T.Helper()
	return c.becomes(id, want, func(o seen) bool { return o.Status == want })
}

func paidFor(o seen) bool { return o.Paid }

// bill writes the invoice of an order by a program of the shop when its customer arrives at the depot, before everything is there.
func (c *counter) bill(order string, amount int64) {
	c.T.Helper()
	r := connect.NewRequest(&soukv1.CreateInvoiceRequest{
		CommandId: "bill-" + order, Invoice: order, Order: order, Customer: c.customer, Amount: &soukv1.Money{Amount: amount, Currency: "EUR"},
	})
	r.Header().Set("Authorization", "Bearer "+c.clerk)
	if _, err := c.payments().CreateInvoice(c.T.Context(), r); err != nil {
		c.T.Fatal(err)
	}
}

func (c *counter) payments() soukv1connect.PaymentsServiceClient {
	return soukv1connect.NewPaymentsServiceClient(http.DefaultClient, c.At("payments"))
}

// pay tells at the kiosk that what an order came to was paid there.
func (c *counter) pay(order string) {
	c.T.Helper()
	c.ask(http.StatusOK, c.kiosk, "POST", "/kiosk/v1/orders/"+order+"/pay", "")
	c.becomes(order, "paid", paidFor)
}

// handOver gives an order to its customer.
func (c *counter) handOver(order string) {
	c.T.Helper()
	c.ask(http.StatusOK, c.clerk, "POST", "/staff/orders/"+order+"/hand-over", `{}`)
	c.status(order, "completed")
}

func (c *counter) payment(id string) (status string) {
	c.T.Helper()
	return fmt.Sprint(c.ask(http.StatusOK, c.clerk, "GET", "/staff/payments/"+id, "")["status"])
}

// moneyIs waits until the provider has done this and nothing else, each once, and the mall knows the same of it.
func (c *counter) moneyIs(provider *testmall.Provider, what string, want standin.Account) {
	c.T.Helper()
	want.Currency = "EUR"
	var books standin.Report
	var own []*soukv1.LedgerSums
	defer func() {
		if c.T.Failed() {
			c.T.Logf("%s: the provider has %+v, the mall %v", what, books.Payments, own)
		}
	}()
	r := connect.NewRequest(&soukv1.GetLedgerRequest{})
	r.Header().Set("Authorization", "Bearer "+c.clerk)
	c.until(what, time.Minute, func() bool {
		answer, err := c.payments().GetLedger(c.T.Context(), r)
		if err != nil {
			c.T.Fatal(err)
		}
		books, own = provider.Books(c.T), answer.Msg.GetSums()
		return len(own) == 1 && books.Totals["EUR"] == want && want == standin.Account{
			Currency: own[0].GetCurrency(), Authorized: own[0].GetAuthorized(), Captured: own[0].GetCaptured(), Refunded: own[0].GetRefunded(), Voided: own[0].GetVoided(),
		}
	})
	for key, n := range books.Executions {
		if n != 1 {
			c.T.Errorf("%s: the provider did %s %d times", what, key, n)
		}
	}
}

// stockIs waits until so much of a SKU is on hand, and nothing is kept for anybody.
func (c *counter) stockIs(sku string, onHand int64) {
	c.T.Helper()
	type level struct{ OnHand, Held, Committed, Available int64 }
	var l level
	c.until(fmt.Sprintf("%d of %s are on hand, and all of them can be had", onHand, sku), time.Minute, func() bool {
		l = testmall.Rows[level](c.Mall, "stock show", control.Args{"sku": sku})[0]
		return l == level{OnHand: onHand, Available: onHand}
	})
}

// went returns the statuses that an order has had.
func (c *counter) went(order string) (list []string) {
	c.T.Helper()
	for _, h := range c.order(order).History {
		list = append(list, h.Status)
	}
	return list
}

// B4: an order that is paid before anything was fetched, one that is paid beforehand and one that is paid when all is in are fetched by robots, and
// completed when they are ready, paid and collected, and not before. B8: one that is ready and paid in either way is cancelled: it ends so, its list
// once, its goods are in stock again and its money is given back. The provider's books and the mall's agree at each point. Red when an order is handed
// over that is not there or not paid, when nothing is captured, and when a cancelled order keeps goods or money.
func TestB4B8_OrdersThatRobotsFetch(t *testing.T) {
	t.Parallel()
	f, provider := paid(t)
	c := f.counter()
	const pieces, price = 3, 300
	checkOut := func(terms string) string { return c.checkOut(thing(0, 0), pieces, terms) }

	early := checkOut(`{}`)
	c.status(early, "approved")
	c.bill(early, price)
	c.pay(early)
	c.setAside("BEFORE", "3.00")
	before := checkOut(`{"payment":"BEFORE"}`)
	c.status(before, "approved")
	late := checkOut(`{}`)
	c.status(late, "approved")
	for _, order := range []string{early, before, late} {
		c.refused("not_ready", c.clerk, "/staff/orders/"+order+"/hand-over", `{}`)
	}
	c.moneyIs(provider, "nothing is taken yet", standin.Account{Authorized: price})
	if o := c.order(early); o.Status != "approved" || !o.Paid {
		t.Errorf("paid, and nothing fetched: %+v", o)
	}

	f.robots("robot", 2)
	for _, order := range []string{early, before, late} {
		c.status(order, "ready")
	}
	c.moneyIs(provider, "the payment is captured", standin.Account{Authorized: price, Captured: price})
	c.becomes(before, "paid", paidFor)
	c.becomes(late, "owed", func(o seen) bool { return o.Owed && !o.Paid })
	c.refused("not_paid", c.clerk, "/staff/orders/"+late+"/hand-over", `{}`)
	c.pay(late)
	for _, order := range []string{early, before, late} {
		c.handOver(order)
	}
	f.Idle()
	c.stockIs(thing(0, 0), 1000-3*pieces)

	c.setAside("UNDONE", "3.00")
	undone, regretted := checkOut(`{"payment":"UNDONE"}`), checkOut(`{}`)
	c.status(undone, "ready")
	c.status(regretted, "ready")
	c.becomes(undone, "paid", paidFor)
	c.becomes(regretted, "owed", func(o seen) bool { return o.Owed })
	c.pay(regretted)
	c.moneyIs(provider, "both are paid", standin.Account{Authorized: 2 * price, Captured: 2 * price})
	for _, order := range []string{undone, regretted} {
		c.ask(http.StatusAccepted, c.session, "POST", "/kiosk/v1/orders/"+order+"/cancel", `{"reason":"changed my mind"}`)
	}
	for _, order := range []string{undone, regretted} {
		c.status(order, "canceled")
		c.refused("not_open", c.clerk, "/staff/orders/"+order+"/hand-over", `{}`)
	}
	f.Idle()
	c.moneyIs(provider, "it is given back", standin.Account{Authorized: 2 * price, Captured: 2 * price, Refunded: price})
	c.stockIs(thing(0, 0), 1000-3*pieces)
	if s := c.payment("UNDONE"); s != "refunded" {
		t.Errorf("the payment of what was cancelled is %s", s)
	}
	for order, back := range map[string]int64{early: 0, late: 0, regretted: price} {
		var invoice struct {
			Status           string
			Amount, Refunded struct{ Amount int64 }
		}
		data, err := json.Marshal(c.ask(http.StatusOK, c.clerk, "GET", "/staff/invoices/"+order, ""))
		if err == nil {
			err = json.Unmarshal(data, &invoice)
		}
		if err != nil || invoice.Status != "paid" || invoice.Amount.Amount != price || invoice.Refunded.Amount != back {
			t.Errorf("the invoice of %s: %+v %v, want %d given back", order, invoice, err, back)
		}
	}
	lists := f.tally()
	canceled := map[string]int{}
	for _, e := range testmall.Events[event.ShoppingListCanceled](f.Mall, event.ShoppingListCanceledV1) {
		canceled[e.List]++
	}
	if want := map[string]int{undone: 1, regretted: 1}; !maps.Equal(canceled, want) {
		t.Errorf("lists were cancelled %v, want %v", canceled, want)
	}
	ends := map[string][]string{"completed": {early, before, late}, "canceled": {undone, regretted}}
	for end, list := range ends {
		for _, order := range list {
			if n := len(lists.completed[order]); n != 1 {
				t.Errorf("%s was fetched %d times", order, n)
			}
			want := []string{"pending", "reserved", "approved", "picking", "ready", end}
			if end == "canceled" {
				want = slices.Insert(want, 5, "cancelling")
			}
			if got := c.went(order); !slices.Equal(got, want) {
				t.Errorf("%s was %v, want %v", order, got, want)
			}
		}
	}
}

// Robots that find less than is wanted, from the moment on that it is switched on, have the customer of an order asked, who decides once: to take the rest,
// of which the provider takes as much as it comes to; nothing, and all that was set aside is free again; or what a clerk chooses instead, at its price.
// Red when the whole amount is taken, when a cancelled order keeps what was set aside or gives back what was not found, and when somebody can decide again.
func TestB4_ShortPicksAreDecidedOnce(t *testing.T) {
	t.Parallel()
	f, provider := paid(t)
	c := f.counter()
	const pieces, price = 100, 100
	p := f.robots("robot", 1, "--admin", "127.0.0.1:0")
	c.setAside("WHOLE", "100.00")
	c.setAside("REST", "100.00")
	c.setAside("NOTHING", "100.00")
	c.setAside("INSTEAD", "100.00")
	checkOut := func(terms string) string { return c.checkOut(thing(0, 0), pieces, terms) }
	whole := checkOut(`{"payment":"WHOLE"}`)
	c.status(whole, "ready")
	c.moneyIs(provider, "all of it was there", standin.Account{Authorized: 4 * pieces * price, Captured: pieces * price})
	f.faults(p, `{"short":100}`)

	// short has an order fetched of which too little is found, and returns how much was missing.
	short := func(order string) int64 {
		t.Helper()
		o := c.status(order, "short")
		if len(o.Missing) != 1 || o.Missing[0].Quantity < 1 || o.Missing[0].Quantity >= pieces {
			t.Fatalf("%s lacks %+v", order, o.Missing)
		}
		return o.Missing[0].Quantity
	}
	account := func(payment string) standin.Account { return provider.Books(t).Payments[payment] }
	taken := int64(pieces * price)

	rest := checkOut(`{"payment":"REST"}`)
	missing := short(rest)
	if a := account("REST"); a.Captured != 0 || a.Voided != 0 {
		t.Errorf("nobody has decided, and the provider has %+v", a)
	}
	c.ask(http.StatusOK, c.session, "POST", "/kiosk/v1/orders/"+rest+"/short", `{"choice":"rest"}`)
	c.refused("not_open", c.session, "/kiosk/v1/orders/"+rest+"/short", `{"choice":"cancel"}`)
	if o := c.status(rest, "ready"); o.Total.Amount != (pieces-missing)*price {
		t.Errorf("of %d pieces %d are missing, and it comes to %d", pieces, missing, o.Total.Amount)
	}
	c.refused("not_open", c.session, "/kiosk/v1/orders/"+rest+"/short", `{"choice":"cancel"}`)
	taken += (pieces - missing) * price
	c.moneyIs(provider, "the rest is captured", standin.Account{Authorized: 4 * pieces * price, Captured: taken})
	if a := account("REST"); a.Captured != (pieces-missing)*price {
		t.Errorf("of the rest the provider has taken %+v", a)
	}

	nothing := checkOut(`{"payment":"NOTHING"}`)
	unfound := short(nothing)
	c.ask(http.StatusOK, c.session, "POST", "/kiosk/v1/orders/"+nothing+"/short", `{"choice":"cancel"}`)
	c.refused("not_open", c.session, "/kiosk/v1/orders/"+nothing+"/short", `{"choice":"rest"}`)
	c.status(nothing, "canceled")
	c.moneyIs(provider, "it is free again", standin.Account{Authorized: 4 * pieces * price, Captured: taken, Voided: pieces * price})

	instead := checkOut(`{"payment":"INSTEAD","whenShort":"substitute"}`)
	substitutes := short(instead)
	c.ask(http.StatusOK, c.clerk, "POST", "/staff/orders/"+instead+"/decide", fmt.Sprintf(
		`{"choice":"substitute","substitutes":[{"product":%q,"sku":%[1]q,"name":"goods","price":{"amount":50,"currency":"EUR"},"quantity":%d}]}`, thing(1, 0), substitutes))
	c.refused("not_open", c.clerk, "/staff/orders/"+instead+"/decide", `{"choice":"rest"}`)
	c.status(instead, "ready")
	taken += (pieces-substitutes)*price + substitutes*50
	c.moneyIs(provider, "what came instead is captured at its price", standin.Account{Authorized: 4 * pieces * price, Captured: taken, Voided: pieces * price})

	for _, order := range []string{whole, rest, instead} {
		c.becomes(order, "paid", paidFor)
		c.handOver(order)
	}
	f.Idle()
	c.stockIs(thing(0, 0), 1000-3*pieces-unfound) // what was not found for a cancelled order is not there either
	c.stockIs(thing(1, 0), 1000-substitutes)
	amended := map[string]int{}
	for _, e := range testmall.Events[event.OrderAmended](f.Mall, event.OrderAmendedV1) {
		amended[e.Order]++
	}
	if want := map[string]int{rest: 1, instead: 1}; !maps.Equal(amended, want) {
		t.Errorf("it was decided %v times, want %v", amended, want)
	}
}
