package door

import (
	"net/netip"
	"sync"
	"time"
)

// Rate says how often something may happen: so many times a second in the long run, and Burst times at once.
type Rate struct {
	PerSecond float64
	Burst     int
}

// Limiter keeps one rate for many keys. It remembers for each key only the instant at which its bucket will be full again, and
// remembers a bounded number of keys: when there are more, those that were not seen for longest are forgotten, half of all at a time. Safe for
// concurrent use.
type Limiter struct {
	interval time.Duration // between two takes in the long run
	slack    time.Duration // how far ahead of time a burst may run
	most     int

	mu       sync.Mutex
	now, old map[string]time.Time
}

// NewLimiter returns a limiter that remembers at most so many keys.
func NewLimiter(r Rate, most int) *Limiter {
	interval := time.Duration(float64(time.Second) / r.PerSecond)
	return &Limiter{interval: interval, slack: interval * time.Duration(r.Burst-1), most: most / 2, now: map[string]time.Time{}}
}

// Take answers 0 when key may go on, or how long it has to wait. What may not go on costs nothing.
func (l *Limiter) Take(key string, at time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	full, ok := l.now[key]
	if !ok {
		full = l.old[key]
	}
	if full.Before(at) {
		full = at
	}
	if full.After(at.Add(l.slack + l.interval)) { // the clock was set back
		full = at
	}
	if wait := full.Sub(at) - l.slack; wait > 0 {
		return wait
	}
	if len(l.now) >= l.most && !ok {
		l.now, l.old = make(map[string]time.Time, l.most), l.now
	}
	l.now[key] = full.Add(l.interval)
	return 0
}

// addressKey returns whom an address counts as: an IPv6 network of 64 bits is one household.
func addressKey(addr netip.Addr) string {
	addr = addr.Unmap()
	if addr.Is6() {
		if p, err := addr.WithZone("").Prefix(64); err == nil {
			addr = p.Addr()
		}
		raw := addr.As16()
		return string(raw[:])
	}
	raw := addr.AsSlice()
	return string(raw)
}
