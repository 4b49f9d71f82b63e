package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// board tells how it goes.
type board struct {
	play  *play
	crowd *crowd
	drawn int // lines that stand on the terminal

	patience time.Duration // with a process that is asked for figures; default 2.5 s

	next     int                           // process that is asked next
	counters map[string]map[string]float64 // of each process that was asked
	gauges   map[string]float64            // which are the same for all processes
}

// asked is how many processes are asked each time, since each looks into all of the databases to answer.
const asked = 2

// run draws the board until ctx ends.
func (b *board) run(ctx context.Context) {
	fmt.Fprintf(b.play.Out, "seed %d; see it, each link once:\n", b.play.Seed)
	for _, l := range b.play.mall.pages() {
		fmt.Fprintf(b.play.Out, "  %-9s %s\n", l.Who, l.URL)
	}
	every := time.Second
	if b.play.Terminal {
		every = 250 * time.Millisecond
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			b.draw(context.WithoutCancel(ctx))
			return
		case <-tick.C:
			b.draw(ctx)
		}
	}
}

// draw draws it over the one before, or below where it is no terminal.
func (b *board) draw(ctx context.Context) {
	lines := []string{fmt.Sprintf("orders      %6d accepted  %6d cancelled  %6d refused", b.crowd.accepted.Load(), b.crowd.canceled.Load(), b.crowd.refused.Load())}
	if sums, err := b.look(ctx); errors.Is(err, context.Canceled) {
		return // it has come to its end meanwhile
	} else if err != nil {
		lines = append(lines, "no figures just now, since who is asked for them does not answer: "+err.Error())
	} else {
		lines = append(lines,
			fmt.Sprintf("checkouts   %6.0f under way", sums["souk_sagas"]),
			fmt.Sprintf("messages    %6.0f handled   %6.0f came again  %6.0f parked", sums["souk_messages_total"], sums["souk_redeliveries_total"], sums["souk_parked_messages"]),
			fmt.Sprintf("devices     %6.0f messages", sums["souk_device_messages_total"]),
			fmt.Sprintf("calls       %6.0f wait", sums["souk_calls_waiting"]))
	}
	lists, there := b.play.fetched.count()
	visitors := 0
	for _, gate := range b.play.passed {
		visitors += gate.next()
	}
	lines = append(lines, fmt.Sprintf("robots      %6d there     %6d lists fetched", there, lists), fmt.Sprintf("visitors    %6d came or left", visitors))
	if text := b.play.shown.shows(); text != "" {
		lines = append(lines, "display     "+text)
	}
	if b.play.Chaos {
		lines = append(lines, fmt.Sprintf("chaos       %6d kills     %6d pauses     %6d switched off  %6d doubled",
			b.play.kills.Load(), b.play.pauses.Load(), b.play.cuts.Load(), b.play.twins.Load()))
	}
	if names := b.play.mall.down(); len(names) > 0 {
		lines = append(lines, "down        "+strings.Join(names, ", "))
	}
	if !b.play.Terminal {
		fmt.Fprintln(b.play.Out, strings.Join(lines, "; "))
		return
	}
	if b.drawn > 0 {
		fmt.Fprintf(b.play.Out, "\x1b[%dA", b.drawn)
	}
	for range max(b.drawn-len(lines), 0) {
		lines = append(lines, "")
	}
	for _, l := range lines {
		fmt.Fprintf(b.play.Out, "\x1b[2K%s\n", l)
	}
	b.drawn = len(lines)
}

// look asks some of the processes and adds up the mall's metrics by their names, an error where none of those answers.
func (b *board) look(ctx context.Context) (map[string]float64, error) {
	names := b.play.mall.processes()
	if len(names) == 0 {
		names = []string{""} // this one
	}
	if b.counters == nil {
		b.counters = map[string]map[string]float64{}
	}
	var wrong error
	answered := false
	for range min(asked, len(names)) {
		name := names[b.next%len(names)]
		b.next++
		one, cancel := context.WithTimeout(ctx, cmp.Or(b.patience, 2500*time.Millisecond))
		counters, gauges, err := b.scrape(one, name)
		cancel()
		if err != nil {
			wrong = err
			continue
		}
		answered, b.gauges, b.counters[name] = true, gauges, counters
	}
	if !answered {
		return nil, wrong
	}
	sums := maps.Clone(b.gauges)
	for _, counters := range b.counters {
		for name, n := range counters {
			sums[name] += n
		}
	}
	return sums, nil
}

// scrape adds up the metrics of a process by their names.
func (b *board) scrape(ctx context.Context, name string) (counters, gauges map[string]float64, err error) {
	token, err := b.play.token("engineer", "demo")
	if err != nil {
		return nil, nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, b.play.mall.url(name)+"/metrics", nil)
	if err != nil {
		return nil, nil, err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := b.crowd.client.Do(r)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		why, _ := io.ReadAll(io.LimitReader(resp.Body, 200)) // the status says enough without
		return nil, nil, fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(why)))
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil {
		return nil, nil, err
	}
	counters, gauges = map[string]float64{}, map[string]float64{}
	for name, f := range families {
		for _, m := range f.GetMetric() {
			if m.GetCounter() != nil {
				counters[name] += m.GetCounter().GetValue()
			} else {
				gauges[name] += m.GetGauge().GetValue()
			}
		}
	}
	return counters, gauges, nil
}
