package standin

import (
	"errors"
	"sync"

	"example.org/souk/provider/internal/fault"
)

// Faults is what goes wrong. The zero value is a provider that works. A percentage is decided by the seed, the key and,
// but for declines, by how often the key was tried: the same run meets the same faults, in whatever order its calls
// arrive, and a call that is repeated gets through in the end unless the percentage is 100.
type Faults struct {
	Seed uint64 `json:"seed"`
	// DeclinePercent of the authorizations are declined. A key is declined or not, however often it is tried.
	DeclinePercent int `json:"decline_percent"`
	// FailPercent of the calls are answered 503 and not executed.
	FailPercent int `json:"fail_percent"`
	// TimeoutPercent of the calls are executed but not answered: after TimeoutMS the connection is dropped.
	TimeoutPercent int `json:"timeout_percent"`
	TimeoutMS      int `json:"timeout_ms"` // milliseconds
	// SlowMS delays every call before its execution, in milliseconds. A caller that gives up meanwhile does not stop it:
	// the call is executed late, as it would be had it lain on the way.
	SlowMS int `json:"slow_ms"`
	// Pause lets every caller of /v1 connect and wait until it is switched off. Callers that give up before that are
	// not executed.
	Pause bool `json:"pause"`
	// DuplicateCallback sends every callback twice, NoCallback none.
	DuplicateCallback bool `json:"duplicate_callback"`
	NoCallback        bool `json:"no_callback"`
}

const maxDelayMS = 10 * 60 * 1000

func (f Faults) check() error {
	for _, percent := range []int{f.DeclinePercent, f.FailPercent, f.TimeoutPercent} {
		if percent < 0 || percent > 100 {
			return errors.New("a percentage lies between 0 and 100")
		}
	}
	for _, delay := range []int{f.TimeoutMS, f.SlowMS} {
		if delay < 0 || delay > maxDelayMS {
			return errors.New("a delay lies between 0 and 600000 ms")
		}
	}
	if f.DuplicateCallback && f.NoCallback {
		return errors.New("duplicate_callback and no_callback exclude each other")
	}
	return nil
}

// hits reports whether the fault strikes this try of key.
func (f Faults) hits(percent int, name, key string, try int) bool {
	return fault.Hits(percent, f.Seed, name, key, try)
}

// switchboard holds the faults of the moment.
type switchboard struct {
	gate fault.Gate

	mu     sync.Mutex
	faults Faults
	tries  map[string]int // by key, since the start
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

// try counts a try of key and returns its number and the faults that it meets.
func (s *switchboard) try(key string) (int, Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tries[key]++
	return s.tries[key], s.faults
}
