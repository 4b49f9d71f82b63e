package store

import (
	"cmp"
	"io"
	"log"
	"net"
	"net/http"
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
	server := &http.Server{Protocols: new(http.Protocols), Handler: &httputil.ReverseProxy{
		Rewrite:       f.lead,
		Transport:     f,
		FlushInterval: -1, // streams show each message as it comes
		ErrorHandler:  func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		ErrorLog:      log.New(io.Discard, "", 0), // processes are killed on purpose
	}}
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
