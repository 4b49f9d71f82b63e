package control

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/internal/house"
)

// replayed is an event of a stream with the state after it.
type replayed struct {
	Time    time.Time `json:"time"`
	Version int64     `json:"version"`
	Type    string    `json:"type"`
	State   any       `json:"state"`
	ID      string    `json:"id"`
	Actor   string    `json:"actor"`
}

var errEnough = errors.New("enough")

// replay prints how a stream came to the state that it had at a version or a time.
func replay(ctx context.Context, h *house.House, a Args, emit Emit) error {
	past, err := limitOf(a["until"])
	if err != nil {
		return err
	}
	known, shown := false, false
	for _, svc := range h.Runtime.Parts() {
		found, err := svc.Replay(ctx, h.Reader(svc.Name), a["stream"], func(m *backbone.Message, state any) error {
			if past(m) {
				return errEnough
			}
			shown = true
			return emit(replayed{m.Time, m.Version, m.Type, state, m.ID, m.Actor})
		})
		if err != nil && !errors.Is(err, errEnough) {
			return err
		}
		known = known || found
	}
	switch {
	case shown:
		return nil
	case known:
		return fmt.Errorf("stream %q has nothing up to %s", a["stream"], a["until"])
	}
	return fmt.Errorf("there is no stream %q; streams are named kind/id, for example order/ORDER_001", a["stream"])
}

// limitOf reads a version or an instant and returns what lies behind it.
func limitOf(until string) (past func(*backbone.Message) bool, err error) {
	if until == "" {
		return func(*backbone.Message) bool { return false }, nil
	}
	if version, err := strconv.ParseInt(until, 10, 64); err == nil && version > 0 {
		return func(m *backbone.Message) bool { return m.Version > version }, nil
	}
	at, err := time.Parse(time.RFC3339Nano, until)
	if err != nil {
		return nil, fmt.Errorf("until %q is neither a version, as 3, nor a time, as 2026-05-01T12:00:00Z", until)
	}
	return func(m *backbone.Message) bool { return m.Time.After(at) }, nil
}
