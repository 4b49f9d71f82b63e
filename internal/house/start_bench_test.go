package house

import (
	"context"
	"log/slog"
	"testing"
)

// BenchmarkStart measures how long the whole mall takes until it is ready, on a data directory that is empty and on one that is not.
func BenchmarkStart(b *testing.B) {
	start := func(b *testing.B, data string) {
		h, err := Open(b.Context(), Config{
			Logistics: "off", Data: data, HTTP: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler),
			Payment: PaymentConfig{URL: "http://127.0.0.1:9", KeyFile: keyFile(b)},
		})
		if err == nil {
			err = h.Start(b.Context())
		}
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := h.Stop(context.WithoutCancel(b.Context())); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			start(b, b.TempDir())
		}
	})
	b.Run("again", func(b *testing.B) {
		data := b.TempDir()
		start(b, data)
		for b.Loop() {
			start(b, data)
		}
	})
}
