package house

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/mall/command"
)

// F6: a mall forgets answers as it is told to; the command line, which does not know what it was told, forgets none.
// Red when a quiet house prunes.
func TestF6_TheCommandLineForgetsNothing(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	// The payment provider is never called here: nothing listens at its address.
	provider := PaymentConfig{URL: "http://127.0.0.1:9", KeyFile: keyFile(t)}
	while := func(quiet bool, fn func(*backbone.Runtime)) {
		t.Helper()
		h, err := Open(t.Context(), Config{
			Logistics: "off", Data: data, HTTP: "127.0.0.1:0", Empty: true, Quiet: quiet, Logger: slog.New(slog.DiscardHandler),
			Payment: provider, OrderPatience: time.Millisecond, Retention: time.Millisecond,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := h.Stop(context.WithoutCancel(t.Context())); err != nil {
				t.Error(err)
			}
		}()
		if err := h.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		fn(h.Runtime)
	}
	// repeated prunes, then sends a command that was sent before, and reports whether its answer was kept.
	repeated := func(r *backbone.Runtime) bool {
		t.Helper()
		if err := r.Prune(t.Context()); err != nil {
			t.Fatal(err)
		}
		c := command.CreateStore{Store: "hall", Name: "Hall", Location: "main"}
		a, err := r.Do(t.Context(), c, backbone.WithID("create-hall"))
		if err != nil {
			t.Fatal(err)
		}
		return a.Repeated
	}
	while(true, func(r *backbone.Runtime) {
		repeated(r)
		for began := time.Now(); time.Since(began) < 20*time.Millisecond; {
			if !repeated(r) {
				t.Fatal("a quiet house has forgotten an answer")
			}
		}
	})
	while(false, func(r *backbone.Runtime) {
		if repeated(r) {
			t.Error("a house has kept an answer for longer than it was told to")
		}
	})
}
