package customers

import (
	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/event"
)

// Status says what a customer may do.
type Status string

// The statuses of a customer.
const (
	Unknown   Status = ""          // never registered
	Enabled   Status = "enabled"   // may buy
	Disabled  Status = "disabled"  // may not buy for now
	Forgotten Status = "forgotten" // their key is destroyed; nothing comes after
)

// Customer is the state of a customer. The personal fields are sealed tokens.
type Customer struct {
	Status Status
	Name   mall.Personal
	Email  mall.Personal
	SMS    mall.Personal
	Card   string
	Tell   mall.Tell
}

// What the service refuses; compare with errors.Is.
var (
	ErrExists    = backbone.Refuse("customer_exists", "the customer is registered already")
	ErrUnknown   = backbone.Refuse("customer_unknown", "there is no such customer")
	ErrDisabled  = backbone.Refuse("customer_disabled", "the customer may not buy")
	ErrForgotten = backbone.Refuse("customer_forgotten", "the customer asked to be forgotten")
)

var customers = &backbone.Aggregate[Customer]{
	Name: "customer",
	Public: []backbone.Event{
		event.CustomerRegistered{},
		event.ContactChanged{},
		event.CustomerEnabled{},
		event.CustomerDisabled{},
		event.CardLinked{},
		event.CustomerForgotten{},
	},
	Evolve: evolve,
}

func evolve(s Customer, e backbone.Event) Customer {
	switch e := e.(type) {
	case event.CustomerRegistered:
		return Customer{Status: Enabled, Name: e.Name, Email: e.Email, SMS: e.SMS, Card: e.Card, Tell: e.Tell}
	case event.ContactChanged:
		s.Name, s.Email, s.SMS, s.Tell = e.Name, e.Email, e.SMS, e.Tell
	case event.CustomerEnabled:
		s.Status = Enabled
	case event.CustomerDisabled:
		s.Status = Disabled
	case event.CardLinked:
		s.Card = e.Card
	case event.CustomerForgotten:
		return Customer{Status: Forgotten}
	}
	return s
}

// known returns the refusal of everything that needs a customer who is there.
func (s Customer) known() error {
	switch s.Status {
	case Unknown:
		return ErrUnknown
	case Forgotten:
		return ErrForgotten
	}
	return nil
}

func register(s Customer, c command.RegisterCustomer, _ backbone.Meta) ([]backbone.Event, error) {
	switch s.Status {
	case Unknown:
		return one(event.CustomerRegistered{Customer: c.Customer, Name: c.Name, Email: c.Email, SMS: c.SMS, Card: c.Card, Tell: c.Tell})
	case Forgotten:
		// Another person under the id of a forgotten one would inherit their past.
		return nil, ErrForgotten
	}
	if s.Name == c.Name && s.Email == c.Email && s.SMS == c.SMS && s.Card == c.Card && s.Tell == c.Tell {
		return nil, nil
	}
	return nil, ErrExists
}

func changeContact(s Customer, c command.ChangeContact, _ backbone.Meta) ([]backbone.Event, error) {
	if err := s.known(); err != nil {
		return nil, err
	}
	if s.Name == c.Name && s.Email == c.Email && s.SMS == c.SMS && s.Tell == c.Tell {
		return nil, nil
	}
	return one(event.ContactChanged{Customer: c.Customer, Name: c.Name, Email: c.Email, SMS: c.SMS, Tell: c.Tell})
}

func enable(s Customer, c command.EnableCustomer, _ backbone.Meta) ([]backbone.Event, error) {
	if err := s.known(); err != nil || s.Status == Enabled {
		return nil, err
	}
	return one(event.CustomerEnabled{Customer: c.Customer})
}

func disable(s Customer, c command.DisableCustomer, _ backbone.Meta) ([]backbone.Event, error) {
	if err := s.known(); err != nil || s.Status == Disabled {
		return nil, err
	}
	return one(event.CustomerDisabled{Customer: c.Customer})
}

func linkCard(s Customer, c command.LinkCard, _ backbone.Meta) ([]backbone.Event, error) {
	if err := s.known(); err != nil || s.Card == c.Card {
		return nil, err
	}
	return one(event.CardLinked{Customer: c.Customer, Card: c.Card})
}

func authorize(s Customer, _ command.AuthorizeCustomer, _ backbone.Meta) ([]backbone.Event, error) {
	if err := s.known(); err != nil {
		return nil, err
	}
	if s.Status == Disabled {
		return nil, ErrDisabled
	}
	return nil, nil
}

func forget(s Customer, c command.ForgetCustomer, _ backbone.Meta) ([]backbone.Event, error) {
	switch s.Status {
	case Unknown:
		return nil, ErrUnknown
	case Forgotten:
		return nil, nil
	}
	return one(event.CustomerForgotten{Customer: c.Customer})
}

func one(e backbone.Event) ([]backbone.Event, error) { return []backbone.Event{e}, nil }
