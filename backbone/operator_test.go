package backbone_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/backbonetest"
)

// Hooks hear of each attempt that failed, and once of each message that was handled in the end: what is parked, and what waits behind
// it, does not count as handled.
func TestParkedDoesNotCountAsHandled(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	heard := map[string]int{}
	var healed bool
	desk := &backbone.Service{Name: "desk", Retry: backbone.RetryPolicy{Attempts: 3}, Subscribes: []backbone.Subscriber{
		backbone.On(func(context.Context, backbone.Tx, Lent) error {
			mu.Lock()
			defer mu.Unlock()
			if !healed {
				return errors.New("out of order")
			}
			return nil
		}),
		backbone.On(func(context.Context, backbone.Tx, Returned) error { return nil }),
	}}
	w := backbonetest.Start(t, backbonetest.Config{
		Parts: []*backbone.Service{Loans(), desk},
		Hooks: backbone.Hooks{Handled: func(_ context.Context, h backbone.HandledStats) {
			mu.Lock()
			defer mu.Unlock()
			heard[fmt.Sprint(strings.TrimPrefix(h.Message.Type, "library.loans."), " failed=", h.Err != nil, " parked=", h.Parked)]++
		}},
	})
	w.Do(t, Lend{Book: "Emma", Reader: "Ann"})
	w.Do(t, Return{Book: "Emma"})
	w.Pass(t, time.Hour)
	mu.Lock()
	if got, want := fmt.Sprint(heard), "map[Lent.v1 failed=true parked=false:2 Lent.v1 failed=true parked=true:1]"; got != want {
		t.Errorf("before: %s\nwant: %s", got, want)
	}
	clear(heard)
	healed = true
	mu.Unlock()
	heads, err := w.Runtime().Parked(t.Context(), "desk", "", 10)
	if err != nil || len(heads) != 1 {
		t.Fatal(heads, err)
	}
	if err := w.Runtime().Redrive(t.Context(), heads[0], "tester", "it is in order again"); err != nil {
		t.Fatal(err)
	}
	w.Settle(t)
	mu.Lock()
	defer mu.Unlock()
	if got, want := fmt.Sprint(heard), "map[Lent.v1 failed=false parked=false:1 Returned.v1 failed=false parked=false:1]"; got != want {
		t.Errorf("after: %s\nwant: %s", got, want)
	}
}

// What operators ask by the program's own functions is carried out for the message that they saw and no other, and refused where it
// makes no sense.
func TestOperators(t *testing.T) {
	t.Parallel()
	desk := &backbone.Service{Name: "desk", Subscribes: []backbone.Subscriber{
		backbone.On(func(_ context.Context, _ backbone.Tx, e Lent) error {
			if e.Reader == "nobody" {
				return backbone.Permanent(errors.New("nobody reads"))
			}
			return nil
		}),
		backbone.On(func(context.Context, backbone.Tx, Returned) error { return backbone.Permanent(errors.New("no room")) }),
	}}
	w := backbonetest.Start(t, backbonetest.Config{Parts: []*backbone.Service{Loans(), desk, Fees(), Wishes()}})
	r := w.Runtime()
	w.Do(t, Lend{Book: "Emma", Reader: "nobody"})
	w.Do(t, Return{Book: "Emma"})
	w.Settle(t)
	all := func() []backbone.ParkedMessage {
		t.Helper()
		rows, err := r.Parked(t.Context(), "desk", "book/Emma", 10)
		if err != nil {
			t.Fatal(err)
		}
		return rows
	}
	rows := all()
	if len(rows) != 2 || rows[0].State != backbone.ParkedDead || rows[0].Attempts != 1 || !rows[0].Due.IsZero() || rows[0].Since != w.Clock.Now() ||
		rows[1].State != backbone.ParkedWaiting || rows[1].Message.Type != "library.loans.Returned.v1" {
		t.Fatalf("%+v", rows)
	}
	for what, err := range map[string]error{
		"no who":          r.Redrive(t.Context(), rows[0], "", "why"),
		"no why":          r.Discard(t.Context(), rows[0], "who", ""),
		"no JSON":         r.Edit(t.Context(), rows[0], []byte("{"), "who", "why"),
		"no such service": r.Redrive(t.Context(), backbone.ParkedMessage{Service: "dusk"}, "who", "why"),
		"no such message": r.Redrive(t.Context(), backbone.ParkedMessage{Service: "desk", Subscription: "desk", Key: "book/Emma"}, "who", "why"),
		"no such saga":    r.RetrySaga(t.Context(), "wishes", "granting", "w1", "who", "why"),
		"no name of saga": r.AbortSaga(t.Context(), "wishes", "", "", "who", "why"),
	} {
		if err == nil {
			t.Error(what, "is taken")
		}
	}
	if err := r.Redrive(t.Context(), backbone.ParkedMessage{Service: "desk"}, "who", "why"); !errors.Is(err, backbone.ErrNotParked) {
		t.Error(err)
	}
	if err := r.RetrySaga(t.Context(), "wishes", "granting", "w1", "who", "why"); !errors.Is(err, backbone.ErrNoSaga) {
		t.Error(err)
	}
	// The second is discarded while it waits; the head is edited, and then both are done with.
	if err := r.Discard(t.Context(), rows[1], "who", "there is no room for it"); err != nil {
		t.Fatal(err)
	}
	w.Settle(t)
	if now := all(); len(now) != 2 {
		t.Fatalf("%+v", now)
	}
	if err := r.Edit(t.Context(), rows[0], []byte(`{"Book":"Emma","Reader":"nobody"}`), "who", "a first try"); err != nil {
		t.Fatal(err)
	}
	w.Settle(t)
	if now := all(); len(now) != 2 || string(now[0].Message.Data) != `{"Book":"Emma","Reader":"nobody"}` {
		t.Fatalf("%+v", now)
	}
	if err := r.Edit(t.Context(), rows[0], []byte(`{"Book":"Emma","Reader":"Ann"}`), "who", "somebody did"); err != nil {
		t.Fatal(err)
	}
	w.Settle(t)
	if now := all(); len(now) != 0 {
		t.Errorf("%+v", now)
	}
	// What was seen is gone, whoever stands there now.
	w.Do(t, Lend{Book: "Emma", Reader: "nobody"})
	w.Settle(t)
	if now := all(); len(now) != 1 {
		t.Errorf("%+v", now)
	}
	if err := r.Discard(t.Context(), rows[0], "who", "an old page"); !errors.Is(err, backbone.ErrNotParked) {
		t.Error(err)
	}
}
