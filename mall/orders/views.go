package orders

import (
	"context"

	"example.org/souk/backbone"
	"example.org/souk/mall/event"
)

// feed numbers what each customer is told. Frames are counted in the event's own transaction and keyed by customer, so the
// numbers have no holes and never change. A row only says which event it is: the frames are written when somebody reads
// them, and nearly nobody does.
var feed = backbone.View{
	Name:   "feed",
	Inline: true,
	Projections: []backbone.Projection{
		tell(func(e event.OrderPlaced) (string, string) { return e.Customer, e.Order }),
		tell(func(e event.OrderStockReserved) (string, string) { return e.Customer, e.Order }),
		tell(func(e event.OrderApproved) (string, string) { return e.Customer, e.Order }),
		tell(func(e event.OrderRejected) (string, string) { return e.Customer, e.Order }),
		tell(func(e event.OrderBackordered) (string, string) { return e.Customer, e.Order }),
		tell(func(e event.OrderPicking) (string, string) { return e.Customer, e.Order }),
		tell(func(e event.OrderShort) (string, string) { return e.Customer, e.Order }),
		tell(func(e event.OrderReadied) (string, string) { return e.Customer, e.Order }),
		tell(func(e event.OrderPaid) (string, string) { return e.Customer, e.Order }),
		tell(func(e event.OrderCollected) (string, string) { return e.Customer, e.Order }),
		tell(func(e event.OrderCompleted) (string, string) { return e.Customer, e.Order }),
		tell(func(e event.OrderCancelling) (string, string) { return e.Customer, e.Order }),
		tell(func(e event.OrderCanceled) (string, string) { return e.Customer, e.Order }),
		tell(func(e event.OrderExpired) (string, string) { return e.Customer, e.Order }),
	},
}

// tell projects one type of event; whom says which customer hears of which order.
func tell[E backbone.Event](whom func(E) (customer, order string)) backbone.Projection {
	return backbone.ProjectBy(
		func(e E) string { customer, _ := whom(e); return customer },
		func(ctx context.Context, tx backbone.ViewTx, e E) error {
			customer, order := whom(e)
			return tx.Exec(ctx, `INSERT INTO {feed} (customer, n, frames, order_id, event)
				VALUES ($1, (SELECT COALESCE(MAX(n), 0) FROM {feed} WHERE customer = $1) + $2, $2, $3, $4)`,
				customer, int64(framesOf(e)), order, tx.Message().ID)
		})
}

// framesOf returns how many frames an event is told in.
func framesOf(e backbone.Event) int {
	switch e := e.(type) {
	case event.OrderPlaced, event.OrderStockReserved:
		return 2
	case event.OrderRejected:
		if e.SKU != "" {
			return 2
		}
	}
	return 1
}
