package standin

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"sync"

	"example.org/souk/provider/internal/fault"
)

// Faults is what goes wrong. The zero value is a server that works.
type Faults struct {
	// Reject answers 550, for good, to receivers that match one of the patterns; Defer answers 451, for now. A pattern is
	// an address in which * stands for any characters, as in *@example.org. Capitals do not matter.
	Reject []string `json:"reject,omitempty"`
	Defer  []string `json:"defer,omitempty"`
	// DropPercent of the messages are taken, and the connection is dropped instead of saying so. The seed, the Message-ID
	// and how often that was sent decide which.
	DropPercent int    `json:"drop_percent"`
	Seed        uint64 `json:"seed"`
	// SlowMS delays the answer to every message that was taken, in milliseconds.
	SlowMS int `json:"slow_ms"`
	// Pause lets every caller connect and hear nothing, not even a greeting, until it is switched off. What a connection
	// was transmitting already is taken.
	Pause bool `json:"pause"`
}

const maxDelayMS = 10 * 60 * 1000

func (f Faults) check() error {
	for _, pattern := range append(append([]string(nil), f.Reject...), f.Defer...) {
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
			return fmt.Errorf("bad pattern %q", pattern)
		}
	}
	switch {
	case f.DropPercent < 0 || f.DropPercent > 100:
		return errors.New("a percentage lies between 0 and 100")
	case f.SlowMS < 0 || f.SlowMS > maxDelayMS:
		return errors.New("a delay lies between 0 and 600000 ms")
	}
	return nil
}

func matches(patterns []string, address string) bool {
	for _, pattern := range patterns {
		if ok, err := path.Match(strings.ToLower(pattern), strings.ToLower(address)); ok && err == nil {
			return true
		}
	}
	return false
}

// switchboard holds the faults of the moment.
type switchboard struct {
	gate fault.Gate

	mu     sync.Mutex
	faults Faults
}

func (s *switchboard) set(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gate.Set(f.Pause)
	s.faults = f
}

func (s *switchboard) get() Faults {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.faults
}
