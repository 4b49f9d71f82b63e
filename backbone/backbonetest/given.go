package backbonetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"example.org/souk/backbone"
)

// Epoch is the instant at which decisions are made and worlds begin unless a test
// names another.
var Epoch = time.Date(2030, time.January, 2, 10, 0, 0, 0, time.UTC)

// Case is a history that a command is about to meet.
type Case struct {
	t        testing.TB
	service  *backbone.Service
	events   []backbone.Event // of the command's own stream
	streams  []backbone.Append
	byStream bool
	meta     backbone.Meta
}

// Given begins a case: the command's own stream holds these events, oldest first.
// The handler under test is the one of the service that decides the command's type.
//
// Every history is checked on the way: each event must be listed by its aggregate
// and survive JSON, and Evolve must not change the state that it is given.
func Given(t testing.TB, service *backbone.Service, events ...backbone.Event) *Case {
	return &Case{t: t, service: service, events: events, meta: backbone.Meta{ID: "command", Time: Epoch, Actor: "test"}}
}

// GivenStreams begins a case for a command that is decided on several streams:
//
//	GivenStreams(t, inventory.Service(), product.Append("P1", received), product.Append("P2", received))
func GivenStreams(t testing.TB, service *backbone.Service, histories ...backbone.Append) *Case {
	c := Given(t, service)
	c.streams, c.byStream = histories, true
	return c
}

// At sets the time of the decision; the default is Epoch.
func (c *Case) At(now time.Time) *Case { c.meta.Time = now; return c }

// By sets who acts; the default is "test".
func (c *Case) By(actor string) *Case { c.meta.Actor = actor; return c }

// Outcome is what a decision led to.
type Outcome struct {
	t       testing.TB
	command string
	appends []backbone.Append
	refusal *backbone.Refusal
}

// When has the command decided. A decision that fails with anything but a refusal,
// or that decides otherwise the second time, fails the test.
func (c *Case) When(command backbone.Command) *Outcome {
	c.t.Helper()
	h := c.handler(command)
	refs := h.Streams(command)
	histories := map[string][]backbone.Event{}
	known := map[string]backbone.Ref{}
	for _, ref := range refs {
		known[ref.Stream()] = ref
	}
	switch {
	case c.byStream:
		for _, s := range c.streams {
			if _, asked := known[s.To.Stream()]; !asked {
				c.t.Fatalf("%s does not ask for stream %s; it asks for %s", command.CommandType(), s.To.Stream(), names(refs))
			}
			histories[s.To.Stream()] = append(histories[s.To.Stream()], s.Events...)
		}
	case len(refs) == 1:
		histories[refs[0].Stream()] = c.events
	case len(c.events) > 0:
		c.t.Fatalf("%s is decided on several streams (%s): say which holds what with GivenStreams", command.CommandType(), names(refs))
	}
	for stream, events := range histories {
		c.checkHistory(known[stream], events)
	}
	appends, refusal := c.decide(h, histories, command)
	again, refusedAgain := c.decide(h, histories, command)
	if !sameAppends(appends, again) || !reflect.DeepEqual(refusal, refusedAgain) {
		c.t.Fatalf("%s is not pure: it decided\n%sand then\n%s", command.CommandType(), list(appends), list(again))
	}
	for _, a := range appends {
		stream := a.To.Stream()
		histories[stream] = append(histories[stream][:len(histories[stream]):len(histories[stream])], a.Events...)
		c.checkHistory(a.To, histories[stream])
	}
	return &Outcome{c.t, command.CommandType(), appends, refusal}
}

func (c *Case) handler(command backbone.Command) backbone.Handler {
	c.t.Helper()
	for _, h := range c.service.Handles {
		if h.CommandType() == command.CommandType() {
			return h
		}
	}
	c.t.Fatalf("service %s does not handle %s", c.service.Name, command.CommandType())
	return backbone.Handler{}
}

func (c *Case) decide(h backbone.Handler, histories map[string][]backbone.Event, command backbone.Command) ([]backbone.Append, *backbone.Refusal) {
	c.t.Helper()
	appends, err := h.Decision(histories, command, c.meta)
	if err == nil {
		return appends, nil
	}
	refusal, ok := errors.AsType[*backbone.Refusal](err)
	if !ok {
		c.t.Fatalf("%s failed: %v", command.CommandType(), err)
	}
	return appends, refusal
}

// checkHistory folds a stream as a log would, and each beginning of it once more by
// itself: a state that differs was changed by an Evolve that came after it.
func (c *Case) checkHistory(ref backbone.Ref, events []backbone.Event) {
	c.t.Helper()
	for _, e := range events {
		checkJSON(c.t, e)
	}
	states, err := ref.States(events...)
	if err != nil {
		c.t.Fatalf("stream %s: %v", ref.Stream(), err)
	}
	for i := range states {
		alone, err := ref.States(events[:i]...)
		if err != nil {
			c.t.Fatalf("stream %s: %v", ref.Stream(), err)
		}
		if !reflect.DeepEqual(states[i], alone[i]) {
			c.t.Fatalf("stream %s: Evolve changes the state that it is given: after %d events it was %+v and became %+v", ref.Stream(), i, alone[i], states[i])
		}
	}
}

func checkJSON(t testing.TB, e backbone.Event) {
	t.Helper()
	data, err := json.Marshal(e)
	if err != nil {
		t.Fatalf("%s cannot be encoded: %v", e.EventType(), err)
	}
	back := reflect.New(reflect.TypeOf(e))
	if err := json.Unmarshal(data, back.Interface()); err != nil {
		t.Fatalf("%s cannot be read back: %v", e.EventType(), err)
	}
	if got := back.Elem().Interface(); !reflect.DeepEqual(got, e) {
		t.Fatalf("%s does not survive JSON: %+v comes back as %+v", e.EventType(), e, got)
	}
}

// Then expects that the command was done and led to exactly these events, in order.
// Where a decision appends to several streams they stand in the order of its appends.
func (o *Outcome) Then(events ...backbone.Event) {
	o.t.Helper()
	o.notRefused()
	o.expect(events)
}

// ThenOn is Then for a decision on several streams: exactly these appends, in order.
func (o *Outcome) ThenOn(appends ...backbone.Append) {
	o.t.Helper()
	o.notRefused()
	if !sameAppends(o.appends, appends) {
		o.t.Errorf("%s led to\n%swant\n%s", o.command, list(o.appends), list(appends))
	}
}

// ThenNothing expects that the command was done and led to no event.
func (o *Outcome) ThenNothing() {
	o.t.Helper()
	o.Then()
}

// ThenRefused expects a refusal with this code, and exactly the events that the
// decision records with it.
func (o *Outcome) ThenRefused(code string, events ...backbone.Event) {
	o.t.Helper()
	if o.refusal == nil {
		o.t.Errorf("%s was done and led to\n%swant the refusal %q", o.command, list(o.appends), code)
		return
	}
	if o.refusal.Code != code {
		o.t.Errorf("%s was refused with %q (%s), want %q", o.command, o.refusal.Code, o.refusal.Detail, code)
	}
	o.expect(events)
}

// Appends returns what the decision led to, for a test that judges it by itself.
func (o *Outcome) Appends() []backbone.Append { return o.appends }

// Events returns the events of all appends, in order, for a history that goes on.
func (o *Outcome) Events() []backbone.Event {
	var events []backbone.Event
	for _, a := range o.appends {
		events = append(events, a.Events...)
	}
	return events
}

// Refusal returns the refusal, or nil.
func (o *Outcome) Refusal() *backbone.Refusal { return o.refusal }

func (o *Outcome) notRefused() {
	o.t.Helper()
	if o.refusal != nil {
		o.t.Errorf("%s was refused: %v", o.command, o.refusal)
	}
}

func (o *Outcome) expect(want []backbone.Event) {
	o.t.Helper()
	got := o.Events()
	if len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
		o.t.Errorf("%s led to\n%swant\n%s", o.command, lines(got), lines(want))
	}
}

func sameAppends(a, b []backbone.Append) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].To.Stream() != b[i].To.Stream() || !reflect.DeepEqual(a[i].Events, b[i].Events) {
			return false
		}
	}
	return true
}

func names(refs []backbone.Ref) string {
	var all []string
	for _, r := range refs {
		all = append(all, r.Stream())
	}
	return strings.Join(all, ", ")
}

func list(appends []backbone.Append) string {
	var b strings.Builder
	for _, a := range appends {
		fmt.Fprintf(&b, "\ton %s:\n%s", a.To.Stream(), lines(a.Events))
	}
	if len(appends) == 0 {
		return lines(nil)
	}
	return b.String()
}

func lines(events []backbone.Event) string {
	if len(events) == 0 {
		return "\tnothing\n"
	}
	var b strings.Builder
	for _, e := range events {
		fmt.Fprintf(&b, "\t%s %+v\n", e.EventType(), e)
	}
	return b.String()
}
