package drivertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/souk/backbone/driver"
)

func slicesOf(held []driver.Checkpoint) []int {
	var out []int
	for _, p := range held {
		out = append(out, p.Slice)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func testClaim(t *testing.T, open Opener) {
	s, ctx := opened(t, open), t.Context()
	const long, gone = time.Hour, time.Microsecond
	n, err := s.InitSubscription(ctx, service, "sub", 4, map[string]int64{"x": 10, "y": 20})
	must(t, err)
	equal(t, "slices", n, 4)
	// The number that is stored stays, and so do positions.
	n, err = s.InitSubscription(ctx, service, "sub", 8, map[string]int64{"x": 99})
	must(t, err)
	equal(t, "slices the second time", n, 4)
	all, err := s.Checkpoints(ctx, service, "")
	must(t, err)
	equal(t, "checkpoints", len(all), 8)

	a, err := s.Claim(ctx, service, "sub", "a", 3, long)
	must(t, err)
	equal(t, "a's slices", fmt.Sprint(slicesOf(a)), "[0 1 2]")
	equal(t, "rows, one a source", len(a), 6)
	for _, p := range a {
		if p.Epoch != 1 || p.Owner != "a" || p.Position != map[string]int64{"x": 10, "y": 20}[p.Source] {
			t.Fatalf("claimed: %+v", p)
		}
	}
	b, err := s.Claim(ctx, service, "sub", "b", 9, long)
	must(t, err)
	equal(t, "b gets what is left", fmt.Sprint(slicesOf(b)), "[3]")
	none, err := s.Claim(ctx, service, "sub", "c", 9, long)
	must(t, err)
	equal(t, "c gets", len(none), 0)
	// Claiming again raises the epochs of what one holds.
	a, err = s.Claim(ctx, service, "sub", "a", 9, long)
	must(t, err)
	equal(t, "a's slices again", fmt.Sprint(slicesOf(a)), "[0 1 2]")
	equal(t, "epoch", a[0].Epoch, 2)

	must(t, s.Release(ctx, service, "sub", "a", []int{1}))
	must(t, s.Release(ctx, service, "sub", "a", []int{3})) // b's
	c, err := s.Claim(ctx, service, "sub", "c", 9, gone)
	must(t, err)
	equal(t, "c gets the released one", fmt.Sprint(slicesOf(c)), "[1]")
	equal(t, "its epoch", c[0].Epoch, 3)
	// c's lease has run out; renewing is allowed while nobody has taken it.
	held, err := s.Renew(ctx, service, "sub", "c", gone)
	must(t, err)
	equal(t, "c still holds", fmt.Sprint(held), "[1]")
	b, err = s.Claim(ctx, service, "sub", "b", 9, long)
	must(t, err)
	equal(t, "b takes it over", fmt.Sprint(slicesOf(b)), "[1 3]")
	held, err = s.Renew(ctx, service, "sub", "c", long)
	must(t, err)
	equal(t, "c holds nothing any more", len(held), 0)
	held, err = s.Renew(ctx, service, "sub", "a", long)
	must(t, err)
	equal(t, "a holds", fmt.Sprint(held), "[0 2]")

	// A source that is added belongs to those who hold the slices, whatever its name is.
	for i, source := range []string{"z", "a"} {
		_, err = s.InitSubscription(ctx, service, "sub", 4, map[string]int64{source: 5})
		must(t, err)
		none, err = s.Claim(ctx, service, "sub", "d", 9, long)
		must(t, err)
		equal(t, "d gets", len(none), 0)
		a, err = s.Claim(ctx, service, "sub", "a", 9, long)
		must(t, err)
		equal(t, "a's rows with the new source", len(a), 2*(3+i))
	}

	// What is renewed is kept for all sources, and everybody sees by whom.
	must(t, s.Release(ctx, service, "sub", "a", []int{0, 2}))
	_, err = s.Claim(ctx, service, "sub", "e", 9, gone)
	must(t, err)
	held, err = s.Renew(ctx, service, "sub", "e", long)
	must(t, err)
	equal(t, "e holds", fmt.Sprint(held), "[0 2]")
	none, err = s.Claim(ctx, service, "sub", "d", 9, long)
	must(t, err)
	equal(t, "d gets of what was renewed", len(none), 0)
	must(t, s.SetValue(ctx, service, "note", []byte("noted")))
	must(t, s.SetValue(ctx, service, "other", []byte("of another")))
	standing, err := s.Standing(ctx, service, "sub", "note", "missing")
	must(t, err)
	equal(t, "values", fmt.Sprintf("%q", standing.Values), `map["note":"noted"]`)
	now, err := s.Now(ctx)
	must(t, err)
	var seen []string
	for _, l := range standing.Leases {
		seen = append(seen, fmt.Sprintf("%d %s %t", l.Slice, l.Owner, l.Until > now.UnixMicro()))
	}
	equal(t, "leases", strings.Join(seen, ", "), "0 e true, 1 b true, 2 e true, 3 b true")
	must(t, s.Release(ctx, service, "sub", "e", []int{0, 1, 2, 3}))
	standing, err = s.Standing(ctx, service, "sub")
	must(t, err)
	equal(t, "who has what was released", standing.Leases[0], driver.Lease{})
	equal(t, "values that were not asked for", len(standing.Values), 0)
}

// testTakeover claims while the old owner's batch is on its way.
func testTakeover(t *testing.T, open Opener) {
	s, ctx := opened(t, open), t.Context()
	_, err := s.InitSubscription(ctx, service, "sub", 1, map[string]int64{"x": 0})
	must(t, err)
	old, err := s.Claim(ctx, service, "sub", "old", 1, time.Microsecond)
	must(t, err)
	move := func(p driver.Checkpoint, to int64) driver.Move {
		return driver.Move{Subscription: "sub", Source: "x", Slice: 0, Epoch: p.Epoch, From: p.Position, To: to}
	}
	tx := begin(t, s)
	must(t, tx.Apply(ctx, service, &driver.Writes{Moves: []driver.Move{move(old[0], 7)}}))
	type claim struct {
		held []driver.Checkpoint
		err  error
	}
	claimed := make(chan claim, 1)
	go func() {
		held, err := s.Claim(ctx, service, "sub", "new", 1, time.Hour)
		claimed <- claim{held, err}
	}()
	must(t, tx.Commit(ctx))
	taken := <-claimed
	must(t, taken.err)
	if len(taken.held) != 1 {
		t.Fatalf("claimed: %+v", taken.held)
	}
	// The claim came after the commit or the commit would have failed; so it sees it.
	equal(t, "position after the takeover", taken.held[0].Position, 7)
	want(t, write(ctx, s, &driver.Writes{Moves: []driver.Move{move(driver.Checkpoint{Epoch: old[0].Epoch, Position: 7}, 8)}}), driver.ErrConflict)
	must(t, write(ctx, s, &driver.Writes{Moves: []driver.Move{move(taken.held[0], 8)}}))
}

func testMoves(t *testing.T, open Opener) {
	s, ctx := opened(t, open), t.Context()
	_, err := s.InitSubscription(ctx, service, "sub", 2, map[string]int64{"x": 0, "y": 0})
	must(t, err)
	held, err := s.Claim(ctx, service, "sub", "me", 2, time.Hour)
	must(t, err)
	epoch := held[0].Epoch
	m := func(source string, slice int, from, to int64) driver.Move {
		return driver.Move{Subscription: "sub", Source: source, Slice: slice, Epoch: epoch, From: from, To: to}
	}
	// Units of one slice follow upon each other within a batch.
	must(t, write(ctx, s, &driver.Writes{Moves: []driver.Move{m("x", 0, 0, 3), m("y", 0, 0, 1), m("x", 0, 3, 5), m("x", 1, 0, 2), m("x", 0, 5, 9)}}))
	want(t, write(ctx, s, &driver.Writes{Moves: []driver.Move{m("x", 0, 9, 10), m("x", 0, 9, 11)}}), driver.ErrConflict)
	ps, err := s.Checkpoints(ctx, service, "sub")
	must(t, err)
	got := ""
	for _, p := range ps {
		got += fmt.Sprintf("%s/%d=%d ", p.Source, p.Slice, p.Position)
	}
	equal(t, "checkpoints", got, "x/0=9 x/1=2 y/0=1 y/1=0 ")
}

func testParked(t *testing.T, open Opener) {
	s, ctx := opened(t, open), t.Context()
	row := func(key, id, state string, due int64) driver.Parked {
		return driver.Parked{
			Subscription: "sub", Key: key, Slice: 3, Source: "x", ID: id, Record: []byte(`{}`), Cause: "why", Due: due, State: state, Time: 4,
		}
	}
	must(t, write(ctx, s, &driver.Writes{
		Park:  []driver.Parked{row("k", "1", "retrying", 10), row("k", "2", "waiting", 0), row("l", "3", "retrying", 20), row("m", "4", "dead", 0)},
		Block: []driver.BlockedKey{{Subscription: "sub", Slice: 3, Key: "k"}, {Subscription: "sub", Slice: 3, Key: "l"}},
	}))
	must(t, write(ctx, s, &driver.Writes{
		Park:  []driver.Parked{row("k", "5", "waiting", 0)},
		Block: []driver.BlockedKey{{Subscription: "sub", Slice: 3, Key: "k"}}, // exists
	}))
	ids := func(rows []driver.Parked, err error) string {
		t.Helper()
		must(t, err)
		out := ""
		for _, p := range rows {
			out += p.ID
		}
		return out
	}
	equal(t, "rows of a key", ids(s.ParkedRows(ctx, service, "sub", "k", 0)), "125")
	equal(t, "heads", ids(s.ParkedRows(ctx, service, "sub", "", 0)), "134")
	equal(t, "heads, bounded", ids(s.ParkedRows(ctx, service, "sub", "", 2)), "13")
	equal(t, "another subscription", ids(s.ParkedRows(ctx, service, "other", "", 0)), "")
	equal(t, "none due", ids(s.DueParked(ctx, service, "sub", 9, 0)), "")
	equal(t, "due", ids(s.DueParked(ctx, service, "sub", 15, 0)), "1")
	equal(t, "all due", ids(s.DueParked(ctx, service, "sub", 99, 0)), "13")
	blocked, err := s.BlockedKeys(ctx, service, "sub")
	must(t, err)
	equal(t, "blocked", fmt.Sprint(blocked), "[{sub 3 k} {sub 3 l}]")

	rows, err := s.ParkedRows(ctx, service, "sub", "k", 0)
	must(t, err)
	head := rows[0]
	if head.Slice != 3 || head.Source != "x" || string(head.Record) != "{}" || head.Cause != "why" || head.Time != 4 || head.Attempts != 0 {
		t.Fatalf("head: %+v", head)
	}
	head.Attempts, head.Due, head.Cause, head.State = 2, 50, "again", "dead"
	must(t, write(ctx, s, &driver.Writes{Retry: []driver.Parked{head}}))
	rows, err = s.ParkedRows(ctx, service, "sub", "k", 1)
	must(t, err)
	equal(t, "retried", fmt.Sprintf("%+v", rows[0]), fmt.Sprintf("%+v", head))
	equal(t, "a dead one is not due", ids(s.DueParked(ctx, service, "sub", 99, 0)), "3")

	// The next row becomes the head; the key unblocks with its last row.
	must(t, write(ctx, s, &driver.Writes{Unpark: []driver.ParkedKey{{Subscription: "sub", Key: "k", Seq: head.Seq}}}))
	equal(t, "heads after", ids(s.ParkedRows(ctx, service, "sub", "", 0)), "234")
	rows, err = s.ParkedRows(ctx, service, "sub", "k", 0)
	must(t, err)
	must(t, write(ctx, s, &driver.Writes{
		Unpark:  []driver.ParkedKey{{Subscription: "sub", Key: "k", Seq: rows[0].Seq}, {Subscription: "sub", Key: "k", Seq: rows[1].Seq}},
		Unblock: []driver.BlockedKey{{Subscription: "sub", Slice: 3, Key: "k"}},
	}))
	blocked, err = s.BlockedKeys(ctx, service, "sub")
	must(t, err)
	equal(t, "blocked after", fmt.Sprint(blocked), "[{sub 3 l}]")
	// What is parked later comes after whatever stood there before.
	must(t, write(ctx, s, &driver.Writes{Park: []driver.Parked{row("k", "6", "dead", 0)}}))
	again, err := s.ParkedRows(ctx, service, "sub", "k", 0)
	must(t, err)
	if again[0].Seq <= rows[1].Seq {
		t.Fatalf("seq %d was given out again after %d", again[0].Seq, rows[1].Seq)
	}
}

func testAmendments(t *testing.T, open Opener) {
	s, ctx := opened(t, open), t.Context()
	a := driver.Amendment{Subscription: "sub", Source: "x", ID: "m", Data: []byte(`{"v":1}`), Actor: "op", Why: "typo", Time: 3}
	must(t, write(ctx, s, &driver.Writes{Amendments: []driver.Amendment{a}}))
	a.Discard, a.Data, a.Why = true, []byte{}, "no use"
	must(t, write(ctx, s, &driver.Writes{Amendments: []driver.Amendment{a, {Subscription: "other", ID: "z"}}}))
	got, err := s.Amendments(ctx, service, "sub")
	must(t, err)
	equal(t, "amendments", fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", []driver.Amendment{a}))
}

func testSagas(t *testing.T, open Opener) {
	s, ctx := opened(t, open), t.Context()
	g := func(id, state string, due, started int64) driver.Saga {
		return driver.Saga{
			SagaKey: driver.SagaKey{Name: "checkout", ID: id}, Definition: 1, State: state, Data: []byte("{}"), Due: due, Started: started, Revision: 1,
		}
	}
	must(t, write(ctx, s, &driver.Writes{Sagas: []driver.Saga{g("a", "running", 10, 3), g("b", "waiting", 5, 2), g("c", "completed", 0, 1)}}))
	ids := func(rows []driver.Saga, err error) string {
		t.Helper()
		must(t, err)
		out := ""
		for _, r := range rows {
			out += r.ID
		}
		return out
	}
	equal(t, "all", ids(s.SagaRows(ctx, service, "", "", "", 0)), "cba")
	equal(t, "by state", ids(s.SagaRows(ctx, service, "checkout", "", "running", 0)), "a")
	equal(t, "another name", ids(s.SagaRows(ctx, service, "other", "", "", 0)), "")
	equal(t, "one", ids(s.SagaRows(ctx, service, "checkout", "b", "", 0)), "b")
	equal(t, "one by its id, not the first", ids(s.SagaRows(ctx, service, "", "b", "", 1)), "b")
	equal(t, "one in another state", ids(s.SagaRows(ctx, service, "checkout", "a", "completed", 0)), "")
	equal(t, "due", ids(s.DueSagas(ctx, service, 7, 0)), "b")
	equal(t, "all due", ids(s.DueSagas(ctx, service, 99, 0)), "ba")
	// Written over by who has read what stands there; the last of a batch counts.
	stale := g("b", "running", 0, 2)
	want(t, write(ctx, s, &driver.Writes{Sagas: []driver.Saga{stale}}), driver.ErrConflict)
	next, last := stale, g("b", "compensated", 0, 2)
	next.Revision, last.Revision = 2, 2
	must(t, write(ctx, s, &driver.Writes{Sagas: []driver.Saga{next, last}}))
	want(t, write(ctx, s, &driver.Writes{Sagas: []driver.Saga{last}}), driver.ErrConflict)
	equal(t, "due after", ids(s.DueSagas(ctx, service, 99, 0)), "a")
	equal(t, "state after", ids(s.SagaRows(ctx, service, "checkout", "", "compensated", 0)), "b")
}

func testTimers(t *testing.T, open Opener) {
	s, ctx := opened(t, open), t.Context()
	timer := func(name string, due int64) driver.Timer {
		return driver.Timer{Name: name, Due: due, Stream: "o1", Type: "test.Expire.v1", Data: []byte("{}"), Meta: []byte("{}")}
	}
	must(t, write(ctx, s, &driver.Writes{SetTimers: []driver.Timer{timer("a", 10), timer("b", 20), timer("c", 30)}}))
	due, next, err := s.DueTimers(ctx, service, 20, 0)
	must(t, err)
	equal(t, "due", len(due), 2)
	equal(t, "next", next, 30)
	if due[0].Name != "a" || due[0].Type != "test.Expire.v1" || due[0].Stream != "o1" || string(due[0].Data) != "{}" {
		t.Fatalf("timer: %+v", due[0])
	}
	one, next, err := s.DueTimers(ctx, service, 20, 1)
	must(t, err)
	equal(t, "bounded", len(one), 1)
	equal(t, "next after the bound", next, 20)
	// Set again: the generation that was seen can no longer fire.
	must(t, write(ctx, s, &driver.Writes{SetTimers: []driver.Timer{timer("a", 15)}}))
	want(t, write(ctx, s, &driver.Writes{FiredTimers: due[:1]}), driver.ErrConflict)
	again, _, err := s.DueTimers(ctx, service, 15, 0)
	must(t, err)
	if len(again) != 1 || again[0].Generation <= due[0].Generation {
		t.Fatalf("set again: %+v after %+v", again, due[0])
	}
	// Cancelled and set again, too.
	must(t, write(ctx, s, &driver.Writes{CancelTimers: []string{"a", "never set"}}))
	want(t, write(ctx, s, &driver.Writes{FiredTimers: again}), driver.ErrConflict)
	must(t, write(ctx, s, &driver.Writes{SetTimers: []driver.Timer{timer("a", 15)}}))
	want(t, write(ctx, s, &driver.Writes{FiredTimers: again}), driver.ErrConflict)
	again, _, err = s.DueTimers(ctx, service, 15, 0)
	must(t, err)
	must(t, write(ctx, s, &driver.Writes{FiredTimers: again}))
	want(t, write(ctx, s, &driver.Writes{FiredTimers: again}), driver.ErrConflict)
	must(t, write(ctx, s, &driver.Writes{CancelTimers: []string{"b", "c"}}))
	due, next, err = s.DueTimers(ctx, service, 99, 0)
	must(t, err)
	equal(t, "none left", len(due), 0)
	equal(t, "nothing next", next, 0)
}

func testCalls(t *testing.T, open Opener) {
	s, ctx := opened(t, open), t.Context()
	call := func(id, name, stream string, due int64) driver.Call {
		return driver.Call{ID: id, Name: name, Request: []byte("{}"), Stream: stream, Meta: []byte("{}"), Deadline: 1000, Due: due, Created: 1}
	}
	must(t, write(ctx, s, &driver.Writes{AddCalls: []driver.Call{
		call("1", "mail", "x", 10), call("2", "mail", "x", 10), call("3", "mail", "y", 20), call("4", "pay", "z", 10),
	}}))
	ids := func(rows []driver.Call, err error) string {
		t.Helper()
		must(t, err)
		out := ""
		for _, r := range rows {
			out += r.ID
		}
		return out
	}
	const lease = 100 * time.Microsecond
	equal(t, "waiting", ids(s.Calls(ctx, service, 0)), "1234")
	equal(t, "not due", ids(claimCalls(ctx, s, "mail", 5, lease, 0)), "")
	first, err := claimCalls(ctx, s, "mail", 30, lease, 0)
	equal(t, "the first of each stream", ids(first, err), "13")
	if c := first[0]; c.Attempts != 0 || c.Epoch != 1 || c.Deadline != 1000 || string(c.Request) != "{}" || c.LeaseUntil != 130 {
		t.Fatalf("claimed: %+v", c)
	}
	equal(t, "claimed ones are not free", ids(claimCalls(ctx, s, "mail", 129, lease, 0)), "")
	// The claimer died; after its lease the call comes back as tried before.
	second, err := claimCalls(ctx, s, "mail", 130, lease, 1)
	equal(t, "claimed again", ids(second, err), "1")
	if c := second[0]; c.Attempts != 1 || c.Epoch != 2 {
		t.Fatalf("claimed again: %+v", c)
	}
	end := func(c driver.Call, done bool) error {
		return write(ctx, s, &driver.Writes{EndedCalls: []driver.CallEnd{{ID: c.ID, Epoch: c.Epoch, Done: done, Due: 500, Cause: "busy"}}})
	}
	want(t, end(first[0], true), driver.ErrConflict)
	must(t, end(second[0], false))
	equal(t, "delayed, and the next of its stream waits", ids(claimCalls(ctx, s, "mail", 400, lease, 0)), "3")
	third, err := claimCalls(ctx, s, "mail", 500, lease, 1)
	must(t, err)
	var delayed driver.Call
	for _, c := range append(third, claimMail(t, s, 600)...) {
		if c.ID == "1" {
			delayed = c
		}
	}
	if delayed.Attempts != 2 || delayed.Cause != "busy" {
		t.Fatalf("delayed: %+v", delayed)
	}
	must(t, end(delayed, true))
	equal(t, "the next of its stream", ids(claimCalls(ctx, s, "mail", 601, lease, 0)), "2")
	equal(t, "another name", ids(claimCalls(ctx, s, "pay", 601, lease, 0)), "4")
	equal(t, "left", ids(s.Calls(ctx, service, 0)), "234")
	// What is dropped is gone whoever has claimed it, and what the same batch adds stays.
	must(t, write(ctx, s, &driver.Writes{
		DropCalls: []driver.CallDrop{{Name: "mail", Stream: "x"}, {Name: "mail", Stream: "z"}, {Name: "mail", Stream: "x"}},
		AddCalls:  []driver.Call{call("5", "mail", "x", 10)},
	}))
	equal(t, "left after the drop", ids(s.Calls(ctx, service, 0)), "345")
	equal(t, "the next of its stream", ids(claimCalls(ctx, s, "mail", 601, lease, 0)), "5")
}

// claimCalls claims in a transaction of its own.
func claimCalls(ctx context.Context, s driver.Store, name string, now int64, lease time.Duration, limit int) ([]driver.Call, error) {
	tx, err := s.Begin(ctx)
	if err != nil {
		return nil, err
	}
	calls, err := tx.ClaimCalls(ctx, service, name, now, lease, limit)
	if err != nil {
		return nil, errors.Join(err, tx.Rollback())
	}
	return calls, tx.Commit(ctx)
}

// claimMail claims all that is due, for long.
func claimMail(t *testing.T, s driver.Store, now int64) []driver.Call {
	t.Helper()
	calls, err := claimCalls(t.Context(), s, "mail", now, time.Hour, 0)
	must(t, err)
	return calls
}

func testRequests(t *testing.T, open Opener) {
	s, ctx := opened(t, open), t.Context()
	r := driver.Request{
		Subject: "parked", Action: "redrive", Subscription: "sub", Key: "k", Seq: 4, Data: []byte("{}"), Actor: "op", Why: "fixed", Time: 9,
	}
	one, err := s.PutRequest(ctx, service, r)
	must(t, err)
	two, err := s.PutRequest(ctx, service, driver.Request{Subject: "saga", Action: "abort"})
	must(t, err)
	open2, err := s.OpenRequests(ctx, service, 0)
	must(t, err)
	r.ID = one
	if len(open2) != 2 || fmt.Sprintf("%+v", open2[0]) != fmt.Sprintf("%+v", r) || open2[1].ID != two {
		t.Fatalf("open: %+v", open2)
	}
	must(t, write(ctx, s, &driver.Writes{DoneRequests: []int64{one}}))
	open2, err = s.OpenRequests(ctx, service, 0)
	must(t, err)
	if len(open2) != 1 || open2[0].ID != two {
		t.Fatalf("open: %+v", open2)
	}
	want(t, write(ctx, s, &driver.Writes{DoneRequests: []int64{one}}), driver.ErrConflict)
}

func testPrune(t *testing.T, open Opener) {
	s, ctx := opened(t, open), t.Context()
	w := &driver.Writes{}
	for i := range int64(10) {
		id := fmt.Sprint("id", i)
		w.Records = append(w.Records, event("a", i+1), command(id, "x"))
		w.Answers = append(w.Answers, driver.Answer{ID: id, Time: i})
		w.Inbox = append(w.Inbox, driver.InboxRow{Subscription: "s", Source: "x", ID: id, Time: i})
	}
	must(t, write(ctx, s, w))
	id, err := s.PutRequest(ctx, service, driver.Request{Time: 1})
	must(t, err)
	_, err = s.PutRequest(ctx, service, driver.Request{Time: 1})
	must(t, err)
	must(t, write(ctx, s, &driver.Writes{DoneRequests: []int64{id}}))
	prune := func(before, passed int64, limit int) int64 {
		t.Helper()
		n, _, err := s.Prune(ctx, service, before, passed, limit)
		must(t, err)
		return n
	}
	equal(t, "nothing to do", prune(0, 0, 0), 0)
	equal(t, "bounded", prune(5, 0, 2), 2+2+1)
	equal(t, "the rest", prune(5, 0, 0), 3+3)
	equal(t, "nothing left", prune(5, 0, 0), 0)
	equal(t, "later", prune(10, 0, 0), 5+5)
	const fourth, end = int64(1_000_004), int64(1 << 60) // the time of the event at position 7, and the end of time
	equal(t, "commands that readers passed and that are young", prune(5, 20, 0), 0)
	equal(t, "commands before the first young record", prune(fourth, 20, 2), 2)
	equal(t, "the rest of them", prune(fourth, 20, 2), 1)
	equal(t, "none left", prune(fourth, 20, 0), 0)
	equal(t, "old commands that not all readers passed", prune(end, 6, 0), 0)
	equal(t, "old commands that all readers passed", prune(end, 10, 0), 2)
	equal(t, "commands left", len(read(t, s, driver.ReadQuery{Kinds: []driver.Kind{driver.KindCommand}})), 5)
	equal(t, "events left", len(read(t, s, driver.ReadQuery{Kinds: []driver.Kind{driver.KindEvent}})), 10)
	equal(t, "all commands", prune(end, 20, 0), 5)
	// Positions are not given out twice, though the last record is gone.
	next := &driver.Writes{Records: []driver.Record{event("a", 11)}}
	must(t, write(ctx, s, next))
	equal(t, "position after pruning the last", next.Records[0].Position, 21)
	open2, err := s.OpenRequests(ctx, service, 0)
	must(t, err)
	equal(t, "open requests stay", len(open2), 1)
	// What goes is what was on its way; what happened stays, and so do the seals over it.
	each := &driver.Writes{}
	for _, kind := range []driver.Kind{driver.KindEvent, driver.KindPrivate, driver.KindCommand, driver.KindReply, driver.KindCall, driver.KindSeal} {
		r := command(fmt.Sprint("kind", kind), "x")
		r.Kind = kind
		each.Records = append(each.Records, r)
	}
	must(t, write(ctx, s, each))
	equal(t, "one of each", prune(end, 27, 0), 3)
	var stay []driver.Kind
	for _, r := range read(t, s, driver.ReadQuery{After: 21}) {
		stay = append(stay, r.Kind)
	}
	equal(t, "kinds that stay", fmt.Sprint(stay), fmt.Sprint([]driver.Kind{driver.KindEvent, driver.KindPrivate, driver.KindSeal}))
}

// testPruneLong meets a long log of old events that was never pruned: no transaction looks at all of it, and what is to go
// is found all the same.
func testPruneLong(t *testing.T, open Opener) {
	s, ctx := opened(t, open), t.Context()
	const events, end = 30_000, int64(1 << 60)
	for from := 0; from < events; from += 1000 {
		w := &driver.Writes{}
		for i := range 1000 {
			w.Records = append(w.Records, event("a", int64(from+i+1)))
		}
		must(t, write(ctx, s, w))
	}
	must(t, write(ctx, s, &driver.Writes{Records: []driver.Record{command("last", "x")}}))
	n, more, err := s.Prune(ctx, service, end, end, 0)
	must(t, err)
	equal(t, "rows of the first piece", n, 0)
	equal(t, "more after the first piece", more, true)
	rounds := 0
	for ; more && rounds < 100; rounds++ {
		n, more, err = s.Prune(ctx, service, end, end, 0)
		must(t, err)
	}
	equal(t, "the command behind the events", n, 1)
	if rounds > 100 {
		t.Errorf("%d pieces", rounds)
	}
	_, more, err = s.Prune(ctx, service, end, end, 0)
	must(t, err)
	equal(t, "more at the end", more, false)
}
