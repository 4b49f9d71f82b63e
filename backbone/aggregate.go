package backbone

import (
	"encoding/json"
	"fmt"
	"reflect"
	"sync"
)

// Aggregate is a kind of stream: how its state is folded from its events. Evolve
// is pure and does not change its argument; the state that it returns may share
// memory with the old one only where neither is changed. Declared once as a
// package variable; safe for concurrent use.
//
// Public events are contracts that other services may subscribe to; private
// events are stored but stay inside.
type Aggregate[S any] struct {
	// Name is the first part of the stream's name, "order" in "order/o1".
	Name string
	// Public and Private hold one zero value a type.
	Public, Private []Event
	// New returns the state before the first event; nil means the zero value.
	New func() S
	// Evolve returns the state after e.
	Evolve func(s S, e Event) S
	// SnapshotEvery keeps a snapshot each time the version passes a multiple of
	// it; 0 keeps none. The state must then survive encoding/json.
	SnapshotEvery int64
	// SnapshotSchema names the layout of the state; a snapshot of another layout
	// is passed over. Change it whenever S or Evolve changes.
	SnapshotSchema string

	once     sync.Once
	decoders map[string]*eventDecoder // by wire name
	bases    map[string]*eventDecoder
	private  map[string]bool
	err      error
}

// folder is an Aggregate without its type parameter.
type folder interface {
	aggregateName() string
	check() error
	fresh() any
	fold(state any, wire string, data []byte) (any, error)
	decodeEvent(wire string, data []byte) (Event, error)
	apply(state any, e Event) any
	isPrivate(wire string) (private, known bool)
	admits(e Event) error
	snapshots() (every int64, schema string)
	encode(state any) ([]byte, error)
	restore(data []byte) (any, error)
	eventTypes() (public, private []string)
}

// Ref names a stream of an aggregate.
type Ref struct {
	of folder
	id string
}

// Stream returns the stream's name.
func (r Ref) Stream() string { return r.of.aggregateName() + "/" + r.id }

// States folds events as they would come from a log, encoded and read back, and
// returns the state before the first and after each of them. It is meant for tests.
func (r Ref) States(events ...Event) ([]any, error) {
	if err := r.of.check(); err != nil {
		return nil, err
	}
	s := r.of.fresh()
	states := append(make([]any, 0, len(events)+1), s)
	for _, e := range events {
		if err := r.of.admits(e); err != nil {
			return nil, err
		}
		wire := e.EventType()
		data, err := json.Marshal(e)
		if err != nil {
			return nil, fmt.Errorf("encode %s: %w", wire, err)
		}
		if s, err = r.of.fold(s, wire, data); err != nil {
			return nil, err
		}
		states = append(states, s)
	}
	return states, nil
}

// Ref names the stream of the aggregate with this id.
func (a *Aggregate[S]) Ref(id string) Ref { return Ref{a, id} }

// State reads the state of one stream out of what was loaded. It panics when the
// stream was not asked for: that is a mistake in the handler's list of streams.
func (a *Aggregate[S]) State(l Loaded, id string) S {
	name := a.Name + "/" + id
	s, ok := l.states[name]
	if !ok {
		panic("stream " + name + " was not among the streams that the handler asked for")
	}
	return s.(S)
}

// Append is what a decision adds to one stream.
type Append struct {
	To     Ref
	Events []Event
}

// Append returns events for the stream with this id.
func (a *Aggregate[S]) Append(id string, events ...Event) Append {
	return Append{To: a.Ref(id), Events: events}
}

// Loaded holds the states of the streams that a decision asked for.
type Loaded struct{ states map[string]any }

func (a *Aggregate[S]) aggregateName() string { return a.Name }

func (a *Aggregate[S]) check() error {
	a.once.Do(func() {
		a.decoders, a.bases, a.private = map[string]*eventDecoder{}, map[string]*eventDecoder{}, map[string]bool{}
		if !validName(a.Name) {
			a.err = fmt.Errorf("aggregate name %q: use lower-case letters and digits, for example \"order\"", a.Name)
			return
		}
		if a.Evolve == nil {
			a.err = fmt.Errorf("aggregate %s has no Evolve function", a.Name)
			return
		}
		if a.SnapshotEvery > 0 && a.SnapshotSchema == "" {
			a.err = fmt.Errorf("aggregate %s keeps snapshots: name their layout in SnapshotSchema", a.Name)
			return
		}
		for i, list := range [][]Event{a.Public, a.Private} {
			for _, e := range list {
				d, err := newEventDecoder(e)
				if err != nil {
					a.err = fmt.Errorf("aggregate %s: %w", a.Name, err)
					return
				}
				if a.decoders[d.wire] != nil {
					a.err = fmt.Errorf("aggregate %s lists %s twice", a.Name, d.wire)
					return
				}
				a.decoders[d.wire], a.bases[d.base], a.private[d.wire] = d, d, i == 1
			}
		}
	})
	return a.err
}

func (a *Aggregate[S]) fresh() any {
	if a.New != nil {
		return a.New()
	}
	var s S
	return s
}

func (a *Aggregate[S]) fold(state any, wire string, data []byte) (any, error) {
	e, err := a.decodeEvent(wire, data)
	if err != nil {
		return nil, err
	}
	return a.Evolve(state.(S), e), nil
}

func (a *Aggregate[S]) decodeEvent(wire string, data []byte) (Event, error) {
	if err := a.check(); err != nil {
		return nil, err
	}
	d := a.decoders[wire]
	if d == nil {
		base, _, err := splitVersion(wire)
		if err != nil {
			return nil, err
		}
		if d = a.bases[base]; d == nil {
			return nil, fmt.Errorf("aggregate %s does not list %s", a.Name, wire)
		}
	}
	return d.decode(wire, data)
}

func (a *Aggregate[S]) apply(state any, e Event) any { return a.Evolve(state.(S), e) }

func (a *Aggregate[S]) isPrivate(wire string) (private, known bool) {
	if a.check() != nil {
		return false, false
	}
	private, known = a.private[wire]
	return private, known
}

// admits finds what is wrong with an event that is to be appended. One of another Go type
// than the listed one would be folded as it is now, and as the listed one when it is read
// from the log: the state in memory would not be that of the log.
func (a *Aggregate[S]) admits(e Event) error {
	if err := a.check(); err != nil {
		return err
	}
	if e == nil {
		return fmt.Errorf("aggregate %s: an event is nil", a.Name)
	}
	wire := e.EventType()
	d := a.decoders[wire]
	if d == nil {
		return fmt.Errorf("aggregate %s does not list %s: add it to Public or Private", a.Name, wire)
	}
	if t := reflect.TypeOf(e); t != d.typ {
		return fmt.Errorf("aggregate %s lists %s as %s, and this one is %s: return it as it is listed", a.Name, wire, d.typ, t)
	}
	return nil
}

func (a *Aggregate[S]) snapshots() (int64, string) { return a.SnapshotEvery, a.SnapshotSchema }

func (a *Aggregate[S]) encode(state any) ([]byte, error) { return json.Marshal(state) }

func (a *Aggregate[S]) restore(data []byte) (any, error) {
	var s S
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("snapshot of %s: %w", a.Name, err)
	}
	return s, nil
}

func (a *Aggregate[S]) eventTypes() (public, private []string) {
	for _, e := range a.Public {
		public = append(public, e.EventType())
	}
	for _, e := range a.Private {
		private = append(private, e.EventType())
	}
	return public, private
}

// Fold returns the state after events, from the beginning. It is how tests and
// readers of histories use an aggregate without a database.
func (a *Aggregate[S]) Fold(events ...Event) S {
	s := a.fresh().(S)
	for _, e := range events {
		s = a.Evolve(s, e)
	}
	return s
}
