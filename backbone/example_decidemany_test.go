package backbone_test

import (
	"fmt"

	"example.org/souk/backbone"
	"example.org/souk/backbone/backbonetest"
)

// Copies of a title stand on the shelves of several branches.
type (
	CopiesCame struct {
		Branch string
		Copies int
	}
	CopiesLeft struct {
		Branch string
		Copies int
	}
	BuyCopies struct {
		Branch string
		Copies int
	}
	MoveCopies struct {
		From, To string
		Copies   int
	}
)

func (CopiesCame) EventType() string   { return "library.shelves.CopiesCame.v1" }
func (CopiesLeft) EventType() string   { return "library.shelves.CopiesLeft.v1" }
func (BuyCopies) CommandType() string  { return "library.shelves.BuyCopies.v1" }
func (MoveCopies) CommandType() string { return "library.shelves.MoveCopies.v1" }
func (c BuyCopies) Stream() string     { return c.Branch }
func (c MoveCopies) Stream() string    { return c.From }

// A shelf is how many copies a branch has.
var shelf = &backbone.Aggregate[int]{
	Name:   "shelf",
	Public: []backbone.Event{CopiesCame{}, CopiesLeft{}},
	Evolve: func(n int, e backbone.Event) int {
		switch e := e.(type) {
		case CopiesCame:
			return n + e.Copies
		case CopiesLeft:
			return n - e.Copies
		}
		return n
	},
}

// A decision on several streams sees all of them and appends to any, in one
// transaction: copies are never on two shelves, or on none.
func ExampleDecideMany() {
	shelves := &backbone.Service{
		Name: "shelves",
		Handles: []backbone.Handler{
			backbone.Decide(shelf, func(_ int, c BuyCopies, _ backbone.Meta) ([]backbone.Event, error) {
				return []backbone.Event{CopiesCame(c)}, nil
			}),
			backbone.DecideMany(
				func(c MoveCopies) []backbone.Ref { return []backbone.Ref{shelf.Ref(c.From), shelf.Ref(c.To)} },
				func(l backbone.Loaded, c MoveCopies, _ backbone.Meta) ([]backbone.Append, error) {
					if n := shelf.State(l, c.From); n < c.Copies {
						return nil, backbone.Refuse("too_few", "%s has %d", c.From, n)
					}
					return []backbone.Append{
						shelf.Append(c.From, CopiesLeft{c.From, c.Copies}),
						shelf.Append(c.To, CopiesCame{c.To, c.Copies}),
					}, nil
				}).On(shelf),
		},
	}
	t, end := backbonetest.Outside()
	defer end()
	w := backbonetest.Start(t, backbonetest.Config{Parts: []*backbone.Service{shelves}})

	w.Do(t, BuyCopies{"Harbour", 3})
	w.Do(t, MoveCopies{From: "Harbour", To: "Station", Copies: 2})
	fmt.Println(w.Refused(t, "too_few", MoveCopies{From: "Harbour", To: "Station", Copies: 2}).Detail)
	for _, branch := range []string{"Harbour", "Station"} {
		n, _, err := backbone.Load(t.Context(), w.Reader("shelves"), shelf, branch)
		fmt.Println(branch, n, err)
	}
	// Output:
	// Harbour has 1
	// Harbour 1 <nil>
	// Station 2 <nil>
}
