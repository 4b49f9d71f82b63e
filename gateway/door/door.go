package door

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"example.org/souk/backbone"
)

// Config says how a Door works. Authority is required.
type Config struct {
	Authority *Authority
	// Clock defaults to the system's.
	Clock backbone.Clock
	// Logger defaults to slog.Default().
	Logger *slog.Logger
	// TLS says that clients reach the door by HTTPS only: cookies are marked Secure and browsers are told to stay with HTTPS.
	TLS bool
	// TestMode serves routes that are TestOnly, and takes requests without credentials for TestStaff. It is for a door that listens on
	// loopback addresses only; requests that come from elsewhere, or that name a host other than this one, stay nobody's.
	TestMode bool
	// Idempotency remembers answers; default a MemoryIdempotency.
	Idempotency Idempotency
	// Homes says where a browser goes when somebody has signed in; "/" for roles that it leaves out.
	Homes map[Role]string
	// Origins lists origins beside its own whose pages may open streams: "https://shop.example".
	Origins []string
	// MaxBody bounds a request's body in bytes; default 64 KiB.
	MaxBody int64
	// MaxInFlight bounds the requests that are worked on at once; default 2,048. More are refused with 503.
	MaxInFlight int
	// MaxStreams bounds the open streams, StreamsPerCaller those of one caller; defaults 4,096 and 64.
	MaxStreams, StreamsPerCaller int
	// CallerRate bounds the requests of one caller, AddressRate those of one address whoever calls; defaults 1,000/s and bursts of
	// 2,000 for a caller, five times that for an address.
	CallerRate, AddressRate Rate
	// Timeout cancels a handler that takes longer, streams aside; default 10 s.
	Timeout time.Duration
	// HeaderTimeout and ReadTimeout bound how long a client may take to send the header and the whole request, IdleTimeout how
	// long a connection may be unused; defaults 5 s, 15 s and 2 min.
	HeaderTimeout, ReadTimeout, IdleTimeout time.Duration
	// Ready lists what must work for the process to be ready.
	Ready []Probe
	// Observe is called after each request; it must be quick. It may be nil.
	Observe func(Observation)
}

// TestStaff is the subject that requests without credentials act as in test mode, in the role of Staff with the rank of Manager.
const TestStaff = "test-mode"

// Observation describes one request that was answered. Route is the pattern, or "" where none fits, so it has few values.
type Observation struct {
	Gate, Route string
	Role        Role
	Status      int
	Duration    time.Duration
}

// Handler answers one request that the door let in. An error becomes a problem document; see ProblemOf. After an error it
// must not have written anything.
type Handler func(w http.ResponseWriter, r *Request) error

// Request is a request that the door let in.
type Request struct {
	*http.Request
	Caller Caller
	// Body is the whole body where the route takes one. It may be read only until the handler returns.
	Body []byte
	// Trace is the W3C traceparent to carry on.
	Trace string
	// Since is when a request with this Idempotency-Key first came, zero without a key.
	Since time.Time

	traceID string
}

// Route is one way in.
type Route struct {
	// Pattern is a method and a path as http.ServeMux knows them: "GET /order/{id}".
	Pattern string
	// Access says who may use it. It is required, unless Public is set.
	Access Access
	// Managers keeps those of the staff out who are no managers.
	Managers bool
	// Public lets everybody in, known or not.
	Public bool
	// TestOnly routes exist in test mode only.
	TestOnly bool
	// Body says that the route takes a JSON body; it may be empty.
	Body bool
	// Creates says that an Idempotency-Key is honoured.
	Creates bool
	// Stream marks a route that stays open. Its context ends when the caller's token is revoked; Origin is checked before it is
	// handled; the bounds of streams hold in place of those of requests in flight.
	Stream bool
	Handle Handler
	// Gate is the gateway's name; Gate.Add sets it.
	Gate string
}

// Door lets requests in. It is an http.Handler. Routes are added before it serves.
type Door struct {
	config      Config
	clock       backbone.Clock
	log         *slog.Logger
	authority   *Authority
	idempotency Idempotency
	mux         *http.ServeMux
	routes      []Route
	foreign     *http.CrossOriginProtection
	callers     *Limiter
	addresses   *Limiter
	flights     flights
	inFlight    atomic.Int64
	bodies      sync.Pool

	streamsMu sync.Mutex
	streams   map[string]int
	open      int
}

type systemClock struct{}

func (systemClock) Now() time.Time { return time.Now() }

// New returns a door with the routes that all have: /livez, /readyz, /sign-in/{code}, /sign-out, and those of signing in at an issuer
// outside where its authority trusts one.
func New(c Config) (*Door, error) {
	if c.Authority == nil {
		return nil, errors.New("a door needs an authority: see OpenAuthority")
	}
	if c.Clock == nil {
		c.Clock = systemClock{}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Idempotency == nil {
		c.Idempotency = &MemoryIdempotency{}
	}
	fallback(&c.MaxBody, 64<<10)
	fallback(&c.MaxInFlight, 2048)
	fallback(&c.MaxStreams, 4096)
	fallback(&c.StreamsPerCaller, 64)
	fallback(&c.CallerRate, Rate{PerSecond: 1000, Burst: 2000})
	fallback(&c.AddressRate, Rate{PerSecond: 5 * c.CallerRate.PerSecond, Burst: 5 * c.CallerRate.Burst})
	fallback(&c.Timeout, 10*time.Second)
	fallback(&c.HeaderTimeout, 5*time.Second)
	fallback(&c.ReadTimeout, 15*time.Second)
	fallback(&c.IdleTimeout, 2*time.Minute)
	for _, r := range []Rate{c.CallerRate, c.AddressRate} {
		if r.PerSecond <= 0 || r.Burst < 1 {
			return nil, fmt.Errorf("rate of %v/s with bursts of %d lets nobody in: use more than 0 and at least 1", r.PerSecond, r.Burst)
		}
	}
	d := &Door{
		config: c, clock: c.Clock, log: c.Logger, authority: c.Authority, idempotency: c.Idempotency,
		mux: http.NewServeMux(), foreign: http.NewCrossOriginProtection(),
		callers: NewLimiter(c.CallerRate, 65536), addresses: NewLimiter(c.AddressRate, 65536),
		streams: map[string]int{},
	}
	d.bodies.New = func() any { b := make([]byte, 0, 2048); return &b }
	for _, o := range c.Origins {
		if err := d.foreign.AddTrustedOrigin(o); err != nil {
			return nil, err
		}
	}
	d.mux.HandleFunc("/", d.noRoute)
	return d, errors.Join(d.addOwnRoutes(), d.addSignIn())
}

func fallback[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

// Gate is the door as one gateway uses it: it takes tokens that were issued for that gateway.
type Gate struct {
	door *Door
	name string
}

// Gate returns the gate of the named gateway.
func (d *Door) Gate(name string) *Gate { return &Gate{d, name} }

// Add registers routes. A route without a policy, or one whose pattern is taken, is an error.
func (g *Gate) Add(routes ...Route) error {
	for _, rt := range routes {
		rt.Gate = g.name
		if err := rt.check(); err != nil {
			return err
		}
		if rt.TestOnly && !g.door.config.TestMode {
			continue
		}
		if err := g.door.register(rt); err != nil {
			return err
		}
	}
	return nil
}

func (rt *Route) check() error {
	method, path, ok := strings.Cut(rt.Pattern, " ")
	switch {
	case !ok || method == "" || !strings.HasPrefix(path, "/"):
		return fmt.Errorf("route %q: write a method and a path", rt.Pattern)
	case rt.Handle == nil:
		return fmt.Errorf("route %q has no handler", rt.Pattern)
	case rt.Public == (len(rt.Access) > 0):
		return fmt.Errorf("route %q: say who may use it with Access, or that everybody may with Public", rt.Pattern)
	case rt.Managers && rt.Access[Staff] == None:
		return fmt.Errorf("route %q: Managers says which of the staff may use it, and Access lets none of them in", rt.Pattern)
	case rt.Creates && rt.Public:
		return fmt.Errorf("route %q: an Idempotency-Key belongs to a caller, and a public route has none", rt.Pattern)
	}
	for role, scope := range rt.Access {
		if !role.valid() || scope != Own && scope != All {
			return fmt.Errorf("route %q: access of %q is not a role with Own or All", rt.Pattern, role)
		}
	}
	return nil
}

func (d *Door) register(rt Route) (err error) {
	defer func() {
		if p := recover(); p != nil { // how ServeMux refuses a pattern
			err = fmt.Errorf("route %q: %v", rt.Pattern, p)
		}
	}()
	d.mux.HandleFunc(rt.Pattern, func(w http.ResponseWriter, r *http.Request) {
		visit := w.(*visitor)
		visit.route = &rt
		if err := d.admit(visit, r); err != nil {
			d.tell(visit, r, err)
		}
	})
	d.routes = append(d.routes, rt)
	return nil
}

// TestMode reports whether routes that are TestOnly are served.
func (d *Door) TestMode() bool { return d.config.TestMode }

// Routes lists every route that the door serves.
func (d *Door) Routes() []Route { return slices.Clone(d.routes) }

// visitor is what the door keeps about a request while it is here.
type visitor struct {
	answer
	request Request
	route   *Route
}

// ServeHTTP answers one request.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	started := d.clock.Now()
	v := &visitor{answer: answer{ResponseWriter: w}}
	v.request.Trace, v.request.traceID = TraceOf(r.Header["Traceparent"])
	h := w.Header()
	h["Traceparent"] = []string{v.request.Trace}
	h["X-Content-Type-Options"] = noSniff
	h["Content-Security-Policy"] = nothingElse
	h["Referrer-Policy"] = noReferrer
	h["Cross-Origin-Resource-Policy"] = sameOrigin
	h["Cache-Control"] = noStore
	if d.config.TLS {
		h["Strict-Transport-Security"] = stayTLS
	}
	defer func() {
		if p := recover(); p != nil {
			d.survive(v, r, p)
		}
		if d.config.Observe != nil {
			o := Observation{Role: v.request.Caller.Role, Status: v.status, Duration: d.clock.Now().Sub(started)}
			if v.route != nil {
				o.Gate, o.Route = v.route.Gate, v.route.Pattern
			}
			d.config.Observe(o)
		}
	}()
	// Behind a proxy whoever watches over the process has the address of everybody, and would restart it where those ask too often.
	probe := r.URL.Path == livePath || r.URL.Path == readyPath
	if wait := d.addresses.Take(AddressOf(r.RemoteAddr), started); wait > 0 && !probe {
		d.tell(v, r, tooMany(wait))
		return
	}
	d.mux.ServeHTTP(v, r)
}

// Header values that every answer has; they are shared and never changed. A page sets its own policy.
var (
	noSniff     = []string{"nosniff"}
	nothingElse = []string{"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"}
	noReferrer  = []string{"no-referrer"}
	sameOrigin  = []string{"same-origin"}
	noStore     = []string{"no-store"}
	stayTLS     = []string{"max-age=31536000"}
)

// admit takes a request through the policy of its route.
func (d *Door) admit(v *visitor, r *http.Request) error {
	rt := v.route
	req := &v.request
	req.Request = r
	if carriesToken(r.URL) {
		return NewProblem(http.StatusUnauthorized, "token_in_url", "Credentials in a URL are not accepted; send a header or a cookie.")
	}
	p, bearer, err := d.identify(v, r)
	if err != nil {
		return err
	}
	if !bearer {
		if err := d.foreign.Check(r); err != nil {
			return NewProblem(http.StatusForbidden, "foreign_origin", "Pages of other sites may not do this.")
		}
	}
	if rt.Stream && !d.ownOrigin(r) {
		return NewProblem(http.StatusForbidden, "foreign_origin", "Pages of other sites may not do this.")
	}
	if p != nil {
		req.Caller.Principal = *p
		if wait := d.callers.Take(p.key, d.clock.Now()); wait > 0 {
			return tooMany(wait)
		}
	}
	if !rt.Public {
		if p == nil {
			return NewProblem(http.StatusUnauthorized, "unauthenticated", "Say who you are, with a bearer token or by signing in.")
		}
		req.Caller.scope = rt.Access[p.Role]
		if !p.admits(rt.Managers) {
			req.Caller.scope = None
		}
		if req.Caller.scope == None {
			d.log.WarnContext(r.Context(), "refused by policy", "actor", p.key, "route", rt.Pattern, "trace_id", req.traceID)
			return NewProblem(http.StatusForbidden, "forbidden", "Your role may not do this.")
		}
		v.caller = &req.Caller
		defer func() {
			if req.Caller.alien { // the caller is not told that it exists
				d.log.WarnContext(r.Context(), "refused, since it belongs to somebody else", "actor", p.key, "route", rt.Pattern, "path", r.URL.Path, "trace_id", req.traceID)
			}
		}()
	}
	if rt.Body {
		free, err := d.readBody(v, r, req)
		if err != nil {
			return err
		}
		defer free()
	}
	if rt.Stream {
		return d.stream(v, p)
	}
	return d.work(v)
}

// work calls the handler of a route that answers at once.
func (d *Door) work(v *visitor) error {
	defer d.inFlight.Add(-1)
	if d.inFlight.Add(1) > int64(d.config.MaxInFlight) && v.request.URL.Path != livePath {
		return backbone.ErrOverloaded // which is no reason to restart the process
	}
	ctx, cancel := context.WithTimeout(v.request.Context(), d.config.Timeout)
	defer cancel()
	v.request.Request = v.request.WithContext(ctx)
	if v.route.Creates {
		return d.once(&v.answer, &v.request, func() error { return v.route.Handle(&v.answer, &v.request) })
	}
	return v.route.Handle(&v.answer, &v.request)
}

// stream calls the handler of a route that stays open.
func (d *Door) stream(v *visitor, p *Principal) error {
	key := ""
	ctx, done := v.request.Context(), func() {}
	if p != nil {
		key = p.key
		ctx, done = d.authority.Follow(ctx, p)
	}
	defer done()
	d.streamsMu.Lock()
	full := d.open >= d.config.MaxStreams || d.streams[key] >= d.config.StreamsPerCaller
	if !full {
		d.open++
		d.streams[key]++
	}
	d.streamsMu.Unlock()
	if full {
		return tooMany(5 * time.Second)
	}
	defer func() {
		d.streamsMu.Lock()
		defer d.streamsMu.Unlock()
		d.open--
		if d.streams[key]--; d.streams[key] == 0 {
			delete(d.streams, key)
		}
	}()
	v.request.Request = v.request.WithContext(ctx)
	return v.route.Handle(&v.answer, &v.request)
}

// Expired reports whether the caller's token has expired. A stream asks before it sends.
func (d *Door) Expired(c *Caller) bool {
	return !c.Expires.IsZero() && d.clock.Now().After(c.Expires.Add(leeway))
}

// identify finds out who calls. nil is nobody; credentials that are not accepted are an error on every route.
func (d *Door) identify(v *visitor, r *http.Request) (p *Principal, bearer bool, err error) {
	refused := func() error {
		return NewProblem(http.StatusUnauthorized, "unauthenticated", "The credentials are not accepted; get new ones.")
	}
	gate := v.route.Gate
	if header := r.Header["Authorization"]; len(header) > 0 {
		scheme, token, _ := strings.Cut(header[0], " ")
		if len(header) > 1 || !strings.EqualFold(scheme, "Bearer") {
			return nil, true, refused()
		}
		if p, err = d.authority.verify(token, gate); err != nil {
			return nil, true, refused()
		}
		return p, true, nil
	}
	if len(r.Header["Cookie"]) > 0 {
		if c, err := r.Cookie(d.cookieName()); err == nil {
			p, err := d.authority.verify(c.Value, gate)
			if err == nil {
				return p, false, d.renew(v, p)
			}
			if !v.route.Public { // somebody whose session ended may still look at what everybody sees
				return nil, false, refused()
			}
		}
	}
	if d.config.TestMode && !v.route.Public && fromHere(r) {
		return &Principal{Role: Staff, Rank: Manager, Subject: TestStaff, key: subjectKey(Staff, TestStaff)}, false, nil
	}
	return nil, false, nil
}

// renew hands a browser its next token before the one it has expires.
func (d *Door) renew(w http.ResponseWriter, p *Principal) error {
	token, err := d.authority.Renew(p)
	if err == nil && token != "" {
		d.setCookie(w, token, p.since.Add(MaxSession+p.ttl))
	}
	return err
}

// fromHere reports whether a request came over loopback and knows it: a page that was tricked into calling a name of its own that leads
// here names another host.
func fromHere(r *http.Request) bool {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !from.Addr().Unmap().IsLoopback() {
		return false
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if host == "localhost" {
		return true
	}
	to, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && to.IsLoopback()
}

// ownOrigin reports whether a request comes from one of our pages or from no page at all.
func (d *Door) ownOrigin(r *http.Request) bool {
	values := r.Header["Origin"]
	if len(values) == 0 {
		return true
	}
	if len(values) > 1 {
		return false
	}
	if slices.Contains(d.config.Origins, values[0]) {
		return true
	}
	u, err := url.Parse(values[0])
	scheme := "http"
	if d.config.TLS {
		scheme = "https"
	}
	return err == nil && u.Scheme == scheme && u.Host != "" && strings.EqualFold(u.Host, r.Host)
}

// carriesToken reports whether somebody put credentials where they end up in logs and histories.
func carriesToken(u *url.URL) bool {
	if u.User != nil {
		return true
	}
	if u.RawQuery == "" {
		return false
	}
	for name := range u.Query() {
		switch strings.ToLower(name) {
		case "token", "access_token", "id_token", "auth_token", "authorization", "jwt", "bearer":
			return true
		}
	}
	return false
}

// AddressOf returns whom the other end of a connection counts as. What headers say about it is the client's own invention.
func AddressOf(remote string) string {
	a, err := netip.ParseAddrPort(remote)
	if err != nil {
		return remote
	}
	return addressKey(a.Addr())
}

// readBody reads the body into a buffer that free gives back.
func (d *Door) readBody(v *visitor, r *http.Request, req *Request) (free func(), err error) {
	if r.ContentLength == 0 {
		return func() {}, nil
	}
	if e := r.Header["Content-Encoding"]; len(e) > 0 && !strings.EqualFold(e[0], "identity") {
		return nil, NewProblem(http.StatusUnsupportedMediaType, "unsupported_encoding", "Send the body as it is, not compressed.")
	}
	if !isJSON(r.Header["Content-Type"]) {
		return nil, NewProblem(http.StatusUnsupportedMediaType, "unsupported_media_type", "Send application/json.")
	}
	if r.ContentLength > d.config.MaxBody {
		return nil, &http.MaxBytesError{Limit: d.config.MaxBody}
	}
	limited := http.MaxBytesReader(v.ResponseWriter, r.Body, d.config.MaxBody)
	room := d.bodies.Get().(*[]byte)
	free = func() { d.bodies.Put(room) }
	b := (*room)[:0]
	for {
		n, err := limited.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		*room = b
		if err == io.EOF {
			req.Body = b
			return free, nil
		}
		if err != nil {
			free()
			if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
				return nil, err
			}
			return nil, NewProblem(http.StatusBadRequest, "body_unreadable", "The body did not arrive whole.")
		}
		if len(b) == cap(b) {
			b = slices.Grow(b, cap(b))
		}
	}
}

func isJSON(contentType []string) bool {
	if len(contentType) != 1 {
		return false
	}
	if contentType[0] == "application/json" {
		return true
	}
	t, params, err := mime.ParseMediaType(contentType[0])
	if err != nil || t != "application/json" {
		return false
	}
	charset, ok := params["charset"]
	return !ok || strings.EqualFold(charset, "utf-8")
}

func tooMany(wait time.Duration) *Problem {
	p := NewProblem(http.StatusTooManyRequests, "too_many_requests", "Too many requests; slow down.")
	p.RetryAfter = wait
	return p
}

// Browses reports whether who asks with these headers is shown a page, as a browser is that goes somewhere; a script that fetches, a program and curl
// are answered with JSON.
func Browses(h http.Header) bool { return strings.Contains(h.Get("Accept"), "text/html") }

// tell answers with a problem, unless an answer has begun already.
func (d *Door) tell(v *visitor, r *http.Request, err error) {
	p := ProblemOf(err)
	if p.Status == http.StatusInternalServerError {
		d.log.ErrorContext(r.Context(), "request failed", "error", err, "path", r.URL.Path, "trace_id", v.request.traceID)
	}
	if v.status != 0 {
		return
	}
	if Browses(r.Header) {
		d.show(&v.answer, p, v.request.traceID)
		return
	}
	p.write(&v.answer, r.URL.Path, v.request.traceID)
}

// survive answers a request whose handler panicked.
func (d *Door) survive(v *visitor, r *http.Request, cause any) {
	if cause == http.ErrAbortHandler { //nolint:errorlint // the very value that net/http asks handlers to panic with
		panic(cause)
	}
	d.log.ErrorContext(r.Context(), "handler panicked", "panic", cause, "path", r.URL.Path, "trace_id", v.request.traceID, "stack", string(debug.Stack()))
	if v.held != nil {
		v.drop()
	}
	if v.status == 0 {
		p := ProblemOf(errors.New("panic"))
		p.write(&v.answer, r.URL.Path, v.request.traceID)
	}
}

// noRoute answers what no route fits, and names the methods that would.
func (d *Door) noRoute(w http.ResponseWriter, r *http.Request) {
	v := w.(*visitor)
	var allow []string
	for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		other := r.Clone(r.Context())
		other.Method = m
		if _, pattern := d.mux.Handler(other); pattern != "/" && pattern != "" {
			allow = append(allow, m)
		}
	}
	if len(allow) == 0 {
		d.tell(v, r, NotFound("resource"))
		return
	}
	p := NewProblem(http.StatusMethodNotAllowed, "method_not_allowed", "This resource does not know the method.")
	p.Allow = strings.Join(allow, ", ")
	d.tell(v, r, p)
}

// Server returns a server for this door, with bounds on what a client may take. The caller gives it a listener.
func (d *Door) Server() *http.Server {
	return &http.Server{
		Handler:           d,
		ReadHeaderTimeout: d.config.HeaderTimeout,
		ReadTimeout:       d.config.ReadTimeout,
		WriteTimeout:      d.config.ReadTimeout + d.config.Timeout + 5*time.Second,
		IdleTimeout:       d.config.IdleTimeout,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(d.log.Handler(), slog.LevelDebug),
	}
}
