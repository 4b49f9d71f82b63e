package house

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"example.org/souk/backbone"
	"example.org/souk/backbone/telemetry"
	"example.org/souk/gateway/door"
	"example.org/souk/gateway/rpc"
)

// metricsGate is in the tokens of engineers alone: what goes on inside is nobody else's business.
const metricsGate = "console"

// maxScrapes bounds the scrapes at once, since each reads the database.
const maxScrapes = 2

// metrics is what a house shows to Prometheus.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.HistogramVec
	partners *partnerMetrics // nil: there are none
	devices  *prometheus.CounterVec
	refused  *prometheus.CounterVec // connections
}

// openMetrics makes the metrics and lets them observe the backbone beside the hooks of the configuration.
func (h *House) openMetrics() error {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "souk_http_request_duration_seconds", Help: "Time that requests and calls took, by route or method and class of status. A stream counts when it ends.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 15),
		}, []string{"route", "status"}),
		devices: newDeviceMetrics(), refused: newRefused(),
	}
	registered := []prometheus.Collector{
		m.requests, m.devices, m.refused, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	}
	if h.partners != nil {
		m.partners = newPartnerMetrics()
		registered = append(registered, m.partners.messages, m.partners.up)
	}
	hooks, err := telemetry.Hooks(telemetry.Config{Registerer: m.registry})
	if err != nil {
		return err
	}
	for _, c := range registered {
		if err := m.registry.Register(c); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	h.metrics, h.cfg.Hooks = m, telemetry.Join(hooks, backbone.Hooks{Batch: h.noteRoom}, h.cfg.Hooks)
	return nil
}

// observe counts a request.
func (m *metrics) observe(o door.Observation) {
	m.requests.WithLabelValues(o.Route, strconv.Itoa(o.Status/100)+"xx").Observe(o.Duration.Seconds())
}

// observeCall counts a call of a program or another process, with the status that stands for its code.
func (m *metrics) observeCall(o rpc.Observation) {
	m.requests.WithLabelValues(o.Method, strconv.Itoa(o.Status/100)+"xx").Observe(o.Duration.Seconds())
}

// serveMetrics adds the route that Prometheus scrapes.
func (h *House) serveMetrics() error {
	stores := h.stores // a scrape may outlast the stop
	collector, err := telemetry.NewCollector(telemetry.CollectorConfig{
		Parts: h.Runtime.Parts(), Source: func(service string) telemetry.Source { return stores.of(service) }, Backlogs: h.Backlogs(), Logger: h.cfg.Logger,
	})
	if err != nil {
		return err
	}
	if err := h.metrics.registry.Register(collector); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	scrape := promhttp.HandlerFor(h.metrics.registry, promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes})
	return h.Door.Gate(metricsGate).Add(door.Route{
		Pattern: "GET /metrics", Access: door.Access{door.Engineer: door.All},
		Handle: func(w http.ResponseWriter, r *door.Request) error {
			scrape.ServeHTTP(w, r.Request)
			return nil
		},
	})
}
