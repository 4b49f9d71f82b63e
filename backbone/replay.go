package backbone

import (
	"context"
	"fmt"
	"strings"

	"example.org/souk/backbone/driver"
)

// Replay folds a stream of the service from its first event on, and calls each with
// every event and the state after it, in the order of their versions. It shows how
// something stood at any past time, and takes no snapshot's word for it. found is
// false when the service has no such stream; an error of each ends it and is
// returned. The service is that whose log r reads.
//
// It is meant for tools: a state is a value of a type that the service may keep to
// itself.
func (s *Service) Replay(ctx context.Context, r *Reader, stream string, each func(m *Message, state any) error) (found bool, err error) {
	name, _, _ := strings.Cut(stream, "/")
	var of folder
	for _, f := range s.folders() {
		if f.aggregateName() == name {
			of = f
		}
	}
	if of == nil {
		return false, nil
	}
	state := of.fresh()
	q := driver.ReadQuery{Stream: stream, Kinds: EventKinds(), Limit: 1000}
	for {
		list, err := r.Log(ctx, q)
		if err != nil {
			return found, fmt.Errorf("replay %s: %w", stream, err)
		}
		for _, m := range list {
			found = true
			if state, err = of.fold(state, m.Type, m.Data); err != nil {
				return true, fmt.Errorf("replay %s, version %d: %w", stream, m.Version, err)
			}
			if err := each(m, state); err != nil {
				return true, err
			}
			q.After = m.Position
		}
		if len(list) < q.Limit {
			return found, nil
		}
	}
}
