package control

import (
	"context"
	"errors"
	"time"

	"example.org/souk/internal/house"
)

// Host runs a house until ctx ends, then drains. The command line reaches it through the socket in its data directory. begun
// is called once it takes orders.
func Host(ctx context.Context, config house.Config, begun func(*house.House) error) error {
	h, err := house.Open(ctx, config)
	if err != nil {
		return err
	}
	stop := func() error {
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		return h.Stop(drain)
	}
	if err := h.Start(ctx); err != nil {
		return errors.Join(err, stop())
	}
	socket, err := Listen(ctx, config.Data)
	if err != nil {
		return errors.Join(err, stop())
	}
	served := make(chan error, 1)
	serving, end := context.WithCancel(ctx)
	defer end()
	go func() { served <- Serve(serving, h, socket) }()
	if err := begun(h); err != nil {
		end()
		return errors.Join(err, <-served, stop())
	}
	select {
	case <-ctx.Done():
	case err := <-h.Taken():
		end()
		return errors.Join(err, <-served, stop())
	case err := <-served:
		return errors.Join(err, stop())
	}
	return errors.Join(<-served, stop())
}
