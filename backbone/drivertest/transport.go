package drivertest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"example.org/souk/backbone/driver"
)

// TransportWorld is one installation of a transport, empty, with the servers and
// databases that belong to it.
type TransportWorld struct {
	// Name is the transport's, for its card; Version is the server's that it runs on.
	Name, Version string
	// Open opens the transport as a process does. The suite closes it.
	Open func(t *testing.T) TransportInstance
	// Many says that several instances may be open and share subscriptions.
	Many bool
	// Steady is as Open, with leases that no machine is too slow to renew: what is opened so is not cut off. Nil: Open.
	Steady func(t *testing.T) TransportInstance
	// Copies says that the server keeps messages of which it says that it does not, on purpose: they are published again, and
	// come twice.
	Copies bool
	// Server is the broker's, nil where there is none that a test may harm.
	Server *TransportServer
	// Foreign says that there is a server, and that it is somebody else's.
	Foreign bool
}

// TransportServer does to a broker what happens to it.
type TransportServer struct {
	Kill    func() // with kill -9, and returns when it is gone
	Restart func() // starts it again on what it had kept, and returns when it answers
	Pause   func() // lets it stand where it stands
	Resume  func()
	// Forget has the broker lose everything that it kept, and start again empty.
	Forget func()
	// Hurry has the server wait no longer than that for an acknowledgement, of who begins to receive from then on, until calm is called. Nil where
	// it waits for none, or for ever.
	Hurry func(wait time.Duration) (calm func())
}

// TransportInstance is an open transport with what its process has besides.
type TransportInstance struct {
	Transport driver.Transport
	// Store is the database that logs, checkpoints and effects are in. The suite
	// migrates it. Only a transport that is its own broker has none.
	Store driver.Store
	// Crash cuts the instance off without a farewell; Isolate takes only its
	// leases from it. Nil where that has no meaning, and then nothing is tested.
	Crash, Isolate func()
}

// transportPatience bounds every wait of the suite; only failures take that long.
const transportPatience = 30 * time.Second

const (
	consumer  = "points" // the service that subscribes
	auditedBy = "audit"  // the target of the records that stand for effects
)

var transportSchemas = []driver.Schema{{Service: "orders"}, {Service: "stock"}, {Service: consumer}}

// RunTransport checks a Transport against its contract. world is called once per
// test. What the transport declares as powers is tested, and what it does not
// declare must be refused. Over a server that it may harm, the longest tests run only
// where the environment variable SOUK_PROVE is set.
func RunTransport(t *testing.T, world func(t *testing.T) TransportWorld) {
	first := newField(t, world(t))
	powers := first.open().Transport.Powers()
	crashes := first.instances[0].Crash != nil
	_, anchored := first.instances[0].Transport.(driver.Anchored)
	first.close()
	full := os.Getenv("SOUK_PROVE") != ""
	results := &Results{Transport: first.Name, Server: first.Version, Powers: powers}
	defer keepResults(t, results)
	harmed := map[string]bool{"PublishWhileAway": true, "ServerKilled": true, "ServerPaused": true, "ServerForgets": anchored}
	for _, test := range []struct {
		name string
		when bool
		run  func(*field)
	}{
		{"OrderPerKey", true, testOrderPerKey},
		{"KeyOfSubscription", true, testKeyOfSubscription},
		{"FromNow", true, testFromNow},
		{"FromFirst", powers.FromFirst, testFromFirst},
		{"FromFirstRefused", !powers.FromFirst, testFromFirstRefused},
		{"Continues", true, testContinues},
		{"Filters", true, testFilters},
		{"PassedOver", true, testPassedOver},
		{"Versions", true, testVersions},
		{"Addressed", true, testAddressed},
		{"TwoSources", true, testTwoSources},
		{"SharedWork", powers.Shared && first.Many, testSharedWork},
		{"MovingSlices", powers.Shared && first.Many, testMovingSlices},
		{"Crash", powers.LogPositions && crashes, testCrash},
		{"StaleOwner", powers.Shared && first.Many && crashes, testStaleOwner},
		{"StaleMove", powers.LogPositions, testStaleMove},
		{"Redelivery", !powers.LogPositions, testRedelivery},
		{"Copies", !powers.LogPositions, testCopies},
		{"Reordered", !powers.LogPositions, testReordered},
		{"CopyInFlight", !powers.LogPositions, testCopyInFlight},
		// Over the log itself the server is the database, which takes longer to begin again.
		{"PublishWhileAway", first.Server != nil && (full || !powers.LogPositions), testPublishWhileAway},
		{"ServerKilled", first.Server != nil, testServerKilled},
		{"ServerPaused", first.Server != nil && full, testServerPaused},
		{"ServerForgets", first.Server != nil && anchored && full, testServerForgets},
		{"Broadcast", powers.Broadcast, testBroadcast},
		{"BroadcastRefused", !powers.Broadcast, testBroadcastRefused},
		{"Backpressure", true, testBackpressure},
		{"StopInBatch", true, testStopInBatch},
		{"StopUnderLoad", powers.Shared && first.Many, testStopUnderLoad},
		{"KeysAtOnce", true, testKeysAtOnce},
		{"KeysAtOnceByTwo", powers.Shared && first.Many, testKeysAtOnceByTwo},
		{"SlowHandler", full, testSlowHandler},
		{"Burst", first.Server == nil && !first.Foreign || powers.LogPositions || full, testBurst},
		{"Malformed", true, testMalformed},
		{"PublishRefused", powers.LogPositions, testPublishRefused},
	} {
		if !test.when {
			result := "does not apply"
			if first.Foreign && harmed[test.name] {
				result += ": the server is not ours"
			}
			results.Tests = append(results.Tests, Result{test.name, result})
			continue
		}
		result := "failed"
		if t.Run(test.name, func(t *testing.T) { test.run(newField(t, world(t))) }) {
			result = "passed"
		}
		results.Tests = append(results.Tests, Result{test.name, result})
	}
}

// field is the ground of one test: the world, its instances, and the effects of
// all workers.
type field struct {
	TransportWorld
	t *testing.T

	publishing sync.Mutex // a log's records are handed on in log order
	versions   map[string]int64
	instances  []*instance

	mu      sync.Mutex
	changed *sync.Cond
	expired bool
	done    []string // ids, in the order in which their effects took place
	inbox   map[string]bool
	effects int
	anchors []driver.Anchor // of what was published, in order
}

type instance struct {
	TransportInstance
	f *field
}

func newField(t *testing.T, w TransportWorld) *field {
	f := &field{TransportWorld: w, t: t, versions: map[string]int64{}, inbox: map[string]bool{}}
	f.changed = sync.NewCond(&f.mu)
	t.Cleanup(f.close)
	return f
}

func (f *field) close() {
	for _, in := range f.instances {
		if err := in.Transport.Close(); err != nil {
			f.t.Errorf("close: %v", err)
		}
	}
	f.instances = nil
}

func (f *field) open() *instance {
	f.t.Helper()
	return f.opened(f.Open)
}

// steady opens an instance that keeps its leases.
func (f *field) steady() *instance {
	f.t.Helper()
	if f.Steady == nil {
		return f.open()
	}
	return f.opened(f.Steady)
}

func (f *field) opened(open func(t *testing.T) TransportInstance) *instance {
	f.t.Helper()
	in := &instance{open(f.t), f}
	if in.Store != nil {
		must(f.t, in.Store.Migrate(f.t.Context(), transportSchemas))
	}
	f.instances = append(f.instances, in)
	return in
}

// publish has a service's records carried, by commit or by the broker.
func (in *instance) publish(source string, rs ...driver.Record) {
	in.f.t.Helper()
	ctx, cancel := context.WithTimeout(in.f.t.Context(), transportPatience)
	defer cancel()
	must(in.f.t, in.tryPublish(ctx, source, rs))
}

func (in *instance) tryPublish(ctx context.Context, source string, rs []driver.Record) error {
	f := in.f
	f.publishing.Lock()
	defer f.publishing.Unlock()
	if in.Store == nil {
		_, err := in.Transport.Publish(ctx, source, rs)
		return err
	}
	wants := f.number(source, rs)
	err := in.append(ctx, source, rs, wants)
	for errors.Is(err, driver.ErrUnavailable) && f.Server != nil && in.Transport.Powers().LogPositions && ctx.Err() == nil {
		pause(ctx)
		err = in.append(ctx, source, rs, wants)
	}
	if err != nil || in.Transport.Powers().LogPositions {
		return err
	}
	return in.relay(ctx, source, rs)
}

// number gives events their versions and returns their streams.
func (f *field) number(source string, rs []driver.Record) (wants []driver.StreamWant) {
	for i := range rs {
		if rs[i].Kind == driver.KindEvent {
			stream := source + "/" + rs[i].Stream
			f.versions[stream]++
			rs[i].Version, rs[i].Sequence = f.versions[stream], f.versions[stream]
		}
		if want := (driver.StreamWant{Stream: rs[i].Stream, After: 1 << 40}); !slices.Contains(wants, want) {
			wants = append(wants, want)
		}
	}
	return wants
}

// append commits records to a log.
func (in *instance) append(ctx context.Context, source string, rs []driver.Record, wants []driver.StreamWant) error {
	tx, err := in.Store.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.LoadStreams(ctx, source, wants); err != nil {
		return err
	}
	w := &driver.Writes{Records: rs}
	if err := tx.Apply(ctx, source, w); err != nil {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return err
	}
	if c, ok := in.Transport.(driver.Committed); ok {
		c.Committed(source, w.Records)
	}
	return nil
}

// pause waits before something is tried again.
func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(50 * time.Millisecond):
	}
}

// relay publishes records until the broker has confirmed them, as a relay does.
func (in *instance) relay(ctx context.Context, source string, rs []driver.Record) error {
	for {
		anchor, err := in.Transport.Publish(ctx, source, rs)
		if err == nil {
			in.f.mu.Lock()
			in.f.anchors = append(in.f.anchors, anchor)
			in.f.mu.Unlock()
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
		pause(ctx)
	}
}

// events returns n events of each stream, in turns: stream-1 of all, stream-2 ...
func events(from, n int, streams ...string) []driver.Record {
	var rs []driver.Record
	for i := from; i < from+n; i++ {
		for _, s := range streams {
			rs = append(rs, driver.Record{
				Kind: driver.KindEvent, ID: s + "-" + strconv.Itoa(i), Stream: s, Type: "thing",
				Data: []byte("{}"), Meta: []byte("{}"), Time: int64(i),
			})
		}
	}
	return rs
}

func streams(n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprint("s", i))
	}
	return out
}

func things(source string) driver.Subscription {
	return driver.Subscription{
		Service: consumer, Name: "main", Slices: 16,
		Interests: []driver.Interest{{Source: source, Types: []string{"thing"}}},
	}
}

// apply makes the effects of messages: once, with their record in the same
// transaction.
func (in *instance) apply(ds []driver.Delivery) error {
	if in.Transport.Powers().LogPositions {
		last := ds[len(ds)-1]
		move := driver.Move{
			Subscription: "main", Source: last.Source, Slice: last.Slice, Epoch: last.Epoch, From: ds[0].Prev, To: last.Position,
		}
		if err := in.commit(ds, []driver.Move{move}); err != nil {
			return err
		}
		in.f.note(ds)
		return nil
	}
	if in.Store != nil {
		return in.applyOnce(ds)
	}
	f := in.f
	var fresh []driver.Delivery
	f.mu.Lock()
	for _, d := range ds {
		if !f.inbox[d.ID] {
			f.inbox[d.ID] = true
			fresh = append(fresh, d)
		}
	}
	f.mu.Unlock()
	f.note(fresh)
	return nil
}

// applyOnce makes the effects of those messages that the inbox does not know.
func (in *instance) applyOnce(ds []driver.Delivery) error {
	ctx, cancel := context.WithTimeout(context.Background(), transportPatience)
	defer cancel()
	tx, err := in.Store.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	rows := make([]driver.InboxRow, len(ds))
	for i, d := range ds {
		rows[i] = driver.InboxRow{Subscription: "main", Source: d.Source, ID: d.ID, Hash: "h", Time: 1}
	}
	known, err := tx.Inbox(ctx, consumer, rows)
	if err != nil {
		return err
	}
	w := &driver.Writes{}
	var fresh []driver.Delivery
	f := in.f
	f.mu.Lock()
	for i, d := range ds {
		if d.Guard != nil && !slices.Contains(w.Guards, *d.Guard) {
			w.Guards = append(w.Guards, *d.Guard)
		}
		if known[i] != "" || slices.ContainsFunc(ds[:i], func(o driver.Delivery) bool { return o.ID == d.ID }) {
			continue
		}
		f.effects++
		fresh = append(fresh, d)
		w.Inbox = append(w.Inbox, rows[i])
		w.Records = append(w.Records, driver.Record{
			Kind: driver.KindCommand, ID: "effect-" + strconv.Itoa(f.effects), Ref: d.ID, Stream: d.Stream,
			Type: "effect", Target: auditedBy, Data: []byte("{}"), Meta: []byte("{}"),
		})
	}
	f.mu.Unlock()
	if err := tx.Apply(ctx, consumer, w); err != nil {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return err
	}
	f.note(fresh)
	return nil
}

// commit writes a record for each message, with the moves.
func (in *instance) commit(ds []driver.Delivery, moves []driver.Move) error {
	ctx, cancel := context.WithTimeout(context.Background(), transportPatience)
	defer cancel()
	w := &driver.Writes{Moves: moves}
	f := in.f
	f.mu.Lock()
	for _, d := range ds {
		f.effects++
		w.Records = append(w.Records, driver.Record{
			Kind: driver.KindCommand, ID: "effect-" + strconv.Itoa(f.effects), Ref: d.ID, Stream: d.Stream,
			Type: "effect", Target: auditedBy, Data: []byte("{}"), Meta: []byte("{}"),
		})
	}
	f.mu.Unlock()
	tx, err := in.Store.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if err := tx.Apply(ctx, consumer, w); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

func (f *field) note(ds []driver.Delivery) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, d := range ds {
		f.done = append(f.done, d.ID)
	}
	f.changed.Broadcast()
}

// signal lets await look again after something of the test's own changed.
func (f *field) signal() {
	f.mu.Lock()
	f.changed.Broadcast()
	f.mu.Unlock()
}

// await waits until ok, which is called under the field's lock.
func (f *field) await(what string, ok func() bool) {
	f.t.Helper()
	timer := time.AfterFunc(transportPatience, func() {
		f.mu.Lock()
		f.expired = true
		f.changed.Broadcast()
		f.mu.Unlock()
	})
	defer timer.Stop()
	f.mu.Lock()
	defer f.mu.Unlock()
	for !ok() {
		if f.expired {
			f.t.Fatalf("waited in vain: %s (%d effects so far)", what, len(f.done))
		}
		f.changed.Wait()
	}
}

func (f *field) awaitEffects(n int) {
	f.t.Helper()
	f.await(fmt.Sprintf("%d effects", n), func() bool { return len(f.done) >= n })
}

// audit returns the ids whose effects took place, in order: from the log where
// effects are durable.
func (f *field) audit() []string {
	f.t.Helper()
	f.mu.Lock()
	done := slices.Clone(f.done)
	f.mu.Unlock()
	for _, in := range f.instances {
		if in.Store == nil {
			return done
		}
		var refs []string
		after := int64(0)
		for {
			rs, err := in.Store.Read(f.t.Context(), consumer, driver.ReadQuery{After: after, Target: auditedBy})
			if err != nil {
				break // this instance is cut off, another will know
			}
			if len(rs) == 0 {
				return refs
			}
			for _, r := range rs {
				refs = append(refs, r.Ref)
				after = r.Position
			}
		}
	}
	return done
}

// inOrder checks that the effects are those of each stream from..from+n-1, each
// once and in the stream's order.
func (f *field) inOrder(ids []string, from, n int, streams ...string) {
	f.t.Helper()
	next := map[string]int{}
	for _, id := range ids {
		i := strings.LastIndexByte(id, '-')
		stream := id[:i]
		number, _ := strconv.Atoi(id[i+1:])
		want, ok := next[stream]
		if !ok {
			want = from
		}
		if number != want {
			f.t.Fatalf("stream %s: %d came where %d is next (lost, doubled or out of order)", stream, number, want)
		}
		next[stream] = want + 1
	}
	for _, s := range streams {
		if got := next[s] - from; got != n && (n > 0 || next[s] != 0) {
			f.t.Fatalf("stream %s: effects of %d messages, want %d", s, got, n)
		}
	}
	if len(ids) != n*len(streams) {
		f.t.Fatalf("%d effects, want %d", len(ids), n*len(streams))
	}
}

// subscribe runs a subscription and returns what ends it and waits for its end.
func (in *instance) subscribe(s driver.Subscription, sink driver.Sink) (stop func()) {
	t := in.f.t
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- in.Transport.Subscribe(ctx, s, sink, ready) }()
	select {
	case <-ready:
	case err := <-ended:
		cancel()
		t.Fatalf("subscribe: %v", err)
	case <-time.After(transportPatience):
		cancel()
		t.Fatal("the subscription does not become ready")
	}
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil && ctx.Err() == nil {
				t.Errorf("subscription ended: %v", err)
			}
		case <-time.After(transportPatience):
			t.Error("the subscription does not end with its context")
			return
		}
		if w, ok := sink.(*worker); ok {
			w.mu.Lock()
			defer w.mu.Unlock()
			if len(w.lanes) > 0 {
				w.wrong = append(w.wrong, "slices are not revoked at the end")
			}
			for _, wrong := range w.wrong {
				t.Error(wrong)
			}
		}
	})
	t.Cleanup(stop)
	return stop
}
