package brokertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/pgstore"
	"example.org/souk/internal/testserver"
)

// Sold is the event of a shop with tills.
type Sold struct {
	Till string `json:"till"`
	N    int64  `json:"n"` // among the till's sales, from 1
	Note string `json:"note,omitempty"`
}

// EventType implements backbone.Event.
func (Sold) EventType() string { return "test.shop.Sold.v1" }

// Sell is the command that a till sells.
type Sell struct {
	Till string `json:"till"`
	Note string `json:"note,omitempty"`
}

// CommandType implements backbone.Command.
func (Sell) CommandType() string { return "test.shop.Sell.v1" }

// Stream implements backbone.Command.
func (c Sell) Stream() string { return c.Till }

func stream(till string) string { return "till/" + till }

// Parts are a shop and books that enter each sale in a table in which nothing hinders a second row of one.
func Parts() []*backbone.Service {
	tills := &backbone.Aggregate[int64]{
		Name: "till", Public: []backbone.Event{Sold{}}, Evolve: func(n int64, _ backbone.Event) int64 { return n + 1 },
	}
	return []*backbone.Service{
		{Name: "shop", Handles: []backbone.Handler{
			backbone.Decide(tills, func(n int64, c Sell, _ backbone.Meta) ([]backbone.Event, error) {
				return []backbone.Event{Sold{c.Till, n + 1, c.Note}}, nil
			}),
		}},
		{
			Name: "books",
			Subscribes: []backbone.Subscriber{backbone.On(func(ctx context.Context, tx backbone.Tx, e Sold) error {
				return tx.Exec(ctx, `INSERT INTO {entry} (till, n) VALUES ($1, $2)`, e.Till, e.N)
			}).From(backbone.FromFirst)},
			Migrations: fstest.MapFS{"0001_entry.sql": {Data: []byte(`-- +goose Up
CREATE TABLE {entry} (place BIGINT GENERATED ALWAYS AS IDENTITY, till TEXT NOT NULL, n BIGINT NOT NULL);
`)}},
		},
	}
}

// Entries returns what the books hold of each till, in the order in which it was entered.
func Entries(t *testing.T, store driver.Store) map[string][]int64 {
	t.Helper()
	rows, err := store.Query(t.Context(), "SELECT till, n FROM "+store.Name("books", "entry")+" ORDER BY place")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	tills := map[string][]int64{}
	for rows.Next() {
		var till string
		var n int64
		if err := rows.Scan(&till, &n); err != nil {
			t.Fatal(err)
		}
		tills[till] = append(tills[till], n)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return tills
}

// patience is how long the tests here wait for what should happen soon.
const patience = 60 * time.Second

// Await waits until something holds.
func Await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	if !testserver.Await(t.Context(), patience, holds) {
		t.Fatalf("not within %v: %s", patience, what)
	}
}

// The environment of a process that has the shop, and so relays its log: database, server, namespace and its own name.
const childEnv = "SOUK_TEST_RELAY"

// relayLease is how long the relay stays with a process that was stopped.
const relayLease = 3 * time.Second

// Child makes this process one that runs the shop until it is sent SIGTERM, and does not return, where its environment asks for that. A
// package that calls SeveralRelays calls it first in its TestMain.
func Child(open Open) {
	orders := strings.Split(os.Getenv(childEnv), " ")
	if len(orders) != 4 {
		return
	}
	if err := relayShop(orders[0], orders[1], orders[2], orders[3], open); err != nil {
		fmt.Println("ended:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func relayShop(database, address, namespace, name string, open Open) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	store, err := pgstore.Open(ctx, pgstore.Config{URL: database})
	if err != nil {
		return err
	}
	end, err := runShop(ctx, store, address, namespace, name, open)
	if err != nil {
		return errors.Join(err, store.Close())
	}
	fmt.Println("runs")
	<-ctx.Done()
	return errors.Join(end(), store.Close())
}

func runShop(ctx context.Context, store driver.Store, address, namespace, name string, open Open) (end func() error, err error) {
	of := func(string) driver.Store { return store }
	bus, err := open(address, Process{of, namespace, relayLease, slog.Default()})
	if err != nil {
		return nil, err
	}
	r, err := backbone.New(backbone.Config{Parts: Parts(), Run: []string{"shop"}, Store: of, Transport: bus, Owner: name, Lease: relayLease})
	if err == nil {
		err = r.Start(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, bus.Close())
	}
	return func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		return errors.Join(r.Stop(ctx), bus.Close())
	}, nil
}

// field is the ground of SeveralRelays: a shop that two other processes run, the books, which this one runs, and what comes to the broker.
type field struct {
	t     *testing.T
	store driver.Store

	versions map[string]int64 // of the streams

	mu   sync.Mutex
	came map[string]int     // how often an event has come to the broker
	last map[string]int64   // by stream, the highest sequence that has
	back map[string][]int64 // sequences that came for the first time behind a higher one
}

// Assign implements driver.Sink.
func (*field) Assign([]driver.Checkpoint) {}

// Revoke implements driver.Sink.
func (*field) Revoke([]int) {}

// Deliver implements driver.Sink: it hears all that comes to the broker.
func (f *field) Deliver(_ context.Context, _ int, ds []driver.Delivery) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, d := range ds {
		if f.came[d.ID]++; f.came[d.ID] > 1 {
			continue
		}
		if d.Sequence < f.last[d.Stream] {
			f.back[d.Stream] = append(f.back[d.Stream], d.Sequence)
		}
		f.last[d.Stream] = max(f.last[d.Stream], d.Sequence)
	}
	return nil
}

// sell appends rounds of one sale at each of the tills to the shop's log, as a process that runs it does.
func (f *field) sell(rounds int) (ids []string) {
	f.t.Helper()
	for range rounds {
		var wants []driver.StreamWant
		var records []driver.Record
		for till := range 6 {
			name := stream(fmt.Sprint(till))
			f.versions[name]++
			n := f.versions[name]
			ids = append(ids, fmt.Sprintf("sale-%d-%d", till, n))
			wants = append(wants, driver.StreamWant{Stream: name, After: 1 << 40})
			records = append(records, driver.Record{
				Kind: driver.KindEvent, ID: ids[len(ids)-1], Stream: name, Version: n, Sequence: n, Type: Sold{}.EventType(),
				Data: fmt.Appendf(nil, `{"till":"%d","n":%d}`, till, n), Meta: []byte("{}"), Time: time.Now().UnixMicro(),
			})
		}
		f.append(wants, records)
	}
	return ids
}

func (f *field) append(wants []driver.StreamWant, records []driver.Record) {
	f.t.Helper()
	tx, err := f.store.Begin(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	if _, err = tx.LoadStreams(f.t.Context(), "shop", wants); err == nil {
		if err = tx.Apply(f.t.Context(), "shop", &driver.Writes{Records: records}); err == nil {
			err = tx.Commit(f.t.Context())
		}
	}
	if err != nil {
		f.t.Fatal(errors.Join(err, tx.Rollback()))
	}
}

// relay returns which process relays the shop's log, since when (its epoch), and up to where it has.
func (f *field) relay() (owner string, epoch, position int64) {
	f.t.Helper()
	cps, err := f.store.Checkpoints(f.t.Context(), "shop", backbone.RelayName)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, c := range cps {
		owner, epoch, position = c.Owner, c.Epoch, c.Position
	}
	return owner, epoch, position
}

// steadily sells while both processes are well, and checks that what was sold comes to the broker once. A process that is too slow on a busy machine to
// prolong its lease is taken over from: then it is done once more.
func (f *field) steadily(when string) (ids []string) {
	f.t.Helper()
	const tries = 6
	for range tries {
		_, before, _ := f.relay()
		ids = f.sell(60)
		f.entered(when)
		if _, epoch, _ := f.relay(); epoch == before {
			f.once(when, ids)
			return ids
		}
	}
	f.t.Fatalf("%s, the relay changes hands whatever is done, %d times", when, tries)
	return nil
}

// entered awaits that the books hold every sale, each once and in its till's order.
func (f *field) entered(when string) {
	f.t.Helper()
	Await(f.t, when+", all sales to be entered", func() bool {
		tills, n := Entries(f.t, f.store), 0
		for till, entered := range tills {
			if int64(len(entered)) >= f.versions[stream(till)] {
				n++
			}
		}
		return n == len(f.versions)
	})
	for till, entered := range Entries(f.t, f.store) {
		for i, n := range entered {
			if n != int64(i+1) {
				f.t.Fatalf("%s, till %s: entry %d where %d is next (lost, doubled or out of order)", when, till, n, i+1)
			}
		}
		if n := f.versions[stream(till)]; int64(len(entered)) != n {
			f.t.Fatalf("%s, till %s: %d entries, want %d", when, till, len(entered), n)
		}
	}
}

// once awaits that each of the events has come to the broker, and checks that none has twice, and none out of order.
func (f *field) once(when string, ids []string) {
	f.t.Helper()
	Await(f.t, when+", all to come to the broker", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return !slices.ContainsFunc(ids, func(id string) bool { return f.came[id] == 0 })
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	var twice []string
	for _, id := range ids {
		if f.came[id] > 1 {
			twice = append(twice, id)
		}
	}
	if len(twice) > 0 {
		f.t.Errorf("%s, %d of %d have come to the broker more than once, %s first", when, len(twice), len(ids), twice[0])
	}
	if len(f.back) > 0 {
		f.t.Errorf("%s, these came to the broker behind later ones: %v", when, f.back)
	}
}

// SeveralRelays has two processes run a service over a broker. While both are well one of them publishes. The one that does is stopped under load for longer than
// its lease: the other one takes over. Then the first goes on. Nothing is lost, nothing comes to the broker out of its key's order, and nothing
// takes effect twice; what was at the broker before, as an anchor says, and what is committed afterwards, comes to it once.
func SeveralRelays(t *testing.T, b Broker) {
	t.Helper()
	url := testserver.Postgres(t).Database(t)
	namespace := namespace()
	f := newField(t, url, namespace, &b)
	processes := map[string]*testserver.Process{}
	for _, name := range []string{"one", "other"} {
		p := testserver.Command{Args: []string{os.Args[0]}, Env: []string{childEnv + "=" + strings.Join([]string{url, b.Address, namespace, name}, " ")}}.Start(t)
		p.WaitLine("runs")
		processes[name] = p
	}

	before := f.steadily("with two relays")
	last, err := f.store.Read(t.Context(), "shop", driver.ReadQuery{Kinds: []driver.Kind{driver.KindEvent}, Limit: 1, Descending: true})
	if err != nil || len(last) != 1 {
		t.Fatal(err)
	}
	Await(t, "an anchor of all that", func() bool { return f.anchored() >= last[0].Position })

	first, during := f.stop(processes)
	_, _, at := f.relay()
	Await(t, "the other one to relay", func() bool {
		during = append(during, f.sell(1)...)
		owner, _, now := f.relay()
		return owner != first && now > at
	})
	processes[first].Resume()
	during = append(during, f.sell(20)...)
	f.entered("after the takeover")
	f.steadily("with both again")
	f.once("in the end", before)
	f.mu.Lock()
	copies := 0
	for _, id := range during {
		copies += f.came[id] - 1
	}
	t.Logf("%d of %d that were sold around the takeover have come again", copies, len(during))
	f.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(processes)) {
		processes[name].Signal(syscall.SIGTERM)
		if e := processes[name].Wait(); e.Code != 0 {
			t.Errorf("%s: %v", name, e)
		}
	}
}

// stop stops the process that relays, while it has something to do, and returns what was sold for that. One that stands within a transaction has rows
// locked that nobody passes by, for as long as its connection lives: that one goes on, and is stopped a moment later.
func (f *field) stop(processes map[string]*testserver.Process) (name string, sold []string) {
	f.t.Helper()
	const tries, look = 20, time.Second
	for range tries {
		name, _, _ = f.relay()
		sold = append(sold, f.sell(10)...)
		processes[name].Pause()
		if testserver.Await(f.t.Context(), look, f.unlocked) {
			return name, sold
		}
		processes[name].Resume()
	}
	f.t.Fatalf("the relay stands within a transaction whenever it is stopped, %d times", tries)
	return "", nil
}

// unlocked reports whether nobody is within a transaction.
func (f *field) unlocked() (free bool) {
	f.t.Helper()
	rows, err := f.store.Query(f.t.Context(), `SELECT count(*) FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend' AND state <> 'idle'`)
	if err != nil {
		f.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var n int64
		if err := rows.Scan(&n); err != nil {
			f.t.Fatal(err)
		}
		free = n == 0
	}
	return free
}

// anchored returns the position of the newest anchor that is written down.
func (f *field) anchored() int64 {
	f.t.Helper()
	raw, err := f.store.Value(f.t.Context(), "shop", "relay.anchors")
	var anchors []struct{ Position int64 }
	if err == nil && raw != nil {
		err = json.Unmarshal(raw, &anchors)
	}
	if err != nil {
		f.t.Fatal(err)
	}
	if len(anchors) == 0 {
		return 0
	}
	return anchors[len(anchors)-1].Position
}

// newField runs the books, and listens to the broker.
func newField(t *testing.T, url, namespace string, b *Broker) *field {
	t.Helper()
	store, err := pgstore.Open(t.Context(), pgstore.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	f := &field{t: t, store: store, versions: map[string]int64{}, came: map[string]int{}, last: map[string]int64{}, back: map[string][]int64{}}
	of := func(string) driver.Store { return store }
	quiet := slog.New(slog.DiscardHandler)
	bus, err := b.Open(b.Address, Process{of, namespace, steadyLease, quiet})
	if err != nil {
		t.Fatal(err)
	}
	r, err := backbone.New(backbone.Config{Parts: Parts(), Run: []string{"books"}, Store: of, Transport: bus, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	s := driver.Subscription{
		Service: "books", Name: "ears", Broadcast: true,
		Interests: []driver.Interest{{Source: "shop", Types: []string{Sold{}.EventType()}}},
	}
	go func() { ended <- bus.Subscribe(ctx, s, f, ready) }()
	t.Cleanup(func() {
		cancel()
		stopping, stop := context.WithTimeout(context.Background(), patience)
		defer stop()
		if err := errors.Join(<-ended, r.Stop(stopping), bus.Close(), store.Close()); err != nil {
			t.Error(err)
		}
	})
	select {
	case <-ready:
	case <-time.After(patience):
		t.Fatal("nothing listens to the broker")
	}
	return f
}
