package mall

import (
	"cmp"
	"fmt"
	"slices"
)

// Bounds of what one order may ask for. They keep every sum inside 64 bits and every event below the largest that the log takes.
const (
	// MaxQuantity is the greatest number of pieces of one SKU in one command.
	MaxQuantity = 1_000_000
	// MaxLines is the greatest number of lines or items in one command.
	MaxLines = 100
)

// Line is a number of pieces of one SKU: all that a stockroom needs to know.
type Line struct {
	SKU      string `json:"sku"`
	Quantity int64  `json:"quantity"`
}

// PricedLine is a line with what one piece of it costs: the price of that version in the catalogue.
type PricedLine struct {
	SKU          string `json:"sku"`
	Price        Money  `json:"price"`
	PriceVersion int64  `json:"priceVersion"`
	Quantity     int64  `json:"quantity"`
}

// Item is a line of an order as its customer saw it: the product, what it was called and what one piece cost at that moment.
type Item struct {
	Product  string `json:"product"`
	SKU      string `json:"sku"`
	Name     string `json:"name"`
	Price    Money  `json:"price"`
	Quantity int64  `json:"quantity"`

	Store        string `json:"store,omitempty"`        // that sells it; empty: not said
	StoreName    string `json:"storeName,omitempty"`    // what the store was called then
	PriceVersion int64  `json:"priceVersion,omitempty"` // of the price in the catalogue; 0: not said
}

// Quote is what one piece of a product costs as of now: the price of that version in the catalogue.
type Quote struct {
	Product      string `json:"product"`
	Price        Money  `json:"price"`
	PriceVersion int64  `json:"priceVersion"`
}

// Total returns what the item costs: its price taken Quantity times.
func (i Item) Total() (Money, error) { return i.Price.Mul(i.Quantity) }

// Total returns what the items cost together. It fails with ErrCurrency when they do not share a currency and with ErrRange when the sum
// is more than MaxAmount; no items cost the zero Money.
func Total(items []Item) (Money, error) {
	var sum Money
	for n, item := range items {
		cost, err := item.Total()
		if err == nil {
			sum, err = sum.Add(cost)
		}
		if err != nil {
			return Money{}, fmt.Errorf("item %d: %w", n+1, err)
		}
	}
	if sum.Amount > MaxAmount {
		return Money{}, fmt.Errorf("%v: %w", sum, ErrRange)
	}
	return sum, nil
}

// Lines returns what the items ask of the stock: one line a SKU, quantities added up, ordered by SKU, so that the same
// items always give the same lines. The items are those of a validated command; beyond MaxQuantity and MaxLines sums may wrap.
func Lines(items []Item) []Line {
	wanted := make(map[string]int64, len(items))
	for _, item := range items {
		wanted[item.SKU] += item.Quantity
	}
	lines := make([]Line, 0, len(wanted))
	for sku, quantity := range wanted {
		lines = append(lines, Line{SKU: sku, Quantity: quantity})
	}
	slices.SortFunc(lines, func(a, b Line) int { return cmp.Compare(a.SKU, b.SKU) })
	return lines
}

// AddLines returns a and b together: one line a SKU, ordered by SKU.
func AddLines(a, b []Line) []Line {
	pieces := make([]Item, 0, len(a)+len(b))
	for _, lines := range [][]Line{a, b} {
		for _, l := range lines {
			pieces = append(pieces, Item{SKU: l.SKU, Quantity: l.Quantity})
		}
	}
	return Lines(pieces)
}

// Without returns what is left of the items when so many pieces of each SKU are missing; what has no piece left is left out.
// Where several items have the SKU, the first ones go first.
func Without(items []Item, missing []Line) []Item {
	gone := make(map[string]int64, len(missing))
	for _, l := range missing {
		gone[l.SKU] += l.Quantity
	}
	left := make([]Item, 0, len(items))
	for _, item := range items {
		n := min(gone[item.SKU], item.Quantity)
		gone[item.SKU] -= n
		if item.Quantity -= n; item.Quantity > 0 {
			left = append(left, item)
		}
	}
	return left
}
