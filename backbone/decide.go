package backbone

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
)

// Handler decides one type of command. It is made by Decide or DecideMany.
type Handler struct {
	command string
	typ     reflect.Type
	streams func(Command) []Ref
	decide  func(Loaded, Command, Meta) ([]Append, error)
	folders []folder // known before a command is seen, for checks and the map
	lacks   bool     // a function that it is made from is nil
}

// Decide handles commands of type C on one stream of an aggregate: the one whose
// id is the command's Stream(). fn is pure: it sees the state, the command and
// what Meta says, and returns the events that follow.
//
// A refusal (see Refuse) is recorded as the command's answer, together with the
// events that are returned with it. Any other error drops the events: it is
// counted as a failure of the unit.
func Decide[S any, C Command](a *Aggregate[S], fn func(S, C, Meta) ([]Event, error)) Handler {
	h := DecideMany(
		func(c C) []Ref { return []Ref{a.Ref(c.Stream())} },
		func(l Loaded, c C, m Meta) ([]Append, error) {
			id := c.Stream()
			events, err := fn(a.State(l, id), c, m)
			if len(events) == 0 {
				return nil, err
			}
			return []Append{a.Append(id, events...)}, err
		})
	h.folders, h.lacks = []folder{a}, fn == nil
	return h
}

// DecideMany handles commands of type C on several streams in one transaction:
// streams names them, decide sees all their states and may append to any of them.
func DecideMany[C Command](streams func(C) []Ref, decide func(Loaded, C, Meta) ([]Append, error)) Handler {
	var zero C
	return Handler{
		command: zero.CommandType(),
		typ:     reflect.TypeFor[C](),
		streams: func(c Command) []Ref { return streams(commandAs[C](c)) },
		decide:  func(l Loaded, c Command, m Meta) ([]Append, error) { return decide(l, commandAs[C](c), m) },
		lacks:   streams == nil || decide == nil,
	}
}

// commandAs reads a command as the type that its handler takes. A pointer to one has its methods, so it may come as one.
func commandAs[C Command](c Command) C {
	if p, ok := c.(any).(*C); ok && p != nil {
		return *p
	}
	return c.(C)
}

// admits finds what is wrong with a command that is given to the handler of its wire name.
func (h *Handler) admits(c Command) error {
	if t := reflect.TypeOf(c); t != h.typ && t != reflect.PointerTo(h.typ) {
		return fmt.Errorf("%s is handled as %s, and this one is %s", h.command, h.typ, t)
	}
	return nil
}

// On names the aggregates that a DecideMany handler works on, so that they are
// checked when the program is built and drawn on the map.
func (h Handler) On(aggregates ...interface{ aggregateName() string }) Handler {
	for _, a := range aggregates {
		h.folders = append(h.folders, a.(folder))
	}
	return h
}

func (h *Handler) decode(data []byte) (Command, error) {
	v := reflect.New(h.typ)
	if err := json.Unmarshal(data, v.Interface()); err != nil {
		return nil, fmt.Errorf("decode %s: %w", h.command, err)
	}
	return v.Elem().Interface().(Command), nil
}

// Decision runs a handler outside any database, for tests and simulations: the
// states are folded from the given histories, by stream name.
func (h Handler) Decision(histories map[string][]Event, c Command, m Meta) ([]Append, error) {
	l := Loaded{states: map[string]any{}}
	for _, ref := range h.streams(c) {
		s := ref.of.fresh()
		for _, e := range histories[ref.Stream()] {
			s = ref.of.apply(s, e)
		}
		l.states[ref.Stream()] = s
	}
	return h.decide(l, c, m)
}

// Streams names the streams that a command is decided on.
func (h Handler) Streams(c Command) []Ref { return h.streams(c) }

// CommandType returns the wire name of the command that is handled.
func (h Handler) CommandType() string { return h.command }

// Outcome says how a command ended.
type Outcome int16

// The outcomes of a command.
const (
	Done    Outcome = 1
	Refused Outcome = 2
)

// Refusal is the answer of a service that will not do what a command says. It is
// data: Code is stable and meant for programs, Detail for people; With adds what
// is needed to act on it.
type Refusal struct {
	Code   string          `json:"code"`
	Detail string          `json:"detail,omitempty"`
	Data   json.RawMessage `json:"data,omitempty"`
}

// Refuse returns a refusal for a decision to return as its error.
func Refuse(code, format string, args ...any) *Refusal {
	return &Refusal{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// With returns a copy that carries v as JSON.
func (r *Refusal) With(v any) *Refusal {
	data, err := json.Marshal(v)
	if err != nil {
		panic("refusal data: " + err.Error()) // a type that cannot be encoded is a mistake in the program
	}
	c := *r
	c.Data = data
	return &c
}

// Error implements error.
func (r *Refusal) Error() string {
	if r.Detail == "" {
		return r.Code
	}
	return r.Code + ": " + r.Detail
}

// Is makes errors.Is match refusals of the same code.
func (r *Refusal) Is(target error) bool {
	t, ok := errors.AsType[*Refusal](target)
	return ok && t.Code == r.Code
}

// AppendedRef names an event that a command led to.
type AppendedRef struct {
	Type   string `json:"type"`
	ID     string `json:"id"`
	Stream string `json:"stream"`
}

// Answer is the recorded outcome of a command. Every later copy of the command
// gets the same one.
type Answer struct {
	Command string        `json:"-"` // the command's id
	Outcome Outcome       `json:"outcome"`
	Refs    []AppendedRef `json:"refs,omitempty"`
	Refusal *Refusal      `json:"refusal,omitempty"`
	// Repeated says that the command had been answered before.
	Repeated bool `json:"-"`
}

// Ref returns the id of the first appended event of a type, or "".
func (a *Answer) Ref(wire string) string {
	for _, r := range a.Refs {
		if r.Type == wire {
			return r.ID
		}
	}
	return ""
}

// Err returns the refusal as an error, or nil.
func (a *Answer) Err() error {
	if a.Outcome == Refused {
		return a.Refusal
	}
	return nil
}
