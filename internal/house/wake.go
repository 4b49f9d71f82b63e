package house

import (
	"context"
	"encoding/json"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/gateway/door"
)

// wake wakes the streams of a gateway for the events of a service that runs here, until ctx ends. Where nobody looks it reads
// nothing; when somebody does again, it begins so many positions behind the head. What it misses streams find by themselves.
func (h *House) wake(ctx context.Context, service string, hub *door.Hub, behind int64, topic func(*backbone.Message) string) {
	changed, stop := h.Runtime.Changed(service)
	defer stop()
	reader := h.Reader(service)
	at := int64(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
		if !hub.Watched() {
			at = 0
			continue
		}
		head, err := h.stores.of(service).Head(ctx, service)
		if err != nil {
			continue
		}
		if at == 0 {
			at = max(head-behind, 0)
		}
		for at < head {
			list, err := reader.Log(ctx, driver.ReadQuery{After: at, Until: head, Kinds: []driver.Kind{driver.KindEvent}, Limit: 1000})
			if err != nil {
				break
			}
			for _, m := range list {
				hub.Notify(topic(m))
			}
			if len(list) < 1000 {
				at = head
				break
			}
			at = list[len(list)-1].Position
		}
	}
}

// customerOf is the customer whose feed an event of orders is in; "" where it names none.
func customerOf(m *backbone.Message) string {
	var of struct {
		Customer string `json:"customer"`
	}
	if json.Unmarshal(m.Data, &of) != nil {
		return ""
	}
	return of.Customer
}
