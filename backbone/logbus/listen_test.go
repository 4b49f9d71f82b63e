package logbus_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/logbus"
)

// deaf is a store whose Listen is of no use: it ends at once with an error, or
// hears nothing.
type deaf struct {
	*memory
	err     error
	listens int
}

func (d *deaf) Listen(ctx context.Context, _ []string, _ func(string, int64, bool)) error {
	d.mu.Lock()
	d.listens++
	d.mu.Unlock()
	if d.err != nil {
		return d.err
	}
	<-ctx.Done()
	return ctx.Err()
}

// looking is one that looks at all heads at once.
type looking struct {
	*deaf
	fails error
	looks int
}

func (l *looking) Look(_ context.Context, services []string) (map[string]driver.Look, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.looks++
	found := map[string]driver.Look{}
	for _, service := range services {
		found[service] = driver.Look{Head: int64(len(l.logs[service]))}
	}
	return found, l.fails
}

// To be woken is a hint. Without it, what other processes commit comes with the
// next poll.
func TestWithoutBeingWokenThePollFindsEverything(t *testing.T) {
	cutOff := errors.New("cut off by the test")
	for name, c := range map[string]struct {
		err   error
		heads bool // the store looks at all heads at once
	}{"cut off": {err: cutOff}, "hears nothing": {}, "cut off, heads": {cutOff, true}, "hears nothing, heads": {nil, true}} {
		err := c.err
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const poll, records = 200 * time.Millisecond, 100
				d, k := &deaf{memory: newMemory(shared), err: err}, newSink()
				store := driver.Store(d)
				if c.heads {
					store = &looking{deaf: d}
				}
				b := logbus.New(logbus.Config{
					Store: func(string) driver.Store { return store }, Owner: "a", Poll: poll, Logger: quiet,
				})
				t.Cleanup(func() { _ = b.Close() })
				stop := subscribe(t, b, driver.Subscription{Service: "points", Name: "main", Interests: things("orders"), Slices: 1}, k)
				for n := range records {
					began := time.Now()
					d.commit("orders", event("o", n))
					select {
					case got := <-k.next:
						if took := time.Since(began); got.Position != int64(n+1) || took > poll {
							t.Fatalf("position %d came after %v, want %d, and the poll is every %v", got.Position, took, n+1, poll)
						}
					case <-time.After(10 * poll):
						t.Fatalf("record %d did not come", n)
					}
				}
				stop()
				if err != nil && d.listens < records/2 {
					t.Errorf("it tried to listen %d times", d.listens)
				}
			})
		})
	}
}

// A log at rest is not read where one look tells that all of them are; where the look fails, they are read.
func TestF17_LogsAtRestAreLookedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const poll, polls = time.Second, 30
		l, k := &looking{deaf: &deaf{memory: newMemory(shared)}}, newSink()
		b := logbus.New(logbus.Config{Store: func(string) driver.Store { return l }, Owner: "a", Poll: poll, Logger: quiet})
		t.Cleanup(func() { _ = b.Close() })
		stop := subscribe(t, b, driver.Subscription{Service: "points", Name: "main", Interests: things("orders", "stores", "payments"), Slices: 1}, k)
		count := func() (reads, looks int) {
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.reads, l.looks
		}
		time.Sleep(2 * poll) // virtual: the start is over
		reads, looks := count()
		time.Sleep(polls * poll) // virtual
		read, looked := count()
		if read != reads || looked-looks < polls-1 || looked-looks > polls+1 {
			t.Errorf("in %d polls three logs at rest were read %d times and looked at %d times", polls, read-reads, looked-looks)
		}
		l.mu.Lock()
		l.fails = errors.New("failed by the test")
		l.mu.Unlock()
		time.Sleep(polls * poll) // virtual
		if again, _ := count(); again-read < 3*(polls-2) {
			t.Errorf("in %d polls that failed three logs were read %d times", polls, again-read)
		}
		stop()
	})
}

// What this process has committed it is told of as well, and does not read it for that; what another has, it does.
func TestF17_ItsOwnCommitsAreNotReadBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, k := newMemory(shared), newSink()
		b := logbus.New(logbus.Config{Store: func(string) driver.Store { return m }, Owner: "a", Poll: time.Hour, Logger: quiet})
		t.Cleanup(func() { _ = b.Close() })
		stop := subscribe(t, b, driver.Subscription{Service: "points", Name: "main", Interests: things("orders"), Slices: 1}, k)
		time.Sleep(time.Second) // virtual: it listens by then
		reads := func() int {
			m.mu.Lock()
			defer m.mu.Unlock()
			return m.reads
		}
		before := reads()
		for n := range 10 {
			rs := m.append("orders", event("o", n))
			b.Committed("orders", rs)
			m.tell("orders")
			if got := <-k.next; got.Position != int64(n+1) {
				t.Fatalf("position %d came, want %d", got.Position, n+1)
			}
		}
		synctest.Wait()
		if n := reads() - before; n != 0 {
			t.Errorf("ten commits of its own led to %d reads", n)
		}
		m.commit("orders", event("o", 10))
		if got := <-k.next; got.Position != 11 {
			t.Fatalf("position %d came of another process's commit, want 11", got.Position)
		}
		stop()
	})
}
