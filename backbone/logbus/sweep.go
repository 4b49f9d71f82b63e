package logbus

import (
	"context"
	"fmt"
	"slices"

	"example.org/souk/backbone/driver"
)

// lag is a slice whose last delivery lies behind what its feed has scanned.
type lag struct {
	slice, feed int
	mark        mark
	to          int64
}

// lagging returns the slices of which nothing was delivered in the last least
// positions that their feed has scanned. It passes over a slice that is being
// delivered to.
func (s *subscription) lagging(least int64) []lag {
	var out []lag
	for _, i := range s.held.Held() {
		slot := s.slots[i]
		if !slot.mu.TryLock() {
			continue
		}
		for j, f := range s.feeds {
			m := slot.marks[j]
			if to := f.scanned.Load(); m.joined && to-m.prev >= least {
				out = append(out, lag{i, j, m, to})
			}
		}
		slot.mu.Unlock()
	}
	return out
}

// sweep moves the checkpoints of idle slices over positions that held nothing for
// them: where the log is busy only those that lie far behind, so that it stays
// cheap, and where it is quiet all of them, so that they come to rest at its head.
func (s *subscription) sweep(ctx context.Context) {
	lags := s.lagging(1)
	quiet := make([]bool, len(s.feeds))
	for i, f := range s.feeds {
		scanned := f.scanned.Load()
		quiet[i] = scanned == f.swept
		f.swept = scanned
	}
	lags = slices.DeleteFunc(lags, func(l lag) bool { return !quiet[l.feed] && l.to-l.mark.prev < sweepLag })
	s.advance(ctx, lags, false)
}

// advance moves the checkpoints of those slices that turn out to be idle: the
// stored position equals the last delivered one, so no effect that would move it
// is on its way, and while the slot's lock is held none sets out. With stopped,
// nothing is delivered any more.
func (s *subscription) advance(ctx context.Context, lags []lag, stopped bool) {
	if len(lags) == 0 {
		return
	}
	if err := s.tryAdvance(ctx, lags, stopped); err != nil && (ctx.Err() == nil || stopped) {
		s.bus.config.Logger.Info("moving the checkpoints of idle slices failed, it waits", "subscription", s.Name, "error", err)
	}
}

func (s *subscription) tryAdvance(ctx context.Context, lags []lag, stopped bool) (err error) {
	cps, err := s.store.Checkpoints(ctx, s.Service, s.Name)
	if err != nil {
		return err
	}
	type place struct {
		source string
		slice  int
	}
	stored := make(map[place]driver.Checkpoint, len(cps))
	for _, c := range cps {
		stored[place{c.Source, c.Slice}] = c
	}
	var moves []driver.Move
	var moved []lag
	locked := map[int]bool{}
	for _, l := range lags {
		source := s.feeds[l.feed].interest.Source
		c := stored[place{source, l.slice}]
		if c.Position != l.mark.prev || c.Epoch != l.mark.epoch {
			continue
		}
		slot := s.slots[l.slice]
		if !locked[l.slice] {
			if !slot.mu.TryLock() {
				continue
			}
			locked[l.slice] = true
			defer slot.mu.Unlock()
		}
		if !stopped && slot.marks[l.feed] != l.mark {
			continue
		}
		moves = append(moves, driver.Move{
			Subscription: s.Name, Source: source, Slice: l.slice,
			Epoch: l.mark.epoch, From: l.mark.prev, To: l.to,
		})
		moved = append(moved, l)
	}
	if len(moves) == 0 {
		return nil
	}
	tx, err := s.store.Begin(ctx)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	if err = tx.Apply(ctx, s.Service, &driver.Writes{Moves: moves}); err == nil {
		err = tx.Commit(ctx)
	}
	if err != nil {
		_ = tx.Rollback() // the first error tells
		return err
	}
	for _, l := range moved {
		s.slots[l.slice].marks[l.feed].prev = l.to
	}
	return nil
}
