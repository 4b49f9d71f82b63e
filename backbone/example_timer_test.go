package backbone_test

import (
	"fmt"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/backbonetest"
)

// A bell rings when a book has been away for four weeks.
type (
	Ring struct{ Book string }
	Rang struct{ Book string }
)

func (Ring) CommandType() string { return "library.loans.Ring.v1" }
func (c Ring) Stream() string    { return c.Book }
func (Rang) EventType() string   { return "library.loans.Rang.v1" }

var bell = &backbone.Aggregate[int]{
	Name: "bell", Public: []backbone.Event{Rang{}},
	Evolve: func(n int, _ backbone.Event) int { return n + 1 },
}

// A timer is a command that the service sends to itself at an instant. It is set and
// cancelled in the transaction of the event that asks for it, and survives a restart.
func ExampleSetTimer() {
	loans := Loans()
	loans.Handles = append(loans.Handles, backbone.Decide(bell, func(_ int, c Ring, _ backbone.Meta) ([]backbone.Event, error) {
		return []backbone.Event{Rang(c)}, nil
	}))
	loans.Reacts = []backbone.Subscriber{
		backbone.Whenever(func(e Lent, m backbone.Meta) []backbone.Effect {
			return []backbone.Effect{backbone.SetTimer("overdue-"+e.Book, m.Time.Add(28*24*time.Hour), Ring{e.Book})}
		}),
		backbone.Whenever(func(e Returned, _ backbone.Meta) []backbone.Effect {
			return []backbone.Effect{backbone.CancelTimer("overdue-" + e.Book)}
		}),
	}

	t, end := backbonetest.Outside()
	defer end()
	w := backbonetest.Start(t, backbonetest.Config{Parts: []*backbone.Service{loans}})
	w.Do(t, Lend{Book: "Emma", Reader: "Ann"})
	w.Do(t, Lend{Book: "Dracula", Reader: "Ben"})
	w.Pass(t, 27*24*time.Hour)
	w.Do(t, Return{Book: "Emma"})
	w.Restart(t)
	w.Pass(t, 24*time.Hour)
	fmt.Println(w.Events(t, "loans")[3:])
	// Output: [{Dracula}]
}
