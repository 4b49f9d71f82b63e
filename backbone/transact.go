package backbone

import (
	"context"

	"example.org/souk/backbone/driver"
)

// Transaction is what work sees of the write transaction that Transact runs it in.
type Transaction interface {
	// Exec runs statements in order. After an error nothing of the transaction stays.
	Exec(ctx context.Context, statements []driver.Statement) error
	// Query runs a read within the transaction. Close its result before the next call.
	Query(ctx context.Context, sql string, args ...any) (driver.Rows, error)
}

// Transact runs work in a write transaction of a database and returns when that is
// durable. It is for tables that a program keeps beside its services. Work that comes
// while a transaction is under way shares the next one, and where this process has the
// database to itself also with what its services write: many callers pay for one flush
// of the disk. Everybody else's writing waits while work runs: be short.
//
// Work is run again where its transaction was lost, so it must not add to what an
// earlier attempt left outside. An error of its own takes back what it did and is
// returned; it does not touch others. When ctx ends first its error is returned, and
// the work may still take effect. Other errors are ErrUnavailable, and ErrStopped before
// Start and after Stop.
func (r *Runtime) Transact(ctx context.Context, store driver.Store, work func(ctx context.Context, tx Transaction) error) error {
	w, err := r.writerOf(store)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	u := &unit{
		run: func(b *batch, u *unit) error {
			u.flushed = true // what it writes is in the database at once
			return work(context.Background(), b.tx)
		},
		done: func(_ *unit, err error) { ended <- err },
	}
	if err := w.submit(u); err != nil {
		return err
	}
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// writerOf returns the writer that has a database to itself, or else one for what is beside the services.
func (r *Runtime) writerOf(store driver.Store) (*writer, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.started || r.stopped {
		return nil, ErrStopped
	}
	if w := r.beside[store]; w != nil {
		return w, nil
	}
	if store.Powers().Exclusive {
		for _, w := range r.writers {
			if w.store == store {
				return w, nil
			}
		}
	}
	w := newWriter(r, store)
	if r.beside == nil {
		r.beside = map[driver.Store]*writer{}
	}
	r.beside[store] = w
	go w.loop()
	return w, nil
}
