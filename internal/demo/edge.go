package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"example.org/souk/device/display"
	"example.org/souk/device/gate"
	"example.org/souk/device/robot"
	"example.org/souk/device/shopper"
	"example.org/souk/gateway/door"
	"example.org/souk/gateway/kiosk"
	"example.org/souk/internal/house"
	"example.org/souk/mall/depot"
)

// appliance is a device, a robot or the people at a kiosk. What is said of it can be used concurrently.
type appliance struct {
	name string
	run  func(ctx context.Context) error // until ctx ends, or the mall is away

	mu   sync.Mutex
	off  context.CancelFunc
	dark time.Time // it is switched off until then
}

// keep runs it until ctx ends. Where it has ended because the mall was away, somebody switches it on again.
func (a *appliance) keep(ctx context.Context) {
	for ctx.Err() == nil {
		a.mu.Lock()
		run, off := context.WithCancel(ctx)
		a.off = off
		still := time.Until(a.dark)
		a.mu.Unlock()
		if still <= 0 {
			_ = a.run(run)
		}
		off()
		pause(ctx, max(still, 100*time.Millisecond))
	}
}

// cut switches it off for a while, whatever it does.
func (a *appliance) cut(ctx context.Context, d time.Duration) {
	a.mu.Lock()
	a.dark = time.Now().Add(d)
	if a.off != nil {
		a.off()
	}
	a.mu.Unlock()
	pause(ctx, d)
}

// twin runs a second one with the same login for a while.
func (a *appliance) twin(ctx context.Context, d time.Duration) {
	ctx, end := context.WithTimeout(ctx, d)
	defer end()
	_ = a.run(ctx)
}

// place puts an appliance up, which runs until ctx ends.
func (p *play) place(ctx context.Context, people *sync.WaitGroup, a *appliance) {
	p.mu.Lock()
	p.placed = append(p.placed, a)
	p.mu.Unlock()
	people.Go(func() { a.keep(ctx) })
}

// appliances are all that were placed.
func (p *play) appliances() []*appliance {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.placed)
}

// gates adds two gates of the supermarket, through which people pass until ctx ends.
func (p *play) gates(ctx, life context.Context, people *sync.WaitGroup) error {
	sells, buyers := house.DemoShop()
	var products []string
	for _, s := range sells {
		products = append(products, s.Product)
	}
	var faults gate.Faults
	if p.troubled {
		faults = troubled
	}
	for i := range 2 {
		name := fmt.Sprintf("gate-%d", i+1)
		login, err := p.admit(life, name, "gate")
		if err != nil {
			return err
		}
		passed := &progress{}
		p.passed = append(p.passed, passed)
		p.place(ctx, people, &appliance{name: name, run: func(ctx context.Context) error {
			return gate.Run(ctx, gate.Config{
				Server: p.mall.mqtt(), Store: login.Store, Device: name, Password: login.Password, Seed: p.Seed + uint64(i), After: passed.next(),
				Rate: visitorRate * p.Speed, Customers: buyers, Products: products, Faults: faults, Out: passed,
			})
		}})
	}
	return nil
}

// welcome puts up the display at the entrance.
func (p *play) welcome(ctx, life context.Context, people *sync.WaitGroup) error {
	const name = "display-1"
	login, err := p.admit(life, name, "display")
	if err != nil {
		return err
	}
	p.place(ctx, people, &appliance{name: name, run: func(ctx context.Context) error {
		return display.Run(ctx, display.Config{Server: p.mall.mqtt(), Store: login.Store, Device: name, Password: login.Password, Out: &p.shown})
	}})
	return nil
}

// kiosk lets people shop at a kiosk until ctx ends.
func (p *play) kiosk(ctx context.Context, people *sync.WaitGroup) error {
	token, err := p.token(string(door.Device), "kiosk-1")
	if err != nil {
		return err
	}
	faults := shopper.Faults{Abandon: 5, Cancel: 5, NoShow: 5}
	if p.troubled {
		faults.Duplicates, faults.Loss = 10, 5
	}
	came := &progress{}
	p.place(ctx, people, &appliance{name: "kiosk-1", run: func(ctx context.Context) error {
		return shopper.Run(ctx, shopper.Config{
			Server: p.mall.url(kiosk.Gate), Device: "kiosk-1", Token: token, Seed: p.Seed, After: came.next(), Rate: kioskRate * p.Speed, Faults: faults,
			Cards: []string{"1001", "1002", "1003"}, Patience: 30 * time.Second, Out: came,
		})
	}})
	return nil
}

// robots get logins and fetch what was ordered until life ends, or dismiss is called.
func (p *play) robots(life context.Context) error {
	for i := range fleet {
		name := fmt.Sprintf("robot-%d", i+1)
		login, err := p.admit(life, name, "robot")
		if err != nil {
			return err
		}
		p.logins = append(p.logins, robot.Login{Robot: name, Password: login.Password})
	}
	p.dismiss = p.fetch(life)
	return nil
}

// fetch has the robots work until stop is called, which returns when they are gone.
func (p *play) fetch(life context.Context) (stop func()) {
	faults := robot.Faults{Short: 2}
	if p.troubled {
		faults = p.lapses
	}
	working, end := context.WithCancel(life)
	var gone sync.WaitGroup
	for i, login := range p.logins {
		p.place(working, &gone, &appliance{name: login.Robot, run: func(ctx context.Context) error {
			return robot.Run(ctx, robot.Config{
				Server: p.mall.url(depot.ServiceName), Robots: []robot.Login{login}, Seed: p.Seed + uint64(i), Speed: pace * p.Speed, Positions: 2,
				Faults: faults, Out: &p.fetched,
			})
		}})
	}
	return func() { end(); gone.Wait() }
}

// progress is how far a sequence of people has come, as whoever runs it tells it, a line of JSON each: it goes on from there where it was switched
// off.
type progress struct {
	mu   sync.Mutex
	come int
}

// Write implements io.Writer.
func (p *progress) Write(text []byte) (int, error) {
	var who struct {
		N      *int `json:"n"`
		Person *int `json:"person"`
	}
	for line := range bytes.Lines(text) {
		if json.Unmarshal(line, &who) != nil {
			continue
		}
		p.mu.Lock()
		for _, n := range []*int{who.N, who.Person} {
			if n != nil {
				p.come = max(p.come, *n+1)
			}
		}
		p.mu.Unlock()
	}
	return len(text), nil
}

func (p *progress) next() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.come
}

// greeting is what the display shows.
type greeting struct {
	mu   sync.Mutex
	last string
}

// Write implements io.Writer.
func (g *greeting) Write(text []byte) (int, error) {
	for line := range strings.Lines(string(text)) {
		if line = strings.Trim(line, " |\n"); line != "" && !strings.HasPrefix(line, "(") { // else it is about its connection
			g.mu.Lock()
			g.last = line
			g.mu.Unlock()
		}
	}
	return len(text), nil
}

func (g *greeting) shows() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.last
}

// harvest counts what robots have brought.
type harvest struct {
	mu    sync.Mutex
	lists int
	there map[string]bool
}

// Write implements io.Writer.
func (h *harvest) Write(text []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for line := range bytes.Lines(text) {
		var l robot.Line
		if json.Unmarshal(line, &l) != nil {
			continue
		}
		switch l.What {
		case "handed_in":
			h.lists++
		case "connected", "back":
			if h.there == nil {
				h.there = map[string]bool{}
			}
			h.there[l.Robot] = true
		case "disconnected", "vanished":
			delete(h.there, l.Robot)
		}
	}
	return len(text), nil
}

func (h *harvest) count() (lists, there int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lists, len(h.there)
}
