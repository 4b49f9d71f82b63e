package orders

import (
	"time"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/event"
)

func expireWhenPlaced(e event.OrderPlaced, _ backbone.Meta) []backbone.Effect {
	return []backbone.Effect{backbone.SetTimer(timer(e.Order), time.UnixMicro(e.Expires).UTC(), command.ExpireOrder{Order: e.Order})}
}

// earmarkWhenPlaced has what was set aside for an order kept for it: a backorder may wait longer than a payment that nobody wants.
func earmarkWhenPlaced(e event.OrderPlaced, _ backbone.Meta) []backbone.Effect {
	if e.Payment == "" {
		return nil
	}
	return []backbone.Effect{backbone.Send(command.EarmarkPayment{
		Payment: e.Payment, Order: e.Order, Customer: e.Customer, Expires: e.Expires,
	})}
}

func keepWhenApproved(e event.OrderApproved, _ backbone.Meta) []backbone.Effect { return keep(e.Order) }

func keepWhenRejected(e event.OrderRejected, _ backbone.Meta) []backbone.Effect { return keep(e.Order) }

// A cancelled order is in none of its times any more, whichever of them ran.
func keepWhenCancelling(e event.OrderCancelling, _ backbone.Meta) []backbone.Effect {
	return append(keep(e.Order), backbone.CancelTimer(collectTimer(e.Order)))
}

// expireWhenReady gives the customer of a ready order the time that it says to come for it, or so much where it was made ready before orders said that.
func expireWhenReady(within time.Duration) func(event.OrderReadied, backbone.Meta) []backbone.Effect {
	return func(e event.OrderReadied, m backbone.Meta) []backbone.Effect {
		until := m.Time.Add(within)
		if e.Until != 0 {
			until = time.UnixMicro(e.Until).UTC()
		}
		return []backbone.Effect{backbone.SetTimer(collectTimer(e.Order), until, command.ExpireUncollectedOrder{Order: e.Order})}
	}
}

func keepWhenCompleted(e event.OrderCompleted, _ backbone.Meta) []backbone.Effect {
	return []backbone.Effect{backbone.CancelTimer(collectTimer(e.Order))}
}

// issueWhenCollected takes the goods off the books: they are out of the house.
func issueWhenCollected(e event.OrderCollected, _ backbone.Meta) []backbone.Effect {
	if len(e.Lines) == 0 {
		return nil
	}
	return []backbone.Effect{backbone.Send(command.IssueReservedStock{
		Order: e.Order, Location: mall.MainLocation, Lines: e.Lines, Missing: e.Missing, Also: e.Also,
	})}
}

func keep(order string) []backbone.Effect {
	return []backbone.Effect{backbone.CancelTimer(timer(order))}
}

func timer(order string) string { return "expire/" + order }

func collectTimer(order string) string { return "collect/" + order }

func placeWhenCheckedOut(e event.BasketCheckedOut, _ backbone.Meta) []backbone.Effect {
	return []backbone.Effect{backbone.Send(command.PlaceOrder{
		Order: e.Order, Customer: e.Customer, Items: e.Items, Payment: e.Payment, WaitForStock: e.WaitForStock,
		Basket: e.Basket, WhenShort: e.WhenShort,
	})}
}

func pickWhenAssigned(e event.ShoppingListAssigned, _ backbone.Meta) []backbone.Effect {
	return []backbone.Effect{backbone.Send(command.PickOrder{Order: e.Order})}
}

func shortenWhenShort(e event.StopShort, _ backbone.Meta) []backbone.Effect {
	return []backbone.Effect{backbone.Send(command.ShortenOrder{Order: e.Order, Stop: e.Stop, SKU: e.SKU, Missing: e.Wanted - e.Picked})}
}

func readyWhenListCompleted(e event.ShoppingListCompleted, _ backbone.Meta) []backbone.Effect {
	return []backbone.Effect{backbone.Send(command.ReadyOrder{Order: e.Order, Missing: e.Missing})}
}

func payWhenInvoicePaid(e event.InvoicePaid, _ backbone.Meta) []backbone.Effect {
	return []backbone.Effect{backbone.Send(command.PayOrder{Order: e.Order, Amount: e.Amount, Payment: e.Payment})}
}

// payWhenCaptured leaves out what was captured for a visit.
func payWhenCaptured(e event.PaymentCaptured, _ backbone.Meta) []backbone.Effect {
	if e.Order == "" {
		return nil
	}
	return []backbone.Effect{backbone.Send(command.PayOrder{Order: e.Order, Amount: e.Amount, Payment: e.Payment})}
}

func backorderWhenShort(e event.StockRejected, _ backbone.Meta) []backbone.Effect {
	return []backbone.Effect{backbone.Send(command.BackorderOrder{Order: e.Order, SKU: e.SKU, Wanted: e.Wanted, Available: e.Available})}
}
