package backbone

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"example.org/souk/backbone/driver"
)

// Idle reports whether nothing is in flight in this process: nothing waits for a
// writer or a lane, and every subscription has seen every committed record, of the
// slices that are worked here. What waits for a time, for an operator's word about a
// parked message, or for the outside does not count, but what a paused service has in
// hand does; nor does what other processes have to do, for which there
// is Unsettled. Over a transport that cannot say what it has still to hand over (no
// driver.Behinder) nobody can tell, and the error wraps driver.ErrNoPower.
func (r *Runtime) Idle(ctx context.Context) (bool, error) {
	busy, err := r.InFlight(ctx)
	return err == nil && busy == "", err
}

// InFlight says for people what is in flight, "" when Idle. It looks at one place
// after the other in the direction in which messages go, so that none is missed that
// moves on meanwhile; and what is settled meanwhile may have led to something behind
// its back.
func (r *Runtime) InFlight(ctx context.Context) (string, error) {
	settled := r.settled()
	if busy := r.writing(); busy != "" {
		return busy, nil
	}
	for _, h := range r.order {
		if h.relay == nil {
			continue
		}
		behind, err := h.relay.behind(ctx)
		if err != nil {
			return "", err
		}
		if behind > 0 {
			return fmt.Sprintf("the relay of service %s has %d positions to go", h.svc.Name, behind), nil
		}
	}
	b, ok := r.cfg.Transport.(driver.Behinder)
	if !ok {
		return "", fmt.Errorf("what the transport has still to hand over: %w", driver.ErrNoPower)
	}
	if cut := r.cut(); cut != "" { // what waits for it the transport does not count
		return cut, nil
	}
	behind, err := b.Behind(ctx)
	if err != nil {
		return "", err
	}
	if behind > 0 {
		return fmt.Sprintf("subscriptions have not been offered %d records", behind), nil
	}
	if cut := r.cut(); cut != "" {
		return cut, nil
	}
	for _, h := range r.order {
		for _, s := range h.subs {
			s.mu.Lock()
			pending := s.pending
			s.mu.Unlock()
			if pending > 0 {
				text := fmt.Sprintf("subscription %s of service %s has %d messages in hand", s.name, h.svc.Name, pending)
				if h.closed() {
					text += ", and the service is paused"
				}
				return text, nil
			}
		}
	}
	if busy := r.writing(); busy != "" {
		return busy, nil
	}
	if n := r.settled() - settled; n > 0 {
		return fmt.Sprintf("%d messages have just been settled", n), nil
	}
	return "", nil
}

// AwaitsResume names the services that are paused while messages wait for them here, of which none is being worked any more: they wait until the
// service is resumed, and so does whoever waits until this runtime is Idle.
func (r *Runtime) AwaitsResume() (services []string) {
	for _, h := range r.order {
		if h.paused.Load() && slices.ContainsFunc(h.subs, (*subscription).waits) {
			services = append(services, h.svc.Name)
		}
	}
	return services
}

// waits reports whether there are messages and no lane has any of them in hand.
func (s *subscription) waits() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sl := range s.slices {
		if sl.busy && !sl.queued {
			return false
		}
	}
	return s.pending > 0
}

// Unsettled says for people what is to be done somewhere, by this process or another, "" for nothing: over all logs that can
// be read from here no relay and no subscription is behind, and no call and no timer is due. Of a broker it asks what waits
// for the subscriptions that run here, in all processes that share them. What is parked, and waits for an operator or a
// time, does not count. Nothing is missed that goes on meanwhile if two looks, one after the other, find nothing.
func (r *Runtime) Unsettled(ctx context.Context) (string, error) {
	return r.unsettled(ctx, append(slices.Clone(r.order), r.elsewhere...))
}

// UnsettledHere is Unsettled for the services that run in this process alone, whichever process has their messages in hand. It
// reads no table of others, but the logs that these services subscribe to.
func (r *Runtime) UnsettledHere(ctx context.Context) (string, error) {
	return r.unsettled(ctx, r.order)
}

func (r *Runtime) unsettled(ctx context.Context, hosts []*host) (string, error) {
	if busy, err := r.InFlight(ctx); busy != "" || err != nil {
		return busy, err
	}
	for _, h := range hosts {
		if h.store == nil {
			continue // its database cannot be reached from here
		}
		if due, err := h.due(ctx); due != "" || err != nil {
			return due, err
		}
		if h.relay != nil {
			behind, err := h.relay.behind(ctx)
			if behind > 0 || err != nil {
				return fmt.Sprintf("the relay of service %s has not come to the end", h.svc.Name), err
			}
		}
		if !r.cfg.Transport.Powers().LogPositions {
			continue
		}
		for _, s := range h.subs {
			behind, err := s.behind(ctx)
			if behind || err != nil {
				return fmt.Sprintf("subscription %s of service %s has not come to the end", s.name, h.svc.Name), err
			}
		}
	}
	if b, ok := r.cfg.Transport.(driver.Backlogger); ok {
		backlogs, err := b.Backlogs(ctx)
		if err != nil {
			return "", err
		}
		for _, waits := range backlogs {
			switch {
			case waits.Unknown:
				return fmt.Sprintf("the broker does not know what waits for subscription %s of service %s", waits.Subscription, waits.Service), nil
			case waits.Messages > 0:
				return fmt.Sprintf("%d messages wait for subscription %s of service %s", waits.Messages, waits.Subscription, waits.Service), nil
			case waits.Ahead > 0:
				return fmt.Sprintf("subscription %s of service %s has logs to read", waits.Subscription, waits.Service), nil
			}
		}
	}
	return r.InFlight(ctx)
}

// due says what of a service should be begun by now.
func (h *host) due(ctx context.Context) (string, error) {
	now, err := h.store.Now(ctx)
	if err != nil {
		return "", err
	}
	timers, _, err := h.store.DueTimers(ctx, h.svc.Name, now.UnixMicro(), 1)
	if err != nil {
		return "", err
	}
	if len(timers) > 0 {
		return fmt.Sprintf("timer %s of service %s is due", timers[0].Name, h.svc.Name), nil
	}
	calls, err := h.store.Calls(ctx, h.svc.Name, callsLooked)
	if err != nil {
		return "", err
	}
	for _, c := range calls {
		if c.Due <= now.UnixMicro() {
			return fmt.Sprintf("call %s of service %s is due", c.ID, h.svc.Name), nil
		}
	}
	return "", nil
}

const (
	callsLooked = 1000
	behindChunk = 1000
)

// behind reports whether a log holds anything above the subscription's checkpoints that it wants, over all processes that
// share it. Checkpoints of slices that get nothing stand lower than the log's end.
func (s *subscription) behind(ctx context.Context) (bool, error) {
	at, err := s.checkpoints(ctx)
	if err != nil {
		return false, err
	}
	for i := range s.spec.Interests {
		in := &s.spec.Interests[i]
		log, positions := s.host.r.cfg.Log(in.Source), at[in.Source]
		if log == nil || len(positions) == 0 {
			continue // it cannot be read from here, or the subscription has never run
		}
		after := lowest(positions)
		for more := true; more; {
			rs, err := log.Read(ctx, in.Source, driver.ReadQuery{After: after, Kinds: relayed, Limit: behindChunk})
			if err != nil {
				return false, err
			}
			for j := range rs {
				if in.Wants(&rs[j]) && !s.beyond(at, in.Source, &rs[j]) {
					return true, nil
				}
				after = rs[j].Position
			}
			more = len(rs) == behindChunk
		}
	}
	return false, nil
}

// settled counts the messages that the subscriptions have settled so far.
func (r *Runtime) settled() (n int64) {
	for _, h := range r.order {
		for _, s := range h.subs {
			n += s.handled.Load()
		}
	}
	return n
}

// cut names a subscription that the transport has ended and that has not begun again.
func (r *Runtime) cut() string {
	for _, h := range r.order {
		for _, s := range h.subs {
			if s.cut.Load() {
				return fmt.Sprintf("subscription %s of service %s was cut off and begins again", s.name, h.svc.Name)
			}
		}
	}
	return ""
}

func (r *Runtime) writing() string {
	r.mu.Lock()
	writers := slices.AppendSeq(slices.Clone(r.writers), maps.Values(r.beside))
	r.mu.Unlock()
	for _, w := range writers {
		if waiting, busy := w.waiting(); busy {
			return fmt.Sprintf("a writer is at work and %d units wait for it", waiting)
		}
	}
	return ""
}

// Rouse looks at once for what waits for a time: timers, deadlines of sagas, calls,
// parked messages. A runtime looks by itself, at least once a second; whoever turns
// its clock need not wait for that.
func (r *Runtime) Rouse() {
	for _, h := range r.order {
		select {
		case h.timerAt <- struct{}{}:
		default:
		}
		for _, c := range h.calls {
			c.poke()
		}
		for _, s := range h.subs {
			s.lookParked()
			s.mu.Lock()
			s.work.Broadcast() // a circuit may close
			s.mu.Unlock()
		}
	}
}
