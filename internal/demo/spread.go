package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"example.org/souk/backbone"
	"example.org/souk/gateway/devices"
	"example.org/souk/gateway/kiosk"
	"example.org/souk/gateway/online"
	"example.org/souk/gateway/staff"
	"example.org/souk/internal/control"
	"example.org/souk/internal/house"
)

// spread is a mall with every service and gateway in a process of its own, on PostgreSQL. Each has a data directory of its own below that
// of the play.
type spread struct {
	config house.Config
	parts  []*process
	seeded bool
	next   int // is killed next
}

// spreadConnections is how many connections all of them have to the database, at the most and about.
const spreadConnections = 240

// newSpread prepares them. In which order they are killed follows from the seed.
func newSpread(c house.Config, program []string, seed uint64) (*spread, error) {
	m := &spread{config: c}
	names := house.PartNames()
	chance := rand.New(rand.NewPCG(seed, 0x4b_49_4c_4c))
	chance.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	steady := &addresses{given: map[string]bool{c.HTTP: true}}
	for _, name := range names {
		p := &process{name: name, program: program, env: secrets(c), web: steady.next()}
		p.args = append([]string{"--data", m.dir(name), "--db", c.DB, "run", name}, flags(c)...)
		switch {
		case name == online.ServiceName && c.HTTP != anyPort:
			p.web = c.HTTP
		case name == devices.ServiceName:
			p.gate = steady.next()
		}
		m.parts = append(m.parts, p)
	}
	return m, steady.err
}

// addresses hands out free addresses on loopback. Their ports lie below those that a system gives out by itself, so that nobody's
// connection takes one while its process is down.
type addresses struct {
	given map[string]bool
	err   error
}

func (a *addresses) next() string {
	for range 1000 {
		address := fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(12_000))
		if a.given[address] {
			continue
		}
		if l, err := net.Listen("tcp", address); err == nil {
			a.given[address] = true
			a.err = errors.Join(a.err, l.Close())
			return address
		}
	}
	a.err = errors.New("there is no free port on loopback between 20000 and 32000")
	return ""
}

// dir is the data directory of a part.
func (m *spread) dir(part string) string { return filepath.Join(m.config.Data, part) }

// start runs what does not run, as many at once as there are processors, and opens the demo shop at first.
func (m *spread) start(ctx context.Context) error {
	err := m.each(runtime.NumCPU(), func(p *process) error { return p.begin(ctx) })
	if err != nil || m.seeded {
		return err
	}
	h, err := m.outside(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(h.SeedDemo(ctx), h.Stop(ctx)); err != nil {
		return fmt.Errorf("demo shop: %w", err)
	}
	m.seeded = true
	return nil
}

// each does something with every process, with so many at once.
func (m *spread) each(atOnce int, do func(*process) error) error {
	errs := make([]error, len(m.parts))
	turn := make(chan struct{}, atOnce)
	var doing sync.WaitGroup
	for i, p := range m.parts {
		turn <- struct{}{}
		doing.Go(func() {
			errs[i] = do(p)
			<-turn
		})
	}
	doing.Wait()
	return errors.Join(errs...)
}

// outside is the mall as the command line sees it: its databases, and its processes as far as they run.
func (m *spread) outside(ctx context.Context) (*house.House, error) {
	return house.Open(ctx, house.Config{
		Data: m.dir("operator"), DB: m.config.DB, Currency: m.config.Currency, Quiet: true, Empty: true, Logger: slog.New(slog.DiscardHandler),
	})
}

func (m *spread) kill() (string, error) {
	p := m.parts[m.next%len(m.parts)]
	m.next++
	killed, err := p.kill()
	if !killed {
		return "", err
	}
	return p.name, nil
}

// second is a process with a data directory and addresses of its own.
func (m *spread) second(chance *rand.Rand) *process {
	first := m.parts[chance.IntN(len(m.parts))]
	p := &process{name: first.name + " once more", program: first.program, env: first.env, web: anyPort}
	p.args = append([]string{"--data", m.dir(first.name + "-once-more"), "--db", m.config.DB, "run", first.name}, flags(m.config)...)
	if first.name == devices.ServiceName {
		p.gate = anyPort
	}
	return p
}

func (m *spread) processes() (names []string) {
	for _, p := range m.parts {
		names = append(names, p.name)
	}
	return names
}

func (m *spread) down() (names []string) {
	for _, p := range m.parts {
		if !p.runs() {
			names = append(names, p.name)
		}
	}
	return names
}

func (m *spread) stop() error {
	return m.each(len(m.parts), (*process).end)
}

// of returns the process of a part.
func (m *spread) of(part string) *process {
	for _, p := range m.parts {
		if p.name == part {
			return p
		}
	}
	return &process{name: part}
}

func (m *spread) url(part string) string {
	web, _, _ := m.of(part).where()
	return web
}

func (m *spread) mqtt() string {
	_, gate, _ := m.of(devices.ServiceName).where()
	return gate
}

// pages are those of the gateway that each of them comes in by.
func (m *spread) pages() (list []house.SignIn) {
	for part, who := range map[string][]string{kiosk.Gate: {"customer", "kiosk"}, staff.ServiceName: {"clerk", "manager"}, "console": {"engineer"}} {
		_, _, links := m.of(part).where()
		for _, l := range links {
			if slices.Contains(who, l.Who) {
				list = append(list, l)
			}
		}
	}
	slices.SortFunc(list, func(a, b house.SignIn) int { return strings.Compare(a.Who, b.Who) })
	return list
}

func (m *spread) operate(ctx context.Context, name string, a control.Args, emit func(json.RawMessage) error) error {
	return control.Call(ctx, control.Mall{Data: m.dir("operator"), DB: m.config.DB}, name, a, listening(emit))
}

func (m *spread) head(service string) (backbone.Seal, error) {
	return house.HeadIn(m.dir(service), service)
}
