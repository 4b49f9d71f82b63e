package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"example.org/souk/backbone"
	"example.org/souk/gateway/door"
	"example.org/souk/internal/house"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/event"
	"example.org/souk/mall/inventory"
)

// Orders describes a run over the full path of an order: POST /order, checkout,
// approval; or with Kiosk from a basket at a kiosk on. Rate 0 is closed-loop: Clients send the next order when the one before
// is answered. With a Rate orders are sent at their times whatever comes back, and
// latency counts from the time at which an order should have been sent.
type Orders struct {
	Program  []string      // runs souk; its arguments follow
	Duration time.Duration // of the load; default 10 s
	Clients  int           // default 64
	Rate     int           // orders a second; 0 is closed-loop
	Products int           // default 50
	Kiosk    bool          // the path begins with a basket at a kiosk; see basket
	Beside   bool          // measure the same order written by hand as well; see Handwritten
	Apart    Apart         // where it names a database: a mall of several processes
	Log      io.Writer     // hears of the progress; may be nil
}

// Times are latencies in milliseconds.
type Times struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// OrdersResult is what a run found. Costs are those of souk's process alone; where there are several, of all of them together.
type OrdersResult struct {
	Loop             string         `json:"loop"`
	Accepted         int64          `json:"accepted"`
	Refused          int64          `json:"refused"`  // 429 and 503
	Statuses         map[int]int64  `json:"statuses"` // answers by HTTP status
	OrdersPerSecond  float64        `json:"ordersPerSecond"`
	AcceptMS         Times          `json:"acceptMs"`
	PlacedToApproved Times          `json:"placedToApprovedMs"`
	CPUMSPerOrder    float64        `json:"cpuMsPerOrder"`
	PeakRSSBytes     int64          `json:"peakRssBytes"`
	IdleRSSBytes     int64          `json:"idleRssBytes"`
	ReadyMS          float64        `json:"readyMs"`
	Processes        []ProcessUse   `json:"processes,omitempty"` // of several
	Servers          []ServerUse    `json:"servers,omitempty"`   // that those lean on, as far as they can be looked at
	Beside           []BesideResult `json:"beside,omitempty"`
	Violations       []string       `json:"violations"`
}

// watched is the customer whose orders are followed to their approval; one order
// in watchEvery is theirs.
const (
	watched    = "watched"
	watchEvery = 25
	customers  = 100
)

// Run prepares a mall in a directory of its own, starts it, puts the load on it,
// waits until all is settled, stops it and checks what it kept.
func (o Orders) Run(ctx context.Context) (res OrdersResult, err error) {
	o.setDefaults()
	if o.Apart.DB != "" {
		res, err = o.runApart(ctx)
		if res.Violations == nil {
			res.Violations = []string{}
		}
		return res, err
	}
	dir, err := os.MkdirTemp("", "souk-bench-")
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	token, err := o.prepare(ctx, dir)
	if err != nil {
		return res, fmt.Errorf("prepare: %w", err)
	}
	if res, err = o.measure(ctx, dir, token, &before{}); err != nil || !o.Beside {
		return res, err
	}
	for _, group := range []int{manyOrders, 1} {
		b, err := o.beside(ctx, group)
		if err != nil {
			return res, err
		}
		b.compare(&res)
		res.Beside = append(res.Beside, b)
		for _, v := range b.Violations {
			res.Violations = append(res.Violations, b.Way+": "+v)
		}
	}
	return res, nil
}

func (o *Orders) setDefaults() {
	if o.Duration <= 0 {
		o.Duration = 10 * time.Second
	}
	if o.Clients <= 0 {
		o.Clients = 64
	}
	if o.Products <= 0 {
		o.Products = 50
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	o.Apart.setDefaults()
}

// before is what a mall has seen before a load.
type before struct {
	position int64 // in its orders log, of the last order
	accepted int64 // orders of other loads
	sent     int64 // orders that other loads have tried
}

// measure starts the mall of a directory, puts the load on it, stops it and checks what it kept. What it adds to what was
// before is added to b.
func (o Orders) measure(ctx context.Context, dir, token string, b *before) (res OrdersResult, err error) {
	began := time.Now()
	child, url, err := startUp(ctx, o.Program, dir, o.Log)
	if err != nil {
		return res, err
	}
	defer child.kill()
	res.ReadyMS = float64(time.Since(began).Microseconds()) / 1000
	res.IdleRSSBytes = child.status("VmRSS:")
	l := newLoad(o, url, token)
	l.seq.Store(b.sent)
	if err := l.follow(ctx); err != nil {
		return res, err
	}
	cpu := child.cpu()
	l.report(ctx, &res)
	if res.Accepted > 0 {
		res.CPUMSPerOrder = float64((child.cpu() - cpu).Microseconds()) / 1000 / float64(res.Accepted)
	}
	res.PeakRSSBytes = child.status("VmHWM:")
	if err := child.stop(); err != nil {
		res.Violations = append(res.Violations, fmt.Sprintf("stop: %v", err))
	}
	b.sent = l.seq.Load()
	found, err := o.check(ctx, dir, res.Accepted, b)
	res.Violations = append(res.Violations, found...)
	if res.Violations == nil {
		res.Violations = []string{}
	}
	return res, err
}

func product(i int) string { return fmt.Sprintf("P%03d", i) }

// customerIDs lists the customers of the load.
func customerIDs() []string {
	list := make([]string, customers, customers+1)
	for i := range list {
		list[i] = fmt.Sprintf("C%03d", i)
	}
	return append(list, watched)
}

// prepare fills the shelves and returns a token for the load.
func (o Orders) prepare(ctx context.Context, dir string) (token string, err error) {
	shop, rest := world(o.Products)
	return fillDir(ctx, dir, shop, rest)
}

// world is what the load needs: a shop, and in any order what is in it and who buys there.
func world(products int) (shop, rest []backbone.Command) {
	shop = []backbone.Command{command.CreateStore{Store: "s", Name: "Store", Location: mall.MainLocation}, command.EnableParticipation{Store: "s"}}
	for i := range products {
		rest = append(rest,
			command.AddProduct{Product: product(i), Store: "s", Name: product(i), SKU: product(i), Price: mall.Money{Amount: 1000, Currency: "EUR"}},
			command.ReceiveStock{SKU: product(i), Location: mall.MainLocation, Quantity: mall.MaxQuantity})
	}
	for _, id := range customerIDs() {
		rest = append(rest, command.RegisterCustomer{Customer: id, Name: "sealed"})
	}
	return shop, rest
}

// tokenOf returns a token for a member of staff.
func tokenOf(dir, subject string) (string, error) {
	authority, err := door.OpenAuthority(filepath.Join(dir, "keys"), wall{})
	if err != nil {
		return "", err
	}
	token, _, err := authority.Issue(door.Grant{Role: door.Staff, Subject: subject, TTL: 12 * time.Hour})
	return token, err
}

type wall struct{}

func (wall) Now() time.Time { return time.Now() }

// check counts what the mall kept against what it accepted.
func (o Orders) check(ctx context.Context, dir string, accepted int64, b *before) (violations []string, err error) {
	h, err := house.Open(ctx, house.Config{Data: dir, Quiet: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, h.Stop(ctx)) }()
	// What was under way when the mall stopped goes on by itself.
	if err := h.Start(ctx); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		idle, err := h.Runtime.Idle(ctx)
		if err != nil {
			return nil, err
		}
		if idle || time.Now().After(deadline) {
			break
		}
	}
	return o.kept(ctx, h, accepted, b)
}

// kept counts likewise in a mall that is at rest.
func (o Orders) kept(ctx context.Context, h *house.House, accepted int64, b *before) (violations []string, err error) {
	counts, last, err := countEvents(ctx, h.Reader("orders"), b.position, event.OrderPlacedV1, event.OrderApprovedV1)
	if err != nil {
		return nil, err
	}
	b.position = last
	placed, approved := counts[event.OrderPlacedV1], counts[event.OrderApprovedV1]
	if placed != accepted || approved != placed {
		violations = append(violations, fmt.Sprintf("%d orders were accepted, %d placed, %d approved", accepted, placed, approved))
	}
	committed := int64(0)
	for i := range o.Products {
		l, err := inventory.Get(ctx, h.Reader("inventory"), product(i), mall.MainLocation)
		if err != nil {
			return nil, err
		}
		committed += l.Committed
		if l.Held != 0 || l.Available != l.OnHand-l.Committed {
			violations = append(violations, fmt.Sprintf("stock of %s does not add up: %+v", product(i), l))
		}
	}
	b.accepted += accepted
	if ordered := 3 * b.accepted; committed != ordered {
		violations = append(violations, fmt.Sprintf("%d pieces are committed, %d were ordered", committed, ordered))
	}
	return violations, nil
}

// load is the clients of one run.
type load struct {
	o      Orders
	url    string
	token  string
	client *http.Client

	accepted, refused atomic.Int64
	seq               atomic.Int64
	mu                sync.Mutex
	accepts           []time.Duration
	approvals         []time.Duration
	sent              map[string]time.Time // watched orders that are not approved yet
	failed            map[string]int
	statuses          map[int]int64 // answers
	done              chan struct{} // the watched feed saw everything
	ended             bool
}

func newLoad(o Orders, url, token string) *load {
	return &load{
		o: o, url: url, token: token, sent: map[string]time.Time{}, failed: map[string]int{}, statuses: map[int]int64{}, done: make(chan struct{}),
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4096, MaxConnsPerHost: 4096}, Timeout: 30 * time.Second},
	}
}

// number takes the next number of an order.
func (l *load) number() (n int64, customer, first, second string) {
	n = l.seq.Add(1)
	customer = fmt.Sprintf("C%03d", n%customers)
	if n%watchEvery == 1 {
		customer = watched
	}
	a, b := n%int64(l.o.Products), (n*7+1)%int64(l.o.Products)
	if a == b {
		b = (b + 1) % int64(l.o.Products)
	}
	return n, customer, product(int(a)), product(int(b))
}

// watch has the approval of an order noted, if it is of the customer who is watched.
func (l *load) watch(customer, id string, due time.Time) {
	if customer != watched {
		return
	}
	l.mu.Lock()
	l.sent[id] = due
	l.mu.Unlock()
}

// order sends one order that was due at the given time.
func (l *load) order(ctx context.Context, due time.Time) {
	n, customer, first, second := l.number()
	id := fmt.Sprintf("B%09d", n)
	l.watch(customer, id, due)
	body := fmt.Sprintf(`{"data":{"id":"m%d","order":{"orderId":"%s","customerId":"%s","totalPrice":30,"totalQuantity":3,"items":[`+
		`{"productId":"%s","price":10,"quantity":2},{"productId":"%s","price":10,"quantity":1}]}}}`, n, id, customer, first, second)
	status, err := l.post(ctx, "/order", "", body, nil)
	l.answered(ctx, id, due, status, err)
}

// kioskPath is where kiosks ask.
const kioskPath = "/kiosk/v1"

// basket orders the same at a kiosk: a basket is begun, filled item by item, and checked out. It is accepted when all of that is answered.
func (l *load) basket(ctx context.Context, due time.Time) {
	n, customer, first, second := l.number()
	var b struct{ Basket string }
	key := fmt.Sprintf("k%d", n)
	status, err := l.post(ctx, kioskPath+"/baskets", key, fmt.Sprintf(`{"customer":"%s"}`, customer), &b)
	at := kioskPath + "/baskets/" + b.Basket
	for i, item := range []string{fmt.Sprintf(`{"product":"%s","quantity":2}`, first), fmt.Sprintf(`{"product":"%s","quantity":1}`, second)} {
		if err == nil && status < http.StatusMultipleChoices {
			status, err = l.post(ctx, at+"/items", fmt.Sprintf("%s-%d", key, i), item, nil)
		}
	}
	if err == nil && status < http.StatusMultipleChoices {
		l.watch(customer, b.Basket, due)
		status, err = l.post(ctx, at+"/checkout", key+"-out", `{}`, nil)
	}
	l.answered(ctx, b.Basket, due, status, err)
}

// answered counts the answer to an order.
func (l *load) answered(ctx context.Context, id string, due time.Time, status int, err error) {
	took := time.Since(due)
	if err == nil {
		l.mu.Lock()
		l.statuses[status]++
		l.mu.Unlock()
	}
	switch {
	case err == nil && status == http.StatusAccepted:
		l.accepted.Add(1)
		l.mu.Lock()
		l.accepts = append(l.accepts, took)
		l.mu.Unlock()
		return
	case err == nil && (status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable):
		l.refused.Add(1)
	case ctx.Err() != nil:
	case err != nil:
		l.fail(err.Error())
	default:
		l.fail(fmt.Sprintf("status %d", status))
	}
	l.mu.Lock()
	delete(l.sent, id)
	l.mu.Unlock()
}

// post sends a body, and reads what is answered into something where that is not nil.
func (l *load) post(ctx context.Context, path, key, body string, into any) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.url+path, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+l.token)
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := l.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if into != nil && resp.StatusCode < http.StatusMultipleChoices {
		return resp.StatusCode, json.NewDecoder(resp.Body).Decode(into)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

func (l *load) fail(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.failed) < 20 {
		l.failed[what]++
	}
}

func (l *load) failures() (list []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for what, n := range l.failed {
		list = append(list, fmt.Sprintf("%d x %s", n, what))
	}
	slices.Sort(list)
	return list
}

// run puts the load on and returns how long it took.
func (l *load) run(ctx context.Context) time.Duration {
	clients, order := l.o.Clients, l.order
	if l.o.Rate > 0 {
		clients = max(clients, 256)
	}
	if l.o.Kiosk {
		order = l.basket
	}
	return put(ctx, clients, l.o.Rate, l.o.Duration, func(_ int, due time.Time) { order(ctx, due) })
}

// report puts the load on, waits until the watched orders are approved, and says what came of it.
func (l *load) report(ctx context.Context, res *OrdersResult) {
	res.Loop = loop(l.o.Rate)
	elapsed := l.run(ctx)
	res.Accepted, res.Refused, res.Statuses = l.accepted.Load(), l.refused.Load(), l.statuses
	res.OrdersPerSecond = float64(res.Accepted) / elapsed.Seconds()
	if err := l.settle(ctx); err != nil {
		res.Violations = append(res.Violations, err.Error())
	}
	res.AcceptMS, res.PlacedToApproved = times(l.accepts), times(l.approvals)
	res.Violations = append(res.Violations, l.failures()...)
}

// follow reads the watched customer's feed and notes when orders are approved.
func (l *load) follow(ctx context.Context) error {
	conn, _, err := websocket.Dial( //nolint:bodyclose // the library owns the body of an upgraded connection
		ctx, "ws"+strings.TrimPrefix(l.url, "http")+"/feed?customer="+watched,
		&websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + l.token}}})
	if err != nil {
		return fmt.Errorf("feed: %w", err)
	}
	conn.SetReadLimit(1 << 20)
	go func() {
		defer conn.CloseNow() //nolint:errcheck // the run is over
		for {
			_, data, err := conn.Read(ctx)
			if err != nil {
				return
			}
			var f struct {
				AggregateID string `json:"aggregateId"`
				Operation   string `json:"operation"`
			}
			if json.Unmarshal(data, &f) != nil || f.Operation != "ORDER_APPROVED" {
				continue
			}
			now := time.Now()
			l.mu.Lock()
			if at, ok := l.sent[f.AggregateID]; ok {
				l.approvals = append(l.approvals, now.Sub(at))
				delete(l.sent, f.AggregateID)
			}
			l.tell()
			l.mu.Unlock()
		}
	}()
	return nil
}

// tell ends the waiting once the load is over and every watched order is approved.
// Callers hold mu.
func (l *load) tell() {
	if l.ended && len(l.sent) == 0 {
		select {
		case <-l.done:
		default:
			close(l.done)
		}
	}
}

// settle waits until every watched order is approved.
func (l *load) settle(ctx context.Context) error {
	l.mu.Lock()
	l.ended = true
	l.tell()
	l.mu.Unlock()
	select {
	case <-l.done:
		return nil
	case <-time.After(60 * time.Second):
		return errors.New("orders are still not approved a minute after the load")
	case <-ctx.Done():
		return ctx.Err()
	}
}

func times(list []time.Duration) Times {
	if len(list) == 0 {
		return Times{}
	}
	slices.Sort(list)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return Times{ms(list[len(list)/2]), ms(list[len(list)*99/100]), ms(list[len(list)-1])}
}
