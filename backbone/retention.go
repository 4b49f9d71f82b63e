package backbone

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	defaultRetention = 7 * 24 * time.Hour
	pruneEvery       = time.Minute
	pruneLook        = time.Second // how soon a process that has just come to keep a log begins
	// pruneBite bounds the rows that go in one transaction, for which commands wait.
	pruneBite = 1000
	// prunePause is what writers have to themselves between two looks that removed nothing.
	prunePause = 50 * time.Millisecond
)

// Prune removes what is older than Config.Retention from the databases of the
// services that run here: answers, inbox rows and requests that are done, and from
// their logs the commands, replies and calls that every subscription has passed.
// Events, private events and seals stay. The runtime that keeps a log does it by
// itself when it starts and once a minute; it may be called at any time after Start.
func (r *Runtime) Prune(ctx context.Context) error { return r.pruneLogs(ctx, r.order) }

func (r *Runtime) pruneLogs(ctx context.Context, hosts []*host) error {
	if r.cfg.Retention < 0 {
		return nil
	}
	passed, err := r.readersPassed(ctx)
	errs := []error{err} // what goes by its age alone goes all the same
	before := r.now().Add(-r.retention()).UnixMicro()
	for _, h := range hosts {
		for {
			n, more, err := h.store.Prune(ctx, h.svc.Name, before, passed[h.svc.Name], pruneBite)
			if err != nil {
				errs = append(errs, fmt.Errorf("prune %s: %w", h.svc.Name, err))
				break
			}
			if !more || n == 0 && !rest(ctx, prunePause) { // a long log that holds nothing to remove is looked at by and by
				break
			}
		}
	}
	return errors.Join(errs...)
}

// retention is how long what goes by its age is kept, where anything goes.
func (r *Runtime) retention() time.Duration {
	return cmp.Or(r.cfg.Retention, defaultRetention)
}

// forgotten reports whether the inbox may not know any more what was handled at a time.
func (r *Runtime) forgotten(t time.Time) bool {
	return r.cfg.Retention >= 0 && !t.After(r.now().Add(-r.retention()))
}

// prune does it again and again, with the logs that this process keeps, until ctx ends.
func (r *Runtime) prune(ctx context.Context) {
	pruned := map[*host]time.Time{}
	for {
		now := time.Now() //souk:clock a pause
		var due []*host
		for _, h := range r.order {
			if last, ever := pruned[h]; h.seals.keeper.held() && (!ever || now.Sub(last) >= pruneEvery) {
				due = append(due, h)
				pruned[h] = now
			}
		}
		if len(due) > 0 {
			if err := r.pruneLogs(ctx, due); err != nil && ctx.Err() == nil {
				r.log.WarnContext(ctx, "prune", "error", err)
			}
		}
		if !rest(ctx, pruneLook) {
			return
		}
	}
}

// readersPassed returns for each log of a service that runs here the position up to
// which every subscription has handled or parked what it wants: those of all
// services in the parts list, whether they run here or not. It is 0, so that
// nothing goes, where a subscription has never begun, and where the checkpoints of a
// service cannot be read from here. A service that has never begun at all does not
// count in a log in which nothing can be for it but events, which stay: it may never
// come, and has asked for no answers. Over a broker it is what the relay has carried, without what it holds back:
// from there on the broker keeps it for who has not come yet.
// Subscriptions that the parts list has no more, and sources that one reads no
// more, stand still for ever and do not count.
func (r *Runtime) readersPassed(ctx context.Context) (map[string]int64, error) {
	passed := map[string]int64{}
	if !r.cfg.Transport.Powers().LogPositions {
		for _, h := range r.order {
			cursors, err := h.store.Checkpoints(ctx, h.svc.Name, RelayName)
			if err != nil {
				return nil, fmt.Errorf("cursor of %s: %w", h.svc.Name, err)
			}
			for _, c := range cursors {
				passed[h.svc.Name] = c.Position
			}
			held, err := HeldByRelay(ctx, h.store, h.svc.Name)
			if err != nil {
				return nil, err
			}
			for _, b := range held {
				passed[h.svc.Name] = min(passed[h.svc.Name], b.Position-1)
			}
		}
		return passed, nil
	}
	for _, h := range r.order {
		head, err := h.store.Head(ctx, h.svc.Name)
		if err != nil {
			return nil, fmt.Errorf("head of %s: %w", h.svc.Name, err)
		}
		passed[h.svc.Name] = head
	}
	for _, reader := range r.cfg.Parts {
		store := r.cfg.Store(reader.Name)
		if store == nil {
			return nil, nil // it reads every log
		}
		checkpoints, err := store.Checkpoints(ctx, reader.Name, "")
		if err != nil {
			return nil, fmt.Errorf("checkpoints of %s: %w", reader.Name, err)
		}
		// The slices of a subscription begin in one transaction, so either all have
		// a row in a source or none has.
		lowest := map[reading]int64{}
		for _, c := range checkpoints {
			at := reading{c.Subscription, c.Source}
			if low, known := lowest[at]; !known || c.Position < low {
				lowest[at] = c.Position
			}
		}
		for _, at := range r.readings(reader) {
			if len(checkpoints) == 0 && at.source != reader.Name && !r.parts.addresses(at.source, reader.Name) {
				continue
			}
			passed[at.source] = min(passed[at.source], lowest[at])
		}
	}
	return passed, nil
}

// reading is one log that a subscription reads.
type reading struct{ subscription, source string }

// readings lists what the subscriptions of a service read: its own the logs of its
// events and those in which something may be addressed to it; those of its views the
// logs of their events.
func (r *Runtime) readings(svc *Service) (list []reading) {
	for _, part := range r.cfg.Parts {
		if r.parts.Listens(svc.Name, part.Name) {
			list = append(list, reading{svc.Name, part.Name})
		}
	}
	for i := range svc.Subscribes {
		list = append(list, reading{svc.Name, r.ownerOf[svc.Subscribes[i].event]})
	}
	for _, saga := range svc.Sagas {
		for _, a := range saga.advances() {
			list = append(list, reading{svc.Name, r.ownerOf[a.sub.event]})
		}
	}
	for i := range svc.Views {
		v := &svc.Views[i]
		if v.Inline {
			continue
		}
		for j := range v.Projections {
			list = append(list, reading{viewSubscription(v.Name), r.ownerOf[v.Projections[j].sub.event]})
		}
	}
	return list
}
