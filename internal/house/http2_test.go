package house

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"example.org/souk/gateway/door"
	"example.org/souk/gateway/rpc"
)

// rawPeer speaks HTTP/2 frame by frame, as no client does that means well.
type rawPeer struct {
	t        *testing.T
	conn     net.Conn
	out      *http2.Framer
	next     uint32 // the next stream
	settings map[http2.SettingID]uint32
	code     http2.ErrCode // of the GOAWAY, when gone is closed
	gone     chan struct{} // the connection has ended
}

// meet opens a connection from an address of its own, so that nobody else is held back for what it does, and reads what comes unless the peer is deaf.
func meet(t *testing.T, address string, deaf bool) *rawPeer {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	conn, err := dialer.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	p := &rawPeer{t: t, conn: conn, out: http2.NewFramer(conn, conn), next: 1, settings: map[http2.SettingID]uint32{}, gone: make(chan struct{})}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := p.out.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	first, err := p.out.ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	if err := first.(*http2.SettingsFrame).ForeachSetting(func(s http2.Setting) error { p.settings[s.ID] = s.Val; return nil }); err != nil {
		t.Fatal(err)
	}
	if err := p.out.WriteSettingsAck(); err != nil {
		t.Fatal(err)
	}
	if !deaf {
		go p.listen()
	}
	return p
}

func (p *rawPeer) listen() {
	defer close(p.gone)
	for {
		f, err := p.out.ReadFrame()
		if err != nil {
			return
		}
		if f, ok := f.(*http2.GoAwayFrame); ok {
			p.code = f.ErrCode
		}
	}
}

// ends waits for the end of the connection.
func (p *rawPeer) ends(what string, code http2.ErrCode) {
	p.t.Helper()
	select {
	case <-p.gone:
		if p.code != code {
			p.t.Errorf("%s: the connection ends with %v, want %v", what, p.code, code)
		}
	case <-time.After(30 * time.Second):
		p.t.Fatalf("%s: the connection is still there", what)
	}
}

// resets begins so many requests and resets each at once, as long as the connection stands.
func (p *rawPeer) resets(n int, path string, more ...hpack.HeaderField) {
	p.t.Helper()
	var packed bytes.Buffer
	headers := hpack.NewEncoder(&packed)
	for range n {
		packed.Reset()
		for _, f := range append([]hpack.HeaderField{
			{Name: ":method", Value: "POST"},
			{Name: ":scheme", Value: "http"},
			{Name: ":authority", Value: "mall"},
			{Name: ":path", Value: path},
			{Name: "content-type", Value: "application/grpc"},
		}, more...) {
			if err := headers.WriteField(f); err != nil {
				p.t.Fatal(err)
			}
		}
		err := p.out.WriteHeaders(http2.HeadersFrameParam{StreamID: p.next, BlockFragment: packed.Bytes(), EndHeaders: true})
		if err == nil {
			err = p.out.WriteRSTStream(p.next, http2.ErrCodeCancel)
		}
		if err != nil {
			return
		}
		p.next += 2
	}
}

const method = "/souk.v1.StoresService/GetProduct"

// serveWith runs a server of the door whose programs are another handler, and returns its address.
func serveWith(t *testing.T, h *House, programs http.Handler, change func(*http.Server)) string {
	t.Helper()
	server := h.Door.Server()
	h.servePrograms(server, programs)
	if change != nil {
		change(server)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close(); <-done })
	return l.Addr().String()
}

// F10: every server that speaks HTTP/2 says its bounds and keeps them, against a peer that speaks it frame by frame. Red when a server
// says none, when requests that were reset are not counted any more, when a peer that is gone is not asked for, and when pings keep a connection.
func TestF10_HTTP2IsBounded(t *testing.T) { // nothing runs beside it, since it counts goroutines
	h := opened(t)
	web := strings.TrimPrefix(h.URL(), "http://")

	t.Run("said", func(t *testing.T) {
		others := serverOfOthers(http.NotFoundHandler())
		others.Protocols = new(http.Protocols)
		others.Protocols.SetUnencryptedHTTP2(true) // between processes the same is said over TLS
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() { defer close(done); _ = others.Serve(l) }()
		defer func() { _ = others.Close(); <-done }()
		for name, address := range map[string]string{"web": web, "between processes": l.Addr().String()} {
			said := meet(t, address, false).settings
			for id, want := range map[http2.SettingID]uint32{
				http2.SettingMaxConcurrentStreams: maxStreams, http2.SettingMaxFrameSize: 16 << 10, http2.SettingHeaderTableSize: 4 << 10,
				http2.SettingInitialWindowSize: 256 << 10,
			} {
				if said[id] != want {
					t.Errorf("%s: %v is %d, want %d", name, id, said[id], want)
				}
			}
			if n := said[http2.SettingMaxHeaderListSize]; n < 16<<10 || n > 18<<10 {
				t.Errorf("%s: headers of %d bytes", name, n)
			}
		}
	})

	// Handlers that take no notice of a reset are the worst case.
	t.Run("reset while handlers work", func(t *testing.T) {
		var now, most atomic.Int64
		release := make(chan struct{})
		address := serveWith(t, h, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			n := now.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			<-release
			now.Add(-1)
		}), nil)
		p := meet(t, address, false)
		before := runtime.NumGoroutine()
		p.resets(20_000, method)
		p.ends("resets", http2.ErrCodeEnhanceYourCalm)
		if n := most.Load(); n != maxStreams {
			t.Errorf("%d handlers worked at once, want %d", n, maxStreams)
		}
		if n := runtime.NumGoroutine(); n > before+maxStreams+100 { // beside others' of this test binary
			t.Errorf("%d goroutines, %d before", n, before)
		}
		close(release)
		until(t, func() bool { return now.Load() == 0 })
	})

	t.Run("reset a hundred thousand times", func(t *testing.T) { resetMany(t, h, web) })

	// A request that is longer than the bound is not kept until it has ended.
	t.Run("headers without end", func(t *testing.T) {
		p := meet(t, web, false)
		var packed bytes.Buffer
		e := hpack.NewEncoder(&packed)
		for _, f := range []hpack.HeaderField{{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "http"}, {Name: ":path", Value: method}} {
			if err := e.WriteField(f); err != nil {
				t.Fatal(err)
			}
		}
		err := p.out.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: packed.Bytes()})
		sent := 0
		for ; err == nil && sent < 64<<20; sent += packed.Len() {
			packed.Reset()
			if err = e.WriteField(hpack.HeaderField{Name: "x", Value: strings.Repeat("y", 15<<10), Sensitive: true}); err == nil {
				err = p.out.WriteContinuation(1, false, packed.Bytes())
			}
		}
		if err == nil {
			t.Errorf("%d bytes of headers were taken", sent)
		}
	})

	t.Run("pings that nobody reads the answers of", func(t *testing.T) {
		p := meet(t, web, true)
		var ping bytes.Buffer
		for range 1000 {
			if err := http2.NewFramer(&ping, nil).WritePing(false, [8]byte{}); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.conn.SetWriteDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		var err error
		for sent := 0; err == nil && sent < 256<<20; sent += ping.Len() {
			_, err = p.conn.Write(ping.Bytes())
		}
		if stuck := net.Error(nil); err == nil || errors.As(err, &stuck) && stuck.Timeout() {
			t.Errorf("the connection is kept: %v", err)
		}
	})

	t.Run("pings keep nothing", func(t *testing.T) {
		p := meet(t, serveWith(t, h, http.NotFoundHandler(), func(s *http.Server) { s.IdleTimeout /= 400 }), false)
		go func() {
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for p.out.WritePing(false, [8]byte{}) == nil {
				<-tick.C
			}
		}()
		p.ends("pings without a request", http2.ErrCodeNo)
	})

	// A robot that lost its network has a request that does not end. Nothing is heard of it, not even that it is gone.
	t.Run("a peer that is gone", func(t *testing.T) {
		ended := make(chan struct{})
		p := meet(t, serveWith(t, h, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			close(ended)
		}), func(s *http.Server) {
			s.HTTP2.SendPingTimeout /= 300
			s.HTTP2.PingTimeout /= 300
			s.ReadTimeout, s.WriteTimeout = 0, 0 // as it is for streams
		}), true)
		var packed bytes.Buffer
		e := hpack.NewEncoder(&packed)
		for _, f := range []hpack.HeaderField{{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "http"}, {Name: ":path", Value: method}} {
			if err := e.WriteField(f); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.out.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: packed.Bytes(), EndHeaders: true}); err != nil {
			t.Fatal(err)
		}
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			t.Error("its request is still worked on")
		}
	})
}

// resetMany resets a hundred thousand requests to the application services, over one connection after another, while somebody else is served.
func resetMany(t *testing.T, h *House, web string) {
	token := func(subject string) string {
		token, _, err := h.Authority.Issue(door.Grant{Role: door.Staff, Subject: subject, Gates: []string{rpc.Gate}})
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	bearer, hasty := token("somebody"), hpack.HeaderField{Name: "authorization", Value: "Bearer " + token("hasty")}
	call := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+web+method, strings.NewReader(`{"product":"pen"}`))
		if err != nil {
			return err
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+bearer)
		rsp, err := http.DefaultClient.Do(r)
		if err != nil {
			return err
		}
		defer rsp.Body.Close()
		if rsp.StatusCode != http.StatusNotFound { // there is no such product
			return errors.New(rsp.Status)
		}
		return nil
	}
	if err := call(); err != nil {
		t.Fatal(err)
	}
	used := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, goroutines := used(), runtime.NumGoroutine()
	var most atomic.Int64
	stop := make(chan struct{})
	var beside sync.WaitGroup
	beside.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			most.Store(max(most.Load(), int64(runtime.NumGoroutine())))
			if err := call(); err != nil {
				t.Errorf("somebody else: %v", err)
				return
			}
		}
	})
	const many = 100_000
	did, connections := 0, 0
	for did < many && connections < many/100 {
		p := meet(t, web, false)
		p.resets(many-did, method, hasty)
		did, connections = did+int(p.next/2), connections+1
		_ = p.conn.Close()
		<-p.gone
	}
	close(stop)
	beside.Wait()
	if did < many {
		t.Errorf("%d requests were reset", did)
	}
	if n := most.Load(); n > int64(goroutines+2*maxStreams+200) { // of a connection, and of the one before that still ends
		t.Errorf("%d goroutines, %d before", n, goroutines)
	}
	until(t, func() bool { return runtime.NumGoroutine() < goroutines+100 })
	if after := used(); after > before+16<<20 {
		t.Errorf("%d bytes are kept, %d before", after, before)
	}
	t.Logf("%d requests over %d connections", did, connections)
}
