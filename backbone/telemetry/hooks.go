package telemetry

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"example.org/souk/backbone"
)

// Config says where to. A field that is nil is left out.
type Config struct {
	// Registerer takes the metrics.
	Registerer prometheus.Registerer
	// Tracer makes the spans.
	Tracer trace.TracerProvider
	// Clock is what spans end by; default time.Now.
	Clock func() time.Time
}

// Hooks returns hooks that feed metrics and spans. The error is that of a
// Registerer that has the metrics already.
func Hooks(c Config) (backbone.Hooks, error) {
	var list []backbone.Hooks
	if c.Registerer != nil {
		m := newMetrics()
		if err := m.register(c.Registerer); err != nil {
			return backbone.Hooks{}, err
		}
		list = append(list, m.hooks())
	}
	if c.Tracer != nil {
		if c.Clock == nil {
			c.Clock = time.Now
		}
		list = append(list, newSpans(c.Tracer, c.Clock).hooks())
	}
	return Join(list...), nil
}

// Join returns hooks that call all of them, in order.
func Join(all ...backbone.Hooks) backbone.Hooks {
	var joined backbone.Hooks
	for _, h := range all {
		joined.Batch = both(joined.Batch, h.Batch)
		joined.Decided = both(joined.Decided, h.Decided)
		joined.Called = both(joined.Called, h.Called)
		joined.Saga = both(joined.Saga, h.Saga)
		joined.Alarm = both(joined.Alarm, h.Alarm)
		switch first, second := joined.Handled, h.Handled; {
		case first == nil:
			joined.Handled = second
		case second != nil:
			joined.Handled = func(ctx context.Context, s backbone.HandledStats) { first(ctx, s); second(ctx, s) }
		}
	}
	return joined
}

func both[T any](first, second func(T)) func(T) {
	switch {
	case first == nil:
		return second
	case second == nil:
		return first
	}
	return func(v T) { first(v); second(v) }
}
