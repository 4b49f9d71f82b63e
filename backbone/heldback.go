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

// A broker may refuse a record because of its size: its limit is lower than MaxData, or was lowered since. The relay holds the
// record's stream back then. From that record on nothing of the stream is published, so that its order stands; everything else
// goes on, and the cursor with it. What is held back stands in the database beside the cursor, so that the next relay knows it
// too. The record is tried again and again; once the broker takes it, the rest of the stream follows from the log, and then
// the stream is as any other.

// relayHeldNote is the name of the value that says what the relay of a service holds back.
const relayHeldNote = "relay.held"

const (
	// relayHeld is how many streams are held back at most. With more of them the relay stands where it is, and says so.
	relayHeld = 256
	// What is held back is tried again after a second, and each time after twice that, at most as long as heldPause.
	heldFirst = time.Second
	heldPause = 30 * time.Second
)

// HeldBack is a stream of a service's log of which nothing is published from a record on that the broker does not take.
type HeldBack struct {
	Stream   string    `json:"stream"`
	Position int64     `json:"position"` // of that record, as ID and Type are
	ID       string    `json:"id"`
	Type     string    `json:"type"`
	Since    time.Time `json:"since"`
	Cause    string    `json:"cause"` // what the broker says
}

// Values are the small facts of a service beside its tables. Every driver.Store has them.
type Values interface {
	Value(ctx context.Context, service, name string) ([]byte, error)
}

// HeldByRelay returns what the relay of a service holds back, whichever process runs it, the longest held first.
func HeldByRelay(ctx context.Context, store Values, service string) ([]HeldBack, error) {
	noted, err := store.Value(ctx, service, relayHeldNote)
	if err != nil || noted == nil {
		return nil, err
	}
	var held []HeldBack
	if err := json.Unmarshal(noted, &held); err != nil {
		return nil, fmt.Errorf("what the relay of %s holds back: %w", service, err)
	}
	slices.SortStableFunc(held, func(a, b HeldBack) int { return a.Since.Compare(b.Since) })
	return held, nil
}

// withheld are the streams that a relay holds back. They belong to its loop.
type withheld struct {
	list  []HeldBack
	fresh bool      // list is not stored as it is
	tried HeldBack  // at this time
	next  time.Time // when all are tried
	pause time.Duration
}

// covers reports whether a record waits for one before it, or is itself the one that the broker does not take.
func (l *withheld) covers(r *driver.Record) bool {
	return slices.ContainsFunc(l.list, func(b HeldBack) bool { return b.Stream == r.Stream && r.Position >= b.Position })
}

// without returns the records that do not wait.
func (l *withheld) without(rs []driver.Record) []driver.Record {
	for i := range rs {
		if !l.covers(&rs[i]) {
			continue
		}
		flowing := slices.Clone(rs[:i])
		for j := i + 1; j < len(rs); j++ {
			if !l.covers(&rs[j]) {
				flowing = append(flowing, rs[j])
			}
		}
		return flowing
	}
	return rs
}

// put holds a stream back as b says, whatever was so before.
func (l *withheld) put(b HeldBack) {
	l.drop(b.Stream)
	l.list = append(l.list, b)
	l.fresh = true
}

// drop holds a stream back no longer.
func (l *withheld) drop(stream string) {
	l.list = slices.DeleteFunc(l.list, func(b HeldBack) bool { return b.Stream == stream })
	l.fresh = true
}

// of returns from which record on a stream is held back, "" if it is not.
func (l *withheld) of(stream string) (id string) {
	for _, b := range l.list {
		if b.Stream == stream {
			return b.ID
		}
	}
	return ""
}

// due reports whether what is held back is to be tried now, and puts the next time off.
func (l *withheld) due() bool {
	now := time.Now() //souk:clock a pause
	if len(l.list) == 0 || now.Before(l.next) {
		return false
	}
	l.pause = min(max(2*l.pause, heldFirst), heldPause)
	l.next = now.Add(l.pause)
	return true
}

// soon has what is held back tried soon.
func (l *withheld) soon() {
	l.pause = heldFirst
	l.next = time.Now().Add(l.pause) //souk:clock a pause
}

// carry publishes records, and holds the streams of those back that the broker does not take. A refusal does not say for sure which
// record it is for, so that what is refused is published again in halves: a record is blamed that is refused alone. What was published
// with it comes twice, in its order.
func (y *relay) carry(ctx context.Context, rs []driver.Record) (driver.Anchor, error) {
	rs = y.held.without(rs)
	if len(rs) == 0 {
		return nil, nil
	}
	anchor, err := y.publish(ctx, rs)
	if !errors.Is(err, driver.ErrTooLarge) {
		return anchor, err
	}
	if len(rs) == 1 {
		return nil, y.holdBack(&rs[0], err)
	}
	first, err := y.carry(ctx, rs[:len(rs)/2])
	if err != nil {
		return nil, err
	}
	second, err := y.carry(ctx, rs[len(rs)/2:])
	if err != nil {
		return nil, err
	}
	return y.newest(first, second)
}

// newest returns an anchor that names what both name; either may be nil.
func (y *relay) newest(older, newer driver.Anchor) (driver.Anchor, error) {
	asked, ok := y.h.r.cfg.Transport.(driver.Anchored)
	switch {
	case !ok || newer == nil:
		return older, nil
	case older == nil:
		return newer, nil
	}
	return asked.Newest(older, newer)
}

// holdBack holds the stream of a record back that the broker does not take.
func (y *relay) holdBack(r *driver.Record, cause error) error {
	b := HeldBack{Stream: r.Stream, Position: r.Position, ID: r.ID, Type: r.Type, Since: y.h.r.now(), Cause: cause.Error()}
	if y.held.tried.ID == r.ID { // nobody needs to be told again
		b.Since = y.held.tried.Since
		y.held.put(b)
		return nil
	}
	if len(y.held.list) >= relayHeld {
		return fmt.Errorf("%d streams are held back already: %w", relayHeld, cause)
	}
	y.held.put(b)
	y.held.soon()
	y.h.r.alarm(Alarm{Service: y.h.svc.Name, Subject: "relay", Text: fmt.Sprintf(
		"the broker does not take %s %s because of its size (position %d of %s): it and what follows in stream %s are held back until it does, and everything else goes on: %v",
		b.Type, b.ID, b.Position, y.h.svc.Name, b.Stream, cause)})
	return nil
}

// release tries what is held back.
func (y *relay) release(ctx context.Context) error {
	if y.at < y.cursor || !y.held.due() { // what is published again comes first
		return nil
	}
	for _, b := range slices.Clone(y.held.list) {
		if b.Position > y.at {
			continue // the relay is about to come to it
		}
		if err := y.follow(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

// follow publishes a stream from the record on at which it is held back, up to where the relay is, or to the first record that the
// broker does not take.
func (y *relay) follow(ctx context.Context, b HeldBack) error {
	y.held.tried = b
	defer func() { y.held.tried = HeldBack{} }()
	y.held.drop(b.Stream)
	anchor, err := y.carryStream(ctx, b)
	if err != nil {
		y.held.put(b)
		return err
	}
	now := y.held.of(b.Stream)
	if now == b.ID {
		return nil
	}
	if anchor != nil { // one that was made before says nothing of this: who goes back to it goes back to what was held
		for i := range y.anchors {
			y.anchors[i].Position = min(y.anchors[i].Position, b.Position-1)
		}
	}
	if now == "" {
		y.h.r.log.InfoContext(ctx, "the broker takes what was held back", "service", y.h.svc.Name, "stream", b.Stream, "record", b.ID)
	}
	return y.keep(y.at, anchor)
}

// carryStream publishes what waits of a stream, piece by piece, its first record alone.
func (y *relay) carryStream(ctx context.Context, b HeldBack) (anchor driver.Anchor, err error) {
	for after, limit := b.Position-1, 1; after < y.at && y.held.of(b.Stream) == ""; limit = relayPiece {
		rs, err := y.h.store.Read(ctx, y.h.svc.Name, driver.ReadQuery{
			After: after, Until: y.at, Kinds: relayed, Stream: b.Stream, Limit: limit, Bytes: relayBytes,
		})
		if err != nil || len(rs) == 0 {
			return anchor, err
		}
		after = rs[len(rs)-1].Position
		last, err := y.carry(ctx, rs)
		if err != nil {
			return nil, err
		}
		if anchor, err = y.newest(anchor, last); err != nil {
			return nil, err
		}
	}
	return anchor, nil
}
