package backbone_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/drivertest"
	"example.org/souk/backbone/logbus"
	"example.org/souk/backbone/pgstore"
	"example.org/souk/internal/testserver"
)

// A desk serves people. Each is called up by a timer, gets a ticket that is printed outside, and a saga has an archive file it
// and closes the matter.
type (
	serve struct {
		Desk string `json:"desk"`
	}
	served struct {
		Desk string `json:"desk"`
		N    int    `json:"n"`
	}
	// step is what follows of one person served: once each.
	chime    struct{ ID string }
	chimed   struct{ ID string }
	ticket   struct{ ID string }
	ticketed struct{ ID string }
	file     struct{ ID string }
	filed    struct{ ID string }
	finish   struct{ ID string }
	closed   struct{ ID string }
)

func (serve) CommandType() string  { return "test.desks.Serve.v1" }
func (chime) CommandType() string  { return "test.desks.Chime.v1" }
func (ticket) CommandType() string { return "test.desks.Ticket.v1" }
func (finish) CommandType() string { return "test.desks.Finish.v1" }
func (file) CommandType() string   { return "test.archive.File.v1" }
func (c serve) Stream() string     { return c.Desk }
func (c chime) Stream() string     { return c.ID }
func (c ticket) Stream() string    { return c.ID }
func (c finish) Stream() string    { return c.ID }
func (c file) Stream() string      { return c.ID }
func (served) EventType() string   { return "test.desks.Served.v1" }
func (chimed) EventType() string   { return "test.desks.Chimed.v1" }
func (ticketed) EventType() string { return "test.desks.Ticketed.v1" }
func (closed) EventType() string   { return "test.desks.Closed.v1" }
func (filed) EventType() string    { return "test.archive.Filed.v1" }

// press is the outside: it notes when each ticket was asked for.
type press struct {
	mu      sync.Mutex
	printed map[string][]time.Time
}

// claimFor is how long a claim on a call lasts that says nothing of a time-out: that, and ten seconds.
const claimFor = 20 * time.Second

// once fails the test where a ticket was printed again while the claim on it lasted. A machine that does not come to record within all that time what
// became of a call has it made again, which is as it should be.
func (p *press) once(t *testing.T, when string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, at := range p.printed {
		for i := 1; i < len(at); i++ {
			if after := at[i].Sub(at[i-1]); after < claimFor-time.Second {
				t.Errorf("%s ticket %s was printed again after %s", when, key, after)
			} else {
				t.Logf("%s ticket %s was printed again when its claim was over, after %s", when, key, after)
			}
		}
	}
}

func (p *press) Call(_ context.Context, c backbone.CallRequest, _ string) (any, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.printed[c.Key] = append(p.printed[c.Key], time.Now())
	return nil, nil
}

// again appends an event whatever happened before, so that what is done twice is seen.
func again[C backbone.Command](a *backbone.Aggregate[int], e func(C) backbone.Event) backbone.Handler {
	return backbone.Decide(a, func(_ int, c C, _ backbone.Meta) ([]backbone.Event, error) { return []backbone.Event{e(c)}, nil })
}

func tally(n int, _ backbone.Event) int { return n + 1 }

// desks returns the services. deadline is that of the saga's step.
func desks(outside *press, deadline time.Duration, handle func(context.Context, backbone.Tx, served) error) []*backbone.Service {
	desk := &backbone.Aggregate[int]{Name: "desk", Public: []backbone.Event{served{}}, Evolve: tally}
	person := &backbone.Aggregate[int]{Name: "person", Public: []backbone.Event{chimed{}, ticketed{}, closed{}}, Evolve: tally}
	entry := &backbone.Aggregate[int]{Name: "entry", Public: []backbone.Event{filed{}}, Evolve: tally}
	serving := &backbone.Saga[served]{
		Name: "serving", Version: 1,
		Starts: backbone.StartsOn(func(e served, _ backbone.Meta) (string, served) { return e.id(), e }),
		Steps: []backbone.Step[served]{
			{Name: "file", Do: func(e served) backbone.Command { return file{e.id()} }, Timeout: deadline, OnTimeout: backbone.Wait},
			{Name: "finish", Pivot: true, Local: func(e served) backbone.Command { return finish{e.id()} }},
		},
		Rejected: func(e served, _ string, _ backbone.Refusal) backbone.Command { return finish{e.id()} },
	}
	return []*backbone.Service{{
		Name: "desks",
		Handles: []backbone.Handler{
			backbone.Decide(desk, func(n int, c serve, _ backbone.Meta) ([]backbone.Event, error) {
				return []backbone.Event{served{c.Desk, n}}, nil
			}),
			again(person, func(c chime) backbone.Event { return chimed(c) }),
			again(person, func(c ticket) backbone.Event { return ticketed(c) }),
			again(person, func(c finish) backbone.Event { return closed(c) }),
		},
		Reacts: []backbone.Subscriber{backbone.Whenever(func(e served, m backbone.Meta) []backbone.Effect {
			return []backbone.Effect{
				backbone.SetTimer("chime-"+e.id(), m.Time.Add(100*time.Millisecond), chime{e.id()}),
				backbone.MakeCall("print", e.id(), e.id(), e.id(), m.Time.Add(time.Hour)),
			}
		})},
		Calls: []backbone.CallType{backbone.CallTo("print", backbone.Caller[string](outside), func(id string, _ backbone.CallOutcome) backbone.Command {
			return ticket{id}
		})},
		Sagas: []backbone.SagaDefinition{serving},
	}, {
		Name:       "archive",
		Handles:    []backbone.Handler{again(entry, func(c file) backbone.Event { return filed(c) })},
		Subscribes: []backbone.Subscriber{backbone.On(handle).From(backbone.FromFirst)},
		Views: []backbone.View{backbone.ViewOf("sums", backbone.FromFirst, func(ctx context.Context, tx backbone.ViewTx, e served) error {
			return tx.Exec(ctx, `INSERT INTO {sums} AS s (desk, n) VALUES ($1, 1) ON CONFLICT (desk) DO UPDATE SET n = s.n + 1`, e.Desk)
		}).View},
		Migrations: fstest.MapFS{"0001_entry.sql": {Data: []byte(`-- +goose Up
CREATE TABLE {entry} (id TEXT NOT NULL, desk TEXT NOT NULL, n BIGINT NOT NULL);
CREATE TABLE {sums} (desk TEXT PRIMARY KEY, n BIGINT NOT NULL);
`)}},
		Retry: backbone.RetryPolicy{Attempts: 2, First: time.Millisecond, Max: 2 * time.Millisecond},
	}}
}

func (e served) id() string { return fmt.Sprintf("%s-%d", e.Desk, e.N) }

func enterServed(ctx context.Context, tx backbone.Tx, e served) error {
	return tx.Exec(ctx, `INSERT INTO {entry} (id, desk, n) VALUES ($1, $2, $3)`, tx.Message().ID, e.Desk, e.N)
}

// process is one of several that run the same services on one PostgreSQL database.
type process struct {
	*backbone.Runtime
	t     *testing.T
	store *drivertest.FaultyStore
	bus   *logbus.Bus
	ended bool

	mu     sync.Mutex
	alarms []string
}

// newProcess starts one whose leases are short.
func newProcess(t *testing.T, url string, parts []*backbone.Service) *process {
	t.Helper()
	return newLeasedProcess(t, url, parts, 2*time.Second)
}

func newLeasedProcess(t *testing.T, url string, parts []*backbone.Service, lease time.Duration) *process {
	t.Helper()
	return startProcess(t, url, parts, func(c *backbone.Config) { c.Lease = lease })
}

func startProcess(t *testing.T, url string, parts []*backbone.Service, change func(*backbone.Config)) *process {
	t.Helper()
	store, err := pgstore.Open(t.Context(), pgstore.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, store: &drivertest.FaultyStore{Store: store}}
	of := func(string) driver.Store { return p.store }
	config := backbone.Config{
		Parts: parts, Store: of,
		Hooks: backbone.Hooks{Alarm: func(a backbone.Alarm) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.alarms = append(p.alarms, a.Subject+": "+a.Text)
		}},
	}
	change(&config)
	p.bus = logbus.New(logbus.Config{Store: of, Lease: config.Lease})
	config.Transport = p.bus
	if p.Runtime, err = backbone.New(config); err != nil {
		t.Fatal(err)
	}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.end)
	return p
}

func (p *process) end() {
	if p.ended {
		return
	}
	p.ended = true
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := errors.Join(p.Stop(ctx), p.bus.Close(), p.store.Close()); err != nil {
		p.t.Error(err)
	}
}

// crash is the end of a process whose database hears nothing of it any more.
func (p *process) crash() {
	p.store.Crash()
	p.end()
}

// facts counts the events of a service by type and id.
func facts(t *testing.T, p *process, service string) map[string]map[string]int {
	t.Helper()
	list, err := p.Reader(service).Log(t.Context(), driver.ReadQuery{Kinds: []driver.Kind{driver.KindEvent}, Limit: 100_000, Bytes: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]map[string]int{}
	for _, m := range list {
		name := m.Type[strings.LastIndexByte(m.Type[:len(m.Type)-3], '.')+1 : len(m.Type)-3]
		if all[name] == nil {
			all[name] = map[string]int{}
		}
		all[name][m.Stream]++
	}
	return all
}

func eventually(t *testing.T, what string, within time.Duration, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within %s", what, within)
		case <-tick.C:
		}
	}
}

// load serves people at a few desks from many callers at once, each of whom goes to the processes in turn. Nobody may hear
// of other processes' being faster.
func load(t *testing.T, callers, each int, at func(i int) *process) {
	t.Helper()
	var running sync.WaitGroup
	for c := range callers {
		running.Go(func() {
			for i := range each {
				answer, err := at(c+i).Do(t.Context(), serve{fmt.Sprint("d", i%3)})
				if err != nil || answer.Outcome != backbone.Done {
					t.Errorf("call %d of %d: %v %v", i, c, answer, err)
					return
				}
			}
		})
	}
	running.Wait()
}

// once checks that what follows of n people served has happened, each once.
func once(t *testing.T, p *process, n int) {
	t.Helper()
	steps := []string{"Chimed", "Ticketed", "Filed", "Closed"}
	eventually(t, "everybody is called up, has a ticket, and is filed and closed", 40*time.Second, func() bool {
		got := facts(t, p, "desks")
		maps.Copy(got, facts(t, p, "archive"))
		return !slices.ContainsFunc(steps, func(name string) bool { return len(got[name]) < n })
	})
	got := facts(t, p, "desks")
	maps.Copy(got, facts(t, p, "archive"))
	for _, name := range steps {
		total := 0
		for _, times := range got[name] {
			total += times
		}
		if total != n {
			t.Errorf("%d %s for %d people", total, name, n)
		}
	}
}

// whole checks that the audit chain of each log holds, and goes up to its last event.
func whole(t *testing.T, p *process) {
	t.Helper()
	for _, service := range []string{"desks", "archive"} {
		eventually(t, "the log of "+service+" is sealed", 20*time.Second, func() bool {
			report, err := p.Reader(service).Verify(t.Context(), backbone.Seal{})
			if err != nil {
				t.Fatalf("audit of %s: %v", service, err)
			}
			return report.Unsealed == 0
		})
	}
}

// Two processes run the same services on one database: under load, over a clean stop and over a crash each call is made
// once, each timer fires once, each saga goes its way once, the logs are sealed in one chain, and callers hear nothing of it.
// Red, each for itself, without the guard of the seal's position, of the saga's revision, of a timer's generation, of a
// call's epoch, and with a conflict that is told after a few tries.
func TestProcessesShareADatabase(t *testing.T) {
	t.Parallel()
	url := testserver.Postgres(t).Database(t)
	outside := &press{printed: map[string][]time.Time{}}
	parts := func() []*backbone.Service { return desks(outside, 20*time.Millisecond, enterServed) }
	a, b := newProcess(t, url, parts()), newProcess(t, url, parts())
	both := func(i int) *process { return []*process{a, b}[i%2] }

	load(t, 12, 30, both)
	once(t, a, 360)
	outside.once(t, "under load")
	whole(t, b)

	// One stops as it should, and another takes its place.
	var stopped sync.WaitGroup
	stopped.Go(func() { load(t, 6, 40, func(int) *process { return b }) })
	a.end()
	stopped.Wait()
	a = newProcess(t, url, parts())
	load(t, 12, 10, both)
	once(t, b, 720)
	outside.once(t, "after a clean stop")
	whole(t, a)

	// One dies: what it had begun is taken up by the other, after its leases.
	stopped.Go(func() { load(t, 6, 40, func(int) *process { return b }) })
	a.crash()
	stopped.Wait()
	once(t, b, 960)
	whole(t, b)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, alarm := range b.alarms {
		if !strings.HasPrefix(alarm, "handler: ") && !strings.HasPrefix(alarm, "saga: ") { // the machine was slow
			t.Error(alarm)
		}
	}
}

// What operators ask is carried out once, by one of the processes, also while slices move between them; a pause holds in all
// of them. Red where both processes carry out what is asked of sagas, and where a slice that has lost a request does not take
// it up when it comes back.
func TestProcessesCarryOutRequestsOnce(t *testing.T) {
	t.Parallel()
	url := testserver.Postgres(t).Database(t)
	var healed atomic.Bool
	parts := func() []*backbone.Service {
		return desks(&press{printed: map[string][]time.Time{}}, time.Minute, func(ctx context.Context, tx backbone.Tx, e served) error {
			if !healed.Load() {
				return backbone.Permanent(errors.New("no paper"))
			}
			return enterServed(ctx, tx, e)
		})
	}
	a, b := newProcess(t, url, parts()), newProcess(t, url, parts())
	if err := a.Pause(t.Context(), "archive"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other process pauses too", 5*time.Second, func() bool {
		_, err := b.Do(t.Context(), file{"nobody"})
		return errors.Is(err, backbone.ErrPaused)
	})
	const people = 60
	load(t, 6, people/6, func(i int) *process { return []*process{a, b}[i%2] })
	ask := func(service string, r driver.Request) {
		t.Helper()
		r.Actor, r.Why, r.Time = "op", "no paper", time.Now().UnixMicro()
		if _, err := a.store.PutRequest(t.Context(), service, r); err != nil {
			t.Fatal(err)
		}
	}
	done := func(service string) func() bool {
		return func() bool {
			list, err := b.store.OpenRequests(t.Context(), service, 1000)
			if err != nil {
				t.Fatal(err)
			}
			return len(list) == 0
		}
	}
	sagas, err := a.store.SagaRows(t.Context(), "desks", "serving", "", backbone.SagaRunning, 1000)
	if err != nil || len(sagas) != people {
		t.Fatalf("%d sagas run: %v", len(sagas), err)
	}
	for _, saga := range sagas {
		ask("desks", driver.Request{Subject: "saga", Action: "abort", Subscription: saga.Name, Key: saga.ID})
	}
	eventually(t, "all sagas are aborted", 20*time.Second, done("desks"))
	total := 0
	for _, times := range facts(t, b, "desks")["Closed"] {
		total += times
	}
	if total != people {
		t.Errorf("%d requests closed sagas %d times", people, total)
	}

	if err := b.Resume(t.Context(), "archive"); err != nil {
		t.Fatal(err)
	}
	parked := func() int {
		n := 0
		for i := range 3 {
			rows, err := b.store.ParkedRows(t.Context(), "archive", "archive", fmt.Sprint("desk/d", i), 1000)
			if err != nil {
				t.Fatal(err)
			}
			n += len(rows)
		}
		return n
	}
	eventually(t, "all are parked", 20*time.Second, func() bool { return parked() == people })
	healed.Store(true)
	for i := range 3 {
		ask("archive", driver.Request{Subject: "parked", Action: "redrive", Subscription: "archive", Key: fmt.Sprint("desk/d", i)})
	}
	a.end()
	eventually(t, "what was parked is handled", 20*time.Second, func() bool { return done("archive")() && parked() == 0 })
	rows, err := b.Reader("archive").Query(t.Context(), `SELECT desk, n FROM {entry} ORDER BY desk, n`)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	next := map[string]int64{}
	for rows.Next() {
		var desk string
		var n int64
		if err := rows.Scan(&desk, &n); err != nil {
			t.Fatal(err)
		}
		if n != next[desk] {
			t.Errorf("desk %s: %d where %d is next", desk, n, next[desk])
		}
		next[desk]++
	}
	if sum := next["d0"] + next["d1"] + next["d2"]; sum != people {
		t.Errorf("%d were handled, want %d", sum, people)
	}
}

// A process that has lost a slice while it handled a parked message again changes nothing: neither the effect nor the parked
// rows, which the slice's owner knows by heart. Red without the guard of what moves no checkpoint.
func TestStaleOwnerDoesNotRedrive(t *testing.T) {
	t.Parallel()
	if n := staleRedrive(t, func(s driver.Store) driver.Store { return s }); n != 0 {
		t.Errorf("the stale owner has made %d entries", n)
	}
}

// staleRedrive has a process that works on its database as wrapped handle a parked message again, takes its slices away meanwhile, and
// returns how many entries it has made.
func staleRedrive(t *testing.T, wrapped func(driver.Store) driver.Store) int64 {
	t.Helper()
	url := testserver.Postgres(t).Database(t)
	var healed atomic.Bool
	entered, gate := make(chan struct{}, 1), make(chan struct{})
	parts := func(gated bool) []*backbone.Service {
		list := desks(&press{printed: map[string][]time.Time{}}, time.Minute, func(ctx context.Context, tx backbone.Tx, e served) error {
			switch {
			case !healed.Load():
				return backbone.Permanent(errors.New("no paper"))
			case gated:
				entered <- struct{}{}
				<-gate
			}
			return enterServed(ctx, tx, e)
		})
		list[1].HandlerTimeout = time.Minute
		return list
	}
	a := startProcess(t, url, parts(true), func(c *backbone.Config) {
		c.Lease = 2 * time.Second
		store := wrapped(c.Store("archive"))
		c.Store = func(string) driver.Store { return store }
	})
	look, err := pgstore.Open(t.Context(), pgstore.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = look.Close() })
	if err := look.Migrate(t.Context(), []driver.Schema{{Service: "archive"}}); err != nil {
		t.Fatal(err)
	}
	slice := driver.SliceOf("desk/d0", driver.DefaultSlices)
	owner := func() (c driver.Checkpoint) {
		cps, err := look.Checkpoints(t.Context(), "archive", "archive")
		if err != nil {
			t.Fatal(err)
		}
		return cps[slices.IndexFunc(cps, func(c driver.Checkpoint) bool { return c.Slice == slice })]
	}
	entries := func() (n int64) {
		rows, err := backbone.NewReader("archive", look).Query(t.Context(), `SELECT count(*) FROM {entry}`)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			if err := rows.Scan(&n); err != nil {
				t.Fatal(err)
			}
		}
		return n
	}
	load(t, 1, 1, func(int) *process { return a })
	eventually(t, "it is parked", 10*time.Second, func() bool {
		rows, err := a.store.ParkedRows(t.Context(), "archive", "archive", "desk/d0", 10)
		return err == nil && len(rows) == 1
	})
	healed.Store(true)
	if _, err := a.store.PutRequest(t.Context(), "archive", driver.Request{
		Subject: "parked", Action: "redrive", Subscription: "archive", Key: "desk/d0", Actor: "op", Why: "paper", Time: time.Now().UnixMicro(),
	}); err != nil {
		t.Fatal(err)
	}
	<-entered
	before := owner()
	a.store.Isolate() // as a process that is paused for longer than its leases
	if err := a.Pause(t.Context(), "archive"); err != nil {
		t.Fatal(err)
	}
	b := newProcess(t, url, parts(false))
	eventually(t, "the slice is taken over", 20*time.Second, func() bool { return owner().Epoch > before.Epoch })
	close(gate)
	a.end()
	stale := entries()
	if stale != 0 {
		return stale
	}
	if err := b.Resume(t.Context(), "archive"); err != nil {
		t.Fatal(err)
	}
	load(t, 1, 1, func(int) *process { return b })
	eventually(t, "the owner handles what was parked, and what comes after it", 20*time.Second, func() bool { return entries() == 2 })
	return stale
}

// contested is a store on which another writer wins, a number of times.
type contested struct {
	driver.Store
	wins atomic.Int64
}

func (s *contested) Begin(ctx context.Context) (driver.Tx, error) {
	tx, err := s.Store.Begin(ctx)
	return &contestedTx{tx, s}, err
}

type contestedTx struct {
	driver.Tx
	store *contested
}

func (t *contestedTx) Apply(ctx context.Context, service string, w *driver.Writes) error {
	if len(w.Answers) > 0 && t.store.wins.Add(-1) >= 0 {
		return driver.ErrConflict
	}
	return t.Tx.Apply(ctx, service, w)
}

// Whoever waits for an answer does not hear that other writers were faster, even many times in a row. Red when a unit by
// itself is given up after the tries of the batch that it was in.
func TestConflictsAreNotTold(t *testing.T) {
	t.Parallel()
	var store *contested
	w := runWith(t, filepath.Join(t.TempDir(), "test.db"), func(c *backbone.Config) {
		store = &contested{Store: c.Store("tills")}
		c.Store = func(string) driver.Store { return store }
	}, tills(nil))
	store.wins.Store(40)
	var callers sync.WaitGroup
	for i := range 8 {
		callers.Go(func() {
			if _, err := w.Do(t.Context(), take{fmt.Sprint("t", i), 1}); err != nil {
				t.Error(err)
			}
		})
	}
	callers.Wait()
}

// liar tells the contrary of what became of transactions that move a checkpoint and append nothing, as long as it has lies left.
type liar struct {
	driver.Store
	lies atomic.Int64
	lost bool // it tells nil of what is not in; otherwise that what is in is not
}

type liarTx struct {
	driver.Tx
	store  *liar
	little bool
}

func (s *liar) Begin(ctx context.Context) (driver.Tx, error) {
	tx, err := s.Store.Begin(ctx)
	return &liarTx{Tx: tx, store: s}, err
}

func (t *liarTx) Apply(ctx context.Context, service string, w *driver.Writes) error {
	t.little = len(w.Moves) > 0 && len(w.Records) == 0
	return t.Tx.Apply(ctx, service, w)
}

func (t *liarTx) Commit(ctx context.Context) error {
	switch {
	case !t.little || t.store.lies.Add(-1) < 0:
		return t.Tx.Commit(ctx)
	case t.store.lost:
		return t.Rollback()
	}
	return errors.Join(t.Tx.Commit(ctx), driver.ErrUnavailable)
}

// A process whose database stands elsewhere than it thinks finds its way back by itself, and handles each event once: where a
// transaction is in that was told lost, or lost and was told in, and where the slices have another epoch than was told. Red where a slice
// that conflicts while nobody else has it is tried again as it is.
func TestCheckpointsThatStandElsewhere(t *testing.T) {
	t.Parallel()
	for what, lost := range map[string]bool{"told lost, and in": false, "told in, and lost": true} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			store := &liar{lost: lost}
			p := startProcess(t, testserver.Postgres(t).Database(t), desks(&press{printed: map[string][]time.Time{}}, time.Minute, enterServed),
				func(c *backbone.Config) {
					store.Store = c.Store("desks")
					c.Store = func(string) driver.Store { return store }
				})
			at := func(int) *process { return p }
			load(t, 4, 10, at)
			store.lies.Store(5)
			load(t, 4, 10, at)
			once(t, p, 80)
			if store.lies.Load() == 5 {
				t.Error("no transaction moved checkpoints alone")
			}
			store.lies.Store(0)

			tx, err := store.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			raise := "UPDATE " + p.store.Name("archive", "bb_checkpoint") + " SET epoch = epoch + 1"
			if err := errors.Join(tx.Exec(t.Context(), []driver.Statement{{SQL: raise}}), tx.Commit(t.Context())); err != nil {
				t.Fatal(err)
			}
			load(t, 4, 10, at)
			once(t, p, 120)
			eventually(t, "each is counted", 20*time.Second, func() bool { return sums(t, p, "sums") >= 120 })
			if n := sums(t, p, "sums"); n != 120 {
				t.Errorf("120 events are counted as %d", n)
			}
		})
	}
}

// What is to be done in another process, or in none, is known to one that can read the logs: events that nobody has handled
// because their service is paused there, and calls that are not made. Red where only this process is looked at.
func TestUnsettledElsewhere(t *testing.T) {
	t.Parallel()
	url := testserver.Postgres(t).Database(t)
	parts := desks(&press{printed: map[string][]time.Time{}}, time.Minute, enterServed)
	a := newProcess(t, url, parts)
	unsettled := func() string {
		what, err := a.Unsettled(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return what
	}
	load(t, 2, 10, func(int) *process { return a })
	eventually(t, "all is settled", 20*time.Second, func() bool { return unsettled() == "" })
	once(t, a, 20)
	b := newProcess(t, url, desks(&press{printed: map[string][]time.Time{}}, time.Minute, enterServed))
	if err := b.Pause(t.Context(), "archive"); err != nil {
		t.Fatal(err)
	}
	a.end()
	load(t, 2, 10, func(int) *process { return b })
	one := startProcess(t, url, parts, func(c *backbone.Config) { c.Run = []string{"desks"} })
	look := func() string {
		what, err := one.Unsettled(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return what
	}
	eventually(t, "only the archive is behind", 20*time.Second, func() bool { return strings.Contains(look(), "of service archive has not") })
	eventually(t, "nothing is to be done for what runs here", 20*time.Second, func() bool {
		what, err := one.UnsettledHere(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return what == ""
	})
	if err := b.Resume(t.Context(), "archive"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all is settled again", 20*time.Second, func() bool { return look() == "" })
	once(t, one, 40)
}

// A world is not emptied behind another process's back, also when that one's leases have just run out. Red where the store is asked
// only for the power to empty tables, or only whether another process holds a lease.
func TestResetNeedsADatabaseOfOnesOwn(t *testing.T) {
	t.Parallel()
	url := testserver.Postgres(t).Database(t)
	a := startProcess(t, url, desks(&press{printed: map[string][]time.Time{}}, time.Minute, enterServed), func(c *backbone.Config) {
		of := c.Store
		c.Store = func(service string) driver.Store { return emptiable{of(service)} }
	})
	load(t, 2, 10, func(int) *process { return a })
	if err := a.Reset(t.Context()); err == nil || !strings.Contains(err.Error(), "to itself") {
		t.Errorf("a process empties a database that others may share: %v", err)
	}
	once(t, a, 20)
}

// emptiable is a shared store that claims that it could be emptied.
type emptiable struct{ driver.Store }

func (emptiable) Reset(context.Context, driver.Tx, string) error { return errors.New("emptied") }

// sums reads what the view of the archive shows: how many in all, and the highest of a desk.
func sums(t *testing.T, p *process, view string) (n int) {
	t.Helper()
	rows, err := p.Reader("archive").Query(t.Context(), `SELECT coalesce(sum(n), 0)::bigint FROM {`+view+`}`)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := rows.Scan(&n); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// D6: a view that several processes keep is rebuilt again and again, by each of them in turn, while both write what it is of:
// it shows each event once. Red where another process may commit what it had in hand when the new tables took the place of
// the old ones, and where nobody is told that slices are free.
func TestD6_RebuildOfASharedView(t *testing.T) {
	t.Parallel()
	url := testserver.Postgres(t).Database(t)
	parts := func() []*backbone.Service {
		return desks(&press{printed: map[string][]time.Time{}}, time.Minute, enterServed)
	}
	both := []*process{newProcess(t, url, parts()), newProcess(t, url, parts())}
	load(t, 2, 10, func(i int) *process { return both[i%2] })
	eventually(t, "both work", 20*time.Second, func() bool { return len(owners(t, both[0])) >= 3 })
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		load(t, 8, 100, func(i int) *process { return both[i%2] })
	}()
	rebuilt := 0
	for under := true; under; rebuilt++ {
		select {
		case <-ended:
			under = false
		default:
		}
		if err := both[rebuilt%2].Rebuild(t.Context(), "archive", "sums", nil); err != nil {
			t.Fatalf("rebuild %d: %v", rebuilt, err)
		}
	}
	<-ended
	t.Logf("rebuilt %d times", rebuilt)
	once(t, both[0], 820)
	eventually(t, "the view shows all", 20*time.Second, func() bool { return sums(t, both[0], "sums") >= 820 })
	load(t, 2, 10, func(i int) *process { return both[i%2] })
	eventually(t, "the view goes on", 20*time.Second, func() bool { return sums(t, both[0], "sums") >= 840 })
	if n := sums(t, both[1], "sums"); n != 840 {
		t.Errorf("the view shows %d, want 840", n)
	}
}
