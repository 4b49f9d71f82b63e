package logbus

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"example.org/souk/backbone/driver"
)

// lapsed reports whether the leases may be another's by now: two thirds of their
// time have passed without renewal, by this process's own clock.
func (s *subscription) lapsed() bool {
	d := s.deadline.Load()
	return d > 0 && int64(time.Since(s.began)) > d
}

func (s *subscription) leased(since time.Time) {
	s.renewed = since
	s.deadline.Store(int64(since.Sub(s.began) + s.bus.config.Lease*2/3))
}

// share works a fair part of the slices as long as it can renew their leases.
func (s *subscription) share(ctx context.Context, failed <-chan error) error {
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case <-sweep.C:
			s.sweep(ctx)
		case <-next.C:
			if err := s.tend(ctx); err != nil && ctx.Err() == nil {
				s.bus.config.Logger.Warn("tending slices failed, trying again", "subscription", s.Name, "error", err)
				next.Reset(min(s.bus.config.Poll, s.bus.config.Lease/12))
			} else if len(s.held) == 0 {
				next.Reset(min(s.bus.config.Poll, s.bus.config.Lease/3))
			} else {
				next.Reset(s.bus.config.Lease / 3)
			}
		}
	}
}

// tend renews what is held, then takes or gives slices towards a fair share.
func (s *subscription) tend(ctx context.Context) error {
	if len(s.held) > 0 {
		if err := s.renew(ctx); err != nil {
			return err
		}
	}
	return s.balance(ctx)
}

func (s *subscription) renew(ctx context.Context) error {
	start := time.Now()
	left := s.bus.config.Lease*2/3 - start.Sub(s.renewed)
	if left <= 0 {
		s.revoke(s.slices())
		return nil
	}
	bounded, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	kept, err := s.store.Renew(bounded, s.Service, s.Name, s.bus.config.Owner, s.bus.config.Lease)
	if err != nil {
		if s.lapsed() {
			s.revoke(s.slices())
		}
		return fmt.Errorf("renew: %w", err)
	}
	s.leased(start)
	lost := slices.DeleteFunc(s.slices(), func(i int) bool { return slices.Contains(kept, i) })
	s.revoke(lost)
	for _, f := range s.feeds {
		poke(f.wake) // it may have stopped when the lease was nearly over
	}
	return nil
}

// balance compares what is held with an equal share among the owners that live.
func (s *subscription) balance(ctx context.Context) error {
	me := s.bus.config.Owner
	cps, err := s.store.Checkpoints(ctx, s.Service, s.Name)
	if err != nil {
		return fmt.Errorf("read checkpoints: %w", err)
	}
	clock, err := s.store.Now(ctx)
	if err != nil {
		return fmt.Errorf("read clock: %w", err)
	}
	now := clock.UnixMicro()
	owners := map[string]bool{me: true}
	taken := map[int]bool{}
	for _, c := range cps {
		if c.Owner != "" && c.Owner != me && c.LeaseUntil > now {
			owners[c.Owner], taken[c.Slice] = true, true
		}
	}
	waiting, err := s.waiting(ctx, now)
	if err != nil {
		return err
	}
	for owner := range waiting {
		owners[owner] = true
	}
	share := (len(s.slots) + len(owners) - 1) / len(owners)
	switch held := s.slices(); {
	case len(held) > share:
		excess := held[share:]
		s.revoke(excess)
		if err := s.store.Release(ctx, s.Service, s.Name, me, excess); err != nil {
			return fmt.Errorf("release: %w", err)
		}
	case len(held) < share && len(taken)+len(held) < len(s.slots):
		// A claim raises the epochs of slices that are held already too, so
		// nothing of them may be in flight.
		s.revoke(held)
		start := time.Now()
		got, err := s.store.Claim(ctx, s.Service, s.Name, me, share, s.bus.config.Lease)
		if err != nil {
			return fmt.Errorf("claim: %w", err)
		}
		s.leased(start)
		s.assign(ctx, got)
	}
	if len(s.held) == 0 {
		return s.wait(ctx, waiting, now)
	}
	return nil
}

// An owner without slices is not to be seen in the checkpoints, so it notes that
// it waits. The note is one value that all write: a note may be lost to another
// and is written again at the next look, and only fairness hangs on it.

func (s *subscription) note() string { return "logbus.waiting." + s.Name }

// waiting returns the owners whose note has not run out, with its end.
func (s *subscription) waiting(ctx context.Context, now int64) (map[string]int64, error) {
	raw, err := s.store.Value(ctx, s.Service, s.note())
	if err != nil {
		return nil, fmt.Errorf("read who waits: %w", err)
	}
	out := map[string]int64{}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &out); err != nil {
			return nil, fmt.Errorf("read who waits: %w", err)
		}
	}
	for owner, until := range out {
		if until <= now {
			delete(out, owner)
		}
	}
	return out, nil
}

// wait notes that this owner wants slices.
func (s *subscription) wait(ctx context.Context, waiting map[string]int64, now int64) error {
	waiting[s.bus.config.Owner] = now + s.bus.config.Lease.Microseconds()
	raw, err := json.Marshal(waiting)
	if err != nil {
		return err
	}
	if err := s.store.SetValue(ctx, s.Service, s.note(), raw); err != nil {
		return fmt.Errorf("note that it waits: %w", err)
	}
	return nil
}

var (
	_ driver.Transport = (*Bus)(nil)
	_ driver.Committed = (*Bus)(nil)
)
