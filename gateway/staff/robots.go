package staff

import (
	"sync"

	"example.org/souk/mall"
)

// Position is where a robot is on its way. It stands in no log: what is missed is gone, and the next one makes up for it.
type Position struct {
	Robot   string     `json:"robot"`
	At      mall.Place `json:"at"`
	Heading int64      `json:"heading"` // degrees from north, clockwise
	Battery int64      `json:"battery"` // percent
}

// maxRobots bounds the robots whose positions are kept.
const maxRobots = 4096

// Positions keeps the last position of each robot. The zero value is ready; it is safe for concurrent use.
type Positions struct {
	mu   sync.Mutex
	last map[string]moved
	n    int64
}

type moved struct {
	Position
	n int64
}

// Moved says where a robot is now. It never waits, and keeps nothing of where the robot was.
func (p *Positions) Moved(at Position) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last == nil {
		p.last = map[string]moved{}
	}
	if _, known := p.last[at.Robot]; !known && len(p.last) >= maxRobots {
		return
	}
	p.n++
	p.last[at.Robot] = moved{at, p.n}
}

// after returns the robots that have moved since a number, which it returns anew.
func (p *Positions) after(n int64) ([]Position, int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n == p.n {
		return nil, n
	}
	var list []Position
	for _, m := range p.last {
		if m.n > n {
			list = append(list, m.Position)
		}
	}
	return list, p.n
}
