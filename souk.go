// Package souk is the mall as a value. The program souk is
//
//	func main() { souk.New().Main() }
//
// and someone else's repository adds a service of its own with
//
//	func main() { souk.New().Add(points.Service()).Main() }
//
// which then runs beside the others, hears every event from the first one on, and
// stands on the map. Nothing else changes.
package souk

import (
	"context"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"example.org/souk/backbone"
	"example.org/souk/internal/cli"
)

// Program is the program souk with the services that were added to it.
type Program struct{ added []*backbone.Service }

// New returns the program as it is.
func New() *Program { return &Program{} }

// Add returns the program with further services.
func (p *Program) Add(services ...*backbone.Service) *Program {
	return &Program{slices.Concat(p.added, services)}
}

// Main runs the command line and ends the process with its exit code. An interrupt, or SIGTERM, stops it in good order, and an interrupt
// after that at once.
func (p *Program) Main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, func() { signal.Reset(os.Interrupt) }) // whoever does not want to wait interrupts once more
	code := p.Run(ctx, os.Args[1:]...)
	stop()
	os.Exit(code)
}

// Run runs one command line and returns its exit code: 0 done, 1 failed, 2 a
// mistake in the command line. Ending ctx stops it in good order.
func (p *Program) Run(ctx context.Context, args ...string) int {
	return cli.Run(ctx, cli.Env{Args: args, Stdout: os.Stdout, Stderr: os.Stderr, Added: p.added})
}
