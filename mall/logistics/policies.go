package logistics

import (
	"time"

	"example.org/souk/backbone"
	"example.org/souk/mall/event"
)

// patience is how long a purchase is tried to be sent.
const patience = 7 * 24 * time.Hour

func proposeWhenNeeded(e event.RestockNeeded, m backbone.Meta) []backbone.Effect {
	if e.Quantity == 0 {
		return nil
	}
	return []backbone.Effect{backbone.Send(ProposePurchase{
		Purchase: m.ID, SKU: e.SKU, Location: e.Location, Quantity: e.Quantity, Threshold: e.Threshold,
	})}
}

// sendWhenProposed sends each purchase on its own: one that cannot go out delays no other.
func sendWhenProposed(e event.PurchaseProposed, m backbone.Meta) []backbone.Effect {
	return []backbone.Effect{backbone.MakeCall(sendName, e.Purchase, e.Purchase, Order{
		Purchase: e.Purchase, SKU: e.SKU, Location: e.Location, Quantity: e.Quantity, Threshold: e.Threshold, Asked: m.Time.UnixMicro(),
	}, m.Time.Add(patience))}
}

// recallWhenCanceled keeps what did not go out yet from going out, and tells the bus that nothing more is wanted.
func recallWhenCanceled(e event.PurchaseCanceled, m backbone.Meta) []backbone.Effect {
	return []backbone.Effect{
		backbone.DropCalls(sendName, e.Purchase),
		backbone.MakeCall(sendName, e.Purchase+"-canceled", e.Purchase, Order{
			Purchase: e.Purchase, SKU: e.SKU, Location: e.Location, Quantity: e.Open, Canceled: true, Asked: m.Time.UnixMicro(),
		}, m.Time.Add(patience)),
	}
}
