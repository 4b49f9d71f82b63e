package backbonetest

import (
	"testing"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
)

// The most that Interleave does to one history.
const (
	mostTurns  = 12
	mostCopies = 12
	mostSteps  = 20_000
)

// Interleave carries out what was begun in an order that pick chooses, and returns
// when no message is on its way and every saga is completed, compensated, waiting
// for an event, or stuck. The world must hold its messages (Config.Hold).
//
// Which message comes next is chosen among all that wait, with one rule: the events
// of a key keep their order. Commands and answers keep none; they come late, and some
// of them twice, also after the clock was turned to what is due next and the sender
// has given them up. That is worse than any transport does.
//
// pick(n) returns a number from 0 to n-1; 0 is the ordinary course of things. With
// pgregory.net/rapid it is rapid.IntRange(0, n-1).Draw(t, "pick"); any source will do.
// It is called between two messages, and may itself give commands to the world.
// A saga that waits for an answer which is not on its way, or that does not come to
// an end, fails the test.
func (w *World) Interleave(t testing.TB, pick func(n int) int) {
	t.Helper()
	if w.held == nil {
		t.Fatalf("Interleave needs a world that holds its messages: set Config.Hold")
	}
	turns, copies := 0, 0
	for range mostSteps {
		w.rest(t)
		open := w.held.open()
		next, _ := w.next(t)
		if len(open) == 0 {
			saga := w.underWay(t)
			if saga == nil {
				return
			}
			if next.IsZero() {
				t.Fatalf("saga %s/%s is %s, nothing is on its way to it and no deadline is set", saga.Name, saga.ID, saga.State)
			}
			w.Clock.Set(next)
			continue
		}
		if !next.IsZero() && turns < mostTurns && pick(6) == 5 {
			turns++
			w.Clock.Set(next)
			continue
		}
		l := open[0]
		if len(open) > 1 {
			l = open[pick(len(open))]
		}
		w.deliver(t, l)
		if l.Kind != driver.KindEvent && !l.copied && copies < mostCopies && pick(4) == 3 {
			copies++
			w.held.again(l)
		}
	}
	t.Fatalf("the world did not come to an end within %d steps", mostSteps)
}

// underWay returns an instance that has not come to rest.
func (w *World) underWay(t testing.TB) *driver.Saga {
	t.Helper()
	for _, p := range w.config.Parts {
		if len(p.Sagas) == 0 {
			continue
		}
		if under := w.sagas(t, p.Name, backbone.SagaRunning, backbone.SagaCompensating); len(under) > 0 {
			return &under[0]
		}
	}
	return nil
}
