package backbone

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"example.org/souk/backbone/driver"
)

// callRunner makes the calls of one kind, outside any transaction: it claims rows,
// makes the calls with their keys, and brings the outcomes back as commands to the
// service itself.
type callRunner struct {
	host   *host
	kind   *CallType
	wake   chan struct{}
	flight sync.WaitGroup
	slots  chan struct{}

	mu  sync.Mutex
	out map[*driver.Call]bool // claimed and not recorded yet; true: dropped meanwhile
}

func newCallRunner(h *host, kind *CallType) *callRunner {
	n := kind.Parallel
	if n <= 0 {
		n = 16
	}
	return &callRunner{
		host: h, kind: kind, wake: make(chan struct{}, 1), slots: make(chan struct{}, n), out: map[*driver.Call]bool{},
	}
}

func (c *callRunner) timeout() time.Duration {
	if c.kind.Timeout > 0 {
		return c.kind.Timeout
	}
	return 10 * time.Second
}

// run works until ctx ends; calls that are out then are waited for.
func (c *callRunner) run(ctx context.Context) {
	defer c.flight.Wait()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		for c.claim(ctx) {
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-c.wake:
		}
	}
}

// claim takes as many calls as there are free slots and reports whether there may
// be more.
func (c *callRunner) claim(ctx context.Context) bool {
	h := c.host
	if h.paused.Load() || ctx.Err() != nil {
		return false
	}
	free := cap(c.slots) - len(c.slots)
	if free == 0 {
		select {
		case c.slots <- struct{}{}:
			<-c.slots
			free = 1
		case <-ctx.Done():
			return false
		}
	}
	calls, err := h.store.ClaimCalls(ctx, h.svc.Name, c.kind.name, h.r.now().UnixMicro(), c.timeout()+10*time.Second, free)
	if err != nil {
		if ctx.Err() == nil {
			h.r.log.WarnContext(ctx, "claim calls", "service", h.svc.Name, "call", c.kind.name, "error", err)
		}
		return false
	}
	driver.CrashPoint("call.claimed")
	for _, call := range calls {
		c.slots <- struct{}{}
		c.enter(&call)
		c.flight.Go(func() {
			defer func() { c.leave(&call); <-c.slots; c.poke() }()
			c.make(context.WithoutCancel(ctx), &call)
		})
	}
	return len(calls) > 0
}

func (c *callRunner) enter(call *driver.Call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out[call] = false
}

func (c *callRunner) leave(call *driver.Call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.out, call)
}

// dropped is told on the writer's goroutine that the calls of a stream are gone. What
// is out then has no row any more: to record it would fail as a conflict, and with it
// a whole batch, so it is not tried.
func (c *callRunner) dropped(stream string) {
	c.mu.Lock()
	for call := range c.out {
		if call.Stream == stream {
			c.out[call] = true
		}
	}
	c.mu.Unlock()
	c.poke() // the stream's next call may be there already
}

func (c *callRunner) isDropped(call *driver.Call) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out[call]
}

func (c *callRunner) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// make makes one claimed call and records what became of it.
func (c *callRunner) make(ctx context.Context, call *driver.Call) {
	h := c.host
	now := h.r.now()
	var w wireMeta
	if err := json.Unmarshal(call.Meta, &w); err != nil {
		c.end(call, CallOutcome{Failed: true, Cause: err.Error()})
		return
	}
	req := CallRequest{Key: call.ID, Attempt: call.Attempts + 1, Meta: Meta{ID: call.ID, Time: now, Actor: w.Actor, Correlation: w.Correlation, Causation: w.Causation, Trace: w.Trace}}
	result, err := c.attempt(ctx, call, req, now)
	h.r.observeCall(CalledStats{Service: h.svc.Name, Call: c.kind.name, Key: call.ID, Attempt: req.Attempt, Duration: h.r.now().Sub(now), Meta: req.Meta, Err: err})
	driver.CrashPoint("call.made")
	switch {
	case err == nil:
		data, err := json.Marshal(result)
		if err != nil {
			c.end(call, CallOutcome{Failed: true, Cause: err.Error()})
			return
		}
		c.end(call, CallOutcome{Result: data})
	case ClassOf(err) == ClassPermanent:
		c.end(call, CallOutcome{Failed: true, Cause: err.Error()})
	case h.r.now().UnixMicro() >= call.Deadline:
		c.end(call, CallOutcome{Failed: true, Cause: "deadline: " + err.Error()})
	default:
		c.retry(call, err)
	}
}

var errKeyExpired = errors.New("the outside no longer remembers the key, and does not know what became of it")

// attempt asks first whatever can be asked where an earlier attempt may have had
// effect, and makes the call otherwise. A key that the outside has forgotten is
// only asked for, never sent again.
func (c *callRunner) attempt(ctx context.Context, call *driver.Call, req CallRequest, now time.Time) (result any, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout())
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("call %s panicked: %v", c.kind.name, p)
		}
	}()
	expired := c.kind.KeyValidity > 0 && now.Sub(time.UnixMicro(call.Created)) >= c.kind.KeyValidity
	if c.kind.asker != nil && (req.Attempt > 1 || expired) {
		result, found, err := c.kind.asker(ctx, req, call.Request)
		if err != nil || found {
			return result, err
		}
	}
	if expired {
		return nil, Permanent(errKeyExpired)
	}
	if c.kind.caller == nil {
		return nil, Permanent(fmt.Errorf("nothing makes the call %s in this process", c.kind.name))
	}
	return c.kind.caller(ctx, req, call.Request)
}

// end takes the call away and appends the command that tells its service, in one
// transaction. If that fails the claim runs out and the call is taken up again.
func (c *callRunner) end(call *driver.Call, o CallOutcome) {
	h := c.host
	command, err := c.kind.then(call.Request, o)
	if err != nil {
		h.r.alarm(Alarm{Service: h.svc.Name, Subject: "call", Text: fmt.Sprintf("outcome of call %s: %v", call.ID, err)})
		c.retry(call, err)
		return
	}
	var w wireMeta
	_ = json.Unmarshal(call.Meta, &w) // it was read before the call was made
	m := Meta{ID: call.ID, Time: h.r.now(), Actor: "service:" + h.svc.Name, Correlation: w.Correlation, Causation: w.Causation, Trace: w.Trace}
	// If it fails the claim runs out and the call is taken up again.
	_ = h.internal(&unit{host: h, run: func(b *batch, u *unit) error {
		if c.isDropped(call) {
			return nil
		}
		s := b.of(h)
		s.writes.EndedCalls = append(s.writes.EndedCalls, driver.CallEnd{Unit: u.index, ID: call.ID, Epoch: call.Epoch, Done: true})
		if command == nil {
			return nil
		}
		return b.send(h, command, derivedID(time.UnixMicro(call.Created), "call", h.svc.Name, call.ID), "", m)
	}})
	driver.CrashPoint("call.recorded")
}

func (c *callRunner) retry(call *driver.Call, cause error) {
	h := c.host
	first := c.kind.Backoff
	if first <= 0 {
		first = time.Second
	}
	wait := RetryPolicy{First: first, Max: 5 * time.Minute}.After(call.Attempts + 1) // a claimed call carries the attempts before it
	due := h.r.now().Add(wait).UnixMicro()
	_ = h.internal(&unit{host: h, run: func(b *batch, u *unit) error { // likewise
		if c.isDropped(call) {
			return nil
		}
		s := b.of(h)
		s.writes.EndedCalls = append(s.writes.EndedCalls, driver.CallEnd{Unit: u.index, ID: call.ID, Epoch: call.Epoch, Due: due, Cause: cause.Error()})
		return nil
	}})
}
