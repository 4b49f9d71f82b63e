package staff_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"example.org/souk/backbone"
	"example.org/souk/backbone/backbonetest"
	"example.org/souk/gateway/door"
	"example.org/souk/gateway/door/hostile"
	"example.org/souk/gateway/staff"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/event"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// longID is as long as ids of baskets are, and has no place at which it can be broken.
var longID = strings.Repeat("basket-06h1pb", 4)

func eur(amount int64) mall.Money { return mall.Money{Amount: amount, Currency: "EUR"} }

// till gives money back, and knows one payment.
var till = &backbone.Aggregate[int64]{
	Name: "payment", Public: []backbone.Event{event.PaymentRefunded{}},
	Evolve: func(n int64, e backbone.Event) int64 { return n + e.(event.PaymentRefunded).Amount.Amount },
}

// openDoor stands for a command of the gates.
type openDoor struct {
	Gate string `json:"gate"`
	Key  string `json:"key"`
}

func (openDoor) CommandType() string { return "souk.payments.OpenDoor.v1" }
func (c openDoor) Stream() string    { return c.Gate }

type doorOpened openDoor

func (doorOpened) EventType() string { return "souk.payments.DoorOpened.v1" }

var gates = &backbone.Aggregate[string]{
	Name: "gate", Private: []backbone.Event{doorOpened{}}, Evolve: func(_ string, e backbone.Event) string { return e.(doorOpened).Key },
}

func tills() *backbone.Service {
	return &backbone.Service{Name: "payments", Handles: []backbone.Handler{
		backbone.Decide(till, func(_ int64, c command.RefundPayment, _ backbone.Meta) ([]backbone.Event, error) {
			if c.Payment != "P1" {
				return nil, backbone.Refuse("payment_unknown", "there is no such payment")
			}
			return []backbone.Event{event.PaymentRefunded{Payment: c.Payment, Amount: c.Amount, Reason: c.Reason}}, nil
		}),
		backbone.Decide(till, func(int64, command.RefundInvoice, backbone.Meta) ([]backbone.Event, error) { return nil, nil }),
		backbone.Decide(gates, func(last string, c openDoor, _ backbone.Meta) ([]backbone.Event, error) {
			if last == c.Key {
				return nil, nil
			}
			return []backbone.Event{doorOpened(c)}, nil
		}),
	}}
}

// shelves is a stockroom without reservations.
var shelves = &backbone.Aggregate[staff.Level]{
	Name: "stock", Public: []backbone.Event{event.StockReceived{}, event.StockAdjusted{}}, Private: []backbone.Event{thresholdSet{}},
	Evolve: func(l staff.Level, e backbone.Event) staff.Level {
		switch e := e.(type) {
		case event.StockReceived:
			l.SKU, l.Location = e.SKU, e.Location
			l.OnHand += e.Quantity
		case event.StockAdjusted:
			l.OnHand += e.Delta
		case thresholdSet:
			l.Threshold = e.Threshold
		}
		l.Available = l.OnHand
		return l
	},
}

type thresholdSet struct{ Threshold int64 }

func (thresholdSet) EventType() string { return "souk.inventory.ThresholdSet.v1" }

func stockroom() *backbone.Service {
	return &backbone.Service{Name: "inventory", Handles: []backbone.Handler{
		backbone.Decide(shelves, func(_ staff.Level, c command.ReceiveStock, _ backbone.Meta) ([]backbone.Event, error) {
			return []backbone.Event{event.StockReceived{SKU: c.SKU, Location: c.Location, Quantity: c.Quantity}}, nil
		}),
		backbone.Decide(shelves, func(l staff.Level, c command.AdjustStock, _ backbone.Meta) ([]backbone.Event, error) {
			if l.OnHand+c.Delta < 0 {
				return nil, backbone.Refuse("below_promised", "less would be on hand than is promised")
			}
			return []backbone.Event{event.StockAdjusted{SKU: c.SKU, Location: c.Location, Delta: c.Delta, Reason: c.Reason}}, nil
		}),
		backbone.Decide(shelves, func(l staff.Level, c command.CountStock, _ backbone.Meta) ([]backbone.Event, error) {
			return []backbone.Event{event.StockAdjusted{SKU: c.SKU, Location: c.Location, Delta: c.Counted - l.OnHand, Reason: c.Reason}}, nil
		}),
		backbone.Decide(shelves, func(_ staff.Level, c command.SetThreshold, _ backbone.Meta) ([]backbone.Event, error) {
			return []backbone.Event{thresholdSet{c.Threshold}}, nil
		}),
	}}
}

// shop is what stands behind the gateway: real services for what needs logs, and memory for the rest.
type shop struct {
	*backbonetest.World

	mu     sync.Mutex
	orders []staff.Order
	robots []staff.Robot
	done   []backbone.Command // of services that are not there
	metas  []backbone.Meta
	refuse error
	broken error
}

func (s *shop) change(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
}

func (s *shop) Do(ctx context.Context, c backbone.Command, options ...backbone.DoOption) (backbone.Answer, error) {
	if s.Runtime().HandlerOf(c.CommandType()) != "" {
		return s.Runtime().Do(ctx, c, options...)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, ok := errors.AsType[*backbone.Refusal](s.refuse); ok {
		return backbone.Answer{Outcome: backbone.Refused, Refusal: r}, nil
	}
	if s.refuse != nil {
		return backbone.Answer{}, s.refuse
	}
	var m backbone.Meta
	for _, o := range options {
		o(&m)
	}
	defer func() { s.done, s.metas = append(s.done, c), append(s.metas, m) }()
	for i := range s.orders {
		o := &s.orders[i]
		switch c := c.(type) {
		case command.PayInvoice:
			o.Paid = o.Paid || o.Order == c.Invoice
		case command.DecideShort:
			cost, _ := mall.Total(c.Substitutes)
			switch {
			case o.Order != c.Order || c.Choice != mall.ShortSubstitute:
			case cost.Amount > o.Total.Amount:
				return backbone.Answer{Outcome: backbone.Refused, Refusal: backbone.Refuse("too_dear", "the substitutes cost more than what they stand in for")}, nil
			default:
				o.Short, o.Missing, o.Substitutes = nil, 0, c.Substitutes
			}
		}
	}
	return backbone.Answer{Outcome: backbone.Done}, nil
}

func (s *shop) Shops(context.Context, string, int) ([]staff.Shop, error) {
	return []staff.Shop{{Store: "S1", Name: `Corner <b>"shop"</b>`, Location: "main", Participating: true}}, s.broken
}

func (s *shop) Find(_ context.Context, text string) (mall.Item, bool, error) {
	for _, i := range []mall.Item{
		{Product: "green", SKU: "TEA_2", Name: "Green <tea>", Price: eur(400), Store: "S1"},
		{Product: "gold", SKU: "TEA_9", Name: "Gold tea", Price: eur(9900)},
		{Product: "far", SKU: "TEA_3", Name: "Far tea", Price: mall.Money{Amount: 5, Currency: "JPY"}},
	} {
		if text == i.SKU || text == i.Name {
			return i, true, s.broken
		}
	}
	return mall.Item{}, false, s.broken
}

func (s *shop) Known(_ context.Context, sku string) (bool, error) {
	return sku == "SKU_1" || sku == "SKU_2", s.broken
}

func (s *shop) Levels(ctx context.Context, afterSKU, _ string, _ int) (list []staff.Level, err error) {
	for _, sku := range []string{"SKU_1", "SKU_2"} {
		l, err := s.Level(ctx, sku, mall.MainLocation)
		if err != nil {
			return nil, err
		}
		if sku > afterSKU && l.SKU != "" {
			list = append(list, l)
		}
	}
	return list, s.broken
}

func (s *shop) Low(ctx context.Context, limit int) ([]staff.Level, error) {
	list, err := s.Levels(ctx, "", "", limit)
	return slices.DeleteFunc(list, func(l staff.Level) bool { return !l.Low() }), err
}

func (s *shop) Level(ctx context.Context, sku, location string) (staff.Level, error) {
	l, _, err := backbone.Load(ctx, s.Reader("inventory"), shelves, mall.StockID(sku, location))
	return l, errors.Join(err, s.broken)
}

func (s *shop) Latest(_ context.Context, statuses []string, limit int) (list []staff.OrderLine, _ error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.orders {
		if (len(statuses) == 0 || slices.Contains(statuses, o.Status)) && len(list) < limit {
			list = append(list, o.OrderLine)
		}
	}
	return list, s.broken
}

func (s *shop) Order(_ context.Context, id string) (staff.Order, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.orders {
		if o.Order == id {
			return o, true, s.broken
		}
	}
	return staff.Order{}, false, s.broken
}

func (s *shop) Payment(_ context.Context, id string) (staff.Payment, bool, error) {
	return staff.Payment{Payment: id, Status: "captured", Customer: "C1", Amount: eur(500)}, id == "P1" || id == "P2", s.broken
}

func (s *shop) Invoice(_ context.Context, id string) (staff.Invoice, bool, error) {
	return staff.Invoice{Invoice: id, Status: "paid", Customer: "C1", Order: id, Amount: eur(500)}, id == "O1" || id == longID, s.broken
}

func (s *shop) Traded(_ context.Context, from, until time.Time) (staff.Traded, error) {
	if until.Sub(from) != 24*time.Hour {
		return staff.Traded{}, fmt.Errorf("asked from %v until %v", from, until)
	}
	sale := staff.Sale{Shop: "souq", Orders: 3, WalkIns: 2, Units: 9, Sold: eur(12345), Back: eur(345), Net: eur(12000)}
	odd := sale
	odd.SKU = "<script>"
	return staff.Traded{
		Shops: []staff.Sale{sale}, Products: []staff.Sale{odd},
		Steps: []staff.Step{{Path: "walk-in", Step: "checked_out", Reached: 7, Waiting: 1, Fallen: 2}}, Half: 61 * time.Second, Most: 2 * time.Hour,
	}, nil
}

func (s *shop) Purchases(context.Context, int) ([]staff.Purchase, error) {
	return []staff.Purchase{{Purchase: "PU1", SKU: "SKU_1", Location: "main", Quantity: 20, Open: 20, Status: "sent", Proposed: backbonetest.Epoch}}, s.broken
}

func (s *shop) Robots(context.Context) ([]staff.Robot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.robots), s.broken
}

func (s *shop) Lists(context.Context, int) ([]staff.List, error) { return nil, s.broken }

func (s *shop) Devices(context.Context) ([]staff.Device, error) {
	return []staff.Device{{Device: "gate-1", Store: "S1", Kind: "gate"}, {Device: longID, Store: "S1", Kind: "gate"}}, s.broken
}

func (s *shop) Services() []string { return []string{"inventory", "payments", "staff"} }

func (s *shop) Head(ctx context.Context, service string) (int64, error) {
	head, err := s.Reader(service).Head(ctx)
	return head, errors.Join(err, s.broken)
}

func (s *shop) Events(ctx context.Context, service string, after, until int64, limit int) ([]*backbone.Message, error) {
	return s.Reader(service).Log(ctx, backbone.ReadQuery{After: after, Until: until, Kinds: backbone.EventKinds(), Limit: limit})
}

func (s *shop) Changed() (<-chan struct{}, func()) { return s.Runtime().Changed("inventory") }

// world is a gateway in front of a shop.
type world struct {
	t         *testing.T
	shop      *shop
	authority *door.Authority
	door      *door.Door
	gateway   *staff.Gateway
	log       *bytes.Buffer
}

func newShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{World: backbonetest.Start(t, backbonetest.Config{Parts: []*backbone.Service{
		stockroom(), tills(), staff.Service(func(gate, key string) backbone.Command { return openDoor{gate, key} }),
	}})}
	s.orders = []staff.Order{
		{OrderLine: staff.OrderLine{Order: "O1", Customer: "C1", Status: "READY", Total: eur(4000), Placed: backbonetest.Epoch, Substitutes: []mall.Item{{Name: "Green <tea>", Quantity: 2}}}, KeptUntil: backbonetest.Epoch.Add(48 * time.Hour), History: []staff.Change{}},
		{
			OrderLine: staff.OrderLine{Order: "O2", Customer: "C2", Status: "PICKING", Total: eur(900), Placed: backbonetest.Epoch, Missing: 1, WhenShort: mall.ShortSubstitute},
			Items:     []mall.Item{{Product: "black", SKU: "SKU_1", Name: "Black tea", Price: eur(450), Quantity: 2}}, Short: []mall.Line{{SKU: "SKU_1", Quantity: 2}},
		},
		{OrderLine: staff.OrderLine{Order: "O3", Customer: "C1", Status: "COMPLETED", Total: eur(100), Placed: backbonetest.Epoch, Paid: true}},
	}
	s.robots = []staff.Robot{
		{Robot: "R2", State: mall.RobotError, Battery: 12, List: "O2"},
		{Robot: "R1", State: mall.RobotWorking, Battery: 80, At: mall.Place{X: 100, Y: 250}},
	}
	return s
}

func open(t *testing.T, s *shop, change ...func(*staff.Config)) *world {
	t.Helper()
	w := &world{t: t, shop: s, log: &bytes.Buffer{}}
	var err error
	if w.authority, err = door.OpenAuthority(t.TempDir(), clock{}); err != nil {
		t.Fatal(err)
	}
	if w.door, err = door.New(door.Config{Authority: w.authority, Logger: slog.New(slog.NewTextHandler(w.log, nil))}); err != nil {
		t.Fatal(err)
	}
	c := staff.Config{
		Commands: s, Shops: s, Stock: s, Orders: s, Payments: s, Purchases: s, Fleet: s, Devices: s, Trade: s, Catalogue: s, Logs: s, Own: s.Reader("staff"), LookEvery: 5 * time.Millisecond,
	}
	for _, f := range change {
		f(&c)
	}
	if w.gateway, err = staff.Register(w.door, c); err != nil {
		t.Fatal(err)
	}
	return w
}

type clock struct{}

func (clock) Now() time.Time { return time.Now() }

func (w *world) token(g door.Grant) string {
	w.t.Helper()
	if g.Gates == nil {
		g.Gates = []string{staff.Gate}
	}
	token, _, err := w.authority.Issue(g)
	if err != nil {
		w.t.Fatal(err)
	}
	return token
}

func (w *world) clerk(name string) string {
	return w.token(door.Grant{Role: door.Staff, Subject: name})
}

func (w *world) manager(name string) string {
	return w.token(door.Grant{Role: door.Staff, Rank: door.Manager, Subject: name})
}

func (w *world) do(token, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	rec := httptest.NewRecorder()
	w.door.ServeHTTP(rec, r)
	return rec
}

func (w *world) must(status int, token, method, path, body string, headers ...string) map[string]any {
	w.t.Helper()
	rec := w.do(token, method, path, body, headers...)
	if rec.Code != status {
		w.t.Fatalf("%s %s %s: %d %s", method, path, body, rec.Code, rec.Body)
	}
	var v map[string]any
	if err := json.Unmarshal(rec.Body.Bytes(), &v); err != nil {
		w.t.Fatalf("%s: %v", rec.Body, err)
	}
	return v
}

func (w *world) refused(status int, code string, token, method, path, body string) {
	w.t.Helper()
	rec := w.do(token, method, path, body)
	var p struct{ Code string }
	if err := json.Unmarshal(rec.Body.Bytes(), &p); err != nil || rec.Code != status || p.Code != code ||
		rec.Header().Get("Content-Type") != "application/problem+json" {
		w.t.Errorf("%s %s %s: %d %s, want %d %s", method, path, body, rec.Code, rec.Body, status, code)
	}
}

// A refund and the opening of a gate need two people, and happen once. Red when give looks at ranks or sessions instead of people, and when what
// was decided can be decided again.
func TestASecondPersonIsNeeded(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	w := open(t, s)
	const refund = `{"approval":"A1","what":"refund_payment","subject":"P1","amount":{"amount":250,"currency":"EUR"},"reason":"broken"}`
	w.must(201, w.clerk("ann"), "POST", "/staff/approvals", refund)
	w.must(201, w.clerk("ann"), "POST", "/staff/approvals", refund) // the same again is the same
	w.refused(409, "approval_exists", w.clerk("bob"), "POST", "/staff/approvals", refund)
	w.refused(409, "same_person", w.manager("ann"), "POST", "/staff/approvals/A1/give", "")
	w.refused(403, "forbidden", w.clerk("bob"), "POST", "/staff/approvals/A1/give", "")
	w.refused(404, "approval_unknown", w.manager("bob"), "POST", "/staff/approvals/A9/give", "")
	s.Settle(t)
	if n := len(s.World.Events(t, "payments")); n != 0 {
		t.Fatalf("%d refunds without a second person", n)
	}

	var wait sync.WaitGroup
	codes := make([]int, 8)
	for i := range codes {
		token := w.manager("m" + string(rune('a'+i)))
		wait.Go(func() { codes[i] = w.do(token, "POST", "/staff/approvals/A1/give", "").Code })
	}
	wait.Wait()
	given := 0
	for _, c := range codes {
		switch c {
		case 200:
			given++
		case 409:
		default:
			t.Errorf("answers %d", c)
		}
	}
	s.Settle(t)
	if events := s.World.Events(t, "payments"); given != 1 || len(events) != 1 || events[0].(event.PaymentRefunded).Amount != eur(250) {
		t.Errorf("given %d times, %v", given, events)
	}
	if a := w.must(200, w.clerk("ann"), "GET", "/staff/approvals/A1", ""); a["status"] != "done" || a["asker"] != "staff:ann" || a["decider"] == "staff:ann" {
		t.Errorf("%v", a)
	}

	// What was refused, or taken back by who asked, is not done; what its service refuses is told.
	w.must(201, w.clerk("ann"), "POST", "/staff/approvals", strings.ReplaceAll(refund, "A1", "A2"))
	w.must(200, w.clerk("ann"), "POST", "/staff/approvals/A2/refuse", `{"reason":"a mistake"}`)
	w.refused(409, "approval_decided", w.manager("bob"), "POST", "/staff/approvals/A2/give", "")
	w.must(201, w.clerk("ann"), "POST", "/staff/approvals", `{"approval":"A3","what":"refund_payment","subject":"P2","amount":{"amount":1,"currency":"EUR"},"reason":"x"}`)
	w.must(200, w.manager("bob"), "POST", "/staff/approvals/A3/give", "")
	s.Settle(t)
	if a := w.must(200, w.clerk("ann"), "GET", "/staff/approvals/A3", ""); a["status"] != "failed" || a["detail"] != "there is no such payment" {
		t.Errorf("%v", a)
	}
	if n := len(s.World.Events(t, "payments")); n != 1 {
		t.Errorf("%d refunds", n)
	}

	// A gate is not opened for who is not there any more.
	gate := `{"approval":"A4","what":"open_gate","subject":"gate-1","reason":"a pram"}`
	w.must(201, w.clerk("ann"), "POST", "/staff/approvals", gate)
	w.must(200, w.manager("bob"), "POST", "/staff/approvals/A4/give", "")
	w.must(201, w.clerk("ann"), "POST", "/staff/approvals", strings.ReplaceAll(gate, "A4", "A5"))
	s.Settle(t)
	s.Clock.Advance(6 * time.Minute)
	w.refused(409, "approval_late", w.manager("bob"), "POST", "/staff/approvals/A5/give", "")
	s.Settle(t)
	if key, version, err := backbone.Load(t.Context(), s.Reader("payments"), gates, "gate-1"); err != nil || key != "A4" || version != 1 {
		t.Errorf("the gate: %q, opened %d times, %v", key, version, err)
	}
	s.Restart(t)
	w = open(t, s)
	if list := w.must(200, w.manager("bob"), "GET", "/staff/approvals?limit=1", "")["approvals"].([]any); len(list) != 1 || list[0].(map[string]any)["approval"] != "A5" {
		t.Errorf("what waits does not come first: %v", list)
	}
}

// kinds of callers, as the policy tells them apart.
func (w *world) callers() map[string]string {
	list := map[string]string{"nobody": "", "clerk": w.clerk("s"), "manager": w.manager("s")}
	for _, role := range door.Roles() {
		if role != door.Staff {
			list[string(role)] = w.token(door.Grant{Role: role, Subject: "x"})
		}
	}
	return list
}

// B16: every route with every kind of caller.
func TestB16_EveryRouteWithEveryCaller(t *testing.T) {
	t.Parallel()
	w := open(t, newShop(t))
	callers := w.callers()
	routes := 0
	for _, rt := range w.door.Routes() {
		if rt.Gate != staff.Gate {
			continue
		}
		routes++
		method, path, _ := strings.Cut(rt.Pattern, " ")
		for name, token := range callers {
			allowed := name == "manager" || name == "clerk" && !rt.Managers || name == "engineer" && method == "GET"
			rec := w.do(token, method, strings.NewReplacer("{", "", "}", "").Replace(path), "")
			denied := rec.Code == http.StatusForbidden
			if name == "nobody" {
				denied = rec.Code == http.StatusUnauthorized
			}
			if denied == allowed {
				t.Errorf("%s by %s: %d", rt.Pattern, name, rec.Code)
			}
		}
	}
	if routes != 39 {
		t.Errorf("%d routes", routes)
	}
}

// B1: whatever comes over a route, nothing breaks: no 5xx, no panic. Red when a field is read without a check.
func TestB1_WhateverComes(t *testing.T) {
	t.Parallel()
	w := open(t, newShop(t))
	token := w.manager("s")
	ids := []string{"unknown", "a%00b", "%2e%2e%2f", strings.Repeat("x", 300), "O'1;DROP", "%F0%9F%92%A9"}
	for _, rt := range w.door.Routes() {
		if rt.Gate != staff.Gate {
			continue
		}
		method, path, _ := strings.Cut(rt.Pattern, " ")
		for _, id := range ids {
			target := path
			if i := strings.IndexByte(path, '{'); i >= 0 {
				target = path[:i] + id + path[strings.IndexByte(path, '}')+1:]
			}
			for _, query := range []string{"", "?limit=0&after=%00&since=%00", "?limit=x&status=%27&since=1~x.9~staff.1", "?since=-1&location=%20"} {
				bodies := hostile.Bodies()
				if method == "GET" {
					bodies = []string{""}
				}
				for _, body := range bodies {
					rec := w.do(token, method, target+query, body)
					if rec.Code >= 500 {
						t.Errorf("%s %s %.80q: %d %s", method, target+query, body, rec.Code, rec.Body)
					}
					if strings.Contains(rec.Body.String(), "SELECT") || strings.Contains(rec.Body.String(), "panic") {
						t.Errorf("%s %s says too much: %s", method, target, rec.Body)
					}
				}
				if method != "GET" {
					break
				}
			}
		}
	}
	if strings.Contains(w.log.String(), "panicked") {
		t.Error(w.log)
	}
}

// B12: unknown 404, invalid 400, conflict 409, away 503.
func TestB12_ProblemsAreTold(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	w := open(t, s)
	m := w.manager("s")
	for _, path := range []string{"/staff/orders/nope", "/staff/payments/nope", "/staff/invoices/nope", "/staff/approvals/nope", "/staff/orders/a b"} {
		w.refused(404, "not_found", m, "GET", strings.ReplaceAll(path, " ", "%20"), "")
	}
	w.refused(404, "sku_unknown", w.clerk("c"), "POST", "/staff/stock/SKU_9/receive", `{"quantity":1}`)
	if l := w.must(200, m, "GET", "/staff/stock/SKU_9", ""); l["onHand"] != 0.0 {
		t.Errorf("goods that nobody sells were taken in: %v", l)
	}
	for _, c := range [][2]string{
		{"/staff/stock/SKU_1/receive", `{"quantity":0}`},
		{"/staff/stock/SKU_1/receive", `{}`},
		{"/staff/stock/SKU_1/receive", `{"quantity":1,"extra":2}`},
		{"/staff/stock/SKU_1/adjust", `{"delta":1}`},
		{"/staff/stock/SKU_1/count", `{"counted":1}`},
		{"/staff/stock/SKU_1/count", `{"reason":"none was counted, which is not 0"}`},
		{"/staff/stock/SKU_1/count", `{"counted":-1,"reason":"counted"}`},
		{"/staff/orders/O1/cancel", `{}`},
		{"/staff/orders/O1/cancel", `{"reason":"a\u0007b"}`},
		{"/staff/orders/O1/decide", `{"choice":"perhaps"}`},
		{"/staff/robots/R1/steer", `{"steer":"fly"}`},
		{"/staff/approvals", `{"what":"refund_payment","subject":"P9","amount":{"amount":1,"currency":"EUR"},"reason":"y"}`},
		{"/staff/approvals", `{"what":"refund_invoice","subject":"O9","amount":{"amount":1,"currency":"EUR"},"reason":"y"}`},
		{"/staff/approvals", `{"what":"open_gate","subject":"gate-9","reason":"y"}`},
		{"/staff/approvals", `{"what":"refund_payment","subject":"../x","amount":{"amount":1,"currency":"EUR"},"reason":"y"}`},
		{"/staff/stores", `{"store":"","name":"x"}`},
	} {
		w.refused(400, "invalid_field", m, "POST", c[0], c[1])
	}
	w.refused(409, "below_promised", m, "POST", "/staff/stock/SKU_9/adjust", `{"delta":-1,"reason":"gone"}`)
	s.change(func() { s.refuse = backbone.Refuse("robot_unknown", "there is no such robot") })
	w.refused(404, "robot_unknown", m, "POST", "/staff/robots/R9/steer", `{"steer":"pause"}`)
	s.change(func() { s.refuse = backbone.Refuse("not_open", "the order is not open for that any more") })
	w.refused(409, "not_open", m, "POST", "/staff/orders/O3/cancel", `{"reason":"late"}`)
	s.change(func() { s.refuse = backbone.ErrUnavailable })
	w.refused(503, "unavailable", m, "POST", "/staff/orders/O1/cancel", `{"reason":"late"}`)
	s.change(func() { s.refuse, s.broken = nil, errors.New(`SELECT secret FROM "orders"`) })
	for _, path := range []string{"", "/board", "/snapshot", "/stores", "/stock", "/stock/x", "/orders", "/orders/O1", "/orders/O2/substitutes", "/purchases", "/robots", "/lists", "/devices", "/payments/P1", "/invoices/O1"} {
		w.refused(503, "unavailable", m, "GET", "/staff"+path, "")
	}
	// What cannot be looked up now can be asked for.
	w.must(201, m, "POST", "/staff/approvals", `{"what":"refund_payment","subject":"P9","amount":{"amount":1,"currency":"EUR"},"reason":"y"}`)
}

// A list that ends before its end says so, and one that does not says nothing of it. Red where it is cut in silence.
func TestAListThatIsCutSaysSo(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	w := open(t, s)
	c := w.clerk("ann")
	for range 2 {
		w.must(200, c, "POST", "/staff/stock/SKU_1/receive", `{"quantity":5}`)
		w.must(200, c, "POST", "/staff/stock/SKU_2/receive", `{"quantity":5}`)
	}
	for i := range 2 {
		w.must(201, c, "POST", "/staff/approvals", fmt.Sprintf(`{"approval":"M%d","what":"open_gate","subject":"gate-1","reason":"x"}`, i))
	}
	for path, name := range map[string]string{"/staff/orders": "orders", "/staff/stock": "levels", "/staff/approvals": "approvals"} {
		all := w.must(200, c, "GET", path, "")
		n := len(all[name].([]any))
		if n < 2 || all["more"] != nil {
			t.Fatalf("%s: %v", path, all)
		}
		if whole := w.must(200, c, "GET", fmt.Sprintf("%s?limit=%d", path, n), ""); whole["more"] != nil || len(whole[name].([]any)) != n {
			t.Errorf("%s, as many as there are: %v", path, whole)
		}
		if part := w.must(200, c, "GET", fmt.Sprintf("%s?limit=%d", path, n-1), ""); part["more"] != true || len(part[name].([]any)) != n-1 {
			t.Errorf("%s, one less than there are: %v", path, part)
		}
	}
	board := func() string { return w.do(c, "GET", "/staff/board", "").Body.String() }
	if page := board(); strings.Contains(page, "there are more") {
		t.Error("the board says that there is more than there is")
	}
	s.mu.Lock()
	for i := range 250 {
		s.orders = append(s.orders, staff.Order{OrderLine: staff.OrderLine{Order: fmt.Sprint("N", i), Status: "READY", Total: eur(1)}})
	}
	s.mu.Unlock()
	s.Clock.Advance(time.Minute)
	w = open(t, s)
	if page := w.do(w.clerk("ann"), "GET", "/staff/board", "").Body.String(); !strings.Contains(page, "Only the newest that are open are shown") || strings.Contains(page, "Only the first") {
		t.Error("the board does not say which of its lists is cut")
	}
	if cut := w.must(200, w.clerk("ann"), "GET", "/staff/snapshot", "")["more"]; fmt.Sprint(cut) != "[orders]" {
		t.Errorf("the snapshot is cut at %v", cut)
	}
}

// What is asked for again under one key is done once, and each command says who gave it.
func TestWorkOfStaff(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	w := open(t, s)
	c := w.clerk("ann")
	for range 2 {
		if l := w.must(200, c, "POST", "/staff/stock/SKU_1/receive", `{"quantity":5}`, "Idempotency-Key", "k1"); l["onHand"] != 5.0 {
			t.Errorf("%v", l)
		}
	}
	if l := w.must(200, w.manager("m"), "POST", "/staff/stock/SKU_1/adjust", `{"delta":-2,"reason":"broken"}`); l["onHand"] != 3.0 {
		t.Errorf("%v", l)
	}
	if l := w.must(200, w.manager("m"), "POST", "/staff/stock/SKU_1/count", `{"counted":7,"reason":"counted"}`); l["onHand"] != 7.0 {
		t.Errorf("%v", l)
	}
	if o := w.must(200, c, "POST", "/staff/orders/O1/hand-over", `{"takePayment":true}`); o["paid"] != true {
		t.Errorf("%v", o)
	}
	w.must(200, c, "POST", "/staff/orders/O1/hand-over", `{"takePayment":true}`)
	w.must(200, c, "POST", "/staff/orders/O2/decide", `{"choice":"rest"}`)
	w.must(200, c, "POST", "/staff/robots/R1/steer", `{"steer":"charge"}`)
	want := []backbone.Command{
		command.PayInvoice{Invoice: "O1"},
		command.HandOverOrder{Order: "O1"},
		command.HandOverOrder{Order: "O1"},
		command.DecideShort{Order: "O2", Choice: mall.ShortRest},
		command.SteerRobot{Robot: "R1", Steer: mall.SteerCharge},
	}
	for i, got := range s.done {
		if i >= len(want) || got.CommandType() != want[i].CommandType() || got.Stream() != want[i].Stream() || s.metas[i].Actor != "staff:ann" {
			t.Errorf("%d: %#v by %q", i, got, s.metas[i].Actor)
		}
	}
	if len(s.done) != len(want) {
		t.Errorf("%d commands", len(s.done))
	}
	w.refused(404, "not_found", c, "POST", "/staff/orders/O9/hand-over", `{"takePayment":true}`)
}

// An order that was paid beforehand is ready before it is known that the money came: the counter says so, takes nothing, and hands over as soon as
// it is, under the same key too. For an order that is not ready nothing is taken. Red when a command is sent all the same, whose refusal stays.
func TestAPaymentIsBeingSettled(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.orders[0].Settling, s.orders[0].Payment = true, "P1"
	w := open(t, s)
	c := w.clerk("ann")
	for _, path := range []string{"pay", "hand-over", "hand-over"} {
		body := map[string]string{"pay": `{}`, "hand-over": `{"takePayment":true}`}[path]
		rec := w.do(c, "POST", "/staff/orders/O1/"+path, body, "Idempotency-Key", "k-"+path)
		var p struct{ Code string }
		if err := json.Unmarshal(rec.Body.Bytes(), &p); err != nil || rec.Code != 409 || p.Code != "payment_settling" || rec.Header().Get("Retry-After") != "1" {
			t.Errorf("%s: %d %v %s", path, rec.Code, rec.Header(), rec.Body)
		}
	}
	if board := w.do(c, "GET", "/staff/board", "").Body.String(); !strings.Contains(board, "being settled") || strings.Contains(board, "hand-O1") {
		t.Error("the page has goods handed over whose payment is being settled")
	}
	w.must(200, c, "POST", "/staff/orders/O2/hand-over", `{"takePayment":true}`) // refused by orders; not here, where nobody decides
	s.change(func() { s.orders[0].Settling, s.orders[0].Paid = false, true })
	w.must(200, c, "POST", "/staff/orders/O1/hand-over", `{"takePayment":true}`, "Idempotency-Key", "k-hand-over")
	if len(s.done) != 2 || s.done[0] != (command.HandOverOrder{Order: "O2"}) || s.done[1] != (command.HandOverOrder{Order: "O1"}) {
		t.Errorf("%+v", s.done)
	}
}

// The page shows everything, says nothing by colour alone, takes no markup from anybody, and offers to nobody what they may not do.
func TestThePage(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	w := open(t, s)
	w.must(201, w.clerk("ann"), "POST", "/staff/approvals", `{"approval":"A1","what":"open_gate","subject":"gate-1","reason":"<script>alert(1)</script>"}`)
	s.World.Do(t, command.ReceiveStock{SKU: "SKU_1", Location: mall.MainLocation, Quantity: 2})
	s.World.Do(t, command.SetThreshold{SKU: "SKU_1", Location: mall.MainLocation, Threshold: 5, Quantity: 10})
	rec := w.do(w.manager("bob"), "GET", "/staff", "")
	page := rec.Body.String()
	if rec.Code != 200 || !strings.HasPrefix(rec.Header().Get("Content-Security-Policy"), "default-src 'none'; style-src 'self'; script-src 'self'") {
		t.Fatal(rec.Code, rec.Header(), page)
	}
	for _, want := range []string{
		"O1", "● ready", "✕ short", "✕ error", "▼ 2", "Take 40.00 EUR and hand over", "Corner &lt;b&gt;", "&lt;script&gt;", "gate-1", "PU1", "give-A1", "Correct what is on hand", "bob, manager",
		"The customer wants something like it, never dearer.", "instead: 2 × Green &lt;tea&gt;",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not show %q", want)
		}
	}
	if strings.Contains(page, "<script>alert") || strings.Contains(page, "http://") || strings.Contains(page, "https://") || strings.Contains(page, "ZgotmplZ") {
		t.Error("the page has what is not ours")
	}
	for who, not := range map[string][]string{
		w.clerk("ann"): {"give-A1", "Correct what is on hand", "part-S1"},
		w.clerk("cat"): {"give-A1", "refuse-A1"},
		w.token(door.Grant{Role: door.Engineer, Subject: "e"}): {"<button id", "data-post"},
		w.manager("ann"): {"give-A1"},
	} {
		board := w.do(who, "GET", "/staff/board", "").Body.String()
		for _, not := range not {
			if strings.Contains(board, not) {
				t.Errorf("%q is offered", not)
			}
		}
	}
}

// What comes instead of goods that were not found is put together on a page of its own, which says what is wrong with it and decides nothing. Who
// may only look chooses nothing. Red when a price is taken that is none, when something that was chosen is lost, and when the page offers to send nothing.
func TestThePageOfSubstitutes(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	w := open(t, s)
	const path = "/staff/orders/O2/substitutes"
	page := func(query string) string {
		t.Helper()
		rec := w.do(w.clerk("ann"), "GET", path+"?"+query, "")
		if rec.Code != 200 || !strings.HasPrefix(rec.Header().Get("Content-Security-Policy"), "default-src 'none'") || strings.Contains(rec.Body.String(), "ZgotmplZ") {
			t.Fatalf("%s: %d %v %s", query, rec.Code, rec.Header(), rec.Body)
		}
		return rec.Body.String()
	}
	const chosen, send = `data-body="{&#34;choice&#34;`, `id="send"`
	kept := "sku=TEA_2&n=2&each=400"
	many := strings.Repeat(kept+"&", mall.MaxLines)
	for _, c := range []struct {
		query string
		has   []string
		lacks []string
	}{
		{"", []string{"2 × Black tea", "something like it, never dearer", "Nothing is chosen yet.", "At most 9.00 EUR", "autofocus"}, []string{send, `role="alert"`}},
		{"find=Green+%3Ctea%3E&pieces=2", []string{"Green &lt;tea&gt;", send, "8.00 EUR of at most 9.00 EUR", "Remove Green &lt;tea&gt;", `&#34;quantity&#34;:2,&#34;store&#34;:&#34;S1&#34;`}, []string{"too dear"}},
		{"find=+TEA_9+&price=450&" + kept, []string{"12.50 EUR of at most 9.00 EUR", "⚠ too dear", "Gold tea", "4.50 EUR", "4.00 EUR", send, `<input type="hidden" name="sku" value="TEA_9">`}, []string{`role="alert"`}},
		{"find=white+tea&" + kept, []string{"this SKU, barcode or whole name: white tea.", `value="white tea" required maxlength="200" autocomplete="off" autofocus aria-invalid`, "Green &lt;tea&gt;", send}, nil},
		{"find=", []string{"Say which goods come instead."}, []string{send}},
		{"find=Far+tea", []string{"Far tea is sold in JPY, and the order is in EUR."}, []string{send}},
		{"find=TEA_2&pieces=0", []string{"Pieces must be a whole number from 1 to 1000000.", `value="TEA_2"`}, []string{send}},
		{"find=TEA_2&pieces=x", []string{"Pieces must be"}, []string{send}},
		{"find=TEA_2&pieces=600000&sku=TEA_2&n=600000&each=1", []string{"Not added: substitutes must not ask for more than 1000000 of one sku"}, nil},
		{"find=TEA_2&price=4.50", []string{"such as 450 for 4.50"}, []string{send}},
		{"find=TEA_2&price=-1", []string{"such as 450 for 4.50"}, []string{send}},
		{many + "find=TEA_9", []string{"No more than 100 goods"}, nil},
		{"sku=GONE&n=1&each=5&" + kept, []string{"whole name: GONE.", "Green &lt;tea&gt;", send}, nil},
	} {
		got := page(c.query)
		for _, part := range c.has {
			if !strings.Contains(got, part) {
				t.Errorf("?%.60s does not show %q:\n%s", c.query, part, got)
			}
		}
		for _, part := range c.lacks {
			if strings.Contains(got, part) {
				t.Errorf("?%.60s shows %q", c.query, part)
			}
		}
		if strings.Contains(got, chosen) != strings.Contains(got, send) {
			t.Errorf("?%.60s offers to send nothing", c.query)
		}
	}
	if len(s.done) != 0 {
		t.Errorf("the page has done %v", s.done)
	}
	for _, query := range []string{"sku=A", "sku=A&n=1", "n=1&each=1", many + kept} {
		w.refused(400, "invalid_field", w.clerk("ann"), "GET", path+"?"+query, "")
	}
	w.refused(404, "not_found", w.clerk("ann"), "GET", "/staff/orders/O9/substitutes", "")
	if got := w.do(w.clerk("ann"), "GET", "/staff/orders/O1/substitutes?find=TEA_2", "").Body.String(); !strings.Contains(got, "Nothing of this order waits") || strings.Contains(got, "<form") {
		t.Errorf("an order that misses nothing: %s", got)
	}
	if got := w.do(w.token(door.Grant{Role: door.Engineer, Subject: "e"}), "GET", path+"?find=TEA_2", "").Body.String(); !strings.Contains(got, "2 × Black tea") || strings.Contains(got, "<form") {
		t.Errorf("who may only look: %s", got)
	}
}

// noBooks is a shop whose payments cannot be reached.
type noBooks struct{ *shop }

func (noBooks) Payment(context.Context, string) (staff.Payment, bool, error) {
	return staff.Payment{}, false, errors.New("away")
}

func (noBooks) Invoice(context.Context, string) (staff.Invoice, bool, error) {
	return staff.Invoice{}, false, errors.New("away")
}

// An order is a page to a browser and JSON to whoever else asks. The page shows what there is to know, offers what can be done with the order as it is to
// those who may, and is there while the books are not. Red when a script that fetches is given the page, when what a colleague may not do is
// offered, and when the page is as far away as the payments are.
func TestThePageOfAnOrder(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	const browser = "text/html,application/xhtml+xml,*/*;q=0.8"
	o := &s.orders[0]
	o.Payment, o.Placed = "P1", backbonetest.Epoch
	o.Items = []mall.Item{{Product: "p", SKU: "SKU_7", Name: "Tea <b>", Price: eur(2000), Quantity: 2, Store: "S1", StoreName: "Corner <b>"}}
	o.History = []staff.Change{{Status: "OrderPlaced", Time: backbonetest.Epoch, Actor: "customer:C1"}, {Status: "OrderStockReserved", Time: backbonetest.Epoch, Actor: "service:orders"}}
	s.orders[2].Reason = "<script>alert(1)</script>"
	w := open(t, s)
	away := open(t, s, func(c *staff.Config) { c.Payments = noBooks{s} })
	engineer := w.token(door.Grant{Role: door.Engineer, Subject: "e"})
	page := func(w *world, token, order string) string {
		t.Helper()
		rec := w.do(token, "GET", "/staff/orders/"+order, "", "Accept", browser)
		text := rec.Body.String()
		if rec.Code != 200 || !strings.HasPrefix(rec.Header().Get("Content-Security-Policy"), "default-src 'none'") || rec.Header().Get("Vary") != "Accept" ||
			strings.Contains(text, "ZgotmplZ") || strings.Contains(text, "<script>alert") || strings.Contains(text, "://") {
			t.Fatalf("%s: %d %v %s", order, rec.Code, rec.Header(), text)
		}
		return text
	}
	const hand, cancel, books = `id="hand"`, `id="cancel"`, "The books cannot be looked at now"
	for _, c := range []struct {
		what  string
		page  string
		has   []string
		lacks []string
	}{
		{
			"ready", page(w, w.clerk("ann"), "O1"),
			[]string{"Order O1 of C1", "● ready", "40.00 EUR, placed", "Tea &lt;b&gt;", "SKU_7", "Corner &lt;b&gt;", "20.00 EUR", "○ to pay", `<a href="/staff/payments/P1">P1</a>: 5.00 EUR captured`, "Invoice at the depot: 5.00 EUR paid", "✓ instead", ">placed</th>", ">stock reserved</th>", "customer:C1", "Take 40.00 EUR and hand over", hand, cancel, backbonetest.Epoch.Add(48*time.Hour).UTC().Format("2006-01-02 15:04") + " UTC</time>; then it expires"},
			[]string{"substitutes\"", books},
		},
		{"short", page(w, w.clerk("ann"), "O2"), []string{"▶ picking", "✕ 2 short", `href="/staff/orders/O2/substitutes"`, `id="rest"`, "something like it, never dearer", "Nothing is known of it.", cancel}, []string{hand, "Invoice", "Kept for"}},
		{"ended", page(w, w.clerk("ann"), "O3"), []string{"✓ completed", "&lt;script&gt;", "✓ paid"}, []string{hand, cancel, "customer wants"}},
		{"who may only look", page(w, engineer, "O1"), []string{"● ready", ">stock reserved</th>"}, []string{hand, cancel, "data-post"}},
		{"no books", page(away, away.clerk("ann"), "O1"), []string{"● ready", books}, []string{"Invoice"}},
	} {
		for _, part := range c.has {
			if !strings.Contains(c.page, part) {
				t.Errorf("%s: the page does not show %q:\n%s", c.what, part, c.page)
			}
		}
		for _, part := range c.lacks {
			if strings.Contains(c.page, part) {
				t.Errorf("%s: the page shows %q", c.what, part)
			}
		}
	}
	for _, accept := range []string{"", "*/*", "application/json"} {
		rec := w.do(w.clerk("ann"), "GET", "/staff/orders/O1", "", "Accept", accept)
		if !strings.HasPrefix(rec.Header().Get("Content-Type"), "application/json") || rec.Header().Get("Vary") != "Accept" {
			t.Errorf("Accept %q: %v", accept, rec.Header())
		}
	}
	s.change(func() { s.orders[0].Settling = true })
	if got := page(w, w.clerk("ann"), "O1"); !strings.Contains(got, "being settled") || strings.Contains(got, hand) {
		t.Errorf("while it is settled: %s", got)
	}
	s.change(func() { s.orders[0].Settling, s.orders[0].Paid = false, true })
	if got := page(w, w.clerk("ann"), "O1"); !strings.Contains(got, ">Hand over</button>") {
		t.Errorf("paid: %s", got)
	}
	if rec := w.do(w.clerk("ann"), "GET", "/staff/orders/O9", "", "Accept", browser); rec.Code != 404 || !strings.HasPrefix(rec.Header().Get("Content-Type"), "text/html") {
		t.Errorf("an order that is not there: %d %v", rec.Code, rec.Header())
	}
}

// What the service keeps to itself is read from logs for ever.
func TestFrozen(t *testing.T) {
	t.Parallel()
	backbonetest.Frozen(
		t,
		staff.AskApproval{Approval: "A1", What: staff.RefundPayment, Subject: "P1", Amount: eur(250), Reason: "broken"},
		staff.GiveApproval{Approval: "A1"},
		staff.RefuseApproval{Approval: "A1", Reason: "no"},
		staff.SettleApproval{Approval: "A1", Code: "not_captured", Detail: "nothing was taken"},
		staff.ApprovalAsked{Approval: "A1", What: staff.OpenGate, Subject: "gate-1", Reason: "a pram", Asker: "staff:ann", Expires: 1_900_000_000_000_000},
		staff.ApprovalGiven{Approval: "A1", What: staff.RefundInvoice, Subject: "O1", Amount: eur(250), Reason: "broken", Asker: "staff:ann", Decider: "staff:bob"},
		staff.ApprovalRefused{Approval: "A1", Reason: "no", Decider: "staff:bob"},
		staff.ApprovalSettled{Approval: "A1", Code: "not_captured", Detail: "nothing was taken"},
	)
}

// What was sold lately is a page of its own, for staff and engineers; what stands in it is text.
func TestSalesPage(t *testing.T) {
	t.Parallel()
	w := open(t, newShop(t))
	for _, token := range []string{w.clerk("ann"), w.manager("bob"), w.token(door.Grant{Role: door.Engineer, Subject: "eve"})} {
		rec := w.do(token, "GET", "/staff/sales", "")
		page := rec.Body.String()
		if rec.Code != http.StatusOK || !strings.HasPrefix(rec.Header().Get("Content-Type"), "text/html") {
			t.Fatalf("%d %s", rec.Code, page)
		}
		for _, part := range []string{
			`<th scope="row">souq</th><td class="n">3</td><td class="n">2</td><td class="n">9</td><td class="n">123.45 EUR</td><td class="n">3.45 EUR</td><td class="n">120.00 EUR</td>`,
			`<th scope="row">&lt;script&gt;</th><td>souq</td>`, `<td>walk-in</td><th scope="row">checked out</th><td class="n">7</td><td class="n">1</td><td class="n">2</td>`,
			`ready within 1m1s, 95 in 100 within 2h0m0s`, `Nothing was sold.`,
		} {
			if !strings.Contains(page, part) {
				t.Errorf("the page does not have %s:\n%s", part, page)
			}
		}
	}
	if rec := w.do(w.token(door.Grant{Role: door.Customer, Subject: "c"}), "GET", "/staff/sales", ""); rec.Code != http.StatusForbidden {
		t.Errorf("a customer: %d", rec.Code)
	}
}
