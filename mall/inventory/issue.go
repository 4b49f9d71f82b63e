package inventory

import (
	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/event"
)

// issue is the state of what one visitor or the customer of one order walked out with: whether it was booked.
type issue struct{ Booked bool }

var issues = &backbone.Aggregate[issue]{
	Name:   "issue",
	Public: []backbone.Event{event.StockIssued{}},
	Evolve: func(issue, backbone.Event) issue { return issue{Booked: true} },
}

func issueStreams(c command.IssueStock) []backbone.Ref {
	refs := []backbone.Ref{issues.Ref(c.Visit)}
	for _, l := range c.Lines {
		refs = append(refs, stock.Ref(mall.StockID(l.SKU, orMain(c.Location))))
	}
	return refs
}

// issueStock books what a visitor walked out with, once for each visit. What is held or committed is promised to somebody, so
// only what is available is taken off the books. The rest left all the same: somebody has to count.
func issueStock(l backbone.Loaded, c command.IssueStock, _ backbone.Meta) ([]backbone.Append, error) {
	if issues.State(l, c.Visit).Booked {
		return nil, nil
	}
	location := orMain(c.Location)
	issued := event.StockIssued{Visit: c.Visit, Location: location, Lines: []mall.Line{}}
	appends := []backbone.Append{{}}
	for _, line := range c.Lines {
		id := mall.StockID(line.SKU, location)
		s := stock.State(l, id)
		n := min(line.Quantity, max(s.available(), 0))
		var events []backbone.Event
		if n < line.Quantity {
			events = append(events, event.StockDiscrepancy{SKU: line.SKU, Location: location, Visit: c.Visit, Quantity: line.Quantity - n})
		}
		if n > 0 {
			issued.Lines = append(issued.Lines, mall.Line{SKU: line.SKU, Quantity: n})
			events = append(events, s.changed(line.SKU, location, StockTaken{SKU: line.SKU, Location: location, Visit: c.Visit, Quantity: n})...)
		}
		appends = append(appends, stock.Append(id, events...))
	}
	appends[0] = issues.Append(c.Visit, issued)
	return appends, nil
}

// StockTaken says, on the stream of a SKU, that a visitor walked out with pieces of it, or that the customer of an order
// collected them.
type StockTaken struct {
	SKU      string `json:"sku"`
	Location string `json:"location"`
	Visit    string `json:"visit"` // empty: it was an order
	Quantity int64  `json:"quantity"`
	Order    string `json:"order,omitempty"`
}

// EventType returns the wire name.
func (StockTaken) EventType() string { return "souk.inventory.StockTaken.v1" }
