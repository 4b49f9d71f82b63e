package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/internal/house"
	"example.org/souk/mall/analytics"
)

// Rebuild measures how fast a view of the analytics service is made again from a log of so many events, half of them
// orders placed and half approved. It runs in a process of its own, on one core.
type Rebuild struct {
	Program []string // runs souk; its arguments follow
	Events  int      // even; default 10,000,000
	View    string   // sales, outcomes or products; default outcomes, the one that takes every event of the log
	Log     io.Writer
}

// RebuildResult is what a rebuild took.
type RebuildResult struct {
	View            string  `json:"view"`
	Events          int     `json:"events"` // in the log
	Applied         int     `json:"applied"`
	Seconds         float64 `json:"seconds"`
	EventsPerSecond float64 `json:"eventsPerSecond"` // those that the view takes
	Usage
	Violations []string `json:"violations"`
}

// Run fills a log, has the view rebuilt, and compares what it then shows with the sums over the log.
func (r Rebuild) Run(ctx context.Context) (res RebuildResult, err error) {
	if r.Events <= 0 {
		r.Events = 10_000_000
	}
	if r.View == "" {
		r.View = "outcomes"
	}
	dir, err := os.MkdirTemp("", "souk-bench-")
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := begin(ctx, dir); err != nil {
		return res, err
	}
	if _, err := fillMall(ctx, dir, r.Events, r.Log); err != nil {
		return res, err
	}
	if err := runPart(ctx, r.Program, dir, 1, r.Log, &res, "rebuild", r.View); err != nil {
		return res, err
	}
	res.View, res.Events, res.Applied = r.View, r.Events, r.Events
	if r.View != "outcomes" {
		res.Applied /= 2
	}
	res.EventsPerSecond = float64(res.Applied) / res.Seconds
	res.Violations, err = checkRebuilt(ctx, dir, r.View, sumsOf(r.Events))
	return res, err
}

// begin makes a mall in a directory, with all its subscriptions.
func begin(ctx context.Context, dir string) error {
	h, err := house.Open(ctx, house.Config{Data: dir, Quiet: true, Empty: true})
	if err != nil {
		return err
	}
	return errors.Join(h.Start(ctx), h.Stop(ctx))
}

// RebuildPart rebuilds a view of the mall in a directory, in this process.
func RebuildPart(ctx context.Context, dir, view string, log io.Writer) (res RebuildResult, err error) {
	h, err := house.Open(ctx, house.Config{Data: dir, Quiet: true, Empty: true})
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, h.Stop(context.WithoutCancel(ctx))) }()
	if err := h.Start(ctx); err != nil {
		return res, err
	}
	var say *progress
	cpu, began := cpuOfThis(), time.Now()
	err = h.Runtime.Rebuild(ctx, "analytics", view, func(p backbone.RebuildProgress) {
		if say == nil {
			say = newProgress(log, "rebuilt", "records", int(p.Total))
		}
		say.at(int(p.Done))
	})
	res.Seconds, res.Usage = time.Since(began).Seconds(), usedSince(cpu)
	return res, err
}

// checkRebuilt compares a view with the sums over the log that it was made from.
func checkRebuilt(ctx context.Context, dir, view string, want pastSums) (violations []string, err error) {
	h, err := house.Open(ctx, house.Config{Data: dir, Quiet: true, Empty: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, h.Stop(context.WithoutCancel(ctx))) }()
	if err := h.Migrate(ctx); err != nil {
		return nil, err
	}
	violations = []string{}
	differ := func(what string, got, want int64) {
		if got != want {
			violations = append(violations, fmt.Sprintf("%s: %d, should be %d", what, got, want))
		}
	}
	reader, until := h.Runtime.Reader("analytics"), filledSince.AddDate(100, 0, 0)
	switch view {
	case "outcomes":
		counts, err := analytics.Outcomes(ctx, reader, filledSince, until)
		if err != nil {
			return nil, err
		}
		differ("placed", counts[analytics.Placed], want.orders)
		differ("approved", counts[analytics.Approved], want.orders)
	case "sales":
		hours, err := analytics.Sales(ctx, reader, filledSince, until)
		if err != nil {
			return nil, err
		}
		var orders, revenue int64
		for _, hour := range hours {
			orders, revenue = orders+hour.Orders, revenue+hour.Revenue.Amount
		}
		differ("orders", orders, want.orders)
		differ("revenue", revenue, want.revenue)
	case "products":
		list, err := analytics.Products(ctx, reader, 2*fillWares)
		if err != nil {
			return nil, err
		}
		differ("products", int64(len(list)), int64(len(want.quantity)))
		for _, p := range list {
			differ("quantity of "+p.Product, p.Quantity, want.quantity[p.Product])
		}
	default:
		return nil, fmt.Errorf("no sums are known of view %q", view)
	}
	return violations, nil
}
