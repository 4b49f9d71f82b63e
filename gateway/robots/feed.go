package robots

import (
	"slices"
	"strings"
	"sync"
	"time"

	"example.org/souk/mall"
)

// Sighting is what a robot said last of itself, in this process.
type Sighting struct {
	Robot   string
	Online  bool // its stream is open
	State   mall.RobotState
	Battery int64
	At      mall.Place
	Heading int32
	List    string // that it works for
	Error   string // what is wrong with it; empty: nothing
	Seen    time.Time
	N       uint64 // counts the changes of all robots
}

// feed keeps the last of each robot. What comes in between is nobody's loss.
type feed struct {
	mu       sync.Mutex
	n        uint64
	robots   map[string]*Sighting
	watchers map[chan struct{}]bool
}

func (f *feed) change(robot string, now time.Time, with func(*Sighting)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.robots[robot]
	if s == nil {
		s = &Sighting{Robot: robot}
		f.robots[robot] = s
	}
	with(s)
	f.n++
	s.N, s.Seen = f.n, now
	for c := range f.watchers {
		select {
		case c <- struct{}{}:
		default: // it has not looked yet
		}
	}
}

// Sightings returns what changed after a number, in the order of the robots' ids, and the number to ask with next; 0 asks for all
// robots that came since the start. A robot stands there once, however often it moved.
func (g *Gateway) Sightings(since uint64) (list []Sighting, last uint64) {
	f := &g.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.robots {
		if s.N > since {
			list = append(list, *s)
		}
	}
	slices.SortFunc(list, func(a, b Sighting) int { return strings.Compare(a.Robot, b.Robot) })
	return list, f.n
}

// Watch returns a channel that receives a value (coalesced) after each change, and a function that ends it. Whoever shows robots asks
// as often as its people can look.
func (g *Gateway) Watch() (<-chan struct{}, func()) {
	f := &g.feed
	c := make(chan struct{}, 1)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.watchers == nil {
		f.watchers = map[chan struct{}]bool{}
	}
	f.watchers[c] = true
	return c, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.watchers, c)
	}
}
