package logbus

import (
	"context"
	"fmt"
	"math"
)

// Behind implements driver.Behinder: how many committed records the subscriptions
// of this Bus have not been offered yet, summed over subscriptions and sources.
func (b *Bus) Behind(ctx context.Context) (int64, error) {
	b.mu.RLock()
	feeds := make([]*feed, 0, len(b.feeds))
	for f := range b.feeds {
		feeds = append(feeds, f)
	}
	b.mu.RUnlock()
	heads := map[string]int64{}
	total := int64(0)
	for _, f := range feeds {
		source := f.interest.Source
		head, known := heads[source]
		if !known {
			var err error
			if head, err = f.tail.store.Head(ctx, source); err != nil {
				return 0, fmt.Errorf("head of %s: %w", source, err)
			}
			heads[source] = head
		}
		scanned := f.scanned.Load()
		if scanned == math.MaxInt64 {
			scanned = 0 // no slice has joined yet
		}
		total += max(head-scanned, 0)
	}
	return total, nil
}

// watch counts feeds in while they run.
func (b *Bus) watch(feeds []*feed, running bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range feeds {
		if running {
			b.feeds[f] = true
		} else {
			delete(b.feeds, f)
		}
	}
}
