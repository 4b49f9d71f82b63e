package backbone_test

import (
	"fmt"

	"example.org/souk/backbone"
	"example.org/souk/backbone/backbonetest"
)

// What a library lends, as events and commands.
type (
	Lent     struct{ Book, Reader string }
	Returned struct{ Book string }
	Lend     struct{ Book, Reader string }
	Return   struct{ Book string }
)

func (Lent) EventType() string     { return "library.loans.Lent.v1" }
func (Returned) EventType() string { return "library.loans.Returned.v1" }
func (Lend) CommandType() string   { return "library.loans.Lend.v1" }
func (Return) CommandType() string { return "library.loans.Return.v1" }
func (c Lend) Stream() string      { return c.Book }
func (c Return) Stream() string    { return c.Book }

// Book is the state of a book; Evolve folds it from the events.
type Book struct{ Reader string }

var book = &backbone.Aggregate[Book]{
	Name:   "book",
	Public: []backbone.Event{Lent{}, Returned{}},
	Evolve: func(b Book, e backbone.Event) Book {
		switch e := e.(type) {
		case Lent:
			return Book{Reader: e.Reader}
		case Returned:
			return Book{}
		}
		return b
	},
}

// A decision sees the state and the command, and returns what follows. A refusal is an
// answer too.
func lend(b Book, c Lend, _ backbone.Meta) ([]backbone.Event, error) {
	switch b.Reader {
	case "":
		return []backbone.Event{Lent(c)}, nil
	case c.Reader:
		return nil, nil
	}
	return nil, backbone.Refuse("lent", "%s has it", b.Reader)
}

func giveBack(b Book, c Return, _ backbone.Meta) ([]backbone.Event, error) {
	if b.Reader == "" {
		return nil, nil
	}
	return []backbone.Event{Returned(c)}, nil
}

// Loans is a service: a table of what it handles.
func Loans() *backbone.Service {
	return &backbone.Service{
		Name:    "loans",
		About:   "Minds who has which book.",
		Handles: []backbone.Handler{backbone.Decide(book, lend), backbone.Decide(book, giveBack)},
	}
}

// A service is a table; decisions are pure functions; the log keeps what happened.
func Example() {
	t, end := backbonetest.Outside()
	defer end()
	w := backbonetest.Start(t, backbonetest.Config{Parts: []*backbone.Service{Loans()}})

	w.Do(t, Lend{Book: "Emma", Reader: "Ann"})
	fmt.Println("Ben:", w.Refused(t, "lent", Lend{Book: "Emma", Reader: "Ben"}).Detail)
	w.Do(t, Return{Book: "Emma"})
	w.Do(t, Lend{Book: "Emma", Reader: "Ben"})

	for _, e := range w.Events(t, "loans") {
		fmt.Printf("%T%+v\n", e, e)
	}
	// Output:
	// Ben: Ann has it
	// backbone_test.Lent{Book:Emma Reader:Ann}
	// backbone_test.Returned{Book:Emma}
	// backbone_test.Lent{Book:Emma Reader:Ben}
}

// The same command again, with the same id, gets the answer that it got before and has
// no second effect.
func ExampleWithID() {
	t, end := backbonetest.Outside()
	defer end()
	w := backbonetest.Start(t, backbonetest.Config{Parts: []*backbone.Service{Loans()}})

	for range 2 {
		a := w.Do(t, Lend{Book: "Emma", Reader: "Ann"}, backbone.WithID("request-1"))
		fmt.Println(a.Refs[0].Type, "repeated:", a.Repeated)
	}
	fmt.Println(len(w.Events(t, "loans")), "event")
	// Output:
	// library.loans.Lent.v1 repeated: false
	// library.loans.Lent.v1 repeated: true
	// 1 event
}

// A state can be read at any version that it ever had.
func ExampleLoadAt() {
	t, end := backbonetest.Outside()
	defer end()
	w := backbonetest.Start(t, backbonetest.Config{Parts: []*backbone.Service{Loans()}})
	w.Do(t, Lend{Book: "Emma", Reader: "Ann"})
	w.Do(t, Return{Book: "Emma"})

	then, _, err := backbone.LoadAt(t.Context(), w.Reader("loans"), book, "Emma", 1)
	fmt.Printf("at 1: %+v %v\n", then, err)
	now, version, err := backbone.Load(t.Context(), w.Reader("loans"), book, "Emma")
	fmt.Printf("at %d: %+v %v\n", version, now, err)
	// Output:
	// at 1: {Reader:Ann} <nil>
	// at 2: {Reader:} <nil>
}
