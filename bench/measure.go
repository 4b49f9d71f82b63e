package bench

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A contender is one way to use a broker. Its methods may be called concurrently.
type contender interface {
	// topic makes a new and empty topic of that name, with one group of consumers that gets what is published from now on.
	topic(ctx context.Context, name string) (topic, error)
	close() error
}

// A topic is used by one contender. Its methods may be called concurrently, except consume.
type topic interface {
	// publish returns when the broker has confirmed all messages.
	publish(ctx context.Context, ms []message) error
	// fill does the same as fast as it can be done, with what publish would have sent.
	fill(ctx context.Context, ms []message) error
	// consume hands the body of each message to handle, from so many lanes at once, and settles it behind that. It returns
	// nil when ctx has ended.
	consume(ctx context.Context, lanes int, handle func(body []byte)) error
}

// cost is what a measured piece of work took.
type cost struct {
	n      int
	took   time.Duration
	cpu    time.Duration // user and system
	allocs uint64
	bytes  uint64
}

func (c cost) rate() float64         { return float64(c.n) / c.took.Seconds() }
func (c cost) cpuMicros() float64    { return float64(c.cpu.Microseconds()) / float64(c.n) }
func (c cost) allocsEach() float64   { return float64(c.allocs) / float64(c.n) }
func (c cost) allocedBytes() float64 { return float64(c.bytes) / float64(c.n) }

// measure runs f and adds what the process spent meanwhile.
func measure(f func() (n int, took time.Duration, err error)) (c cost, err error) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	used := cpuTime()
	c.n, c.took, err = f()
	c.cpu = cpuTime() - used
	runtime.ReadMemStats(&after)
	c.allocs, c.bytes = after.Mallocs-before.Mallocs, after.TotalAlloc-before.TotalAlloc
	if err == nil && (c.n == 0 || c.took <= 0) {
		err = fmt.Errorf("%d messages in %v", c.n, c.took)
	}
	return c, err
}

// cpuTime returns what this process has used.
func cpuTime() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// publishing has callers publish pieces of ms for span.
func publishing(ctx context.Context, t topic, ms []message, callers, piece int, span time.Duration) (cost, error) {
	return measure(func() (int, time.Duration, error) {
		var next, sent atomic.Int64
		errs := make([]error, callers)
		begun := time.Now()
		var all sync.WaitGroup
		for caller := range callers {
			all.Go(func() {
				for time.Since(begun) < span {
					at := int(next.Add(int64(piece))) % (len(ms) - piece + 1)
					if err := t.publish(ctx, ms[at:at+piece]); err != nil {
						errs[caller] = err
						return
					}
					sent.Add(int64(piece))
				}
			})
		}
		all.Wait()
		return int(sent.Load()), time.Since(begun), errors.Join(errs...)
	})
}

// checked is up to how many messages consuming looks at each: more would be part of what is measured.
const checked = 4096

// consuming reads what was put into a topic, n messages, for limit at most. Each takes work. Where that is nothing, the time
// begins behind the first fifth of the messages, when all partitions are being received; else with the first handler. It
// ends with the last. Messages that are lost are an error.
func consuming(ctx context.Context, t topic, n, lanes int, work, limit time.Duration) (cost, error) {
	return measure(func() (int, time.Duration, error) {
		ctx, cancel := context.WithTimeout(ctx, limit+time.Minute) // it may take a while to begin
		defer cancel()
		var handled, first, last atomic.Int64
		warm := 0
		if work == 0 {
			warm = n / 5
		}
		var late atomic.Bool
		var seen [checked]atomic.Bool
		origin := time.Now()
		err := t.consume(ctx, lanes, func(b []byte) {
			if first.Load() == 0 && first.CompareAndSwap(0, int64(time.Since(origin))) {
				time.AfterFunc(limit, func() {
					late.Store(true)
					cancel()
				})
			}
			if work > 0 {
				time.Sleep(work)
			}
			if ctx.Err() != nil {
				return // behind the limit
			}
			if n <= checked {
				if number, err := numberOf(b); err == nil && number < n {
					seen[number].Store(true)
				}
			}
			count := handled.Add(1)
			now := int64(time.Since(origin))
			last.Store(now)
			switch int(count) {
			case n:
				cancel()
			case warm:
				first.Store(now)
			}
		})
		took := time.Duration(last.Load() - first.Load())
		if count := int(handled.Load()); count < n && !late.Load() {
			err = errors.Join(err, fmt.Errorf("%d of %d messages came", count, n))
		} else if count >= n && n <= checked {
			for number := range n {
				if !seen[number].Load() {
					err = errors.Join(err, fmt.Errorf("%d messages came, and number %d is not among them", count, number))
					break
				}
			}
		}
		count := int(handled.Load())
		if count <= warm {
			return count, took, err // so slow that its beginning does not show
		}
		// All of them at the rate of those that were timed.
		return count, took * time.Duration(count) / time.Duration(count-warm), err
	})
}

// latencies publishes perSecond messages a second for span, each in a goroutine of its own, and returns how long it took
// until each was handled, in order of length.
func latencies(ctx context.Context, t topic, perSecond int, span time.Duration, envelope bool) ([]time.Duration, error) {
	n := int(span.Seconds() * float64(perSecond))
	ctx, cancel := context.WithTimeout(ctx, span+time.Minute)
	defer cancel()
	var mu sync.Mutex
	var taken []time.Duration
	var failure error
	warmed := make(chan struct{})
	warming := sync.OnceFunc(func() { close(warmed) })
	done := make(chan error, 1)
	consumer, end := context.WithCancel(ctx)
	defer end()
	go func() {
		done <- t.consume(consumer, 1, func(b []byte) {
			now := time.Now()
			at, err := madeAt(b)
			number, err2 := numberOf(b)
			mu.Lock()
			defer mu.Unlock()
			if failure = errors.Join(failure, err, err2); failure != nil {
				end()
				return
			}
			if number == n {
				warming()
				return
			}
			if taken = append(taken, now.Sub(at)); len(taken) == n {
				end()
			}
		})
	}()
	send := func(number int) error {
		m, err := newMessage(number, envelope)
		if err != nil {
			return err
		}
		return t.publish(ctx, []message{m})
	}
	if err := send(n); err != nil {
		return nil, err
	}
	select {
	case <-warmed:
	case err := <-done:
		return nil, errors.Join(err, errors.New("the consumer ended before the first message came"))
	}
	var publishers sync.WaitGroup
	errs := make([]error, n)
	begun := time.Now()
	for i := range n {
		time.Sleep(time.Until(begun.Add(time.Duration(i) * time.Second / time.Duration(perSecond))))
		publishers.Go(func() { errs[i] = send(i) })
	}
	publishers.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	err := <-done
	mu.Lock()
	defer mu.Unlock()
	if err = errors.Join(err, failure); err == nil && len(taken) < n {
		err = fmt.Errorf("%d of %d messages came", len(taken), n)
	}
	slices.Sort(taken)
	return taken, err
}

// quantile returns the q-th part of a sorted list.
func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
