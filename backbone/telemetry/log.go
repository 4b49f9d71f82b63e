package telemetry

import (
	"context"
	"log/slog"

	"go.opentelemetry.io/otel/trace"

	"example.org/souk/backbone"
)

type correlationKey struct{}

// WithCorrelation returns a context whose log lines carry the id of a
// conversation.
func WithCorrelation(ctx context.Context, correlation string) context.Context {
	return context.WithValue(ctx, correlationKey{}, correlation)
}

// WithMessage returns a context whose log lines carry a message's conversation and
// trace.
func WithMessage(ctx context.Context, m *backbone.Message) context.Context {
	if from := parse(m.Trace); from.IsValid() && !trace.SpanContextFromContext(ctx).IsValid() {
		ctx = trace.ContextWithRemoteSpanContext(ctx, from)
	}
	return WithCorrelation(ctx, conversation(m.Meta))
}

// Correlation returns the id of the conversation in ctx, "" if there is none.
func Correlation(ctx context.Context) string {
	id, _ := ctx.Value(correlationKey{}).(string)
	return id
}

// LogHandler returns a handler that adds correlation_id, trace_id and span_id to
// each record whose context has them, and hands it to next. They stand at the top
// level, whatever group is open.
func LogHandler(next slog.Handler) slog.Handler { return &logHandler{top: next} }

// logHandler keeps the attributes and groups that came behind the top level, so
// that its own can stand before them.
type logHandler struct {
	top  slog.Handler
	wrap []func(slog.Handler) slog.Handler
}

// Enabled implements slog.Handler.
func (h *logHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.top.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h *logHandler) Handle(ctx context.Context, r slog.Record) error {
	var own []slog.Attr
	if id := Correlation(ctx); id != "" {
		own = append(own, slog.String("correlation_id", id))
	}
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		own = append(own, slog.String("trace_id", span.TraceID().String()), slog.String("span_id", span.SpanID().String()))
	}
	next := h.top
	if len(own) > 0 {
		if len(h.wrap) == 0 {
			r = r.Clone()
			r.AddAttrs(own...)
			return next.Handle(ctx, r)
		}
		next = next.WithAttrs(own)
	}
	for _, wrap := range h.wrap {
		next = wrap(next)
	}
	return next.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(h.wrap) == 0 {
		return &logHandler{top: h.top.WithAttrs(attrs)}
	}
	return h.with(func(next slog.Handler) slog.Handler { return next.WithAttrs(attrs) })
}

// WithGroup implements slog.Handler.
func (h *logHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return h.with(func(next slog.Handler) slog.Handler { return next.WithGroup(name) })
}

func (h *logHandler) with(wrap func(slog.Handler) slog.Handler) slog.Handler {
	return &logHandler{top: h.top, wrap: append(h.wrap[:len(h.wrap):len(h.wrap)], wrap)}
}
