package logbus

import (
	"context"
	"time"

	"example.org/souk/backbone/internal/lease"
)

// holder returns who holds the subscription's slices.
func (s *subscription) holder() *lease.Holder {
	c := &s.bus.config
	return lease.New(lease.Config{
		Store: s.store, Service: s.Service, Subscription: s.Name, Owner: c.Owner, Slices: len(s.slots),
		Lease: c.Lease, Poll: c.Poll, Logger: c.Logger, Assign: s.assign, Revoke: s.revoke, Reads: s.Reads,
		Renewed: func() {
			for _, f := range s.feeds {
				poke(f.wake) // it may have stopped when the lease was nearly over
			}
		},
	})
}

// yieldAll has everything given up, at a record of a type that this process does not read, so that it cannot tell whose it is.
func (s *subscription) yieldAll(wire string) {
	for n := range s.slots {
		s.yields.Add(n, wire)
	}
	poke(s.recheck)
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
		case <-s.recheck:
			if at := s.yields.Take(); len(at) > 0 {
				if err := s.held.Yield(ctx, at); err != nil && ctx.Err() == nil {
					s.bus.config.Logger.Warn("slices that others may read were not given up", "subscription", s.Name, "error", err)
				}
			}
			next.Reset(0)
		case <-next.C:
			next.Reset(s.held.Tend(ctx))
		}
	}
}
