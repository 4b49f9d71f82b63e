package faulty

import (
	"context"

	"example.org/souk/backbone/driver"
)

// database is a store with all that one of several processes can do.
type database interface {
	driver.Store
	driver.Looker
	driver.Blockers
}

// store is a database that does without the inbox, or without the epochs of slices. Two of the same database are equal, as their
// databases are.
type store struct {
	database
	step string
}

// Begin implements driver.Store.
func (s store) Begin(ctx context.Context) (driver.Tx, error) {
	t, err := s.database.Begin(ctx)
	if err != nil {
		return nil, err
	}
	return tx{t, s.step}, nil
}

// Handled implements driver.Slices.
func (s store) Handled(ctx context.Context, service, subscription, source string, ids []string) (map[string]string, error) {
	if s.step == Inbox {
		return nil, nil
	}
	return s.database.Handled(ctx, service, subscription, source, ids)
}

// Seize implements driver.Rebuilder.
func (s store) Seize(ctx context.Context, t driver.Tx, service string, tables, subscriptions []string) ([]driver.Checkpoint, error) {
	return s.database.Seize(ctx, inner(t), service, tables, subscriptions)
}

// SwapShadow implements driver.Rebuilder.
func (s store) SwapShadow(ctx context.Context, t driver.Tx, service string, tables []string) error {
	return s.database.SwapShadow(ctx, inner(t), service, tables)
}

// tx is a transaction of a store.
type tx struct {
	driver.Tx
	step string
}

// inner is what the database knows of a transaction.
func inner(t driver.Tx) driver.Tx {
	if own, ok := t.(tx); ok {
		return own.Tx
	}
	return t
}

// Inbox implements driver.Tx.
func (t tx) Inbox(ctx context.Context, service string, rows []driver.InboxRow) ([]string, error) {
	if t.step == Inbox {
		return make([]string, len(rows)), nil
	}
	return t.Tx.Inbox(ctx, service, rows)
}

// Apply implements driver.Tx.
func (t tx) Apply(ctx context.Context, service string, w *driver.Writes) error {
	without := *w
	switch t.step {
	case Inbox:
		without.Inbox = nil
	case Epoch:
		without.Guards = nil
	}
	return t.Tx.Apply(ctx, service, &without)
}
