package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/internal/house"
	"example.org/souk/mall/event"
)

// Lanes measures how much sooner a slow handler is through in several lanes than in one. Each message has a stream of
// its own.
type Lanes struct {
	Lanes    int           // default 16
	Handler  time.Duration // how long the handler takes; default 10 ms
	Duration time.Duration // of each of the two runs, about; default 5 s
	Log      io.Writer
}

// LanesResult is the rate in one lane and in all of them.
type LanesResult struct {
	Lanes      int      `json:"lanes"`
	HandlerMS  float64  `json:"handlerMs"`
	OneLane    float64  `json:"oneLanePerSecond"`
	AllLanes   float64  `json:"allLanesPerSecond"`
	Fold       float64  `json:"fold"`       // of all lanes' rate to one lane's
	OfPossible float64  `json:"ofPossible"` // fold by lanes
	InHandlers float64  `json:"inHandlers"` // how much of the lanes' time passes in handlers
	Violations []string `json:"violations"`
}

// Run measures one lane, then all.
func (l Lanes) Run(ctx context.Context) (res LanesResult, err error) {
	if l.Lanes <= 0 {
		l.Lanes = 16
	}
	if l.Handler <= 0 {
		l.Handler = 10 * time.Millisecond
	}
	if l.Duration <= 0 {
		l.Duration = 5 * time.Second
	}
	res.Lanes, res.HandlerMS, res.Violations = l.Lanes, float64(l.Handler.Microseconds())/1000, []string{}
	for _, run := range []struct {
		lanes int
		into  *float64
	}{{1, &res.OneLane}, {l.Lanes, &res.AllLanes}} {
		perSecond, found, err := l.handle(ctx, run.lanes)
		if err != nil {
			return res, err
		}
		*run.into = perSecond
		res.Violations = append(res.Violations, found...)
	}
	res.Fold = res.AllLanes / res.OneLane
	res.OfPossible = res.Fold / float64(l.Lanes)
	res.InHandlers = res.AllLanes * l.Handler.Seconds() / float64(l.Lanes)
	return res, nil
}

// handle returns the rate at which so many lanes work, from the tenth of all messages that is handled first to the tenth
// that is handled last: while lanes begin, and while some have nothing left to do, it says nothing of them.
func (l Lanes) handle(ctx context.Context, lanes int) (perSecond float64, violations []string, err error) {
	messages := max(int(l.Duration/l.Handler)*lanes, 10)
	var mu sync.Mutex
	var ends []time.Time
	done := make(chan struct{})
	slow := &backbone.Service{
		Name:  "slow",
		About: "Takes its time.",
		Lanes: lanes,
		Subscribes: []backbone.Subscriber{
			backbone.On(func(ctx context.Context, tx backbone.Tx, e event.OrderPlaced) error {
				wait := time.NewTimer(l.Handler)
				defer wait.Stop()
				select {
				case <-wait.C:
				case <-ctx.Done():
					return ctx.Err()
				}
				mu.Lock()
				ends = append(ends, time.Now())
				mu.Unlock()
				return tx.Exec(ctx, `INSERT INTO {taken} (order_id) VALUES ($1)`, e.Order)
			}).From(backbone.FromFirst),
		},
		HandlerTimeout: 10*l.Handler + time.Second,
		Migrations:     tables(`CREATE TABLE {taken} (order_id TEXT PRIMARY KEY);`),
	}
	handled := 0
	s, err := openStage(ctx, stageConfig{
		parts: house.Parts(house.Ports{}, slow), run: []string{"slow"}, log: l.Log,
		hooks: backbone.Hooks{Handled: func(_ context.Context, h backbone.HandledStats) {
			mu.Lock()
			defer mu.Unlock()
			if h.Err != nil {
				return
			}
			if handled++; handled == messages {
				close(done)
			}
		}},
	})
	if err != nil {
		return 0, nil, err
	}
	defer func() { err = errors.Join(err, s.close(ctx)) }()
	if err := fill(ctx, s.store, 2*messages, l.Log); err != nil {
		return 0, nil, err
	}
	if err := s.runtime.Start(ctx); err != nil {
		return 0, nil, err
	}
	select {
	case <-done:
	case <-ctx.Done():
		return 0, nil, ctx.Err()
	}
	mu.Lock()
	first, last := len(ends)/10, len(ends)-len(ends)/10-1
	perSecond = rate(last-first, ends[last].Sub(ends[first]))
	mu.Unlock()
	taken, err := s.number(ctx, "slow", `SELECT count(*) FROM {taken}`)
	if err != nil {
		return 0, nil, err
	}
	if taken != int64(messages) {
		violations = append(violations, fmt.Sprintf("%d of %d messages were handled", taken, messages))
	}
	return perSecond, violations, nil
}
