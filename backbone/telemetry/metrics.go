package telemetry

import (
	"context"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"example.org/souk/backbone"
)

var (
	// A commit costs a flush of the disk: 0.1 ms to a second.
	commitBuckets = prometheus.ExponentialBuckets(0.0001, 2, 14)
	// What waits may wait for milliseconds or for a day.
	lagBuckets  = []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600, 86400}
	callBuckets = []float64{0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30}
	sizeBuckets = prometheus.ExponentialBuckets(1, 2, 12)
)

// metrics are those of the work as it happens.
type metrics struct {
	units, records prometheus.Histogram
	commit, batch  prometheus.Histogram
	reruns         prometheus.Counter
	batches        *prometheus.CounterVec
	commands       *prometheus.CounterVec
	repeated       *prometheus.CounterVec
	messages       *prometheus.CounterVec
	redelivered    *prometheus.CounterVec
	lag            *prometheus.HistogramVec
	sagas          *prometheus.CounterVec
	calls          *prometheus.HistogramVec
	alarms         *prometheus.CounterVec
}

func newMetrics() *metrics {
	histogram := func(name, help string, buckets []float64) prometheus.HistogramOpts {
		return prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	return &metrics{
		units:   prometheus.NewHistogram(histogram("souk_batch_units", "Messages and direct commands in one transaction.", sizeBuckets)),
		records: prometheus.NewHistogram(histogram("souk_batch_records", "Records that one transaction appended.", sizeBuckets)),
		commit:  prometheus.NewHistogram(histogram("souk_commit_duration_seconds", "Time that COMMIT took.", commitBuckets)),
		batch:   prometheus.NewHistogram(histogram("souk_batch_duration_seconds", "Time from the begin of a transaction to its end.", commitBuckets)),
		reruns: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "souk_batch_reruns_total", Help: "Times that a transaction's units were run again.",
		}),
		batches:     counter("souk_batches_total", "Transactions by result: committed, failed.", "result"),
		commands:    counter("souk_commands_total", "Commands answered by outcome: done, refused. A repeated command counts again.", "service", "command", "outcome"),
		repeated:    counter("souk_duplicates_total", "Commands that came again and got the first one's answer.", "service", "command"),
		messages:    counter("souk_messages_total", "Messages by result: handled, duplicate (handled before, no effect), retry (will be tried again), parked (waits for an operator).", "service", "subscription", "type", "result"),
		redelivered: counter("souk_redeliveries_total", "Messages that were tried again after a failure.", "service", "subscription"),
		lag:         prometheus.NewHistogramVec(histogram("souk_message_lag_seconds", "Time from a message's decision to its effects' commit.", lagBuckets), []string{"service", "subscription"}),
		sagas:       counter("souk_saga_transitions_total", "Changes of sagas into a state.", "service", "saga", "state"),
		calls:       prometheus.NewHistogramVec(histogram("souk_call_duration_seconds", "Time that attempts of outside calls took, by class: ok, or the error's.", callBuckets), []string{"service", "call", "class"}),
		alarms:      counter("souk_alarms_total", "Alarms for an operator.", "service", "subject"),
	}
}

func (m *metrics) register(r prometheus.Registerer) error {
	for _, c := range []prometheus.Collector{
		m.units, m.records, m.commit, m.batch, m.reruns, m.batches, m.commands, m.repeated, m.messages, m.redelivered, m.lag, m.sagas, m.calls, m.alarms,
	} {
		if err := r.Register(c); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	return nil
}

func (m *metrics) hooks() backbone.Hooks {
	return backbone.Hooks{
		Batch: func(b backbone.BatchStats) {
			m.batch.Observe(b.Total.Seconds())
			if b.Reruns > 0 {
				m.reruns.Inc()
			}
			if b.Err != nil {
				m.batches.WithLabelValues("failed").Inc()
				return
			}
			m.batches.WithLabelValues("committed").Inc()
			m.units.Observe(float64(b.Units))
			m.records.Observe(float64(b.Records))
			m.commit.Observe(b.Commit.Seconds())
		},
		Handled: func(_ context.Context, h backbone.HandledStats) {
			result := "handled"
			switch {
			case h.Parked:
				result = "parked"
			case h.Err != nil:
				result = "retry"
			case h.Duplicate:
				result = "duplicate" // its effects have been there for long, so it tells nothing of lag
			default:
				m.lag.WithLabelValues(h.Service, h.Subscription).Observe(h.Lag.Seconds())
			}
			m.messages.WithLabelValues(h.Service, h.Subscription, h.Message.Type, result).Inc()
			if h.Attempts > 0 {
				m.redelivered.WithLabelValues(h.Service, h.Subscription).Inc()
			}
		},
		Decided: func(d backbone.DecidedStats) {
			outcome := "done"
			if d.Outcome == backbone.Refused {
				outcome = "refused"
			}
			m.commands.WithLabelValues(d.Service, d.Command, outcome).Inc()
			if d.Repeated {
				m.repeated.WithLabelValues(d.Service, d.Command).Inc()
			}
		},
		Called: func(c backbone.CalledStats) {
			m.calls.WithLabelValues(c.Service, c.Call, callClass(c.Err)).Observe(c.Duration.Seconds())
		},
		Saga:  func(s backbone.SagaStats) { m.sagas.WithLabelValues(s.Service, s.Saga, s.State).Inc() },
		Alarm: func(a backbone.Alarm) { m.alarms.WithLabelValues(a.Service, a.Subject).Inc() },
	}
}

func callClass(err error) string {
	if err == nil {
		return "ok"
	}
	return backbone.ClassOf(err).String()
}
