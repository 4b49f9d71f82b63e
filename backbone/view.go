package backbone

import (
	"cmp"
	"context"
	"errors"
	"fmt"
)

// ViewTx is what a view writes through: its own tables and nothing else, so that
// it can run any number of times. Rows depend only on events of the row's key, in
// key order.
type ViewTx interface {
	Message() *Message
	// Exec queues a statement; see Tx.Exec.
	Exec(ctx context.Context, sql string, args ...any) error
	// Query runs what was queued, then the statement; see Tx.Query.
	Query(ctx context.Context, sql string, args ...any) (Rows, error)
}

// Projection is how one type of event changes a view.
type Projection struct {
	sub   Subscriber
	apply func(context.Context, ViewTx, Event) error
}

// Project applies events of type E to a view.
func Project[E Event](fn func(context.Context, ViewTx, E) error) Projection {
	p := Projection{sub: subscriberOf[E]()}
	if fn != nil {
		p.apply = func(ctx context.Context, tx ViewTx, e Event) error { return fn(ctx, tx, e.(E)) }
	}
	return p
}

// ProjectBy is Project for a view whose rows belong to another key than the
// event's stream; all projections of such a view are keyed.
func ProjectBy[E Event](key func(E) string, fn func(context.Context, ViewTx, E) error) Projection {
	p := Project(fn)
	p.sub.keyed = keyOr(key)
	return p
}

// View is an entry of Service.Views: tables that are made from events alone and
// can be made again from the log at will.
type View struct {
	Name string
	// Tables that the view owns; default one table of the view's name.
	Tables []string
	// Inline views live in the transaction of the events themselves. They show
	// only the service's own events, in log order.
	Inline bool
	// From says where the view begins when it is new. A Rebuild begins at the first
	// event whatever stands here, so only a view FromFirst shows the same afterwards.
	From From
	// Projections, one a type of event.
	Projections []Projection
}

// lookForTables reports a view whose table no migration makes: each of its events would be parked.
func (h *host) lookForTables(ctx context.Context) error {
	for _, v := range h.svc.Views {
		for _, table := range v.tables() {
			rows, err := h.store.Query(ctx, "SELECT 1 FROM "+h.store.Name(h.svc.Name, table)+" LIMIT 0")
			if err == nil {
				rows.Next()
				err = errors.Join(rows.Err(), rows.Close())
			}
			if err != nil {
				return fmt.Errorf("service %s: table {%s} of view %s cannot be read; one of Service.Migrations makes it, or View.Tables names another: %w",
					h.svc.Name, table, v.Name, err)
			}
		}
	}
	return nil
}

// TypedView is a View of one type of event under construction.
type TypedView[E Event] struct{ View }

// ViewOf is the short form of a View over one type of event.
func ViewOf[E Event](name string, from From, fn func(context.Context, ViewTx, E) error) TypedView[E] {
	return TypedView[E]{View{Name: name, From: from, Projections: []Projection{Project(fn)}}}
}

// KeyedBy says which key the rows belong to, where it is not the event's stream. Events
// for which it returns "" share one key.
func (v TypedView[E]) KeyedBy(key func(E) string) View {
	v.Projections[0].sub.keyed = keyOr(key)
	return v.View
}

// Apply has the view take in one event through tx: what a runtime does once for each event, here for tests that fill the tables of a view without one
// (backbonetest.Tables). A program has no use for it. It is exported since the tests of a service stand in the service's package, here as in any other
// module, and nothing else leads from there to a projection. An event of a type that the view does not show is an error.
func (v *View) Apply(ctx context.Context, tx ViewTx, e Event) error {
	for i := range v.Projections {
		if p := &v.Projections[i]; p.sub.event == e.EventType() {
			return p.apply(ctx, tx, e)
		}
	}
	return fmt.Errorf("view %s does not show %s", v.Name, e.EventType())
}

func (v *View) tables() []string {
	if len(v.Tables) == 0 {
		return []string{v.Name}
	}
	return v.Tables
}

// keyless is the key of the rows for which a view names none: they share one, and its order. To transports an empty key says that
// a program cannot tell it.
const keyless = "-"

func keyOr[E Event](key func(E) string) func(Event) string {
	return func(e Event) string { return cmp.Or(key(e.(E)), keyless) }
}
