package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// Sockets measures how long an event takes to the screens of staff: from its commit to a frame on each of many sockets, while orders
// come in.
type Sockets struct {
	Program  []string      // runs souk; its arguments follow
	Sockets  int           // default 1,000
	Duration time.Duration // of the load; default 10 s
	Rate     int           // orders a second, of which each has a dozen events or more; default 5
	Log      io.Writer     // hears of the progress; may be nil
}

// SocketsResult is what a run found. Costs are those of souk's process.
type SocketsResult struct {
	Sockets      int      `json:"sockets"`
	Orders       int64    `json:"orders"`
	Events       int64    `json:"events"` // that each socket was told
	FramesPerS   float64  `json:"framesPerSecond"`
	FrameMS      Times    `json:"frameMs"`
	CPUPercent   float64  `json:"cpuPercent"` // of a core, while the load lasts
	PeakRSSBytes int64    `json:"peakRssBytes"`
	Violations   []string `json:"violations"`
}

// socketsOfOne is how many sockets one member of staff has: fewer than may be open at a time.
const socketsOfOne = 50

// Run opens the sockets, has orders come in, and compares what the sockets were told.
func (s Sockets) Run(ctx context.Context) (res SocketsResult, err error) {
	if s.Sockets <= 0 {
		s.Sockets = 1000
	}
	if s.Duration <= 0 {
		s.Duration = 10 * time.Second
	}
	if s.Rate <= 0 {
		s.Rate = 5
	}
	if s.Log == nil {
		s.Log = io.Discard
	}
	res.Sockets, res.Violations = s.Sockets, []string{}
	o := Orders{Program: s.Program, Duration: s.Duration, Rate: s.Rate, Log: s.Log}
	o.setDefaults()
	shop, rest := world(o.Products)
	m, err := openWhole(ctx, s.Program, s.Log, shop, rest)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, m.remove()) }()
	run, end := context.WithCancel(ctx)
	watchers := make([]*watcher, s.Sockets)
	var reading sync.WaitGroup
	defer func() {
		end()
		reading.Wait()
	}()
	token := ""
	for i := range watchers {
		if i%socketsOfOne == 0 {
			if token, err = tokenOf(m.dir, fmt.Sprintf("staff-%d", i/socketsOfOne)); err != nil {
				return res, err
			}
		}
		if watchers[i], err = openWatcher(run, m.url, token); err != nil {
			return res, fmt.Errorf("socket %d: %w", i, err)
		}
		reading.Go(func() { watchers[i].read(run) })
	}
	l := newLoad(o, m.url, m.token)
	if err := l.follow(run); err != nil {
		return res, err
	}
	cpu := m.cpu()
	var orders OrdersResult
	began := time.Now()
	l.report(ctx, &orders)
	elapsed := time.Since(began)
	res.CPUPercent = 100 * (m.cpu() - cpu).Seconds() / elapsed.Seconds()
	res.Orders, res.Violations = orders.Accepted, append(res.Violations, orders.Violations...)
	if err := m.settled(ctx); err != nil {
		res.Violations = append(res.Violations, err.Error())
	}
	same, found := awaitSame(ctx, watchers)
	res.Events, res.Violations = same, append(res.Violations, found...)
	res.PeakRSSBytes = m.status("VmHWM:")
	end()
	reading.Wait()
	var all []time.Duration
	for _, w := range watchers {
		all = append(all, w.took...)
	}
	res.FramesPerS, res.FrameMS = rate(len(all), elapsed), times(all)
	if res.Events < 2*res.Orders { // each was placed and approved
		res.Violations = append(res.Violations, fmt.Sprintf("%d events of %d orders", res.Events, res.Orders))
	}
	return res, nil
}

// watcher is one socket.
type watcher struct {
	conn *websocket.Conn

	mu   sync.Mutex
	seq  int64           // of the last event
	took []time.Duration // from each event to its frame
	err  error           // how it ended
	hole string
}

func openWatcher(ctx context.Context, url, token string) (*watcher, error) {
	conn, _, err := websocket.Dial( //nolint:bodyclose // the library owns the body of an upgraded connection
		ctx, "ws"+strings.TrimPrefix(url, "http")+"/staff/feed", &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + token}}})
	if err != nil {
		return nil, err
	}
	conn.SetReadLimit(1 << 20)
	return &watcher{conn: conn}, nil
}

// read takes frames until ctx or the socket ends.
func (w *watcher) read(ctx context.Context) {
	defer w.conn.CloseNow() //nolint:errcheck // the run is over
	for {
		_, data, err := w.conn.Read(ctx)
		now := time.Now()
		if err != nil {
			w.mu.Lock()
			w.err = err
			w.mu.Unlock()
			return
		}
		if !bytes.Contains(data, []byte(`"type":`)) {
			continue // a heartbeat, or where robots are
		}
		var f struct {
			Seq  int64     `json:"seq"`
			Time time.Time `json:"time"`
		}
		err = json.Unmarshal(data, &f)
		w.mu.Lock()
		if err != nil || f.Seq != w.seq+1 {
			w.hole = fmt.Sprintf("after %d came %.100s", w.seq, data)
		}
		w.seq = f.Seq
		w.took = append(w.took, now.Sub(f.Time))
		w.mu.Unlock()
	}
}

// awaitSame waits until all sockets were told the same number of events, and no more come. It returns that number.
func awaitSame(ctx context.Context, all []*watcher) (same int64, violations []string) {
	const quiet = 500 * time.Millisecond
	tick := time.NewTicker(quiet)
	defer tick.Stop()
	before := int64(-1)
	for deadline := time.Now().Add(30 * time.Second); ; {
		least, most := all[0].last(), all[0].last()
		for _, w := range all {
			least, most = min(least, w.last()), max(most, w.last())
		}
		if least == most && most == before || time.Now().After(deadline) {
			if least != most {
				violations = append(violations, fmt.Sprintf("one socket was told of %d events, another of %d", least, most))
			}
			break
		}
		before = most
		select {
		case <-tick.C:
		case <-ctx.Done():
			return most, []string{ctx.Err().Error()}
		}
	}
	for i, w := range all {
		w.mu.Lock()
		if w.err != nil {
			violations = append(violations, fmt.Sprintf("socket %d ended: %v", i, w.err))
		}
		if w.hole != "" {
			violations = append(violations, fmt.Sprintf("socket %d misses something: %s", i, w.hole))
		}
		w.mu.Unlock()
	}
	return before, violations[:min(len(violations), 10)]
}

func (w *watcher) last() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seq
}
