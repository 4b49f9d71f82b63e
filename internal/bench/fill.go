package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/internal/house"
	"example.org/souk/mall"
	"example.org/souk/mall/event"
)

const (
	fillBatch   = 10_000                // records in one transaction; even, since an order has two
	fillGap     = 50 * time.Millisecond // between two orders of a history
	fillBuyers  = 20_000
	fillRegular = 100 // of them, who place every third order
	fillWares   = 200
	bytesFilled = 600 // on disk for an event, about: its row and its two indexes
)

// filledSince is when the first order of a history was placed.
var filledSince = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// past returns the n-th order of a history. It is the same each time, so that whoever filled a log knows what a view
// over it must show.
func past(n int) event.OrderPlaced {
	item := func(ware, price, quantity int) mall.Item {
		return mall.Item{
			Product: product(ware % fillWares), SKU: product(ware % fillWares), Name: "Ware " + product(ware%fillWares),
			Price: mall.Money{Amount: int64(price), Currency: "EUR"}, Quantity: int64(quantity),
		}
	}
	buyer := n * 7919 % fillBuyers
	if n%3 == 0 {
		buyer = n % fillRegular
	}
	items := []mall.Item{item(n, 1000+n%100, 1+n%3), item(7*n+1, 500, 1)}
	o := event.OrderPlaced{
		Order: fmt.Sprintf("F%09d", n), Message: fmt.Sprintf("mf%d", n), Customer: fmt.Sprintf("F%05d", buyer),
		Items: items, Expires: placedAt(n).Add(24 * time.Hour).UnixMicro(),
	}
	o.Total.Currency = "EUR"
	for _, i := range items {
		o.Total.Amount += i.Price.Amount * i.Quantity
	}
	return o
}

func placedAt(n int) time.Time { return filledSince.Add(time.Duration(n) * fillGap) }

// pastSums is what views over a history must show.
type pastSums struct {
	orders, revenue int64
	quantity        map[string]int64 // by product
}

func sumsOf(events int) pastSums {
	s := pastSums{orders: int64(events / 2), quantity: map[string]int64{}}
	for n := range events / 2 {
		o := past(n)
		s.revenue += o.Total.Amount
		for _, i := range o.Items {
			s.quantity[i.Product] += i.Quantity
		}
	}
	return s
}

// fill appends a history to the log of the orders service: for every two events, which must be even, an order that was
// placed and approved. It writes as the backbone does, through the store's own batches, only larger ones.
func fill(ctx context.Context, store driver.Store, events int, log io.Writer) error {
	if events%2 != 0 {
		return fmt.Errorf("a history of %d events: an order has two", events)
	}
	say := newProgress(log, "filled", "events", events)
	records := make([]driver.Record, 0, fillBatch)
	for n := range events / 2 {
		o := past(n)
		at := placedAt(n)
		conversation := fmt.Sprintf("01f%09dcommand0000000", n)
		for version, e := range []backbone.Event{o, event.OrderApproved{Order: o.Order, Customer: o.Customer, Total: o.Total}} {
			data, err := json.Marshal(e)
			if err != nil {
				return err
			}
			records = append(records, driver.Record{
				Kind: driver.KindEvent, ID: fmt.Sprintf("01f%09devent%08d", n, version), Stream: "order/" + o.Order,
				Version: int64(version + 1), Sequence: int64(version + 1), Type: e.EventType(), Data: data,
				Meta: []byte(`{"actor":"staff:bench","correlationid":"` + conversation + `","causationid":"` + conversation + `"}`),
				Time: at.Add(time.Duration(version) * 30 * time.Millisecond).UnixMicro(),
			})
		}
		if len(records) < fillBatch && n+1 < events/2 {
			continue
		}
		if err := appendAll(ctx, store, records); err != nil {
			return fmt.Errorf("fill: %w", err)
		}
		records = records[:0]
		say.at(2 * (n + 1))
	}
	return nil
}

func appendAll(ctx context.Context, store driver.Store, records []driver.Record) error {
	tx, err := store.Begin(ctx)
	if err != nil {
		return err
	}
	if err := tx.Apply(ctx, "orders", &driver.Writes{Records: records}); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit(ctx)
}

// fillMall gives the mall of a data directory a history that all its services have passed: the orders log is as long as
// that of a shop that sold so much, sealed and all, and nobody is behind. What other tables such a shop would have stays
// empty. It returns the log's head.
func fillMall(ctx context.Context, dir string, events int, log io.Writer) (head int64, err error) {
	if err := roomFor(dir, events); err != nil {
		return 0, err
	}
	h, err := house.Open(ctx, house.Config{Data: dir, Quiet: true, Empty: true})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, h.Stop(context.WithoutCancel(ctx))) }()
	if err := h.Migrate(ctx); err != nil {
		return 0, err
	}
	if err := fill(ctx, h.Store("orders"), events, log); err != nil {
		return 0, err
	}
	if head, err = h.Store("orders").Head(ctx, "orders"); err != nil {
		return 0, err
	}
	for _, part := range h.Runtime.Services() {
		if err := pass(ctx, h.Store("orders"), part, head); err != nil {
			return 0, fmt.Errorf("pass the history of %s: %w", part, err)
		}
	}
	if err := h.Start(ctx); err != nil {
		return 0, err
	}
	if err := sealed(ctx, h, head, log); err != nil {
		return 0, err
	}
	return h.Store("orders").Head(ctx, "orders")
}

// pass moves all checkpoints of a service in the orders log to a position.
func pass(ctx context.Context, store driver.Store, service string, to int64) error {
	cps, err := store.Checkpoints(ctx, service, "")
	if err != nil {
		return err
	}
	var w driver.Writes
	for _, c := range cps {
		if c.Source == "orders" && c.Position < to {
			w.Moves = append(w.Moves, driver.Move{
				Subscription: c.Subscription, Source: c.Source, Slice: c.Slice, Epoch: c.Epoch, From: c.Position, To: to,
			})
		}
	}
	if len(w.Moves) == 0 {
		return nil
	}
	tx, err := store.Begin(ctx)
	if err != nil {
		return err
	}
	if err := tx.Apply(ctx, service, &w); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit(ctx)
}

// sealed waits until the orders log is sealed up to a position and nothing is in flight.
func sealed(ctx context.Context, h *house.House, to int64, log io.Writer) error {
	say := newProgress(log, "sealed", "events", int(to))
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		head, err := h.Head("orders")
		if err != nil {
			return err
		}
		say.at(int(head.To))
		if head.To >= to {
			idle, err := h.Runtime.Idle(ctx)
			if err != nil || idle {
				return err
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
