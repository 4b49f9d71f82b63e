package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

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
	looked := func(first, empty driver.Look) {
		t.Helper()
		all, err := s.Look(t.Context(), []string{service, "empty"})
		must(t, err)
		if want := (map[string]driver.Look{service: first, "empty": empty}); !maps.Equal(all, want) {
			t.Errorf("looked at, things stand as %v, want %v", all, want)
		}
	}
	looked(driver.Look{Head: 5}, driver.Look{Asked: true})
	must(t, s.SetValue(t.Context(), "empty", driver.PausedValue, []byte("false")))
	must(t, s.SetValue(t.Context(), service, driver.PausedValue, []byte("true")))
	must(t, s.SetValue(t.Context(), "empty", "other", []byte("true")))
	write := func(w driver.Writes) {
		t.Helper()
		tx, err := s.Begin(t.Context())
		must(t, err)
		must(t, tx.Apply(t.Context(), service, &w))
		must(t, errors.Join(tx.Commit(t.Context()), tx.Rollback()))
	}
	saga := driver.SagaKey{Name: "s", ID: "1"}
	write(driver.Writes{SetTimers: []driver.Timer{{Name: "a", Due: 70, Stream: "s", Type: "t", Data: []byte("{}")}, {Name: "b", Due: 90, Stream: "s", Type: "t", Data: []byte("{}")}}})
	looked(driver.Look{Head: 5, Paused: true, Due: 70}, driver.Look{Asked: true})
	write(driver.Writes{Sagas: []driver.Saga{{SagaKey: saga, Definition: 1, State: "running", Data: []byte("{}"), Due: 60, Revision: 1}}})
	looked(driver.Look{Head: 5, Paused: true, Due: 60}, driver.Look{Asked: true})
	write(driver.Writes{Sagas: []driver.Saga{{SagaKey: saga, Definition: 1, State: "completed", Data: []byte("{}"), Revision: 2}}, CancelTimers: []string{"a"}})
	looked(driver.Look{Head: 5, Paused: true, Due: 90}, driver.Look{Asked: true})
	write(driver.Writes{CancelTimers: []string{"b"}, AddCalls: []driver.Call{{ID: "c", Name: "n", Stream: "s", Due: 1}}})
	looked(driver.Look{Head: 5, Paused: true, Calls: true}, driver.Look{Asked: true})
}

// The clock that is carried on between two looks at the database's is never ahead of it, and not further behind than the answers took. Red where what
// passed since a look is counted twice, and where it is not counted.
func TestNowIsTheDatabases(t *testing.T) {
	t.Parallel()
	url := testserver.Postgres(t).Database(t)
	s, conn := open(t, url), connect(t, url)
	defer func() { _ = s.Close() }()
	var slowest time.Duration // of the answers so far
	for range 500 {
		began := time.Now()
		now, err := s.Now(t.Context())
		must(t, err)
		var is time.Time
		must(t, conn.QueryRow(t.Context(), "SELECT clock_timestamp()").Scan(&is))
		took := time.Since(began)
		slowest = max(slowest, took)
		if now.After(is) || is.Sub(now) > took+slowest {
			t.Fatalf("it is %v by the database's clock, and Now says %v", is, now)
		}
	}
}
