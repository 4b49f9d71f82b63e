package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/internal/house"
	"example.org/souk/mall/event"
)

// Backlog measures how fast a service that joins later takes what has happened before: each event goes through a handler
// that runs one statement and through a view. The rate at a large backlog should be that at a small one.
type Backlog struct {
	Small, Large int // events, even; defaults 5,000 and 1,000,000
	Rounds       int // of the small one, whose median counts; default 5
	Log          io.Writer
}

// BacklogResult is the rate of each, in events a second that have passed handler and view.
type BacklogResult struct {
	Small          int      `json:"small"`
	Large          int      `json:"large"`
	SmallPerSecond float64  `json:"smallPerSecond"`
	LargePerSecond float64  `json:"largePerSecond"`
	Ratio          float64  `json:"ratio"` // of the large one's to the small one's
	Violations     []string `json:"violations"`
}

// Run consumes both.
func (b Backlog) Run(ctx context.Context) (res BacklogResult, err error) {
	if b.Small <= 0 {
		b.Small = 5_000
	}
	if b.Large <= 0 {
		b.Large = 1_000_000
	}
	if b.Rounds <= 0 {
		b.Rounds = 5
	}
	res.Small, res.Large, res.Violations = b.Small, b.Large, []string{}
	consume := func(events int) (float64, error) {
		perSecond, found, err := b.consume(ctx, events)
		res.Violations = append(res.Violations, found...)
		return perSecond, err
	}
	var rates []float64
	for range b.Rounds {
		r, err := consume(b.Small)
		if err != nil {
			return res, err
		}
		rates = append(rates, r)
	}
	slices.Sort(rates)
	res.SmallPerSecond = rates[len(rates)/2]
	if res.LargePerSecond, err = consume(b.Large); err != nil {
		return res, err
	}
	res.Ratio = res.LargePerSecond / res.SmallPerSecond
	return res, nil
}

// latecomer is the service that joins later.
func latecomer() *backbone.Service {
	return &backbone.Service{
		Name:  "latecomer",
		About: "Counts what each customer has ordered.",
		Subscribes: []backbone.Subscriber{
			backbone.On(func(ctx context.Context, tx backbone.Tx, e event.OrderPlaced) error {
				return tx.Exec(ctx, `INSERT INTO {counted} AS c (customer, placed, approved) VALUES ($1, 1, 0)
					ON CONFLICT (customer) DO UPDATE SET placed = c.placed + 1`, e.Customer)
			}).From(backbone.FromFirst),
			backbone.On(func(ctx context.Context, tx backbone.Tx, e event.OrderApproved) error {
				return tx.Exec(ctx, `INSERT INTO {counted} AS c (customer, placed, approved) VALUES ($1, 0, 1)
					ON CONFLICT (customer) DO UPDATE SET approved = c.approved + 1`, e.Customer)
			}).From(backbone.FromFirst),
		},
		Views: []backbone.View{{
			Name: "spent", From: backbone.FromFirst,
			Projections: []backbone.Projection{
				backbone.ProjectBy(func(e event.OrderPlaced) string { return e.Customer },
					func(ctx context.Context, tx backbone.ViewTx, e event.OrderPlaced) error {
						return tx.Exec(ctx, `INSERT INTO {spent} AS s (customer, ordered, approved) VALUES ($1, $2, 0)
							ON CONFLICT (customer) DO UPDATE SET ordered = s.ordered + excluded.ordered`, e.Customer, e.Total.Amount)
					}),
				backbone.ProjectBy(func(e event.OrderApproved) string { return e.Customer },
					func(ctx context.Context, tx backbone.ViewTx, e event.OrderApproved) error {
						return tx.Exec(ctx, `INSERT INTO {spent} AS s (customer, ordered, approved) VALUES ($1, 0, $2)
							ON CONFLICT (customer) DO UPDATE SET approved = s.approved + excluded.approved`, e.Customer, e.Total.Amount)
					}),
			},
		}},
		Migrations: tables(`CREATE TABLE {counted} (customer TEXT PRIMARY KEY, placed BIGINT NOT NULL, approved BIGINT NOT NULL);
			CREATE TABLE {spent} (customer TEXT PRIMARY KEY, ordered BIGINT NOT NULL, approved BIGINT NOT NULL);`),
	}
}

// consume fills a log, has the latecomer take it all, and compares what it made of it with the sums over the log.
func (b Backlog) consume(ctx context.Context, events int) (perSecond float64, violations []string, err error) {
	var handled atomic.Int64
	done := make(chan struct{})
	want := int64(2 * events) // each by the handler and by the view
	s, err := openStage(ctx, stageConfig{
		parts: house.Parts(house.Ports{}, latecomer()), run: []string{"latecomer"}, log: b.Log,
		hooks: backbone.Hooks{Handled: func(_ context.Context, h backbone.HandledStats) {
			if h.Err == nil && handled.Add(1) == want {
				close(done)
			}
		}},
	})
	if err != nil {
		return 0, nil, err
	}
	defer func() { err = errors.Join(err, s.close(ctx)) }()
	if err := roomFor(s.dir, events); err != nil {
		return 0, nil, err
	}
	if err := fill(ctx, s.store, events, b.Log); err != nil {
		return 0, nil, err
	}
	if err := s.runtime.Start(ctx); err != nil {
		return 0, nil, err
	}
	began := time.Now()
	say := newProgress(b.Log, "consumed", "events", events)
	tick := time.NewTicker(sayEvery)
	defer tick.Stop()
	for waiting := true; waiting; {
		select {
		case <-done:
			waiting = false
		case <-tick.C:
			say.at(int(handled.Load() / 2))
		case <-ctx.Done():
			return 0, nil, ctx.Err()
		}
	}
	perSecond = rate(events, time.Since(began))
	sums := sumsOf(events)
	for _, c := range []struct {
		what string
		sql  string
		want int64
	}{
		{"placed", `SELECT sum(placed) FROM {counted}`, sums.orders},
		{"approved", `SELECT sum(approved) FROM {counted}`, sums.orders},
		{"ordered", `SELECT sum(ordered) FROM {spent}`, sums.revenue},
		{"approved in the view", `SELECT sum(approved) FROM {spent}`, sums.revenue},
	} {
		got, err := s.number(ctx, "latecomer", c.sql)
		if err != nil {
			return 0, nil, err
		}
		if got != c.want {
			violations = append(violations, fmt.Sprintf("%s: %d, should be %d", c.what, got, c.want))
		}
	}
	return perSecond, violations, nil
}
