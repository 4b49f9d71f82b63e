package backbone

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Saga is a process over several services: a sequence of steps, each a command
// and what undoes it, up to a pivot after which everything is carried through.
// It is a value: Table prints what it does in every state. D is the data that it
// carries; it is stored as JSON.
//
// A saga advances on the answer to the command that it sent, and on events only
// where Advances says so. A step that is refused before the pivot has everything
// before it undone, last first. A step of unknown outcome is undone too, so the
// receiver of an undo must leave a tombstone that refuses a late original. A late
// success of a step that was undone is undone again. (After Garcia-Molina and
// Salem, "Sagas", 1987; the pivot after Richardson.)
type Saga[D any] struct {
	// Name and Version; running instances keep the version that they began with.
	Name    string
	Version int
	// Starts on an event of the service itself, in that event's transaction.
	Starts SagaStart[D]
	Steps  []Step[D]
	// Advances on events of other services.
	Advances []SagaAdvance[D]
	// Aborts on events of the service itself: undoes what was done.
	Aborts []SagaAbort[D]
	// Rejected returns the service's own command that ends the matter when a step
	// was refused and everything is undone. Without it nothing tells the service: what
	// began the saga stands as it was.
	Rejected func(d D, step string, r Refusal) Command
	// UndoAttempts is how often an undo is sent before the saga is stuck and
	// waits for an operator; default 8.
	UndoAttempts int
}

// Step is one step of a saga: exactly one of Do and Local. Do, Local and Undo return a
// command for whatever data, the zero value of D included: by that the types of their
// commands are known before any saga runs. Where a step is not wanted, When says so.
type Step[D any] struct {
	Name string
	// When says whether the step applies; nil means always.
	When func(D) bool
	// Do returns the command for another service.
	Do func(D) Command
	// Local returns a command of the service itself; it is decided in the saga's
	// own transaction.
	Local func(D) Command
	// Undo returns the command that takes Do back; nil where there is nothing to
	// take back.
	Undo func(D) Command
	// Then reads a positive answer. Local commands that it returns are decided in
	// the same transaction. nil means Next.
	Then func(D, Answer) (D, []Command, Progress)
	// Pivot: before this step is done everything can be undone, after it
	// everything is carried through.
	Pivot bool
	// Timeout is how long an answer may take; default 30 s.
	Timeout time.Duration
	// OnTimeout says what then happens.
	OnTimeout TimeoutPolicy
}

// Progress is what a step's answer means.
type Progress int

// The ways to go on after an answer.
const (
	Next Progress = iota // the step is done
	Stay                 // it is not: an event under Advances will tell
)

// TimeoutPolicy says what happens when a step's answer is late.
type TimeoutPolicy int

// The policies.
const (
	Wait       TimeoutPolicy = iota // raise an alarm and send the same command again
	Compensate                      // undo the step, whose outcome is unknown, and all before it; it needs an Undo
)

// SagaStart begins an instance; made by StartsOn.
type SagaStart[D any] struct {
	event string
	start func(Event, Meta) (string, D)
}

// StartsOn begins an instance with the returned id and data on each event E.
func StartsOn[D any, E Event](fn func(E, Meta) (id string, d D)) SagaStart[D] {
	var zero E
	return SagaStart[D]{zero.EventType(), func(e Event, m Meta) (string, D) { return fn(e.(E), m) }}
}

// SagaAdvance ends a waiting step on an event; made by AdvancesOn.
type SagaAdvance[D any] struct {
	step string
	sub  Subscriber
	id   func(Event) string
	then func(D, Event, Meta) (D, []Command, Progress)
}

// AdvancesOn lets event E of another service answer a step that stayed. id names
// the instance, "" for none.
func AdvancesOn[D any, E Event](step string, id func(E) string, then func(D, E, Meta) (D, []Command, Progress)) SagaAdvance[D] {
	return SagaAdvance[D]{
		step: step, sub: subscriberOf[E](),
		id:   func(e Event) string { return id(e.(E)) },
		then: func(d D, e Event, m Meta) (D, []Command, Progress) { return then(d, e.(E), m) },
	}
}

// SagaAbort undoes an instance; made by AbortsOn.
type SagaAbort[D any] struct {
	event  string
	id     func(Event) string
	finish func(D) Command
}

// AbortsOn undoes the instance on event E of the service itself, also after the
// pivot and after completion. finish returns the service's own command that ends
// the matter when all is undone, or nil.
func AbortsOn[D any, E Event](id func(E) string, finish func(D) Command) SagaAbort[D] {
	var zero E
	return SagaAbort[D]{zero.EventType(), func(e Event) string { return id(e.(E)) }, finish}
}

// SagaDefinition is an entry of Service.Sagas: a *Saga.
type SagaDefinition interface {
	sagaName() string
	sagaVersion() int
	describe() SagaTable
	check(s *Service) error
	startsOn() string
	start(Event, Meta) (id string, data []byte, err error)
	steps() int
	step(i int) stepInfo
	command(i int, data []byte) (Command, error)
	undo(i int, data []byte) (Command, error)
	applies(i int, data []byte) (bool, error)
	then(i int, data []byte, a Answer) ([]byte, []Command, Progress, error)
	rejected(data []byte, step string, r Refusal) (Command, error)
	advances() []advanceInfo
	aborts() []abortInfo
	undoAttempts() int
}

type stepInfo struct {
	name      string
	local     bool
	undoable  bool
	pivot     bool
	timeout   time.Duration
	onTimeout TimeoutPolicy
}

type advanceInfo struct {
	step int
	sub  Subscriber
	id   func(Event) string
	then func(data []byte, e Event, m Meta) ([]byte, []Command, Progress, error)
}

type abortInfo struct {
	event  string
	id     func(Event) string
	finish func(data []byte) (Command, error)
}

// SagaTable describes a saga for people and for the map.
type SagaTable struct {
	Name    string      `json:"name"`
	Version int         `json:"version"`
	Starts  string      `json:"starts"`
	Steps   []SagaStep  `json:"steps"`
	Events  []SagaEvent `json:"events,omitempty"`
}

// SagaStep is a line of a SagaTable.
type SagaStep struct {
	Name      string `json:"name"`
	Command   string `json:"command"`
	Local     bool   `json:"local,omitempty"`
	Undo      string `json:"undo,omitempty"`
	Pivot     bool   `json:"pivot,omitempty"`
	Timeout   string `json:"timeout,omitempty"`
	OnTimeout string `json:"onTimeout,omitempty"`
}

// SagaEvent says what an event does to a saga.
type SagaEvent struct {
	Event string `json:"event"`
	Does  string `json:"does"`
}

func (s *Saga[D]) sagaName() string { return s.Name }
func (s *Saga[D]) sagaVersion() int { return s.Version }
func (s *Saga[D]) startsOn() string { return s.Starts.event }
func (s *Saga[D]) steps() int       { return len(s.Steps) }
func (s *Saga[D]) undoAttempts() int {
	if s.UndoAttempts <= 0 {
		return 8
	}
	return s.UndoAttempts
}

func (s *Saga[D]) step(i int) stepInfo {
	st := &s.Steps[i]
	t := st.Timeout
	if t <= 0 {
		t = 30 * time.Second
	}
	return stepInfo{st.Name, st.Local != nil, st.Undo != nil, st.Pivot, t, st.OnTimeout}
}

func (s *Saga[D]) decode(data []byte) (d D, err error) {
	if err = json.Unmarshal(data, &d); err != nil {
		err = fmt.Errorf("data of saga %s: %w", s.Name, err)
	}
	return d, err
}

func (s *Saga[D]) start(e Event, m Meta) (string, []byte, error) {
	id, d := s.Starts.start(e, m)
	if id == "" {
		return "", nil, nil
	}
	data, err := json.Marshal(d)
	return id, data, err
}

func (s *Saga[D]) applies(i int, data []byte) (bool, error) {
	if s.Steps[i].When == nil {
		return true, nil
	}
	d, err := s.decode(data)
	return err == nil && s.Steps[i].When(d), err
}

func (s *Saga[D]) command(i int, data []byte) (Command, error) {
	d, err := s.decode(data)
	if err != nil {
		return nil, err
	}
	if st := &s.Steps[i]; st.Local != nil {
		return st.Local(d), nil
	}
	return s.Steps[i].Do(d), nil
}

func (s *Saga[D]) undo(i int, data []byte) (Command, error) {
	d, err := s.decode(data)
	if err != nil || s.Steps[i].Undo == nil {
		return nil, err
	}
	return s.Steps[i].Undo(d), nil
}

func (s *Saga[D]) then(i int, data []byte, a Answer) ([]byte, []Command, Progress, error) {
	if s.Steps[i].Then == nil {
		return data, nil, Next, nil
	}
	d, err := s.decode(data)
	if err != nil {
		return nil, nil, Next, err
	}
	d, commands, progress := s.Steps[i].Then(d, a)
	data, err = json.Marshal(d)
	return data, commands, progress, err
}

func (s *Saga[D]) rejected(data []byte, step string, r Refusal) (Command, error) {
	if s.Rejected == nil {
		return nil, nil
	}
	d, err := s.decode(data)
	if err != nil {
		return nil, err
	}
	return s.Rejected(d, step, r), nil
}

func (s *Saga[D]) advances() []advanceInfo {
	var list []advanceInfo
	for _, a := range s.Advances {
		step := -1
		for i := range s.Steps {
			if s.Steps[i].Name == a.step {
				step = i
			}
		}
		list = append(list, advanceInfo{step, a.sub, a.id, func(data []byte, e Event, m Meta) ([]byte, []Command, Progress, error) {
			d, err := s.decode(data)
			if err != nil {
				return nil, nil, Next, err
			}
			d, commands, progress := a.then(d, e, m)
			data, err = json.Marshal(d)
			return data, commands, progress, err
		}})
	}
	return list
}

func (s *Saga[D]) aborts() []abortInfo {
	var list []abortInfo
	for _, a := range s.Aborts {
		list = append(list, abortInfo{a.event, a.id, func(data []byte) (Command, error) {
			d, err := s.decode(data)
			if err != nil || a.finish == nil {
				return nil, err
			}
			return a.finish(d), nil
		}})
	}
	return list
}

func (s *Saga[D]) check(svc *Service) error {
	fail := func(format string, args ...any) error {
		return fmt.Errorf("saga %s: %w", s.Name, fmt.Errorf(format, args...))
	}
	if !validName(s.Name) || s.Version < 1 {
		return fail("needs a lower-case name and a version from 1")
	}
	if s.Starts.start == nil {
		return fail("say what begins it: Starts: backbone.StartsOn(...)")
	}
	names, pivots := map[string]bool{}, 0
	for _, st := range s.Steps {
		if st.Name == "" || names[st.Name] {
			return fail("step %q needs a name of its own", st.Name)
		}
		names[st.Name] = true
		if (st.Do == nil) == (st.Local == nil) {
			return fail("step %q needs exactly one of Do and Local", st.Name)
		}
		for what, next := range map[string]func(D) Command{"Do": st.Do, "Local": st.Local, "Undo": st.Undo} {
			if err := commandOfZero(next); err != nil {
				return fail("step %q: %s %w; it is asked for the zero value of the saga's data too, so that the type of its command is known", st.Name, what, err)
			}
		}
		if st.Local != nil && st.Undo != nil {
			return fail("step %q is local: it commits with the saga, so it has nothing to undo", st.Name)
		}
		if st.OnTimeout == Compensate && st.Local == nil && st.Undo == nil {
			return fail("step %q compensates when its answer is late, and has no Undo: what it does after all would stay done", st.Name)
		}
		if st.Pivot {
			pivots++
		}
		if pivots > 0 && st.OnTimeout == Compensate {
			return fail("step %q stands at or after the pivot and cannot compensate when it is late: use Wait", st.Name)
		}
	}
	if pivots > 1 {
		return fail("has %d pivots; one is the most", pivots)
	}
	for _, a := range s.Advances {
		if !names[a.step] {
			return fail("advances step %q, which it does not have", a.step)
		}
	}
	return nil
}

// commandOfZero asks a function of a step, if there is one, for the command that it returns for data without anything in it.
func commandOfZero[D any](next func(D) Command) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panics: %v", p)
		}
	}()
	var zero D
	if next != nil && next(zero) == nil {
		return errors.New("returns nil: leave a step out by When")
	}
	return nil
}

// Table describes the saga.
func (s *Saga[D]) Table() SagaTable { return s.describe() }

func (s *Saga[D]) describe() SagaTable {
	t := SagaTable{Name: s.Name, Version: s.Version, Starts: s.Starts.event}
	var zero D
	for i := range s.Steps {
		st := s.step(i)
		line := SagaStep{Name: st.name, Local: st.local, Pivot: st.pivot}
		if st.local {
			line.Command = s.Steps[i].Local(zero).CommandType()
		} else {
			line.Command = s.Steps[i].Do(zero).CommandType()
			line.Timeout = st.timeout.String()
			line.OnTimeout = [...]string{"wait", "compensate"}[st.onTimeout]
		}
		if st.undoable {
			line.Undo = s.Steps[i].Undo(zero).CommandType()
		}
		t.Steps = append(t.Steps, line)
	}
	for _, a := range s.Advances {
		t.Events = append(t.Events, SagaEvent{a.sub.event, "answers step " + a.step})
	}
	for _, a := range s.Aborts {
		t.Events = append(t.Events, SagaEvent{a.event, "undoes everything"})
	}
	return t
}
