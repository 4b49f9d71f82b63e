package backbone

import (
	"testing"
	"time"

	"example.org/souk/backbone/driver"
)

// A timer that is set wakes those who look at timers only where they might else come too late. Red when every order's
// timer, a day ahead, has them read the table.
func TestTimersThatAreSoonDue(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		due  []time.Duration
		soon bool
	}{{nil, false}, {[]time.Duration{24 * time.Hour}, false}, {[]time.Duration{24 * time.Hour, timerLook}, true}, {[]time.Duration{-time.Minute}, true}} {
		var s share
		for _, d := range c.due {
			s.writes.SetTimers = append(s.writes.SetTimers, driver.Timer{Due: now.Add(d).UnixMicro()})
		}
		if got := s.timerSoon(now); got != c.soon {
			t.Errorf("due in %v: soon is %t", c.due, got)
		}
	}
}
