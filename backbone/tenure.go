package backbone

import (
	"context"
	"sync/atomic"
	"time"

	"example.org/souk/backbone/driver"
)

// A tenure is a task of a service that one process at a time has, of all that run it: to relay its log, to keep it, to
// rebuild one of its views. It is a subscription of one slice, whose lease says who is to try, and whose epoch guards what
// that one writes: a process that has lost it changes nothing.
type tenure struct {
	h     *host
	name  string       // among the service's subscriptions
	epoch atomic.Int64 // 0: another's

	// Of one goroutine.
	position int64 // of the checkpoint
	renewed  time.Time
}

// Times of tenures.
const (
	defaultLease = 15 * time.Second
	// tenureEnd bounds how long a stop waits for the database that a tenure is given back at.
	tenureEnd = 5 * time.Second
)

// held reports whether this process has the tenure, as far as it knows. A database that has no other process needs none.
func (t *tenure) held() bool { return t.h.store.Powers().Exclusive || t.epoch.Load() > 0 }

// hold takes the tenure, or prolongs it. It is new where another process may have had it since the last time.
func (t *tenure) hold(ctx context.Context) (held, anew bool, err error) {
	store, service, owner, lease := t.h.store, t.h.svc.Name, t.h.r.cfg.Owner, t.h.r.cfg.Lease
	if store.Powers().Exclusive {
		lease = 0
	}
	now := time.Now() //souk:clock a lease is measured by the process's own monotonic clock
	if t.epoch.Load() > 0 {
		if lease == 0 || now.Sub(t.renewed) < lease/3 {
			return true, false, nil
		}
		kept, err := store.Renew(ctx, service, t.name, owner, lease)
		if err != nil {
			return false, false, err
		}
		if len(kept) > 0 {
			t.renewed = now
			return true, false, nil
		}
		t.epoch.Store(0)
	}
	if _, err := store.InitSubscription(ctx, service, t.name, 1, map[string]int64{service: 0}); err != nil {
		return false, false, err
	}
	cps, err := store.Claim(ctx, service, t.name, owner, 1, lease)
	if err != nil || len(cps) == 0 {
		return false, false, err
	}
	t.position, t.renewed = cps[0].Position, now
	t.epoch.Store(cps[0].Epoch)
	return true, true, nil
}

// lost has the tenure taken anew before anything else is done with it.
func (t *tenure) lost() { t.epoch.Store(0) }

// release gives the tenure back, so that the next process need not wait for the end of the lease.
func (t *tenure) release(ctx context.Context) {
	t.epoch.Store(0) // a claim may have got it whose answer was not waited for
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tenureEnd)
	defer cancel()
	_ = t.h.store.Release(ctx, t.h.svc.Name, t.name, t.h.r.cfg.Owner, []int{0}) // else the lease runs out
}

// guard has a batch stand only as long as the tenure is this process's.
func (t *tenure) guard(b *batch, u *unit) {
	sh := b.of(t.h)
	sh.writes.Guards = append(sh.writes.Guards, driver.Guard{Unit: u.index, Subscription: t.name, Source: t.h.svc.Name, Epoch: t.epoch.Load()})
}

// move moves the checkpoint with a batch, under the same guard.
func (t *tenure) move(b *batch, u *unit, from, to int64) {
	sh := b.of(t.h)
	sh.writes.Moves = append(sh.writes.Moves, driver.Move{
		Unit: u.index, Subscription: t.name, Source: t.h.svc.Name, Epoch: t.epoch.Load(), From: from, To: to,
	})
}
