package drivertest

import (
	"context"
	"fmt"
	"testing"

	"example.org/souk/backbone/driver"
)

func testLoadStreams(t *testing.T, open Opener) {
	s, ctx := opened(t, open), t.Context()
	private := event("a", 3)
	private.Kind, private.Sequence = driver.KindPrivate, 0
	other := event("a", 4)
	other.Kind, other.Sequence = driver.KindPrivate, 0
	reply := command("a", "x") // a record of the stream that is no event
	reply.Stream = "a"
	must(t, write(ctx, s, &driver.Writes{Records: []driver.Record{event("a", 1), event("b", 1), event("a", 2), reply, private, other}}))
	for _, c := range []struct {
		want              driver.StreamWant
		version, sequence int64
		records           string
	}{
		{driver.StreamWant{Stream: "a"}, 4, 2, "a-1 a-2 a-3 a-4"},
		{driver.StreamWant{Stream: "a", After: 1}, 4, 2, "a-2 a-3 a-4"},
		{driver.StreamWant{Stream: "a", After: 3}, 4, 2, "a-4"},
		{driver.StreamWant{Stream: "a", After: 4}, 4, 2, ""},
		{driver.StreamWant{Stream: "b"}, 1, 1, "b-1"},
		{driver.StreamWant{Stream: "new"}, 0, 0, ""},
		{driver.StreamWant{Stream: "new", Schema: "v1"}, 0, 0, ""},
	} {
		tx := begin(t, s)
		got, err := tx.LoadStreams(ctx, service, []driver.StreamWant{{Stream: "zz"}, c.want, {Stream: "0"}})
		must(t, err)
		must(t, tx.Rollback())
		equal(t, fmt.Sprintf("%+v version", c.want), got[1].Version, c.version)
		equal(t, fmt.Sprintf("%+v sequence", c.want), got[1].Sequence, c.sequence)
		equal(t, fmt.Sprintf("%+v records", c.want), idsOf(got[1].Records), c.records)
	}
	// The records of a transaction count for what it loads after.
	tx := begin(t, s)
	defer func() { _ = tx.Rollback() }()
	got, err := tx.LoadStreams(ctx, service, nil)
	must(t, err)
	equal(t, "nothing wanted", len(got), 0)
}

func idsOf(rs []driver.Record) string {
	ids := ""
	for i, r := range rs {
		if i > 0 {
			ids += " "
		}
		ids += r.ID
	}
	return ids
}

func testSnapshots(t *testing.T, open Opener) {
	s, ctx := opened(t, open), t.Context()
	must(t, write(ctx, s, &driver.Writes{
		Records:   []driver.Record{event("a", 1), event("a", 2), event("a", 3)},
		Snapshots: []driver.Snapshot{{Stream: "a", Version: 1, Schema: "v1", Data: []byte("old")}, {Stream: "a", Version: 2, Schema: "v1", Data: []byte("two")}},
	}))
	// One that comes late does not take the place of a newer one.
	must(t, write(ctx, s, &driver.Writes{Snapshots: []driver.Snapshot{{Stream: "a", Version: 1, Schema: "v1", Data: []byte("late")}}}))
	load := func(w driver.StreamWant) driver.StreamData {
		t.Helper()
		tx := begin(t, s)
		defer func() { _ = tx.Rollback() }()
		got, err := tx.LoadStreams(ctx, service, []driver.StreamWant{w})
		must(t, err)
		return got[0]
	}
	d := load(driver.StreamWant{Stream: "a", Schema: "v1"})
	if d.Snapshot == nil || d.Snapshot.Version != 2 || string(d.Snapshot.Data) != "two" || d.Snapshot.Stream != "a" || d.Snapshot.Schema != "v1" {
		t.Fatalf("snapshot: %+v", d.Snapshot)
	}
	equal(t, "records above it", idsOf(d.Records), "a-3")
	equal(t, "version", d.Version, 3)
	// A layout that the caller does not read is as if it were not there.
	d = load(driver.StreamWant{Stream: "a", Schema: "v2"})
	if d.Snapshot != nil {
		t.Fatal("a snapshot of another layout was returned")
	}
	equal(t, "records without one", idsOf(d.Records), "a-1 a-2 a-3")
	if d = load(driver.StreamWant{Stream: "a", Schema: "v1", After: 1}); d.Snapshot != nil || idsOf(d.Records) != "a-2 a-3" {
		t.Fatalf("with a version of its own: %+v", d)
	}
	must(t, write(ctx, s, &driver.Writes{Snapshots: []driver.Snapshot{{Stream: "a", Version: 3, Schema: "v1", Data: []byte("three")}}}))
	d = load(driver.StreamWant{Stream: "a", Schema: "v1"})
	if d.Snapshot.Version != 3 || len(d.Records) != 0 || d.Version != 3 || d.Sequence != 3 {
		t.Fatalf("at the end: %+v", d)
	}
}

func testRead(t *testing.T, open Opener) {
	s, ctx := opened(t, open), t.Context()
	other := event("b", 1)
	other.Type = "test.Other.v1"
	must(t, write(ctx, s, &driver.Writes{Records: []driver.Record{
		event("a", 1), other, command("c1", "inventory"), event("a", 2), command("c2", "payments"),
	}}))
	for _, c := range []struct {
		q    driver.ReadQuery
		want string
	}{
		{driver.ReadQuery{}, "a-1 b-1 c1 a-2 c2"},
		{driver.ReadQuery{After: 1, Until: 4}, "b-1 c1 a-2"},
		{driver.ReadQuery{Limit: 2}, "a-1 b-1"},
		{driver.ReadQuery{After: 3, Limit: 1}, "a-2"},
		{driver.ReadQuery{Descending: true, Limit: 2}, "c2 a-2"},
		{driver.ReadQuery{Descending: true, After: 2, Until: 4}, "a-2 c1"},
		{driver.ReadQuery{Kinds: []driver.Kind{driver.KindCommand}}, "c1 c2"},
		{driver.ReadQuery{Kinds: []driver.Kind{driver.KindEvent}, Stream: "a"}, "a-1 a-2"},
		{driver.ReadQuery{Types: []string{"test.Other.v1", "test.Do.v1"}}, "b-1 c1 c2"},
		{driver.ReadQuery{Types: []string{driver.AnyVersion("test.Other.v3"), "test.Do.v2"}}, "b-1"},
		{driver.ReadQuery{Types: []string{"test.Oth.v*"}}, ""},
		{driver.ReadQuery{Stream: "a"}, "a-1 a-2"},
		{driver.ReadQuery{Stream: "s-c1"}, "c1"},
		{driver.ReadQuery{Target: "payments"}, "c2"},
		{driver.ReadQuery{ID: "b-1"}, "b-1"},
		{driver.ReadQuery{Ref: "ref-c1"}, "c1"},
		{driver.ReadQuery{Correlation: "c-a"}, "a-1 a-2"},
		{driver.ReadQuery{Correlation: "c-"}, ""},
		{driver.ReadQuery{Bytes: 1}, "a-1"},
		{driver.ReadQuery{Bytes: 8}, "a-1 b-1"},
		{driver.ReadQuery{After: 99}, ""},
	} {
		equal(t, fmt.Sprintf("%+v", c.q), idsOf(read(t, s, c.q)), c.want)
	}
}

// testListen commits in one store and is woken in another.
func testListen(t *testing.T, open Opener) {
	s := opened(t, open)
	if !s.Powers().Notify {
		if err := s.Listen(t.Context(), []string{service}, func(string, int64, bool) {}); err == nil {
			t.Fatal("Listen works without the power Notify")
		}
		return
	}
	listener := opened(t, open)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	woken := make(chan string, 1)
	ended := make(chan error, 1)
	listening, stop := context.WithCancel(ctx)
	go func() {
		ended <- listener.Listen(listening, []string{service}, func(name string, _ int64, _ bool) {
			select {
			case woken <- name:
			default:
			}
		})
	}()
	for n := int64(1); n <= 3; n++ {
		select { // once for the connection, then for each commit
		case name := <-woken:
			equal(t, "woken for", name, service)
		case <-ctx.Done():
			t.Fatal("not woken")
		}
		must(t, write(ctx, s, &driver.Writes{Records: []driver.Record{event("a", n)}}))
	}
	stop()
	want(t, <-ended, context.Canceled)
}
