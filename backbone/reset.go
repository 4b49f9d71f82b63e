package backbone

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.org/souk/backbone/driver"
)

// ErrShared is returned by Reset where other processes may work on the database.
var ErrShared = errors.New("only a database that one process has to itself can be emptied")

// Reset empties everything that the services of this process keep, for a world of
// tests: intake stops, what is in flight settles, all tables are emptied in one
// transaction while positions go on, and intake begins again. It must never be
// within reach of a shop's customers. On a database that several processes may share it
// is refused with ErrShared: another one would go on with what it has in memory.
func (r *Runtime) Reset(ctx context.Context) error {
	for _, w := range r.writers {
		if _, ok := w.store.(driver.Resetter); !ok || !w.store.Powers().Exclusive {
			return ErrShared
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
		resetter := w.store.(driver.Resetter)
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
