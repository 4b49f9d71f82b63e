package backbone_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/backbonetest"
)

// ledger is an outside that does what it is told and loses its first answers. It can
// be asked.
type ledger struct {
	mu   sync.Mutex
	done map[string]bool
	said []string
}

func (l *ledger) Call(_ context.Context, c backbone.CallRequest, _ string) (any, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.said = append(l.said, fmt.Sprintf("call %d", c.Attempt))
	if c.Attempt == 1 {
		return nil, errors.New("no connection")
	}
	if l.done[c.Key] {
		return nil, backbone.Permanent(errors.New("done twice"))
	}
	l.done[c.Key] = true
	return nil, errors.New("the answer is lost")
}

func (l *ledger) Ask(_ context.Context, c backbone.CallRequest, _ string) (any, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.said = append(l.said, fmt.Sprintf("ask %d", c.Attempt))
	return nil, l.done[c.Key], nil
}

// Attempts are counted from 1, and from the second on the outside is asked first.
func TestAskedBeforeEverySecondAttempt(t *testing.T) {
	t.Parallel()
	outside := &ledger{done: map[string]bool{}}
	service := tills(nil)
	service.Reacts = []backbone.Subscriber{backbone.Whenever(func(e taken, m backbone.Meta) []backbone.Effect {
		return []backbone.Effect{backbone.MakeCall("ledger", "key-"+e.Till, e.Till, e.Till, m.Time.Add(time.Hour))}
	})}
	service.Calls = []backbone.CallType{backbone.CallTo("ledger", backbone.Caller[string](outside), func(till string, o backbone.CallOutcome) backbone.Command {
		if o.Failed {
			return take{till, -1}
		}
		return ring{till}
	})}
	w := backbonetest.Start(t, backbonetest.Config{Parts: []*backbone.Service{service}})
	w.Do(t, take{"a", 5})
	w.Pass(t, time.Minute)
	if want := []string{"call 1", "ask 2", "call 2", "ask 3"}; !slices.Equal(outside.said, want) {
		t.Errorf("the outside heard %q, want %q", outside.said, want)
	}
	if events := w.Events(t, "tills"); len(events) != 2 || events[1] != backbone.Event(rung{"a"}) {
		t.Errorf("events %+v", events)
	}
}
