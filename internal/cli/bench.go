package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"example.org/souk/internal/bench"
)

type benchCommand struct {
	Orders benchOrdersCommand `cmd:"" help:"Measure the full path of an order, from the HTTP request to its approval."`
}

type benchOrdersCommand struct {
	Duration time.Duration `help:"How long the load lasts." default:"10s"`
	Clients  int           `help:"Clients that send at the same time." default:"64"`
	Rate     int           `help:"Orders a second, sent whatever comes back; 0 sends the next when the last is answered." default:"0"`
}

// Help implements kong's long help.
func (benchOrdersCommand) Help() string {
	return `Example:
  souk bench orders --rate 1000 --duration 20s -o json

It starts a mall of its own on throw-away data, so no other may be disturbed.
It exits with 1 when what the mall kept is not what it accepted.`
}

// Run runs the load and prints what came of it.
func (c *benchOrdersCommand) Run(ctx context.Context, env Env, r *root) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	res, err := bench.Orders{Program: []string{self}, Duration: c.Duration, Clients: c.Clients, Rate: c.Rate, Log: env.Stderr}.Run(ctx)
	if err != nil {
		return err
	}
	if r.Output == "table" {
		fmt.Fprintf(env.Stdout, `loop                %s
orders a second     %.0f (%d accepted, %d refused)
accepted after      p50 %.2f ms, p99 %.2f ms, max %.2f ms
approved after      p50 %.2f ms, p99 %.2f ms, max %.2f ms
CPU an order        %.3f ms
memory              idle %d MB, peak %d MB
ready after         %.0f ms
`, res.Loop, res.OrdersPerSecond, res.Accepted, res.Refused, res.AcceptMS.P50, res.AcceptMS.P99, res.AcceptMS.Max,
			res.PlacedToApproved.P50, res.PlacedToApproved.P99, res.PlacedToApproved.Max, res.CPUMSPerOrder,
			res.IdleRSSBytes>>20, res.PeakRSSBytes>>20, res.ReadyMS)
	} else if err := json.NewEncoder(env.Stdout).Encode(res); err != nil {
		return err
	}
	if len(res.Violations) > 0 {
		return errors.Join(errors.New("what the mall kept is not what it accepted"), fmt.Errorf("%q", res.Violations))
	}
	return nil
}
