package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"example.org/souk/internal/demo"
	"example.org/souk/internal/house"
)

type demoCommand struct {
	Seed   uint64  `help:"The same seed gives the same sequence of what people do." default:"1"`
	Speed  float64 `help:"How fast they do it: 1 is two orders and two visitors a second." default:"1"`
	Orders int     `help:"End after so many orders; 0 goes on until it is stopped." default:"0"`
	Check  bool    `help:"When all has come to rest, look at what the mall has kept, and exit with 1 where something does not add up."`
	Chaos  bool    `help:"Kill the mall and start it again, with --db each of its processes in turn; pause services, let gates and the payment provider fail."`
	HTTP   string  `help:"Address of the pages, with --db of the online store; loopback only." default:"127.0.0.1:0"`
}

// Help implements kong's long help.
func (demoCommand) Help() string {
	return `Example:
  souk demo
  souk demo --seed 7 --speed 20 --orders 500 --check --chaos
  souk --db postgres://localhost/empty demo --speed 2 --orders 60 --check --chaos

It runs a mall on throw-away data, with people who order in its online store and walk through its supermarket. With --chaos
the mall is a process of its own that is killed again and again. What must hold does.

With --db every service and gateway is a process of its own on PostgreSQL. The database must be one on which no mall has run,
and keeps what this one kept. With --chaos the processes are killed in turn, and it goes on until each was killed once.

Ctrl-C sends the people home, and it ends when all has come to rest; once more ends it at once, and its data stays in the directory
for temporary files.`
}

// Run plays.
func (c *demoCommand) Run(ctx context.Context, env Env, r *root) error {
	if c.Speed <= 0 || c.Speed > 1000 || c.Orders < 0 {
		return usageError{errors.New("--speed lies above 0 and up to 1000, and --orders is not negative")}
	}
	if !house.Loopback(c.HTTP) {
		return usageError{fmt.Errorf("--http %s is not on loopback: a demo lets everybody in who has its links", c.HTTP)}
	}
	tuneCollector()
	out := env.Stdout
	if r.Output != "table" {
		out = env.Stderr
	}
	result, err := demo.Run(ctx, demo.Config{
		Seed: c.Seed, Speed: c.Speed, Orders: c.Orders, Check: c.Check, Chaos: c.Chaos, DB: r.DB, HTTP: c.HTTP, Out: out, Terminal: isTerminal(out),
	})
	if err != nil {
		return err
	}
	if r.Output != "table" {
		if err := json.NewEncoder(env.Stdout).Encode(result); err != nil {
			return err
		}
	} else {
		for _, l := range result.Looked {
			fmt.Fprintln(env.Stdout, "holds   ", l)
		}
		for _, l := range result.Broken {
			fmt.Fprintln(env.Stdout, "BROKEN  ", l)
		}
	}
	if len(result.Broken) > 0 {
		what := "things do"
		if len(result.Broken) == 1 {
			what = "thing does"
		}
		return fmt.Errorf("%d %s not add up: %s", len(result.Broken), what, strings.Join(result.Broken[:min(3, len(result.Broken))], "; "))
	}
	return nil
}

// isTerminal reports whether somebody looks at what is written.
func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
