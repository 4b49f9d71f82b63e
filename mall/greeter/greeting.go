package greeter

import (
	"fmt"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/event"
)

// NameHere is what stands in a line where the name belongs.
const NameHere = "{name}"

// greeting is the state of a visit: whether it was greeted.
type greeting struct{ Shown bool }

var greetings = &backbone.Aggregate[greeting]{
	Name:   "greeting",
	Public: []backbone.Event{event.WelcomeShown{}},
	Evolve: func(greeting, backbone.Event) greeting { return greeting{Shown: true} },
}

// GreetVisitor asks that a visitor be greeted. The service sends it to itself with what it knows of them.
type GreetVisitor struct {
	Store   string        `json:"store"`
	Visit   string        `json:"visit"`
	Name    mall.Personal `json:"name,omitempty"` // empty: a stranger
	Orders  int64         `json:"orders"`         // that were approved so far
	Waiting int64         `json:"waiting"`        // that can be picked up
	Arrived int64         `json:"arrived,omitempty"`
}

// CommandType returns the wire name.
func (GreetVisitor) CommandType() string { return "souk.greeter.GreetVisitor.v1" }

// Stream returns the id of the visit.
func (c GreetVisitor) Stream() string { return c.Visit }

func greet(s greeting, c GreetVisitor, _ backbone.Meta) ([]backbone.Event, error) {
	if s.Shown {
		return nil, nil
	}
	e := event.WelcomeShown{Store: c.Store, Visit: c.Visit, Name: c.Name, Lines: []string{"Welcome"}, Arrived: c.Arrived}
	if c.Name == "" {
		return []backbone.Event{e}, nil
	}
	e.Lines = []string{"Welcome, " + NameHere, standing(c.Orders)}
	switch {
	case c.Waiting == 1:
		e.Lines = append(e.Lines, "1 order waits for you")
	case c.Waiting > 1:
		e.Lines = append(e.Lines, fmt.Sprintf("%d orders wait for you", c.Waiting))
	}
	return []backbone.Event{e}, nil
}

// The number of orders from which on a customer has a standing.
const (
	silver = 5
	gold   = 20
)

func standing(orders int64) string {
	switch {
	case orders >= gold:
		return "Gold customer"
	case orders >= silver:
		return "Silver customer"
	}
	return "Bronze customer"
}
