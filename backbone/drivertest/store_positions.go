package drivertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"example.org/souk/backbone/driver"
)

// patience bounds how long a test waits for what must come.
const patience = 30 * time.Second

// testPositions has many writers, some of which roll back, and a reader that
// follows the log by position alone. It must see every record once, in order,
// without holes.
func testPositions(t *testing.T, open Opener) {
	s := opened(t, open)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	const writers, batches = 32, 12
	committed := make([]int, writers)
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		var all sync.WaitGroup
		for n := range writers {
			all.Go(func() { committed[n] = appendSome(ctx, t, s, n, batches) })
		}
		all.Wait()
	}()
	// After the writers have finished, one more look sees the rest.
	var seen []driver.Record
	last := int64(0)
	for ended := false; ; {
		rs, err := s.Read(ctx, service, driver.ReadQuery{After: last, Limit: 50})
		must(t, err)
		for _, r := range rs {
			if r.Position != last+1 {
				t.Fatalf("position %d follows %d", r.Position, last)
			}
			last = r.Position
		}
		seen = append(seen, rs...)
		if len(rs) > 0 {
			continue
		}
		if ended {
			break
		}
		select {
		case <-finished:
			ended = true
		default:
		}
	}
	next := map[string]int64{}
	for _, r := range seen {
		if next[r.Stream]++; next[r.Stream] != r.Version {
			t.Fatalf("stream %s: version %d, want %d", r.Stream, r.Version, next[r.Stream])
		}
	}
	total := 0
	for n, count := range committed {
		equal(t, fmt.Sprintf("records of writer %d", n), int(next[fmt.Sprintf("w%d", n)]), count)
		total += count
	}
	equal(t, "records seen", len(seen), total)
}

// appendSome commits some batches of a stream of its own and rolls others back.
// It returns how many records it committed.
func appendSome(ctx context.Context, t *testing.T, s driver.Store, writer, batches int) int {
	random := rand.New(rand.NewPCG(uint64(writer), 1))
	stream, version := fmt.Sprintf("w%d", writer), 0
	for range batches {
		tx, err := s.Begin(ctx)
		if err != nil {
			t.Error(err)
			return version
		}
		var w driver.Writes
		for i := range 1 + random.IntN(4) {
			w.Records = append(w.Records, event(stream, int64(version+i+1)))
		}
		_, err = tx.LoadStreams(ctx, service, []driver.StreamWant{{Stream: stream, After: int64(version)}})
		if err == nil {
			err = tx.Apply(ctx, service, &w)
		}
		if err == nil && random.IntN(5) > 0 {
			err = tx.Commit(ctx)
			version += len(w.Records)
		}
		if err := errors.Join(err, tx.Rollback()); err != nil {
			t.Error(err)
			return version
		}
	}
	return version
}

// testAppenders has many writers on one stream: each version is won by one.
func testAppenders(t *testing.T, open Opener) {
	s, ctx := opened(t, open), t.Context()
	const appenders, each = 16, 5
	var all sync.WaitGroup
	for n := range appenders {
		all.Go(func() {
			for i := range each {
				if err := appendNext(ctx, s, fmt.Sprintf("%d-%d", n, i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	for i, r := range read(t, s, driver.ReadQuery{}) {
		equal(t, "version", r.Version, int64(i+1))
	}
	head, err := s.Head(ctx, service)
	must(t, err)
	equal(t, "head", head, appenders*each)
}

// appendNext appends at the version that it loads, again where it lost.
func appendNext(ctx context.Context, s driver.Store, id string) error {
	for {
		tx, err := s.Begin(ctx)
		if err != nil {
			return err
		}
		loaded, err := tx.LoadStreams(ctx, service, []driver.StreamWant{{Stream: "hot"}})
		if err == nil {
			r := event("hot", loaded[0].Version+1)
			r.ID = id
			err = tx.Apply(ctx, service, &driver.Writes{Records: []driver.Record{r}})
		}
		if err == nil {
			err = tx.Commit(ctx)
		}
		if err := errors.Join(err, tx.Rollback()); !errors.Is(err, driver.ErrConflict) {
			return err
		}
	}
}
