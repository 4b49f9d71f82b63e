package door_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"example.org/souk/backbone"
	"example.org/souk/gateway/door"
	"example.org/souk/mall"
)

func TestMain(m *testing.M) {
	// The server lingers half a second over a connection that it closes with an answer in it.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

// clock is a clock that stands still until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

type world struct {
	t         *testing.T
	clock     *clock
	authority *door.Authority
	door      *door.Door
	log       *bytes.Buffer
}

func open(t *testing.T, config door.Config, routes ...door.Route) *world {
	t.Helper()
	w := &world{t: t, clock: &clock{now: time.Unix(1_800_000_000, 0)}, log: &bytes.Buffer{}}
	var err error
	if w.authority, err = door.OpenAuthority(t.TempDir(), w.clock); err != nil {
		t.Fatal(err)
	}
	config.Authority, config.Clock, config.Logger = w.authority, w.clock, slog.New(slog.NewTextHandler(w.log, nil))
	if w.door, err = door.New(config); err != nil {
		t.Fatal(err)
	}
	if err := w.door.Gate("online").Add(routes...); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) token(role door.Role, subject string) string {
	w.t.Helper()
	token, _, err := w.authority.Issue(door.Grant{Role: role, Subject: subject, Gates: []string{"online"}})
	if err != nil {
		w.t.Fatal(err)
	}
	return token
}

func request(method, path, body string, change ...func(*http.Request)) *http.Request {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, c := range change {
		c(r)
	}
	return r
}

func with(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Add(name, value) }
}

func bearer(token string) func(*http.Request) { return with("Authorization", "Bearer "+token) }

func (w *world) do(r *http.Request) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	w.door.ServeHTTP(rec, r)
	return rec
}

// refused asks that an answer is a whole problem document.
func refused(t *testing.T, rec *httptest.ResponseRecorder, status int, code string) problem {
	t.Helper()
	var p problem
	if err := json.Unmarshal(rec.Body.Bytes(), &p); err != nil {
		t.Fatalf("%d %q is no problem document: %v", rec.Code, rec.Body, err)
	}
	if rec.Code != status || p.Code != code {
		t.Fatalf("got %d %s, want %d %s: %s", rec.Code, p.Code, status, code, rec.Body)
	}
	if p.Status != status || p.Type != "urn:souk:problem:"+code || p.Title == "" || len(p.TraceID) != 32 ||
		rec.Header().Get("Content-Type") != "application/problem+json" {
		t.Errorf("not a whole problem document: %s", rec.Body)
	}
	if (status == 429 || status == 503) && rec.Header().Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	return p
}

type problem struct {
	Type, Title, Code, Detail, Instance string
	Status                              int
	TraceID                             string `json:"trace_id"`
	Errors                              []door.FieldError
}

var everybody = door.Access{door.Customer: door.All, door.Staff: door.All, door.Robot: door.All, door.Device: door.All, door.Partner: door.All, door.Engineer: door.All}

func fine(w http.ResponseWriter, r *door.Request) error {
	return door.Answer(w, http.StatusOK, map[string]string{"caller": r.Caller.Actor()})
}

func TestARouteNeedsAPolicy(t *testing.T) {
	t.Parallel()
	w := open(t, door.Config{}, door.Route{Pattern: "GET /taken", Access: everybody, Handle: fine})
	for _, rt := range []door.Route{
		{Pattern: "GET /a", Handle: fine},
		{Pattern: "GET /a", Handle: fine, Access: door.Access{}},
		{Pattern: "GET /a", Handle: fine, Access: door.Access{door.Customer: door.None}},
		{Pattern: "GET /a", Handle: fine, Access: door.Access{"admin": door.All}},
		{Pattern: "GET /a", Handle: fine, Access: everybody, Public: true},
		{Pattern: "POST /a", Handle: fine, Public: true, Creates: true},
		{Pattern: "GET /a", Access: everybody},
		{Pattern: "/a", Handle: fine, Access: everybody},
		{Pattern: "GET /taken", Handle: fine, Access: everybody},
		{Pattern: "GET /{", Handle: fine, Access: everybody},
	} {
		if err := w.door.Gate("online").Add(rt); err == nil {
			t.Errorf("%+v was accepted", rt)
		}
	}
}

func TestEveryRouteAndRole(t *testing.T) {
	t.Parallel()
	w := open(t, door.Config{},
		door.Route{Pattern: "GET /staff", Access: door.Access{door.Staff: door.All}, Handle: fine},
		door.Route{Pattern: "GET /both", Access: door.Access{door.Staff: door.All, door.Customer: door.All}, Handle: fine},
		door.Route{Pattern: "GET /public", Public: true, Handle: fine},
		door.Route{Pattern: "POST /test", Access: everybody, TestOnly: true, Handle: fine},
	)
	if n := len(w.door.Routes()); n != 5+3 { // the door's own, and those of above that are no test's
		t.Errorf("%d routes", n)
	}
	for _, rt := range w.door.Routes() {
		method, path, _ := strings.Cut(rt.Pattern, " ")
		if rec := w.do(request(method, path, "")); !rt.Public {
			refused(t, rec, 401, "unauthenticated")
			if rec.Header().Get("WWW-Authenticate") == "" {
				t.Error("no WWW-Authenticate")
			}
		}
		for _, role := range door.Roles() {
			rec := w.do(request(method, path, "", bearer(w.token(role, "x"))))
			if !rt.Public && rt.Access[role] == door.None {
				refused(t, rec, 403, "forbidden")
			} else if rec.Code == 401 || rec.Code == 403 {
				t.Errorf("%s as %s: %d", rt.Pattern, role, rec.Code)
			}
		}
	}
	refused(t, w.do(request("POST", "/test", "")), 404, "not_found")
	refused(t, w.do(request("GET", "/nothing", "")), 404, "not_found")
	rec := w.do(request("DELETE", "/both", ""))
	refused(t, rec, 405, "method_not_allowed")
	if rec.Header().Get("Allow") != "GET" {
		t.Errorf("Allow: %q", rec.Header().Get("Allow"))
	}
}

// A handler that answers somebody with limited access without asking whose the thing is, is stopped.
func TestOwnershipIsAskedFor(t *testing.T) {
	t.Parallel()
	own := door.Access{door.Customer: door.Own, door.Staff: door.All}
	w := open(t, door.Config{},
		door.Route{Pattern: "GET /forgets", Access: own, Handle: fine},
		door.Route{Pattern: "GET /thing/{owner}", Access: own, Handle: func(w http.ResponseWriter, r *door.Request) error {
			if !r.Caller.Owns(r.PathValue("owner")) {
				return door.NotFound("thing")
			}
			return fine(w, r)
		}})
	c1, staff := bearer(w.token(door.Customer, "C1")), bearer(w.token(door.Staff, "S1"))
	refused(t, w.do(request("GET", "/forgets", "", c1)), 500, "internal")
	p := refused(t, w.do(request("GET", "/thing/C2", "", c1)), 404, "not_found")
	noted := func() []string {
		return slices.DeleteFunc(strings.Split(w.log.String(), "\n"), func(line string) bool { return !strings.Contains(line, "belongs to somebody else") })
	}
	if lines := noted(); len(lines) != 1 || !strings.Contains(lines[0], "customer:C1") || !strings.Contains(lines[0], "/thing/C2") || !strings.Contains(lines[0], p.TraceID) {
		t.Errorf("noted: %v", lines)
	}
	for path, as := range map[string]func(*http.Request){"/forgets": staff, "/thing/C2": staff, "/thing/C1": c1} {
		if rec := w.do(request("GET", path, "", as)); rec.Code != 200 {
			t.Errorf("%s: %d %s", path, rec.Code, rec.Body)
		}
	}
	if lines := noted(); len(lines) != 1 {
		t.Errorf("what may be seen is noted as well: %v", lines)
	}
}

func TestErrorsAreProblems(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err    error
		status int
		code   string
	}{
		{backbone.ErrOverloaded, 503, "overloaded"},
		{backbone.ErrUnavailable, 503, "unavailable"},
		{backbone.ErrPaused, 503, "unavailable"},
		{backbone.ErrNotHandled, 503, "unavailable"},
		{backbone.ErrStopped, 503, "stopping"},
		{context.DeadlineExceeded, 503, "timeout"},
		{backbone.ErrDifferentCommand, 409, "different_content"},
		{backbone.Refuse("not_open", "closed"), 409, "not_open"},
		{&mall.FieldError{Field: "a.b", Reason: "is wrong"}, 400, "invalid_field"},
		{&http.MaxBytesError{Limit: 1}, 413, "body_too_large"},
		{door.NotFound("thing"), 404, "not_found"},
		{errors.New(`SELECT secret FROM "orders"`), 500, "internal"},
	} {
		w := open(t, door.Config{}, door.Route{Pattern: "GET /x", Access: everybody, Handle: func(http.ResponseWriter, *door.Request) error {
			return fmt.Errorf("wrapped: %w", c.err)
		}})
		rec := w.do(request("GET", "/x", "", bearer(w.token(door.Staff, "s"))))
		refused(t, rec, c.status, c.code)
		if strings.Contains(rec.Body.String(), "SELECT") || strings.Contains(rec.Body.String(), "wrapped") {
			t.Errorf("says too much: %s", rec.Body)
		}
	}
}

// Who looks with a browser is told in words, and programs as they were. Red where people are shown a document for programs.
func TestABrowserIsShownProblems(t *testing.T) {
	t.Parallel()
	w := open(t, door.Config{}, door.Route{Pattern: "GET /x", Access: everybody, Handle: func(http.ResponseWriter, *door.Request) error {
		p := door.NewProblem(503, "unavailable", "Not <now>.")
		p.RetryAfter = time.Second
		return p
	}})
	browser := with("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
	for _, c := range []struct {
		r      *http.Request
		status int
		says   string
	}{
		{request("GET", "/x", "", browser), 401, "You are not signed in"},
		{request("GET", "/x", "", browser, bearer(w.token(door.Staff, "s"))), 503, "Not &lt;now&gt;."},
		{request("GET", "/nowhere", "", browser), 404, "There is no such resource."},
		{request("POST", "/sign-in/used", "", browser), 404, "This sign-in link was used"},
	} {
		rec := w.do(c.r)
		if rec.Code != c.status || rec.Header().Get("Content-Type") != "text/html; charset=utf-8" || !strings.Contains(rec.Body.String(), c.says) {
			t.Errorf("%s: %d %v %s", c.r.URL, rec.Code, rec.Header(), rec.Body)
		}
		if csp := rec.Header().Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'") {
			t.Errorf("%s: the page may load %q", c.r.URL, csp)
		}
		if c.status == 503 && rec.Header().Get("Retry-After") != "1" {
			t.Error("no Retry-After")
		}
	}
	refused(t, w.do(request("GET", "/x", "", with("Accept", "*/*"))), 401, "unauthenticated")
	refused(t, w.do(request("GET", "/x", "", with("Accept", "application/json"))), 401, "unauthenticated")
}

func TestAPanicIsAnswered(t *testing.T) {
	t.Parallel()
	w := open(t, door.Config{},
		door.Route{Pattern: "GET /panic", Access: everybody, Handle: func(http.ResponseWriter, *door.Request) error { panic("secret") }},
		door.Route{Pattern: "POST /panic", Access: everybody, Creates: true, Handle: func(http.ResponseWriter, *door.Request) error { panic("secret") }})
	for _, r := range []*http.Request{request("GET", "/panic", ""), request("POST", "/panic", "", with("Idempotency-Key", "k"))} {
		bearer(w.token(door.Staff, "s"))(r)
		rec := w.do(r)
		p := refused(t, rec, 500, "internal")
		if strings.Contains(rec.Body.String(), "secret") {
			t.Error("says too much")
		}
		if log := w.log.String(); !strings.Contains(log, "secret") || !strings.Contains(log, p.TraceID) {
			t.Errorf("not noted: %s", log)
		}
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	w := open(t, door.Config{TLS: true}, door.Route{Pattern: "GET /x", Access: everybody, Handle: func(w http.ResponseWriter, r *door.Request) error {
		return door.Answer(w, 200, r.Trace)
	}})
	const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for _, sent := range []string{trace, "", "00-" + strings.Repeat("0", 32) + "-00f067aa0ba902b7-01", "nonsense", strings.ToUpper(trace), trace + "-x"} {
		rec := w.do(request("GET", "/x", "", with("Traceparent", sent), bearer(w.token(door.Staff, "s"))))
		got := rec.Header().Get("Traceparent")
		if (got == sent) != (sent == trace) || len(got) != 55 || !strings.Contains(rec.Body.String(), got) {
			t.Errorf("%q became %q in %s", sent, got, rec.Body)
		}
		for _, name := range []string{"Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy", "Cache-Control", "Strict-Transport-Security", "Cross-Origin-Resource-Policy"} {
			if rec.Header().Get(name) == "" {
				t.Errorf("no %s", name)
			}
		}
		if rec.Header().Get("Access-Control-Allow-Origin") != "" {
			t.Error("other origins are let in")
		}
	}
}

func echo(w http.ResponseWriter, r *door.Request) error {
	return door.Answer(w, http.StatusOK, len(r.Body))
}

func TestBodies(t *testing.T) {
	t.Parallel()
	w := open(t, door.Config{MaxBody: 100}, door.Route{Pattern: "POST /x", Access: everybody, Body: true, Handle: echo})
	as := bearer(w.token(door.Staff, "s"))
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, _ = z.Write(make([]byte, 1<<20))
	_ = z.Close()
	chunked := func(r *http.Request) { r.ContentLength = -1 }
	kind := func(v string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Content-Type", v) }
	}
	for _, c := range []struct {
		body   string
		change func(*http.Request)
		status int
		code   string
	}{
		{strings.Repeat("x", 100), as, 200, ""},
		{strings.Repeat("x", 100), chunked, 200, ""},
		{"{}", kind("application/json; charset=UTF-8"), 200, ""},
		{"", as, 200, ""},
		{strings.Repeat("x", 101), as, 413, "body_too_large"},
		{strings.Repeat("x", 101), chunked, 413, "body_too_large"},
		{strings.Repeat("x", 1<<20), chunked, 413, "body_too_large"},
		{"{}", kind("text/plain"), 415, "unsupported_media_type"},
		{"{}", kind("application/json; charset=latin1"), 415, "unsupported_media_type"},
		{"{}", func(r *http.Request) { r.Header.Del("Content-Type") }, 415, "unsupported_media_type"},
		{"{}", with("Content-Type", "application/json"), 415, "unsupported_media_type"},
		{bomb.String(), with("Content-Encoding", "gzip"), 415, "unsupported_encoding"},
	} {
		r := request("POST", "/x", c.body, c.change)
		if r.Header.Get("Authorization") == "" {
			as(r)
		}
		rec := w.do(r)
		if c.status == 200 {
			if rec.Code != 200 || strings.TrimSpace(rec.Body.String()) != fmt.Sprint(len(c.body)) {
				t.Errorf("%d bytes: %d %s", len(c.body), rec.Code, rec.Body)
			}
			continue
		}
		refused(t, rec, c.status, c.code)
	}
}

func TestRates(t *testing.T) {
	t.Parallel()
	w := open(t, door.Config{CallerRate: door.Rate{PerSecond: 1, Burst: 2}, AddressRate: door.Rate{PerSecond: 10, Burst: 6}},
		door.Route{Pattern: "GET /x", Access: everybody, Handle: fine})
	a, b := bearer(w.token(door.Staff, "a")), bearer(w.token(door.Staff, "b"))
	from := func(addr string) func(*http.Request) { return func(r *http.Request) { r.RemoteAddr = addr } }
	get := func(change ...func(*http.Request)) *httptest.ResponseRecorder {
		return w.do(request("GET", "/x", "", change...))
	}
	if first, second := get(a).Code, get(a).Code; first != 200 || second != 200 {
		t.Error("the burst is not granted")
	}
	rec := get(a)
	refused(t, rec, 429, "too_many_requests")
	if rec.Header().Get("Retry-After") != "1" {
		t.Errorf("Retry-After: %q", rec.Header().Get("Retry-After"))
	}
	if get(b).Code != 200 {
		t.Error("others pay for one")
	}
	w.clock.move(time.Second)
	if get(a).Code != 200 {
		t.Error("it does not get better")
	}
	// An address pays for attempts without a caller, and does not get rid of that by claiming to be others.
	other := from("[2001:db8::1]:1000")
	for range 6 {
		refused(t, get(other), 401, "unauthenticated")
	}
	refused(t, get(other), 429, "too_many_requests")
	refused(t, get(from("[2001:db8::2]:9"), with("X-Forwarded-For", "10.1.1.1"), with("Forwarded", "for=10.1.1.1")), 429, "too_many_requests")
	refused(t, get(from("[2001:db8:0:1::1]:1000")), 401, "unauthenticated")
	// Whoever watches over the process comes through the same proxy as everybody, and is no reason to restart it.
	for range 20 {
		if live, ready := w.do(request("GET", "/livez", "", other)).Code, w.do(request("GET", "/readyz", "", other)).Code; live != 200 || ready != 200 {
			t.Fatalf("alive %d, ready %d", live, ready)
		}
	}
}

func TestInFlightIsBounded(t *testing.T) {
	t.Parallel()
	started, finish := make(chan struct{}), make(chan struct{})
	w := open(t, door.Config{MaxInFlight: 2}, door.Route{Pattern: "GET /x", Access: everybody, Handle: func(w http.ResponseWriter, r *door.Request) error {
		started <- struct{}{}
		<-finish
		return fine(w, r)
	}})
	as := bearer(w.token(door.Staff, "s"))
	var done sync.WaitGroup
	for range 2 {
		done.Go(func() {
			if rec := w.do(request("GET", "/x", "", as)); rec.Code != 200 {
				t.Errorf("%d", rec.Code)
			}
		})
		<-started
	}
	refused(t, w.do(request("GET", "/x", "", as)), 503, "overloaded")
	if live, ready := w.do(request("GET", "/livez", "")).Code, w.do(request("GET", "/readyz", "")).Code; live != 200 || ready != 503 {
		t.Errorf("alive %d, ready %d", live, ready)
	}
	if rec := w.do(request("GET", "/missing", "")); rec.Code != 404 {
		t.Errorf("%d", rec.Code)
	}
	close(finish)
	done.Wait()
	go func() { <-started }()
	if rec := w.do(request("GET", "/x", "", as)); rec.Code != 200 {
		t.Errorf("a place was not given back: %d", rec.Code)
	}
}

func TestASlowHandlerIsCancelled(t *testing.T) {
	t.Parallel()
	w := open(t, door.Config{Timeout: time.Millisecond}, door.Route{Pattern: "GET /x", Access: everybody, Handle: func(_ http.ResponseWriter, r *door.Request) error {
		<-r.Context().Done()
		return r.Context().Err()
	}})
	refused(t, w.do(request("GET", "/x", "", bearer(w.token(door.Staff, "s")))), 503, "timeout")
}

func TestASlowClientIsCutOff(t *testing.T) {
	t.Parallel()
	w := open(t, door.Config{HeaderTimeout: 20 * time.Millisecond, ReadTimeout: 50 * time.Millisecond},
		door.Route{Pattern: "POST /x", Access: everybody, Body: true, Handle: echo})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := w.door.Server()
	served := make(chan error)
	go func() { served <- server.Serve(l) }()
	defer func() { _ = server.Close(); <-served }() //nolint:errcheck // what Serve returns after Close is no news
	for _, sent := range []string{
		"GET /livez HTT",
		"GET /livez HTTP/1.1\r\nHost: x\r\nX-A: ",
		"POST /x HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer " + w.token(door.Staff, "s") + "\r\nContent-Length: 50\r\n\r\n{",
	} {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, sent)
		_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		answer, err := io.ReadAll(conn)
		if err != nil {
			t.Errorf("after %q the connection stays open: %v", sent, err)
		}
		if bytes.Contains(answer, []byte("200 OK")) {
			t.Errorf("answered %q", answer)
		}
		_ = conn.Close()
	}
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET /livez HTTP/1.1\r\nHost: x\r\nX-A: "+strings.Repeat("a", 64<<10)+"\r\n\r\n")
	if rsp, err := http.ReadResponse(bufio.NewReader(conn), nil); err == nil {
		_ = rsp.Body.Close()
		if rsp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("a header of 64 KiB: %d", rsp.StatusCode)
		}
	}
}

// Pages of other sites cannot act with a cookie, or with the trust that test mode gives this machine.
func TestForeignPages(t *testing.T) {
	t.Parallel()
	stream := door.Route{Pattern: "GET /stream", Access: everybody, Stream: true, Handle: fine}
	w := open(t, door.Config{TestMode: true, Origins: []string{"https://shop.example"}},
		door.Route{Pattern: "POST /x", Access: everybody, Handle: fine}, stream)
	cookie := with("Cookie", "souk="+w.token(door.Staff, "s"))
	here := func(r *http.Request) { r.RemoteAddr, r.Host = "127.0.0.1:5", "localhost:8901" }
	for _, trust := range []func(*http.Request){cookie, here} {
		for _, c := range []struct {
			foreign bool
			change  func(*http.Request)
		}{
			{false, func(*http.Request) {}},
			{false, with("Sec-Fetch-Site", "same-origin")},
			{true, with("Sec-Fetch-Site", "cross-site")},
			{true, with("Sec-Fetch-Site", "same-site")},
			{true, with("Origin", "https://evil.example")},
			{true, with("Origin", "null")},
		} {
			rec := w.do(request("POST", "/x", "", trust, c.change))
			if c.foreign {
				refused(t, rec, 403, "foreign_origin")
			} else if rec.Code != 200 {
				t.Errorf("%d %s", rec.Code, rec.Body)
			}
		}
		for origin, ok := range map[string]bool{
			"http://HOST": true, "https://shop.example": true,
			"null": false, "http://evil.example": false, "http://HOST.evil.example": false, "https://HOST": false,
			"http://evil.example/HOST": false, "http://HOST@evil.example": false, "https://shop.example.evil": false, "": false, "file://": false,
		} {
			r := request("GET", "/stream", "", trust)
			origin = strings.ReplaceAll(origin, "HOST", r.Host)
			r.Header["Origin"] = []string{origin}
			rec := w.do(r)
			if ok && rec.Code != 200 {
				t.Errorf("%q: %d", origin, rec.Code)
			} else if !ok {
				refused(t, rec, 403, "foreign_origin")
			}
		}
	}
}

func TestTestModeTrustsThisMachineOnly(t *testing.T) {
	t.Parallel()
	route := door.Route{Pattern: "POST /test", Access: door.Access{door.Staff: door.All}, TestOnly: true, Handle: fine}
	w := open(t, door.Config{TestMode: true}, route)
	for _, c := range []struct {
		from, host string
		trusted    bool
	}{
		{"127.0.0.1:1", "localhost:8901", true},
		{"127.0.0.1:1", "127.0.0.1:8901", true},
		{"[::1]:1", "[::1]:8901", true},
		{"[::1]:1", "localhost", true},
		{"192.0.2.1:1", "localhost:8901", false},
		{"127.0.0.1:1", "evil.example:8901", false},
		{"127.0.0.1:1", "localhost.evil.example", false},
		{"127.0.0.1:1", "", false},
		{"10.0.0.1:1", "10.0.0.1", false},
	} {
		r := request("POST", "/test", "", with("X-Forwarded-For", "127.0.0.1"), with("X-User-Id", "root"))
		r.RemoteAddr, r.Host = c.from, c.host
		if rec := w.do(r); c.trusted && rec.Code != 200 {
			t.Errorf("%+v: %d", c, rec.Code)
		} else if !c.trusted {
			refused(t, rec, 401, "unauthenticated")
		}
	}
	strict := open(t, door.Config{}, door.Route{Pattern: "GET /x", Access: everybody, Handle: fine})
	r := request("GET", "/x", "")
	r.RemoteAddr, r.Host = "127.0.0.1:1", "localhost"
	refused(t, strict.do(r), 401, "unauthenticated")
}

func TestStreamsAreBoundedAndCut(t *testing.T) {
	t.Parallel()
	started := make(chan struct{})
	w := open(t, door.Config{MaxStreams: 3, StreamsPerCaller: 2}, door.Route{
		Pattern: "GET /stream", Access: everybody, Stream: true,
		Handle: func(_ http.ResponseWriter, r *door.Request) error {
			started <- struct{}{}
			<-r.Context().Done()
			return context.Cause(r.Context())
		},
	})
	var done sync.WaitGroup
	run := func(as func(*http.Request)) {
		done.Go(func() { w.do(request("GET", "/stream", "", as)) })
		<-started
	}
	a, b := bearer(w.token(door.Staff, "a")), bearer(w.token(door.Staff, "b"))
	run(a)
	run(a)
	refused(t, w.do(request("GET", "/stream", "", a)), 429, "too_many_requests")
	run(b)
	refused(t, w.do(request("GET", "/stream", "", bearer(w.token(door.Staff, "c")))), 429, "too_many_requests")
	for _, subject := range []string{"a", "b"} {
		if err := w.authority.RevokeSubject(door.Staff, subject); err != nil {
			t.Fatal(err)
		}
	}
	cut := make(chan struct{})
	go func() { done.Wait(); close(cut) }()
	select {
	case <-cut:
	case <-time.After(5 * time.Second):
		t.Fatal("revocation does not cut streams")
	}
	refused(t, w.do(request("GET", "/stream", "", a)), 401, "unauthenticated")
}

func TestHealth(t *testing.T) {
	t.Parallel()
	broken := errors.New("password=hunter2")
	var down error
	w := open(t, door.Config{Ready: []door.Probe{
		{Name: "log", Check: func(context.Context) error { return nil }},
		{Name: "database", Check: func(context.Context) error { return down }},
	}})
	if rec := w.do(request("GET", "/readyz?verbose", "")); rec.Code != 200 || !strings.Contains(rec.Body.String(), "[+]database ok\n") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	down = broken
	rec := w.do(request("GET", "/readyz?verbose", ""))
	if rec.Code != 503 || !strings.Contains(rec.Body.String(), "[-]database failed\n") || strings.Contains(rec.Body.String(), "hunter2") || rec.Header().Get("Retry-After") == "" {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if rec := w.do(request("GET", "/livez", "")); rec.Code != 200 {
		t.Errorf("liveness depends on something: %d", rec.Code)
	}
}

func TestObservation(t *testing.T) {
	t.Parallel()
	var seen []door.Observation
	w := open(t, door.Config{Observe: func(o door.Observation) { seen = append(seen, o) }},
		door.Route{Pattern: "GET /x/{id}", Access: everybody, Handle: fine})
	w.do(request("GET", "/x/1", "", bearer(w.token(door.Staff, "s"))))
	w.do(request("GET", "/y", ""))
	want := []door.Observation{{Gate: "online", Route: "GET /x/{id}", Role: door.Staff, Status: 200}, {Status: 404}}
	if fmt.Sprint(seen) != fmt.Sprint(want) {
		t.Errorf("%+v", seen)
	}
}

// creating counts how often it runs, and waits inside while gate is not nil.
type creating struct {
	mu     sync.Mutex
	runs   int
	gate   chan struct{}
	status int
}

func (c *creating) handle(w http.ResponseWriter, r *door.Request) error {
	c.mu.Lock()
	c.runs++
	run, gate := c.runs, c.gate
	c.mu.Unlock()
	if gate != nil {
		<-gate
	}
	if c.status >= 400 {
		return door.NewProblem(c.status, "planned", "As planned.")
	}
	w.Header().Set("Location", "/thing/1")
	return door.Answer(w, c.status, map[string]any{"run": run, "for": r.Caller.Subject})
}

func keyed(w *world, subject, key, body string) *http.Request {
	return request("POST", "/x", body, bearer(w.token(door.Customer, subject)), with("Idempotency-Key", key))
}

func creates(c *creating) door.Route {
	return door.Route{Pattern: "POST /x", Access: everybody, Body: true, Creates: true, Handle: c.handle}
}

func TestF9_IdempotencyKey(t *testing.T) {
	t.Parallel()
	for _, kept := range []int{202, 409} {
		c := &creating{status: kept}
		w := open(t, door.Config{}, creates(c))
		first := w.do(keyed(w, "a", "k1", `{"n":1}`))
		for _, key := range []string{"k1", `"k1"`} {
			again := w.do(keyed(w, "a", key, `{"n":1}`))
			if again.Code != kept || again.Body.String() != first.Body.String() || again.Header().Get("Location") != first.Header().Get("Location") ||
				again.Header().Get("Content-Type") != first.Header().Get("Content-Type") || again.Header().Get("Idempotency-Replayed") != "true" {
				t.Errorf("%d %s %v", again.Code, again.Body, again.Header())
			}
		}
		refused(t, w.do(keyed(w, "a", "k1", `{"n":2}`)), 422, "key_reused")
		if c.runs != 1 {
			t.Errorf("ran %d times", c.runs)
		}
		if other := w.do(keyed(w, "b", "k1", `{"n":1}`)); c.runs != 2 || strings.Contains(other.Body.String(), `"a"`) {
			t.Errorf("another caller's key is not its own: %s", other.Body)
		}
		w.clock.move(door.KeyLife)
		if w.do(keyed(w, "a", "k1", `{"n":1}`)); c.runs != 3 {
			t.Error("a key never expires")
		}
	}
	w := open(t, door.Config{}, creates(&creating{status: 200}))
	for _, key := range []string{"", `""`, "a b", "ä", strings.Repeat("k", 256)} {
		p := refused(t, w.do(keyed(w, "a", key, "{}")), 400, "invalid_field")
		if p.Errors[0].Field != "Idempotency-Key" {
			t.Error(p)
		}
	}
	r := keyed(w, "a", "k", "{}")
	r.Header.Add("Idempotency-Key", "l")
	refused(t, w.do(r), 400, "invalid_field")
}

// What did not happen may be asked for again under the same key.
func TestIdempotencyKeyIsGivenBack(t *testing.T) {
	t.Parallel()
	for _, status := range []int{400, 404, 429, 503} {
		c := &creating{status: status}
		w := open(t, door.Config{}, creates(c))
		w.do(keyed(w, "a", "k1", "{}"))
		c.status = 202
		if rec := w.do(keyed(w, "a", "k1", "{}")); rec.Code != 202 || rec.Header().Get("Traceparent") == "" {
			t.Errorf("after %d: %d %s", status, rec.Code, rec.Body)
		}
	}
}

// A request that is sent again under its key is told since when that is known, whatever became of the first, so that what is made of both is made
// once. Red when a claim that is given back takes that along, or when none is told.
func TestIdempotencyKeySince(t *testing.T) {
	t.Parallel()
	var since []time.Time
	failed := false
	w := open(t, door.Config{}, door.Route{Pattern: "POST /x", Access: everybody, Body: true, Creates: true, Handle: func(rw http.ResponseWriter, r *door.Request) error {
		since = append(since, r.Since)
		if failed = !failed; failed {
			return backbone.ErrUnavailable
		}
		rw.WriteHeader(http.StatusCreated)
		return nil
	}})
	first := w.clock.Now()
	w.do(keyed(w, "a", "k1", "{}"))
	w.clock.move(time.Hour)
	w.do(keyed(w, "a", "k1", `{"other":"body"}`))
	w.clock.move(door.KeyLife)
	w.do(keyed(w, "a", "k1", "{}"))
	if len(since) != 3 || !since[0].Equal(first) || !since[1].Equal(first) || !since[2].Equal(w.clock.Now()) {
		t.Errorf("at %s and %s: %v", first, w.clock.Now(), since)
	}
	failed = true
	without := keyed(w, "a", "", "{}")
	without.Header.Del("Idempotency-Key")
	if w.do(without); len(since) != 4 || !since[3].IsZero() {
		t.Errorf("without a key: %v", since)
	}
}

// What cannot be done yet is tried again under the same key, unlike any other conflict. Red when what says to come again is kept.
func TestIdempotencyKeyOfWhatIsNotYet(t *testing.T) {
	t.Parallel()
	answers := []error{door.NotYet("settling", "In a moment."), door.NotYet("settling", "In a moment."), door.NewProblem(409, "closed", "Never.")}
	w := open(t, door.Config{}, door.Route{Pattern: "POST /x", Access: everybody, Body: true, Creates: true, Handle: func(http.ResponseWriter, *door.Request) error {
		first := answers[0]
		answers = answers[1:]
		return first
	}})
	for _, code := range []string{"settling", "settling", "closed", "closed"} {
		rec := w.do(keyed(w, "a", "k1", "{}"))
		refused(t, rec, 409, code)
		if after := rec.Header().Get("Retry-After"); (after == "1") != (code == "settling") {
			t.Errorf("%s: Retry-After %q", code, after)
		}
	}
}

func TestIdempotencyKeyInFlight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &creating{status: 202, gate: make(chan struct{})}
		w := open(t, door.Config{}, creates(c))
		answers := make(chan *httptest.ResponseRecorder, 3)
		ask := func() { answers <- w.do(keyed(w, "a", "k1", "{}")) }
		go ask()
		synctest.Wait()
		go ask()
		began := time.Now()
		refused(t, <-answers, 409, "in_progress")
		if waited := time.Since(began); waited != 2*time.Second {
			t.Errorf("waited %v", waited)
		}
		go ask() // this one waits for less than that
		synctest.Wait()
		close(c.gate)
		one, two := <-answers, <-answers
		if one.Code != 202 || one.Body.String() != two.Body.String() || c.runs != 1 {
			t.Errorf("%d %s, %d %s, ran %d times", one.Code, one.Body, two.Code, two.Body, c.runs)
		}
	})
}

// A claim whose process died without an answer does not stand forever, and while it stands nobody runs beside it.
func TestIdempotencyKeyOfAnotherProcess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var memory door.MemoryIdempotency
		c := &creating{status: 202}
		dead := &creating{status: 202, gate: make(chan struct{})}
		there := open(t, door.Config{Idempotency: &memory, Timeout: time.Hour}, creates(dead))
		here := open(t, door.Config{Idempotency: &memory}, creates(c))
		var done sync.WaitGroup
		done.Go(func() { there.do(keyed(there, "a", "k1", "{}")) })
		synctest.Wait()
		refused(t, here.do(keyed(here, "a", "k1", "{}")), 409, "in_progress")
		refused(t, here.do(keyed(here, "a", "k1", "{ }")), 422, "key_reused")
		if c.runs != 0 {
			t.Error("ran beside another")
		}
		here.clock.move(time.Minute)
		if rec := here.do(keyed(here, "a", "k1", "{}")); rec.Code != 202 || c.runs != 1 {
			t.Errorf("%d, ran %d times", rec.Code, c.runs)
		}
		close(dead.gate)
		done.Wait()
	})
}

func TestIdempotencyStoreAway(t *testing.T) {
	t.Parallel()
	c := &creating{status: 202}
	w := open(t, door.Config{Idempotency: away{}}, creates(c))
	refused(t, w.do(keyed(w, "a", "k1", "{}")), 503, "unavailable")
	if c.runs != 0 {
		t.Error("ran without a claim")
	}
}

type away struct{ door.Idempotency }

func (away) Claim(context.Context, string, string, [32]byte, time.Time, time.Time) (door.Remembered, bool, error) {
	return door.Remembered{}, false, errors.New("database is away")
}
