package sqlitestore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/sqlitestore"
	"example.org/souk/internal/testserver"
)

// asProcess has the test binary do one of the things below instead of testing, so
// that a test can have a second process, and kill it.
const asProcess = "SQLITESTORE_TEST_AS_PROCESS"

func TestMain(m *testing.M) {
	does := map[string]func(path string) error{"opener": openOnce, "writer": writeForEver, "foreigner": holdForEver}
	what := os.Getenv(asProcess)
	if what == "" {
		os.Exit(m.Run())
	}
	if err := does[what](os.Args[1]); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func start(t *testing.T, what, path string) *testserver.Process {
	t.Helper()
	program, err := os.Executable()
	must(t, err)
	return testserver.Command{Args: []string{program, path}, Env: []string{asProcess + "=" + what}}.Start(t)
}

func openOnce(path string) error {
	s, err := sqlitestore.Open(context.Background(), sqlitestore.Config{Path: path})
	if err != nil {
		return err
	}
	return s.Close()
}

// holdForEver has the database in a transaction of SQLite's own, without the lock.
func holdForEver(path string) error {
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		return err
	}
	for _, text := range []string{"CREATE TABLE foreign_one (x)", "BEGIN EXCLUSIVE"} {
		if _, err := db.Exec(text); err != nil {
			return err
		}
	}
	fmt.Println("holding")
	select {}
}

// service is what the writing process keeps, with a table beside its log.
const service = "orders"

var schemas = []driver.Schema{{Service: service, Migrations: fstest.MapFS{"0001_rows.sql": {
	Data: []byte("-- +goose Up\nCREATE TABLE {rows} (batch BIGINT NOT NULL, n BIGINT NOT NULL);\n-- +goose Down\nDROP TABLE {rows};\n"),
}}}}

// each is how many rows and records a batch has.
const each = 7

// writeForEver commits batches and prints the number of each that is in.
func writeForEver(path string) error {
	ctx := context.Background()
	s, err := sqlitestore.Open(ctx, sqlitestore.Config{Path: path})
	if err != nil {
		return err
	}
	if err := s.Migrate(ctx, schemas); err != nil {
		return err
	}
	head, err := s.Head(ctx, service)
	for batch := head / each; err == nil; batch++ {
		if err = writeBatch(ctx, s, batch); err == nil {
			fmt.Printf("committed %d\n", batch)
		}
	}
	return err
}

func writeBatch(ctx context.Context, s *sqlitestore.Store, batch int64) error {
	tx, err := s.Begin(ctx)
	if err != nil {
		return err
	}
	var w driver.Writes
	var statements []driver.Statement
	for n := range each {
		w.Records = append(w.Records, driver.Record{
			Kind: driver.KindEvent, ID: fmt.Sprintf("%d-%d", batch, n), Stream: fmt.Sprint("s", n), Version: batch + 1, Sequence: batch + 1,
			Type: "test.Happened.v1", Data: make([]byte, 32<<10), Meta: []byte(`{}`),
		})
		statements = append(statements, driver.Statement{
			Unit: n, SQL: "INSERT INTO " + s.Name(service, "rows") + " (batch, n) VALUES ($1, $2)", Args: []any{batch, n},
		})
	}
	err = tx.Exec(ctx, statements)
	if err == nil {
		err = tx.Apply(ctx, service, &w)
	}
	if err == nil {
		err = tx.Commit(ctx)
	}
	return errors.Join(err, tx.Rollback())
}

// A process that is killed loses nothing that it has called committed, leaves no
// half of a batch, and does not keep the database from the next one.
func TestKilledWriter(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "test.db")
	batches := int64(0)
	for _, more := range []int64{1, 40, 90} { // the last ones while the write-ahead log is copied
		writer := start(t, "writer", path)
		writer.WaitLine(fmt.Sprintf("committed %d", batches+more-1))
		writer.Kill9()
		acknowledged := int64(strings.Count(writer.Stdout(), "committed "))

		s := open(t, path)
		intact(t, s)
		must(t, s.Migrate(t.Context(), schemas))
		head, err := s.Head(t.Context(), service)
		must(t, err)
		if head%each != 0 || head/each < batches+acknowledged || head/each > batches+acknowledged+1 {
			t.Errorf("%d records are in after %d batches of %d and one more at most", head, batches+acknowledged, each)
		}
		batches = head / each
		last := int64(0)
		for {
			records, err := s.Read(t.Context(), service, driver.ReadQuery{After: last})
			must(t, err)
			if len(records) == 0 {
				break
			}
			for _, r := range records {
				if want := fmt.Sprintf("%d-%d", last/each, last%each); r.Position != last+1 || r.ID != want {
					t.Fatalf("after position %d comes %d, %s, want %s", last, r.Position, r.ID, want)
				}
				last = r.Position
			}
		}
		if rows := text(t, s, "SELECT count(DISTINCT batch * 7 + n) || ' of ' || count(*) FROM "+s.Name(service, "rows")); rows != fmt.Sprintf("%d of %d", head, head) {
			t.Errorf("rows: %s, want %d", rows, head)
		}
		if last != head {
			t.Errorf("the log ends at %d, its head is %d", last, head)
		}
		must(t, s.Close())
	}
}

// Who comes second is told who came first, in this process and in another one, by
// whatever name it knows the database.
func TestSecondOpenerIsRefused(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path, link := filepath.Join(folder, "test.db"), filepath.Join(t.TempDir(), "link.db")
	must(t, os.Symlink(path, link))
	s := open(t, path)
	holder := fmt.Sprintf("database is in use by process %d", os.Getpid())
	for _, name := range []string{path, link, filepath.Join(folder, "..", filepath.Base(folder), "test.db")} {
		second, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Path: name})
		if err == nil {
			must(t, second.Close())
		}
		if !errors.Is(err, driver.ErrUnavailable) || !strings.Contains(err.Error(), holder) {
			t.Errorf("%s again: %v", name, err)
		}
		other := start(t, "opener", name)
		if exit := other.Wait(); exit.Code != 1 || !strings.Contains(other.Stdout(), holder) {
			t.Errorf("%s by another process: %v, %s", name, exit, other.Stdout())
		}
	}
	must(t, s.Close())
	other := start(t, "opener", path)
	if exit := other.Wait(); exit.Code != 0 {
		t.Errorf("after it was closed: %v, %s", exit, other.Stdout())
	}
}
