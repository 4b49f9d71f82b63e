package backbonetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
)

// most bounds the rows that are looked at for what is due.
const most = 100_000

// Settle returns when nothing is in flight: every message is handled, and what is
// due by the clock is done. It counts work and never waits for time to pass; a world
// that does not come to rest fails the test, which then says what is in flight. What
// waits for a later time, is parked, or waits for an event does not count. What waits
// for a paused service does, and fails the test at once with the name of that service:
// resume it first.
func (w *World) Settle(t testing.TB) {
	t.Helper()
	for {
		w.rest(t)
		if w.held == nil {
			return
		}
		open := w.held.open()
		if len(open) == 0 {
			return
		}
		w.deliver(t, open[0])
	}
}

// Pass lets time pass: it turns the clock from each instant at which something is
// due to the next, settling at each, until d is over.
func (w *World) Pass(t testing.TB, d time.Duration) {
	t.Helper()
	end := w.Clock.Now().Add(d)
	for {
		w.Settle(t)
		next, _ := w.next(t)
		if next.IsZero() || next.After(end) {
			break
		}
		w.Clock.Set(next)
	}
	w.Clock.Set(end)
	w.Settle(t)
}

// rest waits until the runtime has nothing to do. Messages that are held back do not
// count.
func (w *World) rest(t testing.TB) {
	t.Helper()
	deadline := time.NewTimer(w.config.Patience)
	defer deadline.Stop()
	tick := time.NewTicker(200 * time.Microsecond)
	defer tick.Stop()
	for {
		busy := w.busy(t)
		if busy == "" {
			return
		}
		w.notPaused(t, busy)
		select {
		case <-w.pulse:
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("the world did not come to rest within %s: %s%s", w.config.Patience, busy, w.paused(t))
		}
	}
}

// notPaused fails the test where what is in flight waits for somebody to resume a service.
func (w *World) notPaused(t testing.TB, busy string) {
	t.Helper()
	services := w.Runtime().AwaitsResume()
	if len(services) == 0 && strings.HasSuffix(busy, isDue) {
		services = w.pausedWithDue(t)
	}
	if len(services) > 0 {
		t.Fatalf("service %s is paused, so the world does not come to rest: %s", services[0], busy)
	}
}

// paused says which services are paused, for whoever wonders why nothing goes on.
func (w *World) paused(t testing.TB) (text string) {
	t.Helper()
	for _, p := range w.config.Parts {
		if paused, err := backbone.Paused(t.Context(), w.Store(), p.Name); err == nil && paused {
			text += ", and service " + p.Name + " is paused"
		}
	}
	return text
}

// pausedWithDue names the services that are paused while something is due that they would do by themselves. A call does not count: it may be under way.
func (w *World) pausedWithDue(t testing.TB) (services []string) {
	t.Helper()
	for _, p := range w.config.Parts {
		paused, err := backbone.Paused(t.Context(), w.Store(), p.Name)
		a := agenda{now: w.Clock.Now().UnixMicro()}
		if err == nil && paused {
			err = w.lookOwn(t, p, &a)
		}
		if err != nil {
			t.Fatalf("what is due at service %s: %v", p.Name, err)
		}
		if a.due != "" {
			services = append(services, p.Name)
		}
	}
	return services
}

// busy says what is in flight. Whatever moves is seen by one of the looks, or has
// committed a batch between them.
func (w *World) busy(t testing.TB) string {
	t.Helper()
	batches := w.batches.Load()
	busy := w.inFlight(t)
	if busy == "" {
		_, busy = w.next(t)
	}
	if busy == "" {
		busy = w.inFlight(t)
	}
	if busy == "" && w.batches.Load() != batches {
		busy = "a batch was committed at this moment"
	}
	return busy
}

func (w *World) inFlight(t testing.TB) string {
	t.Helper()
	busy, err := w.Runtime().InFlight(t.Context())
	if err != nil {
		t.Fatalf("what is in flight: %v", err)
	}
	return busy
}

// agenda collects what waits for a time.
type agenda struct {
	now  int64
	next int64  // the first due time to come, 0 for none
	due  string // something whose time has come
}

// isDue ends what is told of something whose time has come.
const isDue = " is due"

func (a *agenda) note(due int64, format string, args ...any) {
	switch {
	case due <= a.now:
		a.due = fmt.Sprintf(format, args...) + isDue
	case a.next == 0 || due < a.next:
		a.next = due
	}
}

// next returns the instant at which something is due next, the zero time if nothing
// is, and says what is due by now already.
func (w *World) next(t testing.TB) (time.Time, string) {
	t.Helper()
	a := agenda{now: w.Clock.Now().UnixMicro()}
	for _, p := range w.config.Parts {
		if err := w.look(t, p, &a); err != nil {
			t.Fatalf("what is due at service %s: %v", p.Name, err)
		}
	}
	if a.next == 0 {
		return time.Time{}, a.due
	}
	return time.UnixMicro(a.next).UTC(), a.due
}

func (w *World) look(t testing.TB, p *backbone.Service, a *agenda) error {
	store, ctx := w.Store(), t.Context()
	if err := w.lookOwn(t, p, a); err != nil {
		return err
	}
	if len(p.Calls) > 0 {
		calls, err := store.Calls(ctx, p.Name, most)
		if err != nil {
			return err
		}
		first := map[string]bool{} // calls of one stream are made in order
		for _, c := range calls {
			if !first[c.Stream] {
				first[c.Stream] = true
				a.note(c.Due, "call %s %s of service %s", c.Name, c.ID, p.Name)
			}
		}
	}
	requests, err := store.OpenRequests(ctx, p.Name, 1)
	if err != nil {
		return err
	}
	for _, r := range requests {
		a.note(a.now, "request %d (%s %s) of service %s", r.ID, r.Action, r.Key, p.Name)
	}
	if !w.failing.Load() {
		return nil
	}
	for _, row := range w.Parked(t, p.Name) {
		if row.State == "retrying" {
			a.note(row.Due, "parked message %s of service %s", row.ID, p.Name)
		}
	}
	return nil
}

// lookOwn looks at what a service does by itself when its time comes.
func (w *World) lookOwn(t testing.TB, p *backbone.Service, a *agenda) error {
	store, ctx := w.Store(), t.Context()
	timers, after, err := store.DueTimers(ctx, p.Name, a.now, 1)
	if err != nil {
		return err
	}
	for _, timer := range timers {
		a.note(timer.Due, "timer %s of service %s", timer.Name, p.Name)
	}
	if after > 0 {
		a.note(after, "timer")
	}
	if len(p.Sagas) > 0 {
		for _, s := range w.sagas(t, p.Name, backbone.SagaRunning, backbone.SagaCompensating) {
			if s.Due > 0 {
				a.note(s.Due, "saga %s/%s of service %s", s.Name, s.ID, p.Name)
			}
		}
	}
	return nil
}

// subscriptions names those of a service: its own, and one for each view that is not
// kept inline.
func subscriptions(p *backbone.Service) []string {
	names := []string{p.Name}
	for i := range p.Views {
		if !p.Views[i].Inline {
			names = append(names, "view-"+p.Views[i].Name)
		}
	}
	return names
}

// deliver lets one message go and returns when it is settled.
func (w *World) deliver(t testing.TB, l *letter) {
	t.Helper()
	settled := make(chan error, 1)
	if err := w.held.deliver(t.Context(), l, settled); err != nil {
		t.Fatalf("deliver %s to %s: %v", l.Type, l.queue.spec.Name, err)
	}
	deadline := time.NewTimer(w.config.Patience)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-settled:
			if err != nil {
				t.Fatalf("deliver %s to %s: %v", l.Type, l.queue.spec.Name, err)
			}
			return
		case <-tick.C:
			if service := l.queue.spec.Service; slices.Contains(w.Runtime().AwaitsResume(), service) {
				t.Fatalf("service %s is paused, so that %s of %s waits", service, l.Type, l.Source)
			}
		case <-deadline.C:
			t.Fatalf("%s of %s was not handled by %s within %s", l.Type, l.Source, l.queue.spec.Name, w.config.Patience)
		}
	}
}

var _ driver.Transport = (*held)(nil)
