package broker_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/internal/broker"
	"example.org/souk/backbone/pgstore"
	"example.org/souk/backbone/sqlitestore"
	"example.org/souk/internal/testserver"
)

// sold is an event of a shop; books handles it, and answers each to the shop with a command.
type sold struct {
	Till string `json:"till"`
	N    int    `json:"n"`
	Note string `json:"note,omitempty"`
}

func (sold) EventType() string { return "test.shop.Sold.v1" }

type sell struct {
	Till string `json:"till"`
	Note string `json:"note,omitempty"`
}

func (sell) CommandType() string { return "test.shop.Sell.v1" }
func (c sell) Stream() string    { return "till/" + c.Till }

type confirm struct {
	Till string `json:"till"`
	N    int    `json:"n"`
}

func (confirm) CommandType() string { return "test.shop.Confirm.v1" }
func (c confirm) Stream() string    { return fmt.Sprintf("confirmed/%s-%d", c.Till, c.N) }

type confirmed struct {
	Till string `json:"till"`
	N    int    `json:"n"`
}

func (confirmed) EventType() string { return "test.shop.Confirmed.v1" }

func shop() *backbone.Service {
	tills := &backbone.Aggregate[int]{
		Name: "till", Public: []backbone.Event{sold{}}, Evolve: func(n int, _ backbone.Event) int { return n + 1 },
	}
	done := &backbone.Aggregate[bool]{
		Name: "confirmed", Public: []backbone.Event{confirmed{}}, Evolve: func(bool, backbone.Event) bool { return true },
	}
	return &backbone.Service{
		Name: "shop",
		Handles: []backbone.Handler{
			backbone.Decide(tills, func(n int, c sell, _ backbone.Meta) ([]backbone.Event, error) {
				return []backbone.Event{sold{c.Till, n, c.Note}}, nil
			}),
			backbone.Decide(done, func(done bool, c confirm, _ backbone.Meta) ([]backbone.Event, error) {
				if done {
					return nil, nil
				}
				return []backbone.Event{confirmed(c)}, nil
			}),
		},
		Views: []backbone.View{{Name: "tally", Inline: true, Projections: []backbone.Projection{backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e sold) error {
			return tx.Exec(ctx, `INSERT INTO {tally} AS t (till, sales) VALUES ($1, 1) ON CONFLICT (till) DO UPDATE SET sales = t.sales + 1`, e.Till)
		})}}},
		Migrations: fstest.MapFS{"0001_tally.sql": {Data: []byte("-- +goose Up\nCREATE TABLE {tally} (till TEXT PRIMARY KEY, sales BIGINT NOT NULL);\n")}},
	}
}

func books() *backbone.Service {
	return &backbone.Service{
		Name: "books",
		Subscribes: []backbone.Subscriber{
			backbone.On(func(ctx context.Context, tx backbone.Tx, e sold) error {
				tx.Do(backbone.Send(confirm{e.Till, e.N}))
				return tx.Exec(ctx, `INSERT INTO {entry} (id, till, n) VALUES ($1, $2, $3)`, tx.Message().ID, e.Till, e.N)
			}).From(backbone.FromFirst),
		},
		Views: []backbone.View{backbone.ViewOf("turnover", backbone.FromFirst, func(ctx context.Context, tx backbone.ViewTx, e sold) error {
			return tx.Exec(ctx, `INSERT INTO {turnover} AS t (till, sales) VALUES ($1, 1) ON CONFLICT (till) DO UPDATE SET sales = t.sales + 1`, e.Till)
		}).KeyedBy(func(e sold) string { return e.Till }), backbone.ViewOf("takings", backbone.FromFirst, func(ctx context.Context, tx backbone.ViewTx, e sold) error {
			return tx.Exec(ctx, `INSERT INTO {takings} AS t (till, sales) VALUES ($1, 1) ON CONFLICT (till) DO UPDATE SET sales = t.sales + 1`, e.Till)
		}).View},
		Migrations: fstest.MapFS{"0001_entry.sql": {Data: []byte(`-- +goose Up
CREATE TABLE {turnover} (till TEXT PRIMARY KEY, sales BIGINT NOT NULL);
CREATE TABLE {takings} (till TEXT PRIMARY KEY, sales BIGINT NOT NULL);
CREATE TABLE {entry} (place INTEGER PRIMARY KEY, id TEXT NOT NULL, till TEXT NOT NULL, n BIGINT NOT NULL);
`)}},
	}
}

type mall struct {
	*backbone.Runtime
	t     *testing.T
	store *sqlitestore.Store
	bus   *broker.Bus

	mu     sync.Mutex
	alarms []string
}

// unanchored hides that the broker can be asked what it still has, and no more than that.
type unanchored struct {
	driver.Transport
	driver.Preparer
	driver.Behinder
}

func start(t *testing.T, s *server, dir string, wrap func(*broker.Bus) driver.Transport) *mall {
	t.Helper()
	return startWith(t, s, dir, 20*time.Millisecond, wrap)
}

func startWith(t *testing.T, s *server, dir string, poll time.Duration, wrap func(*broker.Bus) driver.Transport) *mall {
	t.Helper()
	store, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Path: dir + "/mall.db"})
	if err != nil {
		t.Fatal(err)
	}
	storeOf := func(string) driver.Store { return store }
	m := &mall{t: t, store: store, bus: broker.New(broker.Config{Client: &client{s}, Store: storeOf, Poll: poll})}
	m.Runtime, err = backbone.New(backbone.Config{
		Parts: []*backbone.Service{shop(), books()}, Store: storeOf, Transport: wrap(m.bus),
		Hooks: backbone.Hooks{Alarm: func(a backbone.Alarm) {
			m.mu.Lock()
			m.alarms = append(m.alarms, a.Subject+": "+a.Text)
			m.mu.Unlock()
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.end)
	return m
}

func (m *mall) end() {
	if m.store == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := m.Stop(ctx); err != nil {
		m.t.Error(err)
	}
	if err := m.bus.Close(); err != nil {
		m.t.Error(err)
	}
	if err := m.store.Close(); err != nil {
		m.t.Error(err)
	}
	m.store = nil
}

func (m *mall) sell(n int) {
	m.t.Helper()
	for i := range n {
		if _, err := m.Do(m.t.Context(), sell{Till: fmt.Sprint(i % 5)}); err != nil {
			m.t.Fatal(err)
		}
	}
}

// entries waits until nothing is in flight, and checks that the books hold n entries: those of each till, each once and in order, and
// that the shop has confirmed each once.
func (m *mall) entries(n int) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		idle, err := m.Idle(ctx)
		if err == nil && idle {
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			busy, err := m.InFlight(m.t.Context())
			m.t.Fatalf("it does not come to rest: %s %v", busy, err)
		}
	}
	rows, err := m.store.Query(m.t.Context(), "SELECT till, n FROM "+m.store.Name("books", "entry")+" ORDER BY place")
	if err != nil {
		m.t.Fatal(err)
	}
	defer rows.Close()
	next, total := map[string]int{}, 0
	for rows.Next() {
		var till string
		var number int
		if err := rows.Scan(&till, &number); err != nil {
			m.t.Fatal(err)
		}
		if number != next[till] {
			m.t.Fatalf("till %s: entry %d where %d is next (lost, doubled or out of order)", till, number, next[till])
		}
		next[till]++
		total++
	}
	if total != n {
		m.t.Fatalf("%d entries, want %d", total, n)
	}
	rs, err := m.store.Read(m.t.Context(), "shop", driver.ReadQuery{Types: []string{confirmed{}.EventType()}, Limit: 10 * n})
	if err != nil || len(rs) != n {
		m.t.Fatalf("%d are confirmed, want %d (%v)", len(rs), n, err)
	}
}

// turnover adds up what the view shows.
func (m *mall) turnover() (sales int) {
	m.t.Helper()
	rows, err := m.store.Query(m.t.Context(), "SELECT COALESCE(SUM(sales), 0) FROM "+m.store.Name("books", "turnover"))
	if err != nil {
		m.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(&sales); err != nil {
			m.t.Fatal(err)
		}
	}
	return sales
}

// An event behind very many that do not travel goes out too, and before that nothing is at rest. Red when the relay takes
// the end of one reading for the end of the log.
func TestF3_BehindWhatDoesNotTravel(t *testing.T) {
	t.Parallel()
	m := start(t, newServer(), t.TempDir(), plain)
	const private = 50_000
	w := driver.Writes{Records: make([]driver.Record, private)}
	for i := range w.Records {
		w.Records[i] = driver.Record{
			Kind: driver.KindPrivate, ID: fmt.Sprintf("private-%d", i), Stream: "diary/d1", Version: int64(i + 1), Type: "test.shop.Noted.v1",
			Data: []byte("{}"), Meta: []byte("{}"), Time: 1_767_225_600_000_000,
		}
	}
	tx, err := m.store.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(tx.Apply(t.Context(), "shop", &w), tx.Commit(t.Context())); err != nil {
		t.Fatal(err)
	}
	m.sell(1)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for idle := false; !idle; {
		if idle, err = m.Idle(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if got := m.turnover(); got != 1 {
		t.Errorf("all is at rest and the view shows %d sales, want 1", got)
	}
	m.entries(1)
}

// A view that is rebuilt while its events wait at the broker shows each of them once, also when they come after a restart.
// Red when what a rebuild has applied is not passed over, or is known in memory only.
func TestD6_RebuiltWhileEventsWait(t *testing.T) {
	t.Parallel()
	s, dir := newServer(), t.TempDir()
	m := start(t, s, dir, plain)
	m.sell(10)
	m.entries(10)
	s.pause()
	m.sell(10)
	if err := m.Rebuild(t.Context(), "books", "turnover", nil); err != nil {
		t.Fatal(err)
	}
	if got := m.turnover(); got != 20 {
		t.Fatalf("the rebuilt view shows %d sales, want 20", got)
	}
	s.resume()
	m.entries(20)
	if got := m.turnover(); got != 20 {
		t.Errorf("it shows %d sales when the events have come, want 20", got)
	}
	s.kill() // what was settled last is settled again after the next start, and so is what waits
	m.sell(10)
	if err := m.Rebuild(t.Context(), "books", "turnover", nil); err != nil {
		t.Fatal(err)
	}
	m.end()
	s.restart()
	m = start(t, s, dir, plain)
	m.sell(5)
	m.entries(35)
	if got := m.turnover(); got != 35 {
		t.Errorf("it shows %d sales after the restart, want 35", got)
	}
}

// D6: views that two processes share over a broker, an inline one, one with a key of its own and one over all partitions, are
// rebuilt by each of them in turn under load, and show each event once. Red where what the other process has in hand at the
// swap commits after it, where writers are not kept from an inline view, and where a floor is known to one process only.
func TestD6_RebuildOfViewsSharedOverABroker(t *testing.T) {
	t.Parallel()
	s, url := newServer(), testserver.Postgres(t).Database(t)
	var both []*backbone.Runtime
	var stores []*pgstore.Store
	for range 2 {
		store, err := pgstore.Open(t.Context(), pgstore.Config{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		storeOf := func(string) driver.Store { return store }
		bus := broker.New(broker.Config{Client: &client{s}, Store: storeOf, Poll: 20 * time.Millisecond, Lease: 2 * time.Second})
		r, err := backbone.New(backbone.Config{
			Parts: []*backbone.Service{shop(), ledger()}, Store: storeOf, Transport: bus, Lease: 2 * time.Second,
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			if err := errors.Join(r.Stop(ctx), bus.Close(), store.Close()); err != nil {
				t.Error(err)
			}
		})
		both, stores = append(both, r), append(stores, store)
	}
	const callers, each = 4, 60
	var selling sync.WaitGroup
	for c := range callers {
		selling.Go(func() {
			for i := range each {
				if _, err := both[(c+i)%2].Do(t.Context(), sell{Till: fmt.Sprint("t", (c+i)%5)}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	sold := make(chan struct{})
	go func() {
		selling.Wait()
		close(sold)
	}()
	views := [][2]string{{"shop", "tally"}, {"books", "turnover"}, {"books", "takings"}}
	rebuilt := 0
	for under := true; under; rebuilt++ {
		select {
		case <-sold:
			under = false
		default:
		}
		v := views[rebuilt%len(views)]
		if err := both[rebuilt%2].Rebuild(t.Context(), v[0], v[1], nil); err != nil {
			t.Fatalf("rebuild %s: %v", v[1], err)
		}
		// At any instant the inline view shows what stands in the log.
		if shown, stand := tallied(t, stores[0]); shown != stand {
			t.Fatalf("after rebuild %d the inline view shows %d sales, and the log has %d", rebuilt, shown, stand)
		}
	}
	t.Logf("rebuilt %d times", rebuilt)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	busy := ""
	for quiet := 0; quiet < 2; {
		said := ""
		for _, r := range both {
			what, err := r.Unsettled(ctx)
			if err != nil {
				t.Fatalf("it does not come to rest: %s: %v", busy, err)
			}
			said += what
		}
		busy = said
		if quiet++; busy != "" {
			quiet = 0
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("it does not come to rest: %s", busy)
		}
	}
	for _, v := range views {
		rows, err := stores[0].Query(t.Context(), "SELECT coalesce(sum(sales), 0)::bigint FROM "+stores[0].Name(v[0], v[1]))
		if err != nil {
			t.Fatal(err)
		}
		var sales int
		for rows.Next() {
			if err := rows.Scan(&sales); err != nil {
				t.Fatal(err)
			}
		}
		rows.Close()
		if sales != callers*each {
			t.Errorf("%s shows %d sales, want %d", v[1], sales, callers*each)
		}
	}
}

// tallied reads, at one instant, what the inline view shows and what stands in the log.
func tallied(t *testing.T, store *pgstore.Store) (shown, stand int) {
	t.Helper()
	rows, err := store.Query(t.Context(), "SELECT (SELECT coalesce(sum(sales), 0)::bigint FROM "+store.Name("shop", "tally")+
		"), (SELECT count(*) FROM "+store.Name("shop", "bb_log")+" WHERE type = $1)", sold{}.EventType())
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(&shown, &stand); err != nil {
			t.Fatal(err)
		}
	}
	return shown, stand
}

// ledger is books with the tables' dialect for PostgreSQL.
func ledger() *backbone.Service {
	svc := books()
	migration := svc.Migrations.(fstest.MapFS)["0001_entry.sql"]
	migration.Data = []byte(strings.ReplaceAll(string(migration.Data), "place INTEGER PRIMARY KEY", "place BIGSERIAL PRIMARY KEY"))
	return svc
}

func plain(b *broker.Bus) driver.Transport { return b }

// Over a transport that cannot say what it has still to hand over nobody is told that all is at rest. Red where it counts
// as one that has nothing: confirmations that wait at the broker then go unseen.
func TestNotIdleWhereNobodyCanTell(t *testing.T) {
	t.Parallel()
	m := start(t, newServer(), t.TempDir(), func(b *broker.Bus) driver.Transport { return struct{ driver.Transport }{b} })
	m.sell(1)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		idle, err := m.Idle(ctx)
		if errors.Is(err, driver.ErrNoPower) {
			return
		}
		if err != nil || idle {
			t.Fatalf("idle: %v %v, and nobody can know", idle, err)
		}
	}
}

// unclaimed is a database in which claims wait.
type unclaimed struct {
	driver.Store
	goOn chan struct{}
}

func (u *unclaimed) Claim(ctx context.Context, service, name, owner string, slices int, lease time.Duration, only ...int) ([]driver.Checkpoint, error) {
	select {
	case <-u.goOn:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return u.Store.Claim(ctx, service, name, owner, slices, lease, only...)
}

// What a late subscription has still to read from a log counts before anybody has claimed its partitions, here and over all
// processes. Red where only what waits at the broker counts, as nothing does here.
func TestBehindBeforePartitionsAreTaken(t *testing.T) {
	t.Parallel()
	s, dir := newServer(), t.TempDir()
	m := start(t, s, dir, plain)
	m.sell(10)
	m.entries(10)
	store := &unclaimed{m.store, make(chan struct{})}
	bus := broker.New(broker.Config{Client: &client{s}, Store: func(string) driver.Store { return store }})
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan struct{}), make(chan error, 1)
	got := &counting{all: make(chan struct{}), want: 10}
	late := driver.Subscription{
		Service: "books", Name: "late", FromFirst: true, Interests: []driver.Interest{{Source: "shop", Types: []string{sold{}.EventType()}}},
	}
	go func() { ended <- bus.Subscribe(ctx, late, got, ready) }()
	defer func() {
		cancel()
		if err := errors.Join(<-ended, bus.Close()); err != nil {
			t.Error(err)
		}
	}()
	select {
	case <-ready:
	case err := <-ended:
		ended <- err
		t.Fatalf("subscribe: %v", err)
	}
	if n, err := bus.Behind(t.Context()); err != nil || n == 0 {
		t.Errorf("%d are behind (%v), and 10 events are to be read", n, err)
	}
	if list, err := bus.Backlogs(t.Context()); err != nil || len(list) != 1 || list[0].Ahead == 0 {
		t.Errorf("the backlogs are %+v (%v), and 10 events are to be read", list, err)
	}
	close(store.goOn)
	select {
	case <-got.all:
	case <-time.After(20 * time.Second):
		t.Fatal("the events do not come")
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for ended := time.After(20 * time.Second); ; {
		n, err := bus.Behind(t.Context())
		list, failed := bus.Backlogs(t.Context())
		if err == nil && failed == nil && n == 0 && list[0] == (driver.Backlog{Service: "books", Subscription: "late"}) {
			return
		}
		select {
		case <-tick.C:
		case <-ended:
			t.Fatalf("%d are behind, the backlogs are %+v: %v", n, list, errors.Join(err, failed))
		}
	}
}

// counting is a sink that settles what it gets.
type counting struct {
	idle
	all  chan struct{}
	mu   sync.Mutex
	want int
}

func (c *counting) Deliver(_ context.Context, _ int, ds []driver.Delivery) error {
	for _, d := range ds {
		d.Ack(nil)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.want -= len(ds); c.want == 0 {
		close(c.all)
	}
	return nil
}

// Where a broker has lost a group nobody knows what waits for it, so something is in flight until it has joined again. Red
// where such a group counts as one that has nothing to do.
func TestNotIdleWhereAGroupIsLost(t *testing.T) {
	t.Parallel()
	s := newServer()
	m := startWith(t, s, t.TempDir(), 2*time.Second, plain) // it takes that long to join again
	m.sell(10)
	m.entries(10)
	s.do(func() {
		s.life++
		s.groups = map[string]*group{}
	})
	if idle, err := m.Idle(t.Context()); err != nil || idle {
		t.Errorf("idle: %v %v, though the groups are gone", idle, err)
	}
	m.entries(10)
}

// F3: what is committed reaches the broker and takes effect once and in order, with a server that cuts connections, is
// killed under load, and stands still; over a restart of the program too.
func TestF3_RelayUnderFaults(t *testing.T) {
	t.Parallel()
	s, dir := newServer(), t.TempDir()
	m := start(t, s, dir, plain)
	m.sell(100)
	s.kill()
	m.sell(50)
	s.restart()
	m.sell(50)
	s.pause()
	m.sell(20)
	s.resume()
	m.entries(220)
	m.sell(5)
	m.end()
	m = start(t, s, dir, plain)
	m.entries(225)
	s.kill()
	m.sell(30)
	m.end() // the broker is away, and the stop waits for nothing
	s.restart()
	m = start(t, s, dir, plain)
	m.entries(255)
	if len(m.alarms) > 0 {
		t.Errorf("a server that was only started again gives alarms: %v", m.alarms)
	}
}

// F3: a broker that has forgotten what it confirmed is given it again, with the same ids and before anything new, and
// nothing has a second effect. Red when no anchors are asked for, which the control shows.
func TestF3_WhatABrokerForgetsIsPublishedAgain(t *testing.T) {
	t.Parallel()
	s := newServer()
	m := start(t, s, t.TempDir(), plain)
	m.sell(60)
	m.entries(60)
	before := s.stored("souk.shop")
	s.forget()
	m.sell(10)
	m.entries(70)
	after := s.stored("souk.shop")
	for _, id := range before {
		if !slices.Contains(after, id) {
			t.Fatalf("event %s is not at the broker any more", id)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !slices.ContainsFunc(m.alarms, func(a string) bool { return strings.HasPrefix(a, "relay: ") }) {
		t.Errorf("nobody is told: %v", m.alarms)
	}
}

// F12: a relay that ends in good order leaves nothing that the next one would publish again, also where it ends while it publishes. Red where the newest
// anchor is not written down at the end.
func TestF12_ARelayThatEndsIsNotRepeated(t *testing.T) {
	t.Parallel()
	s, dir := newServer(), t.TempDir()
	s.steady = true
	const sales, times = 20, 4
	for n := range times {
		m := start(t, s, dir, plain)
		m.sell(sales)
		if n == times-1 {
			m.entries(times * sales)
		}
		m.end()
	}
	for _, topic := range []string{"souk.shop"} {
		ids := s.stored(topic)
		if once := slices.Compact(slices.Clone(ids)); len(ids) == 0 || len(once) != len(ids) {
			t.Errorf("%s was given %d messages %d times", topic, len(once), len(ids))
		}
	}
}

func TestF3_ControlWithoutAnchors(t *testing.T) {
	t.Parallel()
	s := newServer()
	m := start(t, s, t.TempDir(), func(b *broker.Bus) driver.Transport { return unanchored{b, b, b} })
	m.sell(60)
	m.entries(60)
	s.forget()
	m.sell(10)
	m.entries(70)
	if n := len(s.stored("souk.shop")); n >= 140 {
		t.Errorf("%d events are at the broker, as if anchors had been asked for", n)
	}
}

// idle is a sink that gets nothing.
type idle struct{}

func (idle) Assign([]driver.Checkpoint)                            {}
func (idle) Revoke([]int)                                          {}
func (idle) Deliver(context.Context, int, []driver.Delivery) error { return nil }

// F7: an older version of a program, which asks for less, does not take from the broker what the newer one asks for, neither
// as it subscribes nor as it prepares what runs elsewhere. Red when a group takes the inputs of whoever came last.
func TestF7_OlderVersionsDoNotNarrow(t *testing.T) {
	t.Parallel()
	s := newServer()
	store, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Path: t.TempDir() + "/test.db"})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if err := store.Migrate(t.Context(), []driver.Schema{{Service: "shop"}, {Service: "books"}}); err != nil {
		t.Fatal(err)
	}
	of := func(types ...string) driver.Subscription {
		return driver.Subscription{Service: "books", Name: "books", Interests: []driver.Interest{{Source: "shop", Types: types}}}
	}
	takes := func(when string, types ...string) {
		t.Helper()
		s.mu.Lock()
		defer s.mu.Unlock()
		if got, want := s.groups["souk.books.books"].spec.Inputs, []broker.Input{{Topic: "souk.shop", Types: types}}; !reflect.DeepEqual(got, want) {
			t.Errorf("%s the group takes %v, want %v", when, got, want)
		}
	}
	subscribe := func(spec driver.Subscription, types ...string) {
		t.Helper()
		bus := broker.New(broker.Config{Client: &client{s}, Store: func(string) driver.Store { return store }})
		ctx, cancel := context.WithCancel(t.Context())
		ready, ended := make(chan struct{}), make(chan error, 1)
		go func() { ended <- bus.Subscribe(ctx, spec, idle{}, ready) }()
		select {
		case <-ready:
		case err := <-ended:
			t.Errorf("subscribe: %v", err)
		}
		takes("subscribed", types...)
		if err := bus.Prepare(t.Context(), []driver.Subscription{of("a.v*")}); err != nil {
			t.Error(err)
		}
		takes("prepared", types...)
		cancel()
		<-ended //nolint:errcheck // it says only that the subscription has ended
		if err := bus.Close(); err != nil {
			t.Error(err)
		}
	}
	subscribe(of("a.v*"), "a.v*")
	subscribe(of("a.v*", "b.v*"), "a.v*", "b.v*")
	subscribe(of("a.v*"), "a.v*", "b.v*")
}
