package logbus_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/drivertest"
	"example.org/souk/backbone/logbus"
)

// effects are what came of the messages, in the order in which that was committed.
type effects struct {
	mu   sync.Mutex
	done []driver.Record
}

// member is a process that works slices of one subscription, slowly. With guard its
// effects are committed with the move of the checkpoint, as effects are.
type member struct {
	store *drivertest.FaultyStore
	bus   *logbus.Bus
	all   *effects
	guard bool
	stop  func()

	mu     sync.Mutex
	random *rand.Rand
	lanes  map[int]*lane
}

// lane works one slice until it is revoked.
type lane struct {
	queue      chan driver.Delivery
	quit, done chan struct{}
}

func (p *member) Assign(cs []driver.Checkpoint) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range cs {
		if p.lanes[c.Slice] == nil {
			l := &lane{make(chan driver.Delivery, 1000), make(chan struct{}), make(chan struct{})}
			p.lanes[c.Slice] = l
			go p.run(l, rand.New(rand.NewPCG(p.random.Uint64(), 0)))
		}
	}
}

func (p *member) Revoke(numbers []int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range numbers {
		if l := p.lanes[n]; l != nil {
			close(l.quit)
			<-l.done
			delete(p.lanes, n)
		}
	}
}

func (p *member) Deliver(_ context.Context, slice int, ds []driver.Delivery) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range ds {
		p.lanes[slice].queue <- d
	}
	return nil
}

func (p *member) run(l *lane, random *rand.Rand) {
	defer close(l.done)
	for {
		select {
		case <-l.quit:
			return
		case d := <-l.queue:
			for done := false; !done; done = p.work(&d) == nil {
				select {
				case <-l.quit:
					// It was about to commit, stands still for a while, and goes on without
					// knowing that its slice is another's by now.
					late := time.Duration(random.IntN(30_000)) * time.Millisecond
					go func() {
						time.Sleep(late)
						_ = p.work(&d) // the guard's affair
					}()
					return
				case <-time.After(time.Duration(random.IntN(2000)) * time.Millisecond): // virtual
				}
			}
		}
	}
}

func (p *member) work(d *driver.Delivery) error {
	p.all.mu.Lock()
	defer p.all.mu.Unlock()
	tx, err := p.store.Begin(context.Background())
	if err != nil {
		return err
	}
	err = tx.Apply(context.Background(), "points", &driver.Writes{Moves: []driver.Move{{
		Subscription: "main", Source: d.Source, Slice: d.Slice, Epoch: d.Epoch, From: d.Prev, To: d.Position,
	}}})
	if err == nil {
		err = tx.Commit(context.Background())
	}
	if err == nil || !p.guard {
		p.all.done = append(p.all.done, d.Record)
		return nil
	}
	return err
}

// move lets processes come, go, crash and lose touch while messages flow, as the seed
// says, and returns what is wrong with what they did.
func move(t *testing.T, seed uint64, guard bool) (wrong string) {
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(seed, 0))
		m, all := newMemory(shared), &effects{}
		var members []*member
		join := func() {
			p := &member{
				store: &drivertest.FaultyStore{Store: m}, all: all, guard: guard,
				random: rand.New(rand.NewPCG(seed, uint64(len(members)+1))), lanes: map[int]*lane{},
			}
			p.bus = logbus.New(logbus.Config{Store: func(string) driver.Store { return p.store }, Logger: quiet})
			p.stop = subscribe(t, p.bus, driver.Subscription{Service: "points", Name: "main", Interests: things("orders"), Slices: 8}, p)
			members = append(members, p)
		}
		leave := func(n int) {
			members[n].stop()
			_ = members[n].bus.Close()
			members = append(members[:n], members[n+1:]...)
		}
		join()
		const rounds, keys = 30, 10
		for i := range rounds {
			rs := make([]driver.Record, keys)
			for k := range rs {
				rs[k] = event(fmt.Sprint("o", k), i)
			}
			rs = m.commit("orders", rs...)
			members[random.IntN(len(members))].bus.Committed("orders", rs)
			n := random.IntN(len(members))
			switch what := random.IntN(8); {
			case what < 3 && len(members) < 4:
				join()
			case what == 3 && len(members) > 1:
				leave(n)
			case what == 4 && len(members) > 1:
				members[n].store.Crash()
				leave(n)
			case what == 5 && len(members) > 1:
				members[n].store.Isolate() // it works on until it sees that its leases are over
			}
			time.Sleep(time.Duration(random.IntN(12_000)) * time.Millisecond)
		}
		join()
		for range 600 {
			all.mu.Lock()
			n := len(all.done)
			all.mu.Unlock()
			if n >= rounds*keys {
				break
			}
			time.Sleep(time.Second)
		}
		time.Sleep(time.Minute) // for what should not come
		for len(members) > 0 {
			leave(0)
		}
		wrong = all.check(rounds, keys)
	})
	return wrong
}

func (e *effects) check(rounds, keys int) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	next := map[string]int{}
	for _, r := range e.done {
		if want := fmt.Sprintf("%s-%d", r.Stream, next[r.Stream]); r.ID != want {
			return fmt.Sprintf("%s came where %s was due", r.ID, want)
		}
		next[r.Stream]++
	}
	if len(e.done) != rounds*keys {
		return fmt.Sprintf("%d of %d were worked", len(e.done), rounds*keys)
	}
	return ""
}

// Slices that are moved at random lose nothing, double nothing and keep every key's
// order.
func TestMovingSlices(t *testing.T) {
	for seed := range uint64(20) {
		if wrong := move(t, seed, true); wrong != "" {
			t.Errorf("seed %d: %s", seed, wrong)
		}
	}
}

// The control: it is the guard in the effect's own transaction that does it. Where
// effects ignore it, some history shows a message twice.
func TestMovingSlicesWithoutTheGuard(t *testing.T) {
	for seed := range uint64(50) {
		if wrong := move(t, seed, false); wrong != "" {
			t.Logf("seed %d: %s", seed, wrong)
			return
		}
	}
	t.Error("nothing goes wrong without the guard: too little happens for a test")
}
