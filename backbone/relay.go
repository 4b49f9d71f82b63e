package backbone

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"example.org/souk/backbone/driver"
)

// The relay carries a service's log to a broker, in the order of the log, and nothing else publishes. One process a log
// does it, by a lease whose epoch guards the cursor; a relay that lost it can only add copies. After each batch that the
// broker has confirmed, the cursor moves and an anchor is kept, which says where the broker has the last of it. While a
// batch is on its way, the next one is read and the cursor behind the one before is stored. Brokers
// forget: whenever the relay connects again it asks for what the anchors name, and where something is gone it publishes
// again from the last anchor before the gap, with the same ids, before anything new.

// RelayName is the name under which the cursor of a log's relay stands among the checkpoints of its service.
const RelayName = "relay"

const (
	relayNote  = "relay.anchors"
	relayBytes = 4 << 20
	relayPoll  = time.Second
	relayLook  = 10 * time.Second // how often the newest anchor is asked for where all is quiet
	// relayAnchors is how many anchors are kept, the older ones farther apart, and
	// relayNoted how often one is written down.
	relayAnchors = 16
	relayNoted   = time.Second
	// relayPiece is how many positions of the log are published at a time, and relayPieces how many where the broker takes pieces
	// within relayQuick: while it confirms the last of one nothing is sent.
	relayPiece  = 2048
	relayPieces = 4 * relayPiece
	relayQuick  = 250 * time.Millisecond
	// relayEnd is how long what is on its way to the broker may take to be confirmed when the relay is to end.
	relayEnd = 2 * time.Second
	// relayTries is after how many failures in a row somebody is told.
	relayTries = 5
)

var relayed = []driver.Kind{driver.KindEvent, driver.KindCommand, driver.KindReply}

// relayAnchor is an anchor with the record that it was made after.
type relayAnchor struct {
	Position int64           `json:"position"`
	Anchor   json.RawMessage `json:"anchor"`
}

type relay struct {
	h       *host
	offered atomic.Int64 // everything up to here is at the broker
	leased  atomic.Bool  // this process has the lease

	// Of the loop alone.
	lease    tenure
	cursor   int64 // stored
	head     int64 // of the log, when it was asked for
	at       int64 // behind the cursor where records are published again
	anchors  []relayAnchor
	fresh    driver.Anchor // of what was published since the last of anchors was written down
	noted    time.Time
	failures int
	piece    int64 // how many positions are published at a time
	verified bool
	looked   time.Time      // when the newest anchor was last known to hold
	ahead    chan relayRead // of what is read while something else is published; nil where nothing is
	storing  *storing       // nil where the cursor is stored
	held     withheld
}

// relayRead is what one question to the log found.
type relayRead struct {
	asked   driver.ReadQuery
	records []driver.Record
	err     error
}

// storing is the cursor on its way to the store.
type storing struct {
	back, to int64 // where the relay goes on when it fails, and the cursor when it does not
	held     bool  // what is held back is stored with it
	done     chan struct{}
	err      error // after done
}

func newRelay(h *host) *relay {
	return &relay{h: h, lease: tenure{h: h, name: RelayName}, piece: relayPiece}
}

// run relays until ctx ends.
func (y *relay) run(ctx context.Context) {
	changed, end := y.h.r.Changed(y.h.svc.Name)
	defer end()
	poll := time.NewTicker(relayPoll)
	defer poll.Stop()
	defer func() {
		y.leave()
		if y.ahead != nil {
			<-y.ahead
		}
		y.lease.release(ctx)
	}()
	for wait := 50 * time.Millisecond; ; {
		more, err := y.step(ctx)
		if err == nil && !more {
			err = y.await(ctx, changed, poll.C)
		}
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			y.verified = false
			if errors.Is(err, driver.ErrConflict) {
				y.lease.lost()
			}
			y.h.r.log.WarnContext(ctx, "the relay was interrupted, trying again", "service", y.h.svc.Name, "error", err)
			if y.failures++; y.failures == relayTries {
				y.h.r.alarm(Alarm{Service: y.h.svc.Name, Subject: "relay", Text: fmt.Sprintf("nothing above position %d is published: %v", y.at, err)})
			}
			if !rest(ctx, wait) {
				return
			}
			wait = min(2*wait, 5*time.Second)
			continue
		}
		wait, y.failures = 50*time.Millisecond, 0
	}
}

// await returns when there may be something to do.
func (y *relay) await(ctx context.Context, changed <-chan struct{}, poll <-chan time.Time) error {
	for {
		var stored <-chan struct{}
		if y.storing != nil {
			stored = y.storing.done
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
			return nil
		case <-poll:
			return nil
		case <-stored:
			if err := y.settle(); err != nil {
				return err
			}
		}
	}
}

// rest waits and reports whether ctx lives.
func rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// step takes the lease, verifies, or publishes one batch, and reports whether there may be more.
func (y *relay) step(ctx context.Context) (more bool, err error) {
	held, err := y.hold(ctx)
	y.leased.Store(held && err == nil)
	if err != nil || !held {
		return false, err
	}
	if !y.verified {
		if err := y.h.r.prepare(ctx); err != nil {
			return false, err
		}
		if err := y.verify(ctx); err != nil {
			return false, err
		}
		y.verified, y.looked = true, time.Now() //souk:clock a pause
	}
	if err := y.look(ctx); err != nil {
		return false, err
	}
	if !y.verified {
		return true, nil
	}
	if err := y.release(ctx); err != nil {
		return false, err
	}
	waited := y.ahead != nil && y.at < y.head // what is read ahead lies below a head that is known
	if !waited {
		if y.head, err = y.h.store.Head(ctx, y.h.svc.Name); err != nil {
			return false, err
		}
	}
	again, until := y.at < y.cursor, y.head
	if again {
		until = y.cursor
	}
	p := y.read(ctx, until)
	if p.err != nil {
		return false, p.err
	}
	rs := p.records
	if len(rs) == 0 {
		y.at = p.asked.Until
		if y.at < until || again || waited {
			return true, nil
		}
		y.offered.Store(y.head)
		if y.fresh != nil && time.Since(y.noted) >= relayNoted { //souk:clock a pause
			if err := y.settle(); err != nil {
				return false, err
			}
			return false, y.keep(y.cursor, nil)
		}
		return false, nil
	}
	last := rs[len(rs)-1].Position
	if until-last >= y.piece { // less than that waits for what joins it
		y.readAhead(ctx, last, until)
	}
	began := time.Now() //souk:clock how quick the broker is
	anchor, err := y.carry(ctx, rs)
	y.piece = sized(y.piece, int64(len(rs)), time.Since(began), err) //souk:clock how quick the broker is
	if err != nil {
		return false, err
	}
	driver.CrashPoint("relay.published")
	if err := y.keep(last, anchor); err != nil {
		return false, err
	}
	y.offered.Store(y.at)
	return true, nil
}

// sized returns how many positions the next piece has, after one of a size had so many records and took that long.
func sized(piece, records int64, took time.Duration, err error) int64 {
	switch {
	case err != nil || took > 4*relayQuick:
		return relayPiece
	case took < relayQuick && records > piece/2:
		return min(2*piece, relayPieces)
	}
	return piece
}

// publish publishes records. One that is under way when ctx ends has a while to be confirmed: what the broker has and this process does not know
// of, the next relay publishes again.
func (y *relay) publish(ctx context.Context, rs []driver.Record) (driver.Anchor, error) {
	bounded, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		if rest(bounded, relayEnd) {
			cancel()
		}
	})()
	return y.h.r.cfg.Transport.Publish(bounded, y.h.svc.Name, rs)
}

// leave writes down where the relay stands, with the anchor of what it published last: of what lies above the newest anchor that is written
// down the next relay does not know whether the broker has it, and publishes it again.
func (y *relay) leave() {
	if y.settle() != nil || y.fresh == nil || !y.lease.held() || y.at < y.cursor {
		return
	}
	y.noted = time.Time{}
	if y.keep(y.cursor, nil) == nil {
		_ = y.settle() // copies are told by their ids
	}
}

// read returns the piece of the log above where the relay is, which may have been read ahead.
func (y *relay) read(ctx context.Context, until int64) relayRead {
	if y.ahead != nil {
		p := <-y.ahead
		y.ahead = nil
		if p.err == nil && p.asked.After == y.at && p.asked.Until <= until {
			return p
		}
	}
	return y.readAt(ctx, y.at, until, y.piece)
}

func (y *relay) readAhead(ctx context.Context, after, until int64) {
	ahead, piece := make(chan relayRead, 1), y.piece
	y.ahead = ahead
	go func() { ahead <- y.readAt(ctx, after, until, piece) }()
}

func (y *relay) readAt(ctx context.Context, after, until, piece int64) relayRead {
	// The end lies near by: a database that has no statistics of a young log yet would sort all that is left of it.
	p := relayRead{asked: driver.ReadQuery{After: after, Until: min(until, after+piece), Kinds: relayed, Limit: int(piece), Bytes: relayBytes}}
	p.records, p.err = y.h.store.Read(ctx, y.h.svc.Name, p.asked)
	return p
}

// hold takes the log's lease, or prolongs it, and reports whether this process has it.
func (y *relay) hold(ctx context.Context) (bool, error) {
	held, anew, err := y.lease.hold(ctx)
	if err != nil || !anew {
		return held, err
	}
	if err := y.settle(); err != nil {
		y.lease.lost()
		return false, err
	}
	y.cursor, y.at, y.verified, y.anchors, y.fresh = y.lease.position, y.lease.position, false, nil, nil
	noted, err := y.h.store.Value(ctx, y.h.svc.Name, relayNote)
	if err == nil && noted != nil {
		err = json.Unmarshal(noted, &y.anchors)
	}
	if err != nil {
		y.lease.lost()
		return false, fmt.Errorf("anchors: %w", err)
	}
	y.held = withheld{}
	if y.held.list, err = HeldByRelay(ctx, y.h.store, y.h.svc.Name); err != nil {
		y.lease.lost()
		return false, err
	}
	// What lies above the newest anchor that was written down nothing vouches for: publishing again may have been cut off.
	if _, asked := y.h.r.cfg.Transport.(driver.Anchored); asked {
		y.at = 0
		if n := len(y.anchors); n > 0 {
			y.at = min(y.cursor, y.anchors[n-1].Position)
		}
	}
	return true, nil
}

// verify asks the broker for what the anchors name, and goes back to the last one before the first that is gone, at most by
// the window in which the inbox knows copies.
func (y *relay) verify(ctx context.Context) error {
	if err := y.note(); err != nil { // what is known and not written down is asked for too
		return err
	}
	asked, ok := y.h.r.cfg.Transport.(driver.Anchored)
	if !ok {
		return nil
	}
	for i, a := range y.anchors {
		holds, err := asked.Holds(ctx, driver.Anchor(a.Anchor))
		if err != nil {
			return fmt.Errorf("verify an anchor: %w", err)
		}
		if holds {
			continue
		}
		back := int64(0)
		if i > 0 {
			back = y.anchors[i-1].Position
		}
		oldest, err := y.windowStart(ctx)
		if err != nil {
			return err
		}
		text := fmt.Sprintf("the broker has lost what it confirmed up to position %d of %s; records above %d are published again", y.cursor, y.h.svc.Name, max(back, oldest))
		if back < oldest {
			text += "; older ones are outside of the window in which copies are known, and stand in the log"
		}
		y.h.r.alarm(Alarm{Service: y.h.svc.Name, Subject: "relay", Text: text})
		y.anchors, y.fresh = slices.Clone(y.anchors[:i]), nil
		y.at = min(y.at, max(back, oldest)) // what is being published again may lie lower
		y.offered.Store(y.at)
		return nil
	}
	return nil
}

// look asks for the newest anchor now and then, since a broker may lose something while nothing is published.
func (y *relay) look(ctx context.Context) error {
	asked, ok := y.h.r.cfg.Transport.(driver.Anchored)
	if !ok || len(y.anchors) == 0 || time.Since(y.looked) < relayLook {
		return nil
	}
	holds, err := asked.Holds(ctx, driver.Anchor(y.anchors[len(y.anchors)-1].Anchor))
	if err != nil {
		return fmt.Errorf("verify the newest anchor: %w", err)
	}
	y.looked = time.Now() //souk:clock a pause
	if !holds {
		y.verified = false
	}
	return nil
}

// windowStart returns the position below the oldest record of which subscriptions still know copies.
func (y *relay) windowStart(ctx context.Context) (int64, error) {
	window := y.h.r.cfg.Retention
	switch {
	case window < 0:
		return 0, nil
	case window == 0:
		window = defaultRetention
	}
	// Not all of it: what is published now is received a while later.
	since := y.h.r.now().Add(-window * 3 / 4).UnixMicro()
	// Records stand nearly in the order of their times, so that the first young one is found by halving.
	low, high := int64(0), y.cursor
	for low < high {
		middle := (low + high) / 2
		rs, err := y.h.store.Read(ctx, y.h.svc.Name, driver.ReadQuery{After: middle, Limit: 1})
		if err != nil {
			return 0, err
		}
		if len(rs) > 0 && rs[0].Time < since {
			low = max(middle+1, rs[0].Position)
		} else {
			high = middle
		}
	}
	return min(low, y.cursor), nil
}

// note takes what was published since the last anchor among the anchors.
func (y *relay) note() error {
	if y.fresh == nil {
		return nil
	}
	if len(y.anchors) >= relayAnchors {
		y.anchors = thin(y.anchors)
	}
	y.anchors = append(slices.Clip(y.anchors), relayAnchor{y.at, json.RawMessage(y.fresh)})
	y.fresh = nil
	return nil
}

// keep has the cursor moved to what the broker has confirmed, and now and then the anchors written down with it. It waits
// for the one before, not for this.
func (y *relay) keep(position int64, anchor driver.Anchor) error {
	if _, ok := y.h.r.cfg.Transport.(driver.Anchored); ok && anchor != nil {
		newest, err := y.newest(y.fresh, anchor)
		if err != nil {
			return err
		}
		y.fresh = newest
	}
	if err := y.settle(); err != nil {
		return err
	}
	s := &storing{back: y.at, to: max(y.cursor, position), done: make(chan struct{})}
	y.at = position
	notes, err := y.notes()
	if err != nil {
		return err
	}
	s.held, y.held.fresh = y.held.fresh, false
	y.storing = s
	from := y.lease.position
	u := &unit{host: y.h, run: func(b *batch, u *unit) error {
		y.lease.move(b, u, from, s.to)
		sh := b.of(y.h)
		sh.writes.Values = append(sh.writes.Values, notes...)
		return nil
	}}
	go func() {
		s.err = y.h.internal(u)
		close(s.done)
	}()
	return nil
}

// notes returns what is written down with the cursor: the anchors now and then, and always with what is held back where that has changed.
func (y *relay) notes() ([]driver.Value, error) {
	now := time.Now() //souk:clock a pause
	if !y.held.fresh && (y.fresh == nil || now.Sub(y.noted) < relayNoted) {
		return nil, nil
	}
	if err := y.note(); err != nil {
		return nil, err
	}
	anchors, err := json.Marshal(y.anchors)
	if err != nil {
		return nil, err
	}
	y.noted = now
	notes := []driver.Value{{Name: relayNote, Data: anchors}}
	if y.held.fresh {
		held, err := json.Marshal(y.held.list)
		if err != nil {
			return nil, err
		}
		notes = append(notes, driver.Value{Name: relayHeldNote, Data: held})
	}
	return notes, nil
}

// settle waits until the cursor that keep has on its way is stored.
func (y *relay) settle() error {
	s := y.storing
	if s == nil {
		return nil
	}
	<-s.done
	y.storing = nil
	if s.err != nil {
		y.at = min(y.at, s.back)
		y.held.fresh = y.held.fresh || s.held
		return s.err
	}
	y.cursor, y.lease.position = s.to, s.to
	driver.CrashPoint("relay.kept")
	return nil
}

// thin drops every second anchor of the older half.
func thin(anchors []relayAnchor) []relayAnchor {
	half := len(anchors) / 2
	kept := make([]relayAnchor, 0, len(anchors))
	for i, a := range anchors {
		if i >= half || i%2 == 0 {
			kept = append(kept, a)
		}
	}
	return kept
}

// behind returns how many positions of the log are not at the broker yet. In a process that has not the lease it says
// whether there is anything above the stored cursor.
func (y *relay) behind(ctx context.Context) (int64, error) {
	store, name := y.h.store, y.h.svc.Name
	if y.leased.Load() {
		head, err := store.Head(ctx, name)
		return max(head-y.offered.Load(), 0), err
	}
	cps, err := store.Checkpoints(ctx, name, RelayName)
	if err != nil {
		return 0, err
	}
	cursor := int64(0)
	for _, c := range cps {
		cursor = c.Position
	}
	rs, err := store.Read(ctx, name, driver.ReadQuery{After: cursor, Kinds: relayed, Limit: 1})
	return int64(len(rs)), err
}

// prepare makes the subscriptions of all parts exist at the broker, whether they run here or not.
func (r *Runtime) prepare(ctx context.Context) error {
	p, ok := r.cfg.Transport.(driver.Preparer)
	if !ok {
		return nil
	}
	return p.Prepare(ctx, r.Subscriptions())
}
