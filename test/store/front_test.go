package store

import (
	"cmp"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// front stands before the processes of a mall as a shop's load balancer does: whoever comes in has one address, which stays when processes end
// and begin, and each request goes to the process that runs the gateway for it. A request that nobody can be given is cut off.
type front struct {
	url           string
	plain, binary *http.Transport // HTTP/1 and WebSockets, and HTTP/2 without TLS as gRPC has it

	mu sync.Mutex
	to map[string]*url.URL // by what runs there
}

func newFront(t *testing.T) *front {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &front{url: "http://" + l.Addr().String(), plain: &http.Transport{MaxIdleConnsPerHost: 100}, binary: &http.Transport{}, to: map[string]*url.URL{}}
	f.binary.Protocols = new(http.Protocols)
	f.binary.Protocols.SetUnencryptedHTTP2(true)
	proxy := &httputil.ReverseProxy{
		Rewrite:       f.lead,
		Transport:     f,
		FlushInterval: -1, // streams show each message as it comes
		ErrorHandler:  func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		ErrorLog:      log.New(io.Discard, "", 0), // processes are killed on purpose
	}
	server := &http.Server{Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Else the server takes what is left of a request for itself when the answer begins, and whoever passes the request on gives up, and the answer
		// with it.
		if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
			panic(err)
		}
		proxy.ServeHTTP(w, r)
	})}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(l) }) // until it is closed
	t.Cleanup(func() {
		_ = server.Close()
		serving.Wait()
		f.plain.CloseIdleConnections()
		f.binary.CloseIdleConnections()
	})
	return f
}

// set says where a process is that runs these parts, in place of what ran them before.
func (f *front) set(parts []string, at string) error {
	to, err := url.Parse(at)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, part := range parts {
		f.to[part] = to
	}
	return nil
}

// lead turns a request to the process that is to answer it. Nothing else of it is changed.
func (f *front) lead(r *httputil.ProxyRequest) {
	f.mu.Lock()
	to := cmp.Or(f.to[gatewayOf(r.In.URL.Path)], f.to["online"], nowhere)
	f.mu.Unlock()
	r.SetURL(to)
	r.Out.Host = r.In.Host
}

// RoundTrip implements http.RoundTripper.
func (f *front) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.ProtoMajor == 2 {
		return f.binary.RoundTrip(r)
	}
	return f.plain.RoundTrip(r)
}

// nowhere is where a request goes that nobody can be given.
var nowhere = &url.URL{Scheme: "http"}

var application = regexp.MustCompile(`^/souk\.v1\.([A-Z][a-z]+)Service/`)

// gatewayOf is the part of a mall that answers what comes under a path.
func gatewayOf(path string) string {
	if service := application.FindStringSubmatch(path); service != nil {
		return strings.ToLower(service[1])
	}
	if path == "/" {
		return "console"
	}
	for prefix, part := range map[string]string{
		"/kiosk": "kiosk", "/staff": "staff", "/console": "console", "/payments/callback": "payments", "/souk.robots.v1.": "depot",
	} {
		if strings.HasPrefix(path, prefix) {
			return part
		}
	}
	return "online"
}

// A long answer that begins before its request has ended arrives whole. Red where the front does not go on passing the request on meanwhile.
func TestFront_LongAnswerToALongRequest(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	long := strings.Repeat("x", 200_000)
	began := make(chan struct{}, 1)
	eager := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out := http.NewResponseController(w)
		if err := errors.Join(out.EnableFullDuplex(), out.Flush()); err != nil {
			t.Error(err)
		}
		began <- struct{}{}
		if got, err := io.Copy(io.Discard, r.Body); err != nil || got != 2*int64(len(long)) {
			t.Errorf("%d bytes of the request arrived: %v", got, err)
		}
		if _, err := io.WriteString(w, long); err != nil {
			t.Error(err)
		}
	}))
	defer eager.Close()
	if err := f.set([]string{"online"}, eager.URL); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		body, rest := io.Pipe()
		var sending sync.WaitGroup
		sending.Go(func() {
			_, first := io.WriteString(rest, long)
			<-began
			_, second := io.WriteString(rest, long)
			if err := errors.Join(first, second, rest.Close()); err != nil {
				t.Error(err)
			}
		})
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.url+"/order", body)
		if err != nil {
			t.Fatal(err)
		}
		req.ContentLength = 2 * int64(len(long))
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(text) != long {
			t.Fatalf("%d bytes of the answer arrived: %v", len(text), err)
		}
		sending.Wait()
	}
}
