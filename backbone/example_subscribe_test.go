package backbone_test

import (
	"context"
	"fmt"
	"testing/fstest"

	"example.org/souk/backbone"
	"example.org/souk/backbone/backbonetest"
)

const borrowedTable = `-- +goose Up
CREATE TABLE {borrowed} (reader TEXT PRIMARY KEY, times BIGINT NOT NULL);
-- +goose Down
DROP TABLE {borrowed};
`

// Readers hears of loans in another service and keeps, in a table of its own, how often
// each reader borrowed. The row and the record that the event was handled commit
// together, so that each loan counts once.
func Readers() *backbone.Service {
	return &backbone.Service{
		Name: "readers",
		Subscribes: []backbone.Subscriber{
			backbone.On(func(ctx context.Context, tx backbone.Tx, e Lent) error {
				return tx.Exec(ctx, `INSERT INTO {borrowed} AS b (reader, times) VALUES ($1, 1)
					ON CONFLICT (reader) DO UPDATE SET times = b.times + 1`, e.Reader)
			}).From(backbone.FromFirst),
		},
		Migrations: fstest.MapFS{"0001_borrowed.sql": {Data: []byte(borrowedTable)}},
	}
}

func printRows(rows backbone.Rows, err error) {
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var name string
		var n int
		if err := rows.Scan(&name, &n); err != nil {
			fmt.Println(err)
		}
		fmt.Println(name, n)
	}
}

// A handler takes events of another service and writes its own tables.
func ExampleOn() {
	t, end := backbonetest.Outside()
	defer end()
	w := backbonetest.Start(t, backbonetest.Config{Parts: []*backbone.Service{Loans(), Readers()}})

	for _, title := range []string{"Emma", "Persuasion"} {
		w.Do(t, Lend{Book: title, Reader: "Ann"})
	}
	w.Do(t, Lend{Book: "Dracula", Reader: "Ben"})
	w.Settle(t)
	printRows(w.Reader("readers").Query(t.Context(), `SELECT reader, times FROM {borrowed} ORDER BY reader`))
	// Output:
	// Ann 2
	// Ben 1
}

// A policy is pure: whenever something happens, something follows. Here a book that
// comes back goes to the reader who waits for it.
func ExampleWhenever() {
	waiting := map[string]string{"Emma": "Cleo"}
	passOn := backbone.Whenever(func(e Returned, _ backbone.Meta) []backbone.Effect {
		if reader := waiting[e.Book]; reader != "" {
			return []backbone.Effect{backbone.Send(Lend{Book: e.Book, Reader: reader})}
		}
		return nil
	})
	desk := &backbone.Service{Name: "desk", Subscribes: []backbone.Subscriber{passOn}}

	t, end := backbonetest.Outside()
	defer end()
	w := backbonetest.Start(t, backbonetest.Config{Parts: []*backbone.Service{Loans(), desk}})
	w.Do(t, Lend{Book: "Emma", Reader: "Ann"})
	w.Do(t, Return{Book: "Emma"})
	w.Settle(t)
	b, _, err := backbone.Load(t.Context(), w.Reader("loans"), book, "Emma")
	fmt.Printf("%+v %v\n", b, err)
	// Output: {Reader:Cleo} <nil>
}
