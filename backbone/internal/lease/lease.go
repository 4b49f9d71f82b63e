// Package lease settles in a subscription's own database which process works which of its slices: each takes a fair share,
// renews it while it lives, and gives up what others should have. Leases only say when to try: that a slice has one owner
// rests on the epoch that a claim raises and that every effect is guarded by.
package lease

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"example.org/souk/backbone/driver"
)

// Config says what a Holder works for. All fields but Reads and Renewed are required.
type Config struct {
	Store                        driver.Store
	Service, Subscription, Owner string
	Slices                       int
	// Lease is how long slices stay with an owner that does not renew, by the database's clock. The owner itself stops
	// after two thirds of it, by its own monotonic clock.
	Lease time.Duration
	// Poll is the pause before what failed is tried again, and the longest before free slices are looked for.
	Poll   time.Duration
	Logger *slog.Logger
	// Assign begins work on slices, with the checkpoints that were read when their epochs had been raised; all
	// checkpoints of one slice are given together. Slices that were held before come again with new epochs, after they
	// were revoked.
	Assign func(ctx context.Context, cps []driver.Checkpoint)
	// Revoke ends work on slices and returns when nothing of them is in flight.
	Revoke func(slices []int)
	// Reads reports whether this process reads a type of message; nil: it reads all.
	Reads func(wire string) bool
	// Renewed, if not nil, is called after each renewal: what had stopped as the lease was nearly over may go on.
	Renewed func()
}

// Holder holds slices of one subscription. Its methods are for one goroutine, except Lapsed.
type Holder struct {
	Config
	held map[int]bool
	// renewed is when the leases were last prolonged, on the process's own monotonic clock; deadline is two thirds of a
	// lease later, in nanoseconds since began. 0: slices are held without a lease.
	began    time.Time
	renewed  time.Time
	deadline atomic.Int64

	idle time.Time // since when slices were seen that nobody works, zero if there are none
}

// New returns a Holder that holds nothing.
func New(c Config) *Holder { return &Holder{Config: c, held: map[int]bool{}, began: time.Now()} }

// Held returns the slices that are held, in order.
func (h *Holder) Held() []int { return slices.Sorted(maps.Keys(h.held)) }

// Lapsed reports whether the leases may be another's by now: two thirds of their time have passed without renewal, by this
// process's own clock.
func (h *Holder) Lapsed() bool {
	d := h.deadline.Load()
	return d > 0 && int64(time.Since(h.began)) > d
}

// Take claims all slices of a store that has no other process, without a lease: the next process need not wait for its end.
func (h *Holder) Take(ctx context.Context) error {
	cps, err := h.Store.Claim(ctx, h.Service, h.Subscription, h.Owner, h.Slices, 0)
	if err != nil {
		return fmt.Errorf("claim: %w", err)
	}
	h.assign(ctx, cps)
	return nil
}

// Tend renews what is held, then takes or gives slices towards a fair share. It returns after how long it wants to be
// called again.
func (h *Holder) Tend(ctx context.Context) time.Duration {
	if err := h.tend(ctx); err != nil && ctx.Err() == nil {
		h.Logger.Warn("tending slices failed, trying again", "subscription", h.Subscription, "error", err)
		return min(h.Poll, h.Lease/12)
	}
	switch {
	case !h.idle.IsZero():
		return min(h.Poll, h.Lease/3) / 2
	case len(h.held) == 0:
		return min(h.Poll, h.Lease/3)
	}
	return h.Lease / 3
}

// Quit revokes what is held.
func (h *Holder) Quit() { h.revoke(h.Held()) }

// Leave gives everything up at the database, after Quit, and takes back the note of one who waits: also what a claim has got
// whose answer was not waited for.
func (h *Holder) Leave(ctx context.Context) error {
	all := make([]int, h.Slices)
	for i := range all {
		all[i] = i
	}
	err := h.waitNoMore(ctx)
	return errors.Join(err, h.release(ctx, all))
}

func (h *Holder) release(ctx context.Context, slices []int) error {
	if len(slices) == 0 {
		return nil
	}
	if err := h.Store.Release(ctx, h.Service, h.Subscription, h.Owner, slices); err != nil {
		return fmt.Errorf("release: %w", err)
	}
	return nil
}

func (h *Holder) assign(ctx context.Context, cps []driver.Checkpoint) {
	for _, c := range cps {
		h.held[c.Slice] = true
	}
	if len(cps) > 0 {
		h.Assign(ctx, cps)
	}
}

func (h *Holder) revoke(lost []int) {
	if len(lost) == 0 {
		return
	}
	for _, n := range lost {
		delete(h.held, n)
	}
	h.Revoke(lost)
}

func (h *Holder) leased(since time.Time) {
	h.renewed = since
	h.deadline.Store(int64(since.Sub(h.began) + h.Lease*2/3))
}

func (h *Holder) tend(ctx context.Context) error {
	if len(h.held) > 0 {
		if err := h.renew(ctx); err != nil {
			return err
		}
	}
	return h.balance(ctx)
}

func (h *Holder) renew(ctx context.Context) error {
	start := time.Now()
	left := h.Lease*2/3 - start.Sub(h.renewed)
	if left <= 0 {
		h.revoke(h.Held())
		return nil
	}
	bounded, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	kept, err := h.Store.Renew(bounded, h.Service, h.Subscription, h.Owner, h.Lease)
	if err != nil {
		if h.Lapsed() {
			h.revoke(h.Held())
		}
		return fmt.Errorf("renew: %w", err)
	}
	h.leased(start)
	h.revoke(slices.DeleteFunc(h.Held(), func(i int) bool { return slices.Contains(kept, i) }))
	if h.Renewed != nil {
		h.Renewed()
	}
	// What the database has as this owner's and nobody works was held before a lapse, or got by a claim whose answer was lost.
	return h.release(ctx, slices.DeleteFunc(kept, func(i int) bool { return h.held[i] }))
}

// balance compares what is held with an equal share among the owners that live.
func (h *Holder) balance(ctx context.Context) error {
	standing, err := h.Store.Standing(ctx, h.Service, h.Subscription, h.note(), h.needNote())
	if err != nil {
		return fmt.Errorf("read leases: %w", err)
	}
	clock, err := h.Store.Now(ctx)
	if err != nil {
		return fmt.Errorf("read clock: %w", err)
	}
	now := clock.UnixMicro()
	owners := map[string]bool{h.Owner: true}
	taken := map[int]bool{}
	for _, l := range standing.Leases {
		if l.Owner != "" && l.Owner != h.Owner && l.Until > now {
			owners[l.Owner], taken[l.Slice] = true, true
		}
	}
	waiting, err := whoWaits(standing.Values[h.note()], now)
	if err != nil {
		return err
	}
	needs, err := h.needs(standing.Values[h.needNote()], now)
	if err != nil {
		return err
	}
	// What is for those who can read it is outside of the shares: who can takes all of it that is free, the others none.
	var sought, refused []int
	for n, need := range needs {
		switch {
		case !h.reads(need.Type):
			refused = append(refused, n)
		case !taken[n]:
			sought = append(sought, n)
		}
	}
	// Who waits is left its share. It takes that at once, so that slices which stay free are for the others.
	free := h.free(taken, refused)
	if h.idle.IsZero() || time.Since(h.idle) < min(h.Poll, h.Lease/3) {
		for owner := range waiting {
			owners[owner] = true
		}
	}
	share := len(sought) + (h.Slices-len(needs)+len(owners)-1)/len(owners)
	// Those that are sought first, and last those that others should have.
	held := h.Held()
	rank := func(n int) int {
		switch {
		case slices.Contains(sought, n):
			return 0
		case slices.Contains(refused, n):
			return 2
		}
		return 1
	}
	slices.SortStableFunc(held, func(a, b int) int { return rank(a) - rank(b) })
	for i, n := range held {
		if rank(n) == 2 {
			share = min(share, i)
			break
		}
	}
	switch {
	case len(held) > share:
		excess := held[share:]
		h.revoke(excess)
		if err := h.release(ctx, excess); err != nil {
			return err
		}
	case len(held) < share && free > 0:
		// A claim raises the epochs of slices that are held already too, so nothing of them may be in flight.
		h.revoke(held)
		start := time.Now()
		got, err := h.Store.Claim(ctx, h.Service, h.Subscription, h.Owner, share, h.Lease, h.wanted(share, needs, sought, held, taken)...)
		if err != nil {
			return fmt.Errorf("claim: %w", err)
		}
		h.leased(start)
		h.assign(ctx, got)
		free = h.free(taken, refused)
	}
	switch {
	case free <= 0:
		h.idle = time.Time{}
	case h.idle.IsZero():
		h.idle = time.Now()
	}
	switch noted := waiting[h.Owner] - now; {
	case len(h.held) > 0 && noted > 0:
		return h.waitNoMore(ctx)
	case len(h.held) == 0 && noted < h.Lease.Microseconds()/2:
		return h.wait(ctx, waiting, now)
	}
	return nil
}

// free counts the slices that nobody has and that this process may take.
func (h *Holder) free(taken map[int]bool, refused []int) int {
	free := h.Slices - len(taken) - len(h.held)
	for _, n := range refused {
		if !taken[n] && !h.held[n] {
			free--
		}
	}
	return free
}

// wanted lists which slices make a share, where that is not for the database to choose: those that are sought, those that were
// held, and others that are free.
func (h *Holder) wanted(share int, needs map[int]need, sought, held []int, taken map[int]bool) []int {
	if len(needs) == 0 {
		return nil
	}
	wanted := slices.Clone(sought)
	for _, n := range held {
		if _, needed := needs[n]; !needed && len(wanted) < share {
			wanted = append(wanted, n)
		}
	}
	for n := 0; n < h.Slices && len(wanted) < share; n++ {
		if _, needed := needs[n]; !needed && !taken[n] && !slices.Contains(held, n) {
			wanted = append(wanted, n)
		}
	}
	return wanted
}

// need says that a slice stands at a message which who had it could not read. It is noted for some leases: if the message was
// handled by then, nothing is lost but that, and if it was not, whoever takes the slice notes it again. The notes are one
// value that all write; one that is lost to another is written again like that too.
type need struct {
	Type  string `json:"type"`
	Until int64  `json:"until"` // by the database's clock
}

// needLeases is for how many leases a slice is left to those who can read what it stands at.
const needLeases = 4

func (h *Holder) needNote() string { return "needs." + h.Subscription }

func (h *Holder) reads(wire string) bool { return h.Reads == nil || h.Reads(wire) }

// needs returns what has not run out of a note.
func (h *Holder) needs(raw []byte, now int64) (map[int]need, error) {
	out := map[int]need{}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &out); err != nil {
			return nil, fmt.Errorf("read what is needed: %w", err)
		}
	}
	maps.DeleteFunc(out, func(n int, need need) bool { return need.Until <= now || n < 0 || n >= h.Slices })
	return out, nil
}

// Yield gives slices up that stand at messages of types which this process does not read, to those that do; those of no type to
// anyone, this process too.
func (h *Holder) Yield(ctx context.Context, at map[int]string) error {
	clock, err := h.Store.Now(ctx)
	if err != nil {
		return fmt.Errorf("read clock: %w", err)
	}
	raw, err := h.Store.Value(ctx, h.Service, h.needNote())
	if err != nil {
		return fmt.Errorf("read what is needed: %w", err)
	}
	needs, err := h.needs(raw, clock.UnixMicro())
	if err != nil {
		return err
	}
	var given []int
	noted := false
	for n, wire := range at {
		if !h.held[n] {
			continue
		}
		given = append(given, n)
		if wire != "" {
			needs[n] = need{wire, clock.Add(needLeases * h.Lease).UnixMicro()}
			noted = true
		}
	}
	if noted {
		raw, err := json.Marshal(needs)
		if err != nil {
			return err
		}
		if err := h.Store.SetValue(ctx, h.Service, h.needNote(), raw); err != nil {
			return fmt.Errorf("note what is needed: %w", err)
		}
	}
	slices.Sort(given)
	h.revoke(given)
	return h.release(ctx, given)
}

// Yields collects, from any goroutine, the slices that are to be given up.
type Yields struct {
	mu sync.Mutex
	at map[int]string
}

// Add notes a slice with the type of the message that it stands at, or with none.
func (y *Yields) Add(slice int, wire string) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.at == nil {
		y.at = map[int]string{}
	}
	if wire != "" || y.at[slice] == "" { // what is for some is not for anyone
		y.at[slice] = wire
	}
}

// Take returns what was added since the last time.
func (y *Yields) Take() map[int]string {
	y.mu.Lock()
	defer y.mu.Unlock()
	at := y.at
	y.at = nil
	return at
}

// An owner without slices is not to be seen in the checkpoints, so it notes that it waits. The note is one value that all
// write, so that a note may be lost to another, or come back: it is written as seldom as may be, and only fairness hangs on
// it. A lost one is written again at a later look, and slices that are left to nobody are taken after a moment.

func (h *Holder) note() string { return "logbus.waiting." + h.Subscription }

// whoWaits returns the owners of a note whose wait has not run out, with its end.
func whoWaits(raw []byte, now int64) (map[string]int64, error) {
	out := map[string]int64{}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &out); err != nil {
			return nil, fmt.Errorf("read who waits: %w", err)
		}
	}
	for owner, until := range out {
		if until <= now {
			delete(out, owner)
		}
	}
	return out, nil
}

// wait notes that this owner wants slices.
func (h *Holder) wait(ctx context.Context, waiting map[string]int64, now int64) error {
	waiting[h.Owner] = now + h.Lease.Microseconds()
	return h.write(ctx, waiting)
}

// waitNoMore takes the note back: as long as it stands, others leave slices to this owner.
func (h *Holder) waitNoMore(ctx context.Context) error {
	raw, err := h.Store.Value(ctx, h.Service, h.note())
	if err != nil {
		return fmt.Errorf("read who waits: %w", err)
	}
	waiting, err := whoWaits(raw, 0)
	if err != nil || waiting[h.Owner] == 0 {
		return err
	}
	delete(waiting, h.Owner)
	return h.write(ctx, waiting)
}

func (h *Holder) write(ctx context.Context, waiting map[string]int64) error {
	raw, err := json.Marshal(waiting)
	if err != nil {
		return err
	}
	if err := h.Store.SetValue(ctx, h.Service, h.note(), raw); err != nil {
		return fmt.Errorf("note that it waits: %w", err)
	}
	return nil
}
