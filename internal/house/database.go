package house

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/pgstore"
	"example.org/souk/backbone/sqlitestore"
	"example.org/souk/gateway/door"
	"example.org/souk/gateway/partner"
	"example.org/souk/internal/peers"
)

// databases are where the services keep what is theirs.
type databases struct {
	shared driver.Store            // of all that have none of their own; what processes share stands there
	own    map[string]driver.Store // by service
	abroad map[string]bool         // services whose databases are not reached from here
	others driver.Log              // asks the processes that run those
}

// of returns the database of a service, nil where it is not reached from here.
func (d *databases) of(service string) driver.Store {
	if d.abroad[service] {
		return nil
	}
	if s := d.own[service]; s != nil {
		return s
	}
	return d.shared
}

// log returns what reads a service's log.
func (d *databases) log(service string) driver.Log {
	if d.abroad[service] {
		return d.others
	}
	return d.of(service)
}

// all returns every database once, the shared one first.
func (d *databases) all() []driver.Store {
	list := []driver.Store{d.shared}
	for _, service := range slices.Sorted(maps.Keys(d.own)) {
		if s := d.own[service]; !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}

// know makes the tables of services accessible that other processes have prepared.
func (d *databases) know(services []string) {
	for _, s := range services {
		if k, ok := d.of(s).(interface{ Know(service string) }); ok {
			k.Know(s)
		}
	}
}

func (d *databases) close() error {
	var errs []error
	for _, s := range d.all() {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	return errors.Join(errs...)
}

// OverRPC stands for the address of a database that is not reached from here: the process that runs its service is asked.
const OverRPC = "rpc"

// addressOfOne finds where in a list of databases another one begins.
var addressOfOne = regexp.MustCompile(`,(?:(?:[a-z][a-z0-9]*=)?postgres(?:ql)?://|[a-z][a-z0-9]*=` + OverRPC + `(?:,|$))`)

// ParseDatabases reads "URL,orders=URL,...": the database of all services, and of those that have one of their own, which may be
// OverRPC. The addresses may name several hosts, which stand apart by commas too.
func ParseDatabases(text string) (shared string, own map[string]string, err error) {
	own = map[string]string{}
	for text != "" {
		one := text
		if at := addressOfOne.FindStringIndex(text); at != nil {
			one, text = text[:at[0]], text[at[0]+1:]
		} else {
			text = ""
		}
		name, address := "", one
		if i := strings.Index(one, "="); i >= 0 && (i < strings.Index(one, "://") || one[i+1:] == OverRPC) {
			name, address = one[:i], one[i+1:]
		}
		switch {
		case name != "" && address == OverRPC:
			if own[name] != "" {
				return "", nil, fmt.Errorf("database: service %s has two", name)
			}
			own[name] = address
		case !strings.HasPrefix(address, "postgres://") && !strings.HasPrefix(address, "postgresql://"):
			return "", nil, errors.New("database: an address begins with postgres://, or with NAME=postgres:// for the database of one service")
		case name == "" && shared != "":
			return "", nil, errors.New("database: two of them are for all services; write NAME=postgres:// for the database of one service")
		case name != "" && own[name] != "":
			return "", nil, fmt.Errorf("database: service %s has two", name)
		case name == "":
			shared = address
		default:
			own[name] = address
		}
	}
	if shared == "" {
		return "", nil, errors.New("database: name one without a service: what all processes share stands there")
	}
	return shared, own, nil
}

// openStore opens the databases: the file in the data directory, or the PostgreSQL databases that were named.
func (h *House) openStore(ctx context.Context) (err error) {
	if h.cfg.DB != "" {
		return h.openPostgres(ctx)
	}
	path := filepath.Join(h.cfg.Data, database)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		h.first = true
	}
	store, err := sqlitestore.Open(ctx, sqlitestore.Config{Path: path, Log: h.cfg.Logger})
	if err != nil {
		return err
	}
	h.stores = &databases{shared: store}
	return nil
}

// SQLite returns the database as the file that it is. A mall on PostgreSQL has none, and the error says what is done
// instead.
func (h *House) SQLite() (*sqlitestore.Store, error) {
	if s, ok := h.stores.shared.(*sqlitestore.Store); ok {
		return s, nil
	}
	return nil, errors.New("this mall is on PostgreSQL: use its own tools for that (pg_dump, psql)")
}

func (h *House) openPostgres(ctx context.Context) error {
	shared, each, err := ParseDatabases(h.cfg.DB)
	if err != nil {
		return err
	}
	if !h.cfg.Quiet {
		if h.owner, h.disown, err = own(h.cfg.Data); err != nil {
			return err
		}
	}
	if err := h.claim(ctx, shared); err != nil {
		return err
	}
	h.stores = &databases{own: map[string]driver.Store{}, abroad: map[string]bool{}}
	opened := map[string]driver.Store{}
	open := func(address string) (driver.Store, error) {
		if s := opened[address]; s != nil {
			return s, nil
		}
		s, err := pgstore.Open(ctx, pgstore.Config{URL: address, Log: h.cfg.Logger})
		if err != nil {
			return nil, err // not s: a nil *pgstore.Store is a driver.Store that is not nil
		}
		opened[address] = s
		return s, nil
	}
	if h.stores.shared, err = open(shared); err != nil {
		return err
	}
	for service, address := range each {
		if address == OverRPC {
			h.stores.abroad[service] = true
			continue
		}
		if h.stores.own[service], err = open(address); err != nil {
			return fmt.Errorf("database of %s: %w", service, err)
		}
	}
	if !h.Several() {
		if err := h.seesNobody(ctx); err != nil {
			return err
		}
	}
	if orders := h.stores.of("orders"); orders != nil {
		h.first, err = lacksOrders(ctx, orders)
	}
	return err
}

// reachable is an error where something that runs here cannot do without a database that was left to other processes.
func (h *House) reachable(parts []*backbone.Service, run []string) error {
	services := make([]string, len(parts))
	for i, p := range parts {
		services[i] = p.Name
	}
	for _, service := range slices.Sorted(maps.Keys(h.stores.abroad)) {
		asked := service + "=" + OverRPC
		switch {
		case !slices.Contains(services, service):
			return fmt.Errorf("database: %s: there is no service %q", asked, service)
		case h.cfg.Quiet:
			return fmt.Errorf("database: %s: the command line reads the databases themselves: name that of %s", asked, service)
		case h.cfg.Run == nil:
			return fmt.Errorf("database: %s: a mall in one process has nobody to ask", asked)
		case slices.Contains(run, service):
			return fmt.Errorf("database: %s: it runs here, so its database is needed here", asked)
		case h.cfg.Broker == "":
			return fmt.Errorf("database: %s: without a broker the services read each other's logs all the time: name one with --broker, or the database", asked)
		}
		for _, part := range onlookers {
			if h.runs(part) && slices.Contains(shownBy(part, services), service) {
				return fmt.Errorf("database: %s: %s shows what stands there: name it, or run %s elsewhere", asked, part, part)
			}
		}
	}
	return nil
}

// seesNobody is an error where processes of a mall run on the database.
func (h *House) seesNobody(ctx context.Context) error {
	lacks, err := h.lacksOf(ctx, h.stores.shared, peers.Schema())
	if err != nil || len(lacks) > 0 {
		return err
	}
	list, err := peers.List(ctx, h.stores.shared)
	if err == nil && len(list) > 0 {
		err = fmt.Errorf("%d processes run on this database: end them before one process takes it for itself", len(list))
	}
	return err
}

// claim sees that a mall in one process has its databases for itself, and that several processes share theirs with no such mall.
func (h *House) claim(ctx context.Context, shared string) error {
	lock := &databaseLock{url: shared, taken: h.taken}
	switch {
	case h.cfg.Quiet:
		return nil
	case h.cfg.Run != nil:
		return lock.look(ctx)
	}
	if err := lock.take(ctx); err != nil {
		return err
	}
	keep, end := context.WithCancel(context.WithoutCancel(ctx))
	kept := make(chan struct{})
	go func() { defer close(kept); lock.keep(keep) }()
	h.unlock = func() { end(); <-kept }
	return nil
}

// lacksOrders tells whether no mall has ever run on a database.
func lacksOrders(ctx context.Context, store driver.Store) (bool, error) {
	count, err := schemasOf(ctx, store, "orders")
	return count == 0, err
}

// schemasOf counts the schemas of some names in a PostgreSQL database.
func schemasOf(ctx context.Context, store driver.Store, names ...string) (count int, err error) {
	rows, err := store.Query(ctx, "SELECT count(*) FROM information_schema.schemata WHERE schema_name = ANY($1)", names)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	if rows.Next() {
		if err := rows.Scan(&count); err != nil {
			return 0, err
		}
	}
	return count, rows.Err()
}

// Unused is an error where databases that ParseDatabases can read hold a mall, or anything under the names of its tables.
func Unused(ctx context.Context, db string) error {
	shared, own, err := ParseDatabases(db)
	if err != nil {
		return err
	}
	taken := append(PartNames(), partner.ServiceName, doorTables, peers.Schema().Service)
	for _, address := range slices.Compact(slices.Sorted(maps.Values(own))) {
		err = errors.Join(err, unused(ctx, address, taken))
	}
	return errors.Join(err, unused(ctx, shared, taken))
}

func unused(ctx context.Context, address string, taken []string) (err error) {
	store, err := pgstore.Open(ctx, pgstore.Config{URL: address})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	count, err := schemasOf(ctx, store, taken...)
	if err == nil && count > 0 {
		err = errors.New("a mall has run on this database: name one that is empty")
	}
	return err
}

// Room is an error where the server of a database that ParseDatabases can read has no room for so many connections more. Where services have databases of
// their own, on servers that may be others, nothing is said of it.
func Room(ctx context.Context, db string, connections int) (err error) {
	shared, own, err := ParseDatabases(db)
	if err != nil || len(own) > 0 {
		return err
	}
	store, err := pgstore.Open(ctx, pgstore.Config{URL: shared})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	rows, err := store.Query(ctx, `SELECT current_setting('max_connections')::int,
		(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid())`)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var most, used int
	if rows.Next() {
		err = rows.Scan(&most, &used)
	}
	if err = errors.Join(err, rows.Err()); err == nil && most-used < connections {
		err = fmt.Errorf("the database's server takes %d connections and has %d, and some %d more are needed: set max_connections to %d or more, and restart it",
			most, used, connections, connections+used)
	}
	return err
}

// errTaken says that somebody else's mall uses the database.
var errTaken = errors.New("another mall runs on this database")

// Taken receives an error when another mall has taken the database over while its server was away: this one must end.
func (h *House) Taken() <-chan error { return h.taken }

// databaseLock is the lock of a mall on its PostgreSQL database: seals and the requests of operators have one owner. It is held by
// a connection, so it goes with the process; where the server was away it is taken again.
type databaseLock struct {
	url   string
	taken chan<- error
	conn  *pgx.Conn
}

const lockEvery = time.Second

// take connects and takes the lock; errTaken where somebody else has it.
func (l *databaseLock) take(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, l.url)
	if err != nil {
		return fmt.Errorf("database: %w", err)
	}
	locked := false
	err = conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", lockName()).Scan(&locked)
	if err == nil && !locked {
		err = errTaken
	}
	l.conn = conn
	if err != nil {
		l.drop(ctx)
		return err
	}
	return nil
}

func lockName() int64 {
	name := fnv.New64a()
	_, _ = name.Write([]byte("souk mall")) // a hash takes everything
	return int64(name.Sum64())
}

// look is errTaken where a mall in one process has the lock. It asks within a transaction, so that it can do so through a pool of
// connections too.
func (l *databaseLock) look(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, l.url)
	if err != nil {
		return fmt.Errorf("database: %w", err)
	}
	l.conn = conn
	defer l.drop(ctx)
	free := false
	err = conn.QueryRow(ctx, "SELECT pg_try_advisory_xact_lock_shared($1)", lockName()).Scan(&free)
	if err == nil && !free {
		err = errTaken
	}
	return err
}

func (l *databaseLock) drop(ctx context.Context) {
	if l.conn == nil {
		return
	}
	ended, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	_ = l.conn.Close(ended) // the server takes the lock back either way
	l.conn = nil
}

// keep looks after the lock until ctx ends.
func (l *databaseLock) keep(ctx context.Context) {
	defer l.drop(ctx)
	tick := time.NewTicker(lockEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		bounded, cancel := context.WithTimeout(ctx, 5*lockEvery)
		if l.conn != nil && l.conn.Ping(bounded) != nil {
			l.drop(ctx)
		}
		if l.conn == nil && errors.Is(l.take(bounded), errTaken) {
			l.taken <- fmt.Errorf("%w: it began while the database's server was away from here", errTaken)
			cancel()
			return
		}
		cancel()
	}
}

// Tokens returns the authority over the mall's tokens, also where nobody comes in here.
func (h *House) Tokens(ctx context.Context) (*door.Authority, error) {
	switch {
	case h.Authority != nil:
		return h.Authority, nil
	case h.Several():
		return door.OpenAuthorityIn(ctx, peers.NewVault(h.stores.shared), clock{})
	}
	return door.OpenAuthority(filepath.Join(h.cfg.Data, "keys"), clock{})
}

// OpenAuthority opens the authority over the tokens of a mall: of the one in a data directory, or of one in several processes on
// databases that ParseDatabases can read. It is for issuing tokens: what it would change of the latter is not written.
func OpenAuthority(ctx context.Context, data, db string) (*door.Authority, error) {
	if db == "" {
		return door.OpenAuthority(filepath.Join(data, "keys"), clock{})
	}
	shared, _, err := ParseDatabases(db)
	if err != nil {
		return nil, err
	}
	store, err := pgstore.Open(ctx, pgstore.Config{URL: shared})
	if err != nil {
		return nil, err
	}
	authority, err := door.OpenAuthorityIn(ctx, peers.NewVault(store), clock{})
	return authority, errors.Join(err, store.Close())
}
