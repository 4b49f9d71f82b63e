package customers

import (
	"testing"

	"example.org/souk/backbone"
	"example.org/souk/backbone/backbonetest"
	"example.org/souk/mall/command"
	"example.org/souk/mall/event"
	"pgregory.net/rapid"
)

var (
	registered = event.CustomerRegistered{Customer: "c1", Name: "sealed-name", Email: "sealed-mail"}
	disabled   = event.CustomerDisabled{Customer: "c1"}
	forgotten  = event.CustomerForgotten{Customer: "c1"}
)

func events(list ...backbone.Event) []backbone.Event { return list }

func TestDecisions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		given   []backbone.Event
		when    backbone.Command
		then    []backbone.Event
		refused *backbone.Refusal
	}{
		{"a stranger registers", nil, command.RegisterCustomer{Customer: "c1", Name: "sealed-name", Email: "sealed-mail"}, events(registered), nil},
		{"the same again", events(registered), command.RegisterCustomer{Customer: "c1", Name: "sealed-name", Email: "sealed-mail"}, nil, nil},
		{"another under the id", events(registered), command.RegisterCustomer{Customer: "c1", Name: "other"}, nil, ErrExists},
		{"under a forgotten id", events(registered, forgotten), command.RegisterCustomer{Customer: "c1", Name: "other"}, nil, ErrForgotten},

		{"a contact changes", events(registered), command.ChangeContact{Customer: "c1", Name: "n"}, events(event.ContactChanged{Customer: "c1", Name: "n"}), nil},
		{"a contact stays", events(registered), command.ChangeContact{Customer: "c1", Name: "sealed-name", Email: "sealed-mail"}, nil, nil},
		{"a stranger's contact", nil, command.ChangeContact{Customer: "c1", Name: "n"}, nil, ErrUnknown},

		{"disabled", events(registered), command.DisableCustomer{Customer: "c1"}, events(disabled), nil},
		{"disabled twice", events(registered, disabled), command.DisableCustomer{Customer: "c1"}, nil, nil},
		{"a stranger disabled", nil, command.DisableCustomer{Customer: "c1"}, nil, ErrUnknown},
		{"enabled again", events(registered, disabled), command.EnableCustomer{Customer: "c1"}, events(event.CustomerEnabled{Customer: "c1"}), nil},
		{"enabled already", events(registered), command.EnableCustomer{Customer: "c1"}, nil, nil},
		{"the forgotten enabled", events(registered, forgotten), command.EnableCustomer{Customer: "c1"}, nil, ErrForgotten},

		{"a card", events(registered), command.LinkCard{Customer: "c1", Card: "k1"}, events(event.CardLinked{Customer: "c1", Card: "k1"}), nil},
		{"the same card", events(registered, event.CardLinked{Customer: "c1", Card: "k1"}), command.LinkCard{Customer: "c1", Card: "k1"}, nil, nil},
		{"a stranger's card", nil, command.LinkCard{Customer: "c1", Card: "k1"}, nil, ErrUnknown},

		{"may buy", events(registered), command.AuthorizeCustomer{Customer: "c1", Order: "o1"}, nil, nil},
		{"B11 a stranger may not buy", nil, command.AuthorizeCustomer{Customer: "c1", Order: "o1"}, nil, ErrUnknown},
		{"B11 the disabled may not buy", events(registered, disabled), command.AuthorizeCustomer{Customer: "c1", Order: "o1"}, nil, ErrDisabled},
		{"the forgotten may not buy", events(registered, forgotten), command.AuthorizeCustomer{Customer: "c1", Order: "o1"}, nil, ErrForgotten},

		{"forgotten", events(registered), command.ForgetCustomer{Customer: "c1"}, events(forgotten), nil},
		{"forgotten twice", events(registered, forgotten), command.ForgetCustomer{Customer: "c1"}, nil, nil},
		{"a stranger forgotten", nil, command.ForgetCustomer{Customer: "c1"}, nil, ErrUnknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := backbonetest.Given(t, Service(), c.given...).When(c.when)
			if c.refused != nil {
				got.ThenRefused(c.refused.Code, c.then...)
				return
			}
			got.Then(c.then...)
		})
	}
}

// Whatever the commands, nothing personal is left in the state of somebody forgotten, and they never come back.
func TestForgottenStaysForgotten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		var history []backbone.Event
		gone := false
		for range rapid.IntRange(1, 30).Draw(rt, "commands") {
			c := rapid.SampledFrom([]backbone.Command{
				command.RegisterCustomer{Customer: "c1", Name: "n", Card: "k"},
				command.ChangeContact{Customer: "c1", Name: "m"},
				command.EnableCustomer{Customer: "c1"},
				command.DisableCustomer{Customer: "c1"},
				command.LinkCard{Customer: "c1", Card: "k2"},
				command.AuthorizeCustomer{Customer: "c1"},
				command.ForgetCustomer{Customer: "c1"},
			}).Draw(rt, "command")
			history = append(history, backbonetest.Given(t, Service(), history...).When(c).Events()...)
			s := customers.Fold(history...)
			gone = gone || s.Status == Forgotten
			if gone && s != (Customer{Status: Forgotten}) {
				rt.Fatalf("after %s: %+v", c.CommandType(), s)
			}
		}
	})
}

func TestServiceIsWellFormed(t *testing.T) {
	t.Parallel()
	if err := backbone.Check([]*backbone.Service{Service()}); err != nil {
		t.Fatal(err)
	}
}
