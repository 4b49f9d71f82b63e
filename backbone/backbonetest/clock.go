package backbonetest

import (
	"fmt"
	"sync"
	"time"
)

// Clock is the time of a World: of its services and of its database. It stands
// still until it is turned. Safe for concurrent use.
type Clock struct {
	mu     sync.Mutex
	now    time.Time
	turned func()
}

// Now implements backbone.Clock.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance turns the clock on by d. What has become due by then is under way when it
// returns, and done after World.Settle. Where one thing that is due leads to the
// next, World.Pass lets time pass. A call that is out while the clock is turned past
// its claim is made again, as by a program that has stood still for so long.
func (c *Clock) Advance(d time.Duration) { c.Set(c.Now().Add(d)) }

// Set turns the clock to an instant. It panics where that would turn it back.
func (c *Clock) Set(at time.Time) {
	c.mu.Lock()
	if at.Before(c.now) {
		now := c.now
		c.mu.Unlock()
		panic(fmt.Sprintf("a clock is not turned back: it is %s, not %s", now, at))
	}
	c.now = at
	c.mu.Unlock()
	if c.turned != nil {
		c.turned()
	}
}
