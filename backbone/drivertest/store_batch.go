package drivertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"example.org/souk/backbone/driver"
)

func testBatch(t *testing.T, open Opener) {
	s, ctx := opened(t, open), t.Context()
	w := &driver.Writes{
		Records: []driver.Record{event("a", 1), command("c1", "inventory"), event("a", 2), event("b", 1)},
		Answers: []driver.Answer{{ID: "cmd", Fingerprint: "f", Outcome: 2, Data: []byte(`{"x":1}`), Time: 7}},
		Inbox:   []driver.InboxRow{{Subscription: "sub", Source: "src", ID: "m", Hash: "h", Time: 7}},
		Sagas:   []driver.Saga{{SagaKey: driver.SagaKey{Name: "checkout", ID: "o1"}, Definition: 3, State: "running", Data: []byte(`{}`), Revision: 1}},
	}
	tx := begin(t, s)
	loaded, err := tx.LoadStreams(ctx, service, []driver.StreamWant{{Stream: "b"}, {Stream: "a"}})
	must(t, err)
	equal(t, "streams loaded", len(loaded), 2)
	must(t, tx.Exec(ctx, []driver.Statement{
		{SQL: "INSERT INTO " + s.Name(service, "ledger") + " (account, amount, proof) VALUES ($1, $2, $3)", Args: []any{"alice", 5, []byte{0, 1}}},
		{SQL: "UPDATE " + s.Name(service, "ledger") + " SET amount = amount + $1 WHERE account = $2", Args: []any{int64(2), "alice"}},
	}))
	rows, err := tx.Query(ctx, "SELECT amount, note, proof FROM "+s.Name(service, "ledger")+" WHERE account = $1", "alice")
	must(t, err)
	var amount int
	var note *string
	var proof []byte
	if !rows.Next() {
		t.Fatal("a transaction does not see its own rows")
	}
	must(t, rows.Scan(&amount, &note, &proof))
	must(t, rows.Close())
	if amount != 7 || note != nil || !bytes.Equal(proof, []byte{0, 1}) {
		t.Fatalf("got %d %v %v", amount, note, proof)
	}
	must(t, tx.Apply(ctx, service, w))
	for i, r := range w.Records {
		equal(t, "assigned position", r.Position, int64(i+1))
	}
	// Nothing leaves before COMMIT.
	head, err := s.Head(ctx, service)
	must(t, err)
	equal(t, "head before the commit", head, 0)
	equal(t, "records before the commit", len(read(t, s, driver.ReadQuery{})), 0)
	must(t, tx.Commit(ctx))
	must(t, tx.Rollback()) // does nothing now

	head, err = s.Head(ctx, service)
	must(t, err)
	equal(t, "head", head, 4)
	got := read(t, s, driver.ReadQuery{})
	equal(t, "records", len(got), 4)
	for i := range got {
		if fmt.Sprint(got[i]) != fmt.Sprint(w.Records[i]) {
			t.Fatalf("record %d: got %v, want %v", i, got[i], w.Records[i])
		}
	}
	tx = begin(t, s)
	defer func() { _ = tx.Rollback() }()
	answers, err := tx.Answers(ctx, service, []string{"none", "cmd"})
	must(t, err)
	if a, ok := answers["cmd"]; len(answers) != 1 || !ok || a.Fingerprint != "f" || a.Outcome != 2 || string(a.Data) != `{"x":1}` || a.Time != 7 {
		t.Fatalf("answers: %v", answers)
	}
	hashes, err := tx.Inbox(ctx, service, []driver.InboxRow{{Subscription: "sub", Source: "src", ID: "other"}, {Subscription: "sub", Source: "src", ID: "m"}})
	must(t, err)
	equal(t, "hashes", fmt.Sprint(hashes), "[ h]")
	handled, err := s.Handled(ctx, service, "sub", "src", []string{"other", "m"})
	must(t, err)
	equal(t, "handled", fmt.Sprint(handled), "map[m:h]")
	sagas, err := tx.Sagas(ctx, service, []driver.SagaKey{{Name: "checkout", ID: "o1"}, {Name: "checkout", ID: "o2"}})
	must(t, err)
	if g, ok := sagas[driver.SagaKey{Name: "checkout", ID: "o1"}]; len(sagas) != 1 || !ok || g.Definition != 3 || g.State != "running" {
		t.Fatalf("sagas: %v", sagas)
	}
}

// A statement that fails in the middle is blamed on its unit, and leaves nothing.
func testFailingStatement(t *testing.T, open Opener) {
	s, ctx := opened(t, open), t.Context()
	insert := "INSERT INTO " + s.Name(service, "ledger") + " (account, amount) VALUES ($1, $2)"
	tx := begin(t, s)
	err := tx.Exec(ctx, []driver.Statement{
		{Unit: 3, SQL: insert, Args: []any{"a", 1}},
		{Unit: 5, SQL: insert, Args: []any{"b", -1}},
		{Unit: 7, SQL: insert, Args: []any{"c", 1}},
	})
	blamed(t, err, 5)
	want(t, tx.Apply(ctx, service, &driver.Writes{Records: []driver.Record{event("a", 1)}}), driver.ErrBroken)
	want(t, tx.Commit(ctx), driver.ErrBroken)
	must(t, tx.Rollback())
	must(t, tx.Rollback())

	equal(t, "rows left", scalar[int64](t, s, "SELECT count(*) FROM "+s.Name(service, "ledger")), 0)
	w := &driver.Writes{Records: []driver.Record{event("a", 1)}}
	must(t, write(ctx, s, w))
	equal(t, "position after a rollback", w.Records[0].Position, 1)

	tx = begin(t, s)
	blamed(t, tx.Exec(ctx, []driver.Statement{{Unit: 2, SQL: "SELECT nonsense FROM nowhere"}}), 2)
	must(t, tx.Rollback())
	must(t, write(ctx, s, &driver.Writes{Records: []driver.Record{event("a", 2)}}))
}

// A caller that has gone away does not harm the store.
func testFailingRead(t *testing.T, open Opener) {
	s := opened(t, open)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Read(gone, service, driver.ReadQuery{}); err != nil && !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want context.Canceled", err)
	}
	_, err := s.Query(t.Context(), "SELECT nonsense FROM nowhere")
	if err == nil {
		rows, _ := s.Query(t.Context(), "SELECT nonsense FROM nowhere")
		for rows.Next() {
			t.Fatal("a row of a table that does not exist")
		}
		if err = rows.Err(); err == nil {
			t.Fatal("no error for a table that does not exist")
		}
		must(t, rows.Close())
	}
	for range 20 { // connections do not run out
		if rows, err := s.Query(gone, "SELECT 1"); err == nil {
			for rows.Next() {
				break
			}
			_ = rows.Close()
		}
	}
	equal(t, "a query afterwards", scalar[int64](t, s, "SELECT 1"), 1)
	must(t, write(t.Context(), s, &driver.Writes{Records: []driver.Record{event("a", 1)}}))
}

func testRows(t *testing.T, open Opener) {
	s, ctx := opened(t, open), t.Context()
	table := s.Name(service, "ledger")
	tx := begin(t, s)
	must(t, tx.Exec(ctx, []driver.Statement{{SQL: "INSERT INTO " + table + " (account, amount, note) VALUES ('a', 1, 'n'), ('b', 2, NULL)"}}))
	must(t, tx.Commit(ctx))
	rows, err := s.Query(ctx, "SELECT account, amount, note, amount, proof, amount, 1.5 FROM "+table+" WHERE amount >= $1 ORDER BY account", 1)
	must(t, err)
	var n int
	for rows.Next() {
		var account string
		var amount int64
		var note *string
		var number *int64
		var proof []byte
		var anything any
		var fraction float64
		must(t, rows.Scan(&account, &amount, &note, &number, &proof, &anything, &fraction))
		n++
		if (note == nil) != (account == "b") || *number != amount || proof != nil || anything != amount || fraction != 1.5 {
			t.Fatalf("row %s: %d %v %v %v %v", account, amount, note, proof, anything, fraction)
		}
		if account == "b" {
			break
		}
	}
	equal(t, "rows", n, 2)
	must(t, rows.Close())
	must(t, rows.Close())
	rows, err = s.Query(ctx, "SELECT note FROM "+table+" WHERE account = 'b'")
	must(t, err)
	defer rows.Close()
	var note string
	if !rows.Next() || rows.Scan(&note) == nil {
		t.Fatal("NULL was scanned into a string")
	}
}

func testValues(t *testing.T, open Opener) {
	s, ctx := opened(t, open), t.Context()
	v, err := s.Value(ctx, service, "world")
	must(t, err)
	if v != nil {
		t.Fatalf("a value that does not exist is %q", v)
	}
	for _, value := range []string{"one", "two", ""} {
		must(t, s.SetValue(ctx, service, "world", []byte(value)))
		v, err = s.Value(ctx, service, "world")
		must(t, err)
		if v == nil || string(v) != value {
			t.Fatalf("got %v, want %q", v, value)
		}
	}
}

func testManyRows(t *testing.T, open Opener) {
	s, ctx := opened(t, open), t.Context()
	const n = 777 // no multiple of any chunk
	w := &driver.Writes{}
	var wants []driver.StreamWant
	var ids []string
	for i := range n {
		stream := fmt.Sprintf("s%03d", i)
		w.Records = append(w.Records, event(stream, 1), event(stream, 2))
		w.Answers = append(w.Answers, driver.Answer{ID: stream, Outcome: 1})
		w.Snapshots = append(w.Snapshots, driver.Snapshot{Stream: stream, Version: 1, Schema: "v1", Data: []byte(stream)})
		wants = append(wants, driver.StreamWant{Stream: stream, Schema: "v1"})
		ids = append(ids, stream)
	}
	must(t, write(ctx, s, w))
	tx := begin(t, s)
	defer func() { _ = tx.Rollback() }()
	loaded, err := tx.LoadStreams(ctx, service, wants)
	must(t, err)
	for i, d := range loaded {
		if d.Version != 2 || d.Sequence != 2 || d.Snapshot == nil || string(d.Snapshot.Data) != ids[i] || len(d.Records) != 1 || d.Records[0].Stream != ids[i] {
			t.Fatalf("stream %d: %+v", i, d)
		}
	}
	answers, err := tx.Answers(ctx, service, ids)
	must(t, err)
	equal(t, "answers", len(answers), n)
	must(t, tx.Rollback())
	equal(t, "records", len(read(t, s, driver.ReadQuery{Limit: 5000})), 2*n)
	equal(t, "default limit", len(read(t, s, driver.ReadQuery{})), 1000)
}
