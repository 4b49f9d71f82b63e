package backbonetest

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"example.org/souk/backbone"
)

// Named is a type that stands for a service and has its name.
type Named interface{ Name() string }

// StandIn is a service in the place of the one that N names: it decides nothing, and publishes what Say has it publish. Of the
// events it keeps those of that service, whose wire names read "any.NAME.Event.v1".
func StandIn[N Named, E backbone.Event](events ...E) *backbone.Service {
	var n N
	aggregate := &backbone.Aggregate[int]{Name: "thing", Evolve: func(n int, _ backbone.Event) int { return n + 1 }}
	known := map[string]reflect.Type{}
	for _, e := range events {
		if part := strings.Split(e.EventType(), "."); len(part) > 1 && part[1] == n.Name() {
			aggregate.Public = append(aggregate.Public, e)
			known[e.EventType()] = reflect.TypeOf(e)
		}
	}
	return &backbone.Service{Name: n.Name(), Handles: []backbone.Handler{
		backbone.Decide(aggregate, func(_ int, c say[N], _ backbone.Meta) ([]backbone.Event, error) {
			of, ok := known[c.Wire]
			if !ok {
				return nil, fmt.Errorf("the stand-in of %s does not know %s", n.Name(), c.Wire)
			}
			e := reflect.New(of)
			err := json.Unmarshal(c.Event, e.Interface())
			return []backbone.Event{e.Elem().Interface().(backbone.Event)}, err
		}),
	}}
}

// Say has the stand-in of a service publish an event in a stream, now by the world's clock.
func Say[N Named](t testing.TB, w *World, stream string, e backbone.Event) {
	t.Helper()
	data, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	w.Do(t, say[N]{stream, e.EventType(), data})
}

// say has a stand-in publish one event.
type say[N Named] struct {
	ID    string
	Wire  string
	Event json.RawMessage
}

// CommandType implements backbone.Command: each stand-in has a command of its own.
func (say[N]) CommandType() string { var n N; return "test." + n.Name() + ".Say.v1" }

// Stream implements backbone.Command.
func (c say[N]) Stream() string { return c.ID }
