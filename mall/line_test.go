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
	most := mall.Item{Price: eur(mall.MaxAmount), Quantity: 1}
	if got, err := mall.Total([]mall.Item{most}); err != nil || got != most.Price {
		t.Errorf("the most there is: %v, %v", got, err)
	}
	if _, err := mall.Total([]mall.Item{most, ink}); !errors.Is(err, mall.ErrRange) {
		t.Errorf("more than there is: %v", err)
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

// What is missing and what is left are what there was, piece by piece, and nothing is left that was missing.
func TestWithout(t *testing.T) {
	t.Parallel()
	item := rapid.Custom(func(t *rapid.T) mall.Item {
		return mall.Item{
			SKU:      rapid.SampledFrom([]string{"ink", "paper", "pen"}).Draw(t, "sku"),
			Quantity: rapid.Int64Range(1, 5).Draw(t, "quantity"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		items := rapid.SliceOfN(item, 0, 6).Draw(t, "items")
		before := slices.Clone(items)
		missing := mall.Lines(rapid.SliceOfN(item, 0, 3).Draw(t, "missing"))
		left := mall.Without(items, missing)
		if !slices.Equal(items, before) {
			t.Fatal("the items were changed")
		}
		pieces := func(lines []mall.Line, sku string) (n int64) {
			for _, l := range lines {
				if l.SKU == sku {
					n += l.Quantity
				}
			}
			return n
		}
		for _, sku := range []string{"ink", "paper", "pen"} {
			had, lost, has := pieces(mall.Lines(items), sku), pieces(missing, sku), pieces(mall.Lines(left), sku)
			if has != max(0, had-lost) {
				t.Fatalf("%s: %d of %d, %d missing", sku, has, had, lost)
			}
		}
		for _, item := range left {
			if item.Quantity < 1 {
				t.Fatalf("an item without a piece: %v", left)
			}
		}
		if sum := mall.AddLines(mall.Lines(left), missing); !slices.Equal(sum, mall.AddLines(missing, mall.Lines(left))) {
			t.Fatalf("%v is not the same backwards", sum)
		}
	})
}
