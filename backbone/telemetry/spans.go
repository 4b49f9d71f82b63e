package telemetry

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"example.org/souk/backbone"
)

const (
	scope  = "example.org/souk/backbone/telemetry"
	system = "souk" // messaging.system
)

// spans are made once the work is done, under the times that it took: hooks are
// told of results.
type spans struct {
	tracer trace.Tracer
	now    func() time.Time
}

func newSpans(p trace.TracerProvider, now func() time.Time) *spans {
	return &spans{p.Tracer(scope), now}
}

func (s *spans) hooks() backbone.Hooks {
	return backbone.Hooks{Handled: s.handled, Decided: s.decided, Called: s.called}
}

func (s *spans) handled(ctx context.Context, h backbone.HandledStats) {
	end := s.now()
	m := h.Message
	options := []trace.SpanStartOption{
		trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindConsumer), trace.WithTimestamp(end.Add(-h.Duration)),
		trace.WithAttributes(
			attribute.String("messaging.system", system),
			attribute.String("messaging.operation.name", "process"),
			attribute.String("messaging.operation.type", "process"),
			attribute.String("messaging.destination.name", m.Source),
			attribute.String("messaging.consumer.group.name", h.Subscription),
			attribute.String("messaging.message.id", m.ID),
			attribute.String("messaging.message.conversation_id", conversation(m.Meta)),
			attribute.String("cloudevents.event_id", m.ID),
			attribute.String("cloudevents.event_source", m.Source),
			attribute.String("cloudevents.event_type", m.Type),
			attribute.String("souk.service", h.Service),
			attribute.Int("souk.attempts", h.Attempts),
			attribute.Bool("souk.duplicate", h.Duplicate),
			attribute.Float64("souk.lag_seconds", h.Lag.Seconds()),
		),
	}
	if from := parse(m.Trace); from.IsValid() {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: from}))
	}
	_, span := s.tracer.Start(ctx, "process "+m.Source, options...)
	finish(span, h.Err, end)
}

func (s *spans) decided(d backbone.DecidedStats) {
	end := s.now()
	_, span := s.tracer.Start(parent(d.Meta), "decide "+d.Command, trace.WithSpanKind(trace.SpanKindInternal), trace.WithTimestamp(d.Meta.Time),
		trace.WithAttributes(
			attribute.String("messaging.system", system),
			attribute.String("messaging.message.id", d.Meta.ID),
			attribute.String("messaging.message.conversation_id", conversation(d.Meta)),
			attribute.String("souk.service", d.Service),
			attribute.Bool("souk.refused", d.Outcome == backbone.Refused),
			attribute.Bool("souk.repeated", d.Repeated),
		))
	span.End(trace.WithTimestamp(end))
}

func (s *spans) called(c backbone.CalledStats) {
	end := s.now()
	_, span := s.tracer.Start(parent(c.Meta), "call "+c.Call, trace.WithSpanKind(trace.SpanKindClient), trace.WithTimestamp(end.Add(-c.Duration)),
		trace.WithAttributes(
			attribute.String("peer.service", c.Call),
			attribute.String("messaging.message.conversation_id", conversation(c.Meta)),
			attribute.String("souk.service", c.Service),
			attribute.String("souk.call.key", c.Key),
			attribute.Int("souk.attempts", c.Attempt),
		))
	finish(span, c.Err, end)
}

func finish(span trace.Span, err error, end time.Time) {
	if err != nil {
		span.SetAttributes(attribute.String("error.type", backbone.ClassOf(err).String()))
		span.SetStatus(codes.Error, err.Error())
	}
	span.End(trace.WithTimestamp(end))
}

// conversation is the id of the first message of the conversation.
func conversation(m backbone.Meta) string {
	if m.Correlation == "" {
		return m.ID
	}
	return m.Correlation
}

func parent(m backbone.Meta) context.Context {
	return trace.ContextWithRemoteSpanContext(context.Background(), parse(m.Trace))
}

// parse reads a traceparent; one that is malformed is as none.
func parse(traceparent string) trace.SpanContext {
	if traceparent == "" {
		return trace.SpanContext{}
	}
	carrier := propagation.MapCarrier{"traceparent": traceparent}
	return trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), carrier))
}

// Traceparent returns the W3C traceparent of the span in ctx, "" if there is none,
// for backbone.WithTrace.
func Traceparent(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier["traceparent"]
}
