package sqlstore

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"example.org/souk/backbone/driver"
)

// logShape is the log; positions are put in by Write, as the first column.
var logShape = &Shape{
	Verb:  Insert,
	Table: "bb_log",
	Columns: []Column{
		{"position", Int},
		{"kind", Int},
		{"id", Text},
		{"ref", Text},
		{"stream", Text},
		{"version", Int},
		{"sequence", Int},
		{"type", Text},
		{"data", Bytes},
		{"meta", Bytes},
		{"time", Int},
		{"target", Text},
	},
}

var (
	insertAnswers = &Shape{
		Verb: Insert, Table: "bb_answer", Guard: true, Key: 1,
		Columns: []Column{{"id", Text}, {"fingerprint", Text}, {"outcome", Int}, {"data", Bytes}, {"time", Int}},
	}
	insertInbox = &Shape{
		Verb: Insert, Table: "bb_inbox", Guard: true, Key: 3,
		Columns: []Column{{"subscription", Text}, {"source", Text}, {"id", Text}, {"hash", Text}, {"time", Int}},
	}
	upsertSagas = &Shape{
		Verb: Insert, Table: "bb_saga",
		Columns: []Column{
			{"name", Text},
			{"id", Text},
			{"definition", Int},
			{"state", Text},
			{"data", Bytes},
			{"due", Int},
			{"started", Int},
			{"updated", Int},
			{"revision", Int},
		},
		Guard: true,
		Tail: `ON CONFLICT (name, id) DO UPDATE SET definition = excluded.definition, state = excluded.state,
			data = excluded.data, due = excluded.due, started = excluded.started, updated = excluded.updated,
			revision = excluded.revision WHERE t.revision = excluded.revision - 1`,
	}
	deleteTimers = &Shape{Verb: Delete, Table: "bb_timer", Columns: []Column{{"name", Text}}}
	insertTimers = &Shape{
		Verb: Insert, Table: "bb_timer",
		Columns: []Column{{"name", Text}, {"due", Int}, {"stream", Text}, {"type", Text}, {"data", Bytes}, {"meta", Bytes}},
	}
	fireTimers = &Shape{
		Verb: Delete, Table: "bb_timer", Guard: true,
		Columns: []Column{{"name", Text}, {"generation", Int}},
	}
	insertCalls = &Shape{
		Verb: Insert, Table: "bb_call", Guard: true, Key: 1,
		Columns: []Column{
			{"id", Text},
			{"name", Text},
			{"request", Bytes},
			{"stream", Text},
			{"meta", Bytes},
			{"deadline", Int},
			{"due", Int},
			{"attempts", Int},
			{"epoch", Int},
			{"lease_until", Int},
			{"cause", Text},
			{"created", Int},
		},
	}
	endCalls = &Shape{
		Verb: Delete, Table: "bb_call", Guard: true, Refused: driver.ErrClaimLost,
		Columns: []Column{{"id", Text}, {"epoch", Int}},
	}
	dropCalls  = &Shape{Verb: Delete, Table: "bb_call", Columns: []Column{{"stream", Text}, {"name", Text}}}
	delayCalls = &Shape{
		Verb: Update, Table: "bb_call", Guard: true, Set: 2, Refused: driver.ErrClaimLost,
		Columns: []Column{{"due", Int}, {"cause", Text}, {"id", Text}, {"epoch", Int}},
		Tail:    ", lease_until = 0",
	}
	insertParked = &Shape{
		Verb: Insert, Table: "bb_parked",
		Columns: []Column{
			{"subscription", Text},
			{"key", Text},
			{"slice", Int},
			{"source", Text},
			{"id", Text},
			{"record", Bytes},
			{"cause", Text},
			{"attempts", Int},
			{"due", Int},
			{"state", Text},
			{"time", Int},
		},
	}
	deleteParked = &Shape{
		Verb: Delete, Table: "bb_parked", Guard: true,
		Columns: []Column{{"subscription", Text}, {"key", Text}, {"seq", Int}},
	}
	retryParked = &Shape{
		Verb: Update, Table: "bb_parked", Guard: true, Set: 4,
		Columns: []Column{
			{"attempts", Int},
			{"due", Int},
			{"cause", Text},
			{"state", Text},
			{"subscription", Text},
			{"key", Text},
			{"seq", Int},
		},
	}
	insertBlocked = &Shape{
		Verb: Insert, Table: "bb_blocked",
		Columns: []Column{{"subscription", Text}, {"key", Text}, {"slice", Int}},
		Tail:    "ON CONFLICT (subscription, key) DO NOTHING",
	}
	deleteBlocked = &Shape{Verb: Delete, Table: "bb_blocked", Columns: []Column{{"subscription", Text}, {"key", Text}}}
	moveShape     = &Shape{
		Verb: Update, Table: "bb_checkpoint", Guard: true, Set: 1,
		Columns: []Column{
			{"position", Int},
			{"subscription", Text},
			{"source", Text},
			{"slice", Int},
			{"epoch", Int},
			{"position", Int},
		},
	}
	// guardShape writes an epoch over itself: whoever raises it waits, or was before.
	guardShape = &Shape{
		Verb: Update, Table: "bb_checkpoint", Guard: true, Set: 1,
		Columns: []Column{{"epoch", Int}, {"subscription", Text}, {"source", Text}, {"slice", Int}, {"epoch", Int}},
	}
	// lockCheckpoints locks the checkpoints that a batch guards and moves, in the order in which leases lock them. Statements over many rows
	// lock them as their plan comes upon them.
	lockCheckpoints = &Shape{
		Verb: Select, Table: "bb_checkpoint",
		Columns: []Column{{"subscription", Text}, {"source", Text}, {"slice", Int}},
		On:      "t.subscription = v.subscription AND t.source = v.source AND t.slice = v.slice",
		Lock:    true,
		SQL:     `WITH v(subscription, source, slice) AS ({rows}) SELECT 1 FROM (SELECT * FROM v ` + inLockOrder + `) v {each}`,
	}
	upsertAmendments = &Shape{
		Verb: Insert, Table: "bb_amendment",
		Columns: []Column{
			{"subscription", Text},
			{"source", Text},
			{"id", Text},
			{"discard", Int},
			{"data", Bytes},
			{"actor", Text},
			{"why", Text},
			{"time", Int},
		},
		Tail: `ON CONFLICT (subscription, source, id) DO UPDATE SET discard = excluded.discard, data = excluded.data,
			actor = excluded.actor, why = excluded.why, time = excluded.time`,
	}
	endRequests = &Shape{
		Verb: Update, Table: "bb_request", Guard: true, Set: 1,
		Columns: []Column{{"done", Int}, {"id", Int}, {"done", Int}},
	}
	upsertValues = &Shape{
		Verb: Insert, Table: "bb_value", Columns: []Column{{"name", Text}, {"value", Bytes}},
		Tail: "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
	}
	upsertSnapshots = &Shape{
		Verb: Insert, Table: "bb_snapshot",
		Columns: []Column{{"stream", Text}, {"layout", Text}, {"version", Int}, {"data", Bytes}},
		Tail: `ON CONFLICT (stream, layout) DO UPDATE SET version = excluded.version, data = excluded.data
			WHERE excluded.version > t.version`,
	}
	// upsertHeads moves the heads of streams, each from just below its first new
	// version. A row that does not stand there is not touched, which the guard
	// sees.
	upsertHeads = &Shape{
		Verb: Insert, Table: "bb_stream", Guard: true,
		Columns: []Column{{"stream", Text}, {"version", Int}, {"sequence", Int}, {"base", Int}},
		Tail: `ON CONFLICT (stream) DO UPDATE SET version = excluded.version,
			sequence = greatest(t.sequence, excluded.sequence), base = excluded.base WHERE t.version = excluded.base`,
	}
)

// Apply implements driver.Tx.
func (t *Tx) Apply(ctx context.Context, service string, w *driver.Writes) error {
	if err := t.Core.Check(service); err != nil {
		return err
	}
	batches := batchesOf(w, t.Core.Dialect.ForUpdate != "")
	for _, b := range batches {
		if err := b.distinct(); err != nil {
			return err
		}
	}
	if t.Core.Dialect.Heads {
		heads, err := headsOf(w.Records)
		if err != nil {
			return err
		}
		// Heads were locked before anything else of the transaction; here they
		// only move.
		if heads.N > 0 {
			batches = append(batches, heads)
		}
	}
	var log *Batch
	if len(w.Records) > 0 {
		log = logOf(w.Records)
	}
	if len(batches) == 0 && log == nil {
		return nil
	}
	first, err := t.Conn.Write(ctx, service, batches, log)
	if err != nil {
		return err
	}
	for i := range w.Records {
		w.Records[i].Position = first + int64(i)
	}
	return nil
}

// inLockOrder is the order in which everybody locks several checkpoints, whatever the database's collation.
const inLockOrder = `ORDER BY subscription COLLATE "C", source COLLATE "C", slice`

func logOf(records []driver.Record) *Batch {
	b := NewBatch(logShape, len(records))
	for i := range records {
		r := &records[i]
		b.int(0).int(int64(r.Kind)).text(r.ID).text(r.Ref).text(r.Stream).int(r.Version).int(r.Sequence).
			text(r.Type).bytes(r.Data).bytes(r.Meta).int(r.Time).text(r.Target)
	}
	return b
}

// headsOf returns where the streams of the records stand after them.
func headsOf(records []driver.Record) (*Batch, error) {
	type head struct{ base, version, sequence int64 }
	heads := map[string]*head{}
	var names []string
	for i := range records {
		r := &records[i]
		if r.Version == 0 {
			continue
		}
		h := heads[r.Stream]
		if h == nil {
			h = &head{base: r.Version - 1, version: r.Version - 1}
			heads[r.Stream] = h
			names = append(names, r.Stream)
		}
		if r.Version != h.version+1 {
			return nil, fmt.Errorf("stream %q: version %d follows %d: %w", r.Stream, r.Version, h.version, driver.ErrConflict)
		}
		h.version = r.Version
		h.sequence = max(h.sequence, r.Sequence)
	}
	slices.Sort(names)
	b := NewBatch(upsertHeads, len(names))
	for _, name := range names {
		h := heads[name]
		b.text(name).int(h.version).int(h.sequence).int(h.base)
	}
	return b, nil
}

// batchesOf returns all rows but the log's, in the order in which they are written and locked; locks says whether the database locks
// rows, and not itself as a whole.
func batchesOf(w *driver.Writes, locks bool) []*Batch {
	var out []*Batch
	add := func(shape *Shape, n int, fill func(b *Batch)) {
		if n == 0 {
			return
		}
		b := NewBatch(shape, n)
		fill(b)
		if b.N > 0 {
			out = append(out, b)
		}
	}
	add(insertInbox, len(w.Inbox), func(b *Batch) {
		for _, r := range sorted(w.Inbox, func(a, b *driver.InboxRow) int {
			return compareText(a.Subscription, b.Subscription, a.Source, b.Source, a.ID, b.ID)
		}) {
			b.unit(r.Unit).text(r.Subscription).text(r.Source).text(r.ID).text(r.Hash).int(r.Time)
		}
	})
	add(insertAnswers, len(w.Answers), func(b *Batch) {
		for _, a := range sorted(w.Answers, func(a, b *driver.Answer) int { return strings.Compare(a.ID, b.ID) }) {
			b.unit(a.Unit).text(a.ID).text(a.Fingerprint).int(int64(a.Outcome)).bytes(a.Data).int(a.Time)
		}
	})
	add(upsertSagas, len(w.Sagas), func(b *Batch) {
		for _, s := range latest(w.Sagas, func(a, b *driver.Saga) int { return compareText(a.Name, b.Name, a.ID, b.ID) }) {
			b.text(s.Name).text(s.ID).int(int64(s.Definition)).text(s.State).bytes(s.Data).int(s.Due).int(s.Started).int(s.Updated).int(s.Revision)
		}
	})
	addTimers(w, add)
	addCalls(w, add)
	addParked(w, add)
	add(upsertAmendments, len(w.Amendments), func(b *Batch) {
		for _, a := range latest(w.Amendments, func(a, b *driver.Amendment) int {
			return compareText(a.Subscription, b.Subscription, a.Source, b.Source, a.ID, b.ID)
		}) {
			b.text(a.Subscription).text(a.Source).text(a.ID).int(flag(a.Discard)).bytes(a.Data).text(a.Actor).text(a.Why).int(a.Time)
		}
	})
	add(endRequests, len(w.DoneRequests), func(b *Batch) {
		for _, id := range w.DoneRequests {
			b.int(1).int(id).int(0)
		}
	})
	if n := len(w.Guards) + len(w.Moves); locks && n > 1 {
		add(lockCheckpoints, n, func(b *Batch) {
			for _, g := range w.Guards {
				b.text(g.Subscription).text(g.Source).int(int64(g.Slice))
			}
			for _, m := range w.Moves {
				b.text(m.Subscription).text(m.Source).int(int64(m.Slice))
			}
		})
	}
	add(guardShape, len(w.Guards), func(b *Batch) {
		for _, g := range latest(w.Guards, func(a, b *driver.Guard) int {
			return cmp.Or(compareText(a.Subscription, b.Subscription, a.Source, b.Source), cmp.Compare(a.Slice, b.Slice), cmp.Compare(a.Epoch, b.Epoch))
		}) {
			b.unit(g.Unit).int(g.Epoch).text(g.Subscription).text(g.Source).int(int64(g.Slice)).int(g.Epoch)
		}
	})
	add(moveShape, len(w.Moves), func(b *Batch) {
		for _, m := range chained(w.Moves) {
			b.unit(m.Unit).int(m.To).text(m.Subscription).text(m.Source).int(int64(m.Slice)).int(m.Epoch).int(m.From)
		}
	})
	add(upsertValues, len(w.Values), func(b *Batch) {
		for _, v := range latest(w.Values, func(a, b *driver.Value) int { return strings.Compare(a.Name, b.Name) }) {
			b.text(v.Name).bytes(v.Data)
		}
	})
	add(upsertSnapshots, len(w.Snapshots), func(b *Batch) {
		for _, s := range latest(w.Snapshots, func(a, b *driver.Snapshot) int {
			return compareText(a.Stream, b.Stream, a.Schema, b.Schema)
		}) {
			b.text(s.Stream).text(s.Schema).int(s.Version).bytes(s.Data)
		}
	})
	return out
}

// chained sorts moves by slice and joins those of one slice that follow upon each
// other: a batch moves a checkpoint once.
func chained(moves []driver.Move) []driver.Move {
	moves = sorted(moves, func(a, b *driver.Move) int {
		return cmp.Or(compareText(a.Subscription, b.Subscription, a.Source, b.Source), cmp.Compare(a.Slice, b.Slice))
	})
	out := make([]driver.Move, 0, len(moves))
	for _, m := range moves {
		if n := len(out); n > 0 {
			last := &out[n-1]
			if last.Slice == m.Slice && last.Epoch == m.Epoch && last.To == m.From &&
				last.Source == m.Source && last.Subscription == m.Subscription {
				last.To = m.To
				continue
			}
		}
		out = append(out, m)
	}
	return out
}

func addTimers(w *driver.Writes, add func(*Shape, int, func(*Batch))) {
	add(fireTimers, len(w.FiredTimers), func(b *Batch) {
		for _, t := range w.FiredTimers {
			b.unit(t.Unit).text(t.Name).int(t.Generation)
		}
	})
	// Setting replaces: a new row, with a generation that was never given before.
	names := make([]string, 0, len(w.CancelTimers)+len(w.SetTimers))
	names = append(names, w.CancelTimers...)
	for _, t := range w.SetTimers {
		names = append(names, t.Name)
	}
	slices.Sort(names)
	add(deleteTimers, len(names), func(b *Batch) {
		for _, name := range slices.Compact(names) {
			b.text(name)
		}
	})
	add(insertTimers, len(w.SetTimers), func(b *Batch) {
		last := map[string]int{}
		for i, t := range w.SetTimers {
			last[t.Name] = i
		}
		for i, t := range w.SetTimers {
			if last[t.Name] == i {
				b.unit(t.Unit).text(t.Name).int(t.Due).text(t.Stream).text(t.Type).bytes(t.Data).bytes(t.Meta)
			}
		}
	})
}

func addCalls(w *driver.Writes, add func(*Shape, int, func(*Batch))) {
	add(endCalls, len(w.EndedCalls), func(b *Batch) {
		for _, c := range w.EndedCalls {
			if c.Done {
				b.unit(c.Unit).text(c.ID).int(c.Epoch)
			}
		}
	})
	add(delayCalls, len(w.EndedCalls), func(b *Batch) {
		for _, c := range w.EndedCalls {
			if !c.Done {
				b.unit(c.Unit).int(c.Due).text(c.Cause).text(c.ID).int(c.Epoch)
			}
		}
	})
	add(dropCalls, len(w.DropCalls), func(b *Batch) {
		for _, d := range latest(w.DropCalls, func(a, b *driver.CallDrop) int { return compareText(a.Stream, b.Stream, a.Name, b.Name) }) {
			b.text(d.Stream).text(d.Name)
		}
	})
	add(insertCalls, len(w.AddCalls), func(b *Batch) {
		for _, c := range w.AddCalls {
			b.unit(c.Unit).text(c.ID).text(c.Name).bytes(c.Request).text(c.Stream).bytes(c.Meta).int(c.Deadline).int(c.Due).
				int(int64(c.Attempts)).int(c.Epoch).int(c.LeaseUntil).text(c.Cause).int(c.Created)
		}
	})
}

func addParked(w *driver.Writes, add func(*Shape, int, func(*Batch))) {
	add(deleteParked, len(w.Unpark), func(b *Batch) {
		for _, p := range w.Unpark {
			b.unit(p.Unit).text(p.Subscription).text(p.Key).int(p.Seq)
		}
	})
	add(retryParked, len(w.Retry), func(b *Batch) {
		for _, p := range w.Retry {
			b.unit(p.Unit).int(int64(p.Attempts)).int(p.Due).text(p.Cause).text(p.State).text(p.Subscription).text(p.Key).int(p.Seq)
		}
	})
	add(insertParked, len(w.Park), func(b *Batch) {
		for _, p := range w.Park {
			b.unit(p.Unit).text(p.Subscription).text(p.Key).int(int64(p.Slice)).text(p.Source).text(p.ID).bytes(p.Record).
				text(p.Cause).int(int64(p.Attempts)).int(p.Due).text(p.State).int(p.Time)
		}
	})
	add(deleteBlocked, len(w.Unblock), func(b *Batch) {
		for _, k := range w.Unblock {
			b.text(k.Subscription).text(k.Key)
		}
	})
	add(insertBlocked, len(w.Block), func(b *Batch) {
		for _, k := range w.Block {
			b.text(k.Subscription).text(k.Key).int(int64(k.Slice))
		}
	})
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
