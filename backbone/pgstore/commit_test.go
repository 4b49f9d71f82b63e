package pgstore_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/pgstore"
	"example.org/souk/internal/testserver"
)

// wire is a database with two stores: one reaches it through a proxy, the other
// straight.
type wire struct {
	proxy   *testserver.Proxy
	through *pgstore.Store
	direct  *pgstore.Store
}

func wired(t *testing.T, address string) *wire {
	t.Helper()
	w := &wire{proxy: proxyTo(t, address)}
	pool, err := pgxpool.New(t.Context(), w.proxy.Through(address)) // its own, which tries at once whatever fails
	must(t, err)
	t.Cleanup(pool.Close)
	w.through = migrated(t, pgstore.Config{Pool: pool})
	w.direct = migrated(t, pgstore.Config{URL: address})
	return w
}

func proxyTo(t *testing.T, address string) *testserver.Proxy {
	t.Helper()
	u, err := url.Parse(address)
	must(t, err)
	return testserver.NewProxy(t, u.Host)
}

// begun returns a transaction through the proxy that waits for its commit.
func (w *wire) begun(t *testing.T, name string) driver.Tx {
	t.Helper()
	tx, err := begun(t.Context(), w.through, name, name, 1)
	must(t, err)
	return tx
}

// commit commits a transaction whose connection is cut meanwhile.
func (w *wire) commit(t *testing.T, tx driver.Tx) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := tx.Commit(ctx)
	if n := w.proxy.Cuts(); n != 1 {
		t.Fatalf("the connection was cut %d times, and the commit gave %v", n, err)
	}
	must(t, tx.Rollback())
	return err
}

// there tells whether a transaction is in: its row and its record, each once.
func (w *wire) there(t *testing.T, name string) bool {
	t.Helper()
	r, err := w.direct.Query(t.Context(), "SELECT (SELECT count(*) FROM "+w.direct.Name(service, "rows")+" WHERE name = $1), "+
		"(SELECT count(*) FROM "+w.direct.Name(service, "bb_log")+" WHERE id = $1)", name)
	must(t, err)
	defer func() { must(t, r.Close()) }()
	if !r.Next() {
		t.Fatalf("no row: %v", r.Err())
	}
	var rows, records int
	must(t, r.Scan(&rows, &records))
	if rows != records || rows > 1 {
		t.Fatalf("%s: %d rows and %d records", name, rows, records)
	}
	return rows == 1
}

// settled checks that what Commit says of a transaction is true.
func (w *wire) settled(t *testing.T, name string, err error, committed bool) {
	t.Helper()
	if there := w.there(t, name); there != committed {
		t.Errorf("the transaction is in: %t, want %t", there, committed)
	}
	switch {
	case committed && err != nil:
		t.Errorf("a commit that is in gave %v", err)
	case !committed && !errors.Is(err, driver.ErrUnavailable):
		t.Errorf("a commit that is not in gave %v, want %v", err, driver.ErrUnavailable)
	}
}

// usable checks that nothing is left of what went before: no lock, no gap.
func (w *wire) usable(t *testing.T) {
	t.Helper()
	for i, s := range []*pgstore.Store{w.direct, w.through} {
		head, err := s.Head(t.Context(), service)
		must(t, err)
		name := fmt.Sprintf("after-%d", i)
		must(t, appended(t.Context(), s, name))
		records, err := w.direct.Read(t.Context(), service, driver.ReadQuery{ID: name})
		must(t, err)
		if len(records) != 1 || records[0].Position != head+1 {
			t.Errorf("after position %d came %v", head, records)
		}
	}
}

// commitMessage is how many bytes ask the server to commit: a letter, a length,
// and the statement with a zero.
const commitMessage = 1 + 4 + int64(len("COMMIT\x00"))

func TestConnectionLostAtCommit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		direction testserver.Direction
		bytes     int64 // that pass before the cut
		committed bool
	}{
		{"BeforeItArrives", testserver.Upstream, 0, false},
		{"WithinIt", testserver.Upstream, commitMessage - 1, false},
		{"BeforeItsAnswer", testserver.Downstream, 0, true},
		{"WithinItsAnswer", testserver.Downstream, 3, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := wired(t, testserver.Postgres(t).Database(t))
			tx := w.begun(t, "x")
			w.proxy.CutAfter(c.direction, c.bytes)
			err := w.commit(t, tx)
			w.settled(t, "x", err, c.committed)
			w.usable(t)
		})
	}
}

// The server is still at the commit when the store asks about it: the store must
// wait, and take it neither for lost nor for done.
func TestConnectionLostDuringCommit(t *testing.T) {
	t.Parallel()
	w := slowCommits(t)
	tx := w.begun(t, "x")
	var looks atomic.Int32
	asked := func() {
		if looks.Add(1) == 2 {
			if w.there(t, "x") {
				t.Error("the commit did not wait")
			}
			w.finish(t)
			eventually(t, "the commit is in", func() bool { return w.there(t, "x") })
		}
	}
	w.asked.Store(&asked)
	w.proxy.CutAfter(testserver.Upstream, commitMessage)
	err := w.commit(t, tx)
	if n := looks.Load(); n < 2 {
		t.Fatalf("the store looked %d times", n)
	}
	w.settled(t, "x", err, true)
	w.usable(t)
}

// A session that sits in its transaction, its client gone, would keep the log's
// head locked for everybody. It is ended, and its transaction with it.
func TestSessionLeftBehindIsEnded(t *testing.T) {
	t.Parallel()
	w := slowCommits(t)
	tx := w.begun(t, "x")
	w.proxy.CutAfter(testserver.Upstream, commitMessage)
	err := w.commit(t, tx)
	w.settled(t, "x", err, false)
	w.finish(t)
	w.usable(t)
	w.settled(t, "x", err, false)
}

// slow is a database in which a commit takes until the test lets it finish.
type slow struct {
	*wire
	gate  *pgx.Conn              // holds the lock that commits wait for
	asked atomic.Pointer[func()] // called before the store connects in order to ask
}

// asking is a connection that calls first before it sends something, and that
// loses what pgx sends on behalf of one that broke: a request to cancel.
type asking struct {
	net.Conn
	first func()
}

func (c *asking) Write(b []byte) (int, error) {
	const cancel = 80877102
	if len(b) == 16 && binary.BigEndian.Uint32(b[4:]) == cancel {
		return 0, net.ErrClosed
	}
	c.first()
	c.first = func() {}
	return c.Conn.Write(b)
}

func slowCommits(t *testing.T) *slow {
	t.Helper()
	address := testserver.Postgres(t).Database(t)
	w := &slow{wire: &wire{proxy: proxyTo(t, address)}, gate: connect(t, address)}
	config, err := pgxpool.ParseConfig(w.proxy.Through(address))
	must(t, err)
	dial := config.ConnConfig.DialFunc
	config.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if asked := w.asked.Load(); asked != nil {
			return &asking{conn, *asked}, err
		}
		return &asking{conn, func() {}}, err
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	must(t, err)
	t.Cleanup(pool.Close)
	w.through, w.direct = migrated(t, pgstore.Config{Pool: pool}), migrated(t, pgstore.Config{URL: address})
	run(t, w.gate,
		`CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$
			BEGIN PERFORM pg_advisory_xact_lock_shared(7); RETURN NULL; END $$`,
		"CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON "+w.direct.Name(service, "rows")+
			" DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait()",
		"SELECT pg_advisory_lock(7)")
	return w
}

// finish lets commits finish.
func (w *slow) finish(t *testing.T) { run(t, w.gate, "SELECT pg_advisory_unlock(7)") }

// Wherever in a transaction its connection is cut, it is in once if Commit returns
// nil, and otherwise not at all.
func TestConnectionLostAnywhere(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		direction testserver.Direction
		step      int64 // so small that the answer to COMMIT is not stepped over
	}{{"Upstream", testserver.Upstream, 97}, {"Downstream", testserver.Downstream, 13}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := wired(t, testserver.Postgres(t).Database(t))
			lost, kept := 0, 0
			for bytes := int64(0); ; bytes += c.step {
				name, cuts := fmt.Sprintf("at-%d", bytes), w.proxy.Cuts()
				w.proxy.CutAfter(c.direction, bytes)
				err := appended(t.Context(), w.through, name)
				if w.proxy.Cuts() == cuts {
					must(t, err)
					break // it ended before the cut
				}
				w.settled(t, name, err, err == nil)
				if err == nil {
					kept++
				} else {
					lost++
				}
			}
			t.Logf("%d transactions were cut off, %d more are in all the same", lost, kept)
			if lost < 20 || kept == 0 && c.direction == testserver.Downstream {
				t.Error("these cuts attack nothing")
			}
			w.proxy.CutAfter(c.direction, 1<<40)
			w.usable(t)
		})
	}
}

// A server that crashes at the commit is asked when it is back. It does not know
// the transaction then, or worse, it knows another one by the same id: what did
// not reach the disk gives out no ids.
func TestServerCrashesAtCommit(t *testing.T) {
	t.Parallel()
	// Nothing of the log reaches the disk before a commit asks for it.
	server := testserver.PostgresOwn(t, "wal_writer_delay=10s")
	w := wired(t, server.Database(t))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	outcome := make(chan error, 1)
	commit := func(tx driver.Tx, gone func() bool) {
		t.Helper()
		go func() { outcome <- tx.Commit(ctx) }()
		eventually(t, "the connection is gone", gone)
	}
	closed := func() bool { return w.proxy.Connections() == 0 }
	back := func(s *pgstore.Store) {
		t.Helper()
		eventually(t, "the pool has no connection to the old server left", func() bool {
			_, err := s.Head(ctx, service)
			return err == nil
		})
	}
	restart := func() {
		t.Helper()
		server.Restart()
		back(w.direct)
	}
	tx := w.begun(t, "lost")
	server.Kill()
	commit(tx, closed)
	select {
	case err := <-outcome:
		t.Fatalf("the outcome cannot be known yet: %v", err)
	default:
	}
	restart()
	w.settled(t, "lost", <-outcome, false)

	back(w.through)
	tx = w.begun(t, "kept")
	w.proxy.CutAfter(testserver.Downstream, 0)
	commit(tx, func() bool { return w.proxy.Cuts() == 1 })
	restart()
	w.settled(t, "kept", <-outcome, true)

	back(w.through)
	tx = w.begun(t, "taken for another")
	server.Kill()
	w.proxy.Down()
	restart()
	for n := range 10 {
		must(t, appended(ctx, w.direct, fmt.Sprintf("another-%d", n)))
	}
	commit(tx, closed)
	w.proxy.Up()
	w.settled(t, "taken for another", <-outcome, false)
	back(w.through)
	w.usable(t)
}

// What appends nothing is taken for another as easily: a view that follows a log only moves its checkpoint, one that follows a
// broker only notes the message, a command that is refused only its answer. Whoever believed that they are in would go on from
// where the database is not, or take a message off its broker that has had no effect. Red where what has no record to look for is believed.
func TestServerCrashesAtCommitOfLittle(t *testing.T) {
	t.Parallel()
	server := testserver.PostgresOwn(t, "wal_writer_delay=10s")
	w := wired(t, server.Database(t))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := w.direct.InitSubscription(ctx, service, "view", 2, map[string]int64{service: 0})
	must(t, err)
	held, err := w.direct.Claim(ctx, service, "view", "owner", 2, time.Hour)
	must(t, err)
	move := func(slice int) driver.Move {
		return driver.Move{Subscription: "view", Source: service, Slice: slice, Epoch: held[slice].Epoch, To: 5}
	}
	of := func(name string, slice int) map[string]*driver.Writes {
		return map[string]*driver.Writes{
			"a checkpoint": {Moves: []driver.Move{move(slice)}},
			"an inbox":     {Inbox: []driver.InboxRow{{Subscription: "view", Source: "elsewhere", ID: name, Hash: "hash"}}},
			"an answer":    {Answers: []driver.Answer{{ID: name, Fingerprint: "print", Outcome: 2, Data: []byte("{}")}}},
			"a note":       {Values: []driver.Value{{Name: name, Data: []byte("{}")}}},
		}
	}
	begin := func(of map[string]*driver.Writes) map[string]driver.Tx {
		t.Helper()
		txs := map[string]driver.Tx{}
		for what, writes := range of {
			tx, err := w.through.Begin(ctx)
			must(t, err)
			must(t, tx.Apply(ctx, service, writes))
			txs[what] = tx
		}
		return txs
	}
	back := func(s *pgstore.Store) {
		t.Helper()
		eventually(t, "the pool has no connection to the old server left", func() bool {
			_, err := s.Head(ctx, service)
			return err == nil
		})
	}

	lost := begin(of("lost", 0))
	server.Kill()
	w.proxy.Down()
	server.Restart()
	back(w.direct)
	for n := range 10 {
		must(t, appended(ctx, w.direct, fmt.Sprintf("another-%d", n)))
	}
	w.proxy.Up()
	for what, tx := range lost {
		if err := tx.Commit(ctx); !errors.Is(err, driver.ErrUnavailable) {
			t.Errorf("the commit of %s that is not in gave %v, want %v", what, err, driver.ErrUnavailable)
		}
	}

	// What can be looked for and is in is believed, also when the server has crashed since.
	kept := of("kept", 1)
	delete(kept, "a note")
	for what, writes := range kept {
		back(w.through)
		tx := begin(map[string]*driver.Writes{what: writes})[what]
		cuts := w.proxy.Cuts()
		w.proxy.CutAfter(testserver.Downstream, 0)
		outcome := make(chan error, 1)
		go func() { outcome <- tx.Commit(ctx) }()
		eventually(t, "the answer is cut off", func() bool { return w.proxy.Cuts() > cuts })
		server.Restart()
		if err := <-outcome; err != nil {
			t.Errorf("the commit of %s that is in gave %v", what, err)
		}
	}
}

// A process that stands still in the middle of a transaction, with the log's head locked, holds up who writes to that log no longer than a store lets
// it. Red where the server waits for it.
func TestWhoStandsStillInATransactionIsEnded(t *testing.T) {
	t.Parallel()
	url := testserver.Postgres(t).Database(t)
	still := migrated(t, pgstore.Config{URL: url, Idle: 200 * time.Millisecond})
	other := migrated(t, pgstore.Config{URL: url})
	tx, err := still.Begin(t.Context())
	must(t, err)
	defer func() { _ = tx.Rollback() }()
	must(t, tx.Apply(t.Context(), service, &driver.Writes{Records: []driver.Record{event("1", "stream", 1)}}))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	must(t, applied(ctx, other, &driver.Writes{Records: []driver.Record{event("2", "other", 1)}}))
	if err := tx.Commit(t.Context()); err == nil {
		t.Error("what stood still for too long was committed")
	}
	must(t, applied(t.Context(), still, &driver.Writes{Records: []driver.Record{event("3", "third", 1)}}))
}
