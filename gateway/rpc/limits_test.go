package rpc

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	soukv1 "example.org/souk/api/gen/souk/v1"
	"example.org/souk/api/gen/souk/v1/soukv1connect"
	"example.org/souk/backbone"
	"example.org/souk/gateway/door"
	"example.org/souk/mall/command"
)

// F10: a message one byte too long, also one that is so only when it is unpacked, is refused. Red without the bound.
func TestF10_MessagesAreBounded(t *testing.T) {
	t.Parallel()
	b := begin(t, func(c *Config) { c.MaxMessage = 1024 })
	body := func(n int) string {
		const frame = `{"product":""}`
		return strings.Replace(frame, `""`, `"`+strings.Repeat("x", n-len(frame))+`"`, 1)
	}
	if _, code := b.json("staff:anna", "StoresService/GetProduct", body(1024)); code != "invalid_argument" {
		t.Errorf("the longest: %s", code)
	}
	if _, code := b.json("staff:anna", "StoresService/GetProduct", body(1025)); code != "resource_exhausted" {
		t.Errorf("one byte more: %s", code)
	}
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	if _, err := z.Write([]byte(body(1_000_000))); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.url+soukv1connect.StoresServiceGetProductProcedure, &bomb)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"Content-Type": "application/json", "Content-Encoding": "gzip", callerHeader: "staff:anna"} {
		r.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusTooManyRequests { // how Connect says resource_exhausted
		t.Errorf("unpacked: %d", resp.StatusCode)
	}
}

// barrier holds commands until it is opened.
type barrier struct {
	entered chan struct{}
	open    chan struct{}
}

func (h *barrier) Do(ctx context.Context, _ backbone.Command, _ ...backbone.DoOption) (backbone.Answer, error) {
	h.entered <- struct{}{}
	select {
	case <-h.open:
		return backbone.Answer{Outcome: backbone.Done}, nil
	case <-ctx.Done():
		return backbone.Answer{}, ctx.Err()
	}
}

func (b *bench) remove(caller string) error {
	return b.grpc.Invoke(b.as(caller), soukv1connect.StoresServiceRemoveProductProcedure,
		&soukv1.RemoveProductRequest{CommandId: "c1", Product: "pen"}, &soukv1.RemoveProductResponse{})
}

// F11: what is too much is refused and told when to come again, and what takes too long ends.
func TestF11_OverloadAndDeadlines(t *testing.T) {
	t.Parallel()
	held := &barrier{make(chan struct{}, 8), make(chan struct{})}
	b := begin(t, func(c *Config) {
		c.Commands, c.MaxInFlight, c.Timeout = held, 2, time.Minute
		c.CallerRate = door.Rate{PerSecond: 0.001, Burst: 2}
	})
	var calls sync.WaitGroup
	for range 2 {
		calls.Go(func() {
			if err := b.remove("process:a"); err != nil {
				t.Errorf("held: %v", err)
			}
		})
		<-held.entered
	}
	if err := b.remove("process:a"); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a third: %v", err)
	}
	close(held.open)
	calls.Wait()
	for i, want := range []codes.Code{codes.OK, codes.OK, codes.ResourceExhausted} {
		if err := b.remove("staff:anna"); status.Code(err) != want {
			t.Errorf("call %d: %v", i, err)
		}
	}
	if err := b.remove("staff:bert"); err != nil {
		t.Errorf("another caller: %v", err)
	}
	b = begin(t, func(c *Config) { c.AddressRate = door.Rate{PerSecond: 0.001, Burst: 2} })
	for i, want := range []codes.Code{codes.Unauthenticated, codes.Unauthenticated, codes.ResourceExhausted} {
		if err := b.remove("stranger"); status.Code(err) != want {
			t.Errorf("knock %d of an address: %v", i, err)
		}
	}

	held = &barrier{make(chan struct{}, 1), nil}
	b = begin(t, func(c *Config) { c.Commands, c.Timeout = held, 50*time.Millisecond })
	begun := time.Now()
	if err := b.remove("staff:anna"); status.Code(err) != codes.DeadlineExceeded || time.Since(begun) > 10*time.Second { // the client gives up at 20 s
		t.Errorf("for ever: %v after %v", err, time.Since(begun))
	}
}

// F10: a stream ends when the credentials that opened it are revoked or expire, and one caller has so many streams.
func TestF10_StreamsEndWithTheirCredentials(t *testing.T) {
	t.Parallel()
	type credentials struct {
		expires time.Time
		revoke  atomic.Pointer[context.CancelCauseFunc]
	}
	var now atomic.Pointer[credentials]
	now.Store(&credentials{})
	b := begin(t, func(c *Config) {
		c.StreamsPerCaller = 1
		c.Caller = func(*http.Request) (*Caller, error) {
			k := now.Load()
			return &Caller{Kind: Process, Subject: "online", Expires: k.expires, Follow: func(ctx context.Context) (context.Context, func()) {
				ctx, cut := context.WithCancelCause(ctx)
				k.revoke.Store(&cut)
				return ctx, func() { cut(nil) }
			}}, nil
		}
	})
	follow := func() grpc.ClientStream {
		s, err := b.grpc.NewStream(b.as("process:online"), &grpc.StreamDesc{ServerStreams: true}, soukv1connect.OrdersServiceFollowFeedsProcedure)
		if err == nil {
			err = s.SendMsg(&soukv1.FollowFeedsRequest{})
		}
		if err == nil {
			err = s.CloseSend()
		}
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := follow()
	if err := s.RecvMsg(&soukv1.FollowFeedsResponse{}); err != nil {
		t.Fatal(err)
	}
	if err := follow().RecvMsg(&soukv1.FollowFeedsResponse{}); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a second stream: %v", err)
	}
	(*now.Load().revoke.Load())(fmt.Errorf("%w: gone", door.ErrToken))
	if err := s.RecvMsg(&soukv1.FollowFeedsResponse{}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("revoked: %v", err)
	}
	now.Store(&credentials{expires: time.Now().Add(300 * time.Millisecond)})
	var err error
	for err = errors.New("the first stream is still counted"); err != nil && status.Code(err) != codes.OK; {
		s = follow()
		if err = s.RecvMsg(&soukv1.FollowFeedsResponse{}); err != nil && status.Code(err) != codes.ResourceExhausted {
			t.Fatal(err)
		}
	}
	if err := s.RecvMsg(&soukv1.FollowFeedsResponse{}); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("expired: %v", err)
	}
}

// careless panics, or forgets to ask whose something is.
type careless struct {
	*server
	fault string
}

func (h careless) GetContact(context.Context, *connect.Request[soukv1.GetContactRequest]) (*connect.Response[soukv1.GetContactResponse], error) {
	if h.fault == "panic" {
		panic("secret")
	}
	return connect.NewResponse(&soukv1.GetContactResponse{Contact: &soukv1.Contact{Name: "secret"}}), nil
}

// A handler that panics takes nobody along, and one that forgets to ask whose it is tells nothing.
func TestCarelessHandlers(t *testing.T) {
	t.Parallel()
	for _, fault := range []string{"panic", "forgets"} {
		b := begin(t, func(c *Config) { c.Run = nil })
		handler, err := New(Config{
			Commands: b.Runtime(), Reader: b.Reader, Changed: b.Runtime().Changed, Control: b.Runtime(), Caller: testCaller,
		})
		if err != nil {
			t.Fatal(err)
		}
		s := handler.(*server)
		all := faces()
		f := all[slices.IndexFunc(all, func(f face) bool { return f.service == "notifications" })]
		f.serve = func(s *server, o ...connect.HandlerOption) (string, http.Handler) {
			return soukv1connect.NewNotificationsServiceHandler(careless{s, fault}, o...)
		}
		options := []connect.HandlerOption{connect.WithInterceptors(judge{s}), connect.WithRecover(s.survive)}
		if err := s.add(&f, options); err != nil {
			t.Fatal(err)
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/souk.v1.NotificationsService/GetContact", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set(callerHeader, "customer:C1")
		w := &recorder{header: http.Header{}}
		s.ServeHTTP(w, r)
		if w.status != http.StatusInternalServerError || strings.Contains(w.body.String(), "secret") {
			t.Errorf("%s: %d %s", fault, w.status, w.body.String())
		}
	}
}

// recorder keeps what is answered.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }

// A reader that takes nothing is let go, so that it holds nothing for ever. Red when a message of a stream may take as long as it likes.
func TestSlowReadersAreLetGo(t *testing.T) {
	t.Parallel()
	b := begin(t, func(c *Config) { c.SlowAfter, c.StreamsPerCaller = 100*time.Millisecond, 1 })
	for i := range 500 { // more than a connection holds for a reader that takes nothing
		b.Do(t, command.ReceiveStock{SKU: "INK", Location: "main", Quantity: int64(i + 1)})
	}
	s, err := b.grpc.NewStream(b.as("process:slow"), &grpc.StreamDesc{ServerStreams: true}, soukv1connect.LogServiceReadLogProcedure)
	if err == nil {
		err = s.SendMsg(&soukv1.ReadLogRequest{Service: "inventory"})
	}
	if err == nil {
		err = s.CloseSend()
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Header(); err != nil { // the first piece is under way
		t.Fatal(err)
	}
	if _, err := b.log("process:slow", &soukv1.ReadLogRequest{Service: "inventory", Limit: 1}); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("beside the slow one: %v", err)
	}
	for begun := time.Now(); ; {
		_, err := b.log("process:slow", &soukv1.ReadLogRequest{Service: "inventory", Limit: 1})
		if err == nil {
			break
		}
		if status.Code(err) != codes.ResourceExhausted || time.Since(begun) > 15*time.Second {
			t.Fatalf("the slow reader is still there: %v", err)
		}
	}
}
