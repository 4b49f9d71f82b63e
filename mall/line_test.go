package mall_test

import (
	"errors"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"example.org/souk/mall"
)

func TestTotal(t *testing.T) {
	t.Parallel()
	pens := mall.Item{Product: "p1", SKU: "pen", Name: "Pen", Price: eur(1000), Quantity: 3}
	ink := mall.Item{Product: "p2", SKU: "ink", Name: "Ink", Price: eur(500), Quantity: 2}
	if got, err := mall.Total([]mall.Item{pens, ink}); err != nil || got != eur(4000) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := mall.Total(nil); err != nil || got != (mall.Money{}) {
		t.Errorf("no items: %v, %v", got, err)
	}
	dear := mall.Item{Price: eur(math.MaxInt64), Quantity: 1}
	if _, err := mall.Total([]mall.Item{dear, ink}); !errors.Is(err, mall.ErrRange) {
		t.Errorf("overflow of the sum: %v", err)
	}
	dear.Quantity = 2
	if _, err := mall.Total([]mall.Item{dear}); !errors.Is(err, mall.ErrRange) {
		t.Errorf("overflow of an item: %v", err)
	}
	foreign := mall.Item{Price: mall.Money{Amount: 1, Currency: "CHF"}, Quantity: 1}
	if _, err := mall.Total([]mall.Item{ink, foreign}); !errors.Is(err, mall.ErrCurrency) {
		t.Errorf("two currencies: %v", err)
	}
}

// Lines lose no piece, name each SKU once, and do not depend on the order of the items.
func TestLines(t *testing.T) {
	t.Parallel()
	item := rapid.Custom(func(t *rapid.T) mall.Item {
		return mall.Item{
			SKU:      rapid.SampledFrom([]string{"ink", "paper", "pen"}).Draw(t, "sku"),
			Quantity: rapid.Int64Range(1, mall.MaxQuantity).Draw(t, "quantity"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		items := rapid.SliceOfN(item, 0, mall.MaxLines).Draw(t, "items")
		lines := mall.Lines(items)
		pieces := map[string]int64{}
		for _, item := range items {
			pieces[item.SKU] += item.Quantity
		}
		for n, line := range lines {
			if n > 0 && lines[n-1].SKU >= line.SKU {
				t.Fatalf("not in order: %v", lines)
			}
			if pieces[line.SKU] != line.Quantity {
				t.Fatalf("%v, want %d", line, pieces[line.SKU])
			}
		}
		if len(lines) != len(pieces) {
			t.Fatalf("%d lines for %d SKUs", len(lines), len(pieces))
		}
		slices.Reverse(items)
		if again := mall.Lines(items); !slices.Equal(again, lines) {
			t.Fatalf("%v, backwards %v", lines, again)
		}
	})
}
