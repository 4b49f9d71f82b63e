package backbonetest_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/backbonetest"
)

// A bakery takes an order for a cake: it has an oven held and a purse charged,
// confirms, and has the cake laid in a box. Ovens, purses and boxes stand on a shelf
// of their own and take what they are given unless they do not want to.
type (
	order struct {
		Cake        string
		Oven, Purse bool // refuse
		Box         int  // so often it refuses at first
	}
	confirm   struct{ Cake string }
	turnAway  struct{ Cake string }
	ordered   struct{ order }
	confirmed struct{ Cake string }
	turned    struct{ Cake string }

	give struct {
		Place    string
		Refusals int // the first so many are refused
	}
	giveBack struct{ Place string }
	taken    struct{ Place string }
	sulked   struct{ Place string }
	back     struct{ Place string }
)

func (order) CommandType() string    { return "test.bakery.Order.v1" }
func (confirm) CommandType() string  { return "test.bakery.Confirm.v1" }
func (turnAway) CommandType() string { return "test.bakery.TurnAway.v1" }
func (c order) Stream() string       { return c.Cake }
func (c confirm) Stream() string     { return c.Cake }
func (c turnAway) Stream() string    { return c.Cake }
func (ordered) EventType() string    { return "test.bakery.Ordered.v1" }
func (confirmed) EventType() string  { return "test.bakery.Confirmed.v1" }
func (turned) EventType() string     { return "test.bakery.Turned.v1" }
func (give) CommandType() string     { return "test.shelf.Give.v1" }
func (giveBack) CommandType() string { return "test.shelf.GiveBack.v1" }
func (c give) Stream() string        { return c.Place }
func (c giveBack) Stream() string    { return c.Place }
func (taken) EventType() string      { return "test.shelf.Given.v1" }
func (sulked) EventType() string     { return "test.shelf.Sulked.v1" }
func (back) EventType() string       { return "test.shelf.GivenBack.v1" }

var cake = &backbone.Aggregate[string]{
	Name: "cake", Public: []backbone.Event{ordered{}, confirmed{}, turned{}},
	Evolve: func(_ string, e backbone.Event) string { return e.EventType() },
}

const always = 1000

func refusals(refuses bool) int {
	if refuses {
		return always
	}
	return 0
}

var baking = &backbone.Saga[order]{
	Name: "baking", Version: 1,
	Starts: backbone.StartsOn(func(e ordered, _ backbone.Meta) (string, order) { return e.Cake, e.order }),
	Steps: []backbone.Step[order]{{
		Name: "oven", OnTimeout: backbone.Compensate, Timeout: time.Second,
		Do:   func(o order) backbone.Command { return give{"oven-" + o.Cake, refusals(o.Oven)} },
		Undo: func(o order) backbone.Command { return giveBack{"oven-" + o.Cake} },
	}, {
		Name: "purse", OnTimeout: backbone.Compensate, Timeout: time.Second,
		Do:   func(o order) backbone.Command { return give{"purse-" + o.Cake, refusals(o.Purse)} },
		Undo: func(o order) backbone.Command { return giveBack{"purse-" + o.Cake} },
	}, {
		Name: "confirm", Pivot: true,
		Local: func(o order) backbone.Command { return confirm{o.Cake} },
	}, {
		Name: "box", Timeout: time.Second,
		Do: func(o order) backbone.Command { return give{"box-" + o.Cake, o.Box} },
	}},
	Rejected: func(o order, _ string, _ backbone.Refusal) backbone.Command { return turnAway{o.Cake} },
}

func bakery() *backbone.Service {
	return &backbone.Service{
		Name: "bakery",
		Handles: []backbone.Handler{
			backbone.Decide(cake, func(_ string, c order, _ backbone.Meta) ([]backbone.Event, error) {
				return []backbone.Event{ordered{c}}, nil
			}),
			backbone.Decide(cake, func(_ string, c confirm, _ backbone.Meta) ([]backbone.Event, error) {
				return []backbone.Event{confirmed(c)}, nil
			}),
			backbone.Decide(cake, func(_ string, c turnAway, _ backbone.Meta) ([]backbone.Event, error) {
				return []backbone.Event{turned(c)}, nil
			}),
		},
		Sagas: []backbone.SagaDefinition{baking},
	}
}

// place is a place on the shelf.
type place struct {
	Full, Over bool
	Sulks      int
}

// shelf takes and gives back. With a tombstone it refuses what comes after it was
// given back, as the receiver of an undo must.
func shelf(tombstone bool) (*backbone.Aggregate[place], *backbone.Service) {
	a := &backbone.Aggregate[place]{
		Name: "place", Private: []backbone.Event{taken{}, sulked{}, back{}},
		Evolve: func(s place, e backbone.Event) place {
			switch e.(type) {
			case taken:
				s.Full = true
			case sulked:
				s.Sulks++
			case back:
				s.Full, s.Over = false, tombstone
			}
			return s
		},
	}
	return a, &backbone.Service{Name: "shelf", Handles: []backbone.Handler{
		backbone.Decide(a, func(s place, c give, _ backbone.Meta) ([]backbone.Event, error) {
			if s.Over || s.Sulks < c.Refusals {
				return []backbone.Event{sulked{c.Place}}, backbone.Refuse("no", "%s is not to be had", c.Place)
			}
			return []backbone.Event{taken{c.Place}}, nil
		}),
		backbone.Decide(a, func(_ place, c giveBack, _ backbone.Meta) ([]backbone.Event, error) {
			return []backbone.Event{back(c)}, nil
		}),
	}}
}

// bake has one cake baked in an order that the seed chooses, and returns how that
// ended and what is wrong with it.
func bake(t *testing.T, w *backbonetest.World, places *backbone.Aggregate[place], seed uint64) (end, wrong string) {
	t.Helper()
	chance := rand.New(rand.NewPCG(seed, 1))
	o := order{Cake: fmt.Sprint("c", seed), Oven: chance.IntN(5) == 0, Purse: chance.IntN(5) == 0, Box: chance.IntN(3) * chance.IntN(6)}
	w.Do(t, o)
	w.Interleave(t, chance.IntN)
	full := func(kind string) bool {
		s, _, err := backbone.Load(t.Context(), w.Reader("shelf"), places, kind+"-"+o.Cake)
		if err != nil {
			t.Fatal(err)
		}
		return s.Full
	}
	log, err := w.Reader("bakery").Log(t.Context(), backbone.ReadQuery{Kinds: backbone.EventKinds(), Stream: "cake/" + o.Cake})
	if err != nil {
		t.Fatal(err)
	}
	said := ""
	for _, m := range log {
		said += " " + m.Type
	}
	end = w.Saga(t, "bakery", "baking", o.Cake)
	left := fmt.Sprint(full("oven"), full("purse"), full("box"))
	const asked = " test.bakery.Ordered.v1"
	want := map[string]string{
		backbone.SagaCompleted:   "true true true" + asked + " test.bakery.Confirmed.v1",
		backbone.SagaStuck:       "true true false" + asked + " test.bakery.Confirmed.v1",
		backbone.SagaCompensated: "false false false" + asked + " test.bakery.Turned.v1",
	}[end]
	if got := left + said; got != want {
		wrong = fmt.Sprintf("seed %d: %+v ended %s and left %s, want %s", seed, o, end, got, want)
	}
	return end, wrong
}

// Whatever comes late, twice or out of order: everything that was begun is finished,
// or is undone and nothing is left of it.
func TestInterleave(t *testing.T) {
	t.Parallel()
	places, others := shelf(true)
	w := backbonetest.Start(t, backbonetest.Config{Parts: []*backbone.Service{bakery(), others}, Hold: true})
	ends := map[string]int{}
	for seed := range uint64(60) {
		end, wrong := bake(t, w, places, seed)
		if wrong != "" {
			t.Error(wrong)
		}
		ends[end]++
	}
	if ends[backbone.SagaCompleted] < 10 || ends[backbone.SagaCompensated] < 10 {
		t.Errorf("seen %v: too little happens for a test", ends)
	}
	t.Log(ends)
}

// The control: where a receiver forgets that something was undone, a late original
// leaves something behind, and some order shows it.
func TestInterleaveFindsAMissingTombstone(t *testing.T) {
	t.Parallel()
	places, others := shelf(false)
	w := backbonetest.Start(t, backbonetest.Config{Parts: []*backbone.Service{bakery(), others}, Hold: true})
	for seed := range uint64(200) {
		if _, wrong := bake(t, w, places, seed); wrong != "" {
			t.Log(wrong)
			return
		}
	}
	t.Error("no order shows that a tombstone is missing")
}

// One source of choices gives one history.
func TestInterleaveRepeats(t *testing.T) {
	t.Parallel()
	var first string
	for range 3 {
		places, others := shelf(true)
		w := backbonetest.Start(t, backbonetest.Config{Parts: []*backbone.Service{bakery(), others}, Hold: true})
		for seed := range uint64(5) {
			bake(t, w, places, seed)
		}
		var b strings.Builder
		for _, service := range []string{"bakery", "shelf"} {
			log, err := w.Reader(service).Log(t.Context(), backbone.ReadQuery{Limit: 10_000})
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range log {
				if m.Type != "backbone.Sealed.v1" {
					fmt.Fprintf(&b, "%s %s %s %s\n", m.Time.Format(time.TimeOnly), m.Type, m.Stream, m.Data)
				}
			}
		}
		history := withoutIDs(b.String())
		if first == "" {
			first = history
		}
		if history != first {
			t.Fatalf("the same choices led to\n%s\nand to\n%s", first, history)
		}
	}
}

// withoutIDs drops the ids that answers carry.
func withoutIDs(text string) string {
	var kept []string
	for line := range strings.SplitSeq(text, "\n") {
		if i := strings.Index(line, `"id"`); i > 0 {
			line = line[:i]
		}
		kept = append(kept, line)
	}
	return strings.Join(kept, "\n")
}
