package backbonetest

import (
	"testing"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
)

// Runtime returns what runs the services, until the next Restart or Crash.
func (w *World) Runtime() *backbone.Runtime { return w.runs.Load().runtime }

// Store returns the database, until the next Restart or Crash.
func (w *World) Store() driver.Store { return w.runs.Load().store }

// Reader reads what a service has committed, until the next Restart or Crash.
func (w *World) Reader(service string) *backbone.Reader { return w.Runtime().Reader(service) }

// Do gives a command to the service that handles it and returns the answer. A
// refusal or an error fails the test.
func (w *World) Do(t testing.TB, c backbone.Command, options ...backbone.DoOption) backbone.Answer {
	t.Helper()
	a, err := w.Runtime().Do(t.Context(), c, options...)
	if err == nil {
		err = a.Err()
	}
	if err != nil {
		t.Fatalf("%s %+v: %v", c.CommandType(), c, err)
	}
	return a
}

// Refused gives a command that is to be refused with this code, and returns the
// refusal.
func (w *World) Refused(t testing.TB, code string, c backbone.Command, options ...backbone.DoOption) backbone.Refusal {
	t.Helper()
	a, err := w.Runtime().Do(t.Context(), c, options...)
	switch {
	case err != nil:
		t.Fatalf("%s %+v: %v", c.CommandType(), c, err)
	case a.Refusal == nil:
		t.Fatalf("%s %+v was done, want the refusal %q", c.CommandType(), c, code)
	case a.Refusal.Code != code:
		t.Errorf("%s %+v was refused with %v, want %q", c.CommandType(), c, a.Refusal, code)
	}
	return *a.Refusal
}

// Events returns the public events of a service, in the order of its log.
func (w *World) Events(t testing.TB, service string) []backbone.Event {
	t.Helper()
	part := w.part(t, service)
	var events []backbone.Event
	for _, m := range w.log(t, service, driver.KindEvent) {
		e, err := part.Decode(m)
		if err != nil {
			t.Fatalf("record %d of %s: %v", m.Position, service, err)
		}
		events = append(events, e)
	}
	return events
}

func (w *World) log(t testing.TB, service string, kinds ...driver.Kind) []*backbone.Message {
	t.Helper()
	q := backbone.ReadQuery{Kinds: kinds, Limit: 1000}
	var all []*backbone.Message
	for {
		page, err := w.Reader(service).Log(t.Context(), q)
		if err != nil {
			t.Fatalf("read the log of %s: %v", service, err)
		}
		all = append(all, page...)
		if len(page) < q.Limit {
			return all
		}
		q.After = page[len(page)-1].Position
	}
}

func (w *World) part(t testing.TB, service string) *backbone.Service {
	t.Helper()
	for _, p := range w.config.Parts {
		if p.Name == service {
			return p
		}
	}
	t.Fatalf("no part of the world is named %q", service)
	return nil
}

// Saga returns the state of a saga's instance, such as backbone.SagaCompleted, ""
// where there is none.
func (w *World) Saga(t testing.TB, service, saga, id string) string {
	t.Helper()
	for _, s := range w.sagas(t, service, "") {
		if s.Name == saga && s.ID == id {
			return s.State
		}
	}
	return ""
}

// sagas returns the instances in any of the states, or in all with "".
func (w *World) sagas(t testing.TB, service string, states ...string) []driver.Saga {
	t.Helper()
	var all []driver.Saga
	for _, state := range states {
		rows, err := w.Store().SagaRows(t.Context(), service, "", "", state, most)
		if err != nil {
			t.Fatalf("sagas of %s: %v", service, err)
		}
		all = append(all, rows...)
	}
	return all
}

// Parked returns the messages at the head of their key that a service could not
// handle, of its own subscription and of its views: those that will be tried again
// and those that wait for an operator.
func (w *World) Parked(t testing.TB, service string) []driver.Parked {
	t.Helper()
	var all []driver.Parked
	for _, subscription := range subscriptions(w.part(t, service)) {
		rows, err := w.Store().ParkedRows(t.Context(), service, subscription, "", most)
		if err != nil {
			t.Fatalf("parked messages of %s: %v", service, err)
		}
		all = append(all, rows...)
	}
	return all
}
