// Command beside runs services of the mall of 0.1.0 on a PostgreSQL database, beside processes of a later version: 0.1.0 has
// the parts for that, and no program of its own. Its arguments are the database and the services.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/logbus"
	"example.org/souk/backbone/pgstore"
	"example.org/souk/gateway/door"
	"example.org/souk/internal/house"
	"example.org/souk/mall/orders"
	"example.org/souk/provider/payment"
)

// config says what a process does beside its services.
type config struct {
	owner        string        // its name in leases
	keys         string        // directory: it opens the online store, which needs orders among the services
	payment      string        // URL of the payment provider
	paymentKey   string        // file
	stepPatience time.Duration // of the checkout
}

func main() {
	var c config
	flag.StringVar(&c.owner, "owner", "beside", "")
	flag.StringVar(&c.keys, "keys", "", "")
	flag.StringVar(&c.payment, "payment", "", "")
	flag.StringVar(&c.paymentKey, "payment-key", "", "")
	flag.DurationVar(&c.stepPatience, "step-patience", 0, "")
	flag.Parse()
	if err := run(c, flag.Arg(0), flag.Args()[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(c config, url string, services []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	ports, err := c.ports()
	if err != nil {
		return err
	}
	store, err := pgstore.Open(ctx, pgstore.Config{URL: url})
	if err != nil {
		return err
	}
	storeOf := func(string) driver.Store { return store }
	bus := logbus.New(logbus.Config{Store: storeOf, Owner: c.owner})
	var settled atomic.Int64
	runtime, err := backbone.New(backbone.Config{
		Parts: house.Parts(ports),
		Run:   services,
		Store: storeOf, Transport: bus, Owner: c.owner,
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
	if c.keys != "" {
		if err := c.sell(runtime); err != nil {
			return err
		}
	}
	fmt.Println("ready")
	<-ctx.Done()
	return errors.Join(runtime.Stop(context.WithoutCancel(ctx)), bus.Close(), store.Close())
}

// ports are what the services need from outside.
func (c config) ports() (p house.Ports, err error) {
	p.Orders = orders.Config{StepPatience: c.stepPatience}
	if c.payment == "" {
		return p, nil
	}
	key, err := os.ReadFile(c.paymentKey)
	if err != nil {
		return p, err
	}
	client, err := payment.New(payment.Config{BaseURL: c.payment, APIKey: strings.TrimSpace(string(key))})
	p.Provider = house.Paying(client)
	return p, err
}

// sell serves the online store of 0.1.0 until the process ends.
func (c config) sell(runtime *backbone.Runtime) error {
	authority, err := door.OpenAuthority(c.keys, clock{})
	if err != nil {
		return err
	}
	often := door.Rate{PerSecond: 100_000, Burst: 200_000}
	d, err := door.New(door.Config{Authority: authority, TestMode: true, CallerRate: often, AddressRate: often})
	if err != nil {
		return err
	}
	if err := house.Sell(d, runtime); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() {
		if err := d.Server().Serve(l); !errors.Is(err, http.ErrServerClosed) {
			fmt.Fprintln(os.Stderr, err)
		}
	}()
	fmt.Printf("online store http://%s\n", l.Addr())
	return nil
}

type clock struct{}

func (clock) Now() time.Time { return time.Now() }
