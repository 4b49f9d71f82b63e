package backbone_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/fstest"

	"example.org/souk/backbone"
	"example.org/souk/internal/testserver"
)

// An inline view that counts by another key than the stream's is written by several processes at once: what one reads of a key before it
// writes holds until it has committed. Red when the keys are not locked: then two rows get one number.
func TestProcessesWriteKeyedInlineViews(t *testing.T) {
	t.Parallel()
	desk := &backbone.Aggregate[int]{Name: "desk", Public: []backbone.Event{served{}}, Evolve: tally}
	parts := []*backbone.Service{{
		Name: "desks",
		Handles: []backbone.Handler{backbone.Decide(desk, func(n int, c serve, _ backbone.Meta) ([]backbone.Event, error) {
			return []backbone.Event{served{c.Desk, n}}, nil
		})},
		Views: []backbone.View{{
			Name: "numbers", Inline: true,
			Projections: []backbone.Projection{backbone.ProjectBy(
				func(e served) string { return e.Desk[:1] },
				func(ctx context.Context, tx backbone.ViewTx, e served) error {
					return tx.Exec(ctx, `INSERT INTO {numbers} (hall, n) VALUES ($1, (SELECT COALESCE(MAX(n), 0) FROM {numbers} WHERE hall = $1) + 1)`, e.Desk[:1])
				})},
		}},
		Migrations: fstest.MapFS{"0001_numbers.sql": {Data: []byte("-- +goose Up\nCREATE TABLE {numbers} (hall TEXT NOT NULL, n BIGINT NOT NULL);\n")}},
	}}
	url := testserver.Postgres(t).Database(t)
	processes := []*process{newProcess(t, url, parts), newProcess(t, url, parts), newProcess(t, url, parts)}
	const callers, each = 6, 60
	var calling sync.WaitGroup
	for i := range callers {
		calling.Go(func() {
			for n := range each {
				c := serve{fmt.Sprintf("%c%d-%d", 'a'+n%2, i, n)}
				if _, err := processes[i%len(processes)].Do(t.Context(), c); err != nil {
					t.Error(err)
				}
			}
		})
	}
	calling.Wait()
	rows, err := processes[0].Reader("desks").Query(t.Context(), `SELECT hall, COUNT(*), COUNT(DISTINCT n), MAX(n) FROM {numbers} GROUP BY hall`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	halls := 0
	for rows.Next() {
		var hall string
		var count, distinct, last int64
		if err := rows.Scan(&hall, &count, &distinct, &last); err != nil {
			t.Fatal(err)
		}
		if halls++; count != callers*each/2 || distinct != count || last != count {
			t.Errorf("hall %s has %d rows with %d numbers up to %d", hall, count, distinct, last)
		}
	}
	if err := rows.Err(); err != nil || halls != 2 {
		t.Fatalf("%d halls, %v", halls, err)
	}
}
