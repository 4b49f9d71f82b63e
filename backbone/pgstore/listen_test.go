package pgstore_test

import (
	"context"
	"fmt"
	"maps"
	"testing"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/pgstore"
	"example.org/souk/internal/testserver"
)

// A notification that is sent while the listener's connection is cut is lost, and
// the listener is woken for it all the same when it is connected again.
func TestListenerIsCutOffAgainAndAgain(t *testing.T) {
	t.Parallel()
	const cuts = 20
	w := wired(t, testserver.Postgres(t).Database(t))
	woken := make(chan string, 1)
	listening, end := context.WithCancel(t.Context())
	listened := make(chan struct{})
	go func() {
		defer close(listened)
		_ = w.through.Listen(listening, []string{service}, func(name string, _ int64, _ bool) { // it ends as it is told to
			select {
			case woken <- name:
			default:
			}
		})
	}()
	defer func() { end(); <-listened }()
	await := func(what string) {
		t.Helper()
		select {
		case <-woken:
		case <-listening.Done():
		case <-deadline(t):
			t.Fatalf("nobody was woken %s", what)
		}
	}
	await("for the connection")
	for n := range cuts {
		before := w.proxy.Connections()
		w.proxy.Reset()
		select {
		case <-woken: // for what came before
		default:
		}
		must(t, appended(t.Context(), w.direct, fmt.Sprintf("cut-%d", n)))
		await(fmt.Sprintf("after cut %d", n))
		if before == 0 {
			t.Fatalf("cut %d found no connection", n)
		}
	}
	// What is not cut works by notification.
	must(t, appended(t.Context(), w.direct, "whole"))
	await("at the end")
}

// deadline ends with a test's patience.
func deadline(t *testing.T) <-chan struct{} {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx.Done()
}

// A listener is told how far the log has come, so that who has it need not read it, and all heads can be looked at in one look.
func TestF17_ListenersAreToldHowFarALogHasCome(t *testing.T) {
	t.Parallel()
	s := migrated(t, pgstore.Config{URL: testserver.Postgres(t).Database(t)})
	must(t, s.Migrate(t.Context(), []driver.Schema{{Service: "empty"}}))
	heads := make(chan int64, 100)
	listening, end := context.WithCancel(t.Context())
	listened := make(chan struct{})
	go func() {
		defer close(listened)
		_ = s.Listen(listening, []string{service}, func(_ string, head int64, _ bool) { heads <- head }) // it ends as it is told to
	}()
	defer func() { end(); <-listened }()
	if head := <-heads; head != 0 {
		t.Fatalf("of the connection it was told of head %d", head)
	}
	for n := int64(1); n <= 5; n++ {
		must(t, appended(t.Context(), s, fmt.Sprintf("n-%d", n)))
		for head := int64(0); head < n; {
			select {
			case head = <-heads:
			case <-deadline(t):
				t.Fatalf("it was not told of position %d", n)
			}
			if head == 0 || head > n {
				t.Fatalf("it was told of head %d after %d records", head, n)
			}
		}
	}
	_, err := s.PutRequest(t.Context(), "empty", driver.Request{Subject: "saga", Action: "retry"})
	must(t, err)
	all, err := s.Look(t.Context(), []string{service, "empty"})
	must(t, err)
	if want := (map[string]driver.Look{service: {Head: 5}, "empty": {Asked: true}}); !maps.Equal(all, want) {
		t.Errorf("looked at, things stand as %v, want %v", all, want)
	}
}
