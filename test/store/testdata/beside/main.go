// Command beside runs services of the mall of 0.1.0 on a PostgreSQL database, beside processes of a later version: 0.1.0 has
// the parts for that, and no program of its own. Its arguments are the database and the services.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/logbus"
	"example.org/souk/backbone/pgstore"
	"example.org/souk/internal/house"
)

func main() {
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(url string, services []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	store, err := pgstore.Open(ctx, pgstore.Config{URL: url})
	if err != nil {
		return err
	}
	storeOf := func(string) driver.Store { return store }
	bus := logbus.New(logbus.Config{Store: storeOf, Owner: "beside"})
	var settled atomic.Int64
	runtime, err := backbone.New(backbone.Config{
		Parts: house.Parts(house.Ports{}),
		Run:   services,
		Store: storeOf, Transport: bus, Owner: "beside",
		Hooks: backbone.Hooks{Handled: func(_ context.Context, h backbone.HandledStats) {
			if h.Err != nil {
				fmt.Fprintln(os.Stderr, h.Service, h.Subscription, h.Err)
			} else if n := settled.Add(1); n%100 == 0 {
				fmt.Printf("settled %d\n", n)
			}
		}},
	})
	if err != nil {
		return err
	}
	if err := runtime.Start(ctx); err != nil {
		return err
	}
	fmt.Println("ready")
	<-ctx.Done()
	return errors.Join(runtime.Stop(context.WithoutCancel(ctx)), bus.Close(), store.Close())
}
