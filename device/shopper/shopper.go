package shopper

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"example.org/souk/device/internal/faults"
	"example.org/souk/device/internal/link"
)

// Config says what people do. Server and Token are required.
type Config struct {
	// Server is the base address of the mall: http://127.0.0.1:8080. CAFile has the certificate by which it is trusted; default the system's.
	Server, CAFile string
	// Device is the id of the kiosk, for what it tells; Token is its login.
	Device, Token string

	Seed   uint64
	Rate   float64 // people a second who come; default 1
	People int     // who come; 0 for as many as until it is stopped
	After  int     // how many of the sequence have come before: people who come to a kiosk that is started again
	Cards  []string
	// Patience is how long somebody waits for their order; default 60 s. AtOnce bounds the people who are there at the same time; default 64.
	Patience time.Duration
	AtOnce   int
	Faults   Faults
	// Admin is a loopback address at which faults are switched: GET and PUT /faults with the token as the bearer token. Default none.
	Admin string
	// Out is told of everything that is done, a line of JSON each. Default nobody.
	Out io.Writer
	// Trouble is told, in words, why the mall does not answer, once for each reason until it does. Default nobody.
	Trouble io.Writer
}

// Done is a line of what the shopper tells: what somebody did, and what came of it.
type Done struct {
	Person   int    `json:"person"` // from 0
	Step     int    `json:"step"`   // of this person, from 0
	What     string `json:"what"`
	Product  string `json:"product,omitempty"`
	Quantity int64  `json:"quantity,omitempty"`
	Order    string `json:"order,omitempty"`
	Refused  string `json:"refused,omitempty"` // the code of the problem
	Fault    string `json:"fault,omitempty"`   // what went wrong, set apart by spaces
}

// shopper is the people of one kiosk.
type shopper struct {
	Config
	client   *client
	run      string // makes the keys of this run its own
	products []product

	mu     sync.Mutex
	faults Faults
	said   string // why the mall does not answer
}

// Run lets people come until all have left or ctx ends.
func Run(ctx context.Context, c Config) error {
	c.Rate, c.Patience, c.AtOnce = cmp.Or(c.Rate, 1), cmp.Or(c.Patience, time.Minute), cmp.Or(c.AtOnce, 64)
	if !(c.Rate > 0) || c.People < 0 || c.After < 0 || c.Patience < 0 || c.AtOnce < 0 {
		return errors.New("people, how often they come, their patience and how many are there are not less than nothing")
	}
	if c.Out == nil {
		c.Out = io.Discard
	}
	if c.Trouble == nil {
		c.Trouble = io.Discard
	}
	if err := link.CheckWeb(c.Server, c.Token); err != nil {
		return err
	}
	if err := c.Faults.check(); err != nil {
		return err
	}
	client, err := newClient(c.Server, c.CAFile)
	if err != nil {
		return err
	}
	s := &shopper{Config: c, client: client, run: rand.Text(), faults: c.Faults}
	defer client.http.CloseIdleConnections()
	if c.Admin != "" {
		stop, err := faults.Serve(c.Admin, c.Token, c.Out, faults.Switch[Faults]{Check: Faults.check, Get: s.current, Set: s.set})
		if err != nil {
			return err
		}
		defer stop()
	}
	err = s.let(ctx)
	if ctx.Err() != nil {
		return nil // it was stopped
	}
	return err
}

func (s *shopper) current() Faults {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.faults
}

func (s *shopper) set(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = f
}

// let lets everybody come, and waits until they have left.
func (s *shopper) let(ctx context.Context) error {
	look := &visit{shopper: s, person: person{number: -1, chance: (&plan{}).step().chance}}
	var list struct {
		Products []product `json:"products"`
	}
	if err := look.ask(ctx, s.Token, "GET", "/products?limit=100", nil, &list); err != nil {
		return fmt.Errorf("look at the products: %w", err)
	}
	if s.products = list.Products; len(s.products) == 0 {
		return errors.New("nothing is sold")
	}
	p := plan{seed: s.Seed, next: s.After}
	tick := time.NewTicker(max(time.Duration(min(float64(time.Second)/s.Rate, math.MaxInt64/2)), 1))
	defer tick.Stop()
	room := make(chan struct{}, s.AtOnce)
	var inside sync.WaitGroup
	defer inside.Wait()
	var wrong error
	var once sync.Once
	failed := make(chan struct{})
	for came := 0; s.People == 0 || came < s.People; came++ {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-failed:
			inside.Wait()
			return wrong
		case <-tick.C:
		}
		select {
		case room <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		v := &visit{shopper: s, person: p.step()}
		inside.Go(func() {
			defer func() { <-room }()
			if err := v.shop(ctx); err != nil && ctx.Err() == nil {
				once.Do(func() {
					wrong = fmt.Errorf("person %d: %w", v.number, err)
					close(failed)
				})
			}
		})
	}
	inside.Wait()
	return wrong
}

// visit is one person at the kiosk.
type visit struct {
	*shopper
	person
	step     int
	requests int
	token    string
}

// tell says what was done.
func (v *visit) tell(d Done) error {
	d.Person, d.Step = v.number, v.step
	v.step++
	line, err := json.Marshal(d)
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	_, err = v.Out.Write(append(line, '\n'))
	return err
}

// ask makes a request until it is answered, with one key however often it is made.
func (v *visit) ask(ctx context.Context, token, method, path string, body, into any) error {
	key := ""
	if method != "GET" {
		key = fmt.Sprintf("%s-%d-%d", v.run, v.number, v.requests)
		v.requests++
	}
	duplicate, lose := v.chance.IntN(100), v.chance.IntN(100) // always both, so that a fault changes nothing of what follows
	f := v.current()
	times := 1
	if key != "" && (duplicate < f.Duplicates || lose < f.Loss) {
		times = 2
	}
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 3*time.Second) {
		err := v.client.call(ctx, token, key, method, path, body, into)
		v.heard(ctx, err)
		if err == nil || !again(err) || ctx.Err() != nil {
			if times--; times == 0 || err != nil {
				return err
			}
			continue // once more, as if nothing had been heard
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// heard notes whether the mall answers, and tells why it does not.
func (s *shopper) heard(ctx context.Context, err error) {
	r, answered := errors.AsType[*refused](err)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil, answered && r.Status != http.StatusServiceUnavailable:
		s.said = ""
	case ctx.Err() == nil:
		if why := link.Why(err); why != s.said {
			s.said = why
			fmt.Fprintf(s.Trouble, "%s is not answered by %s, and tries again: %s\n", s.Device, s.Server, why)
		}
	}
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

// shop is everything that one person does. What the mall refuses is told, and they go on or leave; an error is what should not be.
func (v *visit) shop(ctx context.Context) error {
	if err := v.enter(ctx); err != nil {
		return err
	}
	var b basket
	if err := v.ask(ctx, v.token, "POST", "/baskets", nil, &b); err != nil {
		return v.leave(ctx, Done{What: "start", Refused: codeOf(err)}, err)
	}
	if err := v.fill(ctx, &b); err != nil {
		return err
	}
	if len(b.Items) == 0 {
		return v.leave(ctx, Done{What: "leave"}, nil)
	}
	if v.fate.abandon < v.current().Abandon {
		return v.tell(Done{What: "abandon", Fault: "abandon"}) // and nobody ends the session
	}
	o, err := v.checkOut(ctx, &b)
	if err != nil || o.Order == "" {
		return err
	}
	return v.wait(ctx, o)
}

// enter comes to the kiosk, by a card or as a guest, and looks around.
func (v *visit) enter(ctx context.Context) error {
	var s struct{ Customer, Token string }
	what := Done{What: "enter as guest"}
	if !v.guest && len(v.Cards) > 0 {
		card := v.Cards[v.card%len(v.Cards)]
		what = Done{What: "enter by card"}
		err := v.ask(ctx, v.Config.Token, "POST", "/sessions", map[string]string{"card": card}, &s)
		if what.Refused = codeOf(err); err != nil && what.Refused == "" {
			return err
		}
	}
	if s.Token == "" {
		if err := v.ask(ctx, v.Config.Token, "POST", "/customers", struct{}{}, &s); err != nil {
			return err
		}
		if err := v.ask(ctx, v.Config.Token, "POST", "/sessions", map[string]string{"customer": s.Customer}, &s); err != nil {
			return err
		}
	}
	v.token = s.Token
	if err := v.tell(what); err != nil {
		return err
	}
	path := "/products?limit=20"
	if v.search {
		path = "/products?q=" + strings.ToLower(v.products[v.wishes[0].product%len(v.products)].Name[:1])
	}
	if err := v.ask(ctx, v.token, "GET", "/stores", nil, nil); err != nil {
		return err
	}
	return v.ask(ctx, v.token, "GET", path, nil, nil)
}

// fill puts what is wanted into the basket, and some of it back.
func (v *visit) fill(ctx context.Context, b *basket) error {
	at := "/baskets/" + b.Basket
	for _, w := range v.wishes {
		p := v.products[w.product%len(v.products)].Product
		err := v.ask(ctx, v.token, "POST", at+"/items", map[string]any{"product": p, "quantity": w.quantity}, b)
		if err != nil && codeOf(err) == "" {
			return err
		}
		if err := v.tell(Done{What: "add", Product: p, Quantity: w.quantity, Refused: codeOf(err)}); err != nil {
			return err
		}
		if w.back == 0 || err != nil {
			continue
		}
		err = v.ask(ctx, v.token, "DELETE", fmt.Sprintf("%s/items/%s?quantity=%d", at, p, w.back), nil, b)
		if err != nil && codeOf(err) == "" {
			return err
		}
		if err := v.tell(Done{What: "put back", Product: p, Quantity: w.back, Refused: codeOf(err)}); err != nil {
			return err
		}
	}
	if !v.extend {
		return nil
	}
	err := v.ask(ctx, v.token, "POST", at+"/extend", nil, b)
	if err != nil && codeOf(err) == "" {
		return err
	}
	return v.tell(Done{What: "extend", Refused: codeOf(err)})
}

// checkOut orders what is in the basket. Whoever meets other prices accepts them, and takes out what is not sold any more.
func (v *visit) checkOut(ctx context.Context, b *basket) (o order, err error) {
	at := "/baskets/" + b.Basket
	for range 5 {
		err = v.ask(ctx, v.token, "POST", at+"/checkout", map[string]string{"whenShort": "ask"}, &o)
		if err == nil {
			return o, v.tell(Done{What: "check out", Order: o.Order})
		}
		if code := codeOf(err); code == "" || !slices.Contains([]string{"price_changed", "not_sold", "product_not_sold"}, code) {
			break
		}
		if err := v.ask(ctx, v.token, "GET", at, nil, b); err != nil {
			return o, err
		}
		var prices []map[string]any
		for _, i := range b.Items {
			if !i.Sold {
				if err := v.ask(ctx, v.token, "DELETE", at+"/items/"+i.Product, nil, nil); err != nil && codeOf(err) == "" {
					return o, err
				}
			} else if i.Changed {
				prices = append(prices, map[string]any{"product": i.Product, "price": i.Now.Price, "priceVersion": i.Now.PriceVersion})
			}
		}
		if len(prices) > 0 {
			if err := v.ask(ctx, v.token, "POST", at+"/prices", map[string]any{"prices": prices}, nil); err != nil && codeOf(err) == "" {
				return o, err
			}
		}
		if err := v.tell(Done{What: "accept prices"}); err != nil {
			return o, err
		}
	}
	return order{}, v.leave(ctx, Done{What: "check out", Refused: codeOf(err)}, err)
}

// wait follows the order, calls it off or decides where that is to be, and comes to the depot and pays.
func (v *visit) wait(ctx context.Context, o order) error {
	patient, cancel := context.WithTimeout(ctx, v.Patience)
	defer cancel()
	decided, asked, early := false, false, v.early
	last := ""
	see := func(now order) (bool, error) {
		o = now
		switch {
		case slices.Contains([]string{"completed", "rejected", "expired", "canceled"}, o.Status):
			return true, v.tell(Done{What: o.Status, Order: o.Order})
		case v.fate.cancel < v.current().Cancel && !asked:
			asked = true
			return false, v.do(patient, v.token, "cancel", "/cancel", Done{Order: o.Order, Fault: "cancel"})
		case o.Status == "short" && !decided:
			decided = true
			return false, v.decide(patient, o.Order)
		case o.Paid || asked:
			return o.Paid && o.Status == "ready", nil
		case v.fate.noShow < v.current().NoShow && o.Status == "ready":
			return true, v.tell(Done{What: "no show", Order: o.Order, Fault: "no show"})
		case o.Status == "picking" && early:
			early = false
			return false, v.do(patient, v.Config.Token, "pay early", "/pay", Done{Order: o.Order})
		case o.Status == "ready":
			return true, v.do(patient, v.Config.Token, "pay", "/pay", Done{Order: o.Order})
		}
		return false, nil
	}
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 3*time.Second) {
		next, enough, err := v.client.follow(patient, v.token, o.Order, last, see)
		v.heard(patient, err)
		if next != last {
			last, wait = next, 100*time.Millisecond
		}
		switch {
		case enough:
			return v.leave(ctx, Done{What: "leave"}, err)
		case patient.Err() != nil:
			return v.leave(ctx, Done{What: "tired of waiting", Order: o.Order}, nil)
		case err != nil && !again(err):
			return v.leave(ctx, Done{What: "lost sight", Order: o.Order, Refused: codeOf(err)}, err)
		}
		if sleep(patient, wait) != nil {
			continue // the next turn says why
		}
	}
}

// do does something to an order, and tells.
func (v *visit) do(ctx context.Context, token, what, path string, d Done) error {
	err := v.ask(ctx, token, "POST", "/orders/"+d.Order+path, nil, nil)
	if err != nil && codeOf(err) == "" {
		return err
	}
	d.What, d.Refused = what, codeOf(err)
	return v.tell(d)
}

func (v *visit) decide(ctx context.Context, id string) error {
	err := v.ask(ctx, v.token, "POST", "/orders/"+id+"/short", map[string]string{"choice": v.short}, nil)
	if err != nil && codeOf(err) == "" {
		return err
	}
	return v.tell(Done{What: "decide " + v.short, Order: id, Refused: codeOf(err)})
}

// leave ends the session. What the mall refused is told and no error.
func (v *visit) leave(ctx context.Context, d Done, err error) error {
	if err != nil && codeOf(err) == "" {
		return err
	}
	if err := v.tell(d); err != nil {
		return err
	}
	if err := v.ask(ctx, v.token, "POST", "/sessions/end", nil, nil); err != nil && codeOf(err) == "" {
		return err
	}
	return nil
}
