package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/telemetry"
)

const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

var noon = time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)

func message() *backbone.Message {
	return &backbone.Message{
		Meta:   backbone.Meta{ID: "e1", Time: noon.Add(-3 * time.Second), Correlation: "c1", Trace: traceparent},
		Source: "orders", Kind: driver.KindEvent, Type: "souk.orders.OrderPlaced.v1", Stream: "order/o1",
	}
}

// play calls every hook with what a runtime would.
func play(h backbone.Hooks) {
	ctx := context.Background()
	h.Batch(backbone.BatchStats{Units: 3, Records: 5, Commit: 2 * time.Millisecond, Total: 4 * time.Millisecond})
	h.Batch(backbone.BatchStats{Units: 1, Total: time.Millisecond, Reruns: 1, Err: errors.New("lost")})
	handled := backbone.HandledStats{Service: "inventory", Subscription: "inventory", Message: message(), Lag: 3 * time.Second, Duration: 20 * time.Millisecond}
	h.Handled(ctx, handled)
	again := handled
	again.Duplicate, again.Lag = true, time.Hour
	h.Handled(ctx, again)
	failed := handled
	failed.Err, failed.Duration = backbone.Transient(errors.New("later")), 0
	h.Handled(ctx, failed)
	failed.Err, failed.Parked, failed.Attempts = backbone.Permanent(errors.New("never")), true, 1
	h.Handled(ctx, failed)
	meta := backbone.Meta{ID: "p1", Time: noon.Add(-time.Second), Trace: traceparent}
	h.Decided(backbone.DecidedStats{Service: "orders", Command: "souk.orders.PlaceOrder.v1", Outcome: backbone.Done, Meta: meta})
	h.Decided(backbone.DecidedStats{Service: "orders", Command: "souk.orders.PlaceOrder.v1", Outcome: backbone.Refused, Repeated: true, Meta: meta})
	h.Called(backbone.CalledStats{Service: "payments", Call: "provider", Key: "k1", Attempt: 1, Duration: 30 * time.Millisecond, Meta: meta})
	h.Called(backbone.CalledStats{Service: "payments", Call: "provider", Key: "k1", Attempt: 2, Duration: time.Second, Meta: meta, Err: backbone.Transient(errors.New("timeout"))})
	h.Saga(backbone.SagaStats{Service: "orders", Saga: "checkout", ID: "o1", State: "completed"})
	h.Alarm(backbone.Alarm{Service: "orders", Subject: "saga", Text: "waits"})
}

func TestHooksFeedMetrics(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewPedanticRegistry()
	hooks, err := telemetry.Hooks(telemetry.Config{Registerer: registry})
	if err != nil {
		t.Fatal(err)
	}
	play(hooks)
	want := `
# HELP souk_alarms_total Alarms for an operator.
# TYPE souk_alarms_total counter
souk_alarms_total{service="orders",subject="saga"} 1
# HELP souk_batch_reruns_total Times that a transaction's units were run again.
# TYPE souk_batch_reruns_total counter
souk_batch_reruns_total 1
# HELP souk_batches_total Transactions by result: committed, failed.
# TYPE souk_batches_total counter
souk_batches_total{result="committed"} 1
souk_batches_total{result="failed"} 1
# HELP souk_commands_total Commands answered by outcome: done, refused. A repeated command counts again.
# TYPE souk_commands_total counter
souk_commands_total{command="souk.orders.PlaceOrder.v1",outcome="done",service="orders"} 1
souk_commands_total{command="souk.orders.PlaceOrder.v1",outcome="refused",service="orders"} 1
# HELP souk_duplicates_total Commands that came again and got the first one's answer.
# TYPE souk_duplicates_total counter
souk_duplicates_total{command="souk.orders.PlaceOrder.v1",service="orders"} 1
# HELP souk_messages_total Messages by result: handled, duplicate (handled before, no effect), retry (will be tried again), parked (waits for an operator).
# TYPE souk_messages_total counter
souk_messages_total{result="duplicate",service="inventory",subscription="inventory",type="souk.orders.OrderPlaced.v1"} 1
souk_messages_total{result="handled",service="inventory",subscription="inventory",type="souk.orders.OrderPlaced.v1"} 1
souk_messages_total{result="parked",service="inventory",subscription="inventory",type="souk.orders.OrderPlaced.v1"} 1
souk_messages_total{result="retry",service="inventory",subscription="inventory",type="souk.orders.OrderPlaced.v1"} 1
# HELP souk_redeliveries_total Messages that were tried again after a failure.
# TYPE souk_redeliveries_total counter
souk_redeliveries_total{service="inventory",subscription="inventory"} 1
# HELP souk_saga_transitions_total Changes of sagas into a state.
# TYPE souk_saga_transitions_total counter
souk_saga_transitions_total{saga="checkout",service="orders",state="completed"} 1
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want),
		"souk_alarms_total", "souk_batch_reruns_total", "souk_batches_total", "souk_commands_total", "souk_duplicates_total",
		"souk_messages_total", "souk_redeliveries_total", "souk_saga_transitions_total"); err != nil {
		t.Error(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			sums[f.GetName()] += m.GetHistogram().GetSampleSum()
		}
		if !strings.HasPrefix(f.GetName(), "souk_") {
			t.Errorf("name %s", f.GetName())
		}
	}
	for name, want := range map[string]float64{
		"souk_batch_units": 3, "souk_batch_records": 5, "souk_commit_duration_seconds": 0.002, "souk_batch_duration_seconds": 0.005,
		"souk_message_lag_seconds": 3, "souk_call_duration_seconds": 1.03,
	} {
		if got := sums[name]; got < want*0.999 || got > want*1.001 {
			t.Errorf("%s sums to %v, want %v", name, got, want)
		}
	}
	lint(t, registry)
	if _, err := telemetry.Hooks(telemetry.Config{Registerer: registry}); err == nil {
		t.Error("registered twice")
	}
}

func lint(t *testing.T, g prometheus.Gatherer) {
	t.Helper()
	problems, err := testutil.GatherAndLint(g)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestNothingIsObservedForNobody(t *testing.T) {
	t.Parallel()
	hooks, err := telemetry.Hooks(telemetry.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if hooks.Batch != nil || hooks.Handled != nil || hooks.Decided != nil || hooks.Called != nil || hooks.Saga != nil || hooks.Alarm != nil {
		t.Error("hooks without a destination cost something")
	}
}

func TestJoinCallsAllInOrder(t *testing.T) {
	t.Parallel()
	var heard []string
	hook := func(name string) backbone.Hooks {
		return backbone.Hooks{
			Alarm:   func(backbone.Alarm) { heard = append(heard, name) },
			Handled: func(context.Context, backbone.HandledStats) { heard = append(heard, name+" handled") },
		}
	}
	joined := telemetry.Join(hook("first"), backbone.Hooks{}, hook("second"))
	joined.Alarm(backbone.Alarm{})
	joined.Handled(t.Context(), backbone.HandledStats{})
	if got := strings.Join(heard, ", "); got != "first, second, first handled, second handled" {
		t.Errorf("heard %s", got)
	}
	if joined.Batch != nil {
		t.Error("a hook that nobody has is set")
	}
}

func TestSpansAreLinkedOverMessages(t *testing.T) {
	t.Parallel()
	exporter := tracetest.NewInMemoryExporter()
	hooks, err := telemetry.Hooks(telemetry.Config{Tracer: sdk.NewTracerProvider(sdk.WithSyncer(exporter)), Clock: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	if hooks.Batch != nil || hooks.Saga != nil {
		t.Error("traces observe what has no span")
	}
	both := telemetry.Join(hooks, backbone.Hooks{Batch: func(backbone.BatchStats) {}, Saga: func(backbone.SagaStats) {}, Alarm: func(backbone.Alarm) {}})
	play(both)
	producer := "0af7651916cd43dd8448eb211c80319c"
	spans := exporter.GetSpans()
	if len(spans) != 8 {
		t.Fatalf("%d spans, want 8", len(spans))
	}
	for i, want := range []bool{false, true, false, false} {
		set := attribute.NewSet(spans[i].Attributes...)
		if is, known := set.Value("souk.duplicate"); !known || is.AsBool() != want {
			t.Errorf("span %d: duplicate %v, want %v", i, is.AsBool(), want)
		}
	}
	for i, want := range []struct {
		name  string
		kind  trace.SpanKind
		took  time.Duration
		error string
	}{
		{"process orders", trace.SpanKindConsumer, 20 * time.Millisecond, ""},
		{"process orders", trace.SpanKindConsumer, 20 * time.Millisecond, ""},
		{"process orders", trace.SpanKindConsumer, 0, "later"},
		{"process orders", trace.SpanKindConsumer, 0, "never"},
		{"decide souk.orders.PlaceOrder.v1", trace.SpanKindInternal, time.Second, ""},
		{"decide souk.orders.PlaceOrder.v1", trace.SpanKindInternal, time.Second, ""},
		{"call provider", trace.SpanKindClient, 30 * time.Millisecond, ""},
		{"call provider", trace.SpanKindClient, time.Second, "timeout"},
	} {
		s := spans[i]
		if s.Name != want.name || s.SpanKind != want.kind || s.EndTime.Sub(s.StartTime) != want.took || !s.EndTime.Equal(noon) {
			t.Errorf("span %d: %s, %v, %v to %v", i, s.Name, s.SpanKind, s.StartTime, s.EndTime)
		}
		if want.error == "" && s.Status.Code != codes.Unset || want.error != "" && (s.Status.Code != codes.Error || s.Status.Description != want.error) {
			t.Errorf("span %d: status %v", i, s.Status)
		}
		switch want.kind {
		case trace.SpanKindConsumer: // a trace of its own, linked to the producer's
			if len(s.Links) != 1 || s.Links[0].SpanContext.TraceID().String() != producer || s.Links[0].SpanContext.SpanID().String() != "b7ad6b7169203331" {
				t.Errorf("span %d: links %v", i, s.Links)
			}
			if s.Parent.IsValid() || s.SpanContext.TraceID().String() == producer {
				t.Errorf("span %d is a child of the producer", i)
			}
			if attributes := attribute.NewSet(s.Attributes...); !has(attributes, "messaging.message.conversation_id", "c1") || !has(attributes, "messaging.message.id", "e1") {
				t.Errorf("span %d: attributes %v", i, s.Attributes)
			}
		default:
			if s.SpanContext.TraceID().String() != producer || s.Parent.SpanID().String() != "b7ad6b7169203331" {
				t.Errorf("span %d is no child of what set it off", i)
			}
		}
	}
}

func has(set attribute.Set, key attribute.Key, value string) bool {
	got, ok := set.Value(key)
	return ok && got.AsString() == value
}

// TestTheCallersSamplerDecides has a provider that never samples.
func TestTheCallersSamplerDecides(t *testing.T) {
	t.Parallel()
	exporter := tracetest.NewInMemoryExporter()
	hooks, err := telemetry.Hooks(telemetry.Config{Tracer: sdk.NewTracerProvider(sdk.WithSyncer(exporter), sdk.WithSampler(sdk.NeverSample()))})
	if err != nil {
		t.Fatal(err)
	}
	hooks.Handled(t.Context(), backbone.HandledStats{Message: message()})
	if n := len(exporter.GetSpans()); n != 0 {
		t.Errorf("%d spans", n)
	}
}

func TestTraceparentOfAContext(t *testing.T) {
	t.Parallel()
	if got := telemetry.Traceparent(t.Context()); got != "" {
		t.Errorf("got %q", got)
	}
	if got := telemetry.Traceparent(telemetry.WithMessage(t.Context(), message())); got != traceparent {
		t.Errorf("got %q", got)
	}
}

func TestLogLinesCarryTraceAndCorrelation(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := slog.New(telemetry.LogHandler(slog.NewJSONHandler(&out, nil)))
	ctx := telemetry.WithMessage(t.Context(), message())
	log.InfoContext(t.Context(), "nothing")
	log.InfoContext(ctx, "plain", "a", 1)
	log.With("service", "orders").WithGroup("order").With("id", "o1").InfoContext(ctx, "grouped", "state", "placed")
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	read := func(line string) map[string]any {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		return m
	}
	if m := read(lines[0]); m["trace_id"] != nil || m["correlation_id"] != nil {
		t.Errorf("line %s", lines[0])
	}
	for _, line := range lines[1:] {
		if m := read(line); m["trace_id"] != "0af7651916cd43dd8448eb211c80319c" || m["span_id"] != "b7ad6b7169203331" || m["correlation_id"] != "c1" {
			t.Errorf("line %s", line)
		}
	}
	m := read(lines[2])
	if group, _ := m["order"].(map[string]any); m["service"] != "orders" || group["id"] != "o1" || group["state"] != "placed" {
		t.Errorf("line %s", lines[2])
	}
	if log.Enabled(ctx, slog.LevelDebug) {
		t.Error("the level is not the handler's below")
	}
}
