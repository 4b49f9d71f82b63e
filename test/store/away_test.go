package store

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"example.org/souk/internal/testserver"
)

// flow is a load that goes on whatever becomes of it.
type flow struct {
	m       *mall
	client  http.Client
	running sync.WaitGroup
	end     chan struct{}
	ended   sync.Once

	mu       sync.Mutex
	accepted []string
	refused  int
	last     int  // the status of the newest answer
	strict   bool // nothing may be refused
}

// away is for how long.
const away = 2 * time.Minute

// answerWithin is how long whoever orders waits, whatever is away.
const answerWithin = 15 * time.Second

// flowing posts an order each tenth of a second, without waiting for the answers of those before. Each is accepted, or refused for now with
// the time after which to ask again; anything else, and an answer that does not come, fails the test.
func (m *mall) flowing() *flow {
	f := &flow{m: m, client: http.Client{Timeout: answerWithin}, end: make(chan struct{})}
	m.t.Cleanup(func() { f.stop() }) // before the mall ends, where the test does in the middle
	f.running.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-f.end:
				return
			case <-tick.C:
			}
			f.running.Go(func() { f.place(fmt.Sprintf("A%05d", n), customerOf(n)) })
		}
	})
	return f
}

func (f *flow) place(id, customer string) {
	body := order(id, customer, item{"PRODUCT_002", 5, 1})
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, f.m.url+"/order", strings.NewReader(body))
	if err != nil {
		f.m.t.Error(err)
		return
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := f.client.Do(req)
	if err != nil {
		f.m.t.Errorf("order %s gets no answer: %v", id, err)
		return
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(resp.Body)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last = resp.StatusCode
	switch {
	case err != nil:
		f.m.t.Errorf("order %s: %v", id, err)
	case resp.StatusCode == http.StatusAccepted:
		f.accepted = append(f.accepted, id)
	case (resp.StatusCode == http.StatusServiceUnavailable || resp.StatusCode == http.StatusTooManyRequests) && saysWhen(resp.Header):
		f.refused++
		if f.strict {
			f.m.t.Errorf("order %s is refused, though what takes it in is there: %d %s", id, resp.StatusCode, said)
			f.strict = false // once says it
		}
	default:
		f.m.t.Errorf("order %s: %d %s", id, resp.StatusCode, said)
	}
}

// count returns how many orders were accepted, and how many refused.
func (f *flow) count() (accepted, refused int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.accepted), f.refused
}

func (f *flow) strictly(strict bool) {
	f.mu.Lock()
	f.strict = strict
	f.mu.Unlock()
}

// stop ends the load and returns which orders were accepted.
func (f *flow) stop() []string {
	f.ended.Do(func() { close(f.end) })
	f.running.Wait()
	return f.accepted
}

// F2: the broker is away for minutes under load, then the database, then both, and all that the mall runs in are processes of their own.
// Without a broker every order is accepted, since the online store takes it in by itself; without a database every one is refused
// for now. Where the log carries the messages only the database can be away. What was accepted is all there and comes to its end, and no process is
// started again. Red when the store waits for the broker before it answers, when a process ends for want of its database, and when something gives
// up for good while either is away.
func TestF2_AwayForMinutes(t *testing.T) {
	t.Parallel()
	if os.Getenv("SOUK_PROVE") != "full" {
		t.Log("this takes a quarter of an hour: make prove runs it")
		return
	}
	binary := program(t)
	for _, name := range carriers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := testserver.PostgresOwn(t, "max_connections=300")
			flags, broker := carrier(t, name)
			parts := []string{"online stores customers keys", "orders inventory", "payments notifications analytics depot baskets search"}
			m := split(t, binary, t.TempDir(), server.Database(t), parts, flags...)
			m.seed()
			m.souk("stock", "receive", "PRODUCT_002", "1000000")
			m.must(202, "POST", "/order", order("FIRST", "CUSTOMER_001", item{"PRODUCT_002", 5, 1}))
			m.awaitStatus("FIRST", "APPROVED") // the online store has heard of the catalogue
			f := m.flowing()
			approved := func(what string) {
				t.Helper()
				before, _ := f.count()
				awaitFor(t, time.Minute, "orders come in again", func() bool { n, _ := f.count(); return n > before })
				f.mu.Lock()
				id := f.accepted[before]
				f.mu.Unlock()
				awaitFor(t, 5*time.Minute, what, func() bool { return m.status(id) == "APPROVED" })
			}
			waits := func(until func() bool) {
				t.Helper()
				began := time.Now()
				awaitFor(t, away+time.Minute, "the time is over", func() bool { return time.Since(began) >= away || t.Failed() })
				if !until() {
					t.Error("that is not what happened meanwhile")
				}
			}
			awaitFor(t, time.Minute, "orders come in", func() bool { n, _ := f.count(); return n >= 10 })

			if broker != nil {
				f.strictly(true)
				broker.Kill()
				before, _ := f.count()
				waits(func() bool { n, _ := f.count(); return n > before+int(away/time.Second) })
				broker.Restart()
				approved("orders come to their end after the broker was away")
				f.strictly(false)
			}

			server.Kill()
			var accepted int
			awaitFor(t, time.Minute, "orders are refused for now", func() bool {
				_, refused := f.count()
				accepted, _ = f.count()
				return refused > 20
			})
			waits(func() bool { n, _ := f.count(); return n == accepted })
			server.Restart()
			approved("orders come to their end after the database was away")

			if broker != nil {
				broker.Kill()
				server.Kill()
				waits(func() bool { return true })
				server.Restart()
				broker.Restart()
				approved("orders come to their end after both were away")
			}
			ids := f.stop()
			for _, p := range m.others {
				if p.proc.Ended() {
					t.Errorf("process %s has ended", p.name)
				}
			}
			k := m.holds()
			for _, id := range ids {
				if _, found := k.placed[id]; !found {
					t.Errorf("order %s was accepted and is gone", id)
				}
			}
			_, refused := f.count()
			t.Logf("%d orders accepted, %d refused for now", len(ids), refused)
		})
	}
}
