package gate

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"time"

	"example.org/souk/device/internal/faults"
	"example.org/souk/device/internal/link"
)

// Config says what a gate does. Server, Store, Device, Password, Customers and Products are required.
type Config struct {
	Server, CAFile   string
	Store            string
	Kind             string // gate, gate-in or gate-out; default gate
	Device, Password string
	Version          int // of MQTT: 3 for 3.1.1, or 5; default 5
	// Older publishes under the names of older systems: customer-arrival and customer-departed.
	Older bool

	Seed      uint64
	Rate      float64 // people a second who pass; default 1
	Visitors  int     // who come; 0 for as many as until it is stopped
	After     int     // how many messages of the sequence were before: a gate that is started again goes on where it stood
	Customers []string
	Products  []string
	Faults    Faults
	// Admin is a loopback address at which faults are switched: GET and PUT /faults with the password as the bearer token. Default
	// none.
	Admin string
	// Out is told of everything that is sent or not, a line of JSON each. Default nobody.
	Out io.Writer
	// Trouble is told, in words, why the gate is not connected, once for each reason until it is. Default nobody.
	Trouble io.Writer
}

// Passed is a line of what the gate tells: who passed, and what became of the message.
type Passed struct {
	Number   int      `json:"n"`
	What     string   `json:"what"` // arrival or departure
	Customer string   `json:"customer"`
	Products []string `json:"products,omitempty"`
	Sent     int      `json:"sent"`            // how often it was acknowledged
	Fault    string   `json:"fault,omitempty"` // what went wrong, set apart by spaces
}

// gate is a running gate.
type gate struct {
	Config
	run  string // makes the ids of this run's messages its own
	link *link.Link
	told chan order // what the mall told it to do
	last string     // id of the order that it did last

	mu     sync.Mutex
	faults Faults
}

// lastWord is how long a gate that is stopped tries to say what it held back.
const lastWord = 2 * time.Second

// Run lets people pass until all have left or ctx ends. A message that was held back is sent before it returns; where that cannot be, it
// is told as one that was not.
func Run(ctx context.Context, c Config) error {
	c.Kind, c.Rate = cmp.Or(c.Kind, "gate"), cmp.Or(c.Rate, 1)
	if !(c.Rate > 0) || c.Visitors < 0 || c.After < 0 {
		return errors.New("visitors, and how often they pass, are not less than nothing")
	}
	if err := link.Check(c.Server, c.Password); err != nil {
		return err
	}
	if c.Version == 0 {
		c.Version = 5
	}
	if c.Out == nil {
		c.Out = io.Discard
	}
	if c.Trouble == nil {
		c.Trouble = io.Discard
	}
	if len(c.Customers) == 0 || len(c.Products) == 0 {
		return errors.New("a gate needs customers who pass and products that they carry")
	}
	if err := c.Faults.check(); err != nil {
		return err
	}
	g := &gate{Config: c, run: rand.Text()[:8], faults: c.Faults, told: make(chan order, 8)}
	if c.Admin != "" {
		stop, err := g.serve()
		if err != nil {
			return err
		}
		defer stop()
	}
	err := g.let(ctx)
	if g.link != nil {
		g.link.Close()
	}
	if ctx.Err() != nil {
		return nil // it was stopped
	}
	return err
}

// letter is a message with who it is about.
type letter struct {
	passed  Passed
	topic   string
	payload []byte
	times   int
}

// let lets everybody pass.
func (g *gate) let(ctx context.Context) error {
	p := newPlan(g.Seed, g.Customers, g.Products, g.Visitors)
	for range g.After {
		p.step()
	}
	tick := time.NewTicker(max(time.Duration(min(float64(time.Second)/g.Rate, math.MaxInt64/2)), 1))
	defer tick.Stop()
	var held *letter
	defer func() {
		if held != nil && ctx.Err() != nil {
			g.part(held)
		}
	}()
	if err := g.connect(ctx); err != nil { // it is told to open also where nobody passes
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case o := <-g.told:
			if err := g.open(ctx, o); err != nil {
				return err
			}
			continue
		case <-g.lost():
			g.link.Close()
			if err := g.connect(ctx); err != nil {
				return err
			}
			continue
		case <-tick.C:
		}
		m, more := p.step()
		if !more {
			last := held
			held = nil
			return g.send(ctx, last)
		}
		f := g.current()
		if m.fate.offline < f.Offline {
			if err := g.rest(ctx, f); err != nil {
				return err
			}
		}
		l := g.letter(m, f)
		switch {
		case l.times == 0:
			if err := g.tell(l.passed); err != nil {
				return err
			}
		case m.fate.reorder < f.Reorder && held == nil:
			l.passed.note("reordered")
			held = l
		default:
			if err := g.send(ctx, l); err != nil {
				return err
			}
			after := held
			held = nil
			if err := g.send(ctx, after); err != nil {
				return err
			}
		}
	}
}

// part says what was held back when the gate was stopped.
func (g *gate) part(held *letter) {
	ctx, cancel := context.WithTimeout(context.Background(), lastWord)
	defer cancel()
	_ = g.send(ctx, held) // it was told
}

// letter writes what is said of somebody who passes, with what goes wrong with it.
func (g *gate) letter(m moment, f Faults) *letter {
	l := &letter{passed: Passed{Number: m.number, What: "arrival", Customer: m.customer, Products: m.products}, times: 1}
	if m.leaves {
		l.passed.What = "departure"
	}
	if m.fate.misread < f.Misreads {
		l.passed.note("misread")
		if m.leaves {
			l.passed.Products = append([]string{}, m.products...)
			l.passed.Products[m.fate.which%len(m.products)] = fmt.Sprintf("smudge-%d", m.fate.which)
		} else {
			l.passed.Customer = fmt.Sprintf("smudge-%d", m.fate.which)
		}
	}
	body := map[string]any{"timestamp": time.Now().UTC().Format(time.RFC3339Nano), "customer_id": l.passed.Customer}
	names := [2]string{"customer-arrived", "customer-arrival"}
	if m.leaves {
		body["product_ids"] = l.passed.Products
		names = [2]string{"customer-departed", "customer-departed"}
	}
	l.topic = names[1]
	if !g.Older {
		l.topic = g.own() + "event/" + names[0]
		body = map[string]any{
			"specversion": "1.0", "id": fmt.Sprintf("%s-%s-%d", g.Device, g.run, m.number), "source": "/" + g.Store + "/" + g.Device,
			"type": names[0], "time": body["timestamp"], "data": body,
		}
	}
	payload, err := json.Marshal(body)
	if err != nil {
		panic(err) // texts and lists of texts always encode
	}
	l.payload = payload
	if m.fate.duplicate < f.Duplicates {
		l.passed.note("duplicated")
		l.times = 2
	}
	if m.fate.lose < f.Loss {
		l.passed.note("lost")
		l.times = 0
	}
	return l
}

func (p *Passed) note(fault string) { p.Fault = strings.TrimSpace(p.Fault + " " + fault) }

func (g *gate) own() string { return "souk/v1/" + g.Store + "/" + g.Kind + "/" + g.Device + "/" }

// send sends a message until it is acknowledged, as a gate does that must not forget anybody, and tells what became of it, also where ctx ends
// before that.
func (g *gate) send(ctx context.Context, l *letter) error {
	if l == nil {
		return nil
	}
	for l.passed.Sent < l.times {
		if g.link == nil {
			if err := g.connect(ctx); err != nil {
				return errors.Join(err, g.tell(l.passed))
			}
		}
		if err := g.link.Publish(ctx, l.topic, l.payload, false); err != nil {
			if ctx.Err() != nil {
				return errors.Join(ctx.Err(), g.tell(l.passed))
			}
			g.link.Close()
			g.link = nil
			continue
		}
		l.passed.Sent++
	}
	return g.tell(l.passed)
}

// connect connects, as often as that takes. A login that is refused is tried again as well: it may be given later.
func (g *gate) connect(ctx context.Context) (err error) {
	said := ""
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		g.link, err = link.Dial(ctx, link.Config{
			URL: g.Server, CAFile: g.CAFile, Device: g.Device, Password: g.Password, Version: g.Version, Connection: g.own() + "connection",
			Subscribe: []string{g.own() + "cmd/open"}, Heard: g.hear,
		})
		if err == nil {
			return nil
		}
		g.link = nil
		if why := link.Why(err); why != said && ctx.Err() == nil {
			said = why
			fmt.Fprintf(g.Trouble, "%s is not connected to %s, and tries again: %s\n", g.Device, g.Server, why)
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// rest is a spell without a connection; whoever passes then is told of afterwards.
func (g *gate) rest(ctx context.Context, f Faults) error {
	if g.link != nil {
		g.link.Close()
		g.link = nil
	}
	spell := f.OfflineMS
	if spell == 0 {
		spell = 500
	}
	return sleep(ctx, time.Duration(spell)*time.Millisecond)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// lost is closed when the connection is gone, and nil where there is none.
func (g *gate) lost() <-chan struct{} {
	if g.link == nil {
		return nil
	}
	return g.link.Lost()
}

func (g *gate) tell(what any) error {
	line, err := json.Marshal(what)
	if err != nil {
		return err
	}
	_, err = g.Out.Write(append(line, '\n'))
	return err
}

func (g *gate) current() Faults {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.faults
}

// serve lets faults be switched.
func (g *gate) serve() (stop func(), err error) {
	return faults.Serve(g.Admin, g.Password, g.Out, faults.Switch[Faults]{Check: Faults.check, Get: g.current, Set: func(f Faults) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.faults = f
	}})
}
