package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"connectrpc.com/grpchealth"
	"connectrpc.com/grpcreflect"

	"example.org/souk/api/gen/souk/v1/soukv1connect"
	"example.org/souk/backbone"
	"example.org/souk/gateway/door"
	"example.org/souk/mall"
	"example.org/souk/mall/baskets"
)

// Gate is the gateway's name at the door: tokens issued for it are taken here.
const Gate = "rpc"

// Commands takes commands to the services that handle them. *backbone.Runtime is one.
type Commands interface {
	Do(ctx context.Context, c backbone.Command, options ...backbone.DoOption) (backbone.Answer, error)
}

// Catalogue knows what can be ordered now, and at which price.
type Catalogue interface {
	// Product returns false for what nobody sells. Quantity of the item is not set.
	Product(ctx context.Context, id string) (mall.Item, bool, error)
	// Known reports whether a SKU is a product's, or was before that was removed.
	Known(ctx context.Context, sku string) (bool, error)
}

// Keys seals what names a person, and lends keys to the mall's other processes. *backbone.Keys is one.
type Keys interface {
	backbone.KeyOwner
	Seal(ctx context.Context, person, text string) (token string, err error)
	Reveal(ctx context.Context, token string) (text string, ok bool, err error)
}

// Control steers this process. *backbone.Runtime is one.
type Control interface {
	// InFlight says for people what is to be done, "" for nothing: here, and elsewhere as far as it can be known from here.
	InFlight(ctx context.Context) (string, error)
	Pause(ctx context.Context, service string) error
	Resume(ctx context.Context, service string) error
	Rebuild(ctx context.Context, service, view string, progress func(backbone.RebuildProgress)) error
}

// Config says what stands behind the gateway. Commands, Reader, Changed, Control and Caller are required.
type Config struct {
	Commands Commands
	// ReadCommand reads a command of a service that runs here, as another process sends it; see backbone.Runtime.ReadCommand. Without
	// it none is taken so.
	ReadCommand func(wire string, data []byte) (backbone.Command, error)
	// Reader reads a service that runs here.
	Reader func(service string) *backbone.Reader
	// Run names the services that run here. Those that have a face show it.
	Run []string
	// Changed tells when a service's log has grown; see backbone.Runtime.Changed.
	Changed func(service string) (<-chan struct{}, func())
	Control Control
	// Catalogue prices the orders of callers that are no processes, and knows which goods they may take in. Without one they can do neither here.
	Catalogue Catalogue
	// Baskets fills in what commands about baskets say, where their service runs.
	Baskets baskets.Border
	// Robots are those that speak with this process, where the depot runs. nil: none do.
	Robots Robots
	// Keys seals what comes in here. Without it only what is sealed already is taken. It lends keys where the service keys runs.
	Keys Keys
	// Caller fills who calls. nil is nobody; an error is told as unauthenticated and nothing more.
	Caller func(*http.Request) (*Caller, error)
	// Clock defaults to the system's.
	Clock backbone.Clock
	// Logger defaults to slog.Default().
	Logger *slog.Logger
	// Observe is called after each call, a stream when it ends; it must be quick. It may be nil.
	Observe func(Observation)
	// Opened is closed when the services have begun. Until then their logs are read and everything else is answered with
	// UNAVAILABLE. nil: they have.
	Opened <-chan struct{}
	// Closing is closed when the process begins to stop: streams end then. It may be nil.
	Closing <-chan struct{}
	// MaxMessage bounds a request in bytes; default 256 KiB.
	MaxMessage int
	// Timeout ends a call that takes longer, streams aside; default 10 s.
	Timeout time.Duration
	// SlowAfter ends a stream whose reader does not take a message for so long; default 10 s.
	SlowAfter time.Duration
	// MaxInFlight bounds the calls that are worked on at once; default 1,024.
	MaxInFlight int
	// MaxStreams bounds the open streams, StreamsPerCaller those of one caller; defaults 1,024 and 64.
	MaxStreams, StreamsPerCaller int
	// CallerRate bounds the calls of one caller that is no process, AddressRate those of one address whoever calls, unless it
	// shows a certificate; defaults 1,000/s and bursts of 2,000 for a caller, five times that for an address.
	CallerRate, AddressRate door.Rate
}

// Paths are the beginnings of the paths that the handler serves.
func Paths() []string { return []string{"/souk.v1.", "/grpc.health.v1.", "/grpc.reflection."} }

// server is what the handlers of all faces share.
type server struct {
	Config
	faces              map[string]*face // by the service that runs here
	policy             map[string]Access
	stream             map[string]bool
	mux                *http.ServeMux
	refuse             *connect.ErrorWriter
	callers, addresses *door.Limiter
	inFlight           atomic.Int64

	mu      sync.Mutex
	streams map[string]int
	open    int
}

type systemClock struct{}

func (systemClock) Now() time.Time { return time.Now() }

// New returns the handler of the services that run here. It fails where a method has no policy. It speaks gRPC where its
// server speaks HTTP/2.
func New(c Config) (http.Handler, error) {
	if c.Commands == nil || c.Reader == nil || c.Changed == nil || c.Control == nil || c.Caller == nil {
		return nil, errors.New("rpc: Commands, Reader, Changed, Control and Caller are required")
	}
	fallback[backbone.Clock](&c.Clock, systemClock{})
	fallback[Robots](&c.Robots, noRobots{})
	fallback(&c.Logger, slog.Default())
	fallback(&c.MaxMessage, 256<<10)
	fallback(&c.Timeout, 10*time.Second)
	fallback(&c.SlowAfter, 10*time.Second)
	fallback(&c.MaxInFlight, 1024)
	fallback(&c.MaxStreams, 1024)
	fallback(&c.StreamsPerCaller, 64)
	fallback(&c.CallerRate, door.Rate{PerSecond: 1000, Burst: 2000})
	fallback(&c.AddressRate, door.Rate{PerSecond: 5 * c.CallerRate.PerSecond, Burst: 5 * c.CallerRate.Burst})
	s := &server{
		Config: c, faces: map[string]*face{}, policy: map[string]Access{}, stream: map[string]bool{}, mux: http.NewServeMux(),
		callers: door.NewLimiter(c.CallerRate, 65536), addresses: door.NewLimiter(c.AddressRate, 65536), streams: map[string]int{},
	}
	options := []connect.HandlerOption{
		connect.WithCodec(strict{"json"}), connect.WithCodec(strict{"json; charset=utf-8"}),
		connect.WithReadMaxBytes(c.MaxMessage), connect.WithInterceptors(judge{s}), connect.WithRecover(s.survive),
	}
	s.refuse = connect.NewErrorWriter(options...)
	names := []string{}
	for _, f := range faces() {
		if f.service != "" && !slices.Contains(c.Run, f.service) {
			continue
		}
		if err := s.add(&f, options); err != nil {
			return nil, err
		}
		names = append(names, f.name())
	}
	s.addCommon(names, options)
	return s, nil
}

func fallback[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

// add serves a face, and holds that its policy speaks of its methods and of no others.
func (s *server) add(f *face, options []connect.HandlerOption) error {
	methods := f.file.Services().Get(0).Methods()
	left := len(f.policy)
	for i := range methods.Len() {
		m := methods.Get(i)
		procedure := "/" + f.name() + "/" + string(m.Name())
		access, ok := f.policy[string(m.Name())]
		if !ok {
			return fmt.Errorf("rpc: %s has no policy: say who may call it", procedure)
		}
		if err := access.check(); err != nil {
			return fmt.Errorf("rpc: the policy of %s: %w", procedure, err)
		}
		left--
		streams := m.IsStreamingServer() || m.IsStreamingClient()
		for kind, scope := range access {
			if streams && scope == Own {
				return fmt.Errorf("rpc: %s: what is %s's own cannot be told apart in a stream", procedure, kind)
			}
		}
		s.policy[procedure], s.stream[procedure] = access, streams
	}
	if left != 0 {
		return fmt.Errorf("rpc: the policy of %s speaks of methods that it does not have", f.name())
	}
	path, handler := f.serve(s, options...)
	s.mux.Handle(path, handler)
	if f.service != "" {
		s.faces[f.name()] = f
	}
	return nil
}

// Methods lists the methods that are served, by their paths, and says of each whether it is a stream. The handler that New returns has it, for who holds that
// each of them was decided on.
func (s *server) Methods() map[string]bool { return maps.Clone(s.stream) }

// addCommon serves health, and reflection to those who may look at how the mall is made.
func (s *server) addCommon(names []string, options []connect.HandlerOption) {
	add := func(access Access, stream bool, procedure string) {
		s.policy[procedure], s.stream[procedure] = access, stream
	}
	path, handler := grpchealth.NewHandler(checker{s}, options...)
	s.mux.Handle(path, handler)
	add(everybody, false, path+"Check")
	add(everybody, true, path+"Watch") // which is not implemented: whoever asks is told so
	reflector := grpcreflect.NewStaticReflector(append(names, grpchealth.HealthV1ServiceName)...)
	path, handler = grpcreflect.NewHandlerV1(reflector, options...)
	s.mux.Handle(path, handler)
	add(machinery, true, path+"ServerReflectionInfo")
	path, handler = grpcreflect.NewHandlerV1Alpha(reflector, options...)
	s.mux.Handle(path, handler)
	add(machinery, true, path+"ServerReflectionInfo")
}

// ServeHTTP answers one call.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header()["X-Content-Type-Options"] = []string{"nosniff"}
	w.Header()["Cache-Control"] = []string{"no-store"}
	began := s.Clock.Now()
	release, v, err := s.admit(r)
	defer func() { s.observe(r.URL.Path, v, err, began) }()
	if err != nil {
		s.tell(w, r, err)
		return
	}
	defer release()
	w.Header()["Traceparent"] = []string{v.trace}
	ctx, cancel := context.WithCancel(context.WithValue(r.Context(), visitKey{}, v))
	defer cancel()
	if s.stream[r.URL.Path] {
		out := http.NewResponseController(w)
		// The server bounds how long a request may take, and a stream takes as long as it likes. How long one of
		// its messages may take is bounded where it is sent.
		_ = out.SetReadDeadline(time.Time{}) // a writer without deadlines bounds nothing anyhow
		_ = out.SetWriteDeadline(time.Time{})
		v.stall = func(waiting bool) error {
			if !waiting {
				return out.SetWriteDeadline(time.Time{})
			}
			return out.SetWriteDeadline(time.Now().Add(s.SlowAfter))
		}
		if v.caller.Follow != nil {
			var done func()
			ctx, done = v.caller.Follow(ctx)
			defer done()
		}
		if !v.caller.Expires.IsZero() {
			ctx, cancel = context.WithDeadline(ctx, v.caller.Expires)
			defer cancel()
		}
		defer wake(ctx, out)()
	} else {
		ctx, cancel = context.WithTimeout(ctx, s.Timeout)
		defer cancel()
	}
	s.mux.ServeHTTP(w, r.WithContext(ctx))
}

// wake has whoever reads what a caller says stop to wait for it when the stream is over. The function that it returns is to be called while the answer still
// can be written.
func wake(ctx context.Context, out *http.ResponseController) (done func()) {
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(woken)
		_ = out.SetReadDeadline(time.Now()) // a connection that is gone has woken them already
	})
	return func() {
		if !stop() {
			<-woken
		}
	}
}

// admit finds out who calls and whether they may. release is called when the call has ended.
func (s *server) admit(r *http.Request) (release func(), v *visit, err error) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		if wait := s.addresses.Take(door.AddressOf(r.RemoteAddr), s.Clock.Now()); wait > 0 {
			return nil, nil, tooMany(wait)
		}
	}
	caller, err := s.Caller(r)
	if err != nil {
		return nil, nil, connect.NewError(connect.CodeUnauthenticated, errors.New("the credentials are not accepted; get new ones"))
	}
	if caller == nil {
		return nil, nil, connect.NewError(connect.CodeUnauthenticated, errors.New("say who you are, with a bearer token"))
	}
	access, known := s.policy[r.URL.Path]
	if !known {
		return nil, nil, connect.NewError(connect.CodeUnimplemented, errors.New("there is no such method here"))
	}
	v = &visit{caller: *caller, scope: access[caller.Kind], actor: caller.key()}
	if caller.Clerk && slices.Contains(forManagers, r.URL.Path) {
		v.scope = None
	}
	if v.scope == None {
		s.Logger.WarnContext(r.Context(), "refused by policy", "actor", caller.key(), "method", r.URL.Path)
		return nil, nil, connect.NewError(connect.CodePermissionDenied, errors.New("your role may not do this"))
	}
	if caller.Kind != Process {
		if wait := s.callers.Take(caller.key(), s.Clock.Now()); wait > 0 {
			return nil, nil, tooMany(wait)
		}
	} else if actor := r.Header.Get(Actor); actor != "" {
		if !validActor(actor) {
			return nil, nil, connect.NewError(connect.CodeInvalidArgument, errors.New("the header "+Actor+" names nobody"))
		}
		v.actor = actor
	}
	v.trace, _ = door.TraceOf(r.Header["Traceparent"])
	if !s.opened() && !strings.HasPrefix(r.URL.Path, "/"+soukv1connect.LogServiceName+"/") {
		return nil, v, wireError(backbone.ErrUnavailable)
	}
	if s.stream[r.URL.Path] {
		release, err = s.enterStream(caller.key())
		return release, v, err
	}
	if s.inFlight.Add(1) > int64(s.MaxInFlight) {
		s.inFlight.Add(-1)
		return nil, nil, wireError(backbone.ErrOverloaded)
	}
	return func() { s.inFlight.Add(-1) }, v, nil
}

// opened reports whether the services have begun.
func (s *server) opened() bool {
	if s.Opened == nil {
		return true
	}
	select {
	case <-s.Opened:
		return true
	default:
		return false
	}
}

func (s *server) enterStream(key string) (release func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open >= s.MaxStreams || s.streams[key] >= s.StreamsPerCaller {
		return nil, tooMany(5 * time.Second)
	}
	s.open++
	s.streams[key]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.open--
		if s.streams[key]--; s.streams[key] == 0 {
			delete(s.streams, key)
		}
	}, nil
}

// validActor takes what events name as their cause: a role and an id.
func validActor(actor string) bool {
	role, id, ok := strings.Cut(actor, ":")
	return ok && mall.ValidID(role) == nil && mall.ValidID(id) == nil
}

// tell answers a call that was not let in, in the caller's protocol.
func (s *server) tell(w http.ResponseWriter, r *http.Request, err error) {
	if s.refuse.IsSupported(r) {
		_ = s.refuse.Write(w, r, err) // a client that went away is told nothing
		return
	}
	// No call of any protocol: an answer for people.
	code := http.StatusNotFound
	switch connect.CodeOf(err) {
	case connect.CodeUnauthenticated:
		code = http.StatusUnauthorized
	case connect.CodePermissionDenied:
		code = http.StatusForbidden
	case connect.CodeResourceExhausted:
		code = http.StatusTooManyRequests
	case connect.CodeInvalidArgument:
		code = http.StatusBadRequest
	}
	http.Error(w, err.Error(), code)
}

// survive answers a call whose handler panicked.
func (s *server) survive(ctx context.Context, spec connect.Spec, _ http.Header, cause any) error {
	s.Logger.ErrorContext(ctx, "handler panicked", "panic", cause, "method", spec.Procedure, "stack", string(debug.Stack()))
	return wireError(fmt.Errorf("panic"))
}

// judge stands around every handler: it says what an error means, and stops an answer for which nobody asked whose it is.
type judge struct{ s *server }

// WrapUnary implements connect.Interceptor.
func (j judge) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
		answer, err := next(ctx, r)
		if err == nil {
			err = j.forgot(ctx)
		}
		if err != nil {
			err = j.said(ctx, r.Spec().Procedure, err)
		}
		v := visitOf(ctx)
		v.status = httpStatus(err)
		if v.alien { // the caller is not told that it exists
			j.s.Logger.WarnContext(ctx, "refused, since it belongs to somebody else", "actor", v.actor, "method", r.Spec().Procedure, "trace", v.trace)
		}
		if err != nil {
			return nil, err
		}
		return answer, nil
	}
}

// WrapStreamingClient implements connect.Interceptor; nobody calls from here.
func (j judge) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// WrapStreamingHandler implements connect.Interceptor.
func (j judge) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		err := next(ctx, conn)
		if err != nil {
			err = j.said(ctx, conn.Spec().Procedure, err)
		}
		visitOf(ctx).status = httpStatus(err)
		return err
	}
}

var errNotAsked = errors.New("the handler did not ask whether it belongs to the caller")

func (j judge) forgot(ctx context.Context) error {
	if v := visitOf(ctx); v.scope == Own && !v.asked {
		return errNotAsked
	}
	return nil
}

func (j judge) said(ctx context.Context, procedure string, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, door.ErrToken) {
		return connect.NewError(connect.CodeUnauthenticated, errors.New("the credentials were revoked"))
	}
	e := wireError(err)
	if e.Code() == connect.CodeInternal {
		j.s.Logger.ErrorContext(ctx, "call failed", "error", err, "method", procedure, "trace", visitOf(ctx).trace)
	}
	return e
}
