package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"example.org/souk/internal/house"
)

type runCommand struct {
	Parts     []string      `arg:"" help:"Services and gateways to run here: orders, inventory, ..., online, kiosk, console." placeholder:"PART"`
	HTTP      string        `help:"Address of the pages and APIs of what runs here, of its metrics and health. Other than on loopback it speaks TLS." default:"127.0.0.1:0" env:"SOUK_HTTP"`
	Listen    string        `help:"Address on which other processes are answered, over TLS." default:"127.0.0.1:0" env:"SOUK_LISTEN"`
	Advertise string        `help:"Address under which other processes reach it; default the one of --listen." env:"SOUK_ADVERTISE" placeholder:"HOST:PORT"`
	Drain     time.Duration `help:"How long a process that is asked to end still takes requests while it says that it is not ready." default:"0s" env:"SOUK_DRAIN"`
	TestMode  bool          `help:"Add the routes that fill a test's world." env:"SOUK_TEST_MODE"`
	mallFlags `embed:""`
}

// Help implements kong's long help.
func (runCommand) Help() string {
	return `Every process names the same databases, and finds the others through them. Each has a
data directory of its own. A part may run in several processes, which share its work.

Example:
  souk run --db postgres://localhost/mall --data ./one online stores customers keys
  souk run --db postgres://localhost/mall --data ./two orders inventory payments notifications analytics search partner
  souk --db postgres://localhost/mall process list

A service can have a database of its own:
  souk run --db postgres://localhost/mall,orders=postgres://localhost/orders orders

Over a broker a process need not reach the databases of others; their logs are asked for:
  souk run --broker nats://localhost --db postgres://localhost/mall,orders=rpc search`
}

// Run runs the parts until ctx ends, then drains.
func (c *runCommand) Run(ctx context.Context, env Env, r *root) error {
	if r.DB == "" {
		return usageError{fmt.Errorf("several processes share a database: name it with --db URL")}
	}
	config := c.config(r, env)
	config.Drain, config.HTTP, config.Listen, config.Advertise, config.Run, config.TestMode = c.Drain, c.HTTP, c.Listen, c.Advertise, c.Parts, c.TestMode
	config.MQTT.Address = c.mqtt(c.HTTP)
	return runMall(ctx, config, func(h *house.House) error {
		fmt.Fprintf(env.Stdout, "runs          %s\n", strings.Join(c.Parts, " "))
		fmt.Fprintf(env.Stdout, "web           %s\n", h.URL())
		fmt.Fprintf(env.Stdout, "processes     %s\n", h.Address())
		return welcome(env, h)
	})
}
