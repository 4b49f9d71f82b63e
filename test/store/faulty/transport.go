package faulty

import (
	"context"

	"example.org/souk/backbone/driver"
)

// bus is a transport over a broker, with all that one can do: a wrapper around less would take more away than its step.
type bus interface {
	driver.Transport
	driver.Anchored
	driver.Preparer
	driver.Behinder
	driver.Backlogger
	driver.Rechecker
	driver.Yielder
	driver.Topiced
}

// hasty takes for published what was sent.
type hasty struct{ bus }

// Publish implements driver.Transport.
func (h hasty) Publish(ctx context.Context, source string, rs []driver.Record) (driver.Anchor, error) {
	anchor, _ := h.bus.Publish(ctx, source, rs) // what the broker says of it is what is not waited for
	return anchor, nil
}

// eager acknowledges what it delivers before anything came of it.
type eager struct{ bus }

// Subscribe implements driver.Transport.
func (e eager) Subscribe(ctx context.Context, s driver.Subscription, sink driver.Sink, ready chan<- struct{}) error {
	return e.bus.Subscribe(ctx, s, eagerSink{sink}, ready)
}

type eagerSink struct{ driver.Sink }

// Deliver implements driver.Sink.
func (e eagerSink) Deliver(ctx context.Context, slice int, ds []driver.Delivery) error {
	for i := range ds {
		if ds[i].Ack != nil {
			ds[i].Ack(nil)
			ds[i].Ack = func(error) {}
		}
	}
	return e.Sink.Deliver(ctx, slice, ds)
}

// trusting believes that its broker has everything that it ever had.
type trusting struct{ bus }

// Holds implements driver.Anchored.
func (trusting) Holds(context.Context, driver.Anchor) (bool, error) { return true, nil }
