package backbone_test

import (
	"fmt"

	"example.org/souk/backbone"
	"example.org/souk/backbone/backbonetest"
)

// A wish for a book that has to be paid for: lent by one service, paid in another.
type (
	Wish     struct{ ID, Book, Reader string }
	Wished   struct{ ID, Book, Reader string }
	Grant    struct{ ID string }
	Granted  struct{ ID string }
	Decline  struct{ ID, Why string }
	Declined struct{ ID, Why string }
	PayFee   struct{ Reader string }
	FeePaid  struct{ Reader string }
)

func (Wish) CommandType() string    { return "library.wishes.Wish.v1" }
func (Grant) CommandType() string   { return "library.wishes.Grant.v1" }
func (Decline) CommandType() string { return "library.wishes.Decline.v1" }
func (PayFee) CommandType() string  { return "library.fees.PayFee.v1" }
func (c Wish) Stream() string       { return c.ID }
func (c Grant) Stream() string      { return c.ID }
func (c Decline) Stream() string    { return c.ID }
func (c PayFee) Stream() string     { return c.Reader }
func (Wished) EventType() string    { return "library.wishes.Wished.v1" }
func (Granted) EventType() string   { return "library.wishes.Granted.v1" }
func (Declined) EventType() string  { return "library.wishes.Declined.v1" }
func (FeePaid) EventType() string   { return "library.fees.FeePaid.v1" }

var wish = &backbone.Aggregate[string]{
	Name: "wish", Public: []backbone.Event{Wished{}, Granted{}, Declined{}},
	Evolve: func(_ string, e backbone.Event) string { return e.EventType() },
}

var purse = &backbone.Aggregate[int]{
	Name: "purse", Public: []backbone.Event{FeePaid{}},
	Evolve: func(n int, _ backbone.Event) int { return n + 1 },
}

// Fees lets a reader pay twice, not oftener.
func Fees() *backbone.Service {
	return &backbone.Service{Name: "fees", Handles: []backbone.Handler{
		backbone.Decide(purse, func(n int, c PayFee, _ backbone.Meta) ([]backbone.Event, error) {
			if n == 2 {
				return nil, backbone.Refuse("purse_empty", "%s has nothing left", c.Reader)
			}
			return []backbone.Event{FeePaid(c)}, nil
		}),
	}}
}

// granting lends the book, takes the fee and grants the wish. When the fee is refused
// the book comes back and the wish is declined.
var granting = &backbone.Saga[Wished]{
	Name: "granting", Version: 1,
	Starts: backbone.StartsOn(func(e Wished, _ backbone.Meta) (string, Wished) { return e.ID, e }),
	Steps: []backbone.Step[Wished]{{
		Name: "lend",
		Do:   func(w Wished) backbone.Command { return Lend{Book: w.Book, Reader: w.Reader} },
		Undo: func(w Wished) backbone.Command { return Return{Book: w.Book} },
	}, {
		Name: "pay",
		Do:   func(w Wished) backbone.Command { return PayFee{Reader: w.Reader} },
	}, {
		Name:  "grant",
		Pivot: true,
		Local: func(w Wished) backbone.Command { return Grant{w.ID} },
	}},
	Rejected: func(w Wished, step string, r backbone.Refusal) backbone.Command { return Decline{w.ID, r.Code} },
}

// Wishes runs the saga.
func Wishes() *backbone.Service {
	return &backbone.Service{
		Name: "wishes",
		Handles: []backbone.Handler{
			backbone.Decide(wish, func(_ string, c Wish, _ backbone.Meta) ([]backbone.Event, error) {
				return []backbone.Event{Wished(c)}, nil
			}),
			backbone.Decide(wish, func(_ string, c Grant, _ backbone.Meta) ([]backbone.Event, error) {
				return []backbone.Event{Granted(c)}, nil
			}),
			backbone.Decide(wish, func(_ string, c Decline, _ backbone.Meta) ([]backbone.Event, error) {
				return []backbone.Event{Declined(c)}, nil
			}),
		},
		Sagas: []backbone.SagaDefinition{granting},
	}
}

// A saga is a process over several services: its steps go forward one by one, and a
// refusal takes back, last first, what was done.
func ExampleSaga() {
	t, end := backbonetest.Outside()
	defer end()
	w := backbonetest.Start(t, backbonetest.Config{Parts: []*backbone.Service{Loans(), Fees(), Wishes()}})

	for i, title := range []string{"Emma", "Dracula", "Persuasion"} {
		id := fmt.Sprint("w", i+1)
		w.Do(t, Wish{id, title, "Ann"})
		w.Settle(t)
		fmt.Println(id, w.Saga(t, "wishes", "granting", id), w.Events(t, "wishes")[2*i+1])
	}
	persuasion, _, err := backbone.Load(t.Context(), w.Reader("loans"), book, "Persuasion")
	fmt.Printf("%+v %v\n", persuasion, err)
	// Output:
	// w1 completed {w1}
	// w2 completed {w2}
	// w3 compensated {w3 purse_empty}
	// {Reader:} <nil>
}
