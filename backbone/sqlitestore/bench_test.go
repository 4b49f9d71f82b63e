package sqlitestore_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/sqlitestore"
)

// BenchmarkApply writes what an order of the mall costs: 11 records, 3 answers,
// 3 steps of a saga and 5 checkpoints, 50 orders a commit.
func BenchmarkApply(b *testing.B) {
	const orders, records, answers, sagas, moves = 50, 11, 3, 3, 5
	ctx := b.Context()
	s, err := sqlitestore.Open(ctx, sqlitestore.Config{Path: filepath.Join(b.TempDir(), "bench.db")})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	if err := s.Migrate(ctx, []driver.Schema{{Service: "orders"}}); err != nil {
		b.Fatal(err)
	}
	if _, err := s.InitSubscription(ctx, "orders", "handlers", 64, map[string]int64{"orders": 0}); err != nil {
		b.Fatal(err)
	}
	claimed, err := s.Claim(ctx, "orders", "handlers", "me", 64, 1e9)
	if err != nil {
		b.Fatal(err)
	}
	at := make([]int64, 64)
	data := []byte(`{"filler":"` + strings.Repeat("x", 230) + `"}`)
	meta := []byte(`{"correlationid":"01HZZZZZZZZZZZZZZZZZZZZZZZ","causationid":"01HZZZZZZZZZZZZZZZZZZZZZZZ"}`)
	n, position := 0, int64(0)
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		t, err := s.Begin(ctx)
		if err != nil {
			b.Fatal(err)
		}
		var w driver.Writes
		var wants []driver.StreamWant
		var ids []string
		var keys []driver.SagaKey
		for range orders {
			n++
			stream := fmt.Sprintf("order-%08d", n)
			wants = append(wants, driver.StreamWant{Stream: stream})
			for i := range records {
				r := driver.Record{
					Kind: driver.KindEvent, ID: fmt.Sprintf("01HZZZZ%012d%02d", n, i), Stream: stream,
					Type: "souk.orders.OrderPlaced.v1", Data: data, Meta: meta, Time: 1700000000000000 + int64(n),
				}
				if i < 6 {
					r.Version, r.Sequence = int64(i+1), int64(i+1)
				} else {
					r.Kind, r.Ref, r.Target = driver.KindCommand, r.ID, "inventory"
				}
				w.Records = append(w.Records, r)
			}
			for i := range answers {
				id := fmt.Sprintf("01HZZZZC%012d%02d", n, i)
				ids = append(ids, id)
				w.Answers = append(w.Answers, driver.Answer{ID: id, Fingerprint: "0123456789abcdef", Outcome: 1, Data: []byte(`{}`), Time: int64(n)})
			}
			for i := range sagas {
				key := driver.SagaKey{Name: fmt.Sprintf("saga%d", i), ID: stream}
				keys = append(keys, key)
				w.Sagas = append(w.Sagas, driver.Saga{SagaKey: key, Definition: 1, State: "waiting", Data: data, Due: int64(n), Started: int64(n), Updated: int64(n)})
			}
			for i := range moves {
				slice := (n*moves + i) % 64
				position++
				w.Moves = append(w.Moves, driver.Move{Subscription: "handlers", Source: "orders", Slice: slice, Epoch: claimed[slice].Epoch, From: at[slice], To: position})
				at[slice] = position
			}
		}
		if _, err := t.LoadStreams(ctx, "orders", wants); err != nil {
			b.Fatal(err)
		}
		if _, err := t.Answers(ctx, "orders", ids); err != nil {
			b.Fatal(err)
		}
		if _, err := t.Sagas(ctx, "orders", keys); err != nil {
			b.Fatal(err)
		}
		if err := t.Apply(ctx, "orders", &w); err != nil {
			b.Fatal(err)
		}
		if err := t.Commit(ctx); err != nil {
			b.Fatal(err)
		}
	}
	rows := float64(b.N * orders * (records + answers + sagas + moves))
	b.ReportMetric(rows/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(b.Elapsed().Seconds()*1e6/rows, "us/row")
	b.ReportMetric(float64(b.N*orders)/b.Elapsed().Seconds(), "orders/s")
}
