package house

import (
	"context"
	"errors"
	"sync"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/gateway/door"
)

// probes say when the house is ready, which is not when it is alive: it has started, it is not stopping, and its database
// takes writes.
func (h *House) probes() []door.Probe {
	store, service := h.stores.shared, doorTables
	if list := h.Runtime.Services(); h.Several() && len(list) > 0 {
		service, store = list[0], h.stores.of(list[0])
	}
	database := &writable{
		every: time.Second, now: clock{}.Now, run: h.loops.Go,
		write: func(ctx context.Context) error {
			var value []byte
			if h.noRoom.Load() {
				value = make([]byte, roomy)
			}
			err := store.SetValue(ctx, service, "probe", value)
			if err == nil && value != nil {
				h.noRoom.Store(false)
			}
			return err
		},
	}
	return []door.Probe{{Name: "running", Check: h.running}, {Name: "database", Check: func(ctx context.Context) error {
		if err := h.running(ctx); err != nil {
			return err // before and after that its tables are nobody's to write
		}
		return database.check(ctx)
	}}}
}

// roomy is the size in bytes of a probe that is written after a commit failed for want of room. A disk that is full for what
// orders need may have room for many small writes yet.
const roomy = 1 << 20

// noteRoom hears of commits that find no room.
func (h *House) noteRoom(b backbone.BatchStats) {
	if errors.Is(b.Err, driver.ErrFull) {
		h.noRoom.Store(true)
	}
}

var (
	errStarting = errors.New("the mall is starting")
	errStopping = errors.New("the mall is stopping")
)

func (h *House) running(context.Context) error {
	select {
	case <-h.closing:
		return errStopping
	default:
	}
	if !h.started.Load() {
		return errStarting
	}
	return nil
}

// writable finds out whether a database takes writes, by writing. Everybody may ask, so it writes at most once in a
// while and gives all others that answer. Safe for concurrent use.
type writable struct {
	every time.Duration
	now   func() time.Time
	run   func(func()) // begins a goroutine
	write func(context.Context) error

	mu      sync.Mutex
	pending chan struct{} // closed when the write that is under way ends; nil: there is none
	asked   time.Time     // when the last write ended
	err     error         // of the last write
}

var errNoWrite = errors.New("the database took no write in time")

// check returns the error of a write that is at most so old. Where the write takes longer than ctx lasts, it goes on without the caller.
func (w *writable) check(ctx context.Context) error {
	w.mu.Lock()
	if w.pending == nil && !w.asked.IsZero() && w.now().Sub(w.asked) < w.every {
		defer w.mu.Unlock()
		return w.err
	}
	if w.pending == nil {
		ended := make(chan struct{})
		w.pending = ended
		apart := context.WithoutCancel(ctx)
		w.run(func() {
			err := w.write(apart)
			w.mu.Lock()
			w.pending, w.asked, w.err = nil, w.now(), err
			w.mu.Unlock()
			close(ended)
		})
	}
	ended := w.pending
	w.mu.Unlock()
	select {
	case <-ended:
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.err
	case <-ctx.Done():
		return errNoWrite
	}
}
