package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
)

// Delivery measures how long it takes from the commit of an event to the end of a handler in another service, by one
// clock: in the same runtime, or, with DB, in another one, with which the first shares nothing but that database and what carries the messages.
type Delivery struct {
	DB       string        // URL of an empty PostgreSQL database
	Broker   string        // with DB: URL of the broker that carries the messages; default: the log does
	Duration time.Duration // of each run; default 10 s
	Idle     int           // events a second where nothing else happens; default 20
	Busy     int           // events a second of the other run; default 1,000
	Log      io.Writer
}

// DeliveryResult is what both runs found.
type DeliveryResult struct {
	Idle       DeliveryTimes `json:"idle"`
	Busy       DeliveryTimes `json:"busy"`
	Violations []string      `json:"violations"`
}

// DeliveryTimes are of one run, from the commit of the event.
type DeliveryTimes struct {
	PerSecond int   `json:"perSecond"`
	Events    int   `json:"events"`
	HandledMS Times `json:"handledMs"` // until the handler's function ends
	SettledMS Times `json:"settledMs"` // until what the handler did is committed too
}

// rung is the event that is delivered; its command is ring.
type rung struct {
	Bell string `json:"bell"`
}

type ring struct {
	Bell string `json:"bell"`
}

// EventType implements backbone.Event.
func (rung) EventType() string { return "bench.tower.Rung.v1" }

// CommandType implements backbone.Command.
func (ring) CommandType() string { return "bench.tower.Ring.v1" }

// Stream implements backbone.Command.
func (c ring) Stream() string { return c.Bell }

// Run rings at idle, then under load.
func (d Delivery) Run(ctx context.Context) (res DeliveryResult, err error) {
	if d.Duration <= 0 {
		d.Duration = 10 * time.Second
	}
	if d.Idle <= 0 {
		d.Idle = 20
	}
	if d.Busy <= 0 {
		d.Busy = 1000
	}
	res.Violations = []string{}
	for _, run := range []struct {
		perSecond int
		into      *DeliveryTimes
	}{{d.Idle, &res.Idle}, {d.Busy, &res.Busy}} {
		found, err := d.ring(ctx, run.perSecond, run.into)
		if err != nil {
			return res, err
		}
		res.Violations = append(res.Violations, found...)
	}
	return res, nil
}

// ring sends events at a rate and notes when each was committed, handled and settled.
func (d Delivery) ring(ctx context.Context, perSecond int, into *DeliveryTimes) (violations []string, failure error) {
	into.PerSecond = perSecond
	w := &watch{committed: map[string]time.Time{}}
	bell := &backbone.Aggregate[int]{
		Name: "bell", Public: []backbone.Event{rung{}}, Evolve: func(n int, _ backbone.Event) int { return n + 1 },
	}
	tower := &backbone.Service{
		Name: "tower", About: "Rings.",
		Handles: []backbone.Handler{backbone.Decide(bell, func(_ int, c ring, _ backbone.Meta) ([]backbone.Event, error) {
			return []backbone.Event{rung(c)}, nil
		})},
	}
	village := &backbone.Service{
		Name: "village", About: "Hears.",
		Subscribes: []backbone.Subscriber{backbone.On(func(ctx context.Context, tx backbone.Tx, e rung) error {
			err := tx.Exec(ctx, `INSERT INTO {heard} (bell) VALUES ($1)`, e.Bell)
			w.handled(tx.Message().ID)
			return err
		})},
		Migrations: tables(`CREATE TABLE {heard} (bell TEXT PRIMARY KEY);`),
	}
	stages := [][]string{nil}
	if d.DB != "" {
		stages = [][]string{{village.Name}, {tower.Name}}
	}
	var s *stage // which rings
	for _, run := range stages {
		opened, err := openStage(ctx, stageConfig{
			parts: []*backbone.Service{tower, village}, run: run, log: d.Log, db: d.DB, broker: d.Broker,
			wrap: func(inner driver.Store) driver.Store { return &watchedStore{inner, w} },
			hooks: backbone.Hooks{Handled: func(_ context.Context, h backbone.HandledStats) {
				if h.Err == nil && h.Message.Type == (rung{}).EventType() {
					w.settled(h.Message.ID)
				}
			}},
		})
		if err != nil {
			return nil, err
		}
		defer func() { failure = errors.Join(failure, opened.close(ctx)) }()
		if err := opened.runtime.Start(ctx); err != nil {
			return nil, err
		}
		s = opened
	}
	var asked sync.WaitGroup
	var mu sync.Mutex
	var failed []error
	sent := 0
	now := time.Now()
	pace(ctx, now, now.Add(d.Duration), perSecond, func(time.Time) {
		sent++
		c := ring{Bell: fmt.Sprintf("bell%d-%07d", perSecond, sent)}
		asked.Go(func() {
			if a, err := s.runtime.Do(ctx, c); errors.Join(err, a.Err()) != nil {
				mu.Lock()
				failed = append(failed, errors.Join(err, a.Err()))
				mu.Unlock()
			}
		})
	})
	asked.Wait()
	if err := errors.Join(failed...); err != nil {
		return nil, err
	}
	w.awaitSettled(ctx, sent)
	w.mu.Lock()
	defer w.mu.Unlock()
	into.Events, into.HandledMS, into.SettledMS = len(w.handledAfter), times(w.handledAfter), times(w.settledAfter)
	if len(w.handledAfter) != sent || len(w.settledAfter) != sent {
		violations = append(violations, fmt.Sprintf("%d events were sent, %d handled, %d settled", sent, len(w.handledAfter), len(w.settledAfter)))
	}
	return violations, nil
}

// pace calls f for each instant at which something is due, so many a second from began until an end, in this goroutine. When it is
// late it catches up, so that what f sends does not become less because the machine is slow.
func pace(ctx context.Context, began, until time.Time, perSecond int, f func(due time.Time)) {
	gap := time.Second / time.Duration(perSecond)
	for due := began; due.Before(until) && ctx.Err() == nil; due = due.Add(gap) {
		if wait := time.Until(due); wait > 0 {
			time.Sleep(wait)
		}
		f(due)
	}
}

// watch notes how long after its commit each event was handled.
type watch struct {
	mu           sync.Mutex
	committed    map[string]time.Time // by id of the event
	handledAfter []time.Duration
	settledAfter []time.Duration
}

func (w *watch) commit(ids []string, at time.Time) {
	w.mu.Lock()
	for _, id := range ids {
		w.committed[id] = at
	}
	w.mu.Unlock()
}

func (w *watch) handled(id string) {
	now := time.Now()
	w.mu.Lock()
	w.handledAfter = append(w.handledAfter, now.Sub(w.committed[id]))
	w.mu.Unlock()
}

func (w *watch) settled(id string) {
	now := time.Now()
	w.mu.Lock()
	w.settledAfter = append(w.settledAfter, now.Sub(w.committed[id]))
	w.mu.Unlock()
}

// awaitSettled waits until so many events are settled, or nothing comes any more.
func (w *watch) awaitSettled(ctx context.Context, events int) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for settled, moved := 0, time.Now(); settled < events && time.Since(moved) < 30*time.Second; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		w.mu.Lock()
		if n := len(w.settledAfter); n > settled {
			settled, moved = n, time.Now()
		}
		w.mu.Unlock()
	}
}

// watchedStore tells a watch of the events in its transactions once they are committed.
type watchedStore struct {
	driver.Store
	w *watch
}

// Begin implements driver.Store.
func (s *watchedStore) Begin(ctx context.Context) (driver.Tx, error) {
	tx, err := s.Store.Begin(ctx)
	if err != nil {
		return nil, err
	}
	return &watchedTx{Tx: tx, w: s.w}, nil
}

type watchedTx struct {
	driver.Tx
	w   *watch
	ids []string
}

// Apply implements driver.Tx.
func (t *watchedTx) Apply(ctx context.Context, service string, w *driver.Writes) error {
	for i := range w.Records {
		if w.Records[i].Kind == driver.KindEvent {
			t.ids = append(t.ids, w.Records[i].ID)
		}
	}
	return t.Tx.Apply(ctx, service, w)
}

// Commit implements driver.Tx.
func (t *watchedTx) Commit(ctx context.Context) error {
	err := t.Tx.Commit(ctx)
	if err == nil {
		t.w.commit(t.ids, time.Now())
	}
	return err
}
