package backbone_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/logbus"
	"example.org/souk/backbone/sqlitestore"
)

// counted is what a program appends to the log of the tills.
type counted struct {
	Till  string `json:"till"`
	Coins int64  `json:"coins"`
}

func (counted) EventType() string { return "test.tills.Counted.v1" }

// counting is the service of the tills beside which a program counts coins.
func counting() *backbone.Service {
	s := tills(nil)
	s.Publishes = []backbone.Event{counted{}}
	return s
}

// inspector takes what the program appends, and what the tills themselves do.
func inspector() *backbone.Service {
	enter := func(ctx context.Context, tx backbone.Tx, e counted) error {
		return tx.Exec(ctx, `INSERT INTO {seen} (position, till, coins) VALUES ($1, $2, $3)`, tx.Message().Position, e.Till, e.Coins)
	}
	return &backbone.Service{
		Name: "inspector",
		Subscribes: []backbone.Subscriber{
			backbone.On(enter).From(backbone.FromFirst),
			backbone.On(func(ctx context.Context, tx backbone.Tx, e taken) error {
				return tx.Exec(ctx, `INSERT INTO {seen} (position, till, coins) VALUES ($1, $2, $3)`, tx.Message().Position, e.Till, -e.Amount)
			}).From(backbone.FromFirst),
		},
		Views: []backbone.View{backbone.ViewOf("coins", backbone.FromFirst, func(ctx context.Context, tx backbone.ViewTx, e counted) error {
			return tx.Exec(ctx, `INSERT INTO {coins} AS c (till, total) VALUES ($1, $2)
				ON CONFLICT (till) DO UPDATE SET total = c.total + excluded.total`, e.Till, e.Coins)
		}).View},
		Migrations: migration(`CREATE TABLE {seen} (position BIGINT PRIMARY KEY, till TEXT NOT NULL, coins BIGINT NOT NULL);
			CREATE TABLE {coins} (till TEXT PRIMARY KEY, total BIGINT NOT NULL);`),
	}
}

// beside opens the database as a program does.
func beside(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate&_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// count appends within a transaction of database/sql, in several of which it
// thinks better of it.
func count(ctx context.Context, db *sql.DB, till string, coins int64, keep bool) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	_, err = sqlitestore.Append(ctx, tx, "tills", backbone.Outgoing{
		Stream: "drawer/" + till, Events: []backbone.Event{counted{till, coins}}, Time: time.Now(),
	})
	if err != nil || !keep {
		return err
	}
	return tx.Commit()
}

// A program appends while the runtime decides for the same log: subscriptions and
// views take both, each event once and in order, at positions without holes.
func TestAppendedEventsAreDelivered(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "test.db")
	w := run(t, path, counting(), inspector())
	db := beside(t, path)

	const each = 20
	var all sync.WaitGroup
	for _, till := range []string{"a", "b"} {
		all.Go(func() {
			for i := range 2 * each {
				if err := count(t.Context(), db, till, int64(i), i%2 == 0); err != nil {
					t.Error(err)
				}
			}
		})
		all.Go(func() {
			for i := range each {
				if _, err := w.Do(t.Context(), take{till, int64(i + 21)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	// Nothing is appended by the runtime any more, so the last is found by looking.
	if err := count(t.Context(), db, "a", 1000, true); err != nil {
		t.Fatal(err)
	}
	seen := func(till, which string) []int64 {
		return w.list("inspector", `SELECT coins FROM {seen} WHERE till = $1 AND coins `+which+` ORDER BY position`, till)
	}
	w.await("the last count", func() bool { return slices.Contains(seen("a", ">= 0"), 1000) })
	w.settle()
	var taken, counts []int64
	for i := range int64(each) {
		taken, counts = append(taken, -(i+21)), append(counts, 2*i)
	}
	for _, till := range []string{"a", "b"} {
		want := counts
		if till == "a" {
			want = append(slices.Clone(counts), 1000)
		}
		if got := seen(till, ">= 0"); !slices.Equal(got, want) {
			t.Errorf("till %s: counted %v, want %v", till, got, want)
		}
		if got := seen(till, "< 0"); !slices.Equal(got, taken) {
			t.Errorf("till %s: taken %v, want %v", till, got, taken)
		}
	}
	if got := w.list("inspector", `SELECT total FROM {coins} ORDER BY till`); !slices.Equal(got, []int64{each*(each-1) + 1000, each * (each - 1)}) {
		t.Errorf("the view counts %v", got)
	}
	log, err := w.Reader("tills").Log(t.Context(), backbone.ReadQuery{})
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range log {
		if m.Position != int64(i+1) {
			t.Fatalf("position %d follows %d", m.Position, i)
		}
	}
}

// The seals come by themselves and hold what a program appends, between the
// runtime's own events and where there are only seals before it.
func TestSealsHoldWhatAProgramAppends(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "test.db")
	w := run(t, path, counting(), inspector())
	db := beside(t, path)
	sealed := int64(0)
	await := func(n int64) {
		t.Helper()
		sealed += n
		w.await("the seals", func() bool {
			report, err := w.Reader("tills").Verify(t.Context(), backbone.Seal{})
			if err != nil {
				t.Fatal(err)
			}
			return report.Records == sealed
		})
	}
	for range 3 {
		w.take("a", 1)
		if err := count(t.Context(), db, "a", 1, true); err != nil {
			t.Fatal(err)
		}
		w.take("a", 1)
		await(3)
		if err := count(t.Context(), db, "a", 1, true); err != nil {
			t.Fatal(err)
		}
		await(1)
	}
}

// Where the service that a program appends to does not run, nothing of the runtime
// tells its subscriptions that there is something new: they look.
func TestAppendedEventsAreFoundByLooking(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "test.db")
	store, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	of := func(string) driver.Store { return store }
	w := &world{t: t, store: store, bus: logbus.New(logbus.Config{Store: of, Poll: 10 * time.Millisecond})}
	w.Runtime, err = backbone.New(backbone.Config{
		Parts: []*backbone.Service{counting(), inspector()}, Run: []string{"inspector"}, Store: of, Transport: w.bus,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.end)
	db := beside(t, path)
	for n := range int64(3) {
		if err := count(t.Context(), db, "a", n, true); err != nil {
			t.Fatal(err)
		}
		w.await("the count", func() bool { return len(w.list("inspector", `SELECT coins FROM {seen}`)) == int(n)+1 })
	}
}

// What is published by a program is owned, drawn and written into the contracts
// like every other event, and cannot take part in the service's own transactions.
func TestPublishes(t *testing.T) {
	t.Parallel()
	parts := []*backbone.Service{counting(), inspector()}
	if err := backbone.Check(parts); err != nil {
		t.Fatal(err)
	}
	const wire = "test.tills.Counted.v1"
	m := backbone.Describe(parts)
	if got := m.Services[0].Publishes; !slices.Equal(got, []string{wire}) {
		t.Errorf("the map says that it publishes %v", got)
	}
	if owner := m.Services[1].Subscribes[0].Owner; owner != "tills" {
		t.Errorf("the owner is %q", owner)
	}
	if text := m.Text(); !strings.Contains(text, wire) {
		t.Errorf("the event is not on the map:\n%s", text)
	}
	files, err := backbone.Contracts(parts, backbone.ContractInfo{Title: "tills", Version: "1"})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(files, func(f backbone.ContractFile) bool { return f.Path == "schemas/"+wire+".json" }) {
		t.Error("the contracts have no schema of the event")
	}

	whenever := backbone.Whenever(func(counted, backbone.Meta) []backbone.Effect { return nil })
	inline := backbone.ViewOf("coins", backbone.FromFirst, func(context.Context, backbone.ViewTx, counted) error { return nil }).View
	inline.Inline = true
	for name, wrong := range map[string]struct {
		change func(s *backbone.Service)
		says   string
	}{
		"an aggregate's event": {func(s *backbone.Service) { s.Publishes = []backbone.Event{taken{}} }, "belongs to tills"},
		"twice":                {func(s *backbone.Service) { s.Publishes = []backbone.Event{counted{}, counted{}} }, "belongs to tills"},
		"no version":           {func(s *backbone.Service) { s.Publishes = []backbone.Event{unversioned{}} }, "does not end in .vN"},
		"a policy":             {func(s *backbone.Service) { s.Reacts = []backbone.Subscriber{whenever} }, "Reacts takes " + wire},
		"an inline view":       {func(s *backbone.Service) { s.Views = []backbone.View{inline} }, "inline view coins takes " + wire},
	} {
		s := counting()
		wrong.change(s)
		if err := backbone.Check([]*backbone.Service{s}); err == nil || !strings.Contains(err.Error(), wrong.says) {
			t.Errorf("%s: got error %v, want one that says %q", name, err, wrong.says)
		}
	}
}

type unversioned struct{}

func (unversioned) EventType() string { return "test.tills.Unversioned" }

// The ids of one process rise and differ, however its streams and times go.
func TestOutgoingIDs(t *testing.T) {
	t.Parallel()
	ids := map[string]bool{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for n := range 4 {
		all.Go(func() {
			for i := range 500 {
				out := backbone.Outgoing{
					Stream: fmt.Sprintf("drawer/%d", n), Time: time.Unix(int64(1000-i%3), 0),
					Events: []backbone.Event{counted{}, counted{}},
				}
				records, err := out.Records(int64(2*i), int64(2*i))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for _, r := range records {
					ids[r.ID] = r.Kind == driver.KindEvent
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if len(ids) != 4*500*2 {
		t.Errorf("%d ids of %d events", len(ids), 4*500*2)
	}
}

func migration(tables string) fstest.MapFS {
	return fstest.MapFS{"0001_tables.sql": {Data: []byte("-- +goose Up\n" + tables + "\n")}}
}
