package alacarte

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/natsbus"
	"example.org/souk/backbone/sqlitestore"
)

// Relay carries what the shop appends to NATS, until ctx ends.
func Relay(ctx context.Context, path, url string) error { return run(ctx, "shop", path, url) }

// RunBoard keeps the board in a database of its own, from what NATS carries, until ctx ends.
func RunBoard(ctx context.Context, path, url string) error { return run(ctx, "board", path, url) }

// run runs one of the two parts on its own database, with NATS between them.
func run(ctx context.Context, part, path, url string) (err error) {
	store, err := sqlitestore.Open(ctx, sqlitestore.Config{Path: path})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	storeOf := func(service string) driver.Store {
		if service == part {
			return store
		}
		return nil // the other one's is out of reach
	}
	bus, err := natsbus.New(natsbus.Config{Client: natsbus.ClientConfig{URL: url}, Store: storeOf})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bus.Close()) }()
	runtime, err := backbone.New(backbone.Config{
		Parts: []*backbone.Service{Shop(), Board()}, Run: []string{part}, Store: storeOf, Transport: bus,
	})
	if err != nil {
		return err
	}
	if err := runtime.Start(ctx); err != nil {
		return err
	}
	<-ctx.Done()
	return runtime.Stop(context.WithoutCancel(ctx))
}

// Read makes the backbone's message of one of NATS: a CloudEvent whose attributes are headers.
func Read(m *nats.Msg) (*backbone.Message, error) {
	attributes := map[string]string{}
	for name := range m.Header {
		if len(name) > 3 && name[:3] == "ce-" {
			attributes[name[3:]] = m.Header.Get(name)
		}
	}
	return backbone.MessageFromCloudEvent(attributes, m.Data)
}
