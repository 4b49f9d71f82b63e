package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Depth measures what an order costs at a long log against one at a short log: two malls that differ in the history of
// their orders service alone get the same load by turns.
type Depth struct {
	Program     []string      // runs souk; its arguments follow
	Short, Long int           // events in the log, even; defaults 10,000 and 10,000,000
	Rounds      int           // of each mall; medians count; default 3
	Duration    time.Duration // of the load in one round; default 15 s
	Rate        int           // orders a second, the same for both; default 200
	Log         io.Writer
}

// DepthResult is the median of each mall's rounds.
type DepthResult struct {
	Short      DepthCost `json:"short"`
	Long       DepthCost `json:"long"`
	CPURatio   float64   `json:"cpuRatio"` // of the long log's to the short log's
	P50Ratio   float64   `json:"p50Ratio"` // likewise, of the median until an order is approved
	Violations []string  `json:"violations"`
}

// DepthCost is what an order costs.
type DepthCost struct {
	Events        int     `json:"events"`
	CPUMSPerOrder float64 `json:"cpuMsPerOrder"`
	AcceptP50MS   float64 `json:"acceptP50Ms"`
	ApproveP50MS  float64 `json:"approveP50Ms"`
	ReadyMS       float64 `json:"readyMs"`
	PeakRSSBytes  int64   `json:"peakRssBytes"`
	DatabaseBytes int64   `json:"databaseBytes"`
}

// Run fills both logs, then measures by turns.
func (d Depth) Run(ctx context.Context) (res DepthResult, err error) {
	if d.Short <= 0 {
		d.Short = 10_000
	}
	if d.Long <= 0 {
		d.Long = 10_000_000
	}
	if d.Rounds <= 0 {
		d.Rounds = 3
	}
	if d.Duration <= 0 {
		d.Duration = 15 * time.Second
	}
	if d.Rate <= 0 {
		d.Rate = 200
	}
	if d.Log == nil {
		d.Log = io.Discard
	}
	res.Violations = []string{}
	malls := []*deepMall{{events: d.Short}, {events: d.Long}}
	for _, m := range malls {
		if m.dir, err = os.MkdirTemp("", "souk-bench-"); err != nil {
			return res, err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(m.dir)) }()
		if m.token, err = d.orders().prepare(ctx, m.dir); err != nil {
			return res, fmt.Errorf("prepare: %w", err)
		}
		if m.before.position, err = fillMall(ctx, m.dir, m.events, d.Log); err != nil {
			return res, err
		}
	}
	for round := range d.Rounds {
		for _, m := range malls {
			fmt.Fprintf(d.Log, "round %d of %d at %d events\n", round+1, d.Rounds, m.events)
			found, err := d.round(ctx, m)
			if err != nil {
				return res, err
			}
			res.Violations = append(res.Violations, found...)
		}
	}
	res.Short, res.Long = malls[0].cost(), malls[1].cost()
	res.CPURatio = res.Long.CPUMSPerOrder / res.Short.CPUMSPerOrder
	res.P50Ratio = res.Long.ApproveP50MS / res.Short.ApproveP50MS
	return res, nil
}

func (d Depth) orders() Orders {
	o := Orders{Program: d.Program, Duration: d.Duration, Rate: d.Rate, Log: d.Log}
	o.setDefaults()
	return o
}

// deepMall is a mall with a history, and what its rounds found.
type deepMall struct {
	events int
	dir    string
	token  string
	before before
	rounds []DepthCost
}

func (d Depth) round(ctx context.Context, m *deepMall) (violations []string, err error) {
	res, err := d.orders().measure(ctx, m.dir, m.token, &m.before)
	if err != nil {
		return nil, err
	}
	cost := DepthCost{
		Events: m.events, CPUMSPerOrder: res.CPUMSPerOrder, AcceptP50MS: res.AcceptMS.P50, ApproveP50MS: res.PlacedToApproved.P50,
		ReadyMS: res.ReadyMS, PeakRSSBytes: res.PeakRSSBytes,
	}
	info, err := os.Stat(filepath.Join(m.dir, "souk.db"))
	if err != nil {
		return nil, err
	}
	cost.DatabaseBytes = info.Size()
	m.rounds = append(m.rounds, cost)
	for _, v := range res.Violations {
		violations = append(violations, fmt.Sprintf("at %d events: %s", m.events, v))
	}
	return violations, nil
}

// cost returns the median of each figure, and the largest peak.
func (m *deepMall) cost() DepthCost {
	c := m.rounds[len(m.rounds)-1]
	median := func(of func(DepthCost) float64) float64 {
		list := make([]float64, len(m.rounds))
		for i, r := range m.rounds {
			list[i] = of(r)
		}
		slices.Sort(list)
		return list[len(list)/2]
	}
	c.CPUMSPerOrder = median(func(r DepthCost) float64 { return r.CPUMSPerOrder })
	c.AcceptP50MS = median(func(r DepthCost) float64 { return r.AcceptP50MS })
	c.ApproveP50MS = median(func(r DepthCost) float64 { return r.ApproveP50MS })
	c.ReadyMS = median(func(r DepthCost) float64 { return r.ReadyMS })
	for _, r := range m.rounds {
		c.PeakRSSBytes = max(c.PeakRSSBytes, r.PeakRSSBytes)
	}
	return c
}
