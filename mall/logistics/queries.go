package logistics

import (
	"context"
	"fmt"
	"strings"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/mall/event"
)

// Purchase is what was ordered from a supplier, as it is shown.
type Purchase struct {
	Purchase string
	SKU      string
	Location string
	Quantity int64
	Open     int64  // pieces that are still to come
	Status   string // proposed, sent, received or canceled
	Proposed time.Time
}

// Latest returns the n purchases that were proposed last, newest first. It reads the end of the log, so it keeps no table.
func Latest(ctx context.Context, r *backbone.Reader, n int) ([]Purchase, error) {
	proposed, err := r.Log(ctx, backbone.ReadQuery{Types: []string{event.PurchaseProposedV1}, Limit: n, Descending: true})
	if err != nil {
		return nil, fmt.Errorf("latest purchases: %w", err)
	}
	list := make([]Purchase, 0, len(proposed))
	for _, m := range proposed {
		id := strings.TrimPrefix(m.Stream, purchases.Name+"/")
		first, _, err := backbone.LoadAt(ctx, r, purchases, id, 1)
		if err != nil {
			return nil, fmt.Errorf("latest purchases: %w", err)
		}
		now, _, err := backbone.Load(ctx, r, purchases, id)
		if err != nil {
			return nil, fmt.Errorf("latest purchases: %w", err)
		}
		list = append(list, Purchase{
			Purchase: id, SKU: now.SKU, Location: now.Location, Quantity: first.Open, Open: max(0, now.Open), Status: now.status(), Proposed: m.Time,
		})
	}
	return list, nil
}

func (s purchase) status() string {
	switch {
	case s.Canceled:
		return "canceled"
	case len(s.Deliveries) > 0 && s.Open <= 0:
		return "received"
	case s.Sent:
		return "sent"
	}
	return "proposed"
}
