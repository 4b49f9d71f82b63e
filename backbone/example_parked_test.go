package backbone_test

import (
	"context"
	"fmt"

	"example.org/souk/backbone"
	"example.org/souk/backbone/backbonetest"
)

// A message that its service cannot handle is parked with its cause, and what follows under the same key waits behind it. A program
// finds it with Parked; Edit, Redrive and Discard settle it, and say who asked, and why.
func ExampleRuntime_Parked() {
	shelf := &backbone.Service{Name: "shelf", Subscribes: []backbone.Subscriber{
		backbone.On(func(_ context.Context, _ backbone.Tx, e Lent) error {
			if e.Reader == "" {
				return backbone.Permanent(fmt.Errorf("%s was lent to nobody", e.Book))
			}
			fmt.Println(e.Book, "is away with", e.Reader)
			return nil
		}),
	}}
	t, end := backbonetest.Outside()
	defer end()
	w := backbonetest.Start(t, backbonetest.Config{Parts: []*backbone.Service{Loans(), shelf}})
	w.Do(t, Lend{Book: "Emma"})
	w.Do(t, Lend{Book: "Emma", Reader: "Ann"})
	w.Do(t, Lend{Book: "Dracula", Reader: "Ben"})
	w.Settle(t)

	runtime := w.Runtime()
	heads, err := runtime.Parked(t.Context(), "shelf", "", 100)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, p := range heads {
		behind, err := runtime.Parked(t.Context(), "shelf", p.Key, 100)
		fmt.Println(p.State, p.Key, p.Message.Type, p.Cause, "and behind it", len(behind)-1, err)
		err = runtime.Edit(t.Context(), p, []byte(`{"Book":"Emma","Reader":"Cleo"}`), "ann@example.org", "the form had lost the name")
		fmt.Println("edited", err)
	}
	w.Settle(t)
	heads, err = runtime.Parked(t.Context(), "shelf", "", 100)
	fmt.Println(len(heads), "parked", err)
	// Output:
	// Dracula is away with Ben
	// dead book/Emma library.loans.Lent.v1 Emma was lent to nobody and behind it 1 <nil>
	// edited <nil>
	// Emma is away with Cleo
	// Emma is away with Ann
	// 0 parked <nil>
}
