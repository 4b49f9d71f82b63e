package display

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

//go:embed page.html
var html []byte

// page shows what there is to be shown to browsers, which follow it by server-sent events. The zero value shows nothing. Its methods may be
// called from several goroutines.
type page struct {
	mu      sync.Mutex
	now     screen
	changed chan struct{} // is closed when now is another one
}

func (p *page) set(s screen) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = s
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}

// see returns what is shown now, and what tells that it is something else.
func (p *page) see() (screen, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.changed == nil {
		p.changed = make(chan struct{})
	}
	return p.now, p.changed
}

// serve serves the page on a loopback address until ctx ends; stop returns when it is over.
func (p *page) serve(ctx context.Context, address string, out io.Writer) (stop func(), err error) {
	host, _, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("the page is for this machine alone: %q is no loopback address with a port", address)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(html) // who went away reads nothing
	})
	mux.HandleFunc("GET /screen", p.stream)
	running, end := context.WithCancel(ctx)
	server := &http.Server{Handler: here(mux), ReadHeaderTimeout: 5 * time.Second, BaseContext: func(net.Listener) context.Context { return running }}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			fmt.Fprintln(out, "(the page ended: "+err.Error()+")")
		}
	}()
	fmt.Fprintf(out, "(page at http://%s/)\n", l.Addr())
	return func() {
		end()
		_ = server.Close() // nothing is left to be said
		<-done
	}, nil
}

// here refuses who comes under another name than an address of this machine, as a page of somebody else's does whose name leads here.
func here(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if ip := net.ParseIP(host); err != nil || host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			http.Error(w, "there is no such page", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// stream tells of each screen, and of an empty one when it is over.
func (p *page) stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	flush := http.NewResponseController(w)
	for {
		now, changed := p.see()
		over := time.NewTimer(time.Until(now.Expires))
		if now.over() {
			now = screen{}
		}
		if now.Expires.IsZero() {
			over.Stop()
		}
		data, err := json.Marshal(now)
		if err == nil {
			_, err = fmt.Fprintf(w, "data: %s\n\n", data)
		}
		if err != nil || flush.Flush() != nil {
			over.Stop()
			return
		}
		select {
		case <-changed:
		case <-over.C:
		case <-r.Context().Done():
			over.Stop()
			return
		}
		over.Stop()
	}
}
