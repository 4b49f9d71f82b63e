package backbone_test

import (
	"slices"
	"strings"
	"testing"

	"example.org/souk/backbone"
	"example.org/souk/backbone/backbonetest"
)

type ordered struct {
	Meal string `json:"meal"`
}

func (ordered) EventType() string { return "test.waiter.Ordered.v1" }

type order struct {
	Meal string `json:"meal"`
}

func (order) CommandType() string { return "test.waiter.Order.v1" }
func (c order) Stream() string    { return "table/" + c.Meal }

type cooked struct {
	Meal string `json:"meal"`
}

func (cooked) EventType() string { return "test.cook.Cooked.v1" }

type cook struct {
	Meal string `json:"meal"`
}

func (cook) CommandType() string { return "test.cook.Cook.v1" }
func (c cook) Stream() string    { return "pan/" + c.Meal }

type washed struct {
	Meal string `json:"meal"`
}

func (washed) EventType() string { return "test.washer.Washed.v1" }

type wash struct {
	Meal string `json:"meal"`
}

func (wash) CommandType() string { return "test.washer.Wash.v1" }
func (c wash) Stream() string    { return "plate/" + c.Meal }

// restaurant has a waiter whose policy sends commands to the cook, and may list them; the cook sends none.
func restaurant(sends []backbone.Command) []*backbone.Service {
	table := &backbone.Aggregate[int]{Name: "table", Public: []backbone.Event{ordered{}}, Evolve: tally}
	pan := &backbone.Aggregate[int]{Name: "pan", Public: []backbone.Event{cooked{}}, Evolve: tally}
	plate := &backbone.Aggregate[int]{Name: "plate", Public: []backbone.Event{washed{}}, Evolve: tally}
	return []*backbone.Service{{
		Name:    "waiter",
		Handles: []backbone.Handler{again(table, func(c order) backbone.Event { return ordered(c) })},
		Reacts: []backbone.Subscriber{backbone.Whenever(func(e ordered, _ backbone.Meta) []backbone.Effect {
			return []backbone.Effect{backbone.Send(cook(e))}
		})},
		Sends: sends,
	}, {
		Name:    "cook",
		Handles: []backbone.Handler{again(pan, func(c cook) backbone.Event { return cooked(c) })},
		Sends:   []backbone.Command{},
	}, {
		Name:    "washer",
		Handles: []backbone.Handler{again(plate, func(c wash) backbone.Event { return washed(c) })},
		Sends:   []backbone.Command{},
	}}
}

// A service's log is read for commands by those alone to whom it says that it sends, and it reads theirs for the answers. Red where all
// read it, and where the answers' log is left out.
func TestOnlyAddresseesListen(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sends []backbone.Command
		reads map[string]string // a service and the logs that it has checkpoints in
	}{
		"listed":     {[]backbone.Command{cook{}}, map[string]string{"waiter": "cook waiter", "cook": "cook waiter", "washer": "washer"}},
		"not listed": {nil, map[string]string{"waiter": "cook waiter washer", "cook": "cook waiter", "washer": "waiter washer"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := backbonetest.Start(t, backbonetest.Config{Parts: restaurant(c.sends)})
			w.Do(t, order{"soup"})
			w.Settle(t)
			if got := w.Events(t, "cook"); len(got) != 1 || got[0] != (cooked{"soup"}) {
				t.Errorf("the cook did %v", got)
			}
			for service, want := range c.reads {
				cps, err := w.Store().Checkpoints(t.Context(), service, service)
				if err != nil {
					t.Fatal(err)
				}
				var logs []string
				for _, cp := range cps {
					logs = append(logs, cp.Source)
				}
				if got := strings.Join(slices.Compact(logs), " "); got != want {
					t.Errorf("%s reads the logs of %q, want %q", service, got, want)
				}
			}
		})
	}
}

// What a service sends and does not list would reach nobody, so it is refused, and so is a table that lists what nobody handles.
func TestSendsWhatItLists(t *testing.T) {
	t.Parallel()
	for _, sends := range [][]backbone.Command{{}, {wash{}}} {
		w := backbonetest.Start(t, backbonetest.Config{Parts: restaurant(sends)})
		_, err := w.Runtime().Do(t.Context(), order{"soup"}, backbone.WithID("soup"))
		if err == nil || !strings.Contains(err.Error(), "service waiter sends test.cook.Cook.v1, which its table does not list: add it to Sends") {
			t.Errorf("sent what the table does not list: %v", err)
		}
		if got := w.Events(t, "waiter"); len(got) != 0 {
			t.Errorf("the refused order left %v", got)
		}
	}
	for want, sends := range map[string]backbone.Command{
		"service waiter sends test.nobody.Sweep.v1, which no service of the parts list handles": sweep{},
		"service waiter lists test.waiter.Order.v1 under Sends, which it handles itself":        order{},
	} {
		if err := backbone.Check(restaurant([]backbone.Command{sends})); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

type sweep struct{}

func (sweep) CommandType() string { return "test.nobody.Sweep.v1" }
func (sweep) Stream() string      { return "floor/1" }
