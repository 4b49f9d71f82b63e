package broker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/drivertest"
	"example.org/souk/backbone/internal/broker"
	"example.org/souk/backbone/logbus"
	"example.org/souk/backbone/pgstore"
	"example.org/souk/internal/testserver"
)

// A meal is cooked: the second version of the event says by whom.
type (
	cookedV1 struct {
		Table string `json:"table"`
		N     int    `json:"n"`
	}
	cookedV2 struct {
		Table string `json:"table"`
		N     int    `json:"n"`
		Cook  string `json:"cook"`
	}
	cook struct {
		Table string `json:"table"`
	}
)

func (cookedV1) EventType() string { return "test.kitchen.Cooked.v1" }
func (cookedV2) EventType() string { return "test.kitchen.Cooked.v2" }
func (cook) CommandType() string   { return "test.kitchen.Cook.v1" }
func (c cook) Stream() string      { return c.Table }

// Upcast implements backbone.Upcaster.
func (cookedV2) Upcast(version int, raw []byte) ([]byte, error) {
	var old cookedV1
	if err := json.Unmarshal(raw, &old); err != nil || version != 1 {
		return nil, fmt.Errorf("version %d: %w", version, err)
	}
	return json.Marshal(cookedV2{old.Table, old.N, "nobody"})
}

// restaurant is a kitchen and its waiters in a version of the event: a handler serves each meal, and a view with a key of its own
// counts them.
func restaurant[E backbone.Event](cooked func(table string, n int) E, told func(E) (table string, n int)) []*backbone.Service {
	var zero E
	tables := &backbone.Aggregate[int]{Name: "table", Public: []backbone.Event{zero}, Evolve: func(n int, _ backbone.Event) int { return n + 1 }}
	kitchen := &backbone.Service{Name: "kitchen", Handles: []backbone.Handler{
		backbone.Decide(tables, func(n int, c cook, _ backbone.Meta) ([]backbone.Event, error) {
			return []backbone.Event{cooked(c.Table, n)}, nil
		}),
	}}
	waiters := &backbone.Service{
		Name: "waiters",
		Subscribes: []backbone.Subscriber{backbone.On(func(ctx context.Context, tx backbone.Tx, e E) error {
			table, n := told(e)
			return tx.Exec(ctx, `INSERT INTO {served} (at, n) VALUES ($1, $2)`, table, n)
		})},
		Views: []backbone.View{backbone.ViewOf("courses", backbone.FromFirst, func(ctx context.Context, tx backbone.ViewTx, e E) error {
			_, n := told(e)
			return tx.Exec(ctx, `INSERT INTO {courses} AS c (n, meals) VALUES ($1, 1) ON CONFLICT (n) DO UPDATE SET meals = c.meals + 1`, n)
		}).KeyedBy(func(e E) string {
			_, n := told(e)
			return fmt.Sprint(n)
		})},
		Migrations: fstest.MapFS{"0001_served.sql": {Data: []byte(`-- +goose Up
CREATE TABLE {served} (place BIGSERIAL PRIMARY KEY, at TEXT NOT NULL, n BIGINT NOT NULL);
CREATE TABLE {courses} (n BIGINT PRIMARY KEY, meals BIGINT NOT NULL);
`)}},
	}
	return []*backbone.Service{kitchen, waiters}
}

func older() []*backbone.Service {
	return restaurant(func(table string, n int) cookedV1 { return cookedV1{table, n} }, func(e cookedV1) (string, int) { return e.Table, e.N })
}

func newer() []*backbone.Service {
	return restaurant(func(table string, n int) cookedV2 { return cookedV2{table, n, "me"} }, func(e cookedV2) (string, int) { return e.Table, e.N })
}

// kitchen is a process of a restaurant, in one version of the program.
type kitchen struct {
	*backbone.Runtime
	t     *testing.T
	store *drivertest.FaultyStore
	bus   driver.Transport

	mu     sync.Mutex
	alarms []string
}

const briefly = time.Second // a lease

func open(t *testing.T, url string, s *server, parts []*backbone.Service, run ...string) *kitchen {
	t.Helper()
	k := &kitchen{t: t}
	store, err := pgstore.Open(t.Context(), pgstore.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	k.store = &drivertest.FaultyStore{Store: store}
	storeOf := func(string) driver.Store { return k.store }
	k.bus = logbus.New(logbus.Config{Store: storeOf, Lease: briefly, Poll: 50 * time.Millisecond})
	if s != nil {
		k.bus = broker.New(broker.Config{Client: &client{s}, Store: storeOf, Lease: briefly, Poll: 50 * time.Millisecond})
	}
	k.Runtime, err = backbone.New(backbone.Config{
		Parts: parts, Run: run, Store: storeOf, Transport: k.bus, Lease: briefly,
		Hooks: backbone.Hooks{Alarm: func(a backbone.Alarm) {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.alarms = append(k.alarms, a.Text)
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.end)
	return k
}

func (k *kitchen) end() {
	if k.store == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := errors.Join(k.Stop(ctx), k.bus.Close(), k.store.Close()); err != nil {
		k.t.Error(err)
	}
	k.store = nil
}

func (k *kitchen) cook(kind string, tables int) {
	k.t.Helper()
	for i := range tables {
		if _, err := k.Do(k.t.Context(), cook{fmt.Sprint(kind, i)}); err != nil {
			k.t.Fatal(err)
		}
	}
}

// served counts the meals of a kind of tables that were served, and checks that those of each table were served in order.
func (k *kitchen) served(kind string) (meals int) {
	k.t.Helper()
	rows, err := k.store.Query(k.t.Context(), "SELECT at, n FROM "+k.store.Name("waiters", "served")+" ORDER BY place")
	if err != nil {
		k.t.Fatal(err)
	}
	defer rows.Close()
	next := map[string]int{}
	for rows.Next() {
		var table string
		var n int
		if err := rows.Scan(&table, &n); err != nil {
			k.t.Fatal(err)
		}
		if n != next[table] {
			k.t.Fatalf("table %s was served course %d where %d is next", table, n, next[table])
		}
		if next[table]++; strings.HasPrefix(table, kind) {
			meals++
		}
	}
	return meals
}

// counted is what the view shows.
func (k *kitchen) counted() (meals int) {
	k.t.Helper()
	rows, err := k.store.Query(k.t.Context(), "SELECT coalesce(sum(meals), 0)::bigint FROM "+k.store.Name("waiters", "courses"))
	if err != nil {
		k.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(&meals); err != nil {
			k.t.Fatal(err)
		}
	}
	return meals
}

func (k *kitchen) await(what string, holds func() bool) {
	k.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(40 * time.Second); !holds(); {
		select {
		case <-tick.C:
		case <-late:
			k.t.Fatalf("%s: not within 40 s; %d, %d and %d meals are served, %d counted", what, k.served("a"), k.served("b"), k.served("c"), k.counted())
		}
	}
}

// F7: slices at which an older version of a program stands, since it does not read what comes next there, go to a process of the
// newer one beside it. While there is none nothing of them is skipped, parked or passed, and the others go on. Red where who
// stands still keeps what it has, and where it takes it again before the other.
func TestF7_NewerVersionsAreHandedOn(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]*server{"over the log": nil, "over a broker": newServer()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := testserver.Postgres(t).Database(t)
			before := open(t, url, s, older())
			before.cook("a", 30)
			before.await("the old version serves", func() bool { return before.served("a") == 30 && before.counted() == 30 })

			after := open(t, url, s, newer())
			after.cook("b", 60)
			after.await("meals of the newer version are served beside the older one", func() bool { return after.served("b") == 60 && after.counted() == 90 })
			before.cook("c", 30)
			after.await("and so are those of the older one", func() bool { return after.served("c") == 30 && after.counted() == 120 })
			after.end()

			cooks := open(t, url, s, newer(), "kitchen")
			cooks.cook("d", 1)
			before.await("somebody is told why a slice waits", func() bool {
				before.mu.Lock()
				defer before.mu.Unlock()
				return slices.ContainsFunc(before.alarms, func(a string) bool {
					return strings.HasPrefix(a, "waiters: slice") && strings.Contains(a, "test.kitchen.Cooked.v2")
				})
			})
			before.cook("e", 30)
			before.await("the other slices go on", func() bool { return before.served("e") >= 20 })
			if n := before.served("d"); n != 0 {
				t.Errorf("%d meals were served by who cannot read the order", n)
			}
			if rows, err := before.store.ParkedRows(t.Context(), "waiters", "waiters", "", 10); err != nil || len(rows) > 0 {
				t.Errorf("parked: %v %v", rows, err)
			}
			cooks.end()
			after = open(t, url, s, newer())
			after.await("in the end everything is served", func() bool {
				return after.served("d") == 1 && after.served("e") == 30 && after.counted() == 151
			})
		})
	}
}

// What somebody else has put into a topic is parked with what is wrong with it, and holds up nobody. Red where the cause is that its type is
// not handled.
func TestUnreadableIsParkedWithItsCause(t *testing.T) {
	t.Parallel()
	url, s := testserver.Postgres(t).Database(t), newServer()
	k := open(t, url, s, older())
	k.cook("a", 10)
	for partition := range 8 {
		foreign := broker.Outgoing{Topic: "souk.kitchen", Partition: partition, Key: "x", ID: "x", Type: cookedV1{}.EventType(), Body: []byte(fmt.Sprint("garbage ", partition))}
		if _, err := (&client{s}).Send(t.Context(), []broker.Outgoing{foreign}); err != nil {
			t.Fatal(err)
		}
	}
	k.cook("b", 10)
	k.await("all that can be read is served", func() bool { return k.served("a") == 10 && k.served("b") == 10 })
	var parked []backbone.ParkedMessage
	k.await("the rest is parked", func() bool {
		var err error
		if parked, err = k.Parked(t.Context(), "waiters", "", 100); err != nil {
			t.Fatal(err)
		}
		return len(parked) >= 8
	})
	for _, p := range parked {
		if p.State != backbone.ParkedDead || !strings.HasPrefix(p.Cause, "what came in topic souk.kitchen cannot be read") || !strings.Contains(p.Cause, "not a CloudEvent") {
			t.Errorf("%s: %s", p.State, p.Cause)
		}
	}
}

// A process that has lost a partition of a broker while it handled a parked message again changes nothing. Red without the guard of
// what is written beside the effect.
func TestStaleOwnerDoesNotRedriveOverABroker(t *testing.T) {
	t.Parallel()
	url, s := testserver.Postgres(t).Database(t), newServer()
	var healed atomic.Bool
	entered, gate := make(chan struct{}, 1), make(chan struct{})
	parts := func(gated bool) []*backbone.Service {
		list := older()
		list[1].HandlerTimeout = time.Minute
		list[1].Subscribes = []backbone.Subscriber{backbone.On(func(ctx context.Context, tx backbone.Tx, e cookedV1) error {
			switch {
			case !healed.Load():
				return backbone.Permanent(errors.New("no plates"))
			case gated:
				entered <- struct{}{}
				<-gate
			}
			return tx.Exec(ctx, `INSERT INTO {served} (at, n) VALUES ($1, $2)`, e.Table, e.N)
		})}
		return list
	}
	stale := open(t, url, s, parts(true))
	stale.cook("a", 1)
	parked := func(k *kitchen) bool {
		rows, err := k.store.ParkedRows(t.Context(), "waiters", "waiters", "table/a0", 10)
		return err == nil && len(rows) == 1
	}
	stale.await("it is parked", func() bool { return parked(stale) })
	healed.Store(true)
	if _, err := stale.store.PutRequest(t.Context(), "waiters", driver.Request{
		Subject: "parked", Action: "redrive", Subscription: "waiters", Key: "table/a0", Actor: "op", Why: "plates", Time: time.Now().UnixMicro(),
	}); err != nil {
		t.Fatal(err)
	}
	<-entered
	stales, err := stale.store.Checkpoints(t.Context(), "waiters", driver.Partitions("waiters"))
	if err != nil {
		t.Fatal(err)
	}
	stale.store.Isolate() // as a process that is paused for longer than its leases
	if err := stale.Pause(t.Context(), "waiters"); err != nil {
		t.Fatal(err)
	}
	owner := open(t, url, s, parts(false))
	owner.await("all partitions are taken over", func() bool {
		cps, err := owner.store.Checkpoints(t.Context(), "waiters", driver.Partitions("waiters"))
		taken := !slices.ContainsFunc(cps, func(c driver.Checkpoint) bool {
			return c.Owner == "" || slices.ContainsFunc(stales, func(s driver.Checkpoint) bool { return s.Owner == c.Owner })
		})
		return err == nil && taken && len(cps) > 0
	})
	close(gate)
	stale.end()
	if n := owner.served("a"); n != 0 || !parked(owner) {
		t.Errorf("the stale owner has served %d meals, or taken the parked row away", n)
	}
	if err := owner.Resume(t.Context(), "waiters"); err != nil {
		t.Fatal(err)
	}
	owner.cook("a", 1)
	owner.await("the owner handles what was parked, and what comes after it", func() bool { return owner.served("a") == 2 })
}
