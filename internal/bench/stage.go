package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing/fstest"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/pgstore"
	"example.org/souk/backbone/sqlitestore"
	"example.org/souk/internal/house"
)

// stage runs services of a benchmark in this process, on a database of their own.
type stage struct {
	runtime *backbone.Runtime
	store   driver.Store
	bus     driver.Transport
	dir     string
}

// stageConfig says what a stage runs.
type stageConfig struct {
	parts []*backbone.Service
	run   []string // of parts; nil runs all
	hooks backbone.Hooks
	// wrap is put around the database; nil leaves it as it is.
	wrap func(driver.Store) driver.Store
	log  io.Writer // hears of warnings; may be nil
	// db is the URL of a PostgreSQL database, broker of what carries the messages; "": a SQLite database that is thrown away, and its log.
	db, broker string
}

// openStage opens a stage whose tables are there. Nothing runs before runtime.Start.
func openStage(ctx context.Context, c stageConfig) (_ *stage, err error) {
	s := &stage{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close(ctx))
		}
	}()
	if c.log == nil {
		c.log = io.Discard
	}
	logger := slog.New(slog.NewTextHandler(c.log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if s.dir, err = os.MkdirTemp("", "souk-bench-"); err != nil {
		return nil, err
	}
	if s.store, err = s.open(ctx, c.db, logger); err != nil {
		return nil, err
	}
	if c.wrap != nil {
		s.store = c.wrap(s.store)
	}
	storeOf := func(string) driver.Store { return s.store }
	if s.bus, err = house.OpenTransport(ctx, house.TransportConfig{Broker: c.broker, Owner: rand.Text(), Store: storeOf, Logger: logger}); err != nil {
		return nil, err
	}
	if s.runtime, err = backbone.New(backbone.Config{
		Parts: c.parts, Run: c.run, Store: storeOf, Transport: s.bus, Logger: logger, Hooks: c.hooks,
	}); err != nil {
		return nil, err
	}
	return s, s.runtime.Migrate(ctx)
}

// open opens the database that has this URL, or one in the stage's directory.
func (s *stage) open(ctx context.Context, url string, logger *slog.Logger) (driver.Store, error) {
	if url != "" {
		return pgstore.Open(ctx, pgstore.Config{URL: url, Log: logger})
	}
	return sqlitestore.Open(ctx, sqlitestore.Config{Path: filepath.Join(s.dir, "bench.db"), Log: logger})
}

// close ends what runs and removes the database.
func (s *stage) close(ctx context.Context) error {
	var errs []error
	if s.runtime != nil {
		errs = append(errs, s.runtime.Stop(context.WithoutCancel(ctx)))
	}
	if s.bus != nil {
		errs = append(errs, s.bus.Close())
	}
	if s.store != nil {
		errs = append(errs, s.store.Close())
	}
	if s.dir != "" {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	return errors.Join(errs...)
}

// number asks a service's tables for one number.
func (s *stage) number(ctx context.Context, service, sql string) (n int64, err error) {
	rows, err := s.runtime.Reader(service).Query(ctx, sql)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	if rows.Next() {
		err = rows.Scan(&n)
	}
	return n, errors.Join(err, rows.Err())
}

// tables are the migrations of a service that has these.
func tables(sql string) fstest.MapFS {
	return fstest.MapFS{"0001_tables.sql": {Data: []byte("-- +goose Up\n" + sql + "\n")}}
}

// idle waits until nothing is in flight.
func idle(ctx context.Context, r *backbone.Runtime) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := r.Idle(ctx)
		if ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
