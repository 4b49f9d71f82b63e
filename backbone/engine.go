package backbone

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"example.org/souk/backbone/driver"
)

type systemClock struct{}

func (systemClock) Now() time.Time { return time.Now() } //souk:clock the one place that reads it

// Runtime runs services: it decides commands, carries events to those who
// subscribed, advances sagas, fires timers, makes calls and keeps views. Its
// methods may be called concurrently.
type Runtime struct {
	cfg       Config
	log       *slog.Logger
	ids       idSource
	hosts     map[string]*host
	order     []*host
	elsewhere []*host // of parts that do not run here, for what is to be known of them: they have no writer
	handlerOf map[string]string
	ownerOf   map[string]string // events
	parts     Map
	writers   []*writer
	looks     map[driver.Store]*looks // where a database can be looked at at a glance

	mu      sync.Mutex
	beside  map[driver.Store]*writer // of what Transact does where no writer has the database to itself
	started bool
	stopped bool
	cancel  context.CancelFunc
	loops   sync.WaitGroup // everything but the writers and lanes
	lanes   sync.WaitGroup
	closing atomic.Bool
	running atomic.Bool // Start has returned
}

// New checks the parts and builds a runtime. Nothing runs before Start.
func New(cfg Config) (*Runtime, error) {
	if err := Check(cfg.Parts); err != nil {
		return nil, err
	}
	if cfg.Store == nil || cfg.Transport == nil {
		return nil, errors.New("backbone.Config needs a Store and a Transport (logbus.New where there is no broker)")
	}
	if cfg.Clock == nil {
		cfg.Clock = systemClock{}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.MaxWaiting <= 0 {
		cfg.MaxWaiting = 4096
	}
	if cfg.MaxBatch <= 0 {
		cfg.MaxBatch = 512
	}
	if cfg.CacheStates <= 0 {
		cfg.CacheStates = 16384
	}
	if cfg.Lease <= 0 {
		cfg.Lease = defaultLease
	}
	if cfg.Log == nil {
		cfg.Log = driver.LogsIn(cfg.Store)
	}
	r := &Runtime{
		cfg: cfg, log: cfg.Logger, hosts: map[string]*host{}, parts: Describe(cfg.Parts),
		handlerOf: map[string]string{}, ownerOf: map[string]string{},
		looks: map[driver.Store]*looks{},
	}
	if r.cfg.Owner == "" {
		r.cfg.Owner = r.ids.next(r.now())
	}
	for _, svc := range cfg.Parts {
		for i := range svc.Handles {
			r.handlerOf[svc.Handles[i].command] = svc.Name
		}
		for _, e := range svc.Publishes {
			r.ownerOf[e.EventType()] = svc.Name
		}
		aggregates, err := svc.aggregates()
		if err != nil {
			return nil, err
		}
		for _, f := range aggregates {
			public, private := f.eventTypes()
			for _, t := range append(public, private...) {
				r.ownerOf[t] = svc.Name
			}
		}
	}
	shared := map[driver.Store]*writer{}
	for _, svc := range cfg.Parts {
		if cfg.Run != nil && !slices.Contains(cfg.Run, svc.Name) {
			continue
		}
		store := cfg.Store(svc.Name)
		if store == nil {
			return nil, fmt.Errorf("service %s has no database", svc.Name)
		}
		w := shared[store]
		if w == nil {
			w = newWriter(r, store)
			r.writers = append(r.writers, w)
			if store.Powers().Exclusive {
				shared[store] = w
			}
		}
		h := newHost(r, svc, store, w)
		if looker, ok := store.(driver.Looker); ok {
			if r.looks[store] == nil {
				r.looks[store] = &looks{store: looker}
			}
			r.looks[store].services = append(r.looks[store].services, svc.Name)
		}
		r.hosts[svc.Name] = h
		r.order = append(r.order, h)
	}
	for _, name := range cfg.Run {
		if r.hosts[name] == nil {
			return nil, fmt.Errorf("service %q is not in the parts list", name)
		}
	}
	for _, h := range r.order {
		h.subscribe()
	}
	for _, svc := range cfg.Parts {
		if r.hosts[svc.Name] == nil {
			h := newHost(r, svc, cfg.Store(svc.Name), nil)
			h.subscribe()
			r.elsewhere = append(r.elsewhere, h)
		}
	}
	if _, handed := cfg.Transport.(driver.Committed); handed || cfg.Transport.Powers().LogPositions {
		return r, nil // it needs no relay
	}
	for _, h := range append(slices.Clone(r.order), r.elsewhere...) {
		h.relay = newRelay(h)
	}
	return r, nil
}

// subscribe builds the subscriptions of a host: one for its handlers, one for
// each async view.
func (h *host) subscribe() {
	sources := map[string]map[string]bool{}
	want := func(event string) {
		owner := h.r.ownerOf[event]
		if sources[owner] == nil {
			sources[owner] = map[string]bool{}
		}
		sources[owner][event] = true
		h.reads(event)
	}
	main := h.newSubscription(h.svc.Name)
	for i := range h.svc.Subscribes {
		sub := &h.svc.Subscribes[i]
		main.on[baseOf(sub.event)] = sub
		want(sub.event)
	}
	for _, def := range h.sagas {
		for _, a := range def.advances() {
			main.sagas[baseOf(a.sub.event)] = append(main.sagas[baseOf(a.sub.event)], sagaAdvancer{def, a})
			want(a.sub.event)
		}
	}
	for _, part := range h.r.cfg.Parts {
		in := driver.Interest{Source: part.Name}
		if h.r.parts.Listens(h.svc.Name, part.Name) {
			in.Addressed = h.svc.Name
		}
		for t := range sources[part.Name] {
			in.Types = append(in.Types, driver.AnyVersion(t))
		}
		if in.Addressed == "" && len(in.Types) == 0 {
			continue
		}
		slices.Sort(in.Types)
		main.spec.Interests = append(main.spec.Interests, in)
	}
	main.spec.FromFirst = true // what joins later is held off by joins
	for i := range h.svc.Views {
		if v := &h.svc.Views[i]; !v.Inline {
			h.viewSubscription(v)
		}
	}
}

func (h *host) newSubscription(name string) *subscription {
	s := &subscription{
		host: h, name: name, on: map[string]*Subscriber{}, apply: map[string]func(context.Context, ViewTx, Event) error{},
		sagas: map[string][]sagaAdvancer{}, lanes: h.svc.Lanes, positions: h.r.cfg.Transport.Powers().LogPositions,
	}
	s.spec = driver.Subscription{Service: h.svc.Name, Name: name, Slices: h.svc.Slices, Reads: h.readsVersion}
	if s.spec.Slices <= 0 {
		s.spec.Slices = driver.DefaultSlices
	}
	if s.lanes <= 0 {
		s.lanes = defaultLanes
	}
	s.init()
	s.circuit.now = h.r.now
	s.circuit.rouse = func(after time.Duration) {
		time.AfterFunc(after, func() {
			s.mu.Lock()
			s.work.Broadcast()
			s.mu.Unlock()
		})
	}
	h.subs = append(h.subs, s)
	return s
}

func (h *host) viewSubscription(v *View) {
	s := h.newSubscription(viewSubscription(v.Name))
	s.view = v
	s.spec.FromFirst = v.From == FromFirst
	types := map[string][]string{}
	keyed := map[string]*Subscriber{}
	for i := range v.Projections {
		p := &v.Projections[i]
		owner := h.r.ownerOf[p.sub.event]
		types[owner] = append(types[owner], driver.AnyVersion(p.sub.event))
		s.on[baseOf(p.sub.event)], s.apply[baseOf(p.sub.event)] = &p.sub, p.apply
		h.reads(p.sub.event)
		if p.sub.keyed != nil {
			keyed[baseOf(p.sub.event)] = &p.sub
		}
	}
	for _, part := range h.r.cfg.Parts {
		if len(types[part.Name]) > 0 {
			s.spec.Interests = append(s.spec.Interests, driver.Interest{Source: part.Name, Types: types[part.Name]})
		}
	}
	var told atomic.Int64
	if len(keyed) > 0 {
		s.spec.Key = func(m *driver.Message) string {
			if sub := keyed[baseOf(m.Type)]; sub != nil {
				e, err := sub.decoder.decode(m.Type, m.Data)
				if err == nil {
					return sub.keyed(e)
				}
				if newerVersion(err) {
					if told.Swap(m.Position) != m.Position { // it is asked for again and again
						s.alarm("slice", fmt.Sprintf("it stands still at position %d of %s: %v", m.Position, m.Source, err))
					}
					return ""
				}
			}
			return m.Stream
		}
	}
}

func (r *Runtime) now() time.Time { return r.cfg.Clock.Now().UTC().Truncate(time.Microsecond) }

// Migrate brings the tables of every service whose database can be reached from
// here up to date. Start does it too; a program that only reads calls it alone.
func (r *Runtime) Migrate(ctx context.Context) error {
	schemas := map[driver.Store][]driver.Schema{}
	var stores []driver.Store
	for _, svc := range r.cfg.Parts {
		// Logs of services that run elsewhere are read here, so they are prepared too
		// where this process can reach them.
		store := r.cfg.Store(svc.Name)
		if store == nil {
			continue
		}
		if schemas[store] == nil {
			stores = append(stores, store)
		}
		schemas[store] = append(schemas[store], driver.Schema{Service: svc.Name, Migrations: svc.Migrations})
	}
	for _, store := range stores {
		if err := store.Migrate(ctx, schemas[store]); err != nil {
			return fmt.Errorf("migrate: %w", err)
		}
	}
	return nil
}

// Start prepares the databases, begins the work and returns when everything runs.
// Ending ctx does not stop it; Stop does. Where a broker is away it waits until the
// broker is there or ctx ends; alarms tell of it meanwhile. A Runtime is started once,
// and Stop is to be called after a Start that failed, too.
func (r *Runtime) Start(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.started || r.stopped {
		return errors.New("a Runtime is started once")
	}
	if err := r.Migrate(ctx); err != nil {
		return err
	}
	for _, h := range r.order {
		if err := h.lookForTables(ctx); err != nil {
			return err
		}
		if err := h.settleCarrier(ctx); err != nil {
			return err
		}
		if err := h.join(ctx); err != nil {
			return err
		}
		if err := h.lookPaused(ctx); err != nil {
			return err
		}
	}
	r.started = true
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r.cancel = cancel
	for _, w := range r.writers {
		go w.loop()
	}
	var ready []chan struct{}
	for _, h := range r.order {
		for _, s := range h.subs {
			for range s.lanes {
				r.lanes.Go(func() { s.lane(context.WithoutCancel(run)) })
			}
			c := make(chan struct{})
			ready = append(ready, c)
			r.loops.Go(func() { s.feed(run, c) })
			r.loops.Go(func() { s.tend(run) })
		}
		for _, c := range h.calls {
			r.loops.Go(func() { c.run(run) })
		}
		r.loops.Go(func() { h.timers(run) })
		r.loops.Go(func() { h.requests(run) })
		r.loops.Go(func() { h.seals.run(run) })
		if h.relay != nil {
			r.loops.Go(func() { h.relay.run(run) })
		}
	}
	r.loops.Go(func() { r.prune(run) })
	r.listen(run)
	for _, c := range ready {
		select {
		case <-c:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r.running.Store(true)
	return nil
}

// feed keeps a subscription fed until ctx ends.
func (s *subscription) feed(ctx context.Context, ready chan struct{}) {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 10*time.Second) {
		sub, ended := make(chan struct{}), make(chan struct{})
		var telling sync.WaitGroup
		telling.Go(func() {
			select {
			case <-sub:
				s.cut.Store(false)
				if ready != nil {
					close(ready)
					ready = nil
				}
			case <-ended:
			}
		})
		err := s.host.r.cfg.Transport.Subscribe(ctx, s.spec, s, sub)
		close(ended)
		telling.Wait() // what is told late would be told of the next attempt
		if ctx.Err() != nil {
			return
		}
		s.cut.Store(true)
		s.alarm("subscription", fmt.Sprintf("ended: %v; it is begun again in %s", err, wait))
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// listenAgain is the pause before listening is tried again that failed.
const listenAgain = time.Second

// listen passes on what the databases tell of commits by other processes, until ctx ends.
func (r *Runtime) listen(ctx context.Context) {
	services := map[driver.Store][]string{}
	for _, h := range r.order {
		if h.store.Powers().Notify {
			services[h.store] = append(services[h.store], h.svc.Name)
		}
	}
	for store, names := range services {
		r.loops.Go(func() {
			for ctx.Err() == nil {
				err := store.Listen(ctx, names, func(service string, _ int64, freed bool) {
					h := r.hosts[service]
					h.pulse()
					if freed {
						h.freed()
					}
				})
				if ctx.Err() == nil {
					r.log.InfoContext(ctx, "the database does not tell of commits; they are looked for", "error", err)
					rest(ctx, listenAgain)
				}
			}
		})
	}
}

// settleCarrier notes what carries a service's messages, the log or a broker, and refuses the other one: what was handled
// by the checkpoints of the one is not known to the inbox of the other, and would be handled again.
func (h *host) settleCarrier(ctx context.Context) error {
	is := byBroker
	if h.r.cfg.Transport.Powers().LogPositions {
		is = byLog
	}
	noted, err := h.store.Value(ctx, h.svc.Name, carrierNote)
	if err != nil {
		return err
	}
	was := string(noted)
	if noted == nil {
		was = is
		cps, err := h.store.Checkpoints(ctx, h.svc.Name, h.svc.Name)
		if err != nil {
			return err
		}
		if len(cps) > 0 {
			was = byLog // it has run since before this was noted
		}
	}
	if was != is {
		return fmt.Errorf("service %s: its messages are carried by the %s, and this process would have them carried by the %s: "+
			"what was handled would be handled again", h.svc.Name, was, is)
	}
	if noted != nil {
		return nil
	}
	return h.store.SetValue(ctx, h.svc.Name, carrierNote, []byte(is))
}

// The value under which it is noted what carries a service's messages, and what stands there.
const carrierNote, byLog, byBroker = "carrier", "log", "broker"

// OverBroker reports whether a broker carries a service's messages, as its database has it.
func OverBroker(ctx context.Context, store driver.Store, service string) (bool, error) {
	noted, err := store.Value(ctx, service, carrierNote)
	return string(noted) == byBroker, err
}

// join notes where each type of event was first asked for, so that a handler that
// was added later begins from now or from the first event, as it says.
func (h *host) join(ctx context.Context) error {
	joins, begun, err := h.joins(ctx)
	if err != nil {
		return err
	}
	had := len(joins)
	for i := range h.svc.Subscribes {
		sub := &h.svc.Subscribes[i]
		base := baseOf(sub.event)
		if _, known := joins[base]; known {
			continue
		}
		if joins[base], err = h.joinAt(ctx, sub, begun); err != nil {
			return err
		}
	}
	h.subs[0].joins = joins
	if begun && len(joins) == had {
		return nil
	}
	// Another process of the service may have begun at the same time: what was asked for first counts.
	first, _, err := h.joins(ctx)
	if err != nil {
		return err
	}
	for event, position := range first {
		if own, asked := joins[event]; !asked || position < own {
			joins[event] = position
		}
	}
	encoded, err := json.Marshal(joins)
	if err != nil {
		return err
	}
	return h.store.SetValue(ctx, h.svc.Name, "joins", encoded)
}

// joins returns what join has noted, by event type, whatever its version, and whether it has noted anything.
func (h *host) joins(ctx context.Context) (joins map[string]int64, begun bool, err error) {
	raw, err := h.store.Value(ctx, h.svc.Name, "joins")
	if err != nil {
		return nil, false, err
	}
	joins, stored := map[string]int64{}, map[string]int64{}
	if raw != nil {
		if err := json.Unmarshal(raw, &stored); err != nil {
			return nil, false, fmt.Errorf("joins of service %s: %w", h.svc.Name, err)
		}
	}
	for event, position := range stored {
		joins[baseOf(event)] = position
	}
	return joins, raw != nil, nil
}

// joinAt returns from where on a subscriber hears of its event that the service has not asked for before, having begun or not.
func (h *host) joinAt(ctx context.Context, sub *Subscriber, begun bool) (int64, error) {
	owner := h.r.ownerOf[sub.event]
	if sub.from != FromFirst {
		return h.headOf(ctx, owner)
	}
	if !begun {
		return 0, nil
	}
	missed, err := h.missed(ctx, owner, sub.event)
	if err != nil || !missed {
		return 0, err
	}
	// The checkpoints may be of another process that begins now.
	joins, _, err := h.joins(ctx)
	if err != nil {
		return 0, err
	}
	if position, known := joins[baseOf(sub.event)]; known {
		return position, nil
	}
	return 0, fmt.Errorf("service %s: %s was added from the first event, but the subscription has begun already: "+
		"use From(backbone.FromNow), or a view, or a service of its own", h.svc.Name, sub.event)
}

// headOf returns where a log ends, 0 where it cannot be read from here.
func (h *host) headOf(ctx context.Context, owner string) (head int64, err error) {
	log := h.r.cfg.Log(owner)
	if log == nil {
		return 0, nil
	}
	err = h.waitOut(ctx, owner, func() (err error) {
		head, err = log.Head(ctx, owner)
		return err
	})
	return head, err
}

// missed reports whether there was an event of a type before it was asked for, in a
// log that the subscription has begun to read. It may have been where the log cannot
// be read from here.
func (h *host) missed(ctx context.Context, owner, event string) (bool, error) {
	log := h.r.cfg.Log(owner)
	if log == nil {
		return true, nil
	}
	if begun, err := h.begun(ctx, owner); err != nil || !begun {
		return false, err
	}
	var first []driver.Record
	err := h.waitOut(ctx, owner, func() (err error) {
		first, err = log.Read(ctx, owner, driver.ReadQuery{
			Kinds: []driver.Kind{driver.KindEvent}, Types: []string{driver.AnyVersion(event)}, Limit: 1,
		})
		return err
	})
	return len(first) > 0, err
}

// begun reports whether the service's subscription has begun to read a log; where
// it keeps no checkpoints it may have.
func (h *host) begun(ctx context.Context, source string) (bool, error) {
	kept := false
	for _, name := range []string{h.svc.Name, driver.Partitions(h.svc.Name)} {
		cps, err := h.store.Checkpoints(ctx, h.svc.Name, name)
		if err != nil {
			return false, err
		}
		kept = kept || len(cps) > 0
		if slices.ContainsFunc(cps, func(c driver.Checkpoint) bool { return c.Source == source }) {
			return true, nil
		}
	}
	return !kept, nil
}

// readAgain is the pause before a log is asked again that cannot be read now.
const readAgain = 200 * time.Millisecond

// waitOut reads a log that may not be readable yet, since the process that is asked for it is about to start.
func (h *host) waitOut(ctx context.Context, owner string, read func() error) error {
	for told := false; ; told = true {
		err := read()
		if !errors.Is(err, driver.ErrUnavailable) {
			return err
		}
		if !told {
			h.r.log.InfoContext(ctx, "the start waits for a log that cannot be read yet", "service", h.svc.Name, "log", owner, "error", err)
		}
		if !rest(ctx, readAgain) {
			return err
		}
	}
}

// Stop drains: fetching stops, started handlers finish and commit, calls that are
// out come back, what has not begun is handed back. It may be called more than
// once, and before Start. When ctx ends first its error is returned and the work
// goes on ending by itself.
func (r *Runtime) Stop(ctx context.Context) error {
	r.mu.Lock()
	if !r.started || r.stopped {
		r.stopped = true
		r.mu.Unlock()
		return nil
	}
	r.stopped = true
	beside := r.beside
	r.mu.Unlock()
	r.closing.Store(true)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.cancel()
		r.loops.Wait()
		for _, h := range r.order {
			for _, s := range h.subs {
				s.mu.Lock()
				s.stopping = true
				s.work.Broadcast()
				s.room.Broadcast()
				s.mu.Unlock()
			}
		}
		r.lanes.Wait()
		for _, w := range r.writers {
			w.close()
		}
		for _, w := range beside {
			w.close()
		}
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Do decides a command and returns when its outcome is durable. A refusal is an
// Answer, not an error. When ctx ends first the command may still take effect;
// asking again with the same id tells.
//
// Errors are ErrOverloaded, ErrUnavailable, ErrPaused, ErrStopped,
// ErrDifferentCommand, ErrNotHandled, ctx's own, or what the handler failed with.
func (r *Runtime) Do(ctx context.Context, c Command, options ...DoOption) (Answer, error) {
	if c == nil {
		return Answer{}, fmt.Errorf("%w here: the command is nil", ErrNotHandled)
	}
	h := r.hosts[r.handlerOf[c.CommandType()]]
	switch {
	case r.closing.Load():
		return Answer{}, ErrStopped
	case h == nil:
		return Answer{}, fmt.Errorf("%w here: %s", ErrNotHandled, c.CommandType())
	case h.closed():
		return Answer{}, fmt.Errorf("%s: %w", h.svc.Name, ErrPaused)
	}
	m := Meta{Time: r.now()}
	for _, o := range options {
		o(&m)
	}
	if m.ID == "" {
		m.ID = r.ids.next(m.Time)
	}
	data, err := json.Marshal(c)
	if err != nil {
		return Answer{}, fmt.Errorf("encode %s: %w", c.CommandType(), err)
	}
	if len(data) > MaxData {
		return Answer{}, Permanent(fmt.Errorf("%s has %d bytes; the most is %d", c.CommandType(), len(data), MaxData))
	}
	hd := h.handlers[c.CommandType()]
	if err := hd.admits(c); err != nil {
		return Answer{}, Permanent(err)
	}
	ended := make(chan error, 1)
	u := &unit{host: h, direct: true, answerID: m.ID, streams: hd.streams(c)}
	u.run = func(b *batch, u *unit) (err error) {
		u.answer, err = b.decide(u, h, hd, c, data, m)
		return err
	}
	u.done = func(_ *unit, err error) { ended <- err }
	if err := h.w.submit(u); err != nil {
		return Answer{}, err
	}
	select {
	case err := <-ended:
		if err != nil {
			return Answer{}, err
		}
		r.observeDecided(h, hd.command, &u.answer, m)
		return u.answer, nil
	case <-ctx.Done():
		return Answer{}, ctx.Err()
	}
}

// ReadCommand reads a command of a service that runs here from its JSON, for whoever takes commands in for other processes.
// For one that nobody here handles it is ErrNotHandled.
func (r *Runtime) ReadCommand(wire string, data []byte) (Command, error) {
	h := r.hosts[r.handlerOf[wire]]
	if h == nil {
		return nil, fmt.Errorf("%w here: %s", ErrNotHandled, wire)
	}
	return h.handlers[wire].decode(data)
}

// HandlerOf returns the service that handles a command, wherever it runs; "" where none does.
func (r *Runtime) HandlerOf(wire string) string { return r.handlerOf[wire] }

// Runs reports whether a service runs here.
func (r *Runtime) Runs(service string) bool { return r.hosts[service] != nil }

// Reader reads what a service has committed; nil if its database cannot be
// reached from here.
func (r *Runtime) Reader(service string) *Reader {
	store := r.cfg.Store(service)
	if store == nil {
		return nil
	}
	reader := NewReader(service, store)
	if store.Powers().Exclusive {
		reader.host = r.hosts[service]
	}
	return reader
}

// Changed returns a channel that receives a value (coalesced) after each commit to the
// service's log, and a function that ends it. Commits of other processes are told where
// the database can do that (driver.StorePowers.Notify), and may be told late or not at
// all: who waits for those looks now and then by itself.
func (r *Runtime) Changed(service string) (<-chan struct{}, func()) {
	c := make(chan struct{}, 1)
	h := r.hosts[service]
	if h == nil {
		return c, func() {}
	}
	h.watch.Lock()
	h.pulses[c] = true
	h.watch.Unlock()
	return c, func() {
		h.watch.Lock()
		delete(h.pulses, c)
		h.watch.Unlock()
	}
}

// Pause stops a service's handling: direct commands are refused with ErrPaused,
// messages, timers and calls wait. It holds in every process that runs the service, in
// others within about two seconds, and over restarts, until Resume. The service need
// not run here, if its database can be reached.
func (r *Runtime) Pause(ctx context.Context, service string) error {
	return r.setPaused(ctx, service, true)
}

// Paused reports whether a service is paused, as its database has it.
func Paused(ctx context.Context, store driver.Store, service string) (bool, error) {
	noted, err := store.Value(ctx, service, driver.PausedValue)
	return string(noted) == "true", err
}

// Resume ends a pause.
func (r *Runtime) Resume(ctx context.Context, service string) error {
	return r.setPaused(ctx, service, false)
}

func (r *Runtime) setPaused(ctx context.Context, service string, paused bool) error {
	store, _, err := r.reach(service)
	if err != nil {
		return err
	}
	if err := store.SetValue(ctx, service, driver.PausedValue, fmt.Append(nil, paused)); err != nil {
		return fmt.Errorf("pause of %s: %w", service, err)
	}
	if h := r.hosts[service]; h != nil {
		h.pausing.Lock()
		defer h.pausing.Unlock()
		if l := r.looks[store]; l != nil {
			l.forget()
		}
		h.setPaused(paused)
	}
	return nil
}

// lookPaused does as was said to any process.
func (h *host) lookPaused(ctx context.Context) error {
	h.pausing.Lock()
	defer h.pausing.Unlock()
	look, ok := h.look(ctx, lookAge)
	if !ok {
		var err error
		if look.Paused, err = Paused(ctx, h.store, h.svc.Name); err != nil {
			return err
		}
	}
	h.setPaused(look.Paused)
	return nil
}

func (h *host) setPaused(paused bool) {
	if h.paused.Swap(paused) == paused {
		return
	}
	for _, s := range h.subs {
		s.mu.Lock()
		s.paused = paused
		s.work.Broadcast()
		s.mu.Unlock()
	}
}

// Ready returns nil while the runtime takes work: Start has returned, Stop was not
// called, and the databases of the services that run here answer. It is for a
// readiness probe; a service that is paused is ready. Whether a broker is reached does
// not count: what is committed meanwhile goes out later.
func (r *Runtime) Ready(ctx context.Context) error {
	switch {
	case r.closing.Load():
		return ErrStopped
	case !r.running.Load():
		return fmt.Errorf("%w: it has not started yet", ErrStopped)
	}
	asked := map[driver.Store]bool{}
	for _, h := range r.order {
		if asked[h.store] {
			continue
		}
		asked[h.store] = true
		if _, err := h.store.Head(ctx, h.svc.Name); err != nil {
			return fmt.Errorf("the database of service %s: %w", h.svc.Name, err)
		}
	}
	return nil
}

// Services lists those that run here.
func (r *Runtime) Services() []string {
	names := make([]string, len(r.order))
	for i, h := range r.order {
		names[i] = h.svc.Name
	}
	return names
}

// Parts returns the parts list.
func (r *Runtime) Parts() []*Service { return r.cfg.Parts }

func (r *Runtime) forget(units []*unit) {
	for _, u := range units {
		if u.host != nil {
			u.host.streams.drop()
			u.host.instances.drop()
		}
	}
}

func (r *Runtime) alarm(a Alarm) {
	r.log.Warn("alarm", "service", a.Service, "subject", a.Subject, "text", a.Text)
	if r.cfg.Hooks.Alarm != nil {
		r.cfg.Hooks.Alarm(a)
	}
}

// observeBatch tells of a batch, unless all that it did was to look.
func (r *Runtime) observeBatch(b *batch, units []*unit, err error) {
	if r.cfg.Hooks.Batch == nil || !slices.ContainsFunc(units, func(u *unit) bool { return !u.nothing }) {
		return
	}
	records := 0
	for _, s := range b.services {
		records += len(s.writes.Records)
	}
	r.cfg.Hooks.Batch(BatchStats{Units: len(units), Records: records, Commit: b.committed, Total: time.Since(b.started), Reruns: b.reruns, Err: err})
}

func (r *Runtime) observeDecided(h *host, command string, a *Answer, m Meta) {
	if r.cfg.Hooks.Decided != nil {
		r.cfg.Hooks.Decided(DecidedStats{h.svc.Name, command, a.Outcome, a.Repeated, m})
	}
}

func (r *Runtime) observeCall(c CalledStats) {
	if r.cfg.Hooks.Called != nil {
		r.cfg.Hooks.Called(c)
	}
}

func (r *Runtime) observeSaga(s SagaStats) {
	if r.cfg.Hooks.Saga != nil {
		r.cfg.Hooks.Saga(s)
	}
}

func (r *Runtime) observeParked(s *subscription, m *Message, attempts int, err error, dead bool) {
	if r.cfg.Hooks.Handled != nil && m != nil {
		r.cfg.Hooks.Handled(context.Background(), HandledStats{
			Service: s.host.svc.Name, Subscription: s.name, Message: m, Attempts: attempts,
			Lag: r.now().Sub(m.Time), Err: err, Parked: dead,
		})
	}
	if dead && m != nil {
		r.alarm(Alarm{Service: s.host.svc.Name, Subject: "parked", Text: fmt.Sprintf("%s: %s %s: %v", s.name, m.Type, m.ID, err)})
	}
}
