package notifications

import (
	"cmp"
	"fmt"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/event"
)

// patience is how long a sending is tried.
const patience = 24 * time.Hour

func tellApproved(e event.OrderApproved, m backbone.Meta) []backbone.Effect {
	return tell(m, Notice{Customer: e.Customer, Order: e.Order, Template: "order_approved", Total: e.Total})
}

func tellRejected(e event.OrderRejected, m backbone.Meta) []backbone.Effect {
	return tell(m, Notice{
		Customer: e.Customer, Order: e.Order, Template: "order_rejected", Reason: e.Reason,
		SKU: e.SKU, Wanted: e.Wanted, Available: e.Available,
	})
}

func tellBackordered(e event.OrderBackordered, m backbone.Meta) []backbone.Effect {
	return tell(m, Notice{
		Customer: e.Customer, Order: e.Order, Template: "order_backordered", SKU: e.SKU, Wanted: e.Wanted, Available: e.Available,
	})
}

func tellCanceled(e event.OrderCanceled, m backbone.Meta) []backbone.Effect {
	return tell(m, Notice{Customer: e.Customer, Order: e.Order, Template: "order_canceled", Reason: e.Reason})
}

func tellExpired(e event.OrderExpired, m backbone.Meta) []backbone.Effect {
	return tell(m, Notice{Customer: e.Customer, Order: e.Order, Template: "order_expired"})
}

// tellShort asks the customer. Where a clerk chooses, or it was decided beforehand, OrderAmended or OrderCanceled tells them.
func tellShort(e event.OrderShort, m backbone.Meta) []backbone.Effect {
	if e.WhenShort != "" && e.WhenShort != mall.ShortAsk {
		return nil
	}
	return tell(m, Notice{Customer: e.Customer, Order: e.Order, Template: "order_short", Missing: e.Missing})
}

func tellAmended(e event.OrderAmended, m backbone.Meta) []backbone.Effect {
	n := Notice{Customer: e.Customer, Order: e.Order, Template: "order_amended", Missing: e.Missing, Total: e.Total}
	for _, i := range e.Substitutes {
		n.Instead = append(n.Instead, fmt.Sprintf("%d of %s", i.Quantity, i.Name))
	}
	return tell(m, n)
}

func tellReadied(e event.OrderReadied, m backbone.Meta) []backbone.Effect {
	n := Notice{Customer: e.Customer, Order: e.Order, Template: "order_readied", Total: e.Total, Unpaid: e.Payment == ""}
	if e.Until != 0 {
		n.Until = time.UnixMicro(e.Until).UTC()
	}
	return tell(m, n)
}

func tellCompleted(e event.OrderCompleted, m backbone.Meta) []backbone.Effect {
	return tell(m, Notice{Customer: e.Customer, Order: e.Order, Template: "order_completed", Total: e.Total})
}

func tellCharged(e event.VisitCharged, m backbone.Meta) []backbone.Effect {
	return tell(m, Notice{Customer: e.Customer, Visit: e.Visit, Template: "visit_charged", Total: e.Amount})
}

func tellChargeFailed(e event.VisitChargeFailed, m backbone.Meta) []backbone.Effect {
	if e.Customer == "" {
		return nil // nobody is known who could be told
	}
	return tell(m, Notice{Customer: e.Customer, Visit: e.Visit, Template: "visit_charge_failed", Total: e.Amount})
}

// tell sends a notice under the id of the event. Notices about one order or visit are sent in the order of its events.
func tell(m backbone.Meta, n Notice) []backbone.Effect {
	n.Notification = m.ID
	return []backbone.Effect{backbone.MakeCall(sendName, "notification-"+m.ID, cmp.Or(n.Order, n.Visit), n, m.Time.Add(patience))}
}
