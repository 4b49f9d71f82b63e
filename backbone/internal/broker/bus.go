package broker

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
)

// ErrClosed is returned by Subscribe and Publish when the Bus was closed.
var ErrClosed = errors.New("the transport is closed")

// Config configures a Bus. Zero fields mean their defaults.
type Config struct {
	// Client speaks to the broker. Required; the Bus closes it.
	Client Client
	// Store returns the database that a service's checkpoints and log are in, or nil if it cannot be reached from here.
	// Required.
	Store func(service string) driver.Store
	// Log returns what reads a service's log, also where its database cannot be reached from here; nil where nothing can.
	// Default: Store.
	Log func(service string) driver.Log
	// Namespace is the first part of topics and groups. Default souk.
	Namespace string
	// Partitions is how many partitions a topic has that this Bus makes; it divides the slices of every subscription.
	// Default 8.
	Partitions int
	// Owner names this Bus where partitions are claimed. No two that run at the same time may share it. Default: random.
	Owner string
	// Lease is how long partitions stay with an owner that does not renew. Default 15 s.
	Lease time.Duration
	// Poll is the pause before what failed is tried again. Default 1 s.
	Poll time.Duration
	// Redeliver is the pause before what was handed back comes again. Default 50 ms.
	Redeliver time.Duration
	// Logger hears of what is tried again. Default slog.Default().
	Logger *slog.Logger
}

// Bus is a transport over a broker. Its methods may be called concurrently.
type Bus struct {
	config  Config
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu     sync.Mutex
	names  map[[2]string]bool
	groups map[*subscription]bool
	topics map[string]int // declared, with their partitions
	// identities are those of the storage that a source's messages were confirmed by last, by source and topic.
	identities map[[2]string]string
}

// New returns a Bus. It connects when something is asked of it.
func New(c Config) *Bus {
	if c.Namespace == "" {
		c.Namespace = "souk"
	}
	if c.Partitions <= 0 {
		c.Partitions = 8
	}
	if c.Owner == "" {
		c.Owner = rand.Text()
	}
	if c.Lease <= 0 {
		c.Lease = 15 * time.Second
	}
	if c.Poll <= 0 {
		c.Poll = time.Second
	}
	if c.Redeliver <= 0 {
		c.Redeliver = 50 * time.Millisecond
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Log == nil {
		c.Log = driver.LogsIn(c.Store)
	}
	b := &Bus{config: c, names: map[[2]string]bool{}, groups: map[*subscription]bool{}, topics: map[string]int{}, identities: map[[2]string]string{}}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	return b
}

// Powers implements driver.Transport. Subscriptions begin at the first record by way of the log of its owner.
func (b *Bus) Powers() driver.Powers {
	_, ordered := b.config.Client.(Ordered)
	return driver.Powers{Shared: true, Broadcast: true, FromFirst: true, KeyOrder: ordered}
}

// Ordered is implemented by clients whose Whole groups get the messages of a topic in the order in which they were sent,
// over all partitions.
type Ordered interface{ OrderedWhole() }

// Check asks the broker whether it is set up safely.
func (b *Bus) Check(ctx context.Context) error { return b.config.Client.Check(ctx) }

// Close ends all subscriptions, and the client.
func (b *Bus) Close() error {
	b.mu.Lock()
	b.cancel()
	b.mu.Unlock()
	b.running.Wait()
	return b.config.Client.Close()
}

// eventsOf and commandsOf name topics: what a service publishes, and what is addressed to it.
func (b *Bus) eventsOf(service string) string { return b.config.Namespace + "." + service }

func (b *Bus) commandsOf(service string) string {
	return b.config.Namespace + "." + service + ".commands"
}

// declare makes a topic exist and returns its number of partitions.
func (b *Bus) declare(ctx context.Context, topic string) (int, error) {
	b.mu.Lock()
	n := b.topics[topic]
	b.mu.Unlock()
	if n > 0 {
		return n, nil
	}
	n, err := b.config.Client.DeclareTopic(ctx, topic, b.config.Partitions)
	if err != nil {
		return 0, fmt.Errorf("%s: topic %s: %w", b.config.Client.System(), topic, err)
	}
	b.mu.Lock()
	b.topics[topic] = n
	b.mu.Unlock()
	return n, nil
}

// forget has topics declared again: they may be gone.
func (b *Bus) forget() {
	b.mu.Lock()
	clear(b.topics)
	b.mu.Unlock()
}

// Publish implements driver.Transport. Records that travel nowhere (private events, calls, seals) are refused.
func (b *Bus) Publish(ctx context.Context, source string, rs []driver.Record) (driver.Anchor, error) {
	if b.ctx.Err() != nil {
		return nil, ErrClosed
	}
	if len(rs) == 0 {
		return nil, nil
	}
	out, err := b.outgoing(ctx, source, rs)
	if err != nil {
		return nil, err
	}
	anchors, err := b.config.Client.Send(ctx, out)
	if err != nil {
		b.forget()
		return nil, fmt.Errorf("%s: publish: %w", b.config.Client.System(), err)
	}
	if len(anchors) == 0 {
		return nil, nil
	}
	if topic := b.remade(source, anchors); topic != "" {
		return nil, fmt.Errorf("%s: publish: topic %s was made again since: what it held is gone", b.config.Client.System(), topic)
	}
	return json.Marshal(anchors)
}

// outgoing makes messages of records.
func (b *Bus) outgoing(ctx context.Context, source string, rs []driver.Record) ([]Outgoing, error) {
	out := make([]Outgoing, len(rs))
	attributes := make([]Attribute, 0, usual*len(rs))
	add := func(name, value string) {
		if name != "datacontenttype" {
			attributes = append(attributes, Attribute{name, value})
		}
	}
	to := addresses{bus: b, source: source}
	for i := range rs {
		r := &rs[i]
		at, err := to.of(ctx, r)
		if err != nil {
			return nil, err
		}
		m, err := backbone.MessageOf(source, r)
		if err != nil {
			return nil, err
		}
		first := len(attributes)
		backbone.RangeCloudEvent(m, add)
		out[i] = Outgoing{
			Topic: at.topic, Partition: driver.SliceOf(r.Stream, at.partitions), Key: r.Stream, ID: r.ID, Type: r.Type,
			Attributes: attributes[first:len(attributes):len(attributes)], Body: r.Data,
		}
	}
	return out, nil
}

// usual is how many attributes a public event has; what is addressed to a service has more.
const usual = 16

// addresses are where the records of one call go to.
type addresses struct {
	bus      *Bus
	source   string
	events   address
	services map[string]address // by the service that they are addressed to
}

// address is a topic with its partitions; none where they are not known yet.
type address struct {
	topic      string
	partitions int
}

// of returns where a record goes to.
func (a *addresses) of(ctx context.Context, r *driver.Record) (address, error) {
	var err error
	switch r.Kind {
	case driver.KindEvent:
		if a.events.partitions == 0 {
			a.events, err = a.bus.address(ctx, a.bus.eventsOf(a.source))
		}
		return a.events, err
	case driver.KindCommand, driver.KindReply:
		at := a.services[r.Target]
		if at.partitions == 0 {
			if at, err = a.bus.address(ctx, a.bus.commandsOf(r.Target)); err != nil {
				return at, err
			}
			if a.services == nil {
				a.services = map[string]address{}
			}
			a.services[r.Target] = at
		}
		return at, nil
	}
	return address{}, fmt.Errorf("%s: a %s is not published", a.bus.config.Client.System(), r.Kind)
}

// address returns a topic that exists.
func (b *Bus) address(ctx context.Context, topic string) (address, error) {
	n, err := b.declare(ctx, topic)
	return address{topic, n}, err
}

// remade names a topic that another storage keeps than when this source last published to it. A subscription that joins
// again may have made it, so that nothing else tells the relay to go back before it goes on.
func (b *Bus) remade(source string, anchors []Anchor) (topic string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, a := range anchors {
		at := [2]string{source, a.Topic}
		if was := b.identities[at]; was != "" && was != a.Identity {
			topic = a.Topic
		}
		b.identities[at] = a.Identity
	}
	return topic
}

// Holds implements driver.Anchored: every message that the anchor names is there.
func (b *Bus) Holds(ctx context.Context, a driver.Anchor) (bool, error) {
	var anchors []Anchor
	if err := json.Unmarshal(a, &anchors); err != nil {
		return false, fmt.Errorf("%s: anchor: %w", b.config.Client.System(), err)
	}
	for _, anchor := range anchors {
		if holds, err := b.config.Client.Holds(ctx, anchor); err != nil || !holds {
			return false, err
		}
	}
	return true, nil
}

// Newest implements driver.Anchored.
func (b *Bus) Newest(older, newer driver.Anchor) (driver.Anchor, error) {
	if older == nil {
		return newer, nil
	}
	var was, is []Anchor
	if err := errors.Join(json.Unmarshal(older, &was), json.Unmarshal(newer, &is)); err != nil {
		return nil, fmt.Errorf("%s: anchor: %w", b.config.Client.System(), err)
	}
	for _, a := range was {
		if !slices.ContainsFunc(is, func(n Anchor) bool { return n.Topic == a.Topic && n.Partition == a.Partition }) {
			is = append(is, a)
		}
	}
	return json.Marshal(is)
}

// Prepare implements driver.Preparer.
func (b *Bus) Prepare(ctx context.Context, subscriptions []driver.Subscription) error {
	for i := range subscriptions {
		g, err := b.group(ctx, &subscriptions[i])
		if err != nil {
			return err
		}
		known := false
		if store := b.config.Store(subscriptions[i].Service); store != nil {
			noted, found, err := readBeginning(ctx, store, &subscriptions[i])
			if err != nil {
				return err
			}
			g.Inputs, known = union(g.Inputs, noted.Inputs), found
		}
		if err := b.join(ctx, g, known); err != nil {
			return err
		}
	}
	return nil
}

// union returns what either asks for: beside this program another version of it may run, whose subscription takes more.
func union(own, others []Input) []Input {
	all := slices.Clone(own)
	for _, o := range others {
		i := slices.IndexFunc(all, func(in Input) bool { return in.Topic == o.Topic })
		switch {
		case i < 0:
			all = append(all, o)
		case all[i].Types != nil && o.Types == nil:
			all[i].Types = nil
		case all[i].Types != nil:
			types := slices.Concat(all[i].Types, o.Types)
			slices.Sort(types)
			all[i].Types = slices.Compact(types)
		}
	}
	return all
}

// join makes a group exist. One that the database knows begins, where the broker has lost it, with the oldest message that
// is there, if the broker can: what it has handled before comes as a copy.
func (b *Bus) join(ctx context.Context, g Group, known bool) error {
	first := g.FromFirst
	g.FromFirst = first || known
	err := b.config.Client.Join(ctx, g)
	if errors.Is(err, ErrNoPast) && !first {
		g.FromFirst = false
		err = b.config.Client.Join(ctx, g)
	}
	if err != nil {
		b.forget()
		return fmt.Errorf("%s: group %s: %w", b.config.Client.System(), g.Name, err)
	}
	return nil
}

// subscriptions returns those that run here.
func (b *Bus) subscriptions() []*subscription {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Collect(maps.Keys(b.groups))
}

// Behind implements driver.Behinder.
func (b *Bus) Behind(ctx context.Context) (int64, error) {
	behind := int64(0)
	for _, s := range b.subscriptions() {
		n, err := s.behind(ctx)
		if err != nil {
			return 0, err
		}
		behind += n
	}
	return behind, nil
}

// Recheck implements driver.Rechecker.
func (b *Bus) Recheck(service string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for s := range b.groups {
		if s.Service == service {
			select {
			case s.recheck <- struct{}{}:
			default:
			}
		}
	}
}

// Yield implements driver.Yielder: what is given up is the slice's partition.
func (b *Bus) Yield(service, subscription string, slice int, wire string) {
	for _, s := range b.subscriptions() {
		if s.Service == service && s.Name == subscription {
			s.yield(slice%s.group.Partitions, wire)
		}
	}
}

// Backlogs implements driver.Backlogger.
func (b *Bus) Backlogs(ctx context.Context) ([]driver.Backlog, error) {
	subs := b.subscriptions()
	list := make([]driver.Backlog, 0, len(subs))
	for _, s := range subs {
		waiting, err := b.config.Client.Backlog(ctx, s.group)
		if err != nil {
			return nil, fmt.Errorf("%s: backlog of %s: %w", b.config.Client.System(), s.group.Name, err)
		}
		backlog := driver.Backlog{Service: s.Service, Subscription: s.Name}
		for _, n := range waiting {
			backlog.Unknown = backlog.Unknown || n < 0
			backlog.Messages += max(n, 0)
		}
		if backlog.Ahead, err = s.ahead(ctx); err != nil {
			return nil, fmt.Errorf("%s: backlog of %s: %w", b.config.Client.System(), s.group.Name, err)
		}
		list = append(list, backlog)
	}
	return list, nil
}

// System names the broker.
func (b *Bus) System() string { return b.config.Client.System() }

// group returns a subscription as the broker knows it; its topics exist then.
func (b *Bus) group(ctx context.Context, s *driver.Subscription) (Group, error) {
	g := Group{Name: b.config.Namespace + "." + s.Service + "." + s.Name, Whole: s.Key != nil, Partitions: 1}
	add := func(in Input) error {
		n, err := b.declare(ctx, in.Topic)
		if err != nil {
			return err
		}
		switch {
		case g.Whole:
		case len(g.Inputs) == 0:
			g.Partitions = n
		case g.Partitions != n:
			return fmt.Errorf("%s: topic %s has %d partitions, %s has %d: topics that one subscription reads need the same number",
				b.config.Client.System(), g.Inputs[0].Topic, g.Partitions, in.Topic, n)
		}
		g.Inputs = append(g.Inputs, in)
		return nil
	}
	addressed := ""
	for _, in := range s.Interests {
		if s.FromFirst && b.config.Log(in.Source) == nil {
			g.FromFirst = true // there is no log to read what was before
		}
		if len(in.Types) > 0 {
			if err := add(Input{Topic: b.eventsOf(in.Source), Types: in.Types}); err != nil {
				return g, err
			}
		}
		switch {
		case in.Addressed == "" || in.Addressed == addressed:
		case addressed != "":
			return g, fmt.Errorf("%s: subscription %q takes what is addressed to %s and to %s", b.config.Client.System(), s.Name, addressed, in.Addressed)
		default:
			addressed = in.Addressed
			if err := add(Input{Topic: b.commandsOf(addressed)}); err != nil {
				return g, err
			}
		}
	}
	return g, nil
}

var (
	_ driver.Transport = (*Bus)(nil)
	_ driver.Anchored  = (*Bus)(nil)
	_ driver.Preparer  = (*Bus)(nil)
	_ driver.Behinder  = (*Bus)(nil)

	_ driver.Backlogger = (*Bus)(nil)
	_ driver.Rechecker  = (*Bus)(nil)
	_ driver.Yielder    = (*Bus)(nil)
)
