package natsbus

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"example.org/souk/backbone/internal/broker"
)

// sender is a broker that takes what it is sent when the test lets it.
type sender struct {
	begun chan []string // the ids of each call
	let   chan error
}

func newSender() *sender { return &sender{begun: make(chan []string), let: make(chan error)} }

func (s *sender) send(ctx context.Context, ms []broker.Outgoing) ([]broker.Anchor, error) {
	var ids []string
	for _, m := range ms {
		ids = append(ids, m.ID)
	}
	s.begun <- ids
	select {
	case err := <-s.let:
		if err != nil {
			return nil, err
		}
		last := ms[len(ms)-1]
		return []broker.Anchor{{Topic: last.Topic, ID: last.ID}}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// callers send one message each, in order, and wait until it stands in line.
type callers struct {
	t   *testing.T
	g   *gather
	all sync.WaitGroup

	mu   sync.Mutex
	said map[string]string // by the message: the anchor's, or the error
}

func (c *callers) send(ctx context.Context, topic, id string, inLine int) {
	c.t.Helper()
	c.all.Go(func() {
		anchors, err := c.g.share(ctx, []broker.Outgoing{{Topic: topic, ID: id}})
		c.mu.Lock()
		defer c.mu.Unlock()
		switch {
		case err != nil:
			c.said[id] = err.Error()
		default:
			c.said[id] = anchors[0].ID
		}
	})
	for waiting := -1; waiting != inLine; {
		runtime.Gosched()
		c.g.mu.Lock()
		if waiting = 0; c.g.topics[topic] != nil {
			waiting = len(c.g.topics[topic].waiting)
		}
		c.g.mu.Unlock()
	}
}

// gone waits until nothing is left of what was in line.
func (c *callers) gone() {
	for left := 1; left > 0 && c.t.Context().Err() == nil; {
		runtime.Gosched()
		c.g.mu.Lock()
		left = len(c.g.topics)
		c.g.mu.Unlock()
	}
}

func (c *callers) answers(id string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.said[id]
}

// next waits for the next call.
func (s *sender) next(t *testing.T) []string {
	t.Helper()
	select {
	case ids := <-s.begun:
		return ids
	case <-time.After(20 * time.Second):
		t.Fatal("nothing more is sent")
		return nil
	}
}

func expectSent(t *testing.T, s *sender, want ...string) {
	t.Helper()
	if got := s.next(t); !slices.Equal(got, want) {
		t.Fatalf("sent %v, want %v", got, want)
	}
}

// Who comes while a batch is under way goes with the next, together with all others; another topic waits for nobody. Red when each goes by itself,
// and when topics share a line.
func TestCallersShareABatch(t *testing.T) {
	t.Parallel()
	s := newSender()
	c := &callers{t: t, g: &gather{send: s.send, flights: 1}, said: map[string]string{}}
	c.send(t.Context(), "a", "1", 0)
	expectSent(t, s, "1")
	for i := range 5 {
		c.send(t.Context(), "a", fmt.Sprint(2+i), 1+i)
	}
	c.send(t.Context(), "b", "x", 0)
	expectSent(t, s, "x")
	s.let <- nil
	s.let <- nil
	expectSent(t, s, "2", "3", "4", "5", "6")
	s.let <- nil
	c.all.Wait()
	for id, want := range map[string]string{"1": "1", "2": "6", "6": "6", "x": "x"} {
		if got := c.answers(id); got != want {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
	}
	c.gone()
}

// So many batches are under way at once as may be: who comes then goes with the next, as soon as one of them has ended, whichever.
func TestBatchesAtOnce(t *testing.T) {
	t.Parallel()
	s := newSender()
	c := &callers{t: t, g: &gather{send: s.send, flights: 2}, said: map[string]string{}}
	c.send(t.Context(), "a", "1", 0)
	c.send(t.Context(), "a", "2", 0)
	if first, second := s.next(t), s.next(t); len(first) != 1 || len(second) != 1 {
		t.Fatalf("sent %v and %v, want one each", first, second)
	}
	c.send(t.Context(), "a", "3", 1)
	c.send(t.Context(), "a", "4", 2)
	s.let <- nil
	expectSent(t, s, "3", "4")
	c.send(t.Context(), "a", "5", 1)
	s.let <- nil
	expectSent(t, s, "5")
	s.let <- nil
	s.let <- nil
	c.all.Wait()
	c.gone()
}

// A batch that fails is sent again by each caller for themselves, so that one message that cannot be sent fails nobody else's. Red when the error of
// the batch is everybody's.
func TestOneCallersErrorIsTheirs(t *testing.T) {
	t.Parallel()
	s := newSender()
	c := &callers{t: t, g: &gather{send: s.send, flights: 1}, said: map[string]string{}}
	c.send(t.Context(), "a", "1", 0)
	expectSent(t, s, "1")
	c.send(t.Context(), "a", "large", 1)
	c.send(t.Context(), "a", "small", 2)
	s.let <- nil
	expectSent(t, s, "large", "small")
	s.let <- errors.New("too large")
	first := s.next(t)[0]
	second := s.next(t)[0]
	if first == second || first != "large" && first != "small" {
		t.Fatalf("sent again %s and %s", first, second)
	}
	// Either may be let go first, so each is told the same and the answers are looked at in turn.
	s.let <- nil
	s.let <- errors.New("too large")
	c.all.Wait()
	said := []string{c.answers("large"), c.answers("small")}
	if n := len(slices.DeleteFunc(slices.Clone(said), func(s string) bool { return s != "too large" })); n != 1 {
		t.Errorf("large: %s, small: %s; want one error", said[0], said[1])
	}
}

// Who gives up while they stand in line is not sent; who gives up later leaves the others alone, and when all have, the batch is ended.
func TestCallersGiveUp(t *testing.T) {
	t.Parallel()
	s := newSender()
	c := &callers{t: t, g: &gather{send: s.send, flights: 1}, said: map[string]string{}}
	inLine, leave := context.WithCancel(t.Context())
	under, end := context.WithCancel(t.Context())
	both, all := context.WithCancel(t.Context())
	c.send(t.Context(), "a", "1", 0)
	expectSent(t, s, "1")
	c.send(inLine, "a", "never", 1)
	c.send(under, "a", "2", 2)
	c.send(t.Context(), "a", "3", 3)
	leave()
	s.let <- nil
	expectSent(t, s, "2", "3")
	end()
	c.send(both, "a", "4", 1)
	c.send(both, "a", "5", 2)
	s.let <- nil
	expectSent(t, s, "4", "5")
	all()
	// The batch ends by itself; each of the two is tried for a caller who has gone, and ends as well.
	for range 2 {
		s.next(t)
	}
	c.all.Wait()
	for id, want := range map[string]string{"never": "context canceled", "2": "context canceled", "3": "3", "4": "context canceled", "5": "context canceled"} {
		if got := c.answers(id); got != want {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
	}
}
