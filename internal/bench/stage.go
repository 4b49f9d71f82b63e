package bench

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing/fstest"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/logbus"
	"example.org/souk/backbone/sqlitestore"
)

// stage runs services of a benchmark in this process, on a database of their own.
type stage struct {
	runtime *backbone.Runtime
	store   driver.Store
	bus     *logbus.Bus
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
	store, err := sqlitestore.Open(ctx, sqlitestore.Config{Path: filepath.Join(s.dir, "bench.db"), Log: logger})
	if err != nil {
		return nil, err
	}
	if s.store = store; c.wrap != nil {
		s.store = c.wrap(store)
	}
	storeOf := func(string) driver.Store { return s.store }
	s.bus = logbus.New(logbus.Config{Store: storeOf, Logger: logger})
	if s.runtime, err = backbone.New(backbone.Config{
		Parts: c.parts, Run: c.run, Store: storeOf, Transport: s.bus, Logger: logger, Hooks: c.hooks,
	}); err != nil {
		return nil, err
	}
	return s, s.runtime.Migrate(ctx)
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
