package main

import (
	"context"
	"embed"
	"errors"
	"os"
	"strings"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/mall/event"
)

//go:embed migrations/*.sql
var migrations embed.FS

// cured is the customer whose orders are never refused: an operator puts it into a message that is parked.
const cured = "CURED"

func watcher() *backbone.Service {
	return &backbone.Service{
		Name:  "watcher",
		About: "Notes what it is told, and fails where it is asked to.",
		Subscribes: []backbone.Subscriber{
			backbone.On(func(ctx context.Context, tx backbone.Tx, e event.OrderPlaced) error {
				return see(ctx, tx, e.Order, "placed", e.Customer)
			}).From(backbone.FromFirst),
			backbone.On(func(ctx context.Context, tx backbone.Tx, e event.OrderApproved) error {
				return see(ctx, tx, e.Order, "approved", e.Customer)
			}).From(backbone.FromFirst),
		},
		Views:          []backbone.View{backbone.ViewOf("told", backbone.FromFirst, tell).View},
		Migrations:     migrations,
		Retry:          backbone.RetryPolicy{Attempts: 6, First: 20 * time.Millisecond, Max: 200 * time.Millisecond},
		HandlerTimeout: patience(),
	}
}

// patience is how long a handler may take: what WATCHER_PATIENCE says, or 200 ms.
func patience() time.Duration {
	if d, err := time.ParseDuration(os.Getenv("WATCHER_PATIENCE")); err == nil {
		return d
	}
	return 200 * time.Millisecond
}

// tell counts in a view how often it was told of an order. The orders whose ids ask for it are held at the gate.
func tell(ctx context.Context, tx backbone.ViewTx, e event.OrderPlaced) error {
	if err := atGate(ctx, e.Order); err != nil {
		return err
	}
	return tx.Exec(ctx, `INSERT INTO {told} AS t (order_id, times) VALUES ($1, 1)
		ON CONFLICT (order_id) DO UPDATE SET times = t.times + 1`, e.Order)
}

// atGate keeps the message of an order that asks to be held until there is the file that WATCHER_GATE names, and notes as a run that it
// has come there, and that it goes on.
func atGate(ctx context.Context, order string) error {
	if os.Getenv("WATCHER_GATE") == "" || !strings.HasPrefix(order, "HELD") {
		return nil
	}
	if err := noteRun(order, "is held"); err != nil {
		return err
	}
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for {
		if isThere("WATCHER_GATE") {
			return noteRun(order, "goes on")
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// see notes an event of an order. The note is written before it is known whether the handler fails, so that a failure
// whose effects are kept is seen.
func see(ctx context.Context, tx backbone.Tx, order, what, customer string) error {
	err := tx.Exec(ctx, `INSERT INTO {seen} AS s (order_id, event, customer, times, nth)
		VALUES ($1, $2, $3, 1, (SELECT COUNT(*) FROM {seen} WHERE order_id = $1))
		ON CONFLICT (order_id, event) DO UPDATE SET times = s.times + 1`, order, what, customer)
	if err := noteRun(order, what); err != nil {
		return err
	}
	if err != nil || customer == cured || healed() {
		return err
	}
	switch {
	case strings.HasPrefix(order, "POISON"):
		return backbone.Permanent(errors.New("this order is poison"))
	case strings.HasPrefix(order, "FLAKY"):
		return errors.New("not yet")
	case strings.HasPrefix(order, "SLOW"):
		<-ctx.Done() // longer than a handler may take
		return ctx.Err()
	}
	return nil
}

// noteRun adds a line to the file that WATCHER_RUNS names, outside of every transaction: whoever reads it knows how often the
// handler ran.
func noteRun(order, what string) error {
	name := os.Getenv("WATCHER_RUNS")
	if name == "" {
		return nil
	}
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600) //nolint:gosec // the test says which file
	if err != nil {
		return err
	}
	_, err = f.WriteString(order + " " + what + "\n")
	return errors.Join(err, f.Close())
}

// healed tells whether the file that WATCHER_HEALED names is there: from then on nothing fails.
func healed() bool { return isThere("WATCHER_HEALED") }

// isThere tells whether there is the file that a variable of the environment names.
func isThere(variable string) bool {
	_, err := os.Stat(os.Getenv(variable)) //nolint:gosec // the test says which file
	return err == nil
}
