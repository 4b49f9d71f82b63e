package backbone_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

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
