// Package fault holds what the stand-ins' switchable faults have in common: chance that can be repeated, and a gate that
// holds callers while a stand-in is paused.
package fault

import (
	"encoding/binary"
	"hash/fnv"
	"sync"
)

// Hits reports whether a fault that strikes percent of the cases strikes this one. It depends on its arguments only, not
// on the order of calls: name is the fault's, key names the case and try is how often it came up.
func Hits(percent int, seed uint64, name, key string, try int) bool {
	h := fnv.New64a()
	var numbers [16]byte
	binary.LittleEndian.PutUint64(numbers[:8], seed)
	binary.LittleEndian.PutUint64(numbers[8:], uint64(try))
	_, _ = h.Write(numbers[:]) // a hash never fails to write
	_, _ = h.Write([]byte(name + "/" + key))
	// FNV mixes the last bytes of its input badly into its high bits; the multiplication spreads them.
	return int((h.Sum64()*0x9E3779B97F4A7C15)>>33%100) < percent
}

// Gate is open or shut. The zero value is open. It is safe for concurrent use.
type Gate struct {
	mu   sync.Mutex
	shut chan struct{} // nil while open; closed when it opens
}

var open = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// Set shuts the gate, or opens it and lets everybody through who waits.
func (g *Gate) Set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case shut && g.shut == nil:
		g.shut = make(chan struct{})
	case !shut && g.shut != nil:
		close(g.shut)
		g.shut = nil
	}
}

// Opened returns a channel that is closed once the gate is open.
func (g *Gate) Opened() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut == nil {
		return open
	}
	return g.shut
}
