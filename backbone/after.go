package backbone

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"example.org/souk/backbone/driver"
)

// After has this subscriber handle a message once a view of its service, named by its name, has taken in all that was
// committed before it in the logs that the view shows. Logs have no order between them: without it a message may come to a
// service before the news of what was committed ahead of it elsewhere, and its handler looks up what was so, not what is.
// It is for subscribers made by On and for views from the first event that are not inline; what the handler looks up with
// Tx.QueryCommitted is there then.
//
// The message waits in its slice and nothing overtakes it there; an alarm tells of one that waits for long. What the view
// has parked counts as taken in. A log that cannot be read from this process is not waited for. Over a broker the service's
// inbox tells what was taken in, so that of older events than it remembers (Config.Retention) the view is believed to have
// them.
//
// Stream processors call it a join of a stream with a table by time, and wait likewise for the table's side (Kafka Streams,
// KIP-353 and KIP-695).
func (s Subscriber) After(view string) Subscriber {
	s.after = view
	return s
}

// awaited is what the first message of a slice waits for.
type awaited struct {
	view  string
	heads map[string]int64 // of the logs that the view shows, by source, when they were first asked for
	looks int              // that did not find them taken in
}

// awaitedAlarm is at which look on end an alarm tells of a message that waits for a view: after some five seconds.
const awaitedAlarm = 8

// await is an error as long as the view has not taken in what was committed in its logs when this was first asked for
// the slice's first message. All messages of a group were committed when it was taken, so a look that was begun for it serves
// them; one that was begun before serves the message alone that it was begun for.
func (s *subscription) await(ctx context.Context, g *group, view string) error {
	if g.awaited == view {
		return nil
	}
	sl := g.sl
	begun := sl.awaits != nil && sl.awaits.view == view
	if !begun {
		sl.awaits = &awaited{view: view}
	}
	err := s.host.keeperOf(view).lacks(ctx, sl.awaits)
	if err == nil {
		if sl.awaits = nil; !begun {
			g.awaited = view
		}
		return nil
	}
	if sl.awaits.looks++; sl.awaits.looks == awaitedAlarm {
		s.alarm("slice", fmt.Sprintf("slice %d waits for view %s: %v", sl.number, view, err))
	}
	return infrastructure(err)
}

// keeperOf returns the subscription that keeps an async view.
func (h *host) keeperOf(view string) *subscription {
	i := slices.IndexFunc(h.subs, func(s *subscription) bool { return s.view != nil && s.view.Name == view })
	return h.subs[i]
}

// reach is how far a view is known to have come.
type reach struct {
	mu sync.Mutex
	to map[string]int64 // of each log, all that it shows up to here
}

// heads returns where the logs that the view shows end, as far as they can be read.
func (s *subscription) heads(ctx context.Context) (map[string]int64, error) {
	heads := map[string]int64{}
	for i := range s.spec.Interests {
		source := s.spec.Interests[i].Source
		log := s.host.r.cfg.Log(source)
		if log == nil {
			continue
		}
		head, err := log.Head(ctx, source)
		if err != nil {
			return nil, fmt.Errorf("the head of %s: %w", source, err)
		}
		heads[source] = head
	}
	return heads, nil
}

// lacks is an error that says what the view has not taken in of what is awaited.
func (s *subscription) lacks(ctx context.Context, w *awaited) (err error) {
	if w.heads == nil {
		if w.heads, err = s.heads(ctx); err != nil {
			return err
		}
	}
	s.reach.mu.Lock()
	defer s.reach.mu.Unlock()
	for i := range s.spec.Interests {
		in := &s.spec.Interests[i]
		for s.reach.to[in.Source] < w.heads[in.Source] {
			on, err := s.step(ctx, in, w.heads[in.Source])
			switch {
			case err != nil:
				return fmt.Errorf("what it has of %s: %w", in.Source, err)
			case !on:
				return fmt.Errorf("it has not taken in all of %s up to position %d", in.Source, w.heads[in.Source])
			}
		}
	}
	return nil
}

// step reads a piece of a log and goes as far as the view has taken it in. It reports whether that is all of the piece.
func (s *subscription) step(ctx context.Context, in *driver.Interest, upTo int64) (bool, error) {
	log, after := s.host.r.cfg.Log(in.Source), s.reach.to[in.Source]
	if log == nil {
		return true, fmt.Errorf("it cannot be read any more: %w", ErrUnavailable)
	}
	rs, err := log.Read(ctx, in.Source, driver.ReadQuery{
		After: after, Until: upTo, Kinds: []driver.Kind{driver.KindEvent}, Types: in.Types, Limit: behindChunk,
	})
	if err != nil {
		return false, err
	}
	open, err := s.firstOpen(ctx, in.Source, rs)
	if err != nil {
		return false, err
	}
	switch {
	case open >= 0:
		upTo = rs[open].Position - 1
	case len(rs) == behindChunk:
		upTo = rs[len(rs)-1].Position
	}
	if s.reach.to == nil {
		s.reach.to = map[string]int64{}
	}
	s.reach.to[in.Source] = max(after, upTo)
	return open < 0, nil
}

// firstOpen returns which of a log's events is the first that the subscription has neither handled nor parked, -1 for none.
func (s *subscription) firstOpen(ctx context.Context, source string, rs []driver.Record) (int, error) {
	if len(rs) == 0 {
		return -1, nil
	}
	settled, err := s.settledOf(ctx, source, rs)
	if err != nil {
		return -1, err
	}
	return slices.IndexFunc(rs, func(r driver.Record) bool { return !settled(&r) }), nil
}

// settledOf returns what tells whether the subscription has settled one of a log's records.
func (s *subscription) settledOf(ctx context.Context, source string, rs []driver.Record) (func(*driver.Record) bool, error) {
	if s.positions {
		at, err := s.checkpoints(ctx)
		if err != nil {
			return nil, err
		}
		return func(r *driver.Record) bool { return s.beyond(at, source, r) }, nil
	}
	ids := make([]string, len(rs))
	for i := range rs {
		ids[i] = rs[i].ID
	}
	handled, err := s.host.store.Handled(ctx, s.host.svc.Name, s.name, source, ids)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	floor := s.floor[source]
	s.mu.Unlock()
	return func(r *driver.Record) bool {
		_, seen := handled[r.ID]
		return seen || r.Position <= floor || s.host.r.forgotten(time.UnixMicro(r.Time))
	}, nil
}

// checkpoints returns where the subscription's slices stand, by source and slice.
func (s *subscription) checkpoints(ctx context.Context) (map[string]map[int]int64, error) {
	cps, err := s.host.store.Checkpoints(ctx, s.host.svc.Name, s.name)
	if err != nil {
		return nil, err
	}
	at := map[string]map[int]int64{}
	for _, c := range cps {
		if at[c.Source] == nil {
			at[c.Source] = map[int]int64{}
		}
		at[c.Source][c.Slice] = c.Position
	}
	return at, nil
}

// beyond reports whether the slice that a record belongs to stands at or above it. A subscription that has never run stands nowhere.
func (s *subscription) beyond(at map[string]map[int]int64, source string, r *driver.Record) bool {
	positions := at[source]
	if len(positions) == 0 {
		return false
	}
	m := driver.Message{Source: source, Record: *r}
	return r.Position <= positions[driver.SliceOf(s.key(driver.Delivery{Message: m}), len(positions))]
}

// lowest returns where the slice stands that is furthest behind.
func lowest(positions map[int]int64) int64 { return slices.Min(slices.Collect(maps.Values(positions))) }
