package natsbus_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/internal/brokertest"
	"example.org/souk/backbone/natsbus"
	"example.org/souk/backbone/pgstore"
	"example.org/souk/internal/testserver"
)

// F3: a stream whose largest message was made smaller while a mall runs holds back what is larger and what follows that in its stream of events, and nothing else;
// it goes out when the limit is raised again. Both where the server stores the messages of a batch one by one, and where it stores all or none.
// Red where the relay tries the whole batch again, and where the client goes by the limit that it has read once.
func TestF3_TooLargeHoldsItsStreamBack(t *testing.T) {
	for name, flushed := range map[string]bool{"one by one": false, "all or none": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tooLarge(t, flushed)
		})
	}
}

func tooLarge(t *testing.T, flushed bool) {
	server := testserver.NATS(t)
	namespace := server.Name()
	store, err := pgstore.Open(t.Context(), pgstore.Config{URL: testserver.Postgres(t).Database(t)})
	if err != nil {
		t.Fatal(err)
	}
	of, quiet := func(string) driver.Store { return store }, slog.New(slog.DiscardHandler)
	bus, err := natsbus.New(natsbus.Config{
		Client: natsbus.ClientConfig{URL: server.URL(), Flushed: flushed}, Store: of, Namespace: namespace, Logger: quiet,
	})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var alarms []string
	r, err := backbone.New(backbone.Config{Parts: brokertest.Parts(), Store: of, Transport: bus, Logger: quiet, Hooks: backbone.Hooks{Alarm: func(a backbone.Alarm) {
		mu.Lock()
		defer mu.Unlock()
		alarms = append(alarms, a.Text)
	}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), soon)
		defer cancel()
		if err := errors.Join(r.Stop(ctx), bus.Close(), store.Close()); err != nil {
			t.Error(err)
		}
	})
	sold := map[string]int64{}
	sell := func(note string, tills ...string) {
		t.Helper()
		var all sync.WaitGroup
		for _, till := range tills {
			sold[till]++
			all.Go(func() {
				if _, err := r.Do(t.Context(), brokertest.Sell{Till: till, Note: note}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
	entered := func(when string, want map[string]int64) {
		t.Helper()
		var have map[string][]int64
		brokertest.Await(t, when, func() bool {
			have = brokertest.Entries(t, store)
			for till, n := range want {
				if int64(len(have[till])) < n {
					return false
				}
			}
			return true
		})
		for till, n := range want {
			wanted := make([]int64, n)
			for i := range wanted {
				wanted[i] = int64(i + 1)
			}
			if !slices.Equal(have[till], wanted) {
				t.Fatalf("%s, till %s has the entries %v, want 1 to %d", when, till, have[till], n)
			}
		}
	}
	held := func() []backbone.HeldBack {
		list, err := backbone.HeldByRelay(t.Context(), store, "shop")
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	limit := func(most int32) {
		t.Helper()
		js := raw(t, server.URL())
		stream, err := js.Stream(t.Context(), namespace+"_shop")
		if err != nil {
			t.Fatal(err)
		}
		config := stream.CachedInfo().Config
		config.MaxMsgSize = most
		if _, err := js.UpdateStream(t.Context(), config); err != nil {
			t.Fatal(err)
		}
	}

	tills := []string{"a", "b", "c", "d", "e"}
	sell("", tills...)
	entered("with the server's limit", sold)
	limit(4000)
	sell(strings.Repeat("x", 5000), "c")
	for range 5 {
		sell("", tills...)
	}
	entered("with a lower limit", map[string]int64{"a": 6, "b": 6, "c": 1, "d": 6, "e": 6})
	brokertest.Await(t, "what is held back to be noted", func() bool { return len(held()) == 1 })
	b := held()[0]
	mu.Lock()
	if len(alarms) != 1 || !strings.Contains(alarms[0], b.ID) || b.Stream != "till/c" || !strings.Contains(b.Cause, "4000") && !strings.Contains(b.Cause, "maximum") {
		t.Errorf("held back is %+v, and the alarms are %v", b, alarms)
	}
	mu.Unlock()
	brokertest.Await(t, "all to be at rest", func() bool { // what is held back does not count
		idle, err := r.Idle(t.Context())
		return err == nil && idle
	})
	limit(-1)
	entered("with the limit raised", sold)
	brokertest.Await(t, "nothing to be held back", func() bool { return len(held()) == 0 })
	sell("", tills...)
	entered("afterwards", sold)
}
