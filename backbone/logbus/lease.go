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
		Lease: c.Lease, Poll: c.Poll, Logger: c.Logger, Assign: s.assign, Revoke: s.revoke,
		Renewed: func() {
			for _, f := range s.feeds {
				poke(f.wake) // it may have stopped when the lease was nearly over
			}
		},
	})
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
			next.Reset(0)
		case <-next.C:
			next.Reset(s.held.Tend(ctx))
		}
	}
}
