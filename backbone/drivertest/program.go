package drivertest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
)

// Program is a program that is not built on a Runtime: it has a database of its
// own and appends events, or keeps its inbox, within transactions of its own. The
// service whose log it appends to is "orders".
type Program struct {
	// Run runs SQL statements without parameters in the program's database.
	Run func(ctx context.Context, sql string) error
	// Begin opens a transaction as the program does.
	Begin func(ctx context.Context) (ProgramTx, error)
	// Open opens the same database as a store; the suite closes it.
	Open Opener
	// Migrations are those that the store exports for the service.
	Migrations fs.FS
}

// ProgramTx is a transaction of a Program.
type ProgramTx struct {
	Exec     func(ctx context.Context, sql string, args ...any) error
	Append   func(ctx context.Context, out ...backbone.Outgoing) ([]*backbone.Message, error)
	Inbox    func(ctx context.Context, in backbone.Incoming) (bool, error)
	Commit   func() error
	Rollback func() error // does nothing after Commit
}

// RunProgram checks what a store offers to programs that are not built on the
// backbone. world is called once per test and makes an empty database.
func RunProgram(t *testing.T, world func(t *testing.T) Program) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, p Program)
	}{
		{"Append", testProgramAppends},
		{"Rollback", testProgramRollsBack},
		{"Expect", testProgramExpects},
		{"Refused", testProgramIsRefused},
		{"Positions", testProgramsAppendTogether},
		{"Hot", testProgramsAppendToOneStream},
		{"Inbox", testProgramInbox},
		{"InboxRace", testProgramInboxRace},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := world(t)
			names, err := fs.Glob(p.Migrations, "*.sql")
			must(t, err)
			for _, name := range names {
				text, err := fs.ReadFile(p.Migrations, name)
				must(t, err)
				must(t, p.Run(t.Context(), string(text)))
			}
			must(t, p.Run(t.Context(), "CREATE TABLE purchase (id TEXT PRIMARY KEY, cents BIGINT NOT NULL)"))
			test.run(t, p)
		})
	}
}

// bought is an event of a program.
type bought struct {
	ID   string `json:"id"`
	Note string `json:"note,omitempty"`
}

func (bought) EventType() string { return "shop.Bought.v1" }

// said has a wire name that needs care in SQL.
type said struct{}

func (said) EventType() string { return `shop."Said", {not} \bought.v1` }

var noon = time.Date(2026, 3, 1, 12, 0, 0, 123_456_789, time.UTC)

func outgoing(stream string, ids ...string) backbone.Outgoing {
	out := backbone.Outgoing{Stream: stream, Time: noon}
	for _, id := range ids {
		out.Events = append(out.Events, bought{ID: id})
	}
	return out
}

// within runs work in a transaction and commits it, or rolls it back on an error.
func (p *Program) within(ctx context.Context, work func(tx ProgramTx) error) error {
	tx, err := p.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // where work ends the test too, or its connection stays taken
	if err := work(tx); err != nil {
		return err
	}
	return tx.Commit()
}

func (p *Program) append(ctx context.Context, out ...backbone.Outgoing) (appended []*backbone.Message, err error) {
	err = p.within(ctx, func(tx ProgramTx) error {
		appended, err = tx.Append(ctx, out...)
		return err
	})
	return appended, err
}

// storeOf opens the program's database as a store that finds its tables made.
func storeOf(t *testing.T, p Program) driver.Store {
	t.Helper()
	s := p.Open(t)
	t.Cleanup(func() { must(t, s.Close()) })
	must(t, s.Migrate(t.Context(), []driver.Schema{{Service: service}}))
	return s
}

// testProgramAppends finds what was appended beside a row of the program's own,
// as the store and its readers see it.
func testProgramAppends(t *testing.T, p Program) {
	ctx := t.Context()
	strange := `a "quoted", {braced} \backslashed` + "\n\ttext of ünï ☃ NULL"
	full := backbone.Outgoing{
		Stream: "order/o1", Expect: backbone.NewStream, Time: noon.In(time.FixedZone("east", 3600)),
		Events: []backbone.Event{bought{ID: "o1"}, bought{ID: "o1", Note: strange}},
		Actor:  "customer:C1", Correlation: "conversation", Causation: "request", Trace: "00-trace",
	}
	var appended []*backbone.Message
	must(t, p.within(ctx, func(tx ProgramTx) (err error) {
		if err := tx.Exec(ctx, "INSERT INTO purchase (id, cents) VALUES ($1, $2)", "o1", 100); err != nil {
			return err
		}
		appended, err = tx.Append(ctx, full, outgoing("order/o2", "o2"))
		return err
	}))
	spoken := backbone.Outgoing{Stream: "order/o1", Events: []backbone.Event{said{}}, Time: noon}
	more, err := p.append(ctx, outgoing("order/o1", "o1"), spoken)
	must(t, err)
	appended = append(appended, more...)
	none, err := p.append(ctx)
	must(t, err)
	equal(t, "appended by nothing", len(none), 0)

	s := storeOf(t, p)
	equal(t, "rows of the program", scalar[int](t, s, "SELECT count(*) FROM purchase WHERE id = 'o1' AND cents = 100"), 1)
	log, err := backbone.NewReader(service, s).Log(ctx, backbone.ReadQuery{})
	must(t, err)
	equal(t, "records", len(log), 5)
	ids := map[string]bool{}
	for i, m := range log {
		equal(t, "message as appended and as read", fmt.Sprintf("%+v", *m), fmt.Sprintf("%+v", *appended[i]))
		equal(t, "position", m.Position, int64(i+1))
		equal(t, "kind", m.Kind, driver.KindEvent)
		equal(t, "type", m.Type, []string{bought{}.EventType(), said{}.EventType()}[i/4])
		equal(t, "source", m.Source, service)
		equal(t, "time", m.Time, noon.Truncate(time.Microsecond))
		ids[m.ID] = true
		_, err := backbone.EncodeCloudEvent(m)
		must(t, err)
	}
	equal(t, "different ids", len(ids), 5)
	var places []string
	for _, m := range log {
		places = append(places, fmt.Sprintf("%s %d/%d", m.Stream, m.Version, m.Sequence))
	}
	equal(t, "places", strings.Join(places, ", "), "order/o1 1/1, order/o1 2/2, order/o2 1/1, order/o1 3/3, order/o1 4/4")
	m := log[1]
	equal(t, "meta", strings.Join([]string{m.Actor, m.Correlation, m.Causation, m.Trace}, " "), "customer:C1 conversation request 00-trace")
	equal(t, "correlation that was not given", log[2].Correlation, log[2].ID)
	byCorrelation := read(t, s, driver.ReadQuery{Correlation: "conversation"})
	equal(t, "records of the conversation", len(byCorrelation), 2)

	// The store's own transactions go on where the program stopped, in the same stream.
	tx := begin(t, s)
	data, err := tx.LoadStreams(ctx, service, []driver.StreamWant{{Stream: "order/o1"}})
	must(t, err)
	equal(t, "version", data[0].Version, 4)
	equal(t, "sequence", data[0].Sequence, 4)
	equal(t, "loaded", len(data[0].Records), 4)
	must(t, tx.Apply(ctx, service, &driver.Writes{Records: []driver.Record{event("order/o1", 5)}}))
	must(t, tx.Commit(ctx))
	more, err = p.append(ctx, outgoing("order/o1", "o1"))
	must(t, err)
	equal(t, "position behind the store's", more[0].Position, 7)
	equal(t, "version behind the store's", more[0].Version, 6)
}

// testProgramRollsBack leaves nothing: no row, no record, no position.
func testProgramRollsBack(t *testing.T, p Program) {
	ctx := t.Context()
	rolledBack := errors.New("rolled back")
	want(t, p.within(ctx, func(tx ProgramTx) error {
		must(t, tx.Exec(ctx, "INSERT INTO purchase (id, cents) VALUES ($1, $2)", "o1", 100))
		appended, err := tx.Append(ctx, outgoing("order/o1", "o1", "o1"))
		must(t, err)
		equal(t, "position in the transaction", appended[1].Position, 2)
		return rolledBack
	}), rolledBack)
	_, err := p.append(ctx, outgoing("order/o2", "o2"))
	must(t, err)

	s := storeOf(t, p)
	equal(t, "rows", scalar[int](t, s, "SELECT count(*) FROM purchase"), 0)
	log := read(t, s, driver.ReadQuery{})
	equal(t, "records", len(log), 1)
	equal(t, "stream", log[0].Stream, "order/o2")
	equal(t, "position", log[0].Position, 1)
}

// testProgramExpects holds the versions that appends ask for.
func testProgramExpects(t *testing.T, p Program) {
	ctx := t.Context()
	for i, step := range []struct{ expect, stands int64 }{
		{1, 0}, {backbone.NewStream, -1}, {backbone.NewStream, 1}, {1, -1}, {1, 2}, {3, 2}, {2, -1}, {0, -1}, {4, -1}, {4, 5},
	} {
		out := outgoing("order/o1", "o1")
		out.Expect = step.expect
		_, err := p.append(ctx, out)
		if step.stands < 0 {
			must(t, err)
			continue
		}
		want(t, err, driver.ErrConflict)
		var wrong *backbone.VersionError
		if !errors.As(err, &wrong) {
			t.Fatalf("step %d: got error %v, want a *backbone.VersionError", i, err)
		}
		equal(t, "error", *wrong, backbone.VersionError{Stream: "order/o1", Expected: step.expect, Version: step.stands})
	}
	// What stands in the same call before counts; a wrong version leaves the
	// transaction usable.
	must(t, p.within(ctx, func(tx ProgramTx) error {
		first, second := outgoing("order/o2", "o2"), outgoing("order/o2", "o2")
		second.Expect = 2
		_, err := tx.Append(ctx, first, second)
		want(t, err, driver.ErrConflict)
		second.Expect = 1
		_, err = tx.Append(ctx, first, second)
		return err
	}))
	equal(t, "records", len(read(t, storeOf(t, p), driver.ReadQuery{})), 7)
}

// testProgramIsRefused gives what cannot be appended.
func testProgramIsRefused(t *testing.T, p Program) {
	ctx := t.Context()
	good := outgoing("order/o1", "o1")
	for name, change := range map[string]func(*backbone.Outgoing){
		"no stream":        func(o *backbone.Outgoing) { o.Stream = "" },
		"no kind":          func(o *backbone.Outgoing) { o.Stream = "o1" },
		"an id with blank": func(o *backbone.Outgoing) { o.Stream = "order/o 1" },
		"no events":        func(o *backbone.Outgoing) { o.Events = nil },
		"no time":          func(o *backbone.Outgoing) { o.Time = time.Time{} },
		"a version below":  func(o *backbone.Outgoing) { o.Expect = -2 },
		"nil":              func(o *backbone.Outgoing) { o.Events = []backbone.Event{nil} },
		"a pointer":        func(o *backbone.Outgoing) { o.Events = []backbone.Event{&bought{}} },
		"too much": func(o *backbone.Outgoing) {
			o.Events = []backbone.Event{bought{Note: strings.Repeat("x", backbone.MaxData)}}
		},
	} {
		bad := good
		change(&bad)
		if _, err := p.append(ctx, good, bad); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for name, change := range map[string]func(*backbone.Incoming){
		"no subscription": func(in *backbone.Incoming) { in.Subscription = "" },
		"no message":      func(in *backbone.Incoming) { in.Message = nil },
		"no id":           func(in *backbone.Incoming) { in.Message = &backbone.Message{Source: "till"} },
		"no source":       func(in *backbone.Incoming) { in.Message = &backbone.Message{Meta: backbone.Meta{ID: "m1"}} },
		"no time":         func(in *backbone.Incoming) { in.Time = time.Time{} },
	} {
		bad := incoming("points", "m1", "{}")
		change(&bad)
		err := p.within(ctx, func(tx ProgramTx) error {
			_, err := tx.Inbox(ctx, bad)
			return err
		})
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	s := storeOf(t, p)
	equal(t, "records", len(read(t, s, driver.ReadQuery{})), 0)
	equal(t, "inbox", scalar[int](t, s, "SELECT count(*) FROM "+s.Name(service, "bb_inbox")), 0)
}

// testProgramsAppendTogether has programs and the store append at once, and a
// reader that follows the log by position alone.
func testProgramsAppendTogether(t *testing.T, p Program) {
	s := storeOf(t, p)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	const programs, each = 6, 12
	committed := make([]int, programs)
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		var all sync.WaitGroup
		for n := range programs {
			all.Go(func() {
				random := rand.New(rand.NewPCG(uint64(n), 2))
				rolledBack := errors.New("rolled back")
				for range each {
					out := outgoing(fmt.Sprintf("order/p%d", n), make([]string, 1+random.IntN(3))...)
					err := p.within(ctx, func(tx ProgramTx) error {
						if _, err := tx.Append(ctx, out); err != nil {
							return err
						}
						if random.IntN(4) == 0 {
							return rolledBack
						}
						return nil
					})
					switch {
					case err == nil:
						committed[n] += len(out.Events)
					case !errors.Is(err, rolledBack):
						t.Error(err)
					}
				}
			})
		}
		for n := range 2 {
			all.Go(func() { appendSome(ctx, t, s, n, each) })
		}
		all.Wait()
	}()
	next, last := map[string]int64{}, int64(0)
	for ended := false; ; {
		rs, err := s.Read(ctx, service, driver.ReadQuery{After: last, Limit: 50})
		must(t, err)
		for _, r := range rs {
			if r.Position != last+1 {
				t.Fatalf("position %d follows %d", r.Position, last)
			}
			last = r.Position
			if next[r.Stream]++; next[r.Stream] != r.Version {
				t.Fatalf("stream %s: version %d, want %d", r.Stream, r.Version, next[r.Stream])
			}
		}
		if len(rs) > 0 {
			continue
		}
		if ended {
			break
		}
		select {
		case <-finished:
			ended = true
		default:
		}
	}
	for n, count := range committed {
		equal(t, fmt.Sprintf("records of program %d", n), int(next[fmt.Sprintf("order/p%d", n)]), count)
	}
}

// testProgramsAppendToOneStream lets programs at one stream win each version once:
// those that expect a version try again where they lost.
func testProgramsAppendToOneStream(t *testing.T, p Program) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	const programs, each = 4, 6
	var all sync.WaitGroup
	for range programs {
		all.Go(func() {
			out := outgoing("order/hot", "hot")
			out.Expect = backbone.NewStream
			for done := 0; done < each; {
				_, err := p.append(ctx, out)
				var lost *backbone.VersionError
				switch {
				case errors.As(err, &lost):
					out.Expect = lost.Version
				case err != nil:
					t.Error(err)
					return
				default:
					done++
					out.Expect = max(out.Expect, 0) + 1
				}
			}
		})
	}
	all.Wait()
	log := read(t, storeOf(t, p), driver.ReadQuery{})
	equal(t, "records", len(log), programs*each)
	for i, r := range log {
		equal(t, "version", r.Version, int64(i+1))
		equal(t, "sequence", r.Sequence, int64(i+1))
	}
}

func incoming(subscription, id, body string) backbone.Incoming {
	return backbone.Incoming{
		Subscription: subscription, Time: noon,
		Message: &backbone.Message{Meta: backbone.Meta{ID: id}, Source: "till", Type: "till.Sold.v1", Data: []byte(body)},
	}
}

// testProgramInbox brings messages again, changed, to others and after a rollback.
func testProgramInbox(t *testing.T, p Program) {
	ctx := t.Context()
	other := incoming("points", "m1", `{"a":1}`)
	other.Message.Source = "web"
	otherType := incoming("points", "m1", `{"a":1}`)
	otherType.Message.Type = "till.Returned.v1"
	for i, step := range []struct {
		in       backbone.Incoming
		rollback bool
		fresh    bool
		differs  bool
	}{
		{in: incoming("points", "m1", `{"a":1}`), fresh: true, rollback: true},
		{in: incoming("points", "m1", `{"a":1}`), fresh: true},
		{in: incoming("points", "m1", `{"a":1}`)},
		{in: incoming("mail", "m1", `{"a":1}`), fresh: true},
		{in: incoming("points", "m2", `{"a":1}`), fresh: true},
		{in: other, fresh: true},
		{in: incoming("points", "m1", `{"a":2}`), differs: true},
		{in: otherType, differs: true},
		{in: incoming("points", "m1", `{"a":1}`)},
	} {
		rolledBack := errors.New("rolled back")
		err := p.within(ctx, func(tx ProgramTx) error {
			fresh, err := tx.Inbox(ctx, step.in)
			if differs := (*backbone.DifferentMessageError)(nil); errors.As(err, &differs) {
				equal(t, fmt.Sprintf("step %d: differs", i), true, step.differs)
				equal(t, "error", *differs, backbone.DifferentMessageError{Subscription: "points", Source: "till", ID: "m1"})
				// The transaction still stands: the program may put the message aside in it.
				return tx.Exec(ctx, "INSERT INTO purchase (id, cents) VALUES ($1, $2)", fmt.Sprintf("aside-%d", i), 0)
			}
			must(t, err)
			equal(t, fmt.Sprintf("step %d: new", i), fresh, step.fresh)
			equal(t, fmt.Sprintf("step %d: differs", i), false, step.differs)
			if step.rollback {
				return rolledBack
			}
			return nil
		})
		if !errors.Is(err, rolledBack) {
			must(t, err)
		}
	}
	s := storeOf(t, p)
	equal(t, "put aside", scalar[int](t, s, "SELECT count(*) FROM purchase"), 2)
	// What a Runtime would write is the same row: its transactions see the program's.
	tx := begin(t, s)
	hashes, err := tx.Inbox(ctx, service, []driver.InboxRow{{Subscription: "points", Source: "till", ID: "m1"}})
	must(t, err)
	if hashes[0] == "" {
		t.Error("a store's transaction does not see the inbox's row")
	}
	must(t, tx.Rollback())
	pruned, _, err := s.Prune(ctx, service, noon.UnixMicro()+1, 0, 100)
	must(t, err)
	equal(t, "pruned", pruned, 4)
}

// testProgramInboxRace brings one message from many sides at once: its effect is
// there once.
func testProgramInboxRace(t *testing.T, p Program) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	const sides, messages = 4, 8
	var all sync.WaitGroup
	for range sides {
		all.Go(func() {
			for i := range messages {
				err := p.within(ctx, func(tx ProgramTx) error {
					fresh, err := tx.Inbox(ctx, incoming("points", fmt.Sprintf("m%d", i), "{}"))
					if err != nil || !fresh {
						return err
					}
					return tx.Exec(ctx, "INSERT INTO purchase (id, cents) VALUES ($1, $2)", fmt.Sprintf("m%d", i), 1)
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	equal(t, "effects", scalar[int](t, storeOf(t, p), "SELECT count(*) FROM purchase"), messages)
}
