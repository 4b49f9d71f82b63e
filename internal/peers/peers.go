package peers

import (
	"context"
	"crypto/tls"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
)

// schemaName is the name under which the tables stand. It is no service: it has no log.
const schemaName = "mall"

//go:embed migrations/*.sql
var migrations embed.FS

// Schema is what the processes share in a database.
func Schema() driver.Schema {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err) // the folder is compiled in
	}
	return driver.Schema{Service: schemaName, Migrations: files}
}

const (
	renewEvery = 2 * time.Second
	// alive is how long a process counts after it was seen last. Nothing rests on it but where calls go first.
	alive = 10 * time.Second
	// forgotten is when the row of a process that died is removed.
	forgotten   = 24 * time.Hour
	lookEvery   = time.Second
	dialTimeout = 2 * time.Second
)

// Process is a process of the mall.
type Process struct {
	ID      string    `json:"id"` // an id
	Host    string    `json:"host"`
	PID     int       `json:"pid"`
	Version string    `json:"version"`
	Parts   []string  `json:"parts"`
	Address string    `json:"address"` // host:port of its listener for other processes
	Started time.Time `json:"started"`
	Seen    time.Time `json:"seen"`
}

// Config says who joins, and where the others are found. Everything but Logger is required.
type Config struct {
	Store   driver.Store // the database that all processes share; see Schema
	Process Process      // without the times
	Clock   backbone.Clock
	Logger  *slog.Logger // default slog.Default()
}

// Peers is this process among the others. Its methods may be called concurrently.
type Peers struct {
	store     driver.Store
	log       *slog.Logger
	now       func() time.Time
	authority *authority
	client    *http.Client
	refused   refusals

	writing sync.Mutex // of the row
	left    bool       // guarded by writing

	mu     sync.Mutex
	self   Process
	leaf   *tls.Certificate
	issued time.Time
	known  []Process
	looked time.Time
}

// Open reads the authority of the processes, or makes it. The others do not see this one before Join.
func Open(ctx context.Context, c Config) (*Peers, error) {
	if !backbone.ValidID(c.Process.ID) {
		return nil, fmt.Errorf("process %q is not a valid id", c.Process.ID)
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	p := &Peers{store: c.Store, log: c.Logger, now: c.Clock.Now, self: c.Process}
	var err error
	if p.authority, err = openAuthority(ctx, NewVault(c.Store), p.now()); err != nil {
		return nil, err
	}
	if _, err := p.credentials(); err != nil {
		return nil, err
	}
	p.client = &http.Client{Transport: p.transport()}
	return p, nil
}

// Join adds a row for this process. Others call it from now on.
func (p *Peers) Join(ctx context.Context) error { return p.renew(ctx) }

// Run keeps this process's row alive until ctx ends.
func (p *Peers) Run(ctx context.Context) {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		bounded, cancel := context.WithTimeout(ctx, renewEvery)
		if err := p.renew(bounded); err != nil && ctx.Err() == nil {
			p.log.WarnContext(ctx, "other processes may lose sight of this one", "error", err)
		}
		cancel()
	}
}

func (p *Peers) table() string { return p.store.Name(schemaName, "process") }

func (p *Peers) renew(ctx context.Context) error {
	p.writing.Lock()
	defer p.writing.Unlock()
	if p.left {
		return nil
	}
	now, err := p.store.Now(ctx)
	if err != nil {
		return err
	}
	p.mu.Lock()
	s := p.self
	p.mu.Unlock()
	return p.write(ctx, driver.Statement{
		SQL: `INSERT INTO ` + p.table() + ` (id, host, pid, version, parts, address, started, seen) VALUES ($1, $2, $3, $4, $5, $6, $7, $7)
			ON CONFLICT (id) DO UPDATE SET seen = excluded.seen, address = excluded.address`,
		Args: []any{s.ID, s.Host, int64(s.PID), s.Version, strings.Join(s.Parts, " "), s.Address, now.UnixMicro()},
	}, driver.Statement{
		SQL: `DELETE FROM ` + p.table() + ` WHERE seen < $1`, Args: []any{now.Add(-forgotten).UnixMicro()},
	})
}

func (p *Peers) write(ctx context.Context, statements ...driver.Statement) (err error) {
	tx, err := p.store.Begin(ctx)
	if err != nil {
		return err
	}
	if err := tx.Exec(ctx, statements); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit(ctx)
}

// Leave removes this process's row: nobody begins to call it any more.
func (p *Peers) Leave(ctx context.Context) error {
	p.writing.Lock()
	defer p.writing.Unlock()
	p.left = true
	return p.write(ctx, driver.Statement{SQL: `DELETE FROM ` + p.table() + ` WHERE id = $1`, Args: []any{p.self.ID}})
}

// Processes lists the processes that are alive, oldest first.
func (p *Peers) Processes(ctx context.Context) ([]Process, error) { return List(ctx, p.store) }

// List returns the processes that are alive on a database, oldest first.
func List(ctx context.Context, store driver.Store) (list []Process, err error) {
	now, err := store.Now(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := store.Query(ctx, `SELECT id, host, pid, version, parts, address, started, seen FROM `+store.Name(schemaName, "process")+
		` WHERE seen > $1 ORDER BY started, id`, now.Add(-alive).UnixMicro())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var one Process
		var parts string
		var started, seen int64
		if err := rows.Scan(&one.ID, &one.Host, &one.PID, &one.Version, &parts, &one.Address, &started, &seen); err != nil {
			return nil, err
		}
		one.Parts, one.Started, one.Seen = strings.Fields(parts), time.UnixMicro(started).UTC(), time.UnixMicro(seen).UTC()
		list = append(list, one)
	}
	return list, rows.Err()
}

// find returns the addresses of the processes that run a part, in random order.
func (p *Peers) find(ctx context.Context, part string, again bool) ([]string, error) {
	p.mu.Lock()
	known, looked := p.known, p.looked
	p.mu.Unlock()
	if again || p.now().Sub(looked) > lookEvery {
		list, err := p.Processes(ctx)
		switch {
		case err == nil:
			known = list
			p.mu.Lock()
			p.known, p.looked = list, p.now()
			p.mu.Unlock()
		case known == nil:
			return nil, err
		} // without the database the ones of before may still be there
	}
	var addresses []string
	for _, one := range known {
		if slices.Contains(one.Parts, part) && one.Address != "" {
			addresses = append(addresses, one.Address)
		}
	}
	rand.Shuffle(len(addresses), func(i, j int) { addresses[i], addresses[j] = addresses[j], addresses[i] })
	return addresses, nil
}

// ErrAbsent says that no process that runs a part can be reached.
var ErrAbsent = errors.New("no process that runs it can be reached")

// URL returns the base address of a part for Client.
func URL(part string) string { return "https://" + part + domain }

// Client makes requests to parts of the mall, wherever they run; see URL. The other side has to prove that it runs the part.
func (p *Peers) Client() *http.Client { return p.client }

func (p *Peers) transport() *http.Transport {
	return &http.Transport{
		DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			host, _, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			return p.dial(ctx, network, host)
		},
		ForceAttemptHTTP2: true,
		IdleConnTimeout:   time.Minute,
		// A process that was paused or cut off is noticed, so that the next request goes to another one.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 2 * time.Second, PingTimeout: 2 * time.Second},
	}
}

// dial connects to one of the processes that run the part of a name. One that does not answer, or cannot prove that it runs the
// part, is passed over.
func (p *Peers) dial(ctx context.Context, network, name string) (net.Conn, error) {
	part := strings.TrimSuffix(name, domain)
	var failed error
	for _, again := range []bool{false, true} {
		addresses, err := p.find(ctx, part, again)
		if err != nil {
			return nil, fmt.Errorf("%s: %w: %w", part, ErrAbsent, err)
		}
		for _, a := range addresses {
			conn, err := p.connect(ctx, network, a, name)
			if err == nil {
				return conn, nil
			}
			failed = err
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			p.passedOver(part, a, err)
		}
	}
	if failed != nil {
		return nil, fmt.Errorf("%s: %w: %w", part, ErrAbsent, failed)
	}
	return nil, fmt.Errorf("%s: %w", part, ErrAbsent)
}

// connect opens a connection on which both sides have proved who they are.
func (p *Peers) connect(ctx context.Context, network, address, name string) (net.Conn, error) {
	bounded, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	dialer := &tls.Dialer{Config: &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: p.authority.pool(), ServerName: name, NextProtos: protocols, Time: p.now,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return p.credentials() },
	}}
	return dialer.DialContext(bounded, network, address)
}

// protocols are those that processes speak with each other.
var protocols = []string{"h2", "http/1.1"}

// Listener wraps a listener so that it speaks TLS as this process. Other processes show their certificates, see Identify; programs
// that have none may connect too, and have to say by other means who they are.
func (p *Peers) Listener(l net.Listener) net.Listener {
	return tls.NewListener(l, &tls.Config{
		MinVersion: tls.VersionTLS13, ClientCAs: p.authority.pool(), ClientAuth: tls.VerifyClientCertIfGiven,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return p.credentials() },
		NextProtos:     protocols, Time: p.now,
	})
}

// To makes requests to one process, which has to prove that it runs the first of its parts.
func (p *Peers) To(one Process) *http.Client {
	t := p.transport()
	t.DialTLSContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		return p.connect(ctx, network, one.Address, host)
	}
	t.DisableKeepAlives = true // it is made for one request
	return &http.Client{Transport: t}
}
