package control

import (
	"context"
	"errors"
	"time"

	"example.org/souk/backbone/sqlitestore"
	"example.org/souk/internal/house"
)

// Host runs a house until ctx ends, then drains. The command line reaches it through the socket in its data directory. begun
// is called once it takes orders. A command that works on the directory just now is waited for; a mall that runs there is not.
func Host(ctx context.Context, config house.Config, begun func(*house.House) error) error {
	var h *house.House
	waiting := func(err error) { config.Logger.WarnContext(ctx, "waiting for the data directory", "error", err) }
	err := turn(ctx, waiting, func() (inTheWay bool, err error) {
		h, err = house.Open(ctx, config)
		return errors.Is(err, sqlitestore.ErrInUse) && !Running(ctx, config.Data), err
	})
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
