package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // goose reaches the database through database/sql
	sqlite3 "modernc.org/sqlite/lib"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/internal/sqlstore"
)

// Config says where a database lies. Only Path is needed.
type Config struct {
	// Path of the database file, on a local disk. It is created with mode 0600;
	// its folder must exist.
	Path string
	// Readers is how many queries run at the same time beside the writer; default 4.
	Readers int
	// Clock is the wall clock behind Now; default time.Now.
	Clock func() time.Time
	// Log hears of checkpoints that fail in the background; default slog.Default().
	Log *slog.Logger
}

// The write-ahead log is copied to the database whenever it has grown by
// passivePages, beside the writer, in at most so many rounds until it has caught up
// with that. From restartPages on the writer is held for as long as it takes to
// begin the log anew, so that its length stays bounded.
const (
	passivePages = 4_000
	restartPages = 16_000
	rounds       = 4
)

// oldest is the first SQLite that is free of the WAL reset defect.
const oldest = 3_051_003

// settings are run on every connection and read back.
var settings = []struct{ name, set, want string }{
	{"busy_timeout", "5000", "5000"},
	{"journal_mode", "WAL", "wal"},
	{"synchronous", "FULL", "2"},
	{"foreign_keys", "ON", "1"},
	{"mmap_size", "0", "0"},
}

// Store is a SQLite database that this process owns.
type Store struct {
	sqlstore.Core
	config Config
	path   string
	owner  *owner

	turn    chan struct{} // holds a token while nobody writes
	writer  *conn
	broken  atomic.Pointer[error] // set when a commit's outcome on disk is in doubt
	readers chan *conn
	latest  atomic.Int64 // what Now returned last

	log     walLength
	wake    chan struct{} // the write-ahead log has grown
	stop    context.CancelFunc
	stopped chan struct{}
	closing sync.Once
	closed  chan struct{}
}

// Open opens or creates a database and takes its lock. A database that another
// process has open gives driver.ErrUnavailable with that process's id; one that was not
// closed in good order is checked first.
func Open(ctx context.Context, config Config) (*Store, error) {
	if v := sqlite3.SQLITE_VERSION_NUMBER; v < oldest {
		return nil, fmt.Errorf("SQLite %s is too old: want 3.51.3", sqlite3.SQLITE_VERSION)
	}
	if config.Path == "" {
		return nil, errors.New("sqlitestore.Config needs a Path")
	}
	if config.Readers <= 0 {
		config.Readers = 4
	}
	if config.Clock == nil {
		config.Clock = time.Now
	}
	if config.Log == nil {
		config.Log = slog.Default()
	}
	path, err := filepath.Abs(config.Path)
	if err != nil {
		return nil, err
	}
	// Under whatever names it is known, a database has one lock.
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	owner, err := lock(path + ".lock")
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	s := &Store{
		config: config, path: path, owner: owner,
		turn: make(chan struct{}, 1), readers: make(chan *conn, config.Readers),
		log: walLength{due: passivePages}, wake: make(chan struct{}, 1), stopped: make(chan struct{}), closed: make(chan struct{}),
	}
	s.Core.Database = s
	s.Core.Dialect = sqlstore.Dialect{Contains: "instr(%s, %s) > 0"}
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), s.closeConns(), owner.release(false))
	}
	s.turn <- struct{}{}
	return s, nil
}

func (s *Store) open(ctx context.Context) error {
	before, err := os.Stat(s.path)
	existed := err == nil && before.Size() > 0
	// The log and its index take the mode of the database file.
	file, err := os.OpenFile(s.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(file.Chmod(0o600), file.Close()); err != nil {
		return err
	}
	if s.writer, err = s.connect("cache_size=-32768", "temp_store=MEMORY"); err != nil {
		return err
	}
	if existed && s.owner.unclean {
		if err := s.writer.quickCheck(); err != nil {
			return err
		}
	}
	for range s.config.Readers {
		reader, err := s.connect("query_only=ON", "cache_size=-8192", "temp_store=MEMORY")
		if err != nil {
			return err
		}
		s.readers <- reader
	}
	checkpointer, err := s.connect()
	if err != nil {
		return err
	}
	if err := checkpointer.script("PRAGMA busy_timeout=100"); err != nil { // it gives way, and comes again
		return errors.Join(err, checkpointer.close())
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	go s.checkpoint(background, checkpointer)
	return nil
}

// connect opens a connection with the settings that make it safe, and with
// further pragmas, which do not undo them.
func (s *Store) connect(pragmas ...string) (*conn, error) {
	var all []string
	for _, setting := range settings {
		all = append(all, setting.name+"="+setting.set)
	}
	c, err := openConn(s.path, append(all, pragmas...)...)
	if err != nil {
		return nil, err
	}
	if err := c.assertSettings(); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

// assertSettings reads the settings back and names the first that is not as it
// must be.
func (c *conn) assertSettings() error {
	for _, setting := range settings {
		got, err := c.value("PRAGMA " + setting.name)
		if err != nil {
			return err
		}
		if got != setting.want {
			return fmt.Errorf("setting %s is %q, must be %q", setting.name, got, setting.want)
		}
	}
	return nil
}

// value returns the first column of a query's only row as text, "" without one.
func (c *conn) value(text string) (string, error) {
	r, err := c.query(context.Background(), text, nil, nil)
	if err != nil {
		return "", err
	}
	defer func() { _ = r.Close() }()
	var v string
	if r.Next() {
		v = r.text(0)
	}
	return v, r.Err()
}

func (c *conn) quickCheck() error {
	result, err := c.value("PRAGMA quick_check(1)")
	if err != nil {
		return err
	}
	if result != "ok" {
		return fmt.Errorf("database is damaged: %s", result)
	}
	return nil
}

// Powers implements driver.Store.
func (s *Store) Powers() driver.StorePowers { return driver.StorePowers{Exclusive: true} }

// Name implements driver.Store.
func (s *Store) Name(service, table string) string { return tableName(service, table) }

func tableName(service, table string) string {
	return `"` + strings.ReplaceAll(service+"_"+table, `"`, `""`) + `"`
}

// Now implements driver.Store.
func (s *Store) Now(context.Context) (time.Time, error) {
	now := s.config.Clock().UnixMicro()
	for {
		latest := s.latest.Load()
		if now <= latest {
			return time.UnixMicro(latest).UTC(), nil
		}
		if s.latest.CompareAndSwap(latest, now) {
			return time.UnixMicro(now).UTC(), nil
		}
	}
}

// Query implements driver.Store. It waits for a free reader.
func (s *Store) Query(ctx context.Context, text string, args ...any) (driver.Rows, error) {
	select {
	case c := <-s.readers:
		r, err := c.query(ctx, text, args, func() { s.readers <- c })
		if err != nil {
			s.readers <- c
			return nil, err
		}
		return r, nil
	case <-s.closed:
		return nil, errClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

var errClosed = fmt.Errorf("the store is closed: %w", driver.ErrUnavailable)

// Listen implements driver.Store: nobody else writes to this database.
func (s *Store) Listen(context.Context, []string, func(string, int64, bool)) error {
	return errors.New("sqlitestore: Listen: no power Notify, this process is the only writer")
}

// take waits for the turn to write.
func (s *Store) take(ctx context.Context) error {
	select {
	case <-s.turn:
	case <-s.closed:
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := s.broken.Load(); err != nil {
		s.turn <- struct{}{}
		return fmt.Errorf("the database must be opened again after a failed commit: %w", errors.Join(*err, driver.ErrUnavailable))
	}
	return nil
}

func (s *Store) give() { s.turn <- struct{}{} }

// Update runs work in a write transaction of its own.
func (s *Store) Update(ctx context.Context, work func(sqlstore.Conn) error) error {
	t, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = t.Rollback() }()
	if err := work(t.session()); err != nil {
		return err
	}
	return t.Commit(ctx)
}

// Migrate implements driver.Store. The tables of services that have none yet are made in one transaction, all of them: a
// commit each would make the first start of a program of many services long, and fill the write-ahead log with copies of the
// same few pages.
func (s *Store) Migrate(ctx context.Context, schemas []driver.Schema) error {
	if err := s.take(ctx); err != nil {
		return err
	}
	defer s.give()
	db, err := sql.Open("sqlite", "file:"+url.PathEscape(s.path)+"?_pragma=busy_timeout(5000)&_pragma=synchronous(FULL)"+
		"&_pragma=foreign_keys(1)&_txlock=immediate")
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	db.SetMaxOpenConns(1)
	var fresh []driver.Schema
	for _, schema := range schemas {
		isNew, err := s.upgrade(ctx, db, schema)
		if err != nil {
			return fmt.Errorf("migrate %s: %w", schema.Service, err)
		}
		if isNew {
			fresh = append(fresh, schema)
		}
	}
	if err := makeTables(ctx, db, fresh, schemas); err != nil {
		return err
	}
	for _, schema := range schemas {
		s.Know(schema.Service)
	}
	return nil
}

// upgrade applies what a service lacks, a migration a transaction, unless it lacks all: then it reports that it is new.
func (s *Store) upgrade(ctx context.Context, db *sql.DB, schema driver.Schema) (isNew bool, err error) {
	sets, err := migrationsOf(schema)
	if err != nil {
		return false, err
	}
	lacks, isNew, err := s.lacking(ctx, schema.Service, sets)
	if err != nil || len(lacks) == 0 || isNew {
		return isNew, err
	}
	for _, set := range sets {
		if err := sqlstore.Up(ctx, goose.DialectSQLite3, db, set.Files, schema.Service+"_"+set.Versions, nil); err != nil {
			return false, err
		}
	}
	return false, nil
}

// makeTables makes the tables of fresh services, and lets calls of all services be claimed at once that a process had claimed which
// is gone: no other process uses the database, so nobody need wait for the lease to run out. It is part of Migrate because
// that comes before the services' first claims.
func makeTables(ctx context.Context, db *sql.DB, fresh, all []driver.Schema) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	for _, schema := range fresh {
		text, err := Script(schema)
		if err == nil {
			_, err = tx.ExecContext(ctx, text)
		}
		if err != nil {
			return fmt.Errorf("migrate %s: %w", schema.Service, err)
		}
	}
	for _, schema := range all {
		if _, err := tx.ExecContext(ctx, `UPDATE `+schema.Service+`_bb_call SET lease_until = 0 WHERE lease_until > 0`); err != nil { //nolint:gosec // the names of services are checked
			return fmt.Errorf("calls of %s: %w", schema.Service, err)
		}
	}
	return tx.Commit()
}

var columnTypes = strings.NewReplacer(
	"<bytes>", "BLOB",
	"<order>", "INTEGER PRIMARY KEY",
	"<serial>", "INTEGER PRIMARY KEY",
	"<lasting>", "INTEGER PRIMARY KEY AUTOINCREMENT",
	"<clustered>", "WITHOUT ROWID",
)

// walLength is how long the write-ahead log is, in pages, and how long it will be
// when it is to be copied next. A copy begins by sorting all that was not copied yet
// and ends with flushes, so that it is not worth its price for a few pages.
type walLength struct {
	mu       sync.Mutex
	now, due int
}

// grown notes the length after a commit and reports whether a copy is due.
func (l *walLength) grown(pages int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if pages < l.now { // begun anew
		l.due = passivePages
	}
	l.now = pages
	return pages >= l.due
}

// begin reports whether a copy is still due, and when it is, counts it as made. It is
// asked since who wakes the checkpointer may have seen the log before the last copy.
func (l *walLength) begin() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now < l.due {
		return false
	}
	l.due = l.now + passivePages
	return true
}

func (l *walLength) length() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now
}

// checkpoint copies the write-ahead log to the database whenever it has grown.
func (s *Store) checkpoint(ctx context.Context, c *conn) {
	defer close(s.stopped)
	defer func() { _ = c.close() }()
	attempted := 0 // the log's length when a restart last failed
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		}
		if !s.log.begin() {
			continue
		}
		pages, err := c.checkpoint("PASSIVE")
		// Once nothing is left, the next commit begins the log anew by itself, if nobody
		// reads it. Each round takes a part of the time of the one before.
		for round := 1; err == nil && round < rounds && s.log.length() > pages; round++ {
			pages, err = c.checkpoint("PASSIVE")
		}
		if err == nil && pages >= restartPages+attempted {
			attempted, err = s.restart(ctx, c, pages)
		}
		if errors.Is(err, driver.ErrUnavailable) {
			continue // readers or writers were in the way; the next round copies more
		}
		if err != nil && ctx.Err() == nil {
			s.config.Log.Error("sqlite checkpoint failed", "path", s.path, "error", err)
		}
	}
}

// restart holds the writer while the rest of the log is copied, so that the next
// commit begins it anew. It returns how long the log is while readers prevent that.
func (s *Store) restart(ctx context.Context, c *conn, pages int) (int, error) {
	if err := s.take(ctx); err != nil {
		return 0, err
	}
	defer s.give()
	_, err := c.checkpoint("RESTART")
	if errors.Is(err, driver.ErrUnavailable) {
		return pages, nil
	}
	return 0, err
}

// checkpoint runs one and returns the length of the log in pages.
func (c *conn) checkpoint(mode string) (int, error) {
	r, err := c.query(context.Background(), "PRAGMA wal_checkpoint("+mode+")", nil, nil)
	if err != nil {
		return 0, err
	}
	defer func() { _ = r.Close() }()
	if !r.Next() {
		return 0, r.Err()
	}
	if r.integer(0) != 0 {
		return 0, fmt.Errorf("checkpoint %s: readers or writers are in the way: %w", mode, driver.ErrUnavailable)
	}
	return int(r.integer(1)), r.Err()
}

// Close implements driver.Store. It waits for the transaction and the queries in
// flight.
func (s *Store) Close() error {
	err := error(nil)
	s.closing.Do(func() {
		<-s.turn // the last writer is done
		close(s.closed)
		s.stop()
		<-s.stopped
		if s.writer.inTransaction() {
			err = s.writer.script("ROLLBACK")
		}
		err = errors.Join(err, s.closeConns())
		err = errors.Join(err, s.owner.release(err == nil && s.broken.Load() == nil))
	})
	return err
}

// closeConns closes the readers, as they become free, and then the writer, which
// copies the rest of the write-ahead log.
func (s *Store) closeConns() error {
	var errs []error
	if s.writer == nil {
		return nil
	}
	n := s.config.Readers
	if s.stop == nil { // opening failed half-way
		n = len(s.readers)
	}
	for range n {
		errs = append(errs, (<-s.readers).close())
	}
	return errors.Join(append(errs, s.writer.close())...)
}

// Backup implements driver.Backuper. The copy is consistent as of its begin, is
// complete and flushed when Backup returns, and does not hold up the writer.
func (s *Store) Backup(ctx context.Context, path string) (err error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("back up to %s: %w", path, err), file.Close(), os.Remove(path))
			return
		}
		err = file.Close()
	}()
	// Readers are held to reading, which this is not quite: it has a connection of its own.
	c, err := s.connect()
	if err != nil {
		return err
	}
	if _, err := c.exec("VACUUM INTO $1", path); err != nil {
		return errors.Join(err, c.close())
	}
	if err := c.close(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
