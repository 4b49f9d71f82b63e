package house

import (
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
)

// Whoever asks, the database is written to once a second at most; an error is told until a write succeeds again; one that
// hangs is told too, and is not joined by others. Red when every question writes, or when the last good write counts for ever.
func TestWritable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var writes atomic.Int64
		full := errors.New("the disk is full")
		var result error
		hang := make(chan struct{})
		w := &writable{
			every: time.Second, now: time.Now, run: func(f func()) { go f() },
			write: func(context.Context) error {
				if writes.Add(1) == 4 {
					<-hang
				}
				return result
			},
		}
		expect := func(want error, n int64) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := w.check(ctx); !errors.Is(err, want) || writes.Load() != n {
				t.Errorf("%v after %d writes, want %v after %d", err, writes.Load(), want, n)
			}
		}
		expect(nil, 1)
		expect(nil, 1)
		result = full
		expect(nil, 1)
		time.Sleep(time.Second)
		expect(full, 2)
		result = nil
		expect(full, 2)
		time.Sleep(time.Second)
		expect(nil, 3)
		time.Sleep(time.Second)
		expect(errNoWrite, 4)
		expect(errNoWrite, 4)
		close(hang)
		synctest.Wait()
		expect(nil, 4)
	})
}

// A house is alive from the first moment to the last, and ready only between: not before it has started, and no longer
// once it stops.
func TestReadyBetween(t *testing.T) {
	t.Parallel()
	// The payment provider is never called here: nothing listens at its address.
	h, err := Open(t.Context(), Config{
		Logistics: "off", Data: t.TempDir(), HTTP: "127.0.0.1:0", Empty: true, Logger: slog.New(slog.DiscardHandler),
		Payment: PaymentConfig{URL: "http://127.0.0.1:9", KeyFile: keyFile(t)},
	})
	if err != nil {
		t.Fatal(err)
	}
	expect := func(path string, want int) {
		t.Helper()
		rec := httptest.NewRecorder()
		h.Door.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), "GET", path, nil))
		if rec.Code != want {
			t.Errorf("%s: %d %s, want %d", path, rec.Code, rec.Body, want)
		}
	}
	expect("/livez", 200)
	expect("/readyz", 503)
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); { // a database that is slow to answer is not ready
		rec := httptest.NewRecorder()
		h.Door.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), "GET", "/readyz", nil))
		if rec.Code == 200 {
			break
		}
	}
	expect("/readyz", 200)
	if err := h.Stop(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	expect("/livez", 200)
	expect("/readyz", 503)
}

func keyFile(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "api-key")
	if err := os.WriteFile(path, []byte("key"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// opened is a house that has started, without payments and suppliers that anybody could reach; it ends with the test.
func opened(t *testing.T, change ...func(*Config)) *House {
	t.Helper()
	c := Config{
		Logistics: "off", Data: t.TempDir(), HTTP: "127.0.0.1:0", Empty: true, Logger: slog.New(slog.DiscardHandler),
		Payment: PaymentConfig{URL: "http://127.0.0.1:9", KeyFile: keyFile(t)},
	}
	for _, f := range change {
		f(&c)
	}
	h, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return h
}

// After a commit found no room, readiness is judged by a write that needs as much, until one is made. Red when the probe stays
// as small as it is otherwise: a disk that is full for orders has room for it.
func TestReadyNeedsRoom(t *testing.T) {
	t.Parallel()
	h, err := Open(t.Context(), Config{
		Logistics: "off", Data: t.TempDir(), HTTP: "127.0.0.1:0", Empty: true, Logger: slog.New(slog.DiscardHandler),
		Payment: PaymentConfig{URL: "http://127.0.0.1:9", KeyFile: keyFile(t)},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	probed := func(failed error) int {
		t.Helper()
		h.noteRoom(backbone.BatchStats{Err: failed})
		for _, p := range h.probes() { // new ones have no answer yet, so they write
			if err := p.Check(t.Context()); err != nil {
				t.Errorf("%s: %v", p.Name, err)
			}
		}
		value, err := h.stores.shared.Value(t.Context(), doorTables, "probe")
		if err != nil {
			t.Fatal(err)
		}
		return len(value)
	}
	for _, c := range []struct {
		failed error
		want   int
	}{{nil, 0}, {driver.ErrUnavailable, 0}, {driver.ErrFull, roomy}, {nil, 0}} {
		if got := probed(c.failed); got != c.want {
			t.Errorf("after %v the probe is %d bytes, want %d", c.failed, got, c.want)
		}
	}
}
