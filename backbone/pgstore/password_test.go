package pgstore_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/pgstore"
	"example.org/souk/internal/testserver"
)

// F10, FAILURES 43: a password that stands in a file changes while the store is used, and nothing fails: what is connected stays so, and what needs
// a connection between the two steps of the change waits for the second. A listener that was cut off is back with the new one. A password that
// stays wrong is a database that is away. Red where the file is read once, where nobody waits, and where a refused login is an unknown error.
func TestF10_APasswordChangesUnderLoad(t *testing.T) {
	t.Parallel()
	server := testserver.PostgresOwn(t)
	server.Guard()
	admin := server.Database(t)
	change := func(password string) { server.Psql(t, admin, "ALTER ROLE desk PASSWORD '"+password+"'") }
	server.Psql(t, admin, "CREATE ROLE desk LOGIN; GRANT ALL ON DATABASE "+admin[strings.LastIndexByte(admin, '/')+1:strings.IndexByte(admin, '?')]+" TO desk;")
	change("first")
	file := filepath.Join(t.TempDir(), "pgpass")
	write := func(password string) {
		if err := os.WriteFile(file, []byte("*:*:*:desk:"+password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first")
	store, err := pgstore.Open(t.Context(), pgstore.Config{URL: strings.Replace(admin, "postgres@", "desk@", 1) + "&passfile=" + file, MaxConns: 8})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := store.Migrate(t.Context(), []driver.Schema{{Service: "desks"}}); err != nil {
		t.Fatal(err)
	}
	woken := make(chan bool, 16)
	ctx, end := context.WithCancel(t.Context())
	var listening sync.WaitGroup
	listening.Go(func() {
		_ = store.Listen(ctx, []string{"desks"}, func(string, int64, bool) {
			select {
			case woken <- true:
			default:
			}
		})
	})
	defer listening.Wait()
	defer end()
	<-woken

	// hold takes a connection that is kept until the transaction is rolled back.
	hold := func() (driver.Tx, error) {
		tx, err := store.Begin(t.Context())
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { _ = tx.Rollback() }) // where the test fails before it does so
		if _, err := tx.Answers(t.Context(), "desks", []string{"a"}); err != nil {
			return nil, errors.Join(err, tx.Rollback())
		}
		return tx, nil
	}
	first, err := hold()
	if err != nil {
		t.Fatal(err)
	}
	change("second")
	type result struct {
		tx  driver.Tx
		err error
	}
	results := make(chan result, 6)
	for range 6 { // one connection is there at most, so most of them need a new one
		go func() { tx, err := hold(); results <- result{tx, err} }()
	}
	var done []driver.Tx
	for quiet := false; !quiet; {
		select {
		case r := <-results:
			if r.err != nil {
				t.Errorf("between the two steps of a change: %v", r.err)
			}
			done = append(done, r.tx)
		case <-time.After(300 * time.Millisecond):
			quiet = true
		}
	}
	if len(done) == 6 {
		t.Error("nobody needed a new connection")
	}
	write("second")
	for len(done) < 6 {
		r := <-results
		if r.err != nil {
			t.Fatalf("after the change: %v", r.err)
		}
		done = append(done, r.tx)
	}
	for _, tx := range append(done, first) {
		if err := tx.Rollback(); err != nil {
			t.Error(err)
		}
	}

	for len(woken) > 0 {
		<-woken
	}
	server.Psql(t, admin, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'desk'")
	select {
	case <-woken:
	case <-time.After(20 * time.Second):
		t.Error("the listener does not come back")
	}
	// What was cut off is found out by its first use.
	for began := time.Now(); ; {
		tx, err := hold()
		if err == nil {
			err = tx.Rollback()
		}
		if err == nil {
			break
		}
		if !errors.Is(err, driver.ErrUnavailable) || time.Since(began) > 20*time.Second {
			t.Fatal(err)
		}
	}

	change("third")
	server.Psql(t, admin, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'desk'")
	for range 2 {
		if _, err := store.Now(t.Context()); !errors.Is(err, driver.ErrUnavailable) {
			t.Errorf("with a password that stays wrong: %v", err)
		}
	}
}
