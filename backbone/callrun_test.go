package backbone_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/backbonetest"
	"example.org/souk/backbone/driver"
)

// ledger is an outside that does what it is told and loses its first answers. It can
// be asked.
type ledger struct {
	mu   sync.Mutex
	done map[string]bool
	said []string
}

func (l *ledger) Call(_ context.Context, c backbone.CallRequest, _ string) (any, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.said = append(l.said, fmt.Sprintf("call %d", c.Attempt))
	if c.Attempt == 1 {
		return nil, errors.New("no connection")
	}
	if l.done[c.Key] {
		return nil, backbone.Permanent(errors.New("done twice"))
	}
	l.done[c.Key] = true
	return nil, errors.New("the answer is lost")
}

func (l *ledger) Ask(_ context.Context, c backbone.CallRequest, _ string) (any, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.said = append(l.said, fmt.Sprintf("ask %d", c.Attempt))
	return nil, l.done[c.Key], nil
}

// Attempts are counted from 1, and from the second on the outside is asked first.
func TestAskedBeforeEverySecondAttempt(t *testing.T) {
	t.Parallel()
	outside := &ledger{done: map[string]bool{}}
	service := tills(nil)
	service.Reacts = []backbone.Subscriber{backbone.Whenever(func(e taken, m backbone.Meta) []backbone.Effect {
		return []backbone.Effect{backbone.MakeCall("ledger", "key-"+e.Till, e.Till, e.Till, m.Time.Add(time.Hour))}
	})}
	service.Calls = []backbone.CallType{backbone.CallTo("ledger", backbone.Caller[string](outside), func(till string, o backbone.CallOutcome) backbone.Command {
		if o.Failed {
			return take{till, -1}
		}
		return ring{till}
	})}
	w := backbonetest.Start(t, backbonetest.Config{Parts: []*backbone.Service{service}})
	w.Do(t, take{"a", 5})
	w.Pass(t, time.Minute)
	if want := []string{"call 1", "ask 2", "call 2", "ask 3"}; !slices.Equal(outside.said, want) {
		t.Errorf("the outside heard %q, want %q", outside.said, want)
	}
	if events := w.Events(t, "tills"); len(events) != 2 || events[1] != backbone.Event(rung{"a"}) {
		t.Errorf("events %+v", events)
	}
}

// clerk is an outside that notes what it is asked, keeps one call waiting until it is let go, and fails as the test says.
type clerk struct {
	mu    sync.Mutex
	heard []string
	fails error
	holds string        // key of the call that waits
	let   chan struct{} // closed: it waits no more
}

func (c *clerk) Call(_ context.Context, r backbone.CallRequest, _ taken) (any, error) {
	c.mu.Lock()
	c.heard = append(c.heard, r.Key)
	c.mu.Unlock()
	if r.Key == c.holds {
		<-c.let
	}
	return nil, c.fails
}

func (c *clerk) calls() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.heard)
}

// reported is the till into which the outcomes of a clerk's calls are entered.
const reported = "reported"

// clerked is a service of tills that calls for each amount, and knows all outcomes of a till when its bell rings.
func clerked(outside *clerk) *backbone.Service {
	service := tills(nil)
	ask := func(key string, e taken, m backbone.Meta) backbone.Effect {
		return backbone.MakeCall("clerk", key, e.Till, e, m.Time.Add(time.Hour))
	}
	service.Reacts = []backbone.Subscriber{
		backbone.Whenever(func(e taken, m backbone.Meta) []backbone.Effect {
			switch key := fmt.Sprint(e.Till, e.Amount); {
			case e.Till == reported:
				return nil
			case e.Amount == 99:
				return []backbone.Effect{ask(key, e, m), backbone.DropCalls("clerk", e.Till)}
			default:
				return []backbone.Effect{ask(key, e, m)}
			}
		}),
		backbone.Whenever(func(e rung, m backbone.Meta) []backbone.Effect {
			return []backbone.Effect{backbone.DropCalls("clerk", e.Till), ask(e.Till+"-rung", taken{e.Till, 0}, m)}
		}),
	}
	service.Calls = []backbone.CallType{backbone.CallTo("clerk", backbone.Caller[taken](outside), func(e taken, _ backbone.CallOutcome) backbone.Command {
		return take{reported, e.Amount}
	})}
	return service
}

// Calls that wait to be made again, or behind those, are not made once they are dropped; the next one of their stream is
// made at once, and other streams notice nothing. Red when a drop leaves what waits.
func TestDropCalls(t *testing.T) {
	t.Parallel()
	outside := &clerk{fails: errors.New("no connection")}
	w := backbonetest.Start(t, backbonetest.Config{Parts: []*backbone.Service{clerked(outside)}})
	steps := []struct {
		command backbone.Command
		heard   []string
	}{
		{take{"a", 1}, []string{"a1"}},
		{take{"a", 2}, nil},
		{take{"b", 1}, []string{"b1"}},
		{ring{"a"}, []string{"a-rung"}},
		{take{"a", 99}, nil},
		{take{"a", 3}, []string{"a3"}},
	}
	var want []string
	for _, s := range steps {
		w.Do(t, s.command)
		w.Settle(t)
		want = append(want, s.heard...)
		if got := outside.calls(); !slices.Equal(got, want) {
			t.Fatalf("after %+v the outside heard %q, want %q", s.command, got, want)
		}
	}
	w.Pass(t, time.Second)
	if got := outside.calls()[len(want):]; !slices.Contains(got, "b1") || slices.Contains(got, "a1") || slices.Contains(got, "a-rung") {
		t.Errorf("then the outside heard %q", got)
	}
}

// A call that is dropped while it is out holds up nobody, and what it comes to is not recorded, nor tried to be. Red when
// the next call waits for it, and when its end is written: that is a conflict, and costs the batch.
func TestDropCallsThatAreOut(t *testing.T) {
	t.Parallel()
	outside := &clerk{holds: "a1", let: make(chan struct{})}
	var failed atomic.Int64
	w := runWith(t, filepath.Join(t.TempDir(), "test.db"), func(c *backbone.Config) {
		c.Hooks.Batch = func(s backbone.BatchStats) {
			if s.Err != nil {
				failed.Add(1)
			}
		}
	}, clerked(outside))
	w.take("a", 1)
	w.await("the call is out", func() bool { return slices.Contains(outside.calls(), "a1") })
	if _, err := w.Do(t.Context(), ring{"a"}); err != nil {
		t.Fatal(err)
	}
	w.take("a", 3)
	reports := func() (amounts []string) {
		list, err := w.Reader("tills").Log(t.Context(), backbone.ReadQuery{Stream: "till/" + reported, Kinds: backbone.EventKinds(), Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range list {
			amounts = append(amounts, string(m.Data))
		}
		return amounts
	}
	want := []string{`{"till":"reported","amount":0}`, `{"till":"reported","amount":3}`}
	w.await("the next calls come back", func() bool { return len(reports()) >= len(want) })
	close(outside.let)
	if err := w.Stop(t.Context()); err != nil { // what is out comes back
		t.Fatal(err)
	}
	if got := reports(); !slices.Equal(got, want) {
		t.Errorf("it was reported %q, want %q", got, want)
	}
	if n := failed.Load(); n > 0 {
		t.Errorf("%d batches failed", n)
	}
}

// flaky is a database that takes no end of a call, and no delay, as often as the test says.
type flaky struct {
	driver.Store
	error  error
	fails  atomic.Int64
	failed chan struct{} // each time it does
}

func (f *flaky) Begin(ctx context.Context) (driver.Tx, error) {
	tx, err := f.Store.Begin(ctx)
	return &flakyTx{Tx: tx, store: f}, err
}

type flakyTx struct {
	driver.Tx
	store *flaky
	ends  bool
}

func (t *flakyTx) Apply(ctx context.Context, service string, w *driver.Writes) error {
	t.ends = t.ends || len(w.EndedCalls) > 0
	return t.Tx.Apply(ctx, service, w)
}

func (t *flakyTx) Commit(ctx context.Context) error {
	if t.ends && t.store.fails.Add(-1) >= 0 {
		t.store.failed <- struct{}{}
		return fmt.Errorf("%w: says the test", t.store.error)
	}
	return t.Tx.Commit(ctx)
}

// onFlaky runs a service on a database that fails to record what became of calls.
func onFlaky(t *testing.T, fails int64, how error, service *backbone.Service) (*world, *flaky) {
	t.Helper()
	f := &flaky{error: how, failed: make(chan struct{}, 1000)}
	f.fails.Store(fails)
	return runWith(t, filepath.Join(t.TempDir(), "test.db"), func(c *backbone.Config) {
		f.Store = c.Store(service.Name)
		c.Store = func(string) driver.Store { return f }
	}, service), f
}

// What became of a call is recorded once the database takes it, by who made the call: long before the claim is over, and
// without another call; also where others were faster so often that one attempt ends. Red when it is tried once only, and where every conflict
// is taken for a claim that is lost.
func TestOutcomeIsRecordedWhenTheDatabaseIsBack(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fails int64
		how   error
	}{"the end": {3, driver.ErrUnavailable}, "the end, contested": {60, driver.ErrConflict}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			outside := &clerk{}
			w, f := onFlaky(t, c.fails, c.how, clerked(outside))
			w.take("a", 1)
			w.await("the end is recorded", func() bool {
				calls, err := w.store.Calls(t.Context(), "tills", 0)
				return err == nil && len(calls) == 0
			})
			if got := outside.calls(); !slices.Equal(got, []string{"a1"}) || int64(len(f.failed)) != c.fails {
				t.Errorf("the outside heard %q, and the database failed %d times", got, len(f.failed))
			}
		})
	}
	t.Run("the delay", func(t *testing.T) {
		t.Parallel()
		outside := &clerk{fails: errors.New("no connection")}
		service := clerked(outside)
		service.Calls[0].Backoff = time.Hour
		w, _ := onFlaky(t, 3, driver.ErrUnavailable, service)
		w.take("a", 1)
		w.await("the delay is recorded", func() bool {
			calls, err := w.store.Calls(t.Context(), "tills", 0)
			return err == nil && len(calls) == 1 && calls[0].Cause == "no connection" && calls[0].LeaseUntil == 0
		})
		if got := outside.calls(); !slices.Equal(got, []string{"a1"}) {
			t.Errorf("the outside heard %q", got)
		}
	})
}

// A runtime that stops does not wait for a database that is away. Red when it tries on until the claim is over.
func TestStopLeavesWhatCannotBeRecorded(t *testing.T) {
	t.Parallel()
	w, f := onFlaky(t, 1<<40, driver.ErrUnavailable, clerked(&clerk{}))
	w.take("a", 1)
	<-f.failed
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := w.Stop(ctx); err != nil {
		t.Error(err)
	}
}

// A claim that is lost is nobody's to record any more, so it is not tried again. Red where it is tried as often as a conflict with other writers.
func TestALostClaimIsLeft(t *testing.T) {
	t.Parallel()
	w, f := onFlaky(t, 1<<40, driver.ErrClaimLost, clerked(&clerk{}))
	w.take("a", 1)
	<-f.failed
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := w.Stop(ctx); err != nil { // it waits for calls that are out
		t.Error(err)
	}
	if n := len(f.failed); n > 1 { // once more by itself, where it shared its transaction
		t.Errorf("it was tried %d times more", n)
	}
}

// gated is a database whose transactions begin one for each token, and that knows those in which calls were claimed and dropped.
type gated struct {
	driver.Store
	begun  atomic.Int64
	tokens chan struct{}
	both   atomic.Bool
}

func (s *gated) Begin(ctx context.Context) (driver.Tx, error) {
	s.begun.Add(1)
	<-s.tokens
	tx, err := s.Store.Begin(ctx)
	return &gatedTx{Tx: tx, store: s}, err
}

type gatedTx struct {
	driver.Tx
	store   *gated
	claimed bool
}

func (t *gatedTx) ClaimCalls(ctx context.Context, service, name string, now int64, lease time.Duration, limit int) ([]driver.Call, error) {
	calls, err := t.Tx.ClaimCalls(ctx, service, name, now, lease, limit)
	t.claimed = t.claimed || len(calls) > 0
	return calls, err
}

func (t *gatedTx) Apply(ctx context.Context, service string, w *driver.Writes) error {
	if t.claimed && len(w.DropCalls) > 0 {
		t.store.both.Store(true)
	}
	return t.Tx.Apply(ctx, service, w)
}

// A call that is dropped by the transaction that claims it is not made. Red when what is dropped is looked for among the calls that are out alone.
func TestClaimedAndDroppedAtOnce(t *testing.T) {
	t.Parallel()
	outside := &clerk{}
	store := &gated{tokens: make(chan struct{}, 1000)}
	service := clerked(outside)
	for range 100 {
		store.tokens <- struct{}{}
	}
	w := runWith(t, filepath.Join(t.TempDir(), "test.db"), func(c *backbone.Config) {
		store.Store = c.Store("tills")
		c.Store = func(string) driver.Store { return store }
	}, service)
	t.Cleanup(func() { close(store.tokens) })
	waiting := func(n int) {
		w.await(fmt.Sprint(n, " units wait"), func() bool {
			what, err := w.InFlight(t.Context())
			var waits int
			_, scanned := fmt.Sscanf(what, "a writer is at work and %d units wait for it", &waits)
			return err == nil && scanned == nil && waits >= n
		})
	}
	// A claim that was due just then takes part in another transaction; then it is tried again.
	for n := 0; ; n++ {
		w.settle()
		for len(store.tokens) > 0 {
			<-store.tokens
		}
		before := store.begun.Load()
		var all sync.WaitGroup
		do := func(c backbone.Command) {
			all.Go(func() {
				if _, err := w.Do(t.Context(), c); err != nil {
					t.Error(err)
				}
			})
		}
		till := fmt.Sprint("till", n)
		do(take{till, 1})
		w.await("the first begins", func() bool { return store.begun.Load() > before })
		do(take{till + "b", 2})
		waiting(1)
		store.tokens <- struct{}{}
		w.await("the second begins", func() bool { return store.begun.Load() > before+1 })
		waiting(1)
		do(ring{till})
		waiting(2)
		store.both.Store(false)
		for range 500 {
			store.tokens <- struct{}{}
		}
		all.Wait()
		w.await("what came instead is called", func() bool { return slices.Contains(outside.calls(), till+"-rung") })
		if !store.both.Load() {
			if n == 20 {
				t.Fatal("it never happened in one transaction")
			}
			continue
		}
		if slices.Contains(outside.calls(), till+"1") {
			t.Errorf("the outside heard %q of what was dropped", outside.calls())
		}
		return
	}
}

// broken is a database that fails by itself, some times each, to claim calls and to fire timers.
type broken struct {
	driver.Store
	claims, fires atomic.Int64
}

var errBroken = errors.New("the test has broken it")

func (s *broken) Begin(ctx context.Context) (driver.Tx, error) {
	tx, err := s.Store.Begin(ctx)
	return &brokenTx{tx, s}, err
}

type brokenTx struct {
	driver.Tx
	store *broken
}

func (t *brokenTx) ClaimCalls(ctx context.Context, service, name string, now int64, lease time.Duration, limit int) ([]driver.Call, error) {
	if t.store.claims.Add(-1) >= 0 {
		return nil, errBroken
	}
	return t.Tx.ClaimCalls(ctx, service, name, now, lease, limit)
}

func (t *brokenTx) Apply(ctx context.Context, service string, w *driver.Writes) error {
	if len(w.FiredTimers) > 0 && t.store.fires.Add(-1) >= 0 {
		return errBroken
	}
	return t.Tx.Apply(ctx, service, w)
}

// A step of the backbone that fails by itself is told in the log, once each time, and taken up again: the call is made and the timer fires.
// Red when whoever waits for a step tells of its failure, and who runs it does as well; and when neither does.
func TestAFailedStepIsLoggedOnce(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var told []string
	outside := &clerk{}
	service := clerked(outside)
	service.Reacts = append(service.Reacts, backbone.Whenever(func(e taken, m backbone.Meta) []backbone.Effect {
		if e.Till != "a" || e.Amount != 1 {
			return nil
		}
		return []backbone.Effect{backbone.SetTimer("ring", m.Time, ring{"b"})}
	}))
	store := &broken{}
	store.claims.Store(3)
	store.fires.Store(2)
	w := runWith(t, filepath.Join(t.TempDir(), "test.db"), func(c *backbone.Config) {
		store.Store = c.Store("tills")
		c.Store = func(string) driver.Store { return store }
		c.Logger = slog.New(slog.NewTextHandler(lineWriter(func(line string) {
			mu.Lock()
			defer mu.Unlock()
			if strings.Contains(line, errBroken.Error()) {
				told = append(told, line)
			}
		}), nil))
	}, service)
	w.take("a", 1)
	w.await("the call is made and the timer fires", func() bool {
		got := outside.calls()
		return slices.Contains(got, "a1") && slices.Contains(got, "b-rung")
	})
	w.settle()
	mu.Lock()
	defer mu.Unlock()
	count := func(what string) (n int) {
		for _, line := range told {
			if strings.Contains(line, what) {
				n++
			}
		}
		return n
	}
	// A step that spoils a batch is tried by itself before it counts as failed, so two failures may be one that is told.
	claims, firings := count("claim calls"), count("timers")
	if claims < 1 || claims > 3 || firings < 1 || firings > 2 || len(told) != claims+firings {
		t.Errorf("up to 3 claims and 2 firings failed, and it was told:\n%s", strings.Join(told, ""))
	}
}

// lineWriter is given what is written to it.
type lineWriter func(string)

func (w lineWriter) Write(p []byte) (int, error) { w(string(p)); return len(p), nil }
