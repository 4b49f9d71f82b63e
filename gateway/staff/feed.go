package staff

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/gateway/door"
)

// Logs are those of the services whose events staff see.
type Logs interface {
	// Services lists them, sorted by name. It does not change.
	Services() []string
	// Head returns the position of the last record of a log.
	Head(ctx context.Context, service string) (int64, error)
	// Events returns up to limit events, public and private, of a log after one position and until another, in order.
	Events(ctx context.Context, service string, after, until int64, limit int) ([]*backbone.Message, error)
	// Changed returns a channel that receives after a log grew, and a function that ends that. A pulse that is lost only delays: the logs are
	// looked at all the same.
	Changed() (pulse <-chan struct{}, stop func())
}

const (
	// ringSize is how many events are kept for sockets that follow closely. Who falls behind reads the logs.
	ringSize = 1024
	// chunk is how many events are read at once, and handed to a socket at once.
	chunk = 128
	// maxBehind is how many records a socket may want to catch up; who has missed more takes a snapshot.
	maxBehind = 100_000
	// maxData bounds the data of a frame, in bytes. Larger data is left out, and the thing can be asked for.
	maxData = 16 << 10
	// positionsEvery is how often robots are shown to move.
	positionsEvery = 100 * time.Millisecond
)

// happening is one event as sockets send it.
type happening struct {
	service int
	at      int64
	body    []byte // the frame without its opening brace, number and position
}

// follower reads the logs once for all sockets of this process, and only while there are any. It holds the last events, however many sockets there are
// and however slow these are.
type follower struct {
	logs     Logs
	services []string
	every    time.Duration

	mu      sync.Mutex
	at      []int64 // how far the logs were read; nil while nobody watches
	ring    []happening
	first   int64 // the number of ring[0]; events are counted from when the follower began
	grown   chan struct{}
	watched int
	woken   chan struct{}
}

func newFollower(logs Logs, every time.Duration) *follower {
	return &follower{logs: logs, services: logs.Services(), every: every, grown: make(chan struct{}), woken: make(chan struct{}, 1)}
}

// watch says that a socket follows from now on, until the returned function is called.
func (f *follower) watch() (stop func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.watched++
	select {
	case f.woken <- struct{}{}:
	default:
	}
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.watched--; f.watched == 0 {
			f.at, f.ring, f.first = nil, nil, f.first+int64(len(f.ring))
		}
	}
}

// run follows the logs until ctx ends.
func (f *follower) run(ctx context.Context) error {
	pulse, stop := f.logs.Changed()
	defer stop()
	tick := time.NewTicker(f.every)
	defer tick.Stop()
	for {
		f.mu.Lock()
		watched := f.watched > 0
		f.mu.Unlock()
		if watched {
			// A log that cannot be read now is read a little later; until then sockets hear nothing of it.
			if err := f.look(ctx); err != nil && ctx.Err() != nil {
				return ctx.Err()
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-pulse:
			case <-tick.C:
			}
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-f.woken:
		}
	}
}

// look takes in what the logs have got since the last time.
func (f *follower) look(ctx context.Context) error {
	f.mu.Lock()
	at := slices.Clone(f.at)
	f.mu.Unlock()
	heads, err := headsOf(ctx, f.logs, f.services)
	if err != nil {
		return err
	}
	if at == nil { // sockets read what was before by themselves
		f.take(heads, nil)
		return nil
	}
	for i, s := range f.services {
		for at[i] < heads[i] {
			list, err := f.logs.Events(ctx, s, at[i], heads[i], chunk)
			if err != nil {
				return err
			}
			fresh := make([]happening, 0, len(list))
			for _, m := range list {
				fresh = append(fresh, happen(i, m))
			}
			if at[i] = heads[i]; len(list) == chunk {
				at[i] = list[len(list)-1].Position
			}
			f.take(at, fresh)
		}
	}
	return nil
}

// take makes events known to the sockets. at is how far the logs were read with them.
func (f *follower) take(at []int64, fresh []happening) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.watched == 0 {
		return
	}
	f.at = slices.Clone(at)
	f.ring = append(f.ring, fresh...)
	if over := len(f.ring) - ringSize; over > 0 {
		f.first += int64(over)
		f.ring = slices.Clone(f.ring[over:])
	}
	close(f.grown)
	f.grown = make(chan struct{})
}

// state returns how far the logs were read and the number of the event that comes next; nil as long as they were not.
func (f *follower) state() (at []int64, next int64, grown <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.at), f.first + int64(len(f.ring)), f.grown
}

// after returns up to chunk events from a number on, and a channel that is closed when there are more; false where they are not held any more.
func (f *follower) after(next int64) (list []happening, grown <-chan struct{}, held bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := next - f.first
	if i < 0 || i > int64(len(f.ring)) {
		return nil, f.grown, false
	}
	return slices.Clone(f.ring[i:min(i+chunk, int64(len(f.ring)))]), f.grown, true
}

func headsOf(ctx context.Context, logs Logs, services []string) ([]int64, error) {
	heads := make([]int64, len(services))
	for i, s := range services {
		var err error
		if heads[i], err = logs.Head(ctx, s); err != nil {
			return nil, fmt.Errorf("head of %s: %w", s, err)
		}
	}
	return heads, nil
}

// frame is what happened to one thing. What stands before Kind is put in when it is sent.
type frame struct {
	Kind    string          `json:"kind"` // order, stock, payment, robot ...: the first part of its stream
	ID      string          `json:"id"`
	Type    string          `json:"type"`    // wire name of the event
	Event   string          `json:"event"`   // its id
	Version int64           `json:"version"` // of the thing: what is shown with a higher one is newer than this
	Time    time.Time       `json:"time"`
	Actor   string          `json:"actor,omitempty"`
	Data    json.RawMessage `json:"data,omitempty"` // of a public event, and of approvals
}

// happen writes an event as a frame. Private events of others are told without their data, which is nobody's business.
func happen(service int, m *backbone.Message) happening {
	kind, id, _ := strings.Cut(m.Stream, "/")
	f := frame{Kind: kind, ID: id, Type: m.Type, Event: m.ID, Version: m.Version, Time: m.Time, Actor: m.Actor}
	if (m.Sequence > 0 || m.Source == ServiceName) && len(m.Data) <= maxData {
		f.Data = m.Data
	}
	body, err := json.Marshal(f)
	if err != nil { // data that is no JSON: it cannot have been written
		f.Data = nil
		body, _ = json.Marshal(f)
	}
	return happening{service, m.Position, body[1:]}
}

// socket is what is known of one reader.
type socket struct {
	*door.Socket
	gateway *Gateway
	seen    position
}

// feed sends what happens from a position on, and then as it happens.
func (g *Gateway) feed(w http.ResponseWriter, r *door.Request) error {
	if err := door.AskUpgrade(w, r); err != nil {
		return err
	}
	heads, err := headsOf(r.Context(), g.Logs, g.follower.services)
	if err != nil {
		return unavailable(err)
	}
	at := position{at: heads}
	if since := r.URL.Query().Get("since"); since != "" {
		var ok bool
		if at, ok = readPosition(since, g.follower.services); !ok {
			return door.InvalidField("since", "must be the as_of of a snapshot or of a frame")
		}
		behind := int64(0)
		for i := range heads {
			if at.at[i] > heads[i] {
				behind = maxBehind + 1 // the logs are others than they were
				break
			}
			behind += heads[i] - at.at[i]
		}
		if behind > maxBehind {
			return door.NewProblem(http.StatusGone, "snapshot_needed", "This position cannot be resumed from; take a snapshot.")
		}
	}
	opened, err := g.door.OpenSocket(w, r, g.SlowAfter)
	if err != nil {
		return err
	}
	s := &socket{opened, g, at}
	stop := g.follower.watch()
	defer stop()
	opened.Run(s.send)
	return nil
}

// send runs a socket until it ends, and returns what its reader is told.
func (s *socket) send(ctx context.Context) *door.Close {
	f := s.gateway.follower
	beat := time.NewTicker(s.gateway.Heartbeat)
	defer beat.Stop()
	move := time.NewTicker(positionsEvery)
	defer move.Stop()
	moved := int64(0)
	next := int64(-1) // the number of the event that comes next; -1: not among those that are held
	for {
		var fresh []happening
		at, head, grown := f.state()
		switch {
		case at == nil: // the follower has only begun
		case next < 0:
			if over := s.catchUp(ctx, at); over != nil {
				return over
			}
			next = head
			continue
		default:
			var held bool
			if fresh, grown, held = f.after(next); !held {
				next = -1
				continue
			}
		}
		for _, h := range fresh {
			if over := s.tell(h); over != nil {
				return over
			}
			next++
		}
		if len(fresh) > 0 {
			continue
		}
		select {
		case <-grown:
		case <-move.C:
			// Robots are shown only to who has everything else, and as they are now: where they were in between is lost to who is slow.
			var list []Position
			if list, moved = s.gateway.positions.after(moved); len(list) > 0 {
				if over := s.frame("positions", list); over != nil {
					return over
				}
			}
		case <-beat.C:
			if over := s.frame("heartbeat", nil); over != nil {
				return over
			}
			if over := s.Ping(); over != nil {
				return over
			}
		case <-s.Gone():
			return s.Left()
		case <-ctx.Done():
			return s.Over()
		}
	}
}

// catchUp reads the logs from where the reader is to where the follower is.
func (s *socket) catchUp(ctx context.Context, until []int64) *door.Close {
	for i, service := range s.gateway.follower.services {
		for s.seen.at[i] < until[i] {
			list, err := s.gateway.Logs.Events(ctx, service, s.seen.at[i], until[i], chunk)
			if err != nil {
				if over := s.Over(); over != nil {
					return over
				}
				return door.CloseLater
			}
			for _, m := range list {
				if over := s.tell(happen(i, m)); over != nil {
					return over
				}
			}
			if len(list) < chunk {
				s.seen.at[i] = until[i]
			}
		}
	}
	return nil
}

// tell sends an event, unless the reader has it: it may be ahead of the follower.
func (s *socket) tell(h happening) *door.Close {
	if h.at <= s.seen.at[h.service] {
		return nil
	}
	s.seen.seq++
	s.seen.at[h.service] = h.at
	return s.Send(append(s.opening(), h.body...))
}

// opening is how every frame begins: with the number of the last event of which the reader has been told, and where it can go on from.
func (s *socket) opening() []byte {
	b := append(make([]byte, 0, 512), `{"seq":`...)
	b = strconv.AppendInt(b, s.seen.seq, 10)
	b = append(b, `,"as_of":"`...)
	b = append(b, s.seen.text(s.gateway.follower.services)...)
	return append(b, `",`...)
}

// frame sends what is no event and has no number of its own.
func (s *socket) frame(kind string, robots []Position) *door.Close {
	body, err := json.Marshal(struct {
		Kind   string     `json:"kind"`
		Robots []Position `json:"robots,omitempty"`
	}{kind, robots})
	if err != nil {
		return door.CloseLater
	}
	return s.Send(append(s.opening(), body[1:]...))
}
