package inventory

import (
	"time"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/event"
)

// ResumeBackorders tries orders again that wait for a SKU, first come first served. The service sends it to itself.
type ResumeBackorders struct {
	SKU      string      `json:"sku"`
	Location string      `json:"location"`
	Orders   []Backorder `json:"orders"`
}

// CommandType returns the wire name.
func (ResumeBackorders) CommandType() string { return "souk.inventory.ResumeBackorders.v1" }

// Stream returns the id of the SKU at its location, so that its deliveries are handed out one after another.
func (c ResumeBackorders) Stream() string { return mall.StockID(c.SKU, c.Location) }

func resumeStreams(c ResumeBackorders) []backbone.Ref {
	var refs []backbone.Ref
	seen := map[string]bool{}
	for _, b := range c.Orders {
		for _, ref := range streamsOf(b.Order, c.Location, b.Lines) {
			if name := ref.Stream(); !seen[name] {
				seen[name] = true
				refs = append(refs, ref)
			}
		}
	}
	return refs
}

// resume holds the goods for as many of the waiting orders as there are goods for. What one takes is gone for the next.
func resume(l backbone.Loaded, cmd ResumeBackorders, _ backbone.Meta) ([]backbone.Append, error) {
	taken := map[string]int64{}
	var appends []backbone.Append
	for _, b := range cmd.Orders {
		c := claimOf(l, b.Order, cmd.Location, b.Lines)
		s := c.state()
		if s.Phase != requested {
			continue
		}
		complete := true
		for _, line := range c.lines {
			complete = complete && c.stock(line).available()-taken[line.SKU] >= line.Quantity
		}
		if complete {
			c.hold(s.Expires)
			for _, line := range c.lines {
				taken[line.SKU] += line.Quantity
			}
		} else {
			c.awaitAlso(taken)
		}
		appends = append(appends, c.appends...)
	}
	return appends, nil
}

// awaitAlso queues the order at SKUs that were there when it asked and are not any more.
func (c *claim) awaitAlso(taken map[string]int64) {
	for _, l := range c.lines {
		if s := c.stock(l); s.available()-taken[l.SKU] < l.Quantity && !s.waits(c.order) {
			c.appends = append(c.appends, stock.Append(mall.StockID(l.SKU, c.location), StockAwaited{Order: c.order, Lines: c.lines}))
		}
	}
}

func resumeWaiting(e BackordersDue, _ backbone.Meta) []backbone.Effect {
	return []backbone.Effect{backbone.Send(ResumeBackorders{SKU: e.SKU, Location: e.Location, Orders: e.Orders})}
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

func stopWhenReleased(e event.StockReleased, _ backbone.Meta) []backbone.Effect { return keep(e.Order) }

func stopWhenClosed(e ReservationClosed, _ backbone.Meta) []backbone.Effect { return keep(e.Order) }

func keep(order string) []backbone.Effect {
	return []backbone.Effect{backbone.CancelTimer(timer(order))}
}

func timer(order string) string { return "reservation/" + order }

func adoptThreshold(e event.ProductAdded, _ backbone.Meta) []backbone.Effect {
	if e.RestockThreshold == 0 {
		return nil
	}
	return []backbone.Effect{backbone.Send(command.SetThreshold{
		SKU: e.SKU, Location: e.Location, Threshold: e.RestockThreshold, Quantity: e.RestockQuantity,
	})}
}
