// Command patient is a process of a system whose one service takes its time over each message: 10 ms, in two lanes. Its arguments are
// the PostgreSQL database, the name of this process, and the URL of the broker that carries messages ("": the log
// does). A number behind them has it ask so many questions first.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/kafkabus"
	"example.org/souk/backbone/logbus"
	"example.org/souk/backbone/natsbus"
	"example.org/souk/backbone/pgstore"
	"example.org/souk/backbone/rabbitbus"
)

const (
	desk     = "desk"
	lanes    = 2 // so that the lanes bound a process, and not the CPU
	handling = 10 * time.Millisecond
	lease    = 3 * time.Second // so that shares are even soon after a process has come
)

// asked is what the service hears of.
type asked struct {
	N int `json:"n"`
}

// EventType returns the wire name.
func (asked) EventType() string { return "patient.Asked.v1" }

// services are where it is asked, and what takes its time. owner is the process that notes what it has answered.
func services(owner string) []*backbone.Service {
	return []*backbone.Service{
		{Name: desk, About: "Is asked.", Publishes: []backbone.Event{asked{}}},
		{
			Name:  "patient",
			About: "Takes its time.",
			Lanes: lanes,
			Subscribes: []backbone.Subscriber{backbone.On(func(ctx context.Context, tx backbone.Tx, e asked) error {
				wait := time.NewTimer(handling)
				defer wait.Stop()
				select {
				case <-wait.C:
				case <-ctx.Done():
					return ctx.Err()
				}
				return tx.Exec(ctx, `INSERT INTO {answered} (n, process) VALUES ($1, $2)`, e.N, owner)
			}).From(backbone.FromFirst)},
			Migrations: fstest.MapFS{"0001_answered.sql": {Data: []byte(
				"-- +goose Up\nCREATE TABLE {answered} (n BIGINT PRIMARY KEY, process TEXT NOT NULL);\n",
			)}},
		},
	}
}

// fill asks so many questions, each on a stream of its own.
func fill(ctx context.Context, db string, questions int) error {
	conn, err := pgx.Connect(ctx, db)
	if err != nil {
		return err
	}
	const each = 1000
	for begin := 0; begin < questions && err == nil; begin += each {
		err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			out := make([]backbone.Outgoing, each)
			for i := range out {
				n := begin + i
				out[i] = backbone.Outgoing{Stream: fmt.Sprintf("question/%d", n), Events: []backbone.Event{asked{n}}, Time: time.Now()}
			}
			_, err := pgstore.Append(ctx, tx, desk, out...)
			return err
		})
	}
	return errors.Join(err, conn.Close(ctx))
}

func main() {
	questions := 0
	if len(os.Args) > 4 {
		questions, _ = strconv.Atoi(os.Args[4]) // the test gives a number
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3], questions); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(db, owner, broker string, questions int) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	store, err := pgstore.Open(ctx, pgstore.Config{URL: db})
	if err != nil {
		return err
	}
	storeOf := func(string) driver.Store { return store }
	var bus driver.Transport = logbus.New(logbus.Config{Store: storeOf, Owner: owner, Lease: lease})
	switch scheme, at, _ := strings.Cut(broker, "://"); scheme {
	case "nats":
		bus, err = natsbus.New(natsbus.Config{Client: natsbus.ClientConfig{URL: broker}, Store: storeOf, Owner: owner, Lease: lease})
	case "amqp":
		bus, err = rabbitbus.New(rabbitbus.Config{Client: rabbitbus.ClientConfig{URL: broker}, Store: storeOf, Owner: owner, Lease: lease})
	case "kafka":
		client := kafkabus.ClientConfig{Brokers: strings.Split(at, ",")}
		bus, err = kafkabus.New(kafkabus.Config{Client: client, Store: storeOf, Owner: owner, Lease: lease})
	}
	if err != nil {
		return err
	}
	runtime, err := backbone.New(backbone.Config{Parts: services(owner), Store: storeOf, Transport: bus, Owner: owner, Lease: lease})
	if err != nil {
		return err
	}
	if err := runtime.Migrate(ctx); err != nil {
		return err
	}
	if err := fill(ctx, db, questions); err != nil {
		return err
	}
	if err := runtime.Start(ctx); err != nil {
		return err
	}
	fmt.Println("ready")
	<-ctx.Done()
	return errors.Join(runtime.Stop(context.WithoutCancel(ctx)), bus.Close(), store.Close())
}
