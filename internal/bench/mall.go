package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/internal/control"
	"example.org/souk/internal/house"
)

// atOnce bounds the commands that fill a mall at the same time.
const atOnce = 32

// fillWith has commands decided, those of first in their order and then the rest in any.
func fillWith(first, rest []backbone.Command, do func(backbone.Command) error) error {
	for _, c := range first {
		if err := do(c); err != nil {
			return err
		}
	}
	var errs []error
	var mu sync.Mutex
	var wait sync.WaitGroup
	room := make(chan struct{}, atOnce)
	for _, c := range rest {
		room <- struct{}{}
		wait.Go(func() {
			defer func() { <-room }()
			if err := do(c); err != nil {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

// whole is a mall in one process, on throw-away data.
type whole struct {
	*process
	dir   string
	url   string
	token string // lets staff in
}

// openWhole begins a mall in which the commands have been carried out; see fillWith.
func openWhole(ctx context.Context, program []string, log io.Writer, first, rest []backbone.Command) (_ *whole, err error) {
	m := &whole{}
	if m.dir, err = os.MkdirTemp("", "souk-bench-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(m.dir))
		}
	}()
	if m.token, err = fillDir(ctx, m.dir, first, rest); err != nil {
		return nil, fmt.Errorf("prepare: %w", err)
	}
	if m.process, m.url, err = startUp(ctx, program, m.dir, log); err != nil {
		return nil, err
	}
	return m, nil
}

// startUp starts the mall of a directory.
func startUp(ctx context.Context, program []string, dir string, log io.Writer) (*process, string, error) {
	argv := append(slices.Clone(program), "--data", dir, "up", "--http", "127.0.0.1:0", "--empty", "--caller-rate", "1000000")
	return startProcess(exec.CommandContext(ctx, argv[0], argv[1:]...), log) //nolint:gosec // the program that is measured
}

// fillDir makes a mall in a directory and returns a token for staff.
func fillDir(ctx context.Context, dir string, first, rest []backbone.Command) (token string, err error) {
	h, err := house.Open(ctx, house.Config{Data: dir, Quiet: true, Empty: true})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, h.Stop(ctx)) }()
	if err := h.Start(ctx); err != nil {
		return "", err
	}
	err = fillWith(first, rest, func(c backbone.Command) error {
		a, err := h.Runtime.Do(ctx, c)
		return errors.Join(err, a.Err())
	})
	if err == nil {
		err = idle(ctx, h.Runtime) // whoever has to hear of it has
	}
	if err != nil {
		return "", err
	}
	return tokenOf(dir, "bench")
}

// settled waits until nothing is in flight and no call is to be made, two minutes at most.
func (m *whole) settled(ctx context.Context) error {
	return control.Call(ctx, control.Mall{Data: m.dir}, "wait", control.Args{"timeout": "2m", "settled": "yes"}, func(json.RawMessage) error { return nil })
}

// remove ends the mall, if it has not ended, and takes its data away.
func (m *whole) remove() error {
	m.kill()
	return os.RemoveAll(m.dir)
}

// end stops the mall and counts what it kept: events by type.
func (m *whole) end(ctx context.Context, types ...string) (counts map[string]int64, err error) {
	if err := m.stop(); err != nil {
		return nil, fmt.Errorf("stop: %w", err)
	}
	h, err := house.Open(ctx, house.Config{Data: m.dir, Quiet: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, h.Stop(ctx)) }()
	if err := h.Migrate(ctx); err != nil {
		return nil, err
	}
	counts = map[string]int64{}
	for _, t := range types {
		found, _, err := countEvents(ctx, h.Reader(serviceOf(t)), 0, t)
		if err != nil {
			return nil, err
		}
		maps.Copy(counts, found)
	}
	return counts, nil
}

// serviceOf returns the service in whose log events of a type stand: souk.SERVICE.NAME.v1.
func serviceOf(wire string) string {
	return strings.Split(wire, ".")[1]
}

// countEvents counts the events of some types in a log after a position, and returns the position of the last.
func countEvents(ctx context.Context, r *backbone.Reader, after int64, types ...string) (counts map[string]int64, last int64, err error) {
	counts = map[string]int64{}
	for {
		list, err := r.Log(ctx, backbone.ReadQuery{After: after, Limit: 10_000, Types: types})
		if err != nil {
			return nil, after, err
		}
		if len(list) == 0 {
			return counts, after, nil
		}
		for _, m := range list {
			counts[m.Type]++
			after = m.Position
		}
	}
}

// put calls do from so many clients at the same time for as long as a load lasts, and returns how long it took. Without a rate a client
// goes on when it is through; with one do is called at the times that are due, so many a second, whatever becomes of it.
func put(ctx context.Context, clients, perSecond int, lasts time.Duration, do func(client int, due time.Time)) time.Duration {
	began := time.Now()
	until := began.Add(lasts)
	var all sync.WaitGroup
	if perSecond == 0 {
		for i := range clients {
			all.Go(func() {
				for ctx.Err() == nil && time.Now().Before(until) {
					do(i, time.Now())
				}
			})
		}
		all.Wait()
		return time.Since(began)
	}
	due := make(chan time.Time, 4*perSecond)
	for i := range clients {
		all.Go(func() {
			for t := range due {
				do(i, t)
			}
		})
	}
	pace(ctx, began, until, perSecond, func(t time.Time) { due <- t })
	close(due)
	all.Wait()
	return time.Since(began)
}

func loop(perSecond int) string {
	if perSecond > 0 {
		return fmt.Sprintf("open at %d/s", perSecond)
	}
	return "closed"
}
