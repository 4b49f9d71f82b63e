package drivertest

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"example.org/souk/backbone/driver"
)

// FaultyStore is a store from which a process can be cut off, as crashes and
// partitions do it. Its methods may be called concurrently.
type FaultyStore struct {
	driver.Store
	crashed  atomic.Bool
	isolated atomic.Bool
}

// Crash makes everything fail from now on: nothing is released, nothing commits.
func (s *FaultyStore) Crash() { s.crashed.Store(true) }

// Isolate makes leases fail from now on, as in a process that was paused for too
// long; transactions still work.
func (s *FaultyStore) Isolate() { s.isolated.Store(true) }

func (s *FaultyStore) alive() error {
	if s.crashed.Load() {
		return fmt.Errorf("%w: cut off by the test", driver.ErrUnavailable)
	}
	return nil
}

func (s *FaultyStore) leasing() error {
	if s.isolated.Load() {
		return fmt.Errorf("%w: isolated by the test", driver.ErrUnavailable)
	}
	return s.alive()
}

// Begin implements driver.Store.
func (s *FaultyStore) Begin(ctx context.Context) (driver.Tx, error) {
	if err := s.alive(); err != nil {
		return nil, err
	}
	tx, err := s.Store.Begin(ctx)
	if err != nil {
		return nil, err
	}
	return &faultyTx{tx, s}, nil
}

type faultyTx struct {
	driver.Tx
	store *FaultyStore
}

func (t *faultyTx) Commit(ctx context.Context) error {
	if err := t.store.alive(); err != nil {
		return err
	}
	return t.Tx.Commit(ctx)
}

// Head implements driver.Store.
func (s *FaultyStore) Head(ctx context.Context, service string) (int64, error) {
	if err := s.alive(); err != nil {
		return 0, err
	}
	return s.Store.Head(ctx, service)
}

// Look implements driver.Looker: a store that does not look is one whose looks fail.
func (s *FaultyStore) Look(ctx context.Context, services []string) (map[string]driver.Look, error) {
	looker, ok := s.Store.(driver.Looker)
	if !ok {
		return nil, fmt.Errorf("look: %w", driver.ErrNoPower)
	}
	if err := s.alive(); err != nil {
		return nil, err
	}
	return looker.Look(ctx, services)
}

// Read implements driver.Store.
func (s *FaultyStore) Read(ctx context.Context, service string, q driver.ReadQuery) ([]driver.Record, error) {
	if err := s.alive(); err != nil {
		return nil, err
	}
	return s.Store.Read(ctx, service, q)
}

// Claim implements driver.Slices.
func (s *FaultyStore) Claim(ctx context.Context, service, name, owner string, limit int, lease time.Duration, only ...int) ([]driver.Checkpoint, error) {
	if err := s.leasing(); err != nil {
		return nil, err
	}
	return s.Store.Claim(ctx, service, name, owner, limit, lease, only...)
}

// Renew implements driver.Slices.
func (s *FaultyStore) Renew(ctx context.Context, service, name, owner string, lease time.Duration) ([]int, error) {
	if err := s.leasing(); err != nil {
		return nil, err
	}
	return s.Store.Renew(ctx, service, name, owner, lease)
}

// Standing implements driver.Slices.
func (s *FaultyStore) Standing(ctx context.Context, service, name string, values ...string) (driver.Standing, error) {
	if err := s.leasing(); err != nil {
		return driver.Standing{}, err
	}
	return s.Store.Standing(ctx, service, name, values...)
}

// Release implements driver.Slices.
func (s *FaultyStore) Release(ctx context.Context, service, name, owner string, held []int) error {
	if err := s.leasing(); err != nil {
		return err
	}
	return s.Store.Release(ctx, service, name, owner, held)
}

// Checkpoints implements driver.Slices.
func (s *FaultyStore) Checkpoints(ctx context.Context, service, name string) ([]driver.Checkpoint, error) {
	if err := s.leasing(); err != nil {
		return nil, err
	}
	return s.Store.Checkpoints(ctx, service, name)
}

// SetValue implements driver.Slices.
func (s *FaultyStore) SetValue(ctx context.Context, service, name string, value []byte) error {
	if err := s.alive(); err != nil {
		return err
	}
	return s.Store.SetValue(ctx, service, name, value)
}

// Seize implements driver.Rebuilder.
func (s *FaultyStore) Seize(ctx context.Context, tx driver.Tx, service string, tables, subscriptions []string) ([]driver.Checkpoint, error) {
	if faulty, ok := tx.(*faultyTx); ok {
		tx = faulty.Tx
	}
	return s.Store.Seize(ctx, tx, service, tables, subscriptions)
}

// SwapShadow implements driver.Rebuilder.
func (s *FaultyStore) SwapShadow(ctx context.Context, tx driver.Tx, service string, tables []string) error {
	if faulty, ok := tx.(*faultyTx); ok {
		tx = faulty.Tx
	}
	return s.Store.SwapShadow(ctx, tx, service, tables)
}

// WithoutInbox is a store that keeps no inbox: what comes twice takes effect twice. It is
// the control of tests that show that it does not.
type WithoutInbox struct{ driver.Store }

// Begin implements driver.Store.
func (s WithoutInbox) Begin(ctx context.Context) (driver.Tx, error) {
	tx, err := s.Store.Begin(ctx)
	return withoutInboxTx{tx}, err
}

type withoutInboxTx struct{ driver.Tx }

func (withoutInboxTx) Inbox(_ context.Context, _ string, rows []driver.InboxRow) ([]string, error) {
	return make([]string, len(rows)), nil
}

func (t withoutInboxTx) Apply(ctx context.Context, service string, w *driver.Writes) error {
	without := *w
	without.Inbox = nil
	return t.Tx.Apply(ctx, service, &without)
}
