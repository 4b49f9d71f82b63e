package house

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"

	"example.org/souk/backbone/pgstore"
	"example.org/souk/backbone/sqlitestore"
)

// openStore opens the database: the file in the data directory, or the PostgreSQL database that was named.
func (h *House) openStore(ctx context.Context) (err error) {
	if h.cfg.DB != "" {
		return h.openPostgres(ctx)
	}
	path := filepath.Join(h.cfg.Data, database)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		h.first = true
	}
	store, err := sqlitestore.Open(ctx, sqlitestore.Config{Path: path, Log: h.cfg.Logger})
	if err != nil {
		return err
	}
	h.store = store
	return nil
}

// SQLite returns the database as the file that it is. A mall on PostgreSQL has none, and the error says what is done
// instead.
func (h *House) SQLite() (*sqlitestore.Store, error) {
	if s, ok := h.store.(*sqlitestore.Store); ok {
		return s, nil
	}
	return nil, errors.New("this mall is on PostgreSQL: use its own tools for that (pg_dump, psql)")
}

func (h *House) openPostgres(ctx context.Context) (err error) {
	lock := &databaseLock{url: h.cfg.DB, taken: h.taken}
	if err := lock.take(ctx); err != nil {
		return err
	}
	keep, end := context.WithCancel(context.WithoutCancel(ctx))
	kept := make(chan struct{})
	go func() { defer close(kept); lock.keep(keep) }()
	h.unlock = func() { end(); <-kept }
	store, err := pgstore.Open(ctx, pgstore.Config{URL: h.cfg.DB, Log: h.cfg.Logger})
	if err != nil {
		return err
	}
	h.store = store
	rows, err := store.Query(ctx, "SELECT count(*) FROM information_schema.schemata WHERE schema_name = 'orders'")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	count := 0
	if rows.Next() {
		if err := rows.Scan(&count); err != nil {
			return err
		}
	}
	h.first = count == 0
	return rows.Err()
}

// errTaken says that somebody else's mall uses the database.
var errTaken = errors.New("another mall runs on this database")

// Taken receives an error when another mall has taken the database over while its server was away: this one must end.
func (h *House) Taken() <-chan error { return h.taken }

// databaseLock is the lock of a mall on its PostgreSQL database: seals and the requests of operators have one owner. It is held by
// a connection, so it goes with the process; where the server was away it is taken again.
type databaseLock struct {
	url   string
	taken chan<- error
	conn  *pgx.Conn
}

const lockEvery = time.Second

// take connects and takes the lock; errTaken where somebody else has it.
func (l *databaseLock) take(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, l.url)
	if err != nil {
		return fmt.Errorf("database: %w", err)
	}
	name := fnv.New64a()
	_, _ = name.Write([]byte("souk mall")) // a hash takes everything
	locked := false
	err = conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", int64(name.Sum64())).Scan(&locked)
	if err == nil && !locked {
		err = errTaken
	}
	l.conn = conn
	if err != nil {
		l.drop(ctx)
		return err
	}
	return nil
}

func (l *databaseLock) drop(ctx context.Context) {
	if l.conn == nil {
		return
	}
	ended, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	_ = l.conn.Close(ended) // the server takes the lock back either way
	l.conn = nil
}

// keep looks after the lock until ctx ends.
func (l *databaseLock) keep(ctx context.Context) {
	defer l.drop(ctx)
	tick := time.NewTicker(lockEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		bounded, cancel := context.WithTimeout(ctx, 5*lockEvery)
		if l.conn != nil && l.conn.Ping(bounded) != nil {
			l.drop(ctx)
		}
		if l.conn == nil && errors.Is(l.take(bounded), errTaken) {
			l.taken <- fmt.Errorf("%w: it began while the database's server was away from here", errTaken)
			cancel()
			return
		}
		cancel()
	}
}
