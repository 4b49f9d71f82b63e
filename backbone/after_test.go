package backbone_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/backbonetest"
	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/membus"
)

// looking tells what types are read of a log.
type looking struct {
	driver.Log
	reads chan string
}

func (l *looking) Read(ctx context.Context, service string, q driver.ReadQuery) ([]driver.Record, error) {
	signal(l.reads, strings.Join(q.Types, " "))
	return l.Log.Read(ctx, service, q)
}

func signal[T any](c chan T, v T) {
	select {
	case c <- v:
	default:
	}
}

// sumOf returns what the view sums shows of a till.
func sumOf(ctx context.Context, tx backbone.Tx, till string) (sum int64, err error) {
	rows, err := tx.QueryCommitted(ctx, `SELECT total FROM {sums} WHERE till = $1`, till)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(&sum); err != nil {
			return 0, err
		}
	}
	return sum, rows.Err()
}

// bookkeeping is books whose handler of the ring of a till writes what the view shows of it then, and whose view waits for turn before each event.
func bookkeeping(turn func(context.Context, taken) error, seen func(till string, sum int64)) *backbone.Service {
	svc := books(nil)
	show := svc.Views[0]
	svc.Views[0] = backbone.ViewOf("sums", backbone.FromFirst, func(ctx context.Context, tx backbone.ViewTx, e taken) error {
		if err := turn(ctx, e); err != nil {
			return err
		}
		return show.Apply(ctx, tx, e)
	}).View
	svc.Subscribes = []backbone.Subscriber{backbone.On(func(ctx context.Context, tx backbone.Tx, e rung) error {
		sum, err := sumOf(ctx, tx, e.Till)
		seen(e.Till, sum)
		return err
	}).From(backbone.FromFirst).After("sums")}
	svc.HandlerTimeout = time.Minute
	return svc
}

// until has a view wait before each event until it is let.
func until(let <-chan struct{}) func(context.Context, taken) error {
	return func(ctx context.Context, _ taken) error {
		select {
		case <-let:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// A handler that comes after a view finds there what was committed before its message, although the view was slow, whether checkpoints tell how far
// it is or the inbox does. Red where the handler does not wait, and where a view is taken for where its log ends.
func TestAfterAView(t *testing.T) {
	t.Parallel()
	for _, carrier := range []string{"log", "broker"} {
		t.Run(carrier, func(t *testing.T) {
			t.Parallel()
			let, seen := make(chan struct{}), make(chan int64, 1)
			open := sync.OnceFunc(func() { close(let) })
			defer open()
			svc := bookkeeping(until(let), func(_ string, sum int64) { signal(seen, sum) })
			logged := &looking{reads: make(chan string, 64)}
			change := func(c *backbone.Config) {
				logged.Log = c.Store("")
				c.Log = func(string) driver.Log { return logged }
			}
			if carrier == "broker" {
				w := overBroker(t, change, tills(nil), svc)
				inTurn(t, w.Runtime, take{"T1", 5}, ring{"T1"})
				w.carry(0)
			} else {
				w := runWith(t, t.TempDir()+"/test.db", change, tills(nil), svc)
				inTurn(t, w.Runtime, take{"T1", 5}, ring{"T1"})
			}
			for looks := 0; looks < 3; {
				select {
				case types := <-logged.reads:
					if types == driver.AnyVersion("test.tills.Taken.v1") {
						looks++
					}
				case sum := <-seen:
					t.Fatalf("it did not wait, and saw %d", sum)
				case <-t.Context().Done():
					t.Fatal("it does not look what the view has")
				}
			}
			open()
			if sum := <-seen; sum != 5 {
				t.Errorf("it saw %d, want 5", sum)
			}
		})
	}
}

// inTurn has commands done one after the other.
func inTurn(t *testing.T, r *backbone.Runtime, commands ...backbone.Command) {
	t.Helper()
	for _, c := range commands {
		if _, err := r.Do(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
}

// What was committed while a message waited is waited for by the message behind it. Red where that goes with the look that the first one waited for.
func TestAfterAViewTheNextMessage(t *testing.T) {
	t.Parallel()
	first, second, begun, seen := make(chan struct{}), make(chan struct{}), make(chan struct{}, 1), make(chan int64, 2)
	letFirst, letSecond := sync.OnceFunc(func() { close(first) }), sync.OnceFunc(func() { close(second) })
	defer letFirst()
	defer letSecond()
	svc := bookkeeping(func(ctx context.Context, e taken) error {
		if e.Amount == 1 {
			signal(begun, struct{}{})
			return until(first)(ctx, e)
		}
		return until(second)(ctx, e)
	}, func(_ string, sum int64) { seen <- sum })
	logged := &looking{reads: make(chan string, 64)}
	w := runWith(t, t.TempDir()+"/test.db", func(c *backbone.Config) {
		logged.Log = c.Store("")
		c.Log = func(string) driver.Log { return logged }
	}, tills(nil), svc)
	look := func(times int) {
		t.Helper()
		for looks := 0; looks < times; {
			if types := <-logged.reads; types == driver.AnyVersion("test.tills.Taken.v1") {
				looks++
			}
		}
	}
	inTurn(t, w.Runtime, take{"T1", 1}, ring{"T1"})
	<-begun // the view has the first event in hand, and what comes now goes for itself
	look(1)
	inTurn(t, w.Runtime, take{"T1", 2}, ring{"T1"})
	look(2) // the second ring waits behind the first one by now
	letFirst()
	if sum := <-seen; sum != 1 {
		t.Errorf("the first saw %d, want 1", sum)
	}
	look(1)
	letSecond()
	if sum := <-seen; sum != 3 {
		t.Errorf("the second saw %d, want 3", sum)
	}
}

// Who comes after a view that is never at the end of its log, since there is always more, is handled all the same: it waits for what was committed
// before it and no more. Red where each look asks anew where the log ends.
func TestAfterAViewThatIsNeverAtTheEnd(t *testing.T) {
	t.Parallel()
	const most = 1000
	more, handled := make(chan int64), make(chan int64, 1)
	var w *world
	svc := bookkeeping(func(ctx context.Context, e taken) error {
		select {
		case more <- e.Amount: // the next one is committed before this one is shown
			return nil
		case <-handled:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}, func(_ string, sum int64) { close(handled) })
	w = fresh(t, tills(nil), svc)
	inTurn(t, w.Runtime, take{"T1", 1}, ring{"T1"})
	for n := int64(2); ; n++ {
		select {
		case <-more:
			if n > most {
				t.Fatalf("not handled while the view showed %d more", most)
			}
			inTurn(t, w.Runtime, take{"T1", 1})
			continue
		case <-handled:
		}
		return
	}
}

// What a view has parked it has taken in, and a restart knows how far it is. Red where parked events are waited for.
func TestAfterAViewThatParks(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	sums := map[string]int64{}
	svc := bookkeeping(func(_ context.Context, e taken) error {
		if e.Till == "T1" {
			return backbone.Permanent(fmt.Errorf("this till is not shown"))
		}
		return nil
	}, func(till string, sum int64) {
		mu.Lock()
		defer mu.Unlock()
		sums[till] = sum
	})
	path := t.TempDir() + "/test.db"
	seen := func(want map[string]int64) func() bool {
		return func() bool {
			mu.Lock()
			defer mu.Unlock()
			for till, sum := range want {
				if got, ok := sums[till]; !ok || got != sum {
					return false
				}
			}
			return true
		}
	}
	w := run(t, path, tills(nil), svc)
	inTurn(t, w.Runtime, take{"T1", 5}, take{"T2", 6}, ring{"T1"}, ring{"T2"})
	w.await("both are handled", seen(map[string]int64{"T1": 0, "T2": 6}))
	w.end()
	w = run(t, path, tills(nil), svc)
	inTurn(t, w.Runtime, take{"T2", 1}, ring{"T2"})
	w.await("after the restart too", seen(map[string]int64{"T2": 7}))
}

// A message that waits for long is told of, by what it waits for.
func TestAfterAViewThatStands(t *testing.T) {
	t.Parallel()
	alarms, let := make(chan backbone.Alarm, 64), make(chan struct{})
	svc := bookkeeping(until(let), func(string, int64) {})
	w := runWith(t, t.TempDir()+"/test.db", func(c *backbone.Config) {
		c.Hooks.Alarm = func(a backbone.Alarm) { signal(alarms, a) }
	}, tills(nil), svc)
	defer close(let)
	inTurn(t, w.Runtime, take{"T1", 5}, ring{"T1"})
	for {
		var a backbone.Alarm
		select {
		case a = <-alarms:
		case <-time.After(time.Minute):
			t.Fatal("nobody is told")
		}
		if strings.Contains(a.Text, "waits for view sums: it has not taken in all of tills up to position") {
			return
		}
	}
}

// Over a broker what the inbox has forgotten is believed to be shown. Red where what was shown long ago is waited for for ever.
func TestAfterAViewOlderThanTheInbox(t *testing.T) {
	t.Parallel()
	clock := &backbonetest.Clock{}
	clock.Set(time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC))
	sums := make(chan int64, 1)
	svc := bookkeeping(func(context.Context, taken) error { return nil }, func(_ string, sum int64) { sums <- sum })
	path := t.TempDir() + "/test.db"
	start := func() *world {
		bus := membus.New(membus.Config{})
		t.Cleanup(func() {
			if err := bus.Close(); err != nil {
				t.Error(err)
			}
		})
		return runWith(t, path, func(c *backbone.Config) {
			c.Transport, c.Clock, c.Retention = bus, clock, time.Hour
		}, tills(nil), svc)
	}
	w := start()
	inTurn(t, w.Runtime, take{"T1", 5}, ring{"T1"})
	if sum := <-sums; sum != 5 {
		t.Errorf("it saw %d, want 5", sum)
	}
	clock.Advance(2 * time.Hour)
	if err := w.Prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.end()
	w = start()
	inTurn(t, w.Runtime, ring{"T1"})
	select {
	case sum := <-sums:
		if sum != 5 {
			t.Errorf("after the restart it saw %d, want 5", sum)
		}
	case <-time.After(time.Minute):
		t.Error("it waits for what was shown long ago")
	}
}

// What cannot be waited for is found before anything starts.
func TestAfterWhatIsNoSuchView(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*backbone.Service){
		"which the service does not have": func(s *backbone.Service) { s.Subscribes[0] = s.Subscribes[0].After("others") },
		"which is inline":                 func(s *backbone.Service) { s.Views[0].Inline = true },
		"have it begin FromFirst":         func(s *backbone.Service) { s.Views[0].From = backbone.FromNow },
		"use On": func(s *backbone.Service) {
			s.Subscribes[0] = backbone.Whenever(func(rung, backbone.Meta) []backbone.Effect { return nil }).After("sums")
		},
	} {
		svc := bookkeeping(nil, nil)
		change(svc)
		if err := backbone.Check([]*backbone.Service{tills(nil), svc}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}
