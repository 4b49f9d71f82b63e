package greeter

import (
	"testing"

	"example.org/souk/backbone/backbonetest"
	"example.org/souk/mall"
	"example.org/souk/mall/event"
)

func TestGreetings(t *testing.T) {
	t.Parallel()
	name := mall.Personal("sealed")
	for what, c := range map[string]struct {
		when  GreetVisitor
		lines []string
	}{
		"a stranger, neutrally":  {GreetVisitor{}, []string{"Welcome"}},
		"a stranger with orders": {GreetVisitor{Orders: 30, Waiting: 1}, []string{"Welcome"}}, // forgotten, or not heard of yet
		"somebody new":           {GreetVisitor{Name: name}, []string{"Welcome, {name}", "Bronze customer"}},
		"a regular":              {GreetVisitor{Name: name, Orders: 5, Waiting: 1}, []string{"Welcome, {name}", "Silver customer", "1 order waits for you"}},
		"a friend of the house":  {GreetVisitor{Name: name, Orders: 20, Waiting: 3}, []string{"Welcome, {name}", "Gold customer", "3 orders wait for you"}},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			c.when.Store, c.when.Visit = "s1", "v1"
			shown := event.WelcomeShown{Store: "s1", Visit: "v1", Name: c.when.Name, Lines: c.lines}
			backbonetest.Given(t, Service()).When(c.when).Then(shown)
			backbonetest.Given(t, Service(), shown).When(c.when).ThenNothing()
		})
	}
}

func TestFrozenSamples(t *testing.T) {
	t.Parallel()
	backbonetest.Frozen(t, GreetVisitor{Store: "STORE_001", Visit: "VISIT_001", Name: "v1.Q1VTVE9NRVJfMDAx.name5Kd8vBn4", Orders: 7, Waiting: 1})
}
