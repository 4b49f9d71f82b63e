package backbonetest_test

import (
	"fmt"
	"math/rand/v2"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/backbonetest"
)

// A decision in a line. A test uses its own t; Outside stands in for it here.
func ExampleGiven() {
	t, end := backbonetest.Outside()
	defer end()
	_, jars := jars(evolve)

	backbonetest.Given(t, jars, filled{Kind: "mint", Sweets: 9}).
		When(fill{"A", "mint", 1}).
		Then(filled{Kind: "mint", Sweets: 1, At: backbonetest.Epoch})

	backbonetest.Given(t, jars, filled{Kind: "mint", Sweets: 9}).
		When(fill{"A", "mint", 2}).
		ThenRefused("full", emptied{Kind: "mint"})
	// Output:
}

// Timers, deadlines, retries and calls go by the clock of the world, which stands still
// until the test lets time pass.
func ExampleWorld_Pass() {
	t, end := backbonetest.Outside()
	defer end()
	w := backbonetest.Start(t, backbonetest.Config{Parts: []*backbone.Service{post(herald{told})}})

	w.Do(t, handIn{"A"})
	w.Pass(t, 59*time.Minute)
	fmt.Println(w.Events(t, "post"))
	w.Pass(t, time.Minute)
	fmt.Println(w.Events(t, "post"))
	// Output:
	// [{A}]
	// [{A} {A} {A told}]
}

// Whatever comes late, twice or out of order, an order of cake ends in one of two ways.
func ExampleWorld_Interleave() {
	t, end := backbonetest.Outside()
	defer end()
	_, others := shelf(true)
	w := backbonetest.Start(t, backbonetest.Config{Parts: []*backbone.Service{bakery(), others}, Hold: true})

	legal := map[string]bool{backbone.SagaCompleted: true, backbone.SagaCompensated: true}
	for seed := range uint64(5) {
		cake := fmt.Sprint("cake", seed)
		w.Do(t, order{Cake: cake})
		w.Interleave(t, rand.New(rand.NewPCG(seed, 0)).IntN)
		fmt.Println(cake, legal[w.Saga(t, "bakery", "baking", cake)])
	}
	// Output:
	// cake0 true
	// cake1 true
	// cake2 true
	// cake3 true
	// cake4 true
}
