package backbone

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.org/souk/backbone/driver"
)

// batch is one transaction in the making: what its units have loaded and changed
// (the overlay, dropped on any failure) and what they write.
type batch struct {
	w         *writer
	tx        driver.Tx
	services  []*share
	failed    map[*slice]bool
	undoLog   []func()
	marks     []shareMark // of mark
	reruns    int
	started   time.Time
	committed time.Duration
	over      bool
}

// share is a batch's part of one service.
type share struct {
	host       *host
	streams    map[string]*entry
	sagas      map[driver.SagaKey]*sagaEntry
	answers    map[string]*driver.Answer
	inbox      map[inboxKey]string // hash of each message of the batch that was handled, "" for new ones
	writes     driver.Writes
	statements []driver.Statement
	flushed    int             // statements that have run
	keys       map[string]bool // of rows of inline views that are written, and whether they are locked
	timers     []timerOp
	calls      []callOp
	dirtySagas []*sagaEntry
	wanted     wanted
}

// wanted is what the units that run next need of a service, and is not there yet.
type wanted struct {
	answers []string
	streams []*entry
	sagas   []driver.SagaKey
}

type timerOp struct {
	name string
	set  *driver.Timer // nil cancels
}

type callOp struct {
	add  *driver.Call
	drop driver.CallDrop // if add is nil
}

// entry is a stream in the overlay or in the cache.
type entry struct {
	ref      Ref
	stream   string
	state    any
	version  int64
	sequence int64
	snapshot int64 // version of the newest snapshot
}

type sagaEntry struct {
	row    driver.Saga
	state  sagaState
	exists bool
	dirty  bool
}

func (b *batch) of(h *host) *share {
	for _, s := range b.services {
		if s.host == h {
			return s
		}
	}
	s := &share{host: h, streams: map[string]*entry{}, sagas: map[driver.SagaKey]*sagaEntry{}, answers: map[string]*driver.Answer{}}
	b.services = append(b.services, s)
	return s
}

// batchMark is where a batch stood before a unit ran; undo takes back what came after.
type batchMark struct {
	undo   int
	shares []shareMark
}

type shareMark struct {
	records, answers, inbox, fired, calls, ended, park, unpark, retry, block, unblock, moves, guards, amend, requests, values, snapshots, statements, timers, dirty int
}

// mark returns a mark that holds until the next one is taken.
func (b *batch) mark() batchMark {
	m := batchMark{undo: len(b.undoLog), shares: slices.Grow(b.marks[:0], len(b.services))[:len(b.services)]}
	b.marks = m.shares
	for i, s := range b.services {
		w := &s.writes
		m.shares[i] = shareMark{
			len(w.Records), len(w.Answers), len(w.Inbox), len(w.FiredTimers), len(s.calls), len(w.EndedCalls),
			len(w.Park), len(w.Unpark), len(w.Retry), len(w.Block), len(w.Unblock), len(w.Moves), len(w.Guards), len(w.Amendments), len(w.DoneRequests),
			len(w.Values), len(w.Snapshots), len(s.statements), len(s.timers), len(s.dirtySagas),
		}
	}
	return m
}

func (b *batch) undo(m batchMark) {
	for i := len(b.undoLog) - 1; i >= m.undo; i-- {
		b.undoLog[i]()
	}
	b.undoLog = b.undoLog[:m.undo]
	for i, s := range b.services {
		var k shareMark
		if i < len(m.shares) {
			k = m.shares[i]
		}
		w := &s.writes
		w.Records, w.Answers, w.Inbox = w.Records[:k.records], w.Answers[:k.answers], w.Inbox[:k.inbox]
		w.FiredTimers, s.calls, w.EndedCalls = w.FiredTimers[:k.fired], s.calls[:k.calls], w.EndedCalls[:k.ended]
		w.Park, w.Unpark, w.Retry = w.Park[:k.park], w.Unpark[:k.unpark], w.Retry[:k.retry]
		w.Block, w.Unblock, w.Moves = w.Block[:k.block], w.Unblock[:k.unblock], w.Moves[:k.moves]
		w.Amendments, w.DoneRequests, w.Snapshots = w.Amendments[:k.amend], w.DoneRequests[:k.requests], w.Snapshots[:k.snapshots]
		w.Values, w.Guards = w.Values[:k.values], w.Guards[:k.guards]
		s.statements, s.timers, s.dirtySagas = s.statements[:k.statements], s.timers[:k.timers], s.dirtySagas[:k.dirty]
	}
}

// prefetch loads what the units say they need, in one round a service. What is there already, from units before them, stays.
func (b *batch) prefetch(units []*unit) error {
	for _, u := range units {
		if u.answerID == "" && len(u.streams) == 0 && u.saga.Name == "" {
			continue
		}
		s := b.of(u.host)
		if u.answerID != "" {
			if _, ok := s.answers[u.answerID]; !ok {
				s.answers[u.answerID] = nil
				s.wanted.answers = append(s.wanted.answers, u.answerID)
			}
		}
		for _, ref := range u.streams {
			s.want(ref)
		}
		if u.saga.Name != "" && s.sagas[u.saga] == nil {
			s.sagas[u.saga] = &sagaEntry{row: driver.Saga{SagaKey: u.saga}}
			s.wanted.sagas = append(s.wanted.sagas, u.saga)
		}
	}
	for _, s := range b.services {
		if err := b.prefetchSagas(s); err != nil {
			return err
		}
	}
	b.foresee(units)
	for _, s := range b.services {
		if err := b.prefetchShare(s); err != nil {
			return err
		}
	}
	return b.loadInbox(units)
}

// want has a stream loaded before the next units run, if it is not there yet.
func (s *share) want(ref Ref) {
	name := ref.Stream()
	if s.streams[name] == nil {
		e := &entry{ref: ref, stream: name, version: -1}
		s.streams[name] = e
		s.wanted.streams = append(s.wanted.streams, e)
	}
}

// foresee names the streams that the sagas of a batch may decide on. Where other processes write too all streams have to be
// locked together: one that is locked later, while another waits for those that are held, would be a deadlock.
func (b *batch) foresee(units []*unit) {
	if b.w.store.Powers().Exclusive {
		return
	}
	for _, u := range units {
		if u.saga.Name == "" {
			continue
		}
		s := b.of(u.host)
		e := s.sagas[u.saga]
		if e == nil || !e.exists {
			continue
		}
		def := u.host.sagaVersions[u.saga.Name][e.row.Definition]
		if def == nil {
			continue
		}
		for _, ref := range u.host.localStreams(def, e.state.Data) {
			s.want(ref)
		}
	}
}

// localStreams returns the streams of the commands that a saga decides in its own transaction, as far as they can be told from the data
// that it carries now. What cannot be told yet is loaded when it is needed.
func (h *host) localStreams(def SagaDefinition, data []byte) (refs []Ref) {
	add := func(next func() (Command, error)) {
		defer func() { _ = recover() }() // a step that is not due yet may lack what it needs
		c, err := next()
		if err != nil || c == nil {
			return
		}
		if hd := h.handlers[c.CommandType()]; hd != nil {
			refs = append(refs, hd.streams(c)...)
		}
	}
	for i := range def.steps() {
		if def.step(i).local {
			add(func() (Command, error) { return def.command(i, data) })
		}
	}
	add(func() (Command, error) { return def.rejected(data, "", Refusal{}) })
	return refs
}

func (b *batch) prefetchShare(s *share) error {
	name, ctx := s.host.svc.Name, context.Background()
	if ids := s.wanted.answers; len(ids) > 0 {
		found, err := b.tx.Answers(ctx, name, ids)
		if err != nil {
			return err
		}
		for id, a := range found {
			s.answers[id] = &a
		}
	}
	var entries []*entry
	for _, e := range s.wanted.streams {
		if cached := s.host.cachedStream(e.stream); cached != nil {
			*e = *cached
			if b.w.store.Powers().Exclusive {
				continue
			}
		}
		entries = append(entries, e)
	}
	s.wanted = wanted{}
	return b.load(s, entries)
}

func (b *batch) prefetchSagas(s *share) error {
	var keys []driver.SagaKey
	for _, k := range s.wanted.sagas {
		if cached := s.host.cachedSaga(k); cached != nil {
			*s.sagas[k] = *cached
			continue
		}
		keys = append(keys, k)
	}
	return b.loadSagas(s, keys)
}

func (b *batch) load(s *share, entries []*entry) error {
	if len(entries) == 0 {
		return nil
	}
	wants := make([]driver.StreamWant, len(entries))
	for i, e := range entries {
		_, schema := e.ref.of.snapshots()
		wants[i] = driver.StreamWant{Stream: e.stream, After: max(e.version, 0), Schema: schema}
	}
	data, err := b.tx.LoadStreams(context.Background(), s.host.svc.Name, wants)
	if err != nil {
		return err
	}
	for i, e := range entries {
		d := &data[i]
		if e.version < 0 || e.state == nil {
			e.state, e.version = e.ref.of.fresh(), 0
			if d.Snapshot != nil {
				if e.state, err = e.ref.of.restore(d.Snapshot.Data); err != nil {
					return err
				}
				e.snapshot = d.Snapshot.Version
			}
		}
		for j := range d.Records {
			if e.state, err = e.ref.of.fold(e.state, d.Records[j].Type, d.Records[j].Data); err != nil {
				return fmt.Errorf("stream %s version %d: %w", e.stream, d.Records[j].Version, err)
			}
		}
		e.version, e.sequence = d.Version, d.Sequence
	}
	return nil
}

func (b *batch) loadSagas(s *share, keys []driver.SagaKey) error {
	if len(keys) == 0 {
		return nil
	}
	rows, err := b.tx.Sagas(context.Background(), s.host.svc.Name, keys)
	if err != nil {
		return err
	}
	for k, row := range rows {
		e := s.sagas[k]
		e.row, e.exists = row, true
		if err := json.Unmarshal(row.Data, &e.state); err != nil {
			return fmt.Errorf("saga %s/%s: %w", k.Name, k.ID, err)
		}
	}
	return nil
}

// stream returns the overlay's entry, loading it where no unit announced it.
func (b *batch) stream(s *share, ref Ref) (*entry, error) {
	name := ref.Stream()
	if e := s.streams[name]; e != nil && e.version >= 0 {
		return e, nil
	}
	e := &entry{ref: ref, stream: name, version: -1}
	if cached := s.host.cachedStream(name); cached != nil {
		*e = *cached
		if b.w.store.Powers().Exclusive {
			s.streams[name] = e
			return e, nil
		}
	}
	if err := b.load(s, []*entry{e}); err != nil {
		return nil, err
	}
	s.streams[name] = e
	return e, nil
}

func (b *batch) sagaRow(s *share, key driver.SagaKey) (*sagaEntry, error) {
	if e := s.sagas[key]; e != nil {
		return e, nil
	}
	e := &sagaEntry{row: driver.Saga{SagaKey: key}}
	if cached := s.host.cachedSaga(key); cached != nil {
		*e = *cached
		s.sagas[key] = e
		return e, nil
	}
	s.sagas[key] = e
	return e, b.loadSagas(s, []driver.SagaKey{key})
}

// fingerprint tells commands of one id apart by their content.
func fingerprint(wire string, data []byte) string {
	h := sha256.New()
	h.Write([]byte(wire))
	h.Write([]byte{0})
	h.Write(data)
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:16])
}

// decide answers a command: as it was answered before, or by its handler. data is
// the command as it was sent.
func (b *batch) decide(u *unit, h *host, hd *Handler, c Command, data []byte, m Meta) (Answer, error) {
	s := b.of(h)
	print := fingerprint(hd.command, data)
	known, looked := s.answers[m.ID]
	if !looked {
		found, err := b.tx.Answers(context.Background(), h.svc.Name, []string{m.ID})
		if err != nil {
			return Answer{}, err
		}
		if a, ok := found[m.ID]; ok {
			known = &a
		}
		s.answers[m.ID] = known
	}
	if known != nil {
		if known.Fingerprint != print {
			return Answer{}, Permanent(fmt.Errorf("%w: %s", ErrDifferentCommand, m.ID))
		}
		a, err := decodeAnswer(known)
		a.Repeated = true
		return a, err
	}
	a, err := b.judge(u, h, hd, c, m, m.ID)
	if err != nil {
		return Answer{}, err
	}
	encoded, err := json.Marshal(&a)
	if err != nil {
		return Answer{}, err
	}
	row := driver.Answer{Unit: u.index, ID: m.ID, Fingerprint: print, Outcome: int16(a.Outcome), Data: encoded, Time: m.Time.UnixMicro()}
	s.writes.Answers = append(s.writes.Answers, row)
	s.answers[m.ID] = &row
	b.undoLog = append(b.undoLog, func() { s.answers[m.ID] = nil })
	return a, nil
}

// judge runs a decision and appends what follows from it. cause is what is recorded
// of the command, or of what led to it.
func (b *batch) judge(u *unit, h *host, hd *Handler, c Command, m Meta, cause string) (Answer, error) {
	s := b.of(h)
	refs := hd.streams(c)
	l := Loaded{states: make(map[string]any, len(refs))}
	for _, ref := range refs {
		e, err := b.stream(s, ref)
		if err != nil {
			return Answer{}, err
		}
		l.states[e.stream] = e.state
	}
	a := Answer{Command: m.ID, Outcome: Done}
	appends, err := hd.decide(l, c, m)
	if err != nil {
		refusal, ok := errors.AsType[*Refusal](err)
		if !ok {
			return Answer{}, err
		}
		a.Outcome, a.Refusal = Refused, refusal
	}
	for _, ap := range appends {
		for _, e := range ap.Events {
			ref, err := b.append(u, h, ap.To, e, m, cause)
			if err != nil {
				return Answer{}, err
			}
			a.Refs = append(a.Refs, ref)
		}
	}
	return a, nil
}

func decodeAnswer(row *driver.Answer) (Answer, error) {
	a := Answer{Command: row.ID}
	if err := json.Unmarshal(row.Data, &a); err != nil {
		return a, fmt.Errorf("answer %s: %w", row.ID, err)
	}
	return a, nil
}

// append adds an event to a stream and everything that lives in its transaction:
// policies, inline views, sagas.
func (b *batch) append(u *unit, h *host, to Ref, e Event, m Meta, cause string) (AppendedRef, error) {
	s := b.of(h)
	st, err := b.stream(s, to)
	if err != nil {
		return AppendedRef{}, err
	}
	if err := to.of.admits(e); err != nil {
		return AppendedRef{}, Permanent(err)
	}
	if to.id == "" { // all that lack theirs would share one stream
		return AppendedRef{}, Permanent(fmt.Errorf("%s is to be appended to aggregate %s without an id: the Stream() of the command is empty", e.EventType(), to.of.aggregateName()))
	}
	wire := e.EventType()
	private, _ := to.of.isPrivate(wire)
	r, err := eventRecord(e, b.w.r.ids.next(m.Time), st.stream,
		&Meta{Time: m.Time, Actor: m.Actor, Correlation: correlation(&m), Causation: cause, Trace: m.Trace})
	if err != nil {
		return AppendedRef{}, err
	}
	before := *st
	b.undoLog = append(b.undoLog, func() { *st = before })
	st.version++
	r.Kind, r.Version = driver.KindPrivate, st.version
	if !private {
		st.sequence++
		r.Kind, r.Sequence = driver.KindEvent, st.sequence
	}
	st.state = to.of.apply(st.state, e)
	if every, schema := to.of.snapshots(); every > 0 && st.version/every > st.snapshot/every {
		if data, err := to.of.encode(st.state); err == nil { // a snapshot is only ever a short cut
			s.writes.Snapshots = append(s.writes.Snapshots, driver.Snapshot{Stream: st.stream, Version: st.version, Schema: schema, Data: data})
			st.snapshot = st.version
		}
	}
	s.writes.Records = append(s.writes.Records, r)
	em := Meta{ID: r.ID, Time: m.Time, Actor: m.Actor, Correlation: correlation(&m), Causation: cause, Trace: m.Trace}
	if err := b.inline(u, h, s, e, &r, em); err != nil {
		return AppendedRef{}, err
	}
	return AppendedRef{Type: wire, ID: r.ID, Stream: st.stream}, nil
}

func correlation(m *Meta) string {
	if m.Correlation != "" {
		return m.Correlation
	}
	return m.ID
}

func (b *batch) inline(u *unit, h *host, s *share, e Event, r *driver.Record, m Meta) error {
	wire := r.Type
	if views := h.inline[wire]; len(views) > 0 {
		msg, err := MessageOf(h.svc.Name, r)
		if err != nil {
			return err
		}
		for _, v := range views {
			if v.keyed != nil && !b.w.store.Powers().Exclusive {
				s.writesKey(v.view.Name + "/" + v.keyed(e))
			}
			tx := &inlineTx{b: b, u: u, s: s, view: v.view, msg: msg}
			if err := v.apply(context.Background(), tx, e); err != nil {
				return fmt.Errorf("inline view %s: %w", v.view.Name, err)
			}
		}
	}
	for _, react := range h.reacts[wire] {
		if err := b.effects(u, h, react(e, m), m); err != nil {
			return err
		}
	}
	for _, def := range h.sagaStarts[wire] {
		if err := b.startSaga(u, h, def, e, m); err != nil {
			return err
		}
	}
	for _, a := range h.sagaAborts[wire] {
		if err := b.abortSaga(u, h, a.def, a.abort, e, m); err != nil {
			return err
		}
	}
	return nil
}

// effects carries out what a policy, a handler or a saga wants.
func (b *batch) effects(u *unit, h *host, effects []Effect, m Meta) error {
	s := b.of(h)
	for i, e := range effects {
		switch e := e.(type) {
		case nil:
			return Permanent(errors.New("an effect is nil"))
		case sendEffect:
			if e.Command == nil {
				return Permanent(errors.New("Send was given a nil command"))
			}
			if err := b.send(h, e.Command, derivedID(m.Time, m.ID, h.svc.Name, strconv.Itoa(i), e.Command.CommandType()), "", m); err != nil {
				return err
			}
		case setTimerEffect:
			if e.Command == nil {
				return Permanent(fmt.Errorf("timer %s was given a nil command", e.Name))
			}
			if wire := e.Command.CommandType(); h.handlers[wire] == nil {
				return Permanent(fmt.Errorf("timer %s is to give %s to service %s, which does not handle it: a timer is a command to the service itself, which may send others", e.Name, wire, h.svc.Name))
			}
			data, err := json.Marshal(e.Command)
			if err != nil {
				return Permanent(fmt.Errorf("encode %s: %w", e.Command.CommandType(), err))
			}
			t := driver.Timer{
				Unit: u.index, Name: e.Name, Due: e.Due.UnixMicro(), Stream: e.Command.Stream(), Type: e.Command.CommandType(), Data: data,
				// When its time has come the service acts by itself: whoever it was set after has nothing to do with that.
				Meta: encodeMeta(&Meta{Actor: "service:" + h.svc.Name, Correlation: correlation(&m), Causation: m.ID, Trace: m.Trace}),
			}
			s.timers = append(s.timers, timerOp{e.Name, &t})
		case cancelTimerEffect:
			s.timers = append(s.timers, timerOp{name: e.Name})
		case callEffect:
			if err := b.addCall(u, h, s, e, m); err != nil {
				return err
			}
		case dropCallsEffect:
			if _, ok := h.calls[e.Call]; !ok {
				return noCall(h, e.Call)
			}
			s.calls = append(s.calls, callOp{drop: driver.CallDrop{Name: e.Call, Stream: e.Stream}})
		}
	}
	return nil
}

func noCall(h *host, name string) error {
	return Permanent(fmt.Errorf("service %s has no call %q", h.svc.Name, name))
}

func (b *batch) addCall(u *unit, h *host, s *share, e callEffect, m Meta) error {
	if _, ok := h.calls[e.Call]; !ok {
		return noCall(h, e.Call)
	}
	data, err := json.Marshal(e.Request)
	if err != nil {
		return Permanent(fmt.Errorf("encode request of call %s: %w", e.Call, err))
	}
	meta := encodeMeta(&Meta{Actor: m.Actor, Correlation: correlation(&m), Causation: m.ID, Trace: m.Trace})
	s.writes.Records = append(s.writes.Records, driver.Record{
		Kind: driver.KindCall, ID: b.w.r.ids.next(m.Time), Ref: e.Key, Stream: e.Stream,
		Type: h.svc.Name + ".call." + e.Call, Data: data, Meta: meta, Time: m.Time.UnixMicro(), Target: e.Call,
	})
	now := m.Time.UnixMicro()
	s.calls = append(s.calls, callOp{add: &driver.Call{
		Unit: u.index, ID: e.Key, Name: e.Call, Request: data, Stream: e.Stream, Meta: meta,
		Deadline: e.Deadline.UnixMicro(), Due: now, Created: now,
	}})
	return nil
}

// send appends a command for the service that handles it. id is the command's own;
// the record has another, since the same command may be sent again.
func (b *batch) send(h *host, c Command, id, replyTo string, m Meta) error {
	wire := c.CommandType()
	target, ok := b.w.r.handlerOf[wire]
	if !ok {
		return Permanent(fmt.Errorf("%w: %s", ErrNotHandled, wire))
	}
	if target != h.svc.Name && h.sends != nil && !h.sends[wire] {
		return Permanent(fmt.Errorf("service %s sends %s, which its table does not list: add it to Sends", h.svc.Name, wire))
	}
	data, err := json.Marshal(c)
	if err != nil {
		return Permanent(fmt.Errorf("encode %s: %w", wire, err))
	}
	s := b.of(h)
	s.writes.Records = append(s.writes.Records, driver.Record{
		Kind: driver.KindCommand, ID: b.w.r.ids.next(m.Time), Ref: id, Stream: c.Stream(),
		Type: wire, Data: data, Time: m.Time.UnixMicro(), Target: target,
		Meta: encodeMeta(&Meta{Actor: m.Actor, Correlation: correlation(&m), Causation: m.ID, Trace: m.Trace, ReplyTo: replyTo}),
	})
	return nil
}

// reply appends the answer to a command for its sender.
func (b *batch) reply(h *host, sender string, a *Answer, c *Message, m Meta) error {
	data, err := json.Marshal(a)
	if err != nil {
		return err
	}
	s := b.of(h)
	key := c.ReplyTo
	if key == "" {
		key = c.Stream
	} else if i := strings.LastIndexByte(key, '#'); i > 0 {
		key = key[:i] // the saga's instance, whatever the step
	}
	s.writes.Records = append(s.writes.Records, driver.Record{
		Kind: driver.KindReply, ID: b.w.r.ids.next(m.Time), Ref: c.Ref, Stream: key,
		Type: c.Type, Data: data, Time: m.Time.UnixMicro(), Target: sender,
		Meta: encodeMeta(&Meta{Actor: m.Actor, Correlation: correlation(&m), Causation: c.ID, Trace: m.Trace, ReplyTo: c.ReplyTo}),
	})
	return nil
}

// flush writes everything that the units have left to the end.
func (b *batch) flush() error {
	for _, s := range b.services {
		if err := b.flushStatements(s); err != nil {
			return err
		}
	}
	for _, s := range b.services {
		s.finish()
		if s.writes.Empty() {
			continue
		}
		if err := b.tx.Apply(context.Background(), s.host.svc.Name, &s.writes); err != nil {
			return err
		}
	}
	return nil
}

func (b *batch) flushStatements(s *share) error {
	if s.flushed == len(s.statements) {
		return nil
	}
	if err := b.lockKeys(s); err != nil {
		return err
	}
	if err := b.tx.Exec(context.Background(), s.statements[s.flushed:]); err != nil {
		return err
	}
	s.flushed = len(s.statements)
	return nil
}

// writesKey notes that rows of a key are written, which another process may be writing too.
func (s *share) writesKey(key string) {
	if s.keys == nil {
		s.keys = map[string]bool{}
	}
	if _, known := s.keys[key]; !known {
		s.keys[key] = false
	}
}

// lockKeys locks the keys whose rows are about to be written. Streams are locked before, and the log's head afterwards.
func (b *batch) lockKeys(s *share) error {
	var free []string
	for key, locked := range s.keys {
		if !locked {
			free = append(free, key)
		}
	}
	if len(free) == 0 {
		return nil
	}
	if err := b.tx.LockKeys(context.Background(), s.host.svc.Name, free); err != nil {
		return err
	}
	for _, key := range free {
		s.keys[key] = true
	}
	return nil
}

// finish keeps the last word of each timer, call, saga and checkpoint.
func (s *share) finish() {
	if len(s.timers) > 0 {
		last := make(map[string]*driver.Timer, len(s.timers))
		order := make([]string, 0, len(s.timers))
		for _, op := range s.timers {
			if _, seen := last[op.name]; !seen {
				order = append(order, op.name)
			}
			last[op.name] = op.set
		}
		for _, name := range order {
			if t := last[name]; t != nil {
				s.writes.SetTimers = append(s.writes.SetTimers, *t)
			} else {
				s.writes.CancelTimers = append(s.writes.CancelTimers, name)
			}
		}
	}
	for _, op := range s.calls {
		if op.add != nil {
			s.writes.AddCalls = append(s.writes.AddCalls, *op.add)
			continue
		}
		s.writes.AddCalls = slices.DeleteFunc(s.writes.AddCalls, func(c driver.Call) bool {
			return c.Name == op.drop.Name && c.Stream == op.drop.Stream
		})
		s.writes.DropCalls = append(s.writes.DropCalls, op.drop)
	}
	for _, e := range s.dirtySagas {
		if e.dirty {
			e.dirty = false
			e.row.Revision++
			s.writes.Sagas = append(s.writes.Sagas, e.row)
		}
	}
	if moves := s.writes.Moves; len(moves) > 1 {
		type place struct {
			sub, source string
			slice       int
		}
		at := make(map[place]int, len(moves))
		kept := moves[:0]
		for _, m := range moves {
			p := place{m.Subscription, m.Source, m.Slice}
			if i, ok := at[p]; ok {
				kept[i].To = m.To
				continue
			}
			at[p] = len(kept)
			kept = append(kept, m)
		}
		s.writes.Moves = kept
	}
}

// promote puts what was committed into the caches.
func (b *batch) promote() {
	for _, s := range b.services {
		for name, e := range s.streams {
			if e.version >= 0 {
				s.host.cacheStream(name, e)
			}
		}
		for k, e := range s.sagas {
			if e.exists {
				s.host.cacheSaga(k, e)
			}
		}
	}
}

// inlineTx is the ViewTx of an inline view.
type inlineTx struct {
	b    *batch
	u    *unit
	s    *share
	view *View
	msg  *Message
}

func (t *inlineTx) Message() *Message { return t.msg }

func (t *inlineTx) Exec(_ context.Context, sql string, args ...any) error {
	real, err := t.s.host.statement(sql, t.view)
	if err != nil {
		return err
	}
	t.s.statements = append(t.s.statements, driver.Statement{Unit: t.u.index, SQL: real, Args: args})
	return nil
}

func (t *inlineTx) Query(ctx context.Context, sql string, args ...any) (Rows, error) {
	real, err := t.s.host.statement(sql, nil)
	if err != nil {
		return nil, err
	}
	t.u.flushed = true
	if err := t.b.flushStatements(t.s); err != nil {
		return nil, err
	}
	return t.b.tx.Query(ctx, real, args...)
}
