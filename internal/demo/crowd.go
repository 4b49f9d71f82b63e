package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"example.org/souk/gateway/online"
	"example.org/souk/internal/control"
	"example.org/souk/internal/house"
	"example.org/souk/mall"
)

// errand is what one shopper of the online store does.
type errand struct {
	number   int
	order    string
	customer string
	lines    []line
	prepaid  bool // the payment is authorized before
	waits    bool // a short order becomes a backorder
	regrets  bool // and is cancelled right away
}

type line struct {
	sample   house.Sample
	quantity int64
}

// errands is the sequence of all errands. It is the same for the same seed, and what happens to one changes none.
type errands struct {
	chance *rand.Rand
	sells  []house.Sample
	buyers []string
	next   int
}

// texted is the customer who is told by text message how an order goes on.
const texted = "tariq"

func newErrands(seed uint64) *errands {
	sells, buyers := house.DemoShop()
	return &errands{chance: rand.New(rand.NewPCG(seed, 0x53_48_4f_50)), sells: sells, buyers: append(buyers, texted)}
}

func (e *errands) step() errand {
	e.next++
	out := errand{
		number: e.next, order: fmt.Sprintf("DEMO-%06d", e.next), customer: e.buyers[e.chance.IntN(len(e.buyers))],
		prepaid: e.chance.IntN(5) == 0, waits: e.chance.IntN(4) == 0, regrets: e.chance.IntN(8) == 0,
	}
	for _, at := range e.chance.Perm(len(e.sells))[:1+e.chance.IntN(3)] {
		out.lines = append(out.lines, line{e.sells[at], 1 + int64(e.chance.IntN(3))})
	}
	return out
}

// crowd are the shoppers of the online store.
type crowd struct {
	client   *http.Client
	mall     theMall
	token    func(role, subject string) (string, error)
	currency string
	failed   func(error)

	accepted, refused, canceled atomic.Int64
}

// shoppers is how many run errands at once.
const shoppers = 16

// run runs errands at a rate a second until ctx ends or so many are run; 0 for no end. Where count is reached before round is closed it
// goes on as long; a nil round is not waited for.
func (c *crowd) run(ctx context.Context, e *errands, rate float64, count int, round <-chan struct{}) {
	var running sync.WaitGroup
	defer running.Wait()
	turn := make(chan struct{}, shoppers)
	tick := time.NewTicker(time.Duration(float64(time.Second) / rate))
	defer tick.Stop()
	for n := 0; count == 0 || n < count || open(round); n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		next := e.step()
		select {
		case <-ctx.Done():
			return
		case turn <- struct{}{}:
		}
		running.Go(func() {
			defer func() { <-turn }()
			if err := c.errand(ctx, next); err != nil && ctx.Err() == nil {
				c.failed(fmt.Errorf("order %s: %w", next.order, err))
			}
		})
	}
}

// open tells whether there is a round that is not over.
func open(round <-chan struct{}) bool {
	if round == nil {
		return false
	}
	select {
	case <-round:
		return false
	default:
		return true
	}
}

func (c *crowd) errand(ctx context.Context, e errand) error {
	var total mall.Money
	type item struct {
		Product  string      `json:"productId"`
		Price    json.Number `json:"price"`
		Quantity int64       `json:"quantity"`
	}
	var items []item
	var pieces int64
	total.Currency = c.currency
	for _, l := range e.lines {
		items = append(items, item{l.sample.Product, decimal(l.sample.Price), l.quantity})
		total.Amount += l.sample.Price * l.quantity
		pieces += l.quantity
	}
	order := map[string]any{
		"orderId": e.order, "customerId": e.customer, "totalPrice": decimal(total.Amount), "totalQuantity": pieces, "items": items,
	}
	if e.waits {
		order["waitForStock"] = true
	}
	if e.prepaid {
		payment := "PAY-" + e.order
		args := control.Args{"payment": payment, "customer": e.customer, "amount": string(decimal(total.Amount)), "actor": "demo"}
		if err := untilDone(ctx, func() error { return c.mall.operate(ctx, "payment authorize", args, nil) }); err != nil {
			return err
		}
		order["payment"] = payment
	}
	body, err := json.Marshal(map[string]any{"data": map[string]any{"id": "MSG-" + e.order, "order": order}})
	if err != nil {
		return err
	}
	status, answer, err := c.insist(ctx, e.customer, "/order", body)
	switch {
	case err != nil:
		return err
	case status != http.StatusAccepted && status != http.StatusOK:
		c.refused.Add(1)
		return fmt.Errorf("%d %s", status, answer)
	}
	c.accepted.Add(1)
	if !e.regrets {
		return nil
	}
	status, answer, err = c.insist(ctx, e.customer, "/order/"+e.order+"/cancel", []byte(`{}`))
	switch {
	case err != nil:
		return err
	case status < 300:
		c.canceled.Add(1)
	case status != http.StatusConflict: // too late: it was rejected before
		return fmt.Errorf("cancel: %d %s", status, answer)
	}
	return nil
}

// decimal prints minor units as the online store takes amounts.
func decimal(minor int64) json.Number {
	return json.Number(fmt.Sprintf("%d.%02d", minor/100, minor%100))
}

// insist makes a request until it is answered with something else than that the mall cannot now.
func (c *crowd) insist(ctx context.Context, customer, path string, body []byte) (status int, answer []byte, err error) {
	token, err := c.token("customer", customer)
	if err != nil {
		return 0, nil, err
	}
	err = untilDone(ctx, func() error {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.mall.url(online.ServiceName)+path, bytes.NewReader(body))
		if err != nil {
			return err
		}
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("Content-Type", "application/json")
		resp, err := c.client.Do(r)
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		if answer, err = io.ReadAll(io.LimitReader(resp.Body, 1<<16)); err != nil {
			return err
		}
		if status = resp.StatusCode; status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
			return errors.New("the mall says to come again: " + resp.Status)
		}
		return nil
	})
	return status, answer, err
}

// patience is how long somebody insists: for longer than a mall of two dozen processes that was killed takes to be there again on a machine that has
// other things to do.
const patience = 5 * time.Minute

// untilDone tries until it works, somebody has lost patience, or ctx ends.
func untilDone(ctx context.Context, try func() error) error {
	end := time.Now().Add(patience)
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := try()
		if err == nil || ctx.Err() != nil || time.Now().After(end) {
			return err
		}
		pause(ctx, wait)
	}
}
