package backbone_test

import (
	"context"
	"testing/fstest"

	"example.org/souk/backbone"
	"example.org/souk/backbone/backbonetest"
)

const popularTable = `-- +goose Up
CREATE TABLE {popular} (title TEXT PRIMARY KEY, loans BIGINT NOT NULL);
-- +goose Down
DROP TABLE {popular};
`

// A view is made from events alone, so a program that adds one later has it filled from
// the first event on, and it can be made anew at will.
func ExampleViewOf() {
	titles := &backbone.Service{
		Name: "titles",
		Views: []backbone.View{
			backbone.ViewOf("popular", backbone.FromFirst, func(ctx context.Context, tx backbone.ViewTx, e Lent) error {
				return tx.Exec(ctx, `INSERT INTO {popular} AS p (title, loans) VALUES ($1, 1)
					ON CONFLICT (title) DO UPDATE SET loans = p.loans + 1`, e.Book)
			}).KeyedBy(func(e Lent) string { return e.Book }),
		},
		Migrations: fstest.MapFS{"0001_popular.sql": {Data: []byte(popularTable)}},
	}

	t, end := backbonetest.Outside()
	defer end()
	w := backbonetest.Start(t, backbonetest.Config{Parts: []*backbone.Service{Loans()}})
	w.Do(t, Lend{Book: "Emma", Reader: "Ann"})
	w.Do(t, Lend{Book: "Dracula", Reader: "Ben"})
	w.Do(t, Return{Book: "Emma"})

	w.Restart(t, Loans(), titles) // a newer program
	w.Do(t, Lend{Book: "Emma", Reader: "Cleo"})
	w.Settle(t)
	printRows(w.Reader("titles").Query(t.Context(), `SELECT title, loans FROM {popular} ORDER BY loans DESC`))
	// Output:
	// Emma 2
	// Dracula 1
}
