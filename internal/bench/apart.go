package bench

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"example.org/souk/backbone"
	"example.org/souk/gateway/door"
	"example.org/souk/internal/house"
)

// Apart says that the parts of a mall run as processes of their own. The zero value says that they do not.
type Apart struct {
	// DB is where they keep what they keep, as house.ParseDatabases reads it. Nothing may be in the databases; the mall
	// is left there, so that what came of the load can be looked at.
	DB string
	// Broker is the URL of what carries their messages, new too; default none: the log does.
	Broker string
	// Split has the parts of each process, which stand apart by spaces. What none of them names runs in the last one.
	// Default DefaultSplit.
	Split []string
	// Idle is for how long it is measured what the processes cost while they wait; default 10 s.
	Idle time.Duration
}

// DefaultSplit gives each step of a checkout a process of its own.
func DefaultSplit() []string {
	return []string{"online keys stores customers", "orders", "inventory", "payments", "notifications analytics search baskets depot"}
}

func (a *Apart) setDefaults() {
	if len(a.Split) == 0 {
		a.Split = DefaultSplit()
	}
	if a.Idle <= 0 {
		a.Idle = 10 * time.Second
	}
}

// ProcessUse is what one process took.
type ProcessUse struct {
	Parts         []string `json:"parts"`
	CPUMSPerOrder float64  `json:"cpuMsPerOrder"`
	IdlePercent   float64  `json:"idlePercent"` // of a core, while nothing was to be done
	IdleRSSBytes  int64    `json:"idleRssBytes"`
	PeakRSSBytes  int64    `json:"peakRssBytes"`
}

// ServerUse is what the processes of a server took that the mall leans on.
type ServerUse struct {
	Name          string  `json:"name"`
	CPUMSPerOrder float64 `json:"cpuMsPerOrder"`
	IdlePercent   float64 `json:"idlePercent"`
}

// split returns the parts of each process, all of the mall's among them.
func (a Apart) split() ([][]string, error) {
	var list [][]string
	var named []string
	for _, s := range a.Split {
		parts := strings.Fields(s)
		if len(parts) == 0 {
			return nil, errors.New("a process without parts")
		}
		list, named = append(list, parts), append(named, parts...)
	}
	last := len(list) - 1
	for _, part := range house.PartNames() {
		if !slices.Contains(named, part) {
			list[last] = append(list[last], part)
		}
	}
	return list, nil
}

// apart is a mall of several processes.
type apart struct {
	Orders
	parts   [][]string
	all     []*process
	servers []server
	url     string       // of the online store
	house   *house.House // looks at all of them
}

// server is one that the mall leans on; tree is its first process.
type server struct {
	name string
	tree int
}

// runApart is Run for a mall of several processes.
func (o Orders) runApart(ctx context.Context) (res OrdersResult, err error) {
	m := &apart{Orders: o}
	if m.parts, err = o.Apart.split(); err != nil {
		return res, err
	}
	if err := mustBeEmpty(ctx, o.Apart.DB); err != nil {
		return res, err
	}
	dir, err := os.MkdirTemp("", "souk-bench-")
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	defer func() {
		for _, p := range m.all {
			p.kill()
		}
	}()
	began := time.Now()
	if err := m.start(ctx, dir); err != nil {
		return res, err
	}
	res.ReadyMS = float64(time.Since(began).Microseconds()) / 1000
	if m.house, err = house.Open(ctx, house.Config{Data: filepath.Join(dir, "look"), DB: o.Apart.DB, Broker: o.Apart.Broker, Quiet: true}); err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, m.house.Stop(context.WithoutCancel(ctx))) }()
	fmt.Fprintf(o.Log, "%d processes are ready after %.1f s\n", len(m.all), time.Since(began).Seconds())
	if err := m.fill(ctx); err != nil {
		return res, fmt.Errorf("prepare: %w", err)
	}
	fmt.Fprintf(o.Log, "the shop is filled after %.1f s\n", time.Since(began).Seconds())
	if err := m.wait(ctx, &res); err != nil {
		return res, err
	}
	fmt.Fprintf(o.Log, "the load begins after %.1f s\n", time.Since(began).Seconds())
	return res, m.measure(ctx, &res)
}

// mustBeEmpty refuses databases in which anything is.
func mustBeEmpty(ctx context.Context, db string) error {
	shared, own, err := house.ParseDatabases(db)
	if err != nil {
		return err
	}
	addresses := []string{shared}
	for _, address := range own {
		addresses = append(addresses, address)
	}
	for _, address := range addresses {
		conn, err := pgx.Connect(ctx, address)
		if err != nil {
			return fmt.Errorf("database: %w", err)
		}
		var found int
		err = conn.QueryRow(ctx, `SELECT count(*) FROM pg_namespace WHERE nspname NOT LIKE 'pg\_%' AND nspname NOT IN ('information_schema', 'public')`).Scan(&found)
		if err = errors.Join(err, conn.Close(ctx)); err != nil {
			return fmt.Errorf("database: %w", err)
		}
		if found > 0 {
			return fmt.Errorf("a database has %d schemas: the load is put on a mall of its own, so name one that is empty", found)
		}
	}
	return nil
}

func (m *apart) start(ctx context.Context, dir string) error {
	for i, parts := range m.parts {
		argv := append(slices.Clone(m.Program), "--data", filepath.Join(dir, fmt.Sprintf("%d-%s", i, parts[0])), "--db", m.Apart.DB, "run")
		argv = append(append(argv, parts...), "--http", "127.0.0.1:0", "--caller-rate", "1000000")
		if m.Apart.Broker != "" {
			argv = append(argv, "--broker", m.Apart.Broker)
		}
		p, url, err := startProcess(exec.CommandContext(ctx, argv[0], argv[1:]...), m.Log) //nolint:gosec // the program that is measured
		if err != nil {
			return fmt.Errorf("%v: %w", parts, err)
		}
		m.all = append(m.all, p)
		if slices.Contains(parts, "online") {
			m.url = url
		}
	}
	shared, _, err := house.ParseDatabases(m.Apart.DB)
	if err != nil {
		return err
	}
	for _, s := range [][2]string{{"PostgreSQL", shared}, {"broker", m.Apart.Broker}} {
		at, err := url.Parse(s[1])
		if err != nil || s[1] == "" {
			continue
		}
		if pid, found := listener(at.Host); found {
			m.servers = append(m.servers, server{s[0], pid})
		}
	}
	return nil
}

// fill fills the shelves, by the processes that keep them.
func (m *apart) fill(ctx context.Context) error {
	shop, rest := world(m.Products)
	return fillWith(shop, rest, func(c backbone.Command) error {
		a, err := m.house.Do(ctx, c)
		return errors.Join(err, a.Err())
	})
}

// settled waits until nothing is in flight in any process, a minute at most.
func (m *apart) settled(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		busy, err := m.house.InFlight(bounded)
		if err == nil && busy == "" {
			return nil
		}
		select {
		case <-tick.C:
		case <-bounded.Done():
			return errors.Join(fmt.Errorf("still at work after a minute: %s", busy), err)
		}
	}
}

// wait measures what the processes cost that wait.
func (m *apart) wait(ctx context.Context, res *OrdersResult) error {
	if err := m.settled(ctx); err != nil {
		return err
	}
	before, began := m.cpu(), time.Now()
	select {
	case <-time.After(m.Apart.Idle):
	case <-ctx.Done():
		return ctx.Err()
	}
	after, elapsed := m.cpu(), time.Since(began)
	percent := func(i int) float64 { return 100 * (after[i] - before[i]).Seconds() / elapsed.Seconds() }
	for i, p := range m.all {
		use := ProcessUse{Parts: m.parts[i], IdlePercent: percent(i), IdleRSSBytes: p.status("VmRSS:")}
		res.Processes, res.IdleRSSBytes = append(res.Processes, use), res.IdleRSSBytes+use.IdleRSSBytes
	}
	for i, s := range m.servers {
		res.Servers = append(res.Servers, ServerUse{Name: s.name, IdlePercent: percent(len(m.all) + i)})
	}
	return nil
}

// cpu is the processor time of each process, and after them of each server.
func (m *apart) cpu() (list []time.Duration) {
	for _, p := range m.all {
		list = append(list, p.cpu())
	}
	for _, s := range m.servers {
		list = append(list, cpuOfTree(s.tree))
	}
	return list
}

// measure puts the load on, stops the processes and checks what they kept.
func (m *apart) measure(ctx context.Context, res *OrdersResult) error {
	authority, err := house.OpenAuthority(ctx, "", m.Apart.DB)
	if err != nil {
		return err
	}
	token, _, err := authority.Issue(door.Grant{Role: door.Staff, Subject: "bench", TTL: 12 * time.Hour})
	if err != nil {
		return err
	}
	l := newLoad(m.Orders, m.url, token)
	if err := l.follow(ctx); err != nil {
		return err
	}
	from := m.cpu()
	l.report(ctx, res)
	to := m.cpu()
	perOrder := func(i int) float64 {
		return float64((to[i] - from[i]).Microseconds()) / 1000 / float64(max(res.Accepted, 1))
	}
	for i, p := range m.all {
		use := &res.Processes[i]
		use.CPUMSPerOrder, use.PeakRSSBytes = perOrder(i), p.status("VmHWM:")
		res.CPUMSPerOrder, res.PeakRSSBytes = res.CPUMSPerOrder+use.CPUMSPerOrder, res.PeakRSSBytes+use.PeakRSSBytes
	}
	for i := range m.servers {
		res.Servers[i].CPUMSPerOrder = perOrder(len(m.all) + i)
	}
	if err := m.settled(ctx); err != nil {
		res.Violations = append(res.Violations, err.Error())
	}
	var mu sync.Mutex
	var wait sync.WaitGroup
	for i, p := range m.all {
		wait.Go(func() {
			if err := p.stop(); err != nil {
				mu.Lock()
				res.Violations = append(res.Violations, fmt.Sprintf("stop %v: %v", m.parts[i], err))
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	var b before
	found, err := m.kept(ctx, m.house, res.Accepted, &b)
	res.Violations = append(res.Violations, found...)
	return err
}
