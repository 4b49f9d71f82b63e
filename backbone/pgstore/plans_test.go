package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/pgstore"
	"example.org/souk/internal/testserver"
)

// F17: what a batch looks up it finds by its keys, also on a connection that has planned its statements while the tables had a few rows
// and the server had just counted these: what it reads does not grow with the tables. Red where a page of an index counts as PostgreSQL
// counts it by itself, where lookups are joined as it likes, and where one plan is kept for what matches rows of a table.
func TestF17_LookupsDoNotGrowWithTheTables(t *testing.T) {
	s := migrated(t, pgstore.Config{URL: testserver.Postgres(t).Database(t), MaxConns: 1})
	tables := []string{"bb_answer", "bb_saga", "bb_inbox", "bb_stream", "bb_log", "bb_timer"}
	for _, table := range tables {
		must(t, exec(t.Context(), s, "ALTER TABLE "+s.Name(service, table)+" SET (autovacuum_enabled = off)"))
	}
	n := 0
	grow := func(by int) {
		t.Helper()
		var w driver.Writes
		for range by {
			id := fmt.Sprintf("k%06d", n)
			n++
			w.Answers = append(w.Answers, driver.Answer{ID: id, Outcome: 1})
			w.Inbox = append(w.Inbox, driver.InboxRow{Subscription: "s", Source: "o", ID: id})
			w.Sagas = append(w.Sagas, driver.Saga{SagaKey: driver.SagaKey{Name: "s", ID: id}, State: "running", Revision: 1})
			w.Records = append(w.Records, event(id, id, 1))
			w.SetTimers = append(w.SetTimers, driver.Timer{Name: id})
		}
		must(t, applied(t.Context(), s, &w))
	}
	// look does what a batch does with a few rows, in a transaction of its own, and returns how many rows of a table it has read.
	look := func() map[string]int64 {
		t.Helper()
		tx, err := s.Begin(t.Context())
		must(t, err)
		defer func() { _ = tx.Rollback() }()
		before := fetched(t, tx)
		first, last := "k000000", fmt.Sprintf("k%06d", n-1)
		answers, err := tx.Answers(t.Context(), service, []string{first, last})
		must(t, err)
		sagas, err := tx.Sagas(t.Context(), service, []driver.SagaKey{{Name: "s", ID: first}, {Name: "s", ID: last}})
		must(t, err)
		hashes, err := tx.Inbox(t.Context(), service, []driver.InboxRow{{Subscription: "s", Source: "o", ID: first}, {Subscription: "s", Source: "o", ID: last}})
		must(t, err)
		streams, err := tx.LoadStreams(t.Context(), service, []driver.StreamWant{{Stream: first}, {Stream: last}})
		must(t, err)
		if len(answers) != 2 || len(sagas) != 2 || len(hashes) != 2 || len(streams[0].Records) != 1 || len(streams[1].Records) != 1 {
			t.Fatalf("found %d answers, %d sagas, %d hashes, %d streams", len(answers), len(sagas), len(hashes), len(streams))
		}
		must(t, tx.Apply(t.Context(), service, &driver.Writes{CancelTimers: []string{first}, Sagas: []driver.Saga{{SagaKey: driver.SagaKey{Name: "s", ID: last}, State: "running", Revision: 2}}}))
		after := fetched(t, tx)
		for table := range after {
			after[table] -= before[table]
		}
		return after
	}
	grow(3)
	for _, table := range tables {
		must(t, exec(t.Context(), s, "ANALYZE "+s.Name(service, table)))
	}
	for range 10 { // by then a server that decides by itself has settled on a plan
		look()
	}
	grow(5000)
	read := look()
	for _, table := range tables {
		if read[table] > 20 {
			t.Errorf("of %d rows of %s a batch has read %d, for two that it looked up", n, table, read[table])
		}
	}
}

// fetched returns how many rows this session has read of each table.
func fetched(t *testing.T, tx driver.Tx) map[string]int64 {
	t.Helper()
	rows, err := tx.Query(t.Context(), `SELECT t.relname, t.seq_tup_read + coalesce((SELECT sum(pg_stat_get_xact_tuples_returned(i.indexrelid)) FROM pg_index i
		WHERE i.indrelid = t.relid), 0)::bigint FROM pg_stat_xact_user_tables t WHERE t.schemaname = $1`, service)
	must(t, err)
	out := map[string]int64{}
	for rows.Next() {
		var table string
		var n int64
		must(t, rows.Scan(&table, &n))
		out[table] = n
	}
	must(t, errors.Join(rows.Err(), rows.Close()))
	if len(out) == 0 {
		t.Fatal("the server tells of no table")
	}
	return out
}

// exec runs a statement in a transaction of its own.
func exec(ctx context.Context, s *pgstore.Store, sql string) error {
	tx, err := s.Begin(ctx)
	if err != nil {
		return err
	}
	if err := tx.Exec(ctx, []driver.Statement{{SQL: sql}}); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit(ctx)
}

// applied writes rows in a transaction of its own.
func applied(ctx context.Context, s *pgstore.Store, w *driver.Writes) error {
	tx, err := s.Begin(ctx)
	if err != nil {
		return err
	}
	if err := tx.Apply(ctx, service, w); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit(ctx)
}
