package backbone_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"example.org/souk/backbone"
)

// A cup is poured: by size in the first version, in millilitres in the second.
type (
	pouredV1 struct {
		Cup  string `json:"cup"`
		Size int64  `json:"size"`
	}
	pouredV2 struct {
		Cup         string `json:"cup"`
		Millilitres int64  `json:"millilitres"`
	}
	pour struct {
		Cup    string `json:"cup"`
		Amount int64  `json:"amount"` // sizes or millilitres, as the version has it
	}
)

func (pouredV1) EventType() string { return "test.cups.Poured.v1" }
func (pouredV2) EventType() string { return "test.cups.Poured.v2" }
func (pour) CommandType() string   { return "test.cups.Pour.v1" }
func (c pour) Stream() string      { return c.Cup }

// Upcast implements backbone.Upcaster.
func (pouredV2) Upcast(version int, raw []byte) ([]byte, error) {
	var old pouredV1
	if err := json.Unmarshal(raw, &old); err != nil || version != 1 {
		return nil, fmt.Errorf("version %d: %w", version, err)
	}
	return json.Marshal(pouredV2{old.Cup, 100 * old.Size})
}

// bar is who pours cups, in one version of its events.
func bar[E backbone.Event](make func(pour) E, amount func(E) int64) (*backbone.Aggregate[int64], *backbone.Service) {
	var zero E
	cup := &backbone.Aggregate[int64]{
		Name: "cup", Public: []backbone.Event{zero},
		Evolve: func(s int64, e backbone.Event) int64 { return s + amount(e.(E)) },
	}
	return cup, &backbone.Service{Name: "cups", Handles: []backbone.Handler{
		backbone.Decide(cup, func(_ int64, c pour, _ backbone.Meta) ([]backbone.Event, error) {
			return []backbone.Event{make(c)}, nil
		}),
	}}
}

// guest drinks what is poured: a handler notes each cup, a view counts by amount.
func guest[E backbone.Event](name string, cup func(E) string, amount func(E) int64) *backbone.Service {
	return &backbone.Service{
		Name: name,
		Subscribes: []backbone.Subscriber{backbone.On(func(ctx context.Context, tx backbone.Tx, e E) error {
			return tx.Exec(ctx, `INSERT INTO {drunk} (entry, cup, amount) VALUES ($1, $2, $3)`, tx.Message().Position, cup(e), amount(e))
		}).From(backbone.FromFirst)},
		Views: []backbone.View{backbone.ViewOf("amounts", backbone.FromFirst, func(ctx context.Context, tx backbone.ViewTx, e E) error {
			return tx.Exec(ctx, `INSERT INTO {amounts} AS a (amount, cups) VALUES ($1, 1) ON CONFLICT (amount) DO UPDATE SET cups = a.cups + 1`, amount(e))
		}).KeyedBy(func(e E) string { return fmt.Sprint(amount(e)) })},
		Migrations: fstest.MapFS{"0001_drunk.sql": {Data: []byte(`-- +goose Up
CREATE TABLE {drunk} (entry BIGINT NOT NULL PRIMARY KEY, cup TEXT NOT NULL, amount BIGINT NOT NULL);
CREATE TABLE {amounts} (amount BIGINT NOT NULL PRIMARY KEY, cups BIGINT NOT NULL);
-- +goose Down
DROP TABLE {drunk};
DROP TABLE {amounts};
`)}},
	}
}

func inSizes(name string) *backbone.Service {
	return guest(name, func(e pouredV1) string { return e.Cup }, func(e pouredV1) int64 { return e.Size })
}

func inMillilitres(name string) *backbone.Service {
	return guest(name, func(e pouredV2) string { return e.Cup }, func(e pouredV2) int64 { return e.Millilitres })
}

func oldBar() *backbone.Service {
	_, s := bar(func(c pour) pouredV1 { return pouredV1{c.Cup, c.Amount} }, func(e pouredV1) int64 { return e.Size })
	return s
}

func newBar() (*backbone.Aggregate[int64], *backbone.Service) {
	return bar(func(c pour) pouredV2 { return pouredV2{c.Cup, c.Amount} }, func(e pouredV2) int64 { return e.Millilitres })
}

func (w *world) pour(cup string, amount int64) {
	w.t.Helper()
	if _, err := w.Do(w.t.Context(), pour{cup, amount}); err != nil {
		w.t.Fatal(err)
	}
}

// F7: what was written in an old version is read by new code: by the aggregate, by a handler that had it already and by
// one that is new, by a view and by its rebuild. Red when subscriptions ask for one version only.
func TestF7_OldVersionsAreRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "test.db")
	w := run(t, path, oldBar(), inSizes("guests"))
	w.pour("A", 2)
	w.pour("B", 3)
	w.settle()
	w.end()

	cups, service := newBar()
	w = run(t, path, service, inMillilitres("guests"), inMillilitres("latecomers"))
	w.pour("A", 250)
	w.settle()
	if sum, _, err := backbone.Load(t.Context(), w.Reader("cups"), cups, "A"); err != nil || sum != 450 {
		t.Errorf("cup A holds %d, want 200 and 250 (%v)", sum, err)
	}
	if got := w.list("guests", `SELECT amount FROM {drunk} ORDER BY entry`); !slices.Equal(got, []int64{2, 3, 250}) {
		t.Errorf("the guests drank %v", got)
	}
	if got := w.list("latecomers", `SELECT amount FROM {drunk} ORDER BY entry`); !slices.Equal(got, []int64{200, 300, 250}) {
		t.Errorf("the latecomers drank %v", got)
	}
	amounts := func() []int64 { return w.list("latecomers", `SELECT amount FROM {amounts} ORDER BY amount`) }
	if got := amounts(); !slices.Equal(got, []int64{200, 250, 300}) {
		t.Errorf("the view holds %v", got)
	}
	if err := w.Rebuild(t.Context(), "latecomers", "amounts", nil); err != nil {
		t.Fatal(err)
	}
	if got := amounts(); !slices.Equal(got, []int64{200, 250, 300}) {
		t.Errorf("rebuilt, the view holds %v", got)
	}
}

// F7: a program that meets a newer version than it knows does not skip it, does not park it and does not handle what
// comes after it in its slice; everything else goes on. A program that knows it goes on where that one stood.
func TestF7_NewerVersionsWait(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "test.db")
	w := run(t, path, oldBar(), inSizes("guests"))
	w.pour("A", 1)
	w.settle()
	w.end()

	_, service := newBar()
	w = run(t, path, service) // a newer program pours while the guests' is away
	w.pour("A", 250)
	w.end()

	var mu sync.Mutex
	var alarms []string
	w = runWith(t, path, func(c *backbone.Config) {
		c.Hooks.Alarm = func(a backbone.Alarm) {
			mu.Lock()
			defer mu.Unlock()
			alarms = append(alarms, a.Text)
		}
	}, oldBar(), inSizes("guests"))
	w.pour("B", 3)
	drunk := func() []int64 { return w.list("guests", `SELECT amount FROM {drunk} ORDER BY entry`) }
	w.await("another cup is drunk", func() bool { return slices.Equal(drunk(), []int64{1, 3}) })
	w.await("both subscriptions say why they wait", func() bool {
		mu.Lock()
		defer mu.Unlock()
		named := func(sub string) bool {
			return slices.ContainsFunc(alarms, func(a string) bool {
				return strings.HasPrefix(a, sub+":") && strings.Contains(a, "test.cups.Poured.v2")
			})
		}
		return named("guests") && named("view-amounts")
	})
	if got := w.list("guests", `SELECT amount FROM {amounts}`); !slices.Equal(got, []int64{1}) {
		t.Errorf("the view holds %v, though it cannot tell where the second cup belongs", got)
	}
	if rows, err := w.store.ParkedRows(t.Context(), "guests", "guests", "", 10); err != nil || len(rows) > 0 {
		t.Errorf("parked: %v %v", rows, err)
	}
	w.end()

	_, service = newBar()
	w = run(t, path, service, inMillilitres("guests"))
	w.settle()
	if got := drunk(); !slices.Equal(got, []int64{1, 250, 3}) {
		t.Errorf("in the end the guests drank %v", got)
	}
	if got := w.list("guests", `SELECT amount FROM {amounts} ORDER BY amount`); !slices.Equal(got, []int64{1, 250, 300}) {
		t.Errorf("in the end the view holds %v", got)
	}
}

// A table is seated, and a meal takes its course: a saga that asks the kitchen.
type (
	seat   struct{ Table string }
	seated struct{ Table string }
	fry    struct{ Table string }
	fried  struct{ Table string }
)

func (seat) CommandType() string { return "test.tables.Seat.v1" }
func (seated) EventType() string { return "test.tables.Seated.v1" }
func (fry) CommandType() string  { return "test.kitchen.Fry.v1" }
func (fried) EventType() string  { return "test.kitchen.Fried.v1" }
func (c seat) Stream() string    { return c.Table }
func (c fry) Stream() string     { return c.Table }

// tables have meals that run on versions, new ones on the last.
func tables(versions ...int) *backbone.Service {
	table := &backbone.Aggregate[int]{Name: "table", Public: []backbone.Event{seated{}}, Evolve: tally}
	var meals []backbone.SagaDefinition
	for _, version := range versions {
		meals = append(meals, &backbone.Saga[seated]{
			Name: "meal", Version: version,
			Starts: backbone.StartsOn(func(e seated, _ backbone.Meta) (string, seated) { return e.Table, e }),
			Steps: []backbone.Step[seated]{{
				Name: "fry", Do: func(e seated) backbone.Command { return fry(e) }, Pivot: true, Timeout: 200 * time.Millisecond, OnTimeout: backbone.Wait,
			}},
			Rejected: func(e seated, _ string, _ backbone.Refusal) backbone.Command { return fry(e) },
		})
	}
	return &backbone.Service{
		Name: "tables",
		Handles: []backbone.Handler{backbone.Decide(table, func(_ int, c seat, _ backbone.Meta) ([]backbone.Event, error) {
			return []backbone.Event{seated(c)}, nil
		})},
		Sagas: meals,
		Retry: backbone.RetryPolicy{Attempts: 2, First: time.Millisecond, Max: 50 * time.Millisecond},
	}
}

// kitchen cooks for the tables that are served.
func kitchen(serves func(table string) bool) *backbone.Service {
	pan := &backbone.Aggregate[int]{Name: "pan", Public: []backbone.Event{fried{}}, Evolve: tally}
	return &backbone.Service{
		Name: "kitchen",
		Handles: []backbone.Handler{backbone.Decide(pan, func(n int, c fry, _ backbone.Meta) ([]backbone.Event, error) {
			if !serves(c.Table) {
				return nil, errors.New("the stove is cold")
			}
			return []backbone.Event{fried(c)}, nil
		})},
		Retry: backbone.RetryPolicy{Attempts: 1000, First: 50 * time.Millisecond, Max: 50 * time.Millisecond},
	}
}

// F7: sagas of a newer version wait for a program that knows it, and need no operator then. What moves them does not hold up others,
// however many there are, and neither do their deadlines. Red when it counts as failing, when it is given up, and when what is due of
// them fills the look at what is due.
func TestF7_NewerSagasWait(t *testing.T) {
	t.Parallel()
	const newer = 300 // more than are looked at at once
	path := filepath.Join(t.TempDir(), "test.db")
	none, all := func(string) bool { return false }, func(string) bool { return true }
	meals := func(w *world, state string) int {
		t.Helper()
		rows, err := w.store.SagaRows(t.Context(), "tables", "meal", "", state, 1000)
		if err != nil {
			t.Fatal(err)
		}
		return len(rows)
	}
	do := func(w *world, table string) {
		t.Helper()
		if _, err := w.Do(t.Context(), seat{table}); err != nil {
			t.Fatal(err)
		}
	}
	quiet := func(c *backbone.Config) { c.Hooks.Alarm = func(backbone.Alarm) {} } // each meal that waits raises one
	w := runWith(t, path, quiet, tables(2), kitchen(none))
	for n := range newer {
		do(w, fmt.Sprintf("new-%03d", n))
	}
	w.await("meals are ordered", func() bool { return meals(w, "") == newer })
	w.end()

	late := make(chan struct{}, 1)
	old := runWith(t, path, func(c *backbone.Config) {
		c.Hooks.Alarm = func(a backbone.Alarm) {
			if strings.Contains(a.Text, "meal/late waits") {
				select {
				case late <- struct{}{}:
				default:
				}
			}
		}
	}, tables(1), kitchen(func(table string) bool { return table != "late" }))
	waiting := func() (n int) {
		rows, err := old.store.ParkedRows(t.Context(), "tables", "tables", "", 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			if row.State == "dead" {
				t.Fatalf("%s is given up: %s", row.Key, row.Cause)
			}
			if row.Attempts > 2 {
				n++
			}
		}
		return n
	}
	old.await("what moves the newer ones waits, and is tried again", func() bool { return waiting() == newer })
	for n := range 20 {
		do(old, fmt.Sprintf("old-%03d", n))
	}
	old.await("meals of this version end", func() bool { return meals(old, "completed") == 20 })
	do(old, "late")
	select {
	case <-late:
	case <-time.After(time.Minute):
		t.Error("the deadline of a saga of this version did not come: those of the newer ones were before it")
	}
	waiting()
	old.end()

	w = runWith(t, path, quiet, tables(1, 2), kitchen(all))
	w.await("all meals end", func() bool { return meals(w, "completed") == newer+20+1 })
}
