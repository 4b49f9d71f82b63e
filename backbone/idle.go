package backbone

import (
	"context"
	"fmt"

	"example.org/souk/backbone/driver"
)

// Idle reports whether nothing is in flight: nothing waits for a writer or a lane,
// and every subscription has seen every committed record. What waits for a time,
// for an operator or for the outside does not count.
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
	if b, ok := r.cfg.Transport.(driver.Behinder); ok {
		behind, err := b.Behind(ctx)
		if err != nil {
			return "", err
		}
		if behind > 0 {
			return fmt.Sprintf("subscriptions have not been offered %d records", behind), nil
		}
	}
	for _, h := range r.order {
		for _, s := range h.subs {
			s.mu.Lock()
			pending := s.pending
			s.mu.Unlock()
			if pending > 0 {
				return fmt.Sprintf("subscription %s of service %s has %d messages in hand", s.name, h.svc.Name, pending), nil
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

// settled counts the messages that the subscriptions have settled so far.
func (r *Runtime) settled() (n int64) {
	for _, h := range r.order {
		for _, s := range h.subs {
			n += s.handled.Load()
		}
	}
	return n
}

func (r *Runtime) writing() string {
	for _, w := range r.writers {
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
			select {
			case s.poke <- struct{}{}:
			default:
			}
			s.mu.Lock()
			s.work.Broadcast() // a circuit may close
			s.mu.Unlock()
		}
	}
}
