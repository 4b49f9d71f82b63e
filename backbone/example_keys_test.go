package backbone_test

import (
	"fmt"
	"strings"

	"example.org/souk/backbone"
	"example.org/souk/backbone/backbonetest"
)

// What names a person is sealed at the border under a key of that person, and travels
// and rests sealed. Destroying the key makes every copy unreadable at once.
func ExampleKeys() {
	t, end := backbonetest.Outside()
	defer end()
	w := backbonetest.Start(t, backbonetest.Config{Parts: []*backbone.Service{Loans(), backbone.KeyService()}})
	keys, err := backbone.OpenKeys(backbone.KeysConfig{Store: w.Store(), Clock: w.Clock})
	if err != nil {
		fmt.Println(err)
		return
	}
	sealed, err := keys.Seal(t.Context(), "R7", "Ann Elliot")
	fmt.Println(strings.Contains(sealed, "Elliot"), err)
	w.Do(t, Lend{Book: "Emma", Reader: sealed})

	e := w.Events(t, "loans")[0].(Lent)
	name, ok, err := keys.Reveal(t.Context(), e.Reader)
	fmt.Println(name, ok, err)

	fmt.Println(keys.Destroy(t.Context(), "R7"))
	name, ok, err = keys.Reveal(t.Context(), e.Reader)
	fmt.Printf("%q %v %v\n", name, ok, err)
	// Output:
	// false <nil>
	// Ann Elliot true <nil>
	// <nil>
	// "" false <nil>
}
