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

// callRunner makes the calls of one kind, outside any transaction: it claims rows within the
// writer's batches, makes the calls with their keys, and brings the outcomes back as commands to the
// service itself.
type callRunner struct {
	host   *host
	kind   *CallType
	wake   chan struct{}
	flight sync.WaitGroup
	slots  chan struct{}

	mu   sync.Mutex
	out  map[*claimedCall]struct{}
	gone map[string]bool // streams whose calls were dropped since a claim was carried out that has not come back; nil: there is none
}

// claimedCall is a call from its claim until what became of it is recorded.
type claimedCall struct {
	driver.Call
	until   time.Time // nobody else takes it up before
	dropped bool      // its row is gone; guarded by the runner's mu
}

func newCallRunner(h *host, kind *CallType) *callRunner {
	n := kind.Parallel
	if n <= 0 {
		n = 16
	}
	return &callRunner{
		host: h, kind: kind, wake: make(chan struct{}, 1), slots: make(chan struct{}, n), out: map[*claimedCall]struct{}{},
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
	for told := true; ; {
		look, ok := driver.Look{}, false
		if !told {
			look, ok = c.host.look(ctx, sharedLookAge)
		}
		if !ok || look.Calls {
			for c.claim(ctx) {
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			told = false
		case <-c.wake:
			told = true
		}
	}
}

// claim takes as many calls as there are free slots and reports whether there may
// be more.
func (c *callRunner) claim(ctx context.Context) bool {
	h := c.host
	if h.closed() || ctx.Err() != nil {
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
	lease := c.timeout() + 10*time.Second
	asked := time.Now()          //souk:clock how long the claim waits for the writer
	now, err := h.store.Now(ctx) // not this process's: a claim of another would be over early
	var calls []driver.Call
	var until time.Time
	if err == nil {
		err = h.internal(&unit{host: h, run: func(b *batch, u *unit) (err error) {
			u.flushed = true
			c.watchDrops()
			waited := time.Since(asked)          //souk:clock see above
			until = asked.Add(waited).Add(lease) // how long the claim lasts for whoever holds it
			calls, err = b.tx.ClaimCalls(context.Background(), h.svc.Name, c.kind.name, now.Add(waited).UnixMicro(), lease, free)
			u.nothing = len(calls) == 0
			return err
		}})
	}
	if err != nil {
		calls = nil // whoever finds them claimed asks what became of them
	}
	claimed := c.admit(calls, until)
	if err != nil {
		if ctx.Err() == nil {
			h.r.log.WarnContext(ctx, "claim calls", "service", h.svc.Name, "call", c.kind.name, "error", err)
		}
		return false
	}
	driver.CrashPoint("call.claimed")
	for _, call := range claimed {
		c.slots <- struct{}{}
		c.flight.Go(func() {
			defer func() { c.leave(call); <-c.slots; c.poke() }()
			c.make(ctx, call)
		})
	}
	return len(calls) > 0
}

// admit takes what a claim came to among the calls that are out, but for what was dropped since watchDrops, and notes no more
// drops. Both at once: a drop finds a call here or there.
func (c *callRunner) admit(calls []driver.Call, until time.Time) (claimed []*claimedCall) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range calls {
		if c.gone[calls[i].Stream] {
			continue
		}
		call := &claimedCall{Call: calls[i], until: until}
		c.out[call] = struct{}{}
		claimed = append(claimed, call)
	}
	c.gone = nil
	return claimed
}

func (c *callRunner) leave(call *claimedCall) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.out, call)
}

// watchDrops begins to note the streams whose calls are dropped while a claim is under way.
func (c *callRunner) watchDrops() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = map[string]bool{}
}

// dropped is told on the writer's goroutine that the calls of a stream are gone. What
// is out then has no row any more: to record it would fail as a conflict, and with it
// a whole batch, so it is not tried. What is being claimed is not made.
func (c *callRunner) dropped(stream string) {
	c.mu.Lock()
	if c.gone != nil {
		c.gone[stream] = true
	}
	for call := range c.out {
		if call.Stream == stream {
			call.dropped = true
		}
	}
	c.mu.Unlock()
	c.poke() // the stream's next call may be there already
}

func (c *callRunner) isDropped(call *claimedCall) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return call.dropped
}

func (c *callRunner) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// make makes one claimed call and records what became of it. A call that is out when
// ctx ends comes back.
func (c *callRunner) make(ctx context.Context, call *claimedCall) {
	h := c.host
	now := h.r.now()
	var w wireMeta
	if err := json.Unmarshal(call.Meta, &w); err != nil {
		c.end(ctx, call, CallOutcome{Failed: true, Cause: err.Error()})
		return
	}
	req := CallRequest{Key: call.ID, Attempt: call.Attempts + 1, Meta: Meta{ID: call.ID, Time: now, Actor: w.Actor, Correlation: w.Correlation, Causation: w.Causation, Trace: w.Trace}}
	result, err := c.attempt(context.WithoutCancel(ctx), &call.Call, req, now)
	h.r.observeCall(CalledStats{Service: h.svc.Name, Call: c.kind.name, Key: call.ID, Attempt: req.Attempt, Duration: h.r.now().Sub(now), Meta: req.Meta, Err: err})
	driver.CrashPoint("call.made")
	switch {
	case err == nil:
		data, err := json.Marshal(result)
		if err != nil {
			c.end(ctx, call, CallOutcome{Failed: true, Cause: err.Error()})
			return
		}
		c.end(ctx, call, CallOutcome{Result: data})
	case ClassOf(err) == ClassPermanent:
		c.end(ctx, call, CallOutcome{Failed: true, Cause: err.Error()})
	case h.r.now().UnixMicro() >= call.Deadline:
		c.end(ctx, call, CallOutcome{Failed: true, Cause: "deadline: " + err.Error()})
	default:
		c.retry(ctx, call, err)
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
// transaction.
func (c *callRunner) end(ctx context.Context, call *claimedCall, o CallOutcome) {
	h := c.host
	command, err := c.kind.then(call.Request, o)
	if err != nil {
		h.r.alarm(Alarm{Service: h.svc.Name, Subject: "call", Text: fmt.Sprintf("outcome of call %s: %v", call.ID, err)})
		c.retry(ctx, call, err)
		return
	}
	var w wireMeta
	_ = json.Unmarshal(call.Meta, &w) // it was read before the call was made
	m := Meta{ID: call.ID, Time: h.r.now(), Actor: "service:" + h.svc.Name, Correlation: w.Correlation, Causation: w.Causation, Trace: w.Trace}
	c.record(ctx, call, driver.CallEnd{Done: true}, func(b *batch) error {
		if command == nil {
			return nil
		}
		return b.send(h, command, derivedID(time.UnixMicro(call.Created), "call", h.svc.Name, call.ID), "", m)
	})
	driver.CrashPoint("call.recorded")
}

func (c *callRunner) retry(ctx context.Context, call *claimedCall, cause error) {
	first := c.kind.Backoff
	if first <= 0 {
		first = time.Second
	}
	wait := RetryPolicy{First: first, Max: 5 * time.Minute}.After(call.Attempts + 1) // a claimed call carries the attempts before it
	due := c.host.r.now().Add(wait).UnixMicro()
	c.record(ctx, call, driver.CallEnd{Due: due, Cause: cause.Error()}, func(*batch) error { return nil })
}

// record writes what became of a call, and what follows. Where the database does not
// take it, it is tried again as long as the claim lasts: what is known here would have
// to be asked for, or the call made again, by whoever takes it up then. When ctx has
// ended it is tried once.
func (c *callRunner) record(ctx context.Context, call *claimedCall, end driver.CallEnd, follow func(*batch) error) {
	h := c.host
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		err := h.internal(&unit{host: h, run: func(b *batch, u *unit) error {
			if c.isDropped(call) {
				return nil
			}
			s, e := b.of(h), end
			e.Unit, e.ID, e.Epoch = u.index, call.ID, call.Epoch
			s.writes.EndedCalls = append(s.writes.EndedCalls, e)
			return follow(b)
		}})
		switch {
		case err == nil, errors.Is(err, driver.ErrClaimLost): // it is recorded, or no longer ours
			return
		case errors.Is(err, ErrStopped), ClassOf(err) == ClassPermanent, time.Until(call.until) < wait:
			h.r.log.WarnContext(ctx, "what became of a call is not recorded; it is taken up again when its claim is over",
				"service", h.svc.Name, "call", c.kind.name, "key", call.ID, "error", err)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}
