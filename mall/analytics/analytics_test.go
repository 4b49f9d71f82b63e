package analytics

import (
	"reflect"
	"testing"
	"time"

	"example.org/souk/mall"
)

func eur(amount int64) mall.Money { return mall.Money{Amount: amount, Currency: "EUR"} }

func TestPerProduct(t *testing.T) {
	t.Parallel()
	got := perProduct([]mall.Item{
		{Product: "pen", Price: eur(1000), Quantity: 3}, {Product: "ink", Price: eur(500), Quantity: 2}, {Product: "pen", Price: eur(900), Quantity: 1},
	})
	want := []Product{
		{Product: "ink", Orders: 1, Quantity: 2, Amount: eur(1000)},
		{Product: "pen", Orders: 1, Quantity: 4, Amount: eur(3900)},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// An event counts in the hour in which it happened, so the views do not care when it arrives.
func TestHours(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		at   time.Time
		want time.Time
	}{
		{begin, begin},
		{begin.Add(time.Hour - time.Microsecond), begin},
		{begin.Add(time.Hour), begin.Add(time.Hour)},
		{begin.In(time.FixedZone("", 19800)), begin},
	} {
		if got := hourOf(c.at); got != c.want.UnixMicro() {
			t.Errorf("%v is in the hour of %v", c.at, time.UnixMicro(got).UTC())
		}
	}
}
