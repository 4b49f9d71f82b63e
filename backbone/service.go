package backbone

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"time"
)

// Service is a service as a table: what it handles, subscribes to, keeps, shows,
// times and calls. A person reads it in one screen; the runtime reads it to run
// the service, to draw the map, to write the contracts and to check them.
type Service struct {
	// Name is lower-case letters and digits; tables, topics and subscriptions
	// carry it.
	Name string
	// About is one sentence for the map.
	About string
	// Handles lists the commands that it decides.
	Handles []Handler
	// Publishes lists public events that a program appends to the service's log
	// within transactions of its own (see Outgoing), one zero value a type. Others
	// subscribe to them as to every event. No aggregate lists them, and they live
	// in no transaction of the service: inline views, Reacts and starts of sagas
	// cannot take them.
	Publishes []Event
	// Reacts lists policies over its own events; see Whenever.
	Reacts []Subscriber
	// Subscribes lists the events of others that it handles, in one subscription
	// of the service's name.
	Subscribes []Subscriber
	// Sends lists the commands that its policies and handlers send to other services,
	// one zero value a type; what its sagas send is told by their steps. Only those
	// services then listen to its log for commands, and it to theirs for the answers;
	// what is not listed is refused when it is sent. Whatever an earlier version may
	// have sent stays listed until it has arrived. nil: it may send any command, and
	// every service listens; an empty list says that it sends none.
	Sends []Command
	// Sagas lists the processes that it runs.
	Sagas []SagaDefinition
	// Calls lists what it calls outside.
	Calls []CallType
	// Views lists the tables that are made from events.
	Views []View
	// Migrations holds goose files with table names in braces; see driver.Schema.
	Migrations fs.FS
	// Retry says how failing messages are tried again.
	Retry RetryPolicy
	// HandlerTimeout cancels a handler that runs too long; default 1 s.
	HandlerTimeout time.Duration
	// Slices of its subscription (default 64, stored when it is first seen) and
	// Lanes that work on them in this process (default 16).
	Slices, Lanes int
}

// RetryPolicy says how often and when a failing message is tried again before it
// is dead. The zero value is 5 attempts, 1 s apart and doubling up to a minute.
type RetryPolicy struct {
	Attempts int
	First    time.Duration
	Max      time.Duration
}

func (p RetryPolicy) attempts() int {
	if p.Attempts <= 0 {
		return 5
	}
	return p.Attempts
}

// After returns the wait after the given number of failed attempts.
func (p RetryPolicy) After(attempts int) time.Duration {
	first, most := p.First, p.Max
	if first <= 0 {
		first = time.Second
	}
	if most <= 0 {
		most = time.Minute
	}
	d := first
	for i := 1; i < attempts && d < most; i++ {
		d *= 2
	}
	return min(d, most)
}

var nameRule = regexp.MustCompile(`^[a-z][a-z0-9]{0,31}$`)

func validName(s string) bool { return nameRule.MatchString(s) }

var idRule = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// ValidID reports whether s may be an id at the border: [A-Za-z0-9_-]{1,64}.
func ValidID(s string) bool { return idRule.MatchString(s) }

// MaxData is the largest data of a message, in bytes.
const MaxData = 256 << 10

// aggregates returns the service's aggregates by name.
func (s *Service) aggregates() (map[string]folder, error) {
	all := map[string]folder{}
	for _, h := range s.Handles {
		for _, f := range h.folders {
			if other, ok := all[f.aggregateName()]; ok && other != f {
				return nil, fmt.Errorf("service %s has two aggregates named %q", s.Name, f.aggregateName())
			}
			all[f.aggregateName()] = f
		}
	}
	return all, nil
}

// Decode reads an event of the service's own log, public or private, as the type
// that the service lists. It is meant for tests and tools.
func (s *Service) Decode(m *Message) (Event, error) {
	err := fmt.Errorf("service %s owns no event %s", s.Name, m.Type)
	for _, f := range s.folders() {
		e, failed := f.decodeEvent(m.Type, m.Data)
		if failed == nil {
			return e, nil
		}
		if _, known := f.isPrivate(m.Type); known {
			err = failed
		}
	}
	return nil, err
}

// Check finds what is wrong with a parts list and says what to do about it. It
// looks at all services whatever runs here, so that a program that starts on one
// machine would start on every other.
func Check(parts []*Service) error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	names, handlers, owners := map[string]bool{}, map[string]string{}, map[string]string{}
	if len(parts) == 0 {
		return errors.New("the parts list is empty: list every service of the system, whether it runs here or not")
	}
	if i := slices.Index(parts, nil); i >= 0 {
		return fmt.Errorf("entry %d of the parts list is nil", i)
	}
	for _, s := range parts {
		if !validName(s.Name) {
			fail("service name %q: use a lower-case letter and up to 31 letters and digits", s.Name)
		}
		if names[s.Name] {
			fail("two services are named %q: give one of them another name", s.Name)
		}
		names[s.Name] = true
		for i, h := range s.Handles {
			if h.typ == nil || h.lacks {
				fail("service %s: entry %d of Handles (%s) has no function: make it by Decide or DecideMany", s.Name, i, cmp.Or(h.command, "empty"))
				continue
			}
			if other, ok := handlers[h.command]; ok {
				fail("%s is handled by %s and by %s: a command has one handler, remove one of them", h.command, other, s.Name)
			}
			handlers[h.command] = s.Name
			if _, _, err := splitVersion(h.command); err != nil {
				fail("service %s handles %w", s.Name, err)
			}
			if len(h.folders) == 0 {
				fail("service %s: say which aggregates %s works on with DecideMany(...).On(aggregate)", s.Name, h.command)
			}
		}
		aggregates, err := s.aggregates()
		if err != nil {
			errs = append(errs, err)
		}
		for _, f := range aggregates {
			if err := f.check(); err != nil {
				fail("service %s: %w", s.Name, err)
				continue
			}
			public, private := f.eventTypes()
			for _, t := range append(public, private...) {
				if other, ok := owners[t]; ok {
					fail("event %s belongs to %s and to %s/%s: one aggregate owns an event type", t, other, s.Name, f.aggregateName())
				}
				owners[t] = s.Name
			}
		}
	}
	for _, s := range parts {
		s.checkPublishes(owners, fail)
	}
	for _, s := range parts {
		s.checkAgainst(owners, handlers, fail)
	}
	return errors.Join(errs...)
}

// checkPublishes makes the service the owner of what a program appends to its log.
func (s *Service) checkPublishes(owners map[string]string, fail func(string, ...any)) {
	for _, e := range s.Publishes {
		d, err := newEventDecoder(e)
		switch {
		case err != nil:
			fail("service %s publishes: %w", s.Name, err)
		case owners[d.wire] != "":
			fail("event %s is published by %s and belongs to %s: one service owns an event type, as an aggregate's or as published",
				d.wire, s.Name, owners[d.wire])
		default:
			owners[d.wire] = s.Name
		}
	}
	within := func(wire, what string) {
		if s.publishes(wire) {
			fail("service %s: %s takes %s, which is appended outside its transactions: use Subscribes or an asynchronous view", s.Name, what, wire)
		}
	}
	for _, sub := range s.Reacts {
		within(sub.event, "Reacts")
	}
	for _, saga := range s.Sagas {
		within(saga.startsOn(), "the start of saga "+saga.sagaName())
		for _, a := range saga.aborts() {
			within(a.event, "an abort of saga "+saga.sagaName())
		}
	}
	for _, v := range s.Views {
		for _, p := range v.Projections {
			if v.Inline {
				within(p.sub.event, "inline view "+v.Name)
			}
		}
	}
}

// publishes reports whether the event is listed under Publishes.
func (s *Service) publishes(wire string) bool {
	for _, e := range s.Publishes {
		if e.EventType() == wire {
			return true
		}
	}
	return false
}

func (s *Service) checkAgainst(owners, handlers map[string]string, fail func(string, ...any)) {
	for i, sub := range s.Reacts {
		switch {
		case sub.lacks():
			fail("service %s: entry %d of Reacts (%s) has no function: make it by Whenever", s.Name, i, cmp.Or(sub.event, "empty"))
		case sub.err != nil:
			fail("service %s reacts to %w", s.Name, sub.err)
		case sub.react == nil:
			fail("service %s: Reacts takes policies made by Whenever; %s is made by On", s.Name, sub.event)
		case owners[sub.event] != s.Name:
			fail("service %s reacts to %s, which is not its own event: list it under Subscribes", s.Name, sub.event)
		}
	}
	seen := map[string]bool{}
	for i, sub := range s.Subscribes {
		switch {
		case sub.lacks():
			fail("service %s: entry %d of Subscribes (%s) has no function: make it by On or Whenever", s.Name, i, cmp.Or(sub.event, "empty"))
			continue
		case sub.err != nil:
			fail("service %s subscribes to %w", s.Name, sub.err)
		case owners[sub.event] == "":
			fail("service %s subscribes to %s, which no service of the parts list owns: add the owner or remove the entry", s.Name, sub.event)
		case seen[sub.event]:
			fail("service %s subscribes to %s twice: one handler a type", s.Name, sub.event)
		}
		seen[sub.event] = true
		s.checkAfter(sub, fail)
	}
	for _, c := range s.Sends {
		switch to := handlers[c.CommandType()]; to {
		case "":
			fail("service %s sends %s, which no service of the parts list handles", s.Name, c.CommandType())
		case s.Name:
			fail("service %s lists %s under Sends, which it handles itself", s.Name, c.CommandType())
		}
	}
	for _, saga := range s.Sagas {
		if err := saga.check(s); err != nil {
			fail("service %s: %w", s.Name, err)
			continue
		}
		if owners[saga.startsOn()] != s.Name {
			fail("service %s: saga %s starts on %s, which is not its own event", s.Name, saga.sagaName(), saga.startsOn())
		}
		for _, a := range saga.aborts() {
			if owners[a.event] != s.Name {
				fail("service %s: saga %s aborts on %s, which is not its own event", s.Name, saga.sagaName(), a.event)
			}
		}
		for _, st := range saga.describe().Steps {
			for _, c := range []string{st.Command, st.Undo} {
				if c != "" && handlers[c] == "" {
					fail("service %s: saga %s sends %s, which no service of the parts list handles", s.Name, saga.sagaName(), c)
				}
			}
			if st.Local && handlers[st.Command] != s.Name {
				fail("service %s: saga %s decides %s locally, but %s handles it", s.Name, saga.sagaName(), st.Command, handlers[st.Command])
			}
		}
	}
	calls := map[string]bool{}
	for _, c := range s.Calls {
		if c.name == "" || calls[c.name] {
			fail("service %s: call %q needs a name of its own", s.Name, c.name)
		}
		calls[c.name] = true
	}
	s.checkViews(owners, fail)
}

// checkAfter finds what is wrong with the view that a subscriber waits for.
func (s *Service) checkAfter(sub Subscriber, fail func(string, ...any)) {
	if sub.after == "" {
		return
	}
	i := slices.IndexFunc(s.Views, func(v View) bool { return v.Name == sub.after })
	switch {
	case i < 0:
		fail("service %s: the handler of %s is to come after view %s, which the service does not have", s.Name, sub.event, sub.after)
	case sub.handle == nil:
		fail("service %s: %s is to come after view %s, but a policy made by Whenever looks nothing up: use On", s.Name, sub.event, sub.after)
	case s.Views[i].Inline:
		fail("service %s: the handler of %s is to come after view %s, which is inline: it has all that the service has committed", s.Name, sub.event, sub.after)
	case s.Views[i].From != FromFirst:
		fail("service %s: the handler of %s is to come after view %s, which does not show what was before it: have it begin FromFirst", s.Name, sub.event, sub.after)
	}
}

func (s *Service) checkViews(owners map[string]string, fail func(string, ...any)) {
	views, tables := map[string]bool{}, map[string]string{}
	for _, v := range s.Views {
		if !validName(v.Name) || views[v.Name] {
			fail("service %s: view %q needs a lower-case name of its own", s.Name, v.Name)
		}
		views[v.Name] = true
		for _, t := range v.tables() {
			if other, ok := tables[t]; ok {
				fail("service %s: table %s belongs to the views %s and %s: a table has one owner", s.Name, t, other, v.Name)
			}
			tables[t] = v.Name
		}
		if len(v.Projections) == 0 {
			fail("service %s: view %s has no projections", s.Name, v.Name)
		}
		keyed := 0
		for i, p := range v.Projections {
			switch {
			case p.apply == nil:
				fail("service %s: projection %d of view %s (%s) has no function: make it by Project or ProjectBy", s.Name, i, v.Name, cmp.Or(p.sub.event, "empty"))
			case p.sub.err != nil:
				fail("service %s: view %s shows %w", s.Name, v.Name, p.sub.err)
			case owners[p.sub.event] == "":
				fail("service %s: view %s shows %s, which no service of the parts list owns", s.Name, v.Name, p.sub.event)
			case v.Inline && owners[p.sub.event] != s.Name:
				fail("service %s: view %s is inline and shows %s of %s: an inline view shows only its own service's events",
					s.Name, v.Name, p.sub.event, owners[p.sub.event])
			}
			if p.sub.keyed != nil {
				keyed++
			}
		}
		if keyed > 0 && keyed < len(v.Projections) {
			fail("service %s: view %s keys %d of %d projections: key all or none", s.Name, v.Name, keyed, len(v.Projections))
		}
	}
}
