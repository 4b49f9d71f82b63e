package backbone_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/logbus"
	"example.org/souk/backbone/sqlitestore"
)

// tardy is a transport that delivers nothing until somebody asks what lies behind,
// and then delivers all of it before it answers.
type tardy struct {
	*logbus.Bus
	asked chan struct{}
	once  sync.Once
}

func (b *tardy) Subscribe(ctx context.Context, s driver.Subscription, sink driver.Sink, ready chan<- struct{}) error {
	return b.Bus.Subscribe(ctx, s, tardySink{sink, b.asked}, ready)
}

func (b *tardy) Behind(ctx context.Context) (int64, error) {
	b.once.Do(func() { close(b.asked) })
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if n, err := b.Bus.Behind(ctx); n == 0 || err != nil {
			return n, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

type tardySink struct {
	driver.Sink
	asked chan struct{}
}

func (s tardySink) Deliver(ctx context.Context, slice int, ds []driver.Delivery) error {
	select {
	case <-s.asked:
	case <-ctx.Done():
	}
	return s.Sink.Deliver(ctx, slice, ds)
}

// What is delivered while it is asked what is in flight is in flight. Red when the
// lanes are looked at before the transport.
func TestIdleSeesWhatIsOnItsWayToTheLanes(t *testing.T) {
	t.Parallel()
	entered, goOn := make(chan struct{}), make(chan struct{})
	svc := books(func(ctx context.Context, tx backbone.Tx, e taken) error {
		close(entered)
		<-goOn
		return enter(ctx, tx, e)
	})
	svc.HandlerTimeout = time.Minute
	store, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Path: filepath.Join(t.TempDir(), "test.db")})
	if err != nil {
		t.Fatal(err)
	}
	of := func(string) driver.Store { return store }
	bus := &tardy{Bus: logbus.New(logbus.Config{Store: of}), asked: make(chan struct{})}
	r, err := backbone.New(backbone.Config{Parts: []*backbone.Service{tills(nil), svc}, Store: of, Transport: bus})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	release := sync.OnceFunc(func() { close(goOn) })
	t.Cleanup(func() {
		release()
		if err := errors.Join(r.Stop(context.Background()), bus.Close(), store.Close()); err != nil {
			t.Error(err)
		}
	})
	if _, err := r.Do(t.Context(), take{"t1", 1}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for range 10 {
		if idle, err := r.Idle(ctx); err != nil || idle {
			t.Fatalf("idle: %v (%v), and a handler is at work or will be", idle, err)
		}
	}
	<-entered
	if idle, err := r.Idle(ctx); err != nil || idle {
		t.Fatalf("idle: %v (%v), and a handler is at work", idle, err)
	}
	release()
	w := &world{t: t, store: store, Runtime: r}
	w.settle()
	if got := w.book("t1"); len(got) != 1 {
		t.Errorf("the book has %v", got)
	}
}

// severed is a transport that ends subscriptions when it is told to, and begins them again when it is told that.
type severed struct {
	*logbus.Bus
	cut, mend chan struct{}
}

func (b *severed) Subscribe(ctx context.Context, s driver.Subscription, sink driver.Sink, ready chan<- struct{}) error {
	select {
	case <-b.cut:
		select {
		case <-b.mend:
		case <-ctx.Done():
			return nil
		}
		return b.Bus.Subscribe(ctx, s, sink, ready)
	default:
	}
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-b.cut:
			cancel()
		case <-inner.Done():
		}
	}()
	return errors.Join(b.Bus.Subscribe(inner, s, sink, ready), errors.New("cut off"))
}

// What is committed while a subscription is cut off from its transport is in flight until it has come back and handled it.
// Red where only those subscriptions are asked that run.
func TestNotIdleWhileASubscriptionIsCutOff(t *testing.T) {
	t.Parallel()
	store, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Path: filepath.Join(t.TempDir(), "test.db")})
	if err != nil {
		t.Fatal(err)
	}
	of := func(string) driver.Store { return store }
	bus := &severed{logbus.New(logbus.Config{Store: of}), make(chan struct{}), make(chan struct{})}
	over := make(chan struct{}, 16)
	r, err := backbone.New(backbone.Config{
		Parts: []*backbone.Service{tills(nil), books(enter)}, Store: of, Transport: bus,
		Hooks: backbone.Hooks{Alarm: func(backbone.Alarm) { over <- struct{}{} }},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(r.Stop(context.Background()), bus.Close(), store.Close()); err != nil {
			t.Error(err)
		}
	})
	w := &world{t: t, store: store, Runtime: r}
	w.settle()
	close(bus.cut)
	for range 3 { // both services subscribe, and the view
		select {
		case <-over:
		case <-time.After(20 * time.Second):
			t.Fatal("no subscription was cut off")
		}
	}
	if _, err := r.Do(t.Context(), take{"t1", 1}); err != nil {
		t.Fatal(err)
	}
	if idle, err := r.Idle(t.Context()); err != nil || idle {
		t.Errorf("idle: %v (%v), and nobody has handled the event", idle, err)
	}
	close(bus.mend)
	w.settle()
	if got := w.book("t1"); len(got) != 1 {
		t.Errorf("the book has %v", got)
	}
}
