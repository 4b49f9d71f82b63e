// Package telemetry shows what a backbone.Runtime does to Prometheus,
// OpenTelemetry and the log.
//
// Hooks observes the work as it happens: counts, sizes and times as metrics, and a
// span for each decision, each settled message and each call to the outside.
//
//	hooks, err := telemetry.Hooks(telemetry.Config{Registerer: registry, Tracer: provider})
//	...
//	runtime, err := backbone.New(backbone.Config{Hooks: hooks, ...})
//
// NewCollector reads, whenever it is scraped, what stands in the databases and so
// is true for all processes together: heads of the logs, lag, parked messages,
// waiting calls, sagas.
//
// LogHandler adds trace and correlation to log lines.
//
// Metrics carry the prefix souk_, base units, and no label whose values grow with
// the business: no order, no customer, no key.
//
// # Traces
//
// A message carries the W3C traceparent of what set its conversation off. A
// decision and a call are children of that span; handling a message is a trace of
// its own that is linked to it, as the OpenTelemetry conventions for messaging
// have it, since many messages are settled in one commit and any time later.
// Whether a span is recorded is up to the caller's tracer provider; without one
// nothing is made and nothing is paid.
package telemetry
