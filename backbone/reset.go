package backbone

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"example.org/souk/backbone/driver"
)

// Reset empties everything that the services of this process keep, for a world of
// tests: intake stops, what is in flight settles, all tables are emptied in one
// transaction while positions go on, and intake begins again. It must never be
// within reach of a shop's customers. Where another process runs one of the services it
// is refused: that one would go on with what it has in memory.
func (r *Runtime) Reset(ctx context.Context) error {
	for _, h := range r.order {
		if err := h.sole(ctx); err != nil {
			return err
		}
	}
	for _, h := range r.order {
		h.resetting.Store(true)
		defer h.resetting.Store(false)
		h.seals.turn.Lock() // what is sealed is sealed before, or after
		defer h.seals.turn.Unlock()
	}
	for {
		idle, err := r.Idle(ctx)
		if err != nil {
			return err
		}
		if idle {
			break
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
	}
	for _, w := range r.writers {
		var h *host
		for _, other := range r.order {
			if other.w == w {
				h = other
			}
		}
		resetter, ok := w.store.(driver.Resetter)
		if !ok {
			return errors.New("this database cannot be emptied")
		}
		err := h.internal(&unit{host: h, alone: true, run: func(b *batch, u *unit) error {
			u.flushed = true
			for _, other := range r.order {
				if other.w != w {
					continue
				}
				if err := resetter.Reset(ctx, b.tx, other.svc.Name); err != nil {
					return fmt.Errorf("empty %s: %w", other.svc.Name, err)
				}
				other.streams.drop()
				other.instances.drop()
			}
			return nil
		}})
		if err != nil {
			return err
		}
	}
	for _, h := range r.order {
		if err := h.seals.restart(ctx); err != nil {
			return err
		}
	}
	return nil
}

// sole is an error where another process seems to run the service too.
func (h *host) sole(ctx context.Context) error {
	if h.store.Powers().Exclusive {
		return nil
	}
	now, err := h.store.Now(ctx)
	if err != nil {
		return err
	}
	cps, err := h.store.Checkpoints(ctx, h.svc.Name, "")
	if err != nil {
		return err
	}
	owners := map[string]bool{} // of slices: the transport has a name of its own
	for _, c := range cps {
		switch {
		case c.Owner == "" || c.LeaseUntil <= now.UnixMicro():
		case c.Subscription != KeeperName && c.Subscription != RelayName && !strings.HasPrefix(c.Subscription, rebuildPrefix):
			owners[c.Owner] = true
		case c.Owner != h.r.cfg.Owner:
			return fmt.Errorf("service %s runs in another process too", h.svc.Name)
		}
	}
	if len(owners) > 1 {
		return fmt.Errorf("service %s runs in %d processes", h.svc.Name, len(owners))
	}
	return nil
}
