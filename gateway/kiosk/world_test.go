package kiosk_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"example.org/souk/backbone"
	"example.org/souk/gateway/door"
	"example.org/souk/gateway/kiosk"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

// shop is what stands behind the gateway in these tests: a mall of its own, in memory, that decides as the services do.
type shop struct {
	mu         sync.Mutex
	hub        door.Hub
	now        time.Time
	away       bool // nothing can be read
	answers    map[string]string
	products   map[string]*kiosk.Product
	stock      map[string]int64
	people     map[string]bool // may buy
	cards      map[string]string
	names      map[string]string
	baskets    map[string]*kiosk.Basket
	orders     map[string]*kiosk.Order
	payments   map[string]*kiosk.Payment
	provider   string                     // the status that a payment comes into when it is asked for; "": nobody answers
	authorized []command.AuthorizePayment // in their order
	placed     bool                       // orders are placed as soon as a basket is checked out
	unserved   string                     // type of the commands whose service is away
	meanwhile  func(*kiosk.Basket)        // happens to a basket after a checkout has looked at it
	adding     func()                     // happens before something is added, after its basket was looked at
	log        []command.Command
	actors     []string
}

var errAway = errors.New("database is away")

func eur(n int64) mall.Money { return mall.Money{Amount: n, Currency: "EUR"} }

func newShop() *shop {
	s := &shop{
		now: time.Now(), answers: map[string]string{}, placed: true,
		products: map[string]*kiosk.Product{}, stock: map[string]int64{"LAMP-01": 40, "TEA-01": 3, "RUG-01": 0},
		people: map[string]bool{"amina": true, "bruno": true, "barred": false}, cards: map[string]string{"1001": "amina"}, names: map[string]string{"amina": "Amina"},
		baskets: map[string]*kiosk.Basket{}, orders: map[string]*kiosk.Order{},
		payments: map[string]*kiosk.Payment{}, provider: kiosk.PaymentSetAside,
	}
	for _, p := range []kiosk.Product{
		{ID: "lamp", SKU: "LAMP-01", Name: "Brass lamp", Description: "Hammered by hand.", Category: "House & <b>", Price: eur(4900), Barcode: "4006381333931"},
		{ID: "rug", SKU: "RUG-01", Name: "Woven rug", Category: "House & <b>", Price: eur(18900)},
		{ID: "tea", SKU: "TEA-01", Name: "Mint tea, 250 g", Category: "Tea", Price: eur(690)},
		{ID: "gone", SKU: "GONE-01", Name: "Old stock", Price: eur(100)},
	} {
		p.Store, p.StoreName, p.PriceVersion, p.Sold = "main-hall", "Main hall", 1, p.ID != "gone"
		s.products[p.ID] = &p
	}
	return s
}

func (s *shop) read() (func(), error) {
	s.mu.Lock()
	if s.away {
		s.mu.Unlock()
		return nil, errAway
	}
	return s.mu.Unlock, nil
}

func (s *shop) Stores(context.Context) ([]kiosk.Store, error) {
	done, err := s.read()
	if err != nil {
		return nil, err
	}
	defer done()
	return []kiosk.Store{{ID: "main-hall", Name: "Main hall"}}, nil
}

func (s *shop) Categories(_ context.Context, store string) ([]string, error) {
	done, err := s.read()
	if err != nil {
		return nil, err
	}
	defer done()
	found := map[string]bool{}
	for _, p := range s.products {
		if p.Sold && p.Category != "" && (store == "" || store == p.Store) {
			found[p.Category] = true
		}
	}
	return slices.Sorted(maps.Keys(found)), nil
}

func (s *shop) Products(_ context.Context, q kiosk.Query, after string, limit int) (list []kiosk.Product, err error) {
	done, err := s.read()
	if err != nil {
		return nil, err
	}
	defer done()
	for _, id := range slices.Sorted(maps.Keys(s.products)) {
		p := s.products[id]
		if p.Sold && id > after && len(list) < limit && (q.Store == "" || q.Store == p.Store) && (q.Category == "" || q.Category == p.Category) &&
			(strings.Contains(strings.ToLower(p.Name+p.Description), strings.ToLower(q.Text)) || q.Text == p.Barcode || q.Text == p.SKU) {
			list = append(list, *p)
		}
	}
	return list, nil
}

func (s *shop) Product(_ context.Context, id string) (kiosk.Product, bool, error) {
	done, err := s.read()
	if err != nil {
		return kiosk.Product{}, false, err
	}
	defer done()
	p, ok := s.products[id]
	if !ok {
		return kiosk.Product{}, false, nil
	}
	return *p, true, nil
}

func (s *shop) Available(_ context.Context, skus []string) (map[string]int64, error) {
	done, err := s.read()
	if err != nil {
		return nil, err
	}
	defer done()
	return maps.Clone(s.stock), nil
}

func (s *shop) Owner(ctx context.Context, id string) (string, bool, error) {
	b, found, err := s.Basket(ctx, id)
	return b.Customer, found, err
}

func (s *shop) Basket(_ context.Context, id string) (kiosk.Basket, bool, error) {
	done, err := s.read()
	if err != nil {
		return kiosk.Basket{}, false, err
	}
	defer done()
	b, ok := s.baskets[id]
	if !ok {
		return kiosk.Basket{}, false, nil
	}
	shown := *b
	shown.Lines = slices.Clone(b.Lines)
	for i := range shown.Lines {
		l := &shown.Lines[i]
		p := s.products[l.Product]
		l.Sold, l.Now = p.Sold, mall.Quote{Product: p.ID, Price: p.Price, PriceVersion: p.PriceVersion}
		cost, _ := l.Total()
		shown.Total, _ = shown.Total.Add(cost)
	}
	return shown, true, nil
}

func (s *shop) Order(_ context.Context, id string) (kiosk.Order, bool, error) {
	done, err := s.read()
	if err != nil {
		return kiosk.Order{}, false, err
	}
	defer done()
	o, ok := s.orders[id]
	if !ok {
		return kiosk.Order{}, false, nil
	}
	return *o, true, nil
}

func (s *shop) Payment(_ context.Context, id string) (kiosk.Payment, bool, error) {
	done, err := s.read()
	if err != nil {
		return kiosk.Payment{}, false, err
	}
	defer done()
	p, ok := s.payments[id]
	if !ok {
		return kiosk.Payment{}, false, nil
	}
	return *p, true, nil
}

// said has the provider answer a payment.
func (s *shop) said(id, status string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.payments[id].Status = status
	s.hub.Notify(kiosk.PaymentTopic(id))
}

// asked returns which payments were asked for, with what became of each.
func (s *shop) asked() (list []command.AuthorizePayment, statuses []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.authorized {
		statuses = append(statuses, s.payments[c.Payment].Status)
	}
	return slices.Clone(s.authorized), statuses
}

func (s *shop) History(_ context.Context, customer, after string, limit int) (list []kiosk.Summary, err error) {
	done, err := s.read()
	if err != nil {
		return nil, err
	}
	defer done()
	for _, id := range slices.Backward(slices.Sorted(maps.Keys(s.orders))) {
		if o := s.orders[id]; o.Customer == customer && (after == "" || id < after) && len(list) < limit {
			list = append(list, kiosk.Summary{ID: id, Status: o.Status, Total: o.Total, Placed: s.now})
		}
	}
	return list, nil
}

func (s *shop) ByCard(_ context.Context, card string) (string, bool, error) {
	done, err := s.read()
	if err != nil {
		return "", false, err
	}
	defer done()
	c, ok := s.cards[card]
	return c, ok, nil
}

func (s *shop) Name(_ context.Context, customer string) (string, error) {
	done, err := s.read()
	if err != nil {
		return "", err
	}
	defer done()
	return s.names[customer], nil
}

func (s *shop) Seal(_ context.Context, customer, text string) (mall.Personal, error) {
	return mall.Personal("sealed:v1:" + customer + ":x"), nil
}

// The refusals of the services.
var (
	errNotSold  = backbone.Refuse("not_sold", "the product cannot be ordered")
	errCustomer = backbone.Refuse("customer_refused", "the customer is unknown or may not buy")
	errChanged  = backbone.Refuse("price_changed", "a price is another one now")
	errNotOpen  = backbone.Refuse("not_open", "the basket is not open any more")
	errTooFew   = backbone.Refuse("too_few", "there are not so many")
	errEmpty    = backbone.Refuse("empty", "nothing is in the basket")
)

func (s *shop) Start(_ context.Context, basket, customer string) (command.StartBasket, error) {
	done, err := s.read()
	if err != nil {
		return command.StartBasket{}, err
	}
	defer done()
	if !s.people[customer] {
		return command.StartBasket{}, errCustomer
	}
	return command.StartBasket{Basket: basket, Customer: customer, MayBuy: true}, nil
}

func (s *shop) Add(_ context.Context, basket, product string, quantity int64, seen mall.Money) (command.AddItem, error) {
	c := command.AddItem{Basket: basket, Item: mall.Item{Product: product, Quantity: quantity}}
	if s.adding != nil {
		s.adding()
	}
	done, err := s.read()
	if err != nil {
		return c, err
	}
	defer done()
	p := s.products[product]
	switch {
	case p == nil || !p.Sold:
		return c, errNotSold
	case seen != mall.Money{} && seen != p.Price:
		return c, errChanged
	}
	c.Sold = true
	c.Item = mall.Item{Product: p.ID, SKU: p.SKU, Name: p.Name, Price: p.Price, Quantity: quantity, Store: p.Store, StoreName: p.StoreName, PriceVersion: p.PriceVersion}
	return c, nil
}

func (s *shop) Accept(_ context.Context, c command.AcceptPrices) (command.AcceptPrices, error) {
	done, err := s.read()
	if err != nil {
		return c, err
	}
	defer done()
	for _, q := range c.Prices {
		if p := s.products[q.Product]; p == nil || !p.Sold {
			return c, errNotSold
		}
	}
	return c, c.Validate()
}

func (s *shop) Checkout(_ context.Context, c command.CheckoutBasket) (command.CheckoutBasket, error) {
	done, err := s.read()
	if err != nil {
		return c, err
	}
	defer done()
	if s.meanwhile != nil {
		s.meanwhile(s.baskets[c.Basket])
	}
	for _, l := range s.baskets[c.Basket].Lines {
		if p := s.products[l.Product]; p.Sold {
			c.Prices = append(c.Prices, mall.Quote{Product: p.ID, Price: p.Price, PriceVersion: p.PriceVersion})
		}
	}
	return c, nil
}

func (s *shop) Before(context.Context, string, command.Command) (command.Command, bool, error) {
	return nil, false, nil
}

// Do decides a command once by its id.
func (s *shop) Do(_ context.Context, c backbone.Command, options ...backbone.DoOption) (backbone.Answer, error) {
	var m backbone.Meta
	for _, o := range options {
		o(&m)
	}
	done, err := s.read()
	if err != nil {
		return backbone.Answer{}, backbone.ErrUnavailable
	}
	defer done()
	if c.CommandType() == s.unserved {
		return backbone.Answer{}, backbone.ErrUnavailable
	}
	content, err := json.Marshal(c)
	if err != nil {
		return backbone.Answer{}, err
	}
	print := c.CommandType() + string(content)
	if before, ok := s.answers[m.ID]; ok {
		if before != print {
			return backbone.Answer{}, backbone.ErrDifferentCommand
		}
		return backbone.Answer{Outcome: backbone.Done, Repeated: true}, nil
	}
	if err := s.decide(c); err != nil {
		return backbone.Answer{}, err
	}
	s.answers[m.ID] = print
	s.log, s.actors = append(s.log, c.(command.Command)), append(s.actors, m.Actor)
	return backbone.Answer{Outcome: backbone.Done}, nil
}

func (s *shop) decide(c backbone.Command) error {
	b := s.baskets[c.Stream()]
	change := func(open bool, do func() error) error {
		if b == nil || open && b.Status != kiosk.BasketOpen {
			return errNotOpen
		}
		if err := do(); err != nil {
			return err
		}
		b.Version++
		s.hub.Notify(kiosk.BasketTopic(b.ID))
		return nil
	}
	line := func(product string) int {
		return slices.IndexFunc(b.Lines, func(l kiosk.Line) bool { return l.Product == product })
	}
	switch c := c.(type) {
	case command.RegisterCustomer:
		s.people[c.Customer], s.names[c.Customer] = true, "Guest"
		if c.Card != "" {
			s.cards[c.Card] = c.Customer
		}
	case command.StartBasket:
		s.baskets[c.Basket] = &kiosk.Basket{ID: c.Basket, Customer: c.Customer, Status: kiosk.BasketOpen, Expires: s.now.Add(10 * time.Minute), Version: 1}
	case command.AddItem:
		return change(true, func() error {
			if i := line(c.Item.Product); i >= 0 {
				b.Lines[i].Quantity += c.Item.Quantity
			} else {
				b.Lines = append(b.Lines, kiosk.Line{Item: c.Item})
			}
			return nil
		})
	case command.RemoveItem:
		return change(true, func() error {
			i := line(c.Product)
			if i < 0 || b.Lines[i].Quantity < c.Quantity {
				return errTooFew
			}
			if b.Lines[i].Quantity -= c.Quantity; b.Lines[i].Quantity == 0 {
				b.Lines = slices.Delete(b.Lines, i, i+1)
			}
			return nil
		})
	case command.AcceptPrices:
		return change(true, func() error {
			for _, q := range c.Prices {
				if i := line(q.Product); i >= 0 {
					b.Lines[i].Price, b.Lines[i].PriceVersion = q.Price, q.PriceVersion
				}
			}
			return nil
		})
	case command.ExtendBasket:
		return change(true, func() error { b.Expires = b.Expires.Add(10 * time.Minute); return nil })
	case command.CancelBasket:
		return change(true, func() error { b.Status, b.Reason = kiosk.BasketCanceled, c.Reason; return nil })
	case command.CheckoutBasket:
		return change(true, func() error {
			if len(b.Lines) == 0 {
				return errEmpty
			}
			if len(c.Prices) < len(b.Lines) {
				return errNotSold
			}
			b.Status, b.Order, b.Payment = kiosk.BasketCheckedOut, c.Order, c.Payment
			if s.placed {
				s.place(c.Order)
			}
			return nil
		})
	case command.AuthorizePayment:
		s.payments[c.Payment] = &kiosk.Payment{Status: cmp.Or(s.provider, kiosk.PaymentAsked), Amount: c.Amount}
		s.authorized = append(s.authorized, c)
	case command.VoidPayment:
		s.payments[c.Payment].Status = kiosk.PaymentOver
	case command.CancelOrder:
		return s.step(c.Order, "canceled", func(o *kiosk.Order) { o.Reason = c.Reason })
	case command.DecideShort:
		return s.step(c.Order, cmp.Or(map[mall.WhenShort]string{"rest": "picking"}[c.Choice], "canceled"), func(o *kiosk.Order) { o.Missing = nil })
	case command.PayInvoice:
		o := s.orders[c.Invoice]
		if o == nil {
			return backbone.Refuse("invoice_unknown", "there is no such invoice")
		}
		o.Paid, o.Owed = true, false
		o.Version++
		s.hub.Notify(kiosk.OrderTopic(o.ID))
	}
	return nil
}

// place makes an order of a basket.
func (s *shop) place(id string) {
	b := s.baskets[id]
	o := &kiosk.Order{ID: id, Customer: b.Customer, Status: "pending", Payment: b.Payment, Owed: b.Payment == "", Version: 1, History: []kiosk.Change{{Status: "pending", At: s.now}}}
	for _, l := range b.Lines {
		cost, _ := l.Total()
		o.Total, _ = o.Total.Add(cost)
		o.Items = append(o.Items, l.Item)
	}
	s.orders[id] = o
	s.hub.Notify(kiosk.OrderTopic(id))
}

func (s *shop) step(id, status string, also func(*kiosk.Order)) error {
	o := s.orders[id]
	if o == nil {
		return backbone.Refuse("order_unknown", "there is no such order")
	}
	o.Status = status
	o.History = append(slices.Clone(o.History), kiosk.Change{Status: status, At: s.now})
	o.Version++
	also(o)
	s.hub.Notify(kiosk.OrderTopic(id))
	return nil
}

// becomes brings an order into a status, as its service would.
func (s *shop) becomes(id, status string, also func(*kiosk.Order)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if also == nil {
		also = func(*kiosk.Order) {}
	}
	_ = s.step(id, status, also)
}

// expires ends all baskets, as nobody kept them longer.
func (s *shop) expires() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.baskets {
		b.Status, b.Reason = kiosk.BasketCanceled, mall.ReasonBasketExpired
		b.Version++
	}
}

// costs sets the price of a product.
func (s *shop) costs(product string, price int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.products[product].Price = eur(price)
	s.products[product].PriceVersion++
	s.hub.Notify(kiosk.Prices)
}

// world is a kiosk with its shop.
type world struct {
	t         *testing.T
	shop      *shop
	authority *door.Authority
	door      *door.Door
	closing   chan struct{}
	url       string // of a server, where one was started
}

func open(t *testing.T, change ...func(*kiosk.Config, *door.Config)) *world {
	t.Helper()
	authority, err := door.OpenAuthority(t.TempDir(), clock{})
	if err != nil {
		t.Fatal(err)
	}
	s := newShop()
	w := &world{t: t, shop: s, authority: authority, closing: make(chan struct{})}
	config := door.Config{Authority: authority, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
	c := kiosk.Config{
		Commands: s, Catalogue: s, Stock: s, Baskets: s, Border: s, Orders: s, Payments: s, People: s, Authority: authority, Pulses: &s.hub, Closing: w.closing, Currency: "EUR",
	}
	for _, f := range change {
		f(&c, &config)
	}
	if w.door, err = door.New(config); err != nil {
		t.Fatal(err)
	}
	if err := kiosk.Register(w.door, c); err != nil {
		t.Fatal(err)
	}
	return w
}

type clock struct{}

func (clock) Now() time.Time { return time.Now() }

// listen starts a server for the door.
func (w *world) listen() {
	server := httptest.NewServer(w.door)
	w.url = server.URL
	w.t.Cleanup(func() {
		select {
		case <-w.closing:
		default:
			close(w.closing)
		}
		server.Close()
	})
}

func (w *world) token(role door.Role, subject string) string {
	w.t.Helper()
	token, _, err := w.authority.Issue(door.Grant{Role: role, Subject: subject})
	if err != nil {
		w.t.Fatal(err)
	}
	return token
}

// call makes a request to the REST interface and returns its answer.
func (w *world) call(token, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	w.t.Helper()
	r := httptest.NewRequest(method, "/kiosk/v1"+path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	} else {
		r.Body, r.ContentLength = http.NoBody, 0
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	rec := httptest.NewRecorder()
	w.door.ServeHTTP(rec, r)
	return rec
}

// serve has the door answer a request.
func serve(w *world, r *http.Request) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	w.door.ServeHTTP(rec, r)
	return rec
}

// must asks for a status and reads the answer into a value.
func (w *world) must(status int, rec *httptest.ResponseRecorder, into any) {
	w.t.Helper()
	if rec.Code != status {
		w.t.Fatalf("%d, want %d: %s", rec.Code, status, rec.Body)
	}
	if into != nil {
		if err := json.NewDecoder(bytes.NewReader(rec.Body.Bytes())).Decode(into); err != nil {
			w.t.Fatalf("%v: %s", err, rec.Body)
		}
	}
}

// refused asks for a problem document of a status and a code.
func (w *world) refused(rec *httptest.ResponseRecorder, status int, code string) {
	w.t.Helper()
	var p struct {
		Status int
		Code   string
		Type   string
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &p); err != nil || rec.Header().Get("Content-Type") != "application/problem+json" {
		w.t.Errorf("%d, no problem document: %s", rec.Code, rec.Body)
		return
	}
	if rec.Code != status || p.Status != status || p.Code != code || p.Type != "urn:souk:problem:"+code {
		w.t.Errorf("%d %s, want %d %s: %s", rec.Code, p.Code, status, code, rec.Body)
	}
}
