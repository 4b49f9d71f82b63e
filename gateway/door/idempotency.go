package door

import (
	"context"
	"crypto/sha256"
	"net/http"
	"sync"
	"time"

	"example.org/souk/backbone"
)

// How long the answer to an Idempotency-Key is remembered, how long a claim without an answer stands (its process may have died), and how long
// a repeat waits for the first to be answered.
const (
	KeyLife   = 24 * time.Hour
	claimLife = 30 * time.Second
	keyWait   = 2 * time.Second
	keyPoll   = 100 * time.Millisecond // where the first is in another process
)

// Idempotency remembers answers by the caller's Idempotency-Key. The root of the program backs it by a table. Implementations are
// safe for concurrent use; of two claims of one key at once in one process one wins. A process cannot tell another one that works from
// one that died, so the same request at both may run at both: what it commands has an id of its own and is done once.
type Idempotency interface {
	// Claim takes the key for a caller until the given instant, or returns what stands under it: another's claim, or an answer.
	// What has expired at now does not stand any more, nor does, for the same fingerprint, the claim of a process that has ended; for
	// another fingerprint an expired claim may stand on. Since is told either way: until KeyLife after the last claim a key keeps the instant of
	// the first, whatever became of that, so that ids which are made of both are made again.
	Claim(ctx context.Context, caller, key string, fingerprint [sha256.Size]byte, now, until time.Time) (standing Remembered, claimed bool, err error)
	// Keep puts an answer in the place of a claim.
	Keep(ctx context.Context, caller, key string, r Remembered) error
	// Release gives a claim back without an answer, for requests of any fingerprint.
	Release(ctx context.Context, caller, key string) error
}

// Remembered is what stands under an Idempotency-Key.
type Remembered struct {
	// Fingerprint is a hash over the route and the body of the first request.
	Fingerprint [sha256.Size]byte
	// Status is 0 as long as the first is not answered.
	Status   int
	Type     string // Content-Type
	Location string
	Body     []byte
	Expires  time.Time
	// Since is when the key was first claimed, in whole microseconds. Keep leaves it as it is.
	Since time.Time
}

// once answers a request with an Idempotency-Key: it runs the first of them and gives its answer to all others of the same content.
func (d *Door) once(a *answer, r *Request, run func() error) error {
	key, err := keyOf(r.Header)
	if err != nil || key == "" {
		if err == nil {
			err = run()
		}
		return err
	}
	caller := r.Caller.key
	h := sha256.New()
	h.Write([]byte(r.Method + " " + r.URL.Path + "\n"))
	h.Write(r.Body)
	fingerprint := [sha256.Size]byte(h.Sum(nil))

	inProgress := NotYet("in_progress", "The first request with this Idempotency-Key is not answered yet.")
	timeout := time.NewTimer(keyWait)
	defer timeout.Stop()
	lane, leave := d.flights.enter(caller + "\x00" + key)
	defer leave()
	select {
	case lane <- struct{}{}:
		defer func() { <-lane }()
	case <-timeout.C:
		return inProgress
	case <-r.Context().Done():
		return r.Context().Err()
	}
	for {
		now := d.clock.Now()
		standing, claimed, err := d.idempotency.Claim(r.Context(), caller, key, fingerprint, now, now.Add(claimLife))
		switch {
		case err != nil:
			d.log.ErrorContext(r.Context(), "idempotency key not claimed", "error", err, "trace_id", r.traceID)
			return backbone.ErrUnavailable
		case claimed:
			r.Since = standing.Since
			return d.first(a, r, key, fingerprint, run)
		case standing.Fingerprint != fingerprint:
			return NewProblem(http.StatusUnprocessableEntity, "key_reused", "This Idempotency-Key was used for another request before.")
		case standing.Status != 0:
			r.Caller.asked = true // the same caller got this answer before
			replay(a, standing)
			return nil
		}
		poll := time.NewTimer(keyPoll) // the first is in another process, or was when that died
		select {
		case <-poll.C:
			continue
		case <-timeout.C:
			err = inProgress
		case <-r.Context().Done():
			err = r.Context().Err()
		}
		poll.Stop()
		return err
	}
}

// first runs the request that claimed the key. Its answer is kept before the client sees it. What did not happen, and may happen when it is
// asked for again, is not kept.
func (d *Door) first(a *answer, r *Request, key string, fingerprint [sha256.Size]byte, run func() error) (err error) {
	kept := false
	a.hold()
	defer func() {
		if kept {
			return
		}
		if err := d.idempotency.Release(context.WithoutCancel(r.Context()), r.Caller.key, key); err != nil {
			d.log.ErrorContext(r.Context(), "idempotency key not released", "error", err, "trace_id", r.traceID)
		}
	}()
	if err := run(); err != nil {
		p := ProblemOf(err)
		if p.Status != http.StatusConflict || p.RetryAfter > 0 {
			a.drop()
			return err
		}
		p.write(a, r.URL.Path, r.traceID)
	}
	backbone.CrashPoint("answer.made")
	if a.status >= 300 && a.status != http.StatusConflict {
		a.release()
		return nil
	}
	err = d.idempotency.Keep(context.WithoutCancel(r.Context()), r.Caller.key, key, Remembered{
		Fingerprint: fingerprint, Status: a.status, Type: a.Header().Get("Content-Type"), Location: a.Header().Get("Location"),
		Body: a.held.Bytes(), Expires: d.clock.Now().Add(KeyLife),
	})
	if err != nil {
		// It has happened and the client is told so. A repeat meets the claim at first, and then the command's own id.
		d.log.ErrorContext(r.Context(), "answer to idempotency key not kept", "error", err, "trace_id", r.traceID)
	}
	kept = true
	backbone.CrashPoint("answer.kept")
	a.release()
	return nil
}

func replay(w http.ResponseWriter, r Remembered) {
	h := w.Header()
	h.Set("Idempotency-Replayed", "true")
	h.Set("Content-Type", r.Type)
	if r.Location != "" {
		h.Set("Location", r.Location)
	}
	w.WriteHeader(r.Status)
	_, _ = w.Write(r.Body) // a client that went away is told nothing
}

// keyOf reads the header: 1 to 255 visible characters, bare or as the quoted string of the draft.
func keyOf(h http.Header) (string, error) {
	values := h["Idempotency-Key"]
	if len(values) == 0 {
		return "", nil
	}
	wrong := InvalidField("Idempotency-Key", "must be one value of 1 to 255 visible characters")
	if len(values) > 1 {
		return "", wrong
	}
	key := values[0]
	if len(key) >= 2 && key[0] == '"' && key[len(key)-1] == '"' {
		key = key[1 : len(key)-1]
	}
	if key == "" || len(key) > 255 {
		return "", wrong
	}
	for i := range len(key) {
		if key[i] <= ' ' || key[i] >= 0x7f {
			return "", wrong
		}
	}
	return key, nil
}

// flights lets the requests of one key in this process through one after another. The zero value is ready.
type flights struct {
	mu  sync.Mutex
	all map[string]*flight
}

type flight struct {
	users int
	lane  chan struct{} // is full while somebody is in
}

// enter returns the lane of a key: who has put something into it is in, and takes it out afterwards.
func (f *flights) enter(key string) (lane chan struct{}, leave func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.all == nil {
		f.all = map[string]*flight{}
	}
	fl := f.all[key]
	if fl == nil {
		fl = &flight{lane: make(chan struct{}, 1)}
		f.all[key] = fl
	}
	fl.users++
	return fl.lane, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if fl.users--; fl.users == 0 {
			delete(f.all, key)
		}
	}
}

// MemoryIdempotency remembers in memory, for tests and for programs that may forget at a restart. The zero value is ready.
type MemoryIdempotency struct {
	mu  sync.Mutex
	all map[[2]string]memory
}

// memory is an answer, or a claim until an instant.
type memory struct {
	Remembered
	until time.Time
}

// Claim implements Idempotency.
func (m *MemoryIdempotency) Claim(_ context.Context, caller, key string, fingerprint [sha256.Size]byte, now, until time.Time) (Remembered, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.all == nil {
		m.all = map[[2]string]memory{}
	}
	for k, r := range m.all {
		if !r.Expires.After(now) {
			delete(m.all, k)
		}
	}
	since := now.Truncate(time.Microsecond)
	if r, ok := m.all[[2]string{caller, key}]; ok {
		if r.Status != 0 || r.until.After(now) {
			return r.Remembered, false, nil
		}
		since = r.Since
	}
	r := Remembered{Fingerprint: fingerprint, Expires: now.Add(KeyLife), Since: since}
	m.all[[2]string{caller, key}] = memory{r, until}
	return r, true, nil
}

// Keep implements Idempotency.
func (m *MemoryIdempotency) Keep(_ context.Context, caller, key string, r Remembered) error {
	r.Body = append([]byte(nil), r.Body...)
	m.mu.Lock()
	defer m.mu.Unlock()
	r.Since = m.all[[2]string{caller, key}].Since
	m.all[[2]string{caller, key}] = memory{Remembered: r}
	return nil
}

// Release implements Idempotency.
func (m *MemoryIdempotency) Release(_ context.Context, caller, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.all[[2]string{caller, key}]; r.Status == 0 {
		r.until = time.Time{}
		m.all[[2]string{caller, key}] = r
	}
	return nil
}
