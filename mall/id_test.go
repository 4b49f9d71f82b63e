package mall_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"example.org/souk/mall"
)

func TestValidID(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"a", "ORDER_001", "72029ae3-9876-4d2f-a0ae-aaee86b8ec34", "-", "_", strings.Repeat("z", 64)} {
		if err := mall.ValidID(id); err != nil {
			t.Errorf("%q: %v", id, err)
		}
	}
	for _, id := range []string{"", " a", "a b", "a.b", "a/b", "a\n", "a\x00", "ä", "a*", "$a", strings.Repeat("z", 65)} {
		if err := mall.ValidID(id); !errors.Is(err, mall.ErrID) {
			t.Errorf("%q: %v", id, err)
		}
	}
}

func TestStockIDReads(t *testing.T) {
	t.Parallel()
	if got := mall.StockID("PRODUCT_001", mall.MainLocation); got != "PRODUCT_001--main" {
		t.Error(got)
	}
}

// Every pair has a valid id of its own, also where the pair itself is not valid or looks like another pair's id.
func TestStockIDIsOneToOne(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		part := rapid.OneOf(
			rapid.StringMatching(`[a-]{0,5}`),
			rapid.StringMatching(`[A-Za-z0-9_-]{1,64}`),
			rapid.String(),
		)
		sku, location := part.Draw(t, "sku"), part.Draw(t, "location")
		id := mall.StockID(sku, location)
		if err := mall.ValidID(id); err != nil {
			t.Fatalf("%q: %v", id, err)
		}
		otherSKU, otherLocation := part.Draw(t, "other sku"), part.Draw(t, "other location")
		if same := sku == otherSKU && location == otherLocation; (mall.StockID(otherSKU, otherLocation) == id) != same {
			t.Fatalf("%q at %q and %q at %q share %q", sku, location, otherSKU, otherLocation, id)
		}
		// Whatever the border inside the id is taken to be, only the pair itself leads there.
		for i := 0; i+2 <= len(id); i++ {
			if id[i:i+2] != "--" || (id[:i] == sku && id[i+2:] == location) {
				continue
			}
			if mall.StockID(id[:i], id[i+2:]) == id {
				t.Fatalf("%q at %q and %q at %q share %q", sku, location, id[:i], id[i+2:], id)
			}
		}
	})
}

// Instants sort as texts, and are ids. Red when the bytes are written from their other end.
func TestInstantsSort(t *testing.T) {
	t.Parallel()
	last := ""
	for _, ms := range []int64{0, 1, 31, 32, 1023, 1024, 1_790_000_000_000, 1_790_000_000_001, 1 << 47, 1<<48 - 1} {
		text := mall.Instant(time.UnixMilli(ms))
		if len(text) != mall.InstantLength || text <= last || mall.ValidID(text) != nil {
			t.Errorf("%d: %q after %q", ms, text, last)
		}
		last = text
	}
	if mall.Instant(time.Time{}) != mall.Instant(time.UnixMilli(0)) {
		t.Error("before 1970")
	}
}
