package backbone_test

import (
	"context"
	"testing"
	"testing/fstest"

	"example.org/souk/backbone"
	"example.org/souk/backbone/backbonetest"
)

// A view that names no key for some events shows them all the same, in their order. Red when such a key is taken for one that
// nobody can tell: then what follows waits for ever.
func TestViewWithoutAKeyForSome(t *testing.T) {
	t.Parallel()
	readers := &backbone.Service{
		Name: "readers",
		Views: []backbone.View{
			backbone.ViewOf("lent", backbone.FromFirst, func(ctx context.Context, tx backbone.ViewTx, e Lent) error {
				return tx.Exec(ctx, `INSERT INTO {lent} (book, reader) VALUES ($1, $2)`, e.Book, e.Reader)
			}).KeyedBy(func(e Lent) string { return e.Reader }),
		},
		Migrations: fstest.MapFS{"0001_lent.sql": {Data: []byte("-- +goose Up\nCREATE TABLE {lent} (book TEXT PRIMARY KEY, reader TEXT NOT NULL);\n")}},
	}
	w := backbonetest.Start(t, backbonetest.Config{Parts: []*backbone.Service{Loans(), readers}})
	for book, reader := range map[string]string{"Emma": "Ann", "Dracula": "", "Ulysses": "", "Persuasion": "Ben"} {
		w.Do(t, Lend{Book: book, Reader: reader})
	}
	w.Settle(t)
	rows, err := w.Reader("readers").Query(t.Context(), `SELECT count(*) FROM {lent}`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	n := 0
	for rows.Next() {
		if err := rows.Scan(&n); err != nil {
			t.Fatal(err)
		}
	}
	if n != 4 {
		t.Errorf("%d of 4 loans are shown", n)
	}
}
