package backbone

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"example.org/souk/backbone/driver"
)

// host runs one service in this process.
type host struct {
	r     *Runtime
	svc   *Service
	store driver.Store
	w     *writer

	handlers     map[string]*Handler
	sends        map[string]bool // commands to other services; nil: any
	reacts       map[string][]func(Event, Meta) []Effect
	inline       map[string][]inlineView
	sagas        map[string]SagaDefinition         // newest definition by name
	sagaVersions map[string]map[int]SagaDefinition // all of them
	sagaStarts   map[string][]SagaDefinition
	sagaAborts   map[string][]sagaAborter
	calls        map[string]*callRunner
	versions     map[string]int // newest version of each base name that it reads
	owned        map[string]string
	subs         []*subscription

	statements sync.Map // statement as written -> with real names
	streams    generations[string, *entry]
	instances  generations[driver.SagaKey, *sagaEntry]

	rebuilding sync.Map    // views that are, by name
	paused     atomic.Bool // by an operator
	pausing    sync.Mutex  // held while that is looked at and taken over
	resetting  atomic.Bool

	watch   sync.Mutex
	pulses  map[chan struct{}]bool
	timerAt chan struct{}
	seals   *sealer
	relay   *relay // nil where the log itself is the transport
}

type inlineView struct {
	view  *View
	apply func(context.Context, ViewTx, Event) error
	keyed func(Event) string // nil: by the event's stream
}

type sagaAborter struct {
	def   SagaDefinition
	abort abortInfo
}

func newHost(r *Runtime, svc *Service, store driver.Store, w *writer) *host {
	h := &host{
		r: r, svc: svc, store: store, w: w,
		handlers: map[string]*Handler{}, reacts: map[string][]func(Event, Meta) []Effect{}, inline: map[string][]inlineView{},
		sagas: map[string]SagaDefinition{}, sagaVersions: map[string]map[int]SagaDefinition{},
		sagaStarts: map[string][]SagaDefinition{}, sagaAborts: map[string][]sagaAborter{}, calls: map[string]*callRunner{},
		versions: map[string]int{}, owned: map[string]string{}, pulses: map[chan struct{}]bool{}, timerAt: make(chan struct{}, 1),
	}
	h.streams.limit, h.instances.limit = r.cfg.CacheStates, r.cfg.CacheStates
	for i := range svc.Handles {
		h.handlers[svc.Handles[i].command] = &svc.Handles[i]
		h.reads(svc.Handles[i].command)
	}
	if described := r.parts.service(svc.Name); !described.SendsAny {
		h.sends = map[string]bool{}
		for _, c := range described.Sends {
			h.sends[c.Command] = true
		}
	}
	for _, sub := range svc.Reacts {
		h.reacts[sub.event] = append(h.reacts[sub.event], sub.react)
	}
	for i := range svc.Views {
		v := &svc.Views[i]
		for _, t := range v.tables() {
			h.owned[t] = v.Name
		}
		if v.Inline {
			for _, p := range v.Projections {
				h.inline[p.sub.event] = append(h.inline[p.sub.event], inlineView{v, p.apply, p.sub.keyed})
			}
		}
	}
	for _, def := range svc.Sagas {
		name, version := def.sagaName(), def.sagaVersion()
		if h.sagaVersions[name] == nil {
			h.sagaVersions[name] = map[int]SagaDefinition{}
		}
		h.sagaVersions[name][version] = def
		if newest := h.sagas[name]; newest == nil || newest.sagaVersion() < version {
			h.sagas[name] = def
		}
	}
	for _, def := range h.sagas {
		h.sagaStarts[def.startsOn()] = append(h.sagaStarts[def.startsOn()], def)
		for _, a := range def.aborts() {
			h.sagaAborts[a.event] = append(h.sagaAborts[a.event], sagaAborter{def, a})
		}
	}
	for i := range svc.Calls {
		h.calls[svc.Calls[i].name] = newCallRunner(h, &svc.Calls[i])
	}
	h.seals = newSealer(h)
	return h
}

// freed looks for slices and tasks that another process has given up.
func (h *host) freed() {
	h.recheck()
	select {
	case h.seals.wake <- struct{}{}: // the log may be nobody's to keep
	default:
	}
}

// recheck has the transport look at once at which slices are this process's.
func (h *host) recheck() {
	if t, ok := h.r.cfg.Transport.(driver.Rechecker); ok {
		t.Recheck(h.svc.Name)
	}
}

// closed reports whether nothing is to be begun.
func (h *host) closed() bool { return h.paused.Load() || h.resetting.Load() }

func (h *host) reads(wire string) {
	if base, version, err := splitVersion(wire); err == nil {
		h.versions[base] = max(h.versions[base], version)
	}
}

// readsVersion reports whether the service reads a type in that very version.
func (h *host) readsVersion(wire string) bool {
	base, version, err := splitVersion(wire)
	return err == nil && version <= h.versions[base]
}

// statement puts real names into SQL and refuses what the writer of the statement
// does not own: a view writes its own tables only, a handler no view's.
func (h *host) statement(sql string, view *View) (string, error) {
	key := sql
	if view != nil {
		key = view.Name + "\x00" + sql
	}
	if real, ok := h.statements.Load(key); ok {
		return real.(string), nil
	}
	writes := view != nil || !isRead(sql)
	real, err := nameTables(sql, func(table string) (string, error) {
		if writes {
			owner := h.owned[table]
			switch {
			case view != nil && owner != view.Name && !isRead(sql):
				return "", fmt.Errorf("view %s does not own table %s: list it in the view's Tables", view.Name, table)
			case view == nil && owner != "":
				return "", fmt.Errorf("table %s belongs to view %s; a handler cannot write it", table, owner)
			}
		}
		if strings.HasPrefix(table, "bb_") {
			return "", fmt.Errorf("table %s belongs to the backbone", table)
		}
		return h.store.Name(h.svc.Name, table), nil
	})
	if err != nil {
		return "", err
	}
	if real == sql {
		return "", fmt.Errorf("statement %q names no table in braces: write {table}", sql)
	}
	h.statements.Store(key, real)
	return real, nil
}

func isRead(sql string) bool {
	verb, _, _ := strings.Cut(strings.TrimLeft(sql, " \t\n"), " ")
	return strings.EqualFold(verb, "SELECT")
}

// generations is a cache that keeps what was used since the last two turnovers.
// Readers and the writer use it at once.
type generations[K comparable, V any] struct {
	limit      int
	mu         sync.Mutex
	young, old map[K]V
}

func (g *generations[K, V]) get(k K) (v V, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if v, ok = g.young[k]; ok {
		return v, true
	}
	if v, ok = g.old[k]; ok {
		g.keep(k, v)
	}
	return v, ok
}

func (g *generations[K, V]) put(k K, v V) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.keep(k, v)
}

func (g *generations[K, V]) keep(k K, v V) {
	if g.young == nil || len(g.young) >= g.limit/2 {
		g.old, g.young = g.young, make(map[K]V, g.limit/8)
	}
	g.young[k] = v
}

func (g *generations[K, V]) drop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.young, g.old = nil, nil
}

func (h *host) cachedStream(name string) *entry {
	e, _ := h.streams.get(name)
	return e
}

func (h *host) cacheStream(name string, e *entry) { h.streams.put(name, e) }

func (h *host) cachedSaga(k driver.SagaKey) *sagaEntry {
	if !h.store.Powers().Exclusive {
		return nil
	}
	e, _ := h.instances.get(k)
	return e
}

func (h *host) cacheSaga(k driver.SagaKey, e *sagaEntry) { h.instances.put(k, e) }

// handOver passes on what was just committed, on the writer's goroutine.
func (h *host) handOver(records []driver.Record) {
	if c, ok := h.r.cfg.Transport.(driver.Committed); ok {
		c.Committed(h.svc.Name, records)
	}
	h.seals.offer(records)
	for i := range records {
		if records[i].Kind == driver.KindCall {
			if c := h.calls[records[i].Target]; c != nil {
				c.poke()
			}
		}
	}
	h.pulse()
}

func (h *host) pulse() {
	h.watch.Lock()
	for c := range h.pulses {
		select {
		case c <- struct{}{}:
		default:
		}
	}
	h.watch.Unlock()
}

// internal submits units of the backbone's own, waits for their end and returns
// what failed by itself, or else the first error. Nothing is logged: the caller
// tells of it, once.
func (h *host) internal(units ...*unit) error {
	ended := make(chan error, len(units))
	for _, u := range units {
		u.done = func(_ *unit, err error) { ended <- err }
	}
	if err := h.w.submit(units...); err != nil {
		return err
	}
	var first, failed error
	for range units {
		err := <-ended
		if first == nil {
			first = err
		}
		if failedByItself(err) {
			failed = errors.Join(failed, err)
		}
	}
	if failed != nil {
		return failed
	}
	return first
}

// failedByItself reports whether it is neither others nor the database for which a step of the backbone came to nothing.
func failedByItself(err error) bool {
	return err != nil && !errors.Is(err, driver.ErrConflict) && ClassOf(err) != ClassInfrastructure
}

const (
	// timerLook is how long timers go without being looked at, at most.
	timerLook = time.Second
	// timerGrace is how long who keeps the log has a timer to itself, so that processes do not fire the same ones. Who does
	// not keep it fires what is due since then: the one that does may be gone.
	timerGrace = 500 * time.Millisecond
)

// restsFor returns for how long neither a timer nor a saga is to be looked at, where the database tells at a glance that none is due; otherwise 0.
// soonest is the deadline of a timer that the look may be too old to know of, 0 for none.
func (h *host) restsFor(ctx context.Context, now time.Time, soonest int64) time.Duration {
	look, ok := h.look(ctx, sharedLookAge)
	if !ok {
		return 0
	}
	rest := timerLook
	for _, due := range []int64{soonest, look.Due} {
		switch {
		case due == 0:
		case due <= now.UnixMicro():
			return 0
		default:
			rest = min(rest, max(time.UnixMicro(due).Sub(now), time.Millisecond))
		}
	}
	return rest
}

// timers fires what is due, until ctx ends. Where the database tells at a glance that nothing is, it asks no more.
func (h *host) timers(ctx context.Context) {
	const batch = 256
	wait := time.NewTimer(0)
	defer wait.Stop()
	var soonest int64 // deadline of a timer, as it was when timers were read last; 0: there was none
	for told := true; ; {
		select {
		case <-ctx.Done():
			return
		case <-wait.C:
		case <-h.timerAt:
			told = true // of a timer that is new
		}
		next := timerLook
		now, err := h.store.Now(ctx)
		grace := time.Duration(0)
		if !h.seals.keeper.held() {
			grace = timerGrace
		}
		if err == nil && !told {
			if rest := h.restsFor(ctx, now.Add(-grace), soonest); rest > 0 {
				wait.Reset(rest)
				continue
			}
		}
		told = err != nil
		if err == nil && !h.closed() {
			var due []driver.Timer
			var after int64
			due, after, err = h.store.DueTimers(ctx, h.svc.Name, now.Add(-grace).UnixMicro(), batch)
			units := make([]*unit, len(due))
			for i := range due {
				units[i] = h.fire(&due[i], now)
			}
			// A conflict is a cancel that won; the rest is tried again with the next round.
			if err := h.internal(units...); failedByItself(err) {
				h.r.log.WarnContext(ctx, "timers", "service", h.svc.Name, "error", err)
			}
			switch soonest = after; {
			case err != nil:
				told = true
			case len(due) == batch:
				next, told = 0, true
			case after > 0:
				next = min(next, max(time.UnixMicro(after).Add(grace).Sub(now), time.Millisecond))
			}
		}
		if err == nil && !h.closed() && len(h.sagas) > 0 {
			err = h.fireSagas(ctx, now, now.Add(-grace))
		}
		if err != nil && ctx.Err() == nil {
			h.r.log.WarnContext(ctx, "timers", "service", h.svc.Name, "error", err)
		}
		wait.Reset(next)
	}
}

// fire deletes a timer's row and appends its message in one transaction; a timer
// that was cancelled or set anew meanwhile stays silent.
func (h *host) fire(t *driver.Timer, now time.Time) *unit {
	m := Meta{ID: derivedID(time.UnixMicro(t.Due), "timer", h.svc.Name, t.Name, fmt.Sprint(t.Generation)), Time: now.UTC(), Actor: "service:" + h.svc.Name}
	return &unit{host: h, run: func(b *batch, u *unit) error {
		s := b.of(h)
		fired := *t
		fired.Unit = u.index
		s.writes.FiredTimers = append(s.writes.FiredTimers, fired)
		r := driver.Record{
			Kind: driver.KindCommand, ID: h.r.ids.next(m.Time), Ref: m.ID, Stream: t.Stream, Type: t.Type, Data: t.Data, Meta: t.Meta,
			Time: m.Time.UnixMicro(), Target: h.svc.Name,
		}
		s.writes.Records = append(s.writes.Records, r)
		driver.CrashPoint("timer.fired")
		return nil
	}}
}

// fireSagas moves the sagas whose deadline has come before a time.
func (h *host) fireSagas(ctx context.Context, now, before time.Time) error {
	const first, most = 256, 1 << 16
	var units []*unit
	for limit := first; ; limit *= 4 {
		due, err := h.store.DueSagas(ctx, h.svc.Name, before.UnixMicro(), limit)
		if err != nil {
			return err
		}
		units = units[:0]
		for i := range due {
			key := due[i].SagaKey
			if h.newerSaga(key.Name, due[i].Definition) {
				continue // it waits for a newer program, and nothing behind it waits for that
			}
			m := Meta{Time: now.UTC(), Actor: "service:" + h.svc.Name}
			units = append(units, &unit{host: h, saga: key, run: func(b *batch, u *unit) error { return b.sagaDue(u, h, key, m) }})
		}
		if len(units) > 0 || len(due) < limit || limit >= most {
			break
		}
	}
	return h.internal(units...)
}

const (
	requestsEvery = 500 * time.Millisecond
	// requestsLooked is how many requests are looked at, the oldest first.
	requestsLooked = 256
	// pausedLook is after how many looks the one at a pause comes.
	pausedLook = 2
)

// requests carries out what operators ask, until ctx ends: of the slices that are worked here, and, where this process
// keeps the log, of sagas.
func (h *host) requests(ctx context.Context) {
	tick := time.NewTicker(requestsEvery)
	defer tick.Stop()
	// What was handed to a slice is handed to another, or to the same one in a new term, if it is open still.
	taken := map[int64]*slice{}
	for looks := 1; ; looks++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if looks%pausedLook == 0 {
			_ = h.lookPaused(ctx) // looked at again with a later tick
		}
		var open []driver.Request
		if look, ok := h.look(ctx, lookAge); !ok || look.Asked {
			var err error
			if open, err = h.store.OpenRequests(ctx, h.svc.Name, requestsLooked); err != nil {
				continue // asked again with the next tick
			}
		}
		seen := map[int64]bool{}
		for i := range open {
			r := &open[i]
			seen[r.ID] = true
			switch r.Subject {
			case "parked":
				if sl := h.askSlice(r, taken[r.ID]); sl != nil {
					taken[r.ID] = sl
				}
			case "saga":
				if h.seals.keeper.held() {
					h.askSaga(r)
				}
			}
		}
		for id := range taken {
			if !seen[id] {
				delete(taken, id)
			}
		}
	}
}

// askSlice hands a request to the slice of its key, if that is worked here and was not handed it before, and returns it.
func (h *host) askSlice(r *driver.Request, before *slice) *slice {
	for _, s := range h.subs {
		if s.name != r.Subscription {
			continue
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		number := driver.SliceOf(r.Key, s.spec.Slices)
		if sl := s.slices[number]; sl != nil && sl != before && s.offer(number, item{request: r}) {
			return sl
		}
	}
	return nil
}

// askSaga carries out what is asked of a saga. Another process that has done it, or keeps the log by now, lets it fail as a
// conflict.
func (h *host) askSaga(r *driver.Request) {
	key := driver.SagaKey{Name: r.Subscription, ID: r.Key}
	m := Meta{Time: h.r.now(), Actor: r.Actor}
	done := func(b *batch, u *unit) {
		if !h.store.Powers().Exclusive {
			h.seals.keeper.guard(b, u)
		}
		sh := b.of(h)
		sh.writes.DoneRequests = append(sh.writes.DoneRequests, r.ID)
	}
	err := h.internal(&unit{host: h, saga: key, run: func(b *batch, u *unit) error {
		done(b, u)
		return b.sagaOperator(u, h, key, r.Action, m)
	}})
	if err == nil || ClassOf(err) == ClassInfrastructure {
		return // what is open still is taken up with the next look
	}
	h.r.alarm(Alarm{Service: h.svc.Name, Subject: "request", Text: fmt.Sprintf("%s of saga %s/%s: %v", r.Action, key.Name, key.ID, err)})
	if err := h.internal(&unit{host: h, run: func(b *batch, u *unit) error { done(b, u); return nil }}); failedByItself(err) {
		h.r.log.Warn("a request that could not be carried out is taken up again", "service", h.svc.Name, "error", err)
	}
}
