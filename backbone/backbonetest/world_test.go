package backbonetest_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"go.uber.org/goleak"

	"example.org/souk/backbone"
	"example.org/souk/backbone/backbonetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A post takes parcels. Each is collected after an hour unless it is called off, and
// then announced to its receiver by a call to the outside. A book in another service
// counts what was collected.
type (
	handIn    struct{ Parcel string }
	collect   struct{ Parcel string }
	callOff   struct{ Parcel string }
	note      struct{ Parcel, How string }
	handedIn  struct{ Parcel string }
	collected struct{ Parcel string }
	calledOff struct{ Parcel string }
	announced struct{ Parcel, How string }
)

func (handIn) CommandType() string  { return "test.post.HandIn.v1" }
func (collect) CommandType() string { return "test.post.Collect.v1" }
func (callOff) CommandType() string { return "test.post.CallOff.v1" }
func (note) CommandType() string    { return "test.post.Note.v1" }
func (c handIn) Stream() string     { return c.Parcel }
func (c collect) Stream() string    { return c.Parcel }
func (c callOff) Stream() string    { return c.Parcel }
func (c note) Stream() string       { return c.Parcel }
func (handedIn) EventType() string  { return "test.post.HandedIn.v1" }
func (collected) EventType() string { return "test.post.Collected.v1" }
func (calledOff) EventType() string { return "test.post.CalledOff.v1" }
func (announced) EventType() string { return "test.post.Announced.v1" }

var parcel = &backbone.Aggregate[string]{
	Name: "parcel", Public: []backbone.Event{handedIn{}, collected{}, calledOff{}, announced{}},
	Evolve: func(_ string, e backbone.Event) string { return e.EventType() },
}

// herald announces; it fails with what err returns.
type herald struct {
	err func(backbone.CallRequest) error
}

func (h herald) Call(_ context.Context, c backbone.CallRequest, parcel string) (any, error) {
	return parcel, h.err(c)
}

func post(h herald) *backbone.Service {
	return &backbone.Service{
		Name: "post",
		Handles: []backbone.Handler{
			backbone.Decide(parcel, func(s string, c handIn, _ backbone.Meta) ([]backbone.Event, error) {
				if s != "" {
					return nil, backbone.Refuse("known", "%s was handed in before", c.Parcel)
				}
				return []backbone.Event{handedIn(c)}, nil
			}),
			backbone.Decide(parcel, func(_ string, c collect, _ backbone.Meta) ([]backbone.Event, error) {
				return []backbone.Event{collected(c)}, nil
			}),
			backbone.Decide(parcel, func(_ string, c callOff, _ backbone.Meta) ([]backbone.Event, error) {
				return []backbone.Event{calledOff(c)}, nil
			}),
			backbone.Decide(parcel, func(_ string, c note, _ backbone.Meta) ([]backbone.Event, error) {
				return []backbone.Event{announced(c)}, nil
			}),
		},
		Reacts: []backbone.Subscriber{
			backbone.Whenever(func(e handedIn, m backbone.Meta) []backbone.Effect {
				return []backbone.Effect{backbone.SetTimer(e.Parcel, m.Time.Add(time.Hour), collect(e))}
			}),
			backbone.Whenever(func(e calledOff, _ backbone.Meta) []backbone.Effect {
				return []backbone.Effect{backbone.CancelTimer(e.Parcel)}
			}),
			backbone.Whenever(func(e collected, m backbone.Meta) []backbone.Effect {
				return []backbone.Effect{backbone.MakeCall("herald", "tell-"+e.Parcel, e.Parcel, e.Parcel, m.Time.Add(time.Hour))}
			}),
		},
		Calls: []backbone.CallType{backbone.CallTo("herald", backbone.Caller[string](h), func(parcel string, o backbone.CallOutcome) backbone.Command {
			if o.Failed {
				return note{parcel, "never"}
			}
			return note{parcel, "told"}
		})},
	}
}

func told(backbone.CallRequest) error { return nil }

// counts has a handler that fails as often as its table of failures says.
func counts(fail func(string) error) *backbone.Service {
	return &backbone.Service{
		Name: "counts",
		Subscribes: []backbone.Subscriber{backbone.On(func(ctx context.Context, tx backbone.Tx, e collected) error {
			if err := fail(e.Parcel); err != nil {
				return err
			}
			return tx.Exec(ctx, `INSERT INTO {seen} (parcel) VALUES ($1)`, e.Parcel)
		})},
		Views: []backbone.View{backbone.ViewOf("known", backbone.FromFirst, func(ctx context.Context, tx backbone.ViewTx, e handedIn) error {
			return tx.Exec(ctx, `INSERT INTO {known} (parcel) VALUES ($1)`, e.Parcel)
		}).View},
		Migrations: fstest.MapFS{"0001_counts.sql": {Data: []byte(`-- +goose Up
CREATE TABLE {seen} (parcel TEXT PRIMARY KEY);
CREATE TABLE {known} (parcel TEXT PRIMARY KEY);
-- +goose Down
DROP TABLE {seen};
DROP TABLE {known};
`)}},
	}
}

func never(string) error { return nil }

func count(t *testing.T, w *backbonetest.World, table string) (n int) {
	t.Helper()
	rows, err := w.Reader("counts").Query(t.Context(), `SELECT COUNT(*) FROM {`+table+`}`)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := rows.Scan(&n); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

func says(t *testing.T, w *backbonetest.World, want ...backbone.Event) {
	t.Helper()
	if got := fmt.Sprintf("%T", w.Events(t, "post")); got != fmt.Sprintf("%T", want) {
		t.Errorf("events are of type %s", got)
	}
	if got := fmt.Sprintf("%#v", w.Events(t, "post")); got != fmt.Sprintf("%#v", want) {
		t.Errorf("events\n%s\nwant\n%#v", got, want)
	}
}

// each runs a test in a world that delivers as it comes, and in one that holds.
func each(t *testing.T, test func(t *testing.T, hold bool)) {
	t.Parallel()
	for name, hold := range map[string]bool{"flowing": false, "held": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, hold)
		})
	}
}

func TestWorldGoesByItsClock(t *testing.T) {
	each(t, func(t *testing.T, hold bool) {
		w := backbonetest.Start(t, backbonetest.Config{Parts: []*backbone.Service{post(herald{told}), counts(never)}, Hold: hold})
		w.Do(t, handIn{"A"})
		w.Do(t, handIn{"B"})
		w.Refused(t, "known", handIn{"A"})
		w.Do(t, callOff{"B"})
		w.Clock.Advance(time.Hour - time.Microsecond)
		w.Settle(t)
		says(t, w, handedIn{"A"}, handedIn{"B"}, calledOff{"B"})
		w.Clock.Advance(time.Microsecond)
		w.Settle(t)
		says(t, w, handedIn{"A"}, handedIn{"B"}, calledOff{"B"}, collected{"A"}, announced{"A", "told"})
		if seen, known := count(t, w, "seen"), count(t, w, "known"); seen != 1 || known != 2 {
			t.Errorf("%d seen, %d known", seen, known)
		}
		log, err := w.Reader("post").Log(t.Context(), backbone.ReadQuery{Kinds: backbone.EventKinds()})
		if err != nil || !log[0].Time.Equal(backbonetest.Epoch) || !log[3].Time.Equal(backbonetest.Epoch.Add(time.Hour)) {
			t.Errorf("%v: %v and %v", err, log[0].Time, log[3].Time)
		}
	})
}

// A handler that fails is tried again when the clock says so, and never before.
func TestRetriesGoByTheClock(t *testing.T) {
	each(t, func(t *testing.T, hold bool) {
		var mu sync.Mutex
		tries := 0
		w := backbonetest.Start(t, backbonetest.Config{Hold: hold, Parts: []*backbone.Service{post(herald{told}), counts(func(string) error {
			mu.Lock()
			defer mu.Unlock()
			if tries++; tries < 4 {
				return errors.New("not today")
			}
			return nil
		})}})
		tried := func() int { mu.Lock(); defer mu.Unlock(); return tries }
		w.Do(t, handIn{"A"})
		w.Pass(t, time.Hour)
		if n := tried(); n != 1 || len(w.Parked(t, "counts")) != 1 {
			t.Fatalf("tried %d times, parked %+v", n, w.Parked(t, "counts"))
		}
		w.Clock.Advance(time.Second)
		w.Settle(t)
		if n := tried(); n != 2 {
			t.Fatalf("tried %d times after a second", n)
		}
		w.Pass(t, time.Minute)
		if n := tried(); n != 4 || len(w.Parked(t, "counts")) != 0 || count(t, w, "seen") != 1 {
			t.Errorf("tried %d times, parked %+v", n, w.Parked(t, "counts"))
		}
	})
}

// A call that fails is made again by the clock, with the same key, until its deadline.
func TestCallsGoByTheClock(t *testing.T) {
	each(t, func(t *testing.T, hold bool) {
		var mu sync.Mutex
		var at []time.Duration
		var w *backbonetest.World
		deaf := herald{func(c backbone.CallRequest) error {
			mu.Lock()
			defer mu.Unlock()
			if at = append(at, c.Meta.Time.Sub(backbonetest.Epoch)); c.Key != "tell-A" {
				t.Errorf("key %s", c.Key)
			}
			return errors.New("nobody opens")
		}}
		w = backbonetest.Start(t, backbonetest.Config{Parts: []*backbone.Service{post(deaf)}, Hold: hold})
		w.Do(t, handIn{"A"})
		w.Pass(t, time.Hour+7*time.Second)
		if got, want := fmt.Sprint(at), "[1h0m0s 1h0m1s 1h0m3s 1h0m7s]"; got != want {
			t.Errorf("called at %s, want %s", got, want)
		}
		w.Pass(t, time.Hour+5*time.Minute) // the first attempt after the deadline is the last
		says(t, w, handedIn{"A"}, collected{"A"}, announced{"A", "never"})
	})
}

func TestRestartGoesOn(t *testing.T) {
	each(t, func(t *testing.T, hold bool) {
		w := backbonetest.Start(t, backbonetest.Config{Parts: []*backbone.Service{post(herald{told})}, Hold: hold})
		w.Do(t, handIn{"A"}, backbone.WithID("c1"))
		w.Restart(t)
		if a := w.Do(t, handIn{"A"}, backbone.WithID("c1")); !a.Repeated {
			t.Error("a command was answered twice")
		}
		w.Clock.Advance(time.Hour)
		w.Restart(t, post(herald{told}), counts(never)) // a newer program: the view reads from the first event
		w.Settle(t)
		says(t, w, handedIn{"A"}, collected{"A"}, announced{"A", "told"})
		if n := count(t, w, "known"); n != 1 {
			t.Errorf("%d known", n)
		}
	})
}

// What a call led to is lost in a crash, and the call is made again, as a second
// attempt of the same key. What was not committed is not there.
func TestCrashLosesWhatWasNotCommitted(t *testing.T) {
	each(t, func(t *testing.T, hold bool) {
		called, goOn := make(chan backbone.CallRequest, 10), make(chan struct{}, 1)
		slow := herald{func(c backbone.CallRequest) error {
			called <- c
			<-goOn
			return nil
		}}
		w := backbonetest.Start(t, backbonetest.Config{Parts: []*backbone.Service{post(slow)}, Hold: hold})
		w.Do(t, collect{"A"})
		first := next(t, called)
		crashed := make(chan struct{})
		go func() {
			defer close(crashed)
			w.Crash(t)
		}()
		for !w.Crashing() { // from here on nothing is committed
			<-time.After(time.Millisecond)
		}
		goOn <- struct{}{}
		<-crashed
		says(t, w, collected{"A"})
		second := next(t, called) // at once: its process is known to be gone
		goOn <- struct{}{}
		w.Settle(t)
		if first.Attempt != 1 || second.Attempt != 2 || second.Key != first.Key {
			t.Errorf("%+v and %+v", first, second)
		}
		says(t, w, collected{"A"}, announced{"A", "told"})
	})
}

func next(t *testing.T, calls <-chan backbone.CallRequest) backbone.CallRequest {
	t.Helper()
	select {
	case c := <-calls:
		return c
	case <-time.After(10 * time.Second):
		t.Fatal("no call is made")
		return backbone.CallRequest{}
	}
}

func TestSettleNamesWhatIsInFlight(t *testing.T) {
	t.Parallel()
	goOn := make(chan struct{})
	w := backbonetest.Start(t, backbonetest.Config{
		Parts:    []*backbone.Service{post(herald{func(backbone.CallRequest) error { <-goOn; return nil }})},
		Patience: 50 * time.Millisecond,
	})
	defer close(goOn)
	w.Do(t, collect{"A"})
	for { // what it says is of one moment, and at another a writer may be at work
		said := complaint(t, func(t testing.TB) { w.Settle(t) })
		if strings.Contains(said, "call herald tell-A of service post is due") {
			break
		}
		if !strings.Contains(said, "a writer is at work") {
			t.Fatalf("the kit says %q", said)
		}
	}
}

// A world that waits for a paused service says at once which one that is: also where a message is let go by hand, and where it is something that the
// service would do by itself. Red when it waits until its patience is over, which is far longer than this takes.
func TestSettleNamesWhatIsPaused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		hold   bool
		paused string
		before func(*testing.T, *backbonetest.World)
		then   func(*testing.T, *backbonetest.World)
	}{
		"a message":        {false, "counts", nil, func(t *testing.T, w *backbonetest.World) { w.Do(t, collect{"A"}) }},
		"a message let go": {true, "counts", nil, func(t *testing.T, w *backbonetest.World) { w.Do(t, collect{"A"}) }},
		"what it does itself": {
			false, "post", func(t *testing.T, w *backbonetest.World) { w.Do(t, handIn{"A"}) },
			func(_ *testing.T, w *backbonetest.World) { w.Clock.Advance(time.Hour) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := backbonetest.Start(t, backbonetest.Config{
				Parts: []*backbone.Service{post(herald{told}), counts(never)}, Hold: c.hold, Patience: 10 * time.Minute,
			})
			if c.before != nil {
				c.before(t, w)
				w.Settle(t)
			}
			if err := w.Runtime().Pause(t.Context(), c.paused); err != nil {
				t.Fatal(err)
			}
			c.then(t, w)
			if said := complaint(t, func(t testing.TB) { w.Settle(t) }); !strings.Contains(said, "service "+c.paused+" is paused") {
				t.Errorf("it says %q", said)
			}
			if err := w.Runtime().Resume(t.Context(), c.paused); err != nil {
				t.Fatal(err)
			}
			if !c.hold {
				w.Settle(t)
			}
		})
	}
}

// Each thing that a world promises to notice makes a test fail.
func TestWorldNotices(t *testing.T) {
	t.Parallel()
	w := backbonetest.Start(t, backbonetest.Config{Parts: []*backbone.Service{post(herald{told})}})
	w.Do(t, handIn{"A"})
	for name, c := range map[string]struct {
		want string
		test func(testing.TB)
	}{
		"a refusal":       {"handed in before", func(t testing.TB) { w.Do(t, handIn{"A"}) }},
		"no refusal":      {"want the refusal", func(t testing.TB) { w.Refused(t, "known", handIn{"B"}) }},
		"another refusal": {"want \"other\"", func(t testing.TB) { w.Refused(t, "other", handIn{"A"}) }},
		"an error":        {"no service handles", func(t testing.TB) { w.Do(t, fill{"A", "mint", 1}) }},
		"no such service": {"no part", func(t testing.TB) { w.Events(t, "pots") }},
		"a bad parts list": {"handled by", func(t testing.TB) {
			backbonetest.Start(t, backbonetest.Config{Parts: []*backbone.Service{post(herald{told}), {Name: "other", Handles: post(herald{told}).Handles}}})
		}},
		"a world that does not hold": {"Config.Hold", func(t testing.TB) { w.Interleave(t, rand.IntN) }},
	} {
		if said := complaint(t, c.test); !strings.Contains(said, c.want) {
			t.Errorf("%s: the kit says %q, want %q", name, said, c.want)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("the clock was turned back")
		}
	}()
	w.Clock.Advance(-time.Second)
}

func TestOutside(t *testing.T) {
	t.Parallel()
	o, end := backbonetest.Outside()
	w := backbonetest.Start(o, backbonetest.Config{Parts: []*backbone.Service{post(herald{told})}})
	w.Do(o, handIn{"A"})
	w.Pass(o, time.Hour)
	says(t, w, handedIn{"A"}, collected{"A"}, announced{"A", "told"})
	end()
	defer func() {
		if recover() == nil {
			t.Error("a failure outside a test goes unheard")
		}
	}()
	o.Fatalf("it fails")
}

// Weeks later the world still knows which command was given, also after it has looked for what is to be removed. Red where that is gone which is old
// by the world's clock.
func TestNothingIsForgotten(t *testing.T) {
	t.Parallel()
	w := backbonetest.Start(t, backbonetest.Config{Parts: []*backbone.Service{post(herald{told})}})
	w.Do(t, handIn{"p"}, backbone.WithID("once"))
	w.Pass(t, 30*24*time.Hour)
	if err := w.Runtime().Prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a := w.Do(t, handIn{"p"}, backbone.WithID("once")); !a.Repeated {
		t.Errorf("the same command is answered %+v", a)
	}
}
