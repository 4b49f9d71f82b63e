// Command program is a service over HTTP that is built on the backbone. docs/guides/a-program-of-your-own.md shows its code; a test holds the
// two together.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/logbus"
	"example.org/souk/backbone/pgstore"
	"example.org/souk/backbone/sqlitestore"
	"example.org/souk/backbone/telemetry"
)

func main() {
	db := flag.String("db", "travel.db", "a file for SQLite, or postgres://...")
	listen := flag.String("listen", "127.0.0.1:8080", "where to listen")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *db, *listen); err != nil {
		log.Fatal(err)
	}
}

func open(ctx context.Context, db string) (driver.Store, error) {
	if strings.HasPrefix(db, "postgres://") {
		return pgstore.Open(ctx, pgstore.Config{URL: db})
	}
	return sqlitestore.Open(ctx, sqlitestore.Config{Path: db})
}

// run runs the program until ctx ends. What it began it ends in the opposite order: first what comes in, then the runtime, then the
// transport, then the database.
func run(ctx context.Context, db, listen string) (err error) {
	store, err := open(ctx, db)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	storeOf := func(string) driver.Store { return store }
	bus := logbus.New(logbus.Config{Store: storeOf})
	defer func() { err = errors.Join(err, bus.Close()) }()

	registry := prometheus.NewRegistry()
	hooks, err := telemetry.Hooks(telemetry.Config{Registerer: registry, Tracer: otel.GetTracerProvider()})
	if err != nil {
		return err
	}
	collector, err := telemetry.NewCollector(telemetry.CollectorConfig{Parts: Parts(), Source: func(string) telemetry.Source { return store }})
	if err != nil {
		return err
	}
	registry.MustRegister(collector)

	runtime, err := backbone.New(backbone.Config{Parts: Parts(), Store: storeOf, Transport: bus, Hooks: hooks})
	if err != nil {
		return err
	}
	defer func() { // also where Start failed
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
		defer cancel()
		err = errors.Join(err, runtime.Stop(drain))
	}()
	if err := runtime.Start(ctx); err != nil {
		return err
	}

	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	fmt.Println("http://" + l.Addr().String())
	server := &http.Server{Handler: routes(runtime, registry), ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		return server.Shutdown(drain)
	}
}

func routes(r *backbone.Runtime, registry *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, q *http.Request) { reply(w, "ready", r.Ready(q.Context())) })
	mux.HandleFunc("PUT /bookings/{id}", func(w http.ResponseWriter, q *http.Request) { placed(w, q, r) })
	mux.HandleFunc("GET /customers/{id}", func(w http.ResponseWriter, q *http.Request) {
		text, err := trips(q.Context(), r.Reader("customers"), q.PathValue("id"))
		reply(w, text, err)
	})
	operators(mux, r)
	return mux
}
