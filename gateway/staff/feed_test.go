package staff_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"example.org/souk/backbone"
	"example.org/souk/gateway/door"
	"example.org/souk/gateway/staff"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
)

type frame struct {
	Seq     int64           `json:"seq"`
	AsOf    string          `json:"as_of"`
	Kind    string          `json:"kind"`
	ID      string          `json:"id"`
	Type    string          `json:"type"`
	Version int64           `json:"version"`
	Actor   string          `json:"actor"`
	Data    json.RawMessage `json:"data"`
	Robots  []staff.Position
}

// serve puts the door behind a real listener, whose address is returned, and has the gateway follow the logs.
func serve(t *testing.T, w *world) string {
	t.Helper()
	server := httptest.NewUnstartedServer(w.door)
	server.Config = w.door.Server()
	server.Listener = narrow{server.Listener}
	server.Start()
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error)
	go func() { ran <- w.gateway.Run(ctx) }()
	t.Cleanup(func() {
		server.Close()
		cancel()
		if err := <-ran; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	return server.Listener.Addr().String()
}

// narrow is a listener whose connections hold little of what was not taken from them: a hundred frames, where the system would hold thousands.
type narrow struct{ net.Listener }

const narrowness = 32 << 10 // with much less, the two ends wait for each other's timers

func (n narrow) Accept() (net.Conn, error) {
	c, err := n.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return c, c.(*net.TCPConn).SetWriteBuffer(narrowness)
}

// narrowly is a client for readers whose connections hold little at their end, too.
func narrowly(t *testing.T) *http.Client {
	transport := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return c, c.(*net.TCPConn).SetReadBuffer(narrowness)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// counted counts the events that are read from the logs.
type counted struct {
	staff.Logs
	read *atomic.Int64
}

func (c counted) Events(ctx context.Context, service string, after, until int64, limit int) ([]*backbone.Message, error) {
	list, err := c.Logs.Events(ctx, service, after, until, limit)
	c.read.Add(int64(len(list)))
	return list, err
}

func limit(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

type reader struct {
	t    *testing.T
	conn *websocket.Conn
}

func connect(t *testing.T, addr, since, token string) *reader {
	t.Helper()
	return connectBy(t, http.DefaultClient, addr, since, token)
}

func connectBy(t *testing.T, client *http.Client, addr, since, token string) *reader {
	t.Helper()
	conn, rsp, err := websocket.Dial(limit(t), "ws://"+addr+"/staff/feed?since="+url.QueryEscape(since), &websocket.DialOptions{ //nolint:bodyclose // the library owns the body of an upgraded connection
		HTTPClient: client, HTTPHeader: http.Header{"Authorization": {"Bearer " + token}},
	})
	if err != nil {
		t.Fatal(err, rsp)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	return &reader{t, conn}
}

// next returns the next frame, of an event where numbered is asked for.
func (r *reader) next(numbered bool) frame {
	r.t.Helper()
	for {
		_, data, err := r.conn.Read(limit(r.t))
		if err != nil {
			r.t.Fatal(err)
		}
		var f frame
		if err := json.Unmarshal(data, &f); err != nil {
			r.t.Fatalf("%s: %v", data, err)
		}
		if !numbered || f.Type != "" {
			return f
		}
	}
}

func (r *reader) closed(code websocket.StatusCode, reason string) {
	r.t.Helper()
	for {
		_, _, err := r.conn.Read(limit(r.t))
		if err == nil {
			continue
		}
		if e, ok := errors.AsType[websocket.CloseError](err); !ok || e.Code != code || e.Reason != reason {
			r.t.Errorf("closed with %v, want %v %s", err, code, reason)
		}
		return
	}
}

func (s *shop) receive(t *testing.T, sku string) {
	t.Helper()
	s.World.Do(t, command.ReceiveStock{SKU: sku, Location: mall.MainLocation, Quantity: 1})
}

// A snapshot says from where a socket goes on; a socket that breaks goes on at another replica, and at no time is anything missing, twice, or in
// another order than that of its thing. Red when a position is taken after what it stands for, when a frame is not counted, and when a log that
// grew between is not read.
func TestResumeWithoutAHole(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	for range 3 {
		s.receive(t, "SKU_1")
	}
	replicas := []*world{open(t, s), open(t, s)}
	addrs := []string{serve(t, replicas[0]), serve(t, replicas[1])}
	tokens := []string{replicas[0].clerk("a"), replicas[1].clerk("a")}
	snapshot := replicas[0].must(200, tokens[0], "GET", "/staff/snapshot", "")
	since := snapshot["as_of"].(string)
	one, two := mall.StockID("SKU_1", mall.MainLocation), mall.StockID("SKU_2", mall.MainLocation)
	version := map[string]int64{one: 3}
	if len(snapshot["stock"].([]any)) != 1 {
		t.Fatalf("%v", snapshot["stock"])
	}
	seq := int64(0)
	const rounds, each = 6, 40
	for round := range rounds {
		at := round % 2
		late := connect(t, addrs[1-at], since, tokens[1-at]) // reads everything when it has happened
		live := connect(t, addrs[at], since, tokens[at])
		for i := range each {
			s.receive(t, []string{"SKU_1", "SKU_2"}[i%2])
		}
		// Who has heard half leaves in the middle and goes on elsewhere.
		half := live
		for n := range each {
			if n == each/2 {
				_ = half.conn.CloseNow()
				half = connect(t, addrs[1-at], since, tokens[1-at])
			}
			f := half.next(true)
			seq++
			version[f.ID]++
			if f.Seq != seq || f.Kind != "stock" || f.Version != version[f.ID] || len(f.Data) == 0 {
				t.Fatalf("round %d: %d: %+v, want version %d", round, seq, f, version[f.ID])
			}
			since = f.AsOf
			if g := late.next(true); g.Seq != f.Seq {
				t.Fatalf("the other replica says %+v, want %+v", g, f)
			}
		}
		_ = half.conn.CloseNow()
		_ = late.conn.CloseNow()
	}
	if version[one]+version[two] != 3+rounds*each {
		t.Errorf("%v", version)
	}
	// What the gateway's own service keeps to itself is told with its data, what others do is not.
	live := connect(t, addrs[0], since, tokens[0])
	replicas[1].must(201, tokens[1], "POST", "/staff/approvals", `{"approval":"A1","what":"open_gate","subject":"gate-1","reason":"r"}`)
	if f := live.next(true); f.Kind != "approval" || f.ID != "A1" || f.Actor != "staff:a" || !strings.Contains(string(f.Data), `"reason":"r"`) {
		t.Errorf("%+v %s", f, f.Data)
	}
	s.World.Do(t, command.SetThreshold{SKU: "SKU_1", Location: mall.MainLocation, Threshold: 5, Quantity: 1})
	if f := live.next(true); f.Kind != "stock" || len(f.Data) != 0 {
		t.Errorf("a private event is told: %s", f.Data)
	}
}

// Whoever takes nothing costs nothing: what is kept for them is kept for all. When they read on they have missed nothing. Red when a socket gets a queue
// of its own, and when what fell out of the ring is not read from the log.
func TestASlowReaderCostsNoMemory(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	var read atomic.Int64 // from the logs
	w := open(t, s, func(c *staff.Config) { c.SlowAfter, c.Logs = 10*time.Minute, counted{c.Logs, &read} })
	addr, token := serve(t, w), w.clerk("a")
	const readers, ring, events, together = 40, 1024, 2000, 100 // more events than the ring and the connection of a reader hold
	slow := make([]*reader, readers)
	for i := range slow {
		slow[i] = connectBy(t, narrowly(t), addr, "", token)
	}
	quick := connect(t, addr, "", token)
	long := strings.Repeat("x", 400)
	s.World.Do(t, command.ReceiveStock{SKU: "SKU_1", Location: mall.MainLocation, Quantity: 1_000_000})
	quick.next(true)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for n := range events {
		if n%together == 0 { // they share commits
			var clerks sync.WaitGroup
			for range together {
				clerks.Go(func() {
					answer, err := s.World.Runtime().Do(t.Context(), command.AdjustStock{SKU: "SKU_1", Location: mall.MainLocation, Delta: -1, Reason: long})
					if err = errors.Join(err, answer.Err()); err != nil {
						t.Error(err)
					}
				})
			}
			clerks.Wait()
		}
		if f := quick.next(true); f.Seq != int64(n)+2 {
			t.Fatalf("%d: %+v", n, f)
		}
		w.gateway.Moved(staff.Position{Robot: "R1", Battery: int64(n % 100)})
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	// One ring of 1,024 frames of some 700 bytes; a queue of each reader would be 40 times that and more.
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 8<<20 {
		t.Errorf("%d MiB for %d readers that take nothing", grown>>20, readers)
	}
	for _, r := range slow[:3] {
		robots, before := 0, read.Load()
		for seq := int64(1); seq <= events+1; {
			f := r.next(false)
			if f.Type == "" {
				robots += len(f.Robots)
				continue
			}
			if f.Seq != seq {
				t.Fatalf("%+v, want %d", f, seq)
			}
			seq++
		}
		if robots > events/10 {
			t.Errorf("%d positions were kept for who did not look", robots)
		}
		if n := read.Load() - before; n < events-ring {
			t.Errorf("%d events were read from the log for who had missed at least %d of the ring", n, events-ring)
		}
	}
}

func TestHeartbeat(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	w := open(t, s, func(c *staff.Config) { c.Heartbeat = 20 * time.Millisecond })
	r := connect(t, serve(t, w), "", w.clerk("a"))
	s.receive(t, "SKU_1")
	f := r.next(true)
	for range 3 {
		if beat := r.next(false); beat.Kind != "heartbeat" || beat.Seq != f.Seq || beat.AsOf != f.AsOf {
			t.Errorf("%+v", beat)
		}
	}
	w.gateway.Moved(staff.Position{Robot: "R1", At: mall.Place{X: 1, Y: 2}, Battery: 50})
	w.gateway.Moved(staff.Position{Robot: "R1", At: mall.Place{X: 3, Y: 4}, Battery: 49})
	for {
		if f := r.next(false); f.Kind == "positions" {
			if len(f.Robots) != 1 || f.Seq != 1 {
				t.Errorf("%+v", f)
			}
			if f.Robots[0].At == (mall.Place{X: 3, Y: 4}) {
				return
			}
		}
	}
}

// A token that is revoked ends its socket at once, and one that is spoken to or asked wrongly says so.
func TestSocketsEnd(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	w := open(t, s)
	addr := serve(t, w)
	token, other := w.clerk("a"), w.clerk("b")
	r, stays := connect(t, addr, "", token), connect(t, addr, "", other)
	began := time.Now()
	if err := w.authority.RevokeSubject(door.Staff, "a"); err != nil {
		t.Fatal(err)
	}
	r.closed(websocket.StatusPolicyViolation, "signed out")
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("after %v", d)
	}
	w.refused(401, "unauthenticated", token, "GET", "/staff/feed", "")
	s.receive(t, "SKU_1")
	stays.next(true)
	if err := stays.conn.Write(limit(t), websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	stays.closed(websocket.StatusPolicyViolation, "a feed is only read")

	w.refused(426, "upgrade_required", other, "GET", "/staff/feed", "")
	for _, since := range []string{"x", "0~orders", "0~inventory.-1", "0~inventory.+1", "-1", "0~staff.1~inventory.1", "0~inventory.1~inventory.1", "0~inventory.9999999999999999999", "~", "0~~~~~~"} {
		w.refused(426, "upgrade_required", other, "GET", "/staff/feed?since="+url.QueryEscape(since), "")
		rsp := dial(t, addr, since, other)
		if rsp != http.StatusBadRequest {
			t.Errorf("since %q: %d", since, rsp)
		}
	}
	if rsp := dial(t, addr, "0~inventory.999", other); rsp != http.StatusGone {
		t.Errorf("a position that is not there yet: %d", rsp)
	}
}

func dial(t *testing.T, addr, since, token string) int {
	t.Helper()
	conn, rsp, err := websocket.Dial(limit(t), "ws://"+addr+"/staff/feed?since="+url.QueryEscape(since), &websocket.DialOptions{
		HTTPHeader: http.Header{"Authorization": {"Bearer " + token}},
	})
	if err == nil {
		_ = conn.CloseNow()
		return http.StatusSwitchingProtocols
	}
	_ = rsp.Body.Close()
	return rsp.StatusCode
}
