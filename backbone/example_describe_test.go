package backbone_test

import (
	"fmt"

	"example.org/souk/backbone"
)

// A parts list is data: it is drawn as text, JSON, Mermaid or hexagons.
func ExampleDescribe() {
	fmt.Println(backbone.Describe([]*backbone.Service{Loans(), Readers()}).Text())
	// Output:
	// loans: Minds who has which book.
	//   handles    library.loans.Lend.v1      on book
	//   handles    library.loans.Return.v1    on book
	//   publishes  library.loans.Lent.v1      of book
	//   publishes  library.loans.Returned.v1  of book
	//
	// readers
	//   subscribes  library.loans.Lent.v1  of loans, from first
}

// Check says what is wrong with a parts list, before anything runs.
func ExampleCheck() {
	fmt.Println(backbone.Check([]*backbone.Service{Wishes(), Fees(), Readers()}))
	// Output:
	// service wishes: saga granting sends library.loans.Lend.v1, which no service of the parts list handles
	// service wishes: saga granting sends library.loans.Return.v1, which no service of the parts list handles
	// service readers subscribes to library.loans.Lent.v1, which no service of the parts list owns: add the owner or remove the entry
}

// A saga prints what it does.
func ExampleSaga_Table() {
	for _, s := range granting.Table().Steps {
		fmt.Printf("%s: %s, undone by %q\n", s.Name, s.Command, s.Undo)
	}
	// Output:
	// lend: library.loans.Lend.v1, undone by "library.loans.Return.v1"
	// pay: library.fees.PayFee.v1, undone by ""
	// grant: library.wishes.Grant.v1, undone by ""
}
