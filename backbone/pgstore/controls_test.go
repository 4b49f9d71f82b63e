package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/pgstore"
	"example.org/souk/internal/testserver"
)

// The control of dense positions: a reader that follows a sequence's column jumps
// over rows whose transactions commit later than those behind them, and never
// sees them. The same transactions append to the log, which loses nothing.
func TestReadingBySequenceColumnLosesRows(t *testing.T) {
	t.Parallel()
	const writers, least = 24, 200
	url := testserver.Postgres(t).Database(t)
	writing, reading := migrated(t, pgstore.Config{URL: url, MaxConns: writers + 1}), migrated(t, pgstore.Config{URL: url})
	table := reading.Name(service, "rows")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	stop, stopped := make(chan struct{}), make(chan struct{})
	halt := sync.OnceFunc(func() { close(stop) })
	defer func() { halt(); <-stopped }()
	committed := make([]int64, writers)
	go func() {
		defer close(stopped)
		var all sync.WaitGroup
		for n := range writers {
			all.Go(func() { committed[n] = appendSlowly(ctx, t, writing, n, stop) })
		}
		all.Wait()
	}()
	naive, log := follower{}, follower{}
	next := map[string]int64{} // by stream
	look := func() (found bool) {
		r, err := reading.Query(ctx, "SELECT id FROM "+table+" WHERE id > $1 ORDER BY id", naive.last)
		must(t, err)
		defer func() { must(t, r.Close()) }()
		for r.Next() {
			must(t, r.Scan(&naive.last))
			naive.seen++
			found = true
		}
		must(t, r.Err())
		records, err := reading.Read(ctx, service, driver.ReadQuery{After: log.last, Limit: 50})
		must(t, err)
		for _, record := range records {
			if record.Position != log.last+1 {
				t.Fatalf("position %d follows %d", record.Position, log.last)
			}
			if next[record.Stream]++; next[record.Stream] != record.Version {
				t.Fatalf("stream %s: version %d, want %d", record.Stream, record.Version, next[record.Stream])
			}
			log.last = record.Position
			log.seen++
			found = true
		}
		return found
	}
	// The load goes on until the control has lost something.
	for ended, found := false, true; !ended || found; found = look() {
		if log.seen >= least && number(t, reading, "SELECT count(*) FROM "+table+" WHERE id <= $1", naive.last) > naive.seen {
			halt()
		}
		select {
		case <-stopped:
			ended = true
		case <-ctx.Done():
			halt()
		default:
		}
	}
	<-stopped
	var total int64
	for n, count := range committed {
		if got := next[fmt.Sprintf("w%d", n)]; got != count {
			t.Errorf("of the %d records of writer %d the log's reader saw %d", count, n, got)
		}
		total += count
	}
	if log.seen != total {
		t.Errorf("the log's reader saw %d of %d records", log.seen, total)
	}
	if naive.seen >= total {
		t.Errorf("the control lost nothing of %d rows: this load attacks nothing", total)
	}
	t.Logf("of %d rows the sequence's reader lost %d, the log's reader %d", total, total-naive.seen, total-log.seen)
}

// follower is how far a reader has come.
type follower struct{ last, seen int64 }

// appendSlowly appends to a stream of its own until stop is closed: it takes some
// time between a row's number and the end of its transaction, and rolls one of
// five back. It returns how often it committed.
func appendSlowly(ctx context.Context, t *testing.T, s *pgstore.Store, writer int, stop <-chan struct{}) (version int64) {
	random := rand.New(rand.NewPCG(uint64(writer), 2))
	stream := fmt.Sprintf("w%d", writer)
	delay := func(microseconds int) driver.Statement {
		return driver.Statement{SQL: "SELECT pg_sleep($1)", Args: []any{float64(random.IntN(microseconds)) / 1e6}}
	}
	for n := 0; ; n++ {
		select {
		case <-stop:
			return version
		default:
		}
		tx, err := s.Begin(ctx)
		if err != nil {
			t.Error(err)
			return version
		}
		name := fmt.Sprintf("%s-%d", stream, n)
		_, err = tx.LoadStreams(ctx, service, []driver.StreamWant{{Stream: stream, After: version}})
		if err == nil {
			err = tx.Exec(ctx, []driver.Statement{insert(s, name), delay(10_000)})
		}
		if err == nil {
			err = tx.Apply(ctx, service, &driver.Writes{Records: []driver.Record{event(stream, name, version+1)}})
		}
		if err == nil {
			err = tx.Exec(ctx, []driver.Statement{delay(300)}) // with a position, and the head locked
		}
		if err == nil && random.IntN(5) > 0 {
			if err = tx.Commit(ctx); err == nil {
				version++
			}
		}
		if err := errors.Join(err, tx.Rollback()); err != nil {
			t.Error(err)
			return version
		}
	}
}

// The other control: a reader that waits for all older transactions loses nothing,
// and stands still for as long as anybody on the server, in whatever database,
// leaves a transaction open. Positions do not wait for it.
func TestReadingByOldestTransactionStalls(t *testing.T) {
	t.Parallel()
	server := testserver.PostgresOwn(t) // an open transaction holds back all of a server
	url := server.Database(t)
	writing, reading := migrated(t, pgstore.Config{URL: url}), migrated(t, pgstore.Config{URL: url})
	byHorizon := func() int64 {
		return number(t, reading, "SELECT count(*) FROM "+reading.Name(service, "rows")+
			" WHERE xid < pg_snapshot_xmin(pg_current_snapshot())")
	}
	byPosition := func() (ids []string) {
		records, err := reading.Read(t.Context(), service, driver.ReadQuery{})
		must(t, err)
		for _, r := range records {
			ids = append(ids, r.ID)
		}
		return ids
	}
	must(t, appended(t.Context(), writing, "before"))
	eventually(t, "the horizon's reader sees what was committed", func() bool { return byHorizon() == 1 })

	woken := make(chan string, 1)
	listening, end := context.WithCancel(t.Context())
	listened := make(chan struct{})
	go func() {
		defer close(listened)
		_ = reading.Listen(listening, []string{service}, func(name string, _ int64, _ bool) { // it ends as it is told to
			select {
			case woken <- name:
			default:
			}
		})
	}()
	defer func() { end(); <-listened }()
	<-woken // once for the connection

	foreign := connect(t, server.URL())
	run(t, foreign, "BEGIN", "SELECT pg_current_xact_id()")
	const more = 5
	want := []string{"before"}
	for n := range more {
		name := fmt.Sprintf("during-%d", n)
		must(t, appended(t.Context(), writing, name))
		want = append(want, name)
		if got := byPosition(); !slices.Equal(got, want) {
			t.Fatalf("by position: %v, want %v", got, want)
		}
	}
	select {
	case <-woken:
	case <-t.Context().Done():
		t.Error("nobody was woken")
	}
	if n := byHorizon(); n != 1 {
		t.Errorf("the control saw %d rows beyond an open transaction: it does not stall", n-1)
	}
	run(t, foreign, "ROLLBACK")
	eventually(t, "the horizon's reader goes on with the transaction's end", func() bool { return byHorizon() == 1+more })
}
