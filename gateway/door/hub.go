package door

import "sync"

// Pulses tells streams that there may be something new. A pulse that is lost only delays: streams look by themselves as well.
type Pulses interface {
	// Watch returns a channel that receives after something happened to one of the topics, and a function that ends the watching.
	Watch(topics ...string) (pulse <-chan struct{}, stop func())
}

// Hub is a Pulses that is told of topics one by one. The zero value is ready; it is safe for concurrent use.
type Hub struct {
	mu       sync.RWMutex
	watchers map[string]map[chan struct{}]struct{}
}

// Notify wakes the streams that watch a topic. It never waits.
func (h *Hub) Notify(topic string) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for c := range h.watchers[topic] {
		select {
		case c <- struct{}{}:
		default: // a pulse is waiting there already
		}
	}
}

// Watched reports whether anybody watches.
func (h *Hub) Watched() bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return len(h.watchers) > 0
}

// Watch implements Pulses.
func (h *Hub) Watch(topics ...string) (<-chan struct{}, func()) {
	c := make(chan struct{}, 1)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.watchers == nil {
		h.watchers = map[string]map[chan struct{}]struct{}{}
	}
	for _, t := range topics {
		if h.watchers[t] == nil {
			h.watchers[t] = map[chan struct{}]struct{}{}
		}
		h.watchers[t][c] = struct{}{}
	}
	return c, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, t := range topics {
			delete(h.watchers[t], c)
			if len(h.watchers[t]) == 0 {
				delete(h.watchers, t)
			}
		}
	}
}
