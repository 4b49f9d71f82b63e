package drivertest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"example.org/souk/backbone/driver"
)

// RunStoreFull checks what a Store does when its database has no room, which only
// the store's own tests can bring about: a batch that does not fit is
// driver.ErrFull, blamed on no unit, and leaves nothing; readers go on; and once
// there is room again the same store writes again.
//
// fill takes the room away for good and returns how it is given back. The tables
// are there already, under the service "orders" and with a table "ledger".
func RunStoreFull(t *testing.T, open Opener, fill func(t *testing.T, s driver.Store) (free func())) {
	s, ctx := opened(t, open), t.Context()
	must(t, fat(ctx, s, "before", 1, true))
	for round := range int64(3) {
		free := fill(t, s)
		for attempt := range 4 { // it does not wear the store out
			err := fat(ctx, s, "full", 40, attempt%2 == 0)
			want(t, err, driver.ErrFull)
			var blamed *driver.UnitError
			if errors.As(err, &blamed) {
				t.Fatalf("unit %d is blamed for a full database: %v", blamed.Unit, err)
			}
			head, err := s.Head(ctx, service)
			must(t, err)
			equal(t, "head", head, round+1)
			equal(t, "records", int64(len(read(t, s, driver.ReadQuery{}))), round+1)
			equal(t, "rows", scalar[int64](t, s, "SELECT count(*) FROM "+s.Name(service, "ledger")), round+1)
		}
		free()
		must(t, fat(ctx, s, fmt.Sprintf("after-%d", round), 1, true))
		rs := read(t, s, driver.ReadQuery{ID: fmt.Sprintf("after-%d-0-1", round)})
		equal(t, "records after there was room again", len(rs), 1)
		equal(t, "position", rs[0].Position, round+2)
	}
}

// fat commits a batch of n records, each with a row beside it. Either the rows or
// the records are large.
func fat(ctx context.Context, s driver.Store, name string, n int, rows bool) error {
	note, data := strings.Repeat("x", 32<<10), "x"
	if !rows {
		note, data = data, note
	}
	tx, err := s.Begin(ctx)
	if err != nil {
		return err
	}
	var w driver.Writes
	var wants []driver.StreamWant
	var statements []driver.Statement
	for i := range n {
		stream := fmt.Sprintf("%s-%d", name, i)
		r := event(stream, 1)
		r.Data = []byte(data)
		w.Records = append(w.Records, r)
		wants = append(wants, driver.StreamWant{Stream: stream})
		statements = append(statements, driver.Statement{
			Unit: i, SQL: "INSERT INTO " + s.Name(service, "ledger") + " (account, amount, note) VALUES ($1, 1, $2)", Args: []any{stream, note},
		})
	}
	_, err = tx.LoadStreams(ctx, service, wants)
	if err == nil {
		err = tx.Exec(ctx, statements)
	}
	if err == nil {
		err = tx.Apply(ctx, service, &w)
	}
	if err == nil {
		err = tx.Commit(ctx)
	}
	return errors.Join(err, tx.Rollback())
}
