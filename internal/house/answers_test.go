package house

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/logbus"
	"example.org/souk/backbone/sqlitestore"
	"example.org/souk/gateway/door"
	"example.org/souk/internal/testserver"
)

// counting counts the transactions of a database.
type counting struct {
	driver.Store
	begun atomic.Int64
	let   atomic.Pointer[chan struct{}] // transactions begin when it is closed; nil: at once
}

func (c *counting) Begin(ctx context.Context) (driver.Tx, error) {
	c.begun.Add(1)
	if let := c.let.Load(); let != nil {
		<-*let
	}
	return c.Store.Begin(ctx)
}

// table opens the answers of a database file; several times is several processes, one after another.
func table(t *testing.T, path string) (*answers, *counting, func()) {
	t.Helper()
	store, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	end := sync.OnceFunc(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(end)
	if err := store.Migrate(t.Context(), []driver.Schema{doorSchema()}); err != nil {
		t.Fatal(err)
	}
	c := &counting{Store: store}
	of := func(string) driver.Store { return c }
	r, err := backbone.New(backbone.Config{Parts: []*backbone.Service{{Name: "till"}}, Store: of, Transport: logbus.New(logbus.Config{Store: of})})
	if err == nil {
		err = r.Start(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return newAnswers(c, r.Transact), c, func() {
		if err := r.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		end()
	}
}

var (
	noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	one  = sha256.Sum256([]byte("one"))
	two  = sha256.Sum256([]byte("two"))
)

// claimed asks for the key k of the caller c and says what came of it: "claimed", "busy", "other" or the status.
func claimed(t *testing.T, a *answers, content [32]byte, now time.Time) string {
	t.Helper()
	r, claimed, err := a.Claim(t.Context(), "c", "k", content, now, now.Add(30*time.Second))
	switch {
	case err != nil:
		t.Fatal(err)
		return ""
	case claimed:
		return "claimed"
	case r.Fingerprint != content:
		return "other"
	case r.Status == 0:
		return "busy"
	}
	return fmt.Sprint(r.Status, " ", r.Type, " ", r.Location, " ", string(r.Body))
}

func keep(t *testing.T, a *answers, status int, body string, now time.Time) {
	t.Helper()
	r := door.Remembered{Fingerprint: one, Status: status, Type: "application/json", Location: "/x", Body: []byte(body), Expires: now.Add(door.KeyLife)}
	if err := a.Keep(t.Context(), "c", "k", r); err != nil {
		t.Fatal(err)
	}
}

// An answer outlives its process; so does a claim, which the same request takes over and no other. Red when the claims of
// dead processes stand, or fall for everybody.
func TestAnswersOutliveTheirProcess(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "souk.db")
	expect := func(a *answers, content [32]byte, now time.Time, want string) {
		t.Helper()
		if got := claimed(t, a, content, now); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	first, _, end := table(t, path)
	expect(first, one, noon, "claimed")
	expect(first, one, noon, "busy")
	expect(first, two, noon, "other")
	end()
	second, _, end := table(t, path)
	expect(second, two, noon, "other")
	expect(second, one, noon, "claimed")
	expect(second, one, noon, "busy")
	keep(t, second, 202, "first", noon)
	keep(t, second, 409, "late", noon)
	end()
	third, _, _ := table(t, path)
	expect(third, one, noon, "202 application/json /x first")
	expect(third, two, noon, "other")
	if err := third.Release(t.Context(), "c", "k"); err != nil { // of a claim; there is none
		t.Fatal(err)
	}
	expect(third, one, noon.Add(door.KeyLife-time.Second), "202 application/json /x first")
	expect(third, two, noon.Add(door.KeyLife), "claimed")
	if err := third.Release(t.Context(), "c", "k"); err != nil {
		t.Fatal(err)
	}
	expect(third, one, noon.Add(door.KeyLife), "claimed")
	expect(third, one, noon.Add(door.KeyLife).Add(30*time.Second), "claimed") // it hangs: the request may try again
	expect(third, two, noon.Add(door.KeyLife).Add(60*time.Second), "other")
}

// A key keeps the instant at which it was claimed first: over a claim that was given back, one whose process died and an
// answer, until it expires. Red when a claim that is given back is deleted, when taking one over sets the instant, or when expiry does not.
func TestAnswersKnowSinceWhen(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "souk.db")
	expect := func(a *answers, content [32]byte, now, since time.Time) {
		t.Helper()
		r, _, err := a.Claim(t.Context(), "c", "k", content, now, now.Add(30*time.Second))
		if err != nil || !r.Since.Equal(since) {
			t.Errorf("at %s: since %s, %v", now, r.Since, err)
		}
	}
	first, _, end := table(t, path)
	expect(first, one, noon, noon)
	if err := first.Release(t.Context(), "c", "k"); err != nil {
		t.Fatal(err)
	}
	expect(first, two, noon.Add(time.Minute), noon)
	end()
	second, _, _ := table(t, path)
	expect(second, two, noon.Add(2*time.Minute), noon)
	keep(t, second, 202, "done", noon.Add(2*time.Minute))
	expect(second, one, noon.Add(time.Hour), noon)
	later := noon.Add(2*time.Minute + door.KeyLife)
	expect(second, one, later, later)
}

// Whoever asks for a key while the database stands still is told so when their time is over, and keeps nobody from the key afterwards. Red when the claim
// is waited for whatever becomes of the caller, and when it stays behind without them.
func TestAClaimEndsWithItsCaller(t *testing.T) {
	t.Parallel()
	a, store, end := table(t, filepath.Join(t.TempDir(), "souk.db"))
	defer end()
	a.claims = make(chan struct{}, 2)
	let := make(chan struct{})
	store.let.Store(&let)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, _, err := a.Claim(ctx, "c", "k", one, noon, noon.Add(30*time.Second))
		ended <- err
	}()
	select {
	case err := <-ended:
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("it was told %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it waits for the database")
	}
	close(let)
	store.let.Store(nil)
	if !testserver.Await(t.Context(), 10*time.Second, func() bool { return len(a.claims) == 0 }) {
		t.Fatal("the claim is not given back")
	}
	if got := claimed(t, a, two, noon); got != "claimed" {
		t.Errorf("the next one finds the key %s", got)
	}

	// While it stands still only so many claims wait; what comes then is refused at once.
	let = make(chan struct{})
	store.let.Store(&let)
	for i := range cap(a.claims) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if _, _, err := a.Claim(ctx, "c", fmt.Sprint(i), one, noon, noon.Add(30*time.Second)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("it was told %v", err)
		}
		cancel()
	}
	if _, _, err := a.Claim(t.Context(), "c", "one too many", one, noon, noon.Add(30*time.Second)); !errors.Is(err, backbone.ErrOverloaded) {
		t.Errorf("one too many: %v", err)
	}
	close(let)
	store.let.Store(nil)
}

// What has expired is pruned, in bites, and nothing else is. Red when prune looks at another instant than it is given.
func TestAnswersArePruned(t *testing.T) {
	t.Parallel()
	a, _, _ := table(t, filepath.Join(t.TempDir(), "souk.db"))
	for i := range 10 {
		now := noon.Add(time.Duration(i) * time.Hour)
		if _, claimed, err := a.Claim(t.Context(), "c", fmt.Sprint(i), one, now, now.Add(time.Second)); err != nil || !claimed {
			t.Fatal(i, claimed, err)
		}
	}
	left := func() (keys []string) {
		rows, err := a.store.Query(t.Context(), `SELECT key FROM `+a.table+` ORDER BY key`)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var key string
			if err := rows.Scan(&key); err != nil {
				t.Fatal(err)
			}
			keys = append(keys, key)
		}
		return keys
	}
	for _, step := range []struct {
		at    time.Time
		limit int
		left  int
	}{{noon.Add(24*time.Hour - time.Second), 100, 10}, {noon.Add(24 * time.Hour), 100, 9}, {noon.Add(28 * time.Hour), 2, 7}, {noon.Add(28 * time.Hour), 100, 5}} {
		before := len(left())
		more, err := a.prune(step.at, step.limit)
		if err != nil {
			t.Fatal(err)
		}
		if want := before-step.left == step.limit; more != want {
			t.Errorf("at %s it says %t that there may be more", step.at, more)
		}
		if keys := left(); len(keys) != step.left {
			t.Errorf("at %s, %d are left: %v, want %d", step.at, len(keys), keys, step.left)
		}
	}
	if keys := left(); !slices.Equal(keys, []string{"5", "6", "7", "8", "9"}) {
		t.Errorf("left are %v", keys)
	}
}

// One key has one winner, and what was answered is seen without a transaction. Red when each claim looks before its
// transaction only, or when none does.
func TestAnswersHaveOneWinner(t *testing.T) {
	t.Parallel()
	a, store, _ := table(t, filepath.Join(t.TempDir(), "souk.db"))
	var won atomic.Int64
	var all sync.WaitGroup
	for range 20 {
		for _, key := range []string{"a", "b", "c"} {
			all.Go(func() {
				_, claimed, err := a.Claim(t.Context(), "c", key, one, noon, noon.Add(time.Minute))
				if err != nil {
					t.Error(err)
				}
				if claimed {
					won.Add(1)
				}
			})
		}
	}
	all.Wait()
	if won.Load() != 3 {
		t.Errorf("%d claims won, want one a key", won.Load())
	}
	before := store.begun.Load()
	if _, claimed, err := a.Claim(t.Context(), "c", "a", two, noon, noon.Add(time.Minute)); claimed || err != nil {
		t.Error(claimed, err)
	}
	if n := store.begun.Load() - before; n != 0 {
		t.Errorf("%d transactions to see that a key is taken", n)
	}
}

// until polls until the condition holds; it fails the test after 10 s.
func until(t *testing.T, condition func() bool) {
	t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-deadline.C:
			t.Fatal("not within 10 s")
		case <-tick.C:
		}
	}
}
