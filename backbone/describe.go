package backbone

import (
	"cmp"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Map describes a parts list as data, for people and programs: Text, JSON, Mermaid
// and Hexagons show it. Two maps of one parts list are equal to the letter.
//
// Which timers a policy sets is decided by a function and stands in no table.
type Map struct {
	Services []MapService `json:"services"` // in the order of the parts list
}

// MapService is one service on a Map. Its lists stand in the order of its table.
type MapService struct {
	Name       string            `json:"name"`
	About      string            `json:"about,omitempty"`
	Handles    []MapCommand      `json:"handles,omitempty"`
	Aggregates []MapAggregate    `json:"aggregates,omitempty"` // by name
	Publishes  []string          `json:"publishes,omitempty"`  // events that a program appends by itself
	Reacts     []string          `json:"reacts,omitempty"`     // its own events that policies see
	Subscribes []MapSubscription `json:"subscribes,omitempty"`
	Sagas      []SagaTable       `json:"sagas,omitempty"`
	Sends      []MapSend         `json:"sends,omitempty"` // to other services
	// SendsAny says that its table does not list what policies and handlers send; then Sends has only what its sagas send.
	SendsAny bool      `json:"sendsAny,omitempty"`
	Calls    []MapCall `json:"calls,omitempty"`
	Views    []MapView `json:"views,omitempty"`
}

// MapCommand is a command that a service handles.
type MapCommand struct {
	Command    string   `json:"command"`
	Aggregates []string `json:"aggregates"`
}

// MapAggregate is a kind of stream with the events that it owns.
type MapAggregate struct {
	Name    string   `json:"name"`
	Public  []string `json:"public,omitempty"`
	Private []string `json:"private,omitempty"`
}

// MapSubscription is an event of a service that another one takes.
type MapSubscription struct {
	Event string `json:"event"`
	Owner string `json:"owner"` // "" where no part owns it
	// Saga names the saga that it advances; "" where a handler or policy takes it.
	Saga string `json:"saga,omitempty"`
	From string `json:"from"` // now or first
	// After names the view that has to have taken in what was committed before the event; "" for none.
	After string `json:"after,omitempty"`
}

// MapSend is a command that a service sends to another one.
type MapSend struct {
	Command string `json:"command"`
	To      string `json:"to"` // "" where no part handles it
	// Saga names the saga that sends it; "" where a handler or policy does.
	Saga   string `json:"saga,omitempty"`
	Undoes bool   `json:"undoes,omitempty"` // it takes another command back
}

// MapCall is a kind of call to the outside.
type MapCall struct {
	Name    string `json:"name"`
	Timeout string `json:"timeout"`
	// Asks says that the outside is asked what became of a key before a call is
	// made again. It is known where the service has its caller.
	Asks bool `json:"asks,omitempty"`
}

// MapView is a view with what it is made from.
type MapView struct {
	Name   string            `json:"name"`
	Tables []string          `json:"tables"`
	Inline bool              `json:"inline,omitempty"`
	Keyed  bool              `json:"keyed,omitempty"` // its rows have a key of their own
	Events []MapSubscription `json:"events"`
}

// Describe reads a parts list. It expects one that Check finds nothing wrong with,
// and leaves a gap where something is.
func Describe(parts []*Service) Map {
	r := newRegister(parts)
	m := Map{Services: []MapService{}}
	for _, s := range parts {
		m.Services = append(m.Services, r.service(s))
	}
	return m
}

// register says who owns an event and who handles a command.
type register struct {
	owners, handlers map[string]string
}

func newRegister(parts []*Service) *register {
	r := &register{owners: map[string]string{}, handlers: map[string]string{}}
	for _, s := range parts {
		for _, h := range s.Handles {
			r.handlers[h.command] = s.Name
		}
		for _, f := range s.folders() {
			public, private := f.eventTypes()
			for _, t := range slices.Concat(public, private) {
				r.owners[t] = s.Name
			}
		}
		for _, e := range s.Publishes {
			r.owners[e.EventType()] = s.Name
		}
	}
	return r
}

// folders returns the service's aggregates by name.
func (s *Service) folders() []folder {
	var list []folder
	for _, h := range s.Handles {
		for _, f := range h.folders {
			if !slices.Contains(list, f) {
				list = append(list, f)
			}
		}
	}
	slices.SortStableFunc(list, func(a, b folder) int { return cmp.Compare(a.aggregateName(), b.aggregateName()) })
	return list
}

func (r *register) service(s *Service) MapService {
	d := MapService{Name: s.Name, About: s.About}
	for _, h := range s.Handles {
		c := MapCommand{Command: h.command, Aggregates: []string{}}
		for _, f := range h.folders {
			c.Aggregates = append(c.Aggregates, f.aggregateName())
		}
		d.Handles = append(d.Handles, c)
	}
	for _, f := range s.folders() {
		public, private := f.eventTypes()
		d.Aggregates = append(d.Aggregates, MapAggregate{f.aggregateName(), public, private})
	}
	for _, e := range s.Publishes {
		d.Publishes = append(d.Publishes, e.EventType())
	}
	for _, sub := range s.Reacts {
		if !slices.Contains(d.Reacts, sub.event) {
			d.Reacts = append(d.Reacts, sub.event)
		}
	}
	for _, sub := range s.Subscribes {
		d.Subscribes = append(d.Subscribes, r.subscription(&sub, "", sub.from))
	}
	for _, def := range s.Sagas {
		table := def.describe()
		d.Sagas = append(d.Sagas, table)
		for _, a := range def.advances() {
			d.Subscribes = append(d.Subscribes, r.subscription(&a.sub, table.Name, a.sub.from))
		}
		for _, step := range table.Steps {
			if step.Local {
				continue
			}
			d.send(MapSend{Command: step.Command, To: r.handlers[step.Command], Saga: table.Name})
			if step.Undo != "" {
				d.send(MapSend{Command: step.Undo, To: r.handlers[step.Undo], Saga: table.Name, Undoes: true})
			}
		}
	}
	d.SendsAny = s.Sends == nil
	for _, c := range s.Sends {
		d.send(MapSend{Command: c.CommandType(), To: r.handlers[c.CommandType()]})
	}
	for _, c := range s.Calls {
		timeout := c.Timeout
		if timeout <= 0 {
			timeout = 10 * time.Second
		}
		d.Calls = append(d.Calls, MapCall{c.name, timeout.String(), c.asker != nil})
	}
	for _, v := range s.Views {
		view := MapView{Name: v.Name, Tables: v.tables(), Inline: v.Inline, Events: []MapSubscription{}}
		for _, p := range v.Projections {
			view.Keyed = view.Keyed || p.sub.keyed != nil
			view.Events = append(view.Events, r.subscription(&p.sub, "", v.From))
		}
		d.Views = append(d.Views, view)
	}
	return d
}

// send adds a command once: a saga may send it in several steps, and several
// versions of a saga stand in one table.
func (s *MapService) send(c MapSend) {
	if !slices.Contains(s.Sends, c) {
		s.Sends = append(s.Sends, c)
	}
}

func (r *register) subscription(sub *Subscriber, saga string, from From) MapSubscription {
	return MapSubscription{sub.event, r.owners[sub.event], saga, [...]string{FromNow: "now", FromFirst: "first"}[from], sub.after}
}

// Listens reports whether a service reads another one's log, or its own, for what is addressed to it: commands, its fired timers,
// and the answers to what it sends.
func (m Map) Listens(service, source string) bool {
	return service == source || m.addresses(source, service) || m.addresses(service, source)
}

// addresses reports whether a service may send commands to another one.
func (m Map) addresses(from, to string) bool {
	s := m.service(from)
	return s != nil && (s.SendsAny || slices.ContainsFunc(s.Sends, func(c MapSend) bool { return c.To == to }))
}

// service returns the service of a name, nil for none.
func (m Map) service(name string) *MapService {
	for i := range m.Services {
		if m.Services[i].Name == name {
			return &m.Services[i]
		}
	}
	return nil
}

// JSON returns the map as indented JSON.
func (m Map) JSON() ([]byte, error) { return json.MarshalIndent(m, "", "  ") }

// takes lists what a service takes of others, for its handlers, sagas and views:
// each event once for each owner, in order of the owners.
func (s *MapService) takes() map[string][]string {
	by := map[string][]string{}
	add := func(sub MapSubscription) {
		if sub.Owner != s.Name && !slices.Contains(by[sub.Owner], sub.Event) {
			by[sub.Owner] = append(by[sub.Owner], sub.Event)
		}
	}
	for _, sub := range s.Subscribes {
		add(sub)
	}
	for _, v := range s.Views {
		for _, sub := range v.Events {
			add(sub)
		}
	}
	return by
}

// public lists the events that a service publishes, by aggregate, and last those
// that a program appends.
func (s *MapService) public() []string {
	var list []string
	for _, a := range s.Aggregates {
		list = append(list, a.Public...)
	}
	return append(list, s.Publishes...)
}

// shortName is a wire name as people say it: its last part, with the version where
// that is not the first.
func shortName(wire string) string {
	base, version, err := splitVersion(wire)
	if err != nil {
		return wire
	}
	name := base[strings.LastIndexByte(base, '.')+1:]
	if version > 1 {
		name += " v" + strconv.Itoa(version)
	}
	return name
}

// sortedKeys returns the keys of a map in order.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// contract is a message type with the Go type that carries it.
type contract struct {
	wire string
	typ  reflect.Type
}

// typed is what a folder knows of the Go types of its events.
type typed interface{ published() []contract }

func (a *Aggregate[S]) published() []contract {
	list := make([]contract, len(a.Public))
	for i, e := range a.Public {
		list[i] = contract{e.EventType(), reflect.TypeOf(e)}
	}
	return list
}
