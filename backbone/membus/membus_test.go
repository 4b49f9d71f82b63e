package membus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/drivertest"
	"example.org/souk/backbone/membus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestContract opens one Bus as many times as the suite asks for instances: they
// share it as processes share a broker.
func TestContract(t *testing.T) {
	drivertest.RunTransport(t, func(*testing.T) drivertest.TransportWorld {
		bus := membus.New(membus.Config{})
		return drivertest.TransportWorld{Name: "membus", Many: true, Open: func(*testing.T) drivertest.TransportInstance {
			return drivertest.TransportInstance{Transport: bus}
		}}
	})
}

// taker acknowledges what it gets.
type taker struct{ ids chan string }

func (k *taker) Assign([]driver.Checkpoint) {}
func (k *taker) Revoke([]int)               {}
func (k *taker) Deliver(_ context.Context, _ int, ds []driver.Delivery) error {
	for _, d := range ds {
		k.ids <- d.ID
		d.Ack(nil)
	}
	return nil
}

func event(i int) driver.Record {
	return driver.Record{Kind: driver.KindEvent, ID: fmt.Sprint("e", i), Stream: "s", Type: "thing"}
}

func spec() driver.Subscription {
	return driver.Subscription{
		Service: "points", Name: "main",
		Interests: []driver.Interest{{Source: "orders", Types: []string{"thing"}}},
	}
}

func subscribe(t *testing.T, b *membus.Bus, s driver.Subscription, k driver.Sink) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- b.Subscribe(ctx, s, k, ready) }()
	<-ready
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("subscription ended: %v", err)
		}
	}
}

func TestCopiesComeBehindTheOriginal(t *testing.T) {
	b := membus.New(membus.Config{Copies: func(m driver.Message) int {
		if m.ID == "e2" {
			return 2
		}
		return 0
	}})
	defer b.Close()
	k := &taker{make(chan string, 10)}
	defer subscribe(t, b, spec(), k)()
	if _, err := b.Publish(t.Context(), "orders", []driver.Record{event(1), event(2), event(3)}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for range 5 {
		got = append(got, <-k.ids)
	}
	if want := []string{"e1", "e2", "e2", "e2", "e3"}; !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

func TestPublishWaitsForRoom(t *testing.T) {
	b := membus.New(membus.Config{Queue: 2})
	defer b.Close()
	k := &taker{make(chan string, 10)}
	subscribe(t, b, spec(), k)() // the queue stays
	if _, err := b.Publish(t.Context(), "orders", []driver.Record{event(1), event(2)}); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := b.Publish(short, "orders", []driver.Record{event(3)}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("publish to a full queue: %v", err)
	}
	if _, err := b.Publish(t.Context(), "stock", []driver.Record{event(3)}); err != nil {
		t.Errorf("publish that no full queue wants: %v", err)
	}
	published := make(chan error, 1)
	go func() { _, err := b.Publish(t.Context(), "orders", []driver.Record{event(4)}); published <- err }()
	defer subscribe(t, b, spec(), k)()
	for _, want := range []string{"e1", "e2", "e4"} {
		if got := <-k.ids; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if err := <-published; err != nil {
		t.Error(err)
	}
}

func TestFirstRecordsThatAreGoneAreNotPromised(t *testing.T) {
	b := membus.New(membus.Config{Retain: 2})
	defer b.Close()
	if _, err := b.Publish(t.Context(), "orders", []driver.Record{event(1), event(2), event(3)}); err != nil {
		t.Fatal(err)
	}
	s := spec()
	s.FromFirst = true
	if err := b.Subscribe(t.Context(), s, &taker{}, nil); err == nil {
		t.Error("a subscription begins at a first record that is gone")
	}
}

func BenchmarkPublishToAck(b *testing.B) {
	bus := membus.New(membus.Config{})
	defer bus.Close()
	ctx, cancel := context.WithCancel(b.Context())
	ready, done := make(chan struct{}), make(chan error, 1)
	k := &taker{make(chan string, 1024)}
	go func() { done <- bus.Subscribe(ctx, spec(), k, ready) }()
	<-ready
	rs := make([]driver.Record, 100)
	for i := range rs {
		rs[i] = event(i)
		rs[i].Stream = fmt.Sprint("s", i)
	}
	go func() {
		for range b.N/100 + 1 {
			_, _ = bus.Publish(ctx, "orders", rs)
		}
	}()
	b.ResetTimer()
	for range b.N {
		<-k.ids
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
	go func() { // the rest
		for range k.ids {
		}
	}()
	cancel()
	<-done //nolint:errcheck // it says only that the subscription has ended
	close(k.ids)
}
