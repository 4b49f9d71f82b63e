package pgstore_test

import (
	"context"
	"fmt"
	"testing"

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
		_ = w.through.Listen(listening, []string{service}, func(name string, _ bool) { // it ends as it is told to
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
