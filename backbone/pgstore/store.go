package pgstore

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/internal/sqlstore"
)

// Config says where a database is. One of URL and Pool is needed.
type Config struct {
	// URL is a connection string as PostgreSQL's own programs read it. One that asks
	// for default_query_exec_mode=exec is taken to lead to a pool that gives out
	// connections for a transaction each (PgBouncer's mode transaction): such a
	// store does not wake others after a commit, so they find out when they look by
	// themselves, and Migrate only sees that nothing is to be done, since tables are
	// made within a session.
	//
	// A password that stands in a file (passfile, or PGPASSFILE) is read for each
	// new connection, so that it can be changed while the store is open. While the
	// server refuses it, a transaction or read that needs a new connection waits
	// for up to 3 seconds for the two to agree again.
	URL string
	// Pool is used instead of URL; the store does not close it.
	Pool *pgxpool.Pool
	// MaxConns bounds the connections of a pool made from URL; default 10.
	MaxConns int
	// Idle is how long the server waits for the next statement of a transaction before it ends it, so that a process that
	// stands still in the middle of one holds up nobody for longer: what it has locked is all that its services decide.
	// Default 1 minute.
	Idle time.Duration
	// Log hears of trouble that costs time only, such as a notification that was
	// not sent; default slog.Default().
	Log *slog.Logger
}

var dialect = sqlstore.Dialect{
	Heads:     true,
	ForUpdate: " FOR UPDATE",
	Contains:  "position(%[2]s::bytea in %[1]s) > 0",
}

// Store is a PostgreSQL database.
type Store struct {
	sqlstore.Core
	pool    *pgxpool.Pool
	own     bool
	url     string // where own
	pooled  bool   // another program gives out the connections, for a transaction each
	log     *slog.Logger
	idle    string       // milliseconds
	latest  atomic.Int64 // what Now returned last
	clock   atomic.Pointer[reading]
	refusal atomic.Int64 // when the server refused a login last, in nanoseconds

	mu       sync.Mutex
	appended map[string]int64 // services whose listeners are yet to be told, and where their logs stand
	wake     chan struct{}
	stop     context.CancelFunc
	stopped  chan struct{}
	closing  sync.Once
}

// Open connects to a database and refuses one whose settings lose commits.
func Open(ctx context.Context, config Config) (*Store, error) {
	if config.URL == "" && config.Pool == nil {
		return nil, errors.New(`pgstore.Config needs a URL or a Pool; "postgres://" is the database that the environment names`)
	}
	if config.Log == nil {
		config.Log = slog.Default()
	}
	if config.Idle <= 0 {
		config.Idle = time.Minute
	}
	s := &Store{
		pool: config.Pool, log: config.Log, idle: strconv.FormatInt(max(config.Idle.Milliseconds(), 1), 10),
		appended: map[string]int64{}, wake: make(chan struct{}, 1), stopped: make(chan struct{}),
	}
	s.Core.Database = s
	s.Core.Dialect = dialect
	if s.pool == nil {
		parsed, err := pgxpool.ParseConfig(config.URL)
		if err != nil {
			return nil, fmt.Errorf("open PostgreSQL: %w", err)
		}
		parsed.MaxConns = 10
		if config.MaxConns > 0 {
			parsed.MaxConns = int32(config.MaxConns)
		}
		s.pooled = parsed.ConnConfig.DefaultQueryExecMode == pgx.QueryExecModeExec
		gate := &reconnect{most: int(parsed.MaxConns)}
		parsed.BeforeConnect = func(ctx context.Context, c *pgx.ConnConfig) error {
			c.Password = s.password(c.Password)
			return gate.before(ctx, c)
		}
		parsed.AfterConnect = gate.after
		s.url = config.URL
		if s.pool, err = pgxpool.NewWithConfig(ctx, parsed); err != nil {
			return nil, fmt.Errorf("open PostgreSQL: %w", err)
		}
		s.own = true
	}
	if err := s.checkSettings(ctx); err != nil {
		if s.own {
			s.pool.Close()
		}
		return nil, fmt.Errorf("open PostgreSQL: %w", err)
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	go s.notify(background)
	return s, nil
}

// checkSettings names the first setting with which a commit may be lost.
func (s *Store) checkSettings(ctx context.Context) error {
	for _, name := range []string{"fsync", "full_page_writes", "synchronous_commit"} {
		var value string
		if err := s.pool.QueryRow(ctx, "SELECT current_setting($1)", name).Scan(&value); err != nil {
			return classify(err)
		}
		if value == "off" {
			return fmt.Errorf("setting %s is off: commits may be lost in a power cut; set it to on", name)
		}
	}
	return nil
}

// Powers implements driver.Store.
func (s *Store) Powers() driver.StorePowers { return driver.StorePowers{Notify: !s.pooled} }

// Name implements driver.Store.
func (s *Store) Name(service, table string) string { return tableName(service, table) }

func tableName(service, table string) string { return pgx.Identifier{service, table}.Sanitize() }

// clockAge is for how long the database's clock is carried on by this process's, which measures how much time has passed and is not set meanwhile.
const clockAge = time.Second

// reading is what the database's clock said, no earlier than this process's said at.
type reading struct {
	at  time.Time // with its monotonic part
	now time.Time
}

// Now implements driver.Store. It is behind the database's clock rather than ahead of it, by what the answer that it goes by was on its way, and
// knows within clockAge where that was set.
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	var now time.Time
	if r := s.clock.Load(); r != nil && time.Since(r.at) < clockAge { //souk:clock how much time has passed
		now = r.now.Add(time.Since(r.at)).Truncate(time.Microsecond) //souk:clock likewise
	} else {
		if err := s.let(ctx, func() error { return s.pool.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&now) }); err != nil {
			return time.Time{}, classify(err)
		}
		s.clock.Store(&reading{time.Now(), now}) //souk:clock likewise
	}
	for {
		latest := s.latest.Load()
		if now.UnixMicro() <= latest {
			return time.UnixMicro(latest).UTC(), nil
		}
		if s.latest.CompareAndSwap(latest, now.UnixMicro()) {
			return now.UTC(), nil
		}
	}
}

// Look implements driver.Looker.
func (s *Store) Look(ctx context.Context, services []string) (map[string]driver.Look, error) {
	found := make(map[string]driver.Look, len(services))
	if len(services) == 0 {
		return found, nil
	}
	looks := make([]string, len(services))
	for i, service := range services {
		if err := s.Check(service); err != nil {
			return nil, err
		}
		looks[i] = fmt.Sprintf(`SELECT %d, position, EXISTS (SELECT FROM %s WHERE done = 0), EXISTS (SELECT FROM %s WHERE name = '%s' AND value = 'true'),
			coalesce(least((SELECT min(due) FROM %s), (SELECT min(due) FROM %s WHERE due > 0)), 0), EXISTS (SELECT FROM %s) FROM %s`,
			i, tableName(service, "bb_request"), tableName(service, "bb_value"), driver.PausedValue, tableName(service, "bb_timer"), tableName(service, "bb_saga"),
			tableName(service, "bb_call"), tableName(service, "bb_head"))
	}
	r, err := s.Query(ctx, strings.Join(looks, " UNION ALL "))
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }() // it has no error of its own
	for r.Next() {
		var i int
		var look driver.Look
		if err := r.Scan(&i, &look.Head, &look.Asked, &look.Paused, &look.Due, &look.Calls); err != nil {
			return nil, err
		}
		found[services[i]] = look
	}
	return found, r.Err()
}

// Query implements driver.Store. Its rows hold a connection until they are closed.
func (s *Store) Query(ctx context.Context, text string, args ...any) (driver.Rows, error) {
	var r pgx.Rows
	err := s.let(ctx, func() (err error) {
		r, err = s.pool.Query(ctx, text, args...) //nolint:sqlclosecheck // whoever asked closes them
		return err
	})
	if err != nil {
		return nil, classify(err)
	}
	return &rows{Rows: r}, nil
}

// rows makes pgx's rows those of the contract.
type rows struct {
	pgx.Rows
	broken *bool // set when reading fails
	reader recordReader
}

func (r *rows) Err() error { return classify(r.Rows.Err()) }

func (r *rows) Next() bool {
	ok := r.Rows.Next()
	if !ok && r.broken != nil && r.Rows.Err() != nil {
		*r.broken = true
	}
	return ok
}

func (r *rows) Close() error {
	r.Rows.Close()
	return nil
}

// Update runs work in a write transaction of its own.
func (s *Store) Update(ctx context.Context, work func(sqlstore.Conn) error) error {
	t, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = t.Rollback() }()
	if err := work(t.session); err != nil {
		return err
	}
	return t.Commit(ctx)
}

//go:embed migrations/*.sql
var migrations embed.FS

var columnTypes = strings.NewReplacer(
	"<bytes>", "BYTEA",
	"<order>", "BIGINT PRIMARY KEY",
	"<serial>", "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY",
	"<lasting>", "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY",
	"<clustered>", "",
)

// ErrPooled says that tables cannot be made or changed through a pool that gives out connections for a transaction each.
var ErrPooled = errors.New("tables cannot be changed through a pool of connections that are given out for a transaction each")

// Migrate implements driver.Store. Processes that migrate at the same time wait
// for each other.
func (s *Store) Migrate(ctx context.Context, schemas []driver.Schema) error {
	for _, schema := range schemas {
		lacks, err := s.Plan(ctx, []driver.Schema{schema})
		switch {
		case err != nil:
		case len(lacks) > 0 && s.pooled:
			err = fmt.Errorf("%d are lacking, the first is %s: %w", len(lacks), lacks[0].File, ErrPooled)
		case len(lacks) > 0:
			err = s.migrate(ctx, schema)
		}
		if err != nil {
			return fmt.Errorf("migrate %s: %w", schema.Service, classify(err))
		}
		s.Know(schema.Service)
	}
	return nil
}

// Pending is a migration that was not applied to a database.
type Pending = sqlstore.Pending

// Plan lists what Migrate would apply, in its order, and changes nothing. A
// database without tables lacks all of them.
func (s *Store) Plan(ctx context.Context, schemas []driver.Schema) ([]Pending, error) {
	var list []Pending
	for _, schema := range schemas {
		sets, err := migrationsOf(schema)
		if err != nil {
			return nil, fmt.Errorf("plan %s: %w", schema.Service, err)
		}
		lacks, _, err := s.lacking(ctx, schema.Service, sets)
		if err != nil {
			return nil, err
		}
		list = append(list, lacks...)
	}
	return list, nil
}

// lacking lists what is to be applied of a service's migrations, and reports whether none of them was.
func (s *Store) lacking(ctx context.Context, service string, sets []sqlstore.MigrationSet) (lacks []Pending, isNew bool, err error) {
	return sqlstore.Plan(service, sets, func(versions string) ([]int64, error) { return s.applied(ctx, service, versions) })
}

// applied reads a table of versions; one that does not exist is empty.
func (s *Store) applied(ctx context.Context, service, versions string) ([]int64, error) {
	name := tableName(service, versions)
	var exists bool
	if err := s.pool.QueryRow(ctx, "SELECT to_regclass($1::text) IS NOT NULL", name).Scan(&exists); err != nil || !exists {
		return nil, classify(err)
	}
	rows, err := s.pool.Query(ctx, "SELECT version_id FROM "+name+" WHERE is_applied")
	if err != nil {
		return nil, classify(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	return list, classify(err)
}

// migrationsOf returns a service's migrations in the order in which they are applied.
func migrationsOf(schema driver.Schema) ([]sqlstore.MigrationSet, error) {
	if err := sqlstore.CheckName(schema.Service); err != nil {
		return nil, err
	}
	own, err := sqlstore.OwnMigrations(columnTypes, plain, plain, migrations)
	if err != nil {
		return nil, err
	}
	sets := []sqlstore.MigrationSet{{Own: true, Files: own, Versions: sqlstore.OwnVersions}}
	if schema.Migrations == nil {
		return sets, nil
	}
	files, err := sqlstore.ServiceMigrations(plain, schema.Migrations)
	if err != nil {
		return nil, err
	}
	return append(sets, sqlstore.MigrationSet{Files: files, Versions: sqlstore.ServiceVersions}), nil
}

func (s *Store) migrate(ctx context.Context, schema driver.Schema) (err error) {
	config := s.connection()
	// Asked for within the session, not as it begins, which pools of connections refuse.
	config.AfterConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		return conn.Exec(ctx, "SET search_path TO "+pgx.Identifier{schema.Service}.Sanitize()).Close()
	}
	locked, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	// The lock ends with its connection.
	defer func() { err = errors.Join(err, locked.Close(context.WithoutCancel(ctx))) }()
	if _, err := locked.Exec(ctx, "SELECT pg_advisory_lock($1)", lockName("souk/backbone/migrate/"+schema.Service)); err != nil {
		return err
	}
	if _, err := locked.Exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+pgx.Identifier{schema.Service}.Sanitize()); err != nil {
		return err
	}
	sets, err := migrationsOf(schema)
	if err != nil {
		return err
	}
	lacks, isNew, err := s.lacking(ctx, schema.Service, sets)
	switch {
	case err != nil:
		return err
	case len(lacks) == 0: // somebody else was first
		return nil
	case isNew:
		return makeTables(ctx, locked, sets)
	}
	db := stdlib.OpenDB(*config)
	defer func() { _ = db.Close() }()
	for _, set := range sets {
		if err := sqlstore.Up(ctx, goose.DialectPostgres, db, set.Files, set.Versions, nil); err != nil {
			return err
		}
	}
	return nil
}

// makeTables makes all tables of a service that has none yet, in one transaction.
func makeTables(ctx context.Context, conn *pgx.Conn, sets []sqlstore.MigrationSet) error {
	text, err := sqlstore.Script(goose.DialectPostgres, sets, plain)
	if err != nil {
		return err
	}
	return conn.PgConn().Exec(ctx, text).Close()
}

// lockName is the number under which the server knows an advisory lock of a name.
func lockName(name string) int64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name)) // a hash takes everything
	return int64(h.Sum64())
}

// plain is the name of a table or index on the search path of its schema: an index
// is created under a name without one.
func plain(table string) string { return pgx.Identifier{table}.Sanitize() }

// Close implements driver.Store. Connections of a pool of its own are closed when
// the transactions and queries in flight have ended.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.stop()
		<-s.stopped
		if s.own {
			s.pool.Close()
		}
	})
	return nil
}
