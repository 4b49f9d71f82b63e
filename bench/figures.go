package bench

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"time"
)

// Names of contenders, in the order in which they are shown.
const (
	nameRaw  = "raw"
	nameBare = "bare"
	// The raw client with the partitions that souk has, which keep the order of a stream where several receive.
	nameDivided = "raw, 8 partitions"
	nameSouk    = "souk"
	nameMill    = "Watermill"
	// Watermill with settings of its own that suit what is measured.
	nameTuned = "Watermill, tuned"
	// A relay that is written by hand, in the place of the raw client.
	nameHand = "by hand"
)

// plan says how much is measured.
type plan struct {
	rounds      int
	span        time.Duration // of publishing, and of each round of latencies
	limit       time.Duration // of consuming
	consumed    int           // messages to be consumed
	slow        int           // with a handler of 10 ms
	small       int           // backlogs
	large       int
	largeRounds int
}

const (
	piece     = 512 // messages of one call of a caller that has hundreds
	lanes     = 16
	slowWork  = 10 * time.Millisecond
	perSecond = 200
)

// full returns the sizes for a broker that carries about so many messages a second.
func full(rounds int, perSecond int) plan {
	return plan{
		rounds: rounds, span: time.Second, limit: 10 * time.Second, consumed: perSecond, slow: 1600,
		small: 5_000, large: 500_000, largeRounds: rounds,
	}
}

// quick returns sizes of a smoke: seconds a broker.
func quick() plan {
	return plan{
		rounds: 1, span: 100 * time.Millisecond, limit: 2 * time.Second, consumed: 2048, slow: 64, small: 512, large: 2048, largeRounds: 1,
	}
}

// Figure is what one contender did in one measurement: a value of each round, in the order of rounds.
type Figure struct {
	System    string    `json:"system"`
	Measure   string    `json:"measure"`
	Contender string    `json:"contender"`
	Unit      string    `json:"unit"`
	Values    []float64 `json:"values"`
	Median    float64   `json:"median"`
	Least     float64   `json:"least"`
	Greatest  float64   `json:"greatest"`
	// Medians of what the measuring process spent a message.
	CPUMicros float64 `json:"cpuMicros,omitempty"`
	Allocs    float64 `json:"allocs,omitempty"`
	Bytes     float64 `json:"bytes,omitempty"`

	cpu, allocs, bytes []float64
}

// Figures collects what was measured.
type Figures struct {
	All []*Figure
	say io.Writer // hears of each value
}

func (f *Figures) add(system, measure, contender, unit string, value float64, c *cost) {
	i := slices.IndexFunc(f.All, func(g *Figure) bool {
		return g.System == system && g.Measure == measure && g.Contender == contender
	})
	if i < 0 {
		i = len(f.All)
		f.All = append(f.All, &Figure{System: system, Measure: measure, Contender: contender, Unit: unit})
	}
	g := f.All[i]
	g.Values = append(g.Values, value)
	g.Median, g.Least, g.Greatest = median(g.Values), slices.Min(g.Values), slices.Max(g.Values)
	if c != nil {
		g.cpu, g.allocs, g.bytes = append(g.cpu, c.cpuMicros()), append(g.allocs, c.allocsEach()), append(g.bytes, c.allocedBytes())
		g.CPUMicros, g.Allocs, g.Bytes = median(g.cpu), median(g.allocs), median(g.bytes)
	}
	fmt.Fprintf(f.say, "%s, %s, %s: %.4g %s\n", system, measure, contender, value, unit)
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// candidate is a contender with its name.
type candidate struct {
	name string
	contender
}

// broker is a server with those who use it.
type broker struct {
	system     string
	candidates []candidate
	figures    *Figures
	p          plan
	made       int // topics
	envelope   []message
	bare       []message
}

func newBroker(system string, p plan, figures *Figures, candidates []candidate) (*broker, error) {
	const pool = 16_384 // farther apart than copies are dropped that are under way at the same time
	b := &broker{system: system, p: p, figures: figures, candidates: candidates}
	var err error
	if b.envelope, err = newMessages(pool, true); err != nil {
		return nil, err
	}
	b.bare, err = newMessages(pool, false)
	return b, err
}

func (b *broker) close() error {
	var failure error
	for _, c := range b.candidates {
		if err := c.close(); err != nil {
			failure = fmt.Errorf("%s, %s: %w", b.system, c.name, err)
		}
	}
	return failure
}

func (b *broker) messages(c candidate) []message {
	if c.name == nameBare {
		return b.bare
	}
	return b.envelope
}

// topic makes one that nobody has used.
func (b *broker) topic(ctx context.Context, c candidate) (topic, error) {
	b.made++
	return c.topic(ctx, fmt.Sprintf("t%d", b.made))
}

// filled makes a topic of n messages.
func (b *broker) filled(ctx context.Context, c candidate, n int) (topic, error) {
	t, err := b.topic(ctx, c)
	ms := b.messages(c)
	const piece = 2048 // divides the messages
	for at := 0; at < n && err == nil; at += piece {
		from := at % len(ms)
		err = t.fill(ctx, ms[from:from+min(piece, n-at)])
	}
	return t, err
}

// inTurns does f with each candidate but some in each round, beginning with another one each time.
func (b *broker) inTurns(ctx context.Context, rounds int, but []string, f func(c candidate) error) error {
	for round := range rounds {
		for i := range b.candidates {
			c := b.candidates[(round+i)%len(b.candidates)]
			if slices.Contains(but, c.name) {
				continue
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := f(c); err != nil {
				return fmt.Errorf("%s, %s: %w", b.system, c.name, err)
			}
		}
	}
	return nil
}

// Names of measurements.
const (
	publishOne  = "publish, 64 callers"
	publishMany = "publish, one caller with 512"
	consumeAll  = "consume"
	consumeSlow = "consume, 10 ms, 16 lanes"
	latency50   = "latency, p50"
	latency99   = "latency, p99"
	backlog     = "backlog of 500,000 against 5,000"
	relayAll    = "commit to confirmation"
	relay50     = "commit to delivery, p50"
	relay99     = "commit to delivery, p99"
)

func (b *broker) publish(ctx context.Context) error {
	for _, m := range []struct {
		name         string
		callers, one int
	}{{publishOne, callers, 1}, {publishMany, 1, piece}} {
		err := b.inTurns(ctx, b.p.rounds, nil, func(c candidate) error {
			t, err := b.topic(ctx, c)
			if err != nil {
				return err
			}
			if err := t.publish(ctx, b.messages(c)[:1]); err != nil { // connections are made before
				return err
			}
			spent, err := publishing(ctx, t, b.messages(c), m.callers, m.one, b.p.span)
			if err == nil {
				b.figures.add(b.system, m.name, c.name, "msg/s", spent.rate(), &spent)
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	return nil
}

func (b *broker) consume(ctx context.Context) error {
	return b.inTurns(ctx, b.p.rounds, nil, func(c candidate) error {
		spent, err := b.drain(ctx, c, b.p.consumed, 1, 0)
		if err == nil {
			b.figures.add(b.system, consumeAll, c.name, "msg/s", spent.rate(), &spent)
		}
		return err
	})
}

func (b *broker) slowly(ctx context.Context) error {
	return b.inTurns(ctx, b.p.rounds, []string{nameBare}, func(c candidate) error {
		spent, err := b.drain(ctx, c, b.p.slow, lanes, slowWork)
		if err == nil {
			b.figures.add(b.system, consumeSlow, c.name, "msg/s", spent.rate(), &spent)
		}
		return err
	})
}

// drain consumes n messages that were there before.
func (b *broker) drain(ctx context.Context, c candidate, n, lanes int, work time.Duration) (cost, error) {
	t, err := b.filled(ctx, c, n)
	if err != nil {
		return cost{}, err
	}
	return consuming(ctx, t, n, lanes, work, b.p.limit)
}

func (b *broker) latency(ctx context.Context) error {
	return b.inTurns(ctx, b.p.rounds, []string{nameBare}, func(c candidate) error {
		t, err := b.topic(ctx, c)
		if err != nil {
			return err
		}
		taken, err := latencies(ctx, t, perSecond, 2*b.p.span, c.name != nameBare)
		if err != nil {
			return err
		}
		ms := func(q float64) float64 { return quantile(taken, q).Seconds() * 1000 }
		b.figures.add(b.system, latency50, c.name, "ms", ms(0.50), nil)
		b.figures.add(b.system, latency99, c.name, "ms", ms(0.99), nil)
		return nil
	})
}

// backlog compares the rate with a large backlog to the median of five rates with a small one, which last a moment only.
func (b *broker) backlog(ctx context.Context) error {
	return b.inTurns(ctx, b.p.largeRounds, []string{nameBare, nameDivided, nameTuned}, func(c candidate) error {
		var small []float64
		for range 5 {
			spent, err := b.drain(ctx, c, b.p.small, 1, 0)
			if err != nil {
				return err
			}
			small = append(small, spent.rate())
		}
		spent, err := b.drain(ctx, c, b.p.large, 1, 0)
		if err == nil {
			b.figures.add(b.system, backlog, c.name, "of the rate", spent.rate()/median(small), nil)
		}
		return err
	})
}

// of returns a figure, nil if there is none.
func (f *Figures) of(system, measure, contender string) *Figure {
	for _, g := range f.All {
		if g.System == system && g.Measure == measure && g.Contender == contender {
			return g
		}
	}
	return nil
}

// ratio returns what a is of b, round by round: the median, the least and the greatest. NaN where either is missing.
func ratio(a, b *Figure) (middle, least, greatest float64) {
	if a == nil || b == nil || len(a.Values) != len(b.Values) {
		return math.NaN(), math.NaN(), math.NaN()
	}
	each := make([]float64, len(a.Values))
	for i := range each {
		each[i] = a.Values[i] / b.Values[i]
	}
	return median(each), slices.Min(each), slices.Max(each)
}
