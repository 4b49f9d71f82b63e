package fastlane

import (
	"slices"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/event"
)

// What the service refuses; compare with errors.Is.
var (
	ErrNoBill       = backbone.Refuse("no_bill", "nobody left on this visit")
	ErrNotUnpriced  = backbone.Refuse("not_unpriced", "this is not among what has no price")
	ErrCurrency     = backbone.Refuse("wrong_currency", "the visit is billed in another currency")
	ErrTooExpensive = backbone.Refuse("too_expensive", "this costs more than an amount can hold")
)

// account is the state of a visit's bill.
type account struct {
	Billed   bool
	Store    string
	Customer string
	Currency string
	Unpriced []mall.Line
}

var bills = &backbone.Aggregate[account]{
	Name:   "bill",
	Public: []backbone.Event{event.PaymentDue{}, event.ItemPriced{}},
	Evolve: evolve,
}

func evolve(s account, e backbone.Event) account {
	switch e := e.(type) {
	case event.PaymentDue:
		return account{Billed: true, Store: e.Store, Customer: e.Customer, Currency: e.Total.Currency, Unpriced: e.Unpriced}
	case event.ItemPriced:
		s.Unpriced = slices.DeleteFunc(slices.Clone(s.Unpriced), func(l mall.Line) bool { return l.SKU == e.SKU })
	}
	return s
}

// BillVisit asks for the bill of a departure. The service sends it to itself with what the price list says: Lines have a
// price of Currency each, Unpriced have none.
type BillVisit struct {
	Store    string            `json:"store"`
	Visit    string            `json:"visit"`
	Customer string            `json:"customer,omitempty"`
	Currency string            `json:"currency"`
	Lines    []mall.PricedLine `json:"lines"`
	Unpriced []mall.Line       `json:"unpriced,omitempty"`
}

// CommandType returns the wire name.
func (BillVisit) CommandType() string { return "souk.fastlane.BillVisit.v1" }

// Stream returns the id of the visit.
func (c BillVisit) Stream() string { return c.Visit }

func bill(s account, c BillVisit, _ backbone.Meta) ([]backbone.Event, error) {
	if s.Billed {
		return nil, nil
	}
	e := event.PaymentDue{
		Store: c.Store, Visit: c.Visit, Customer: c.Customer, Lines: []mall.PricedLine{}, Total: mall.Money{Currency: c.Currency}, Unpriced: c.Unpriced,
	}
	for _, l := range c.Lines {
		total, err := l.Price.Mul(l.Quantity)
		if err == nil {
			total, err = e.Total.Add(total)
		}
		if err != nil { // of another currency, or more than an amount can hold: somebody has to look at it
			e.Unpriced = append(slices.Clip(e.Unpriced), mall.Line{SKU: l.SKU, Quantity: l.Quantity})
			continue
		}
		e.Total, e.Lines = total, append(e.Lines, l)
	}
	return []backbone.Event{e}, nil
}

func priceUnknown(s account, c command.PriceUnknown, _ backbone.Meta) ([]backbone.Event, error) {
	i := slices.IndexFunc(s.Unpriced, func(l mall.Line) bool { return l.SKU == c.SKU })
	switch {
	case !s.Billed:
		return nil, ErrNoBill
	case i < 0:
		return nil, ErrNotUnpriced
	case c.Price.Currency != s.Currency:
		return nil, ErrCurrency
	}
	line := s.Unpriced[i]
	amount, err := c.Price.Mul(line.Quantity)
	if err != nil {
		return nil, ErrTooExpensive
	}
	return []backbone.Event{event.ItemPriced{
		Store: s.Store, Visit: c.Visit, Customer: s.Customer, SKU: line.SKU, Quantity: line.Quantity, Price: c.Price, Amount: amount,
	}}, nil
}
