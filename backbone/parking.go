package backbone

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"example.org/souk/backbone/driver"
)

// Parking: a message that fails is a row, with its cause, in the service's own
// database; the messages of the same key queue up behind it in rows of their own
// while all others flow. Retry, delay, dead letter, edit and redrive are changes
// of the same few rows, made only by the owner of the key's slice.

// The limits at which a slice stops and leaves the rest to the log or broker.
const (
	maxParkedKey = 1000
	maxParkedSub = 100_000
)

// The states of a parked message.
const (
	ParkedRetrying = "retrying" // the head: tried again when due
	ParkedWaiting  = "waiting"  // behind the head
	ParkedDead     = "dead"     // the head: waits for an operator
)

// parkedRecord is how a message stands in a parked row.
type parkedRecord struct {
	Kind     driver.Kind     `json:"kind"`
	Ref      string          `json:"ref,omitempty"`
	Stream   string          `json:"stream"`
	Version  int64           `json:"version,omitempty"`
	Sequence int64           `json:"sequence,omitempty"`
	Position int64           `json:"position,omitempty"`
	Type     string          `json:"type"`
	Data     json.RawMessage `json:"data"`
	Meta     json.RawMessage `json:"meta,omitempty"`
	Time     int64           `json:"time"`
	Target   string          `json:"target,omitempty"`
}

func encodeParked(r *driver.Record) ([]byte, error) {
	data := json.RawMessage(r.Data)
	if !json.Valid(data) { // what cannot be read is parked as it is
		quoted, err := json.Marshal(string(r.Data))
		if err != nil {
			return nil, err
		}
		data = quoted
	}
	return json.Marshal(&parkedRecord{r.Kind, r.Ref, r.Stream, r.Version, r.Sequence, r.Position, r.Type, data, r.Meta, r.Time, r.Target})
}

func decodeParked(p *driver.Parked) (*Message, error) {
	var w parkedRecord
	if err := json.Unmarshal(p.Record, &w); err != nil {
		return nil, fmt.Errorf("parked row %s/%d: %w", p.Key, p.Seq, err)
	}
	r := driver.Record{
		Position: w.Position, Kind: w.Kind, ID: p.ID, Ref: w.Ref, Stream: w.Stream, Version: w.Version, Sequence: w.Sequence,
		Type: w.Type, Data: w.Data, Meta: w.Meta, Time: w.Time, Target: w.Target,
	}
	return MessageOf(p.Source, &r)
}

func (s *subscription) checkRoom(rows int) error {
	if rows >= maxParkedKey {
		return infrastructure(fmt.Errorf("one key has %d parked messages; its slice waits", rows))
	}
	if n := s.parked.Load(); n >= maxParkedSub {
		return infrastructure(fmt.Errorf("%d messages are parked; the slice waits", n))
	}
	return nil
}

func (s *subscription) parkedRow(sl *slice, d driver.Delivery) (driver.Parked, error) {
	record, err := encodeParked(&d.Record)
	if err != nil {
		return driver.Parked{}, err
	}
	return driver.Parked{
		Subscription: s.name, Key: s.key(d), Slice: sl.number, Source: d.Source, ID: d.ID, Record: record,
		State: ParkedWaiting, Time: s.host.r.now().UnixMicro(),
	}, nil
}

// tailUnit lets a message stand behind the head of its blocked key.
func (s *subscription) tailUnit(sl *slice, it item, rows int, settle func(*batch, *unit)) (*unit, error) {
	if err := s.checkRoom(rows); err != nil {
		return nil, err
	}
	row, err := s.parkedRow(sl, it.d)
	if err != nil {
		return nil, err
	}
	return &unit{
		host: s.host, aside: true,
		run: func(b *batch, u *unit) error {
			sh := b.of(s.host)
			row.Unit = u.index
			sh.writes.Park = append(sh.writes.Park, row)
			settle(b, u)
			return nil
		},
		after: func() {
			sl.blocked[row.Key]++
			s.parked.Add(1)
			s.lookParked()
		},
	}, nil
}

// parkUnit parks a message that has failed, or notes another failure of a head.
func (s *subscription) parkUnit(sl *slice, f *failure) (*unit, error) {
	if f.it.request != nil {
		return s.doneRequest(sl, f.it.request, f.err), nil
	}
	attempts := 1
	if f.it.redrive != nil {
		attempts = f.it.redrive.Attempts + 1
	}
	state, due := ParkedRetrying, s.host.r.now().Add(s.host.svc.Retry.After(attempts)).UnixMicro()
	switch newer := newerVersion(f.err); {
	case newer && attempts == 1:
		s.alarm("saga", fmt.Sprintf("%s waits for a newer program: %v", s.key(f.it.d), f.err))
	case newer: // however long that takes, no operator need do anything then
	case ClassOf(f.err) == ClassPermanent, attempts >= s.host.svc.Retry.attempts():
		state, due = ParkedDead, 0
	}
	cause := f.err.Error()
	if p, ok := errors.AsType[*PanicError](f.err); ok {
		cause += "\n" + p.Stack
	}
	s.host.r.observeParked(s, f.msg, attempts-1, f.err, state == ParkedDead)
	if head := f.it.redrive; head != nil {
		row := *head
		row.Attempts, row.State, row.Due, row.Cause = attempts, state, due, cause
		return &unit{host: s.host, aside: true, run: func(b *batch, u *unit) error {
			sh := b.of(s.host)
			row.Unit = u.index
			sh.writes.Retry = append(sh.writes.Retry, row)
			sl.hold(b, u)
			return nil
		}}, nil
	}
	if err := s.checkRoom(0); err != nil {
		return nil, err
	}
	row, err := s.parkedRow(sl, f.it.d)
	if err != nil {
		return nil, err
	}
	row.Attempts, row.State, row.Due, row.Cause = attempts, state, due, cause
	settle, inbox := s.settleOp(sl, f.it.d), s.inboxRow(f.it.d)
	if _, other := errors.AsType[*DifferentMessageError](f.err); other {
		inbox = nil // the row is that of the message that came first
	}
	return &unit{
		host: s.host, inbox: inbox, aside: true,
		run: func(b *batch, u *unit) error {
			sh := b.of(s.host)
			row.Unit = u.index
			sh.writes.Park = append(sh.writes.Park, row)
			sh.writes.Block = append(sh.writes.Block, driver.BlockedKey{Subscription: s.name, Slice: sl.number, Key: row.Key})
			settle(b, u)
			driver.CrashPoint("park.before")
			return nil
		},
		after: func() {
			sl.blocked[row.Key]++
			s.parked.Add(1)
			s.lookParked()
		},
	}, nil
}

// redriveUnit handles the head of a blocked key again. Its row is deleted in the
// effect's transaction, so that the row is its dedupe; with the last row the key
// is free.
func (s *subscription) redriveUnit(ctx context.Context, g *group, it item) (*unit, *Message, bool, error) {
	rows, err := s.host.store.ParkedRows(ctx, s.host.svc.Name, s.name, it.redrive.Key, 2)
	if err != nil {
		return nil, nil, false, infrastructure(err)
	}
	if !s.stillDue(rows, it.redrive) {
		// It was offered by a look that was older than what became of it.
		return &unit{host: s.host, run: func(*batch, *unit) error { return nil }}, nil, false, nil
	}
	head := it.redrive
	msg, err := decodeParked(head)
	if err != nil {
		return nil, nil, false, Permanent(err)
	}
	amendments, err := s.host.store.Amendments(ctx, s.host.svc.Name, s.name)
	if err != nil {
		return nil, msg, false, infrastructure(err)
	}
	discard := amend(msg, head, amendments)
	settle, after := s.unparkOp(g.sl, head, rows)
	if discard {
		return &unit{host: s.host, after: after, run: func(b *batch, u *unit) error { settle(b, u); return nil }}, msg, false, nil
	}
	return s.handle(ctx, g, msg, nil, settle, after)
}

// amend gives the message of a parked row the data that it is to be handled with, and reports whether it is to be discarded instead.
func amend(m *Message, row *driver.Parked, amendments []driver.Amendment) (discard bool) {
	for _, a := range amendments {
		if a.Source == row.Source && a.ID == row.ID {
			discard = a.Discard
			if !a.Discard {
				m.Data = a.Data
			}
		}
	}
	return discard
}

// stillDue reports whether the first of a key's rows is the head that was offered, in
// the state in which it was.
func (s *subscription) stillDue(rows []driver.Parked, head *driver.Parked) bool {
	return len(rows) > 0 && rows[0].Seq == head.Seq && rows[0].State == head.State && rows[0].Attempts == head.Attempts && rows[0].Due == head.Due
}

// unparkOp returns what takes a head away within a transaction, and what follows
// once that is committed; rows begin with the head.
func (s *subscription) unparkOp(sl *slice, head *driver.Parked, rows []driver.Parked) (settle func(*batch, *unit), after func()) {
	settle = func(b *batch, u *unit) {
		sl.hold(b, u)
		sh := b.of(s.host)
		sh.writes.Unpark = append(sh.writes.Unpark, driver.ParkedKey{Unit: u.index, Subscription: s.name, Key: head.Key, Seq: head.Seq})
		driver.CrashPoint("redrive.before")
		if len(rows) == 1 {
			sh.writes.Unblock = append(sh.writes.Unblock, driver.BlockedKey{Subscription: s.name, Slice: sl.number, Key: head.Key})
			return
		}
		next := rows[1]
		next.Unit, next.State, next.Due = u.index, ParkedRetrying, s.host.r.now().UnixMicro()
		sh.writes.Retry = append(sh.writes.Retry, next)
	}
	after = func() {
		s.parked.Add(-1)
		if len(rows) == 1 {
			delete(sl.blocked, head.Key)
			return
		}
		sl.blocked[head.Key]--
	}
	return settle, after
}

// parkedEvery is how often it is asked which parked heads are due, as long as any are parked. A process has dozens of subscriptions, and
// to wake for each of them would be most of what it does while it waits.
const parkedEvery = 200 * time.Millisecond

// tend brings due heads to their slices, until ctx ends.
func (s *subscription) tend(ctx context.Context) {
	for {
		var tick <-chan time.Time
		if s.parked.Load() > 0 {
			tick = time.After(parkedEvery)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick:
		case <-s.poke:
		}
		if s.parked.Load() <= 0 {
			continue
		}
		due, err := s.host.store.DueParked(ctx, s.host.svc.Name, s.name, s.host.r.now().UnixMicro(), 256)
		if err != nil {
			continue // the next tick asks again
		}
		s.mu.Lock()
		for i := range due {
			s.offer(due[i].Slice, item{redrive: &due[i]})
		}
		s.mu.Unlock()
	}
}

// lookParked has it asked now which parked heads are due.
func (s *subscription) lookParked() {
	select {
	case s.poke <- struct{}{}:
	default:
	}
}

// offer adds work on a parked key to its slice, if that is ours. Callers hold s.mu.
func (s *subscription) offer(number int, it item) bool {
	sl := s.slices[number]
	if sl == nil || sl.revoked || s.stopping {
		return false
	}
	if it.redrive != nil {
		if sl.redriving[it.redrive.Key] {
			return false
		}
		sl.redriving[it.redrive.Key] = true
	}
	sl.items = append(sl.items, it)
	s.pending++
	s.rouse(sl)
	return true
}

// requestUnit carries out what an operator asks: redrive, edit or discard a head.
func (s *subscription) requestUnit(ctx context.Context, sl *slice, r *driver.Request) (*unit, error) {
	rows, err := s.host.store.ParkedRows(ctx, s.host.svc.Name, s.name, r.Key, maxParkedKey)
	if err != nil {
		return nil, infrastructure(err)
	}
	open, err := s.host.store.OpenRequests(ctx, s.host.svc.Name, requestsLooked)
	if err != nil {
		return nil, infrastructure(err)
	}
	if !slices.ContainsFunc(open, func(o driver.Request) bool { return o.ID == r.ID }) {
		return &unit{host: s.host, run: func(*batch, *unit) error { return nil }}, nil // the slice's owner before has done it
	}
	var row *driver.Parked
	for i := range rows {
		if rows[i].Seq == r.Seq || (r.Seq == 0 && i == 0) {
			row = &rows[i]
			break
		}
	}
	if row == nil {
		return s.doneRequest(sl, r, nil), nil // it is gone already
	}
	now := s.host.r.now().UnixMicro()
	isHead := row.Seq == rows[0].Seq
	done := s.doneRequest(sl, r, nil)
	run := done.run
	done.run = func(b *batch, u *unit) error {
		sh := b.of(s.host)
		if r.Action == "edit" || r.Action == "discard" {
			sh.writes.Amendments = append(sh.writes.Amendments, driver.Amendment{
				Subscription: s.name, Source: row.Source, ID: row.ID,
				Discard: r.Action == "discard", Data: r.Data, Actor: r.Actor, Why: r.Why, Time: now,
			})
		}
		if isHead {
			again := *row
			again.Unit, again.State, again.Due, again.Attempts = u.index, ParkedRetrying, now, 0
			sh.writes.Retry = append(sh.writes.Retry, again)
		}
		return run(b, u)
	}
	return done, nil
}

// doneRequest ends a request.
func (s *subscription) doneRequest(sl *slice, r *driver.Request, failed error) *unit {
	if failed != nil {
		s.alarm("request", fmt.Sprintf("request %d (%s %s) failed: %v", r.ID, r.Action, r.Key, failed))
	}
	return &unit{host: s.host, run: func(b *batch, u *unit) error {
		sl.hold(b, u)
		sh := b.of(s.host)
		sh.writes.DoneRequests = append(sh.writes.DoneRequests, r.ID)
		return nil
	}}
}
