package inventory

import (
	"time"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/event"
)

func resumeWaiting(e BackordersDue, _ backbone.Meta) []backbone.Effect {
	return []backbone.Effect{backbone.Send(ResumeBackorders(e))}
}

func expireWhenHeld(e event.StockReserved, _ backbone.Meta) []backbone.Effect {
	return expireAt(e.Order, e.Location, e.Lines, e.Expires)
}

func expireWhenWaiting(e StockRequested, _ backbone.Meta) []backbone.Effect {
	return expireAt(e.Order, e.Location, e.Lines, e.Expires)
}

func expireAt(order, location string, lines []mall.Line, at int64) []backbone.Effect {
	return []backbone.Effect{backbone.SetTimer(timer(order), time.UnixMicro(at).UTC(),
		command.ExpireReservation{Order: order, Location: location, Lines: lines})}
}

func keepWhenCommitted(e event.StockCommitted, _ backbone.Meta) []backbone.Effect {
	return keep(e.Order)
}

func keepWhenIssued(e ReservationIssued, _ backbone.Meta) []backbone.Effect { return keep(e.Order) }

func stopWhenReleased(e event.StockReleased, _ backbone.Meta) []backbone.Effect { return keep(e.Order) }

func stopWhenClosed(e ReservationClosed, _ backbone.Meta) []backbone.Effect { return keep(e.Order) }

func keep(order string) []backbone.Effect {
	return []backbone.Effect{backbone.CancelTimer(timer(order))}
}

func timer(order string) string { return "reservation/" + order }

func adoptThreshold(e event.RestockThresholdSet, _ backbone.Meta) []backbone.Effect {
	return []backbone.Effect{backbone.Send(command.SetThreshold(e))}
}

func issueWhenDeparted(e event.CustomerDeparted, _ backbone.Meta) []backbone.Effect {
	if len(e.Lines) == 0 {
		return nil
	}
	return []backbone.Effect{backbone.Send(command.IssueStock{Visit: e.Visit, Location: e.Location, Lines: e.Lines})}
}

func takeWhenReceived(e event.GoodsReceived, _ backbone.Meta) []backbone.Effect {
	return []backbone.Effect{backbone.Send(TakeDelivery{
		SKU: e.SKU, Location: e.Location, Purchase: e.Purchase, Quantity: e.Quantity, Settled: e.Settled,
	})}
}

func forgetWhenCanceled(e event.PurchaseCanceled, _ backbone.Meta) []backbone.Effect {
	return []backbone.Effect{backbone.Send(ForgetPurchase{SKU: e.SKU, Location: e.Location, Purchase: e.Purchase, Open: e.Open})}
}

// noteWhenShort hears of the robot itself what is not there: whoever undoes the order need not know. What the depot fetches lies in the mall.
func noteWhenShort(e event.StopShort, _ backbone.Meta) []backbone.Effect {
	return []backbone.Effect{backbone.Send(NoteShort{Order: e.Order, Location: mall.MainLocation, SKU: e.SKU, Quantity: e.Wanted - e.Picked})}
}
