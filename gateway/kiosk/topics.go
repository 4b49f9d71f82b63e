package kiosk

import "sync"

// Prices is the topic of everything that the catalogue says.
const Prices = "prices"

// BasketTopic and OrderTopic name what happens to a basket, and to an order.
func BasketTopic(id string) string { return "basket/" + id }

// OrderTopic names what happens to an order, its picking included.
func OrderTopic(id string) string { return "order/" + id }

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
