package backbone_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/backbonetest"
	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/logbus"
	"example.org/souk/backbone/sqlitestore"
)

// What somebody writes who meets the library for the first time, and what the program that he starts tells him: each would otherwise
// show at the first message, by a panic, or not at all.
func TestMistakesAreToldAtTheStart(t *testing.T) {
	t.Parallel()
	ignore := func(context.Context, backbone.Tx, Lent) error { return nil }
	show := func(ctx context.Context, tx backbone.ViewTx, e Lent) error {
		return tx.Exec(ctx, `INSERT INTO {seen} (book) VALUES ($1)`, e.Book)
	}
	file := func(text string) fstest.MapFS { return fstest.MapFS{"0001_seen.sql": {Data: []byte(text)}} }
	for name, c := range map[string]struct {
		parts []*backbone.Service
		says  string
	}{
		"no parts":                 {nil, "parts list is empty"},
		"a part that is nil":       {[]*backbone.Service{Loans(), nil}, "entry 1 of the parts list is nil"},
		"an empty handler":         {[]*backbone.Service{{Name: "a", Handles: []backbone.Handler{{}}}}, "entry 0 of Handles (empty) has no function"},
		"a decision that is nil":   {[]*backbone.Service{{Name: "a", Handles: []backbone.Handler{backbone.Decide[Book, Lend](book, nil)}}}, "entry 0 of Handles (library.loans.Lend.v1) has no function"},
		"an empty subscriber":      {[]*backbone.Service{Loans(), {Name: "a", Subscribes: []backbone.Subscriber{{}}}}, "entry 0 of Subscribes (empty) has no function"},
		"a handler that is nil":    {[]*backbone.Service{Loans(), {Name: "a", Subscribes: []backbone.Subscriber{backbone.On[Lent](nil)}}}, "entry 0 of Subscribes (library.loans.Lent.v1) has no function"},
		"a policy that is nil":     {[]*backbone.Service{Loans(), {Name: "a", Subscribes: []backbone.Subscriber{backbone.Whenever[Lent](nil)}}}, "entry 0 of Subscribes (library.loans.Lent.v1) has no function"},
		"a projection that is nil": {[]*backbone.Service{Loans(), {Name: "a", Views: []backbone.View{backbone.ViewOf[Lent]("seen", backbone.FromNow, nil).View}}}, "projection 0 of view seen (library.loans.Lent.v1) has no function"},
		"a view without a table": {
			[]*backbone.Service{Loans(), {Name: "a", Views: []backbone.View{backbone.ViewOf("seen", backbone.FromNow, show).View}}},
			"table {seen} of view seen cannot be read; one of Service.Migrations makes it",
		},
		"a migration without its mark": {[]*backbone.Service{Loans(), {Name: "a", Migrations: file("CREATE TABLE {seen} (book TEXT);")}}, `no line "-- +goose Up"`},
		"a table without braces": {
			[]*backbone.Service{Loans(), {Name: "a", Migrations: file("-- +goose Up\nCREATE TABLE IF NOT EXISTS seen (book TEXT);")}},
			"names table seen without braces: write {seen}",
		},
		"nothing wrong": {[]*backbone.Service{Loans(), {
			Name: "a", Subscribes: []backbone.Subscriber{backbone.On(ignore)}, Views: []backbone.View{backbone.ViewOf("seen", backbone.FromNow, show).View},
			Migrations: file("-- +goose Up\n-- CREATE TABLE seen would be wrong\nCREATE TABLE {seen} (book TEXT);\n-- +goose Down\nDROP TABLE {seen};"),
		}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := startOn(t, filepath.Join(t.TempDir(), "a.db"), c.parts...)
			if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("it says %v, want %q", err, c.says)
			}
		})
	}
}

// startOn starts parts on a database, stops them, and returns what New or Start said.
func startOn(t *testing.T, path string, parts ...*backbone.Service) error {
	t.Helper()
	store, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	of := func(string) driver.Store { return store }
	bus := logbus.New(logbus.Config{Store: of})
	defer func() {
		if err := errors.Join(bus.Close(), store.Close()); err != nil {
			t.Error(err)
		}
	}()
	runtime, err := backbone.New(backbone.Config{Parts: parts, Store: of, Transport: bus})
	if err != nil {
		return err
	}
	defer func() {
		if err := runtime.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}()
	return runtime.Start(t.Context())
}

// A decision that returns a pointer to its event is refused: folded as it is, it would be another event than the one that is read from
// the log, and what is decided would hang on whether the program was started since.
func TestEventsAreOfTheListedType(t *testing.T) {
	t.Parallel()
	lend := func(b Book, c Lend, _ backbone.Meta) ([]backbone.Event, error) {
		if b.Reader != "" {
			return nil, backbone.Refuse("lent", "%s has it", b.Reader)
		}
		e := Lent(c)
		return []backbone.Event{&e}, nil
	}
	loans := &backbone.Service{Name: "loans", Handles: []backbone.Handler{backbone.Decide(book, lend)}}
	w := backbonetest.Start(t, backbonetest.Config{Parts: []*backbone.Service{loans}})
	for range 2 {
		if a, err := w.Runtime().Do(t.Context(), Lend{Book: "Emma", Reader: "Ann"}); backbone.ClassOf(err) != backbone.ClassPermanent ||
			!strings.Contains(err.Error(), "this one is *backbone_test.Lent: return it as it is listed") {
			t.Errorf("%+v %v", a, err)
		}
	}
	if events := w.Events(t, "loans"); len(events) != 0 {
		t.Errorf("appended: %v", events)
	}
}

// lendElsewhere is a command of another package under the same wire name.
type lendElsewhere struct{ Book string }

func (lendElsewhere) CommandType() string { return Lend{}.CommandType() }
func (c lendElsewhere) Stream() string    { return c.Book }

// A command may be given as a pointer; none, one of another type, and one without an id are errors and not panics.
func TestCommandsOfAllKinds(t *testing.T) {
	t.Parallel()
	w := backbonetest.Start(t, backbonetest.Config{Parts: []*backbone.Service{Loans()}})
	do := func(c backbone.Command) error {
		_, err := w.Runtime().Do(t.Context(), c)
		return err
	}
	if err := do(&Lend{Book: "Emma", Reader: "Ann"}); err != nil {
		t.Error(err)
	}
	if err := do(nil); !errors.Is(err, backbone.ErrNotHandled) {
		t.Error(err)
	}
	for c, says := range map[backbone.Command]string{
		lendElsewhere{"Emma"}: "library.loans.Lend.v1 is handled as backbone_test.Lend, and this one is backbone_test.lendElsewhere",
		Lend{Reader: "Ann"}:   "library.loans.Lent.v1 is to be appended to aggregate book without an id",
	} {
		if err := do(c); backbone.ClassOf(err) != backbone.ClassPermanent || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if events := fmt.Sprint(w.Events(t, "loans")); events != "[{Emma Ann}]" {
		t.Error(events)
	}
}

// What is wrong with an effect is the cause under which its message is parked, at once.
func TestEffectsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	for says, effect := range map[string]backbone.Effect{
		"an effect is nil":                   nil,
		"Send was given a nil command":       backbone.Send(nil),
		"timer bell was given a nil command": backbone.SetTimer("bell", backbonetest.Epoch, nil),
		"timer bell is to give library.loans.Return.v1 to service desk, which does not handle it": backbone.SetTimer("bell", backbonetest.Epoch, Return{"Emma"}),
	} {
		desk := &backbone.Service{Name: "desk", Subscribes: []backbone.Subscriber{
			backbone.Whenever(func(Lent, backbone.Meta) []backbone.Effect { return []backbone.Effect{effect} }),
		}}
		w := backbonetest.Start(t, backbonetest.Config{Parts: []*backbone.Service{Loans(), desk}})
		w.Do(t, Lend{Book: "Emma", Reader: "Ann"})
		w.Settle(t)
		parked, err := w.Runtime().Parked(t.Context(), "desk", "", 10)
		if err != nil || len(parked) != 1 || parked[0].State != backbone.ParkedDead || !strings.HasPrefix(parked[0].Cause, says) {
			t.Errorf("%+v %v, want %q", parked, err, says)
		}
	}
}

// Hooks hear of each attempt that failed, and once of each message that was handled in the end: what is parked, and what waits behind
// it, does not count as handled.
func TestParkedDoesNotCountAsHandled(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	heard := map[string]int{}
	var healed bool
	desk := &backbone.Service{Name: "desk", Retry: backbone.RetryPolicy{Attempts: 3}, Subscribes: []backbone.Subscriber{
		backbone.On(func(context.Context, backbone.Tx, Lent) error {
			mu.Lock()
			defer mu.Unlock()
			if !healed {
				return errors.New("out of order")
			}
			return nil
		}),
		backbone.On(func(context.Context, backbone.Tx, Returned) error { return nil }),
	}}
	w := backbonetest.Start(t, backbonetest.Config{
		Parts: []*backbone.Service{Loans(), desk},
		Hooks: backbone.Hooks{Handled: func(_ context.Context, h backbone.HandledStats) {
			mu.Lock()
			defer mu.Unlock()
			heard[fmt.Sprint(strings.TrimPrefix(h.Message.Type, "library.loans."), " failed=", h.Err != nil, " parked=", h.Parked)]++
		}},
	})
	w.Do(t, Lend{Book: "Emma", Reader: "Ann"})
	w.Do(t, Return{Book: "Emma"})
	w.Pass(t, time.Hour)
	mu.Lock()
	if got, want := fmt.Sprint(heard), "map[Lent.v1 failed=true parked=false:2 Lent.v1 failed=true parked=true:1]"; got != want {
		t.Errorf("before: %s\nwant: %s", got, want)
	}
	clear(heard)
	healed = true
	mu.Unlock()
	heads, err := w.Runtime().Parked(t.Context(), "desk", "", 10)
	if err != nil || len(heads) != 1 {
		t.Fatal(heads, err)
	}
	if err := w.Runtime().Redrive(t.Context(), heads[0], "tester", "it is in order again"); err != nil {
		t.Fatal(err)
	}
	w.Settle(t)
	mu.Lock()
	defer mu.Unlock()
	if got, want := fmt.Sprint(heard), "map[Lent.v1 failed=false parked=false:1 Returned.v1 failed=false parked=false:1]"; got != want {
		t.Errorf("after: %s\nwant: %s", got, want)
	}
}

// What operators ask by the program's own functions is carried out for the message that they saw and no other, and refused where it
// makes no sense.
func TestOperators(t *testing.T) {
	t.Parallel()
	desk := &backbone.Service{Name: "desk", Subscribes: []backbone.Subscriber{
		backbone.On(func(_ context.Context, _ backbone.Tx, e Lent) error {
			if e.Reader == "nobody" {
				return backbone.Permanent(errors.New("nobody reads"))
			}
			return nil
		}),
		backbone.On(func(context.Context, backbone.Tx, Returned) error { return backbone.Permanent(errors.New("no room")) }),
	}}
	w := backbonetest.Start(t, backbonetest.Config{Parts: []*backbone.Service{Loans(), desk, Fees(), Wishes()}})
	r := w.Runtime()
	w.Do(t, Lend{Book: "Emma", Reader: "nobody"})
	w.Do(t, Return{Book: "Emma"})
	w.Settle(t)
	all := func() []backbone.ParkedMessage {
		t.Helper()
		rows, err := r.Parked(t.Context(), "desk", "book/Emma", 10)
		if err != nil {
			t.Fatal(err)
		}
		return rows
	}
	rows := all()
	if len(rows) != 2 || rows[0].State != backbone.ParkedDead || rows[0].Attempts != 1 || !rows[0].Due.IsZero() || rows[0].Since != w.Clock.Now() ||
		rows[1].State != backbone.ParkedWaiting || rows[1].Message.Type != "library.loans.Returned.v1" {
		t.Fatalf("%+v", rows)
	}
	for what, err := range map[string]error{
		"no who":          r.Redrive(t.Context(), rows[0], "", "why"),
		"no why":          r.Discard(t.Context(), rows[0], "who", ""),
		"no JSON":         r.Edit(t.Context(), rows[0], []byte("{"), "who", "why"),
		"no such service": r.Redrive(t.Context(), backbone.ParkedMessage{Service: "dusk"}, "who", "why"),
		"no such message": r.Redrive(t.Context(), backbone.ParkedMessage{Service: "desk", Subscription: "desk", Key: "book/Emma"}, "who", "why"),
		"no such saga":    r.RetrySaga(t.Context(), "wishes", "granting", "w1", "who", "why"),
		"no name of saga": r.AbortSaga(t.Context(), "wishes", "", "", "who", "why"),
	} {
		if err == nil {
			t.Error(what, "is taken")
		}
	}
	if err := r.Redrive(t.Context(), backbone.ParkedMessage{Service: "desk"}, "who", "why"); !errors.Is(err, backbone.ErrNotParked) {
		t.Error(err)
	}
	if err := r.RetrySaga(t.Context(), "wishes", "granting", "w1", "who", "why"); !errors.Is(err, backbone.ErrNoSaga) {
		t.Error(err)
	}
	// The second is discarded while it waits; the head is edited, and then both are done with.
	if err := r.Discard(t.Context(), rows[1], "who", "there is no room for it"); err != nil {
		t.Fatal(err)
	}
	w.Settle(t)
	if now := all(); len(now) != 2 {
		t.Fatalf("%+v", now)
	}
	if err := r.Edit(t.Context(), rows[0], []byte(`{"Book":"Emma","Reader":"nobody"}`), "who", "a first try"); err != nil {
		t.Fatal(err)
	}
	w.Settle(t)
	if now := all(); len(now) != 2 || string(now[0].Message.Data) != `{"Book":"Emma","Reader":"nobody"}` {
		t.Fatalf("%+v", now)
	}
	if err := r.Edit(t.Context(), rows[0], []byte(`{"Book":"Emma","Reader":"Ann"}`), "who", "somebody did"); err != nil {
		t.Fatal(err)
	}
	w.Settle(t)
	if now := all(); len(now) != 0 {
		t.Errorf("%+v", now)
	}
	// What was seen is gone, whoever stands there now.
	w.Do(t, Lend{Book: "Emma", Reader: "nobody"})
	w.Settle(t)
	if now := all(); len(now) != 1 {
		t.Errorf("%+v", now)
	}
	if err := r.Discard(t.Context(), rows[0], "who", "an old page"); !errors.Is(err, backbone.ErrNotParked) {
		t.Error(err)
	}
}

// The functions of a saga's steps are asked for the types of their commands before anything runs: one that cannot tell is named at the start.
func TestStepsThatTellNoCommand(t *testing.T) {
	t.Parallel()
	for says, do := range map[string]func(*Wished) backbone.Command{
		`step "lend": Do returns nil: leave a step out by When`: func(*Wished) backbone.Command { return nil },
		`step "lend": Do panics: runtime error`:                 func(w *Wished) backbone.Command { return Lend{Book: w.Book} },
	} {
		wishes := Wishes()
		wishes.Sagas = []backbone.SagaDefinition{&backbone.Saga[*Wished]{
			Name: "granting", Version: 1,
			Starts: backbone.StartsOn(func(e Wished, _ backbone.Meta) (string, *Wished) { return e.ID, &e }),
			Steps:  []backbone.Step[*Wished]{{Name: "lend", Do: do}},
		}}
		if err := backbone.Check([]*backbone.Service{Loans(), wishes}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("it says %v, want %q", err, says)
		}
	}
}

// A step whose answer is late is undone, so it has to say how.
func TestLateStepsCanBeUndone(t *testing.T) {
	t.Parallel()
	step := backbone.Step[Wished]{Name: "pay", Do: func(w Wished) backbone.Command { return PayFee{w.Reader} }, OnTimeout: backbone.Compensate}
	check := func() error {
		wishes := Wishes()
		wishes.Sagas = []backbone.SagaDefinition{&backbone.Saga[Wished]{
			Name: "granting", Version: 1,
			Starts: backbone.StartsOn(func(e Wished, _ backbone.Meta) (string, Wished) { return e.ID, e }), Steps: []backbone.Step[Wished]{step},
		}}
		return backbone.Check([]*backbone.Service{Loans(), Fees(), wishes})
	}
	if err := check(); err == nil || !strings.Contains(err.Error(), `step "pay" compensates when its answer is late, and has no Undo`) {
		t.Error(err)
	}
	step.Undo = func(w Wished) backbone.Command { return Return{w.Book} }
	if err := check(); err != nil {
		t.Error(err)
	}
}

// A program asks Ready before it takes requests in: not before Start has returned, not while the database is away, and not after Stop.
func TestReady(t *testing.T) {
	t.Parallel()
	store, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Path: filepath.Join(t.TempDir(), "a.db")})
	if err != nil {
		t.Fatal(err)
	}
	of := func(string) driver.Store { return store }
	bus := logbus.New(logbus.Config{Store: of})
	r, err := backbone.New(backbone.Config{Parts: []*backbone.Service{Loans()}, Store: of, Transport: bus})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Ready(t.Context()); !errors.Is(err, backbone.ErrStopped) {
		t.Error("before Start:", err)
	}
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.Ready(t.Context()); err != nil {
		t.Error("after Start:", err)
	}
	if err := store.Close(); err != nil {
		t.Error(err)
	}
	if err := r.Ready(t.Context()); !errors.Is(err, driver.ErrUnavailable) {
		t.Error("without a database:", err)
	}
	if err := errors.Join(r.Stop(t.Context()), bus.Close()); err != nil {
		t.Error(err)
	}
	if err := r.Ready(t.Context()); !errors.Is(err, backbone.ErrStopped) {
		t.Error("after Stop:", err)
	}
}
