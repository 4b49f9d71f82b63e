package fastlane

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"example.org/souk/backbone"
	"example.org/souk/backbone/backbonetest"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/event"
)

func eur(amount int64) mall.Money { return mall.Money{Amount: amount, Currency: "EUR"} }

func priced(sku string, price mall.Money, n int64) mall.PricedLine {
	return mall.PricedLine{SKU: sku, Price: price, PriceVersion: 1, Quantity: n}
}

func TestA5_Bills(t *testing.T) {
	t.Parallel()
	base := BillVisit{Store: "s1", Visit: "v1", Customer: "c1", Currency: "EUR"}
	for name, c := range map[string]struct {
		lines    []mall.PricedLine
		unpriced []mall.Line
		want     event.PaymentDue
	}{
		"a bag":                       {[]mall.PricedLine{priced("pen", eur(1099), 3), priced("ink", eur(50), 2)}, nil, event.PaymentDue{Lines: []mall.PricedLine{priced("pen", eur(1099), 3), priced("ink", eur(50), 2)}, Total: eur(3397)}},
		"an empty one":                {nil, nil, event.PaymentDue{Lines: []mall.PricedLine{}, Total: eur(0)}},
		"with something unknown":      {[]mall.PricedLine{priced("pen", eur(10), 1)}, []mall.Line{{SKU: "what", Quantity: 2}}, event.PaymentDue{Lines: []mall.PricedLine{priced("pen", eur(10), 1)}, Total: eur(10), Unpriced: []mall.Line{{SKU: "what", Quantity: 2}}}},
		"in another currency":         {[]mall.PricedLine{priced("pen", eur(10), 1), priced("usd", mall.Money{Amount: 5, Currency: "USD"}, 1)}, nil, event.PaymentDue{Lines: []mall.PricedLine{priced("pen", eur(10), 1)}, Total: eur(10), Unpriced: []mall.Line{{SKU: "usd", Quantity: 1}}}},
		"more than an amount can be":  {[]mall.PricedLine{priced("pen", eur(math.MaxInt64/2), 3)}, nil, event.PaymentDue{Lines: []mall.PricedLine{}, Total: eur(0), Unpriced: []mall.Line{{SKU: "pen", Quantity: 3}}}},
		"a sum that would be too big": {[]mall.PricedLine{priced("a", eur(math.MaxInt64), 1), priced("b", eur(1), 1)}, nil, event.PaymentDue{Lines: []mall.PricedLine{priced("a", eur(math.MaxInt64), 1)}, Total: eur(math.MaxInt64), Unpriced: []mall.Line{{SKU: "b", Quantity: 1}}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			when := base
			when.Lines, when.Unpriced = c.lines, c.unpriced
			c.want.Store, c.want.Visit, c.want.Customer = "s1", "v1", "c1"
			backbonetest.Given(t, Service("EUR")).When(when).Then(c.want)
			backbonetest.Given(t, Service("EUR"), c.want).When(when).ThenNothing()
		})
	}
}

func TestClerks(t *testing.T) {
	t.Parallel()
	due := event.PaymentDue{Store: "s1", Visit: "v1", Customer: "c1", Lines: []mall.PricedLine{}, Total: eur(0), Unpriced: []mall.Line{{SKU: "what", Quantity: 3}}}
	given := func(list ...backbone.Event) *backbonetest.Case { return backbonetest.Given(t, Service("EUR"), list...) }
	when := command.PriceUnknown{Visit: "v1", SKU: "what", Price: eur(250)}
	done := event.ItemPriced{Store: "s1", Visit: "v1", Customer: "c1", SKU: "what", Quantity: 3, Price: eur(250), Amount: eur(750)}
	given(due).When(when).Then(done)
	given(due, done).When(when).ThenRefused("not_unpriced")
	given().When(when).ThenRefused("no_bill")
	given(due).When(command.PriceUnknown{Visit: "v1", SKU: "what", Price: mall.Money{Amount: 1, Currency: "USD"}}).ThenRefused("wrong_currency")
	given(due).When(command.PriceUnknown{Visit: "v1", SKU: "what", Price: eur(math.MaxInt64)}).ThenRefused("too_expensive")
}

// Nothing in a bag is lost or free: each line is in the total at its price, or stands among the unpriced.
func TestNothingIsFree(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		c := BillVisit{Store: "s1", Visit: "v1", Currency: "EUR"}
		left := map[string]int64{}
		for i := range rapid.IntRange(0, 8).Draw(rt, "lines") {
			sku := string(rune('a' + i))
			l := priced(sku, mall.Money{Amount: rapid.Int64Range(0, math.MaxInt64).Draw(rt, "price"), Currency: rapid.SampledFrom([]string{"EUR", "EUR", "USD"}).Draw(rt, "currency")}, rapid.Int64Range(1, 5).Draw(rt, "n"))
			c.Lines, left[sku] = append(c.Lines, l), l.Quantity
		}
		list, err := bill(account{}, c, backbone.Meta{})
		if err != nil || len(list) != 1 {
			rt.Fatalf("%v %v", list, err)
		}
		due := list[0].(event.PaymentDue)
		total := int64(0)
		for _, l := range due.Lines {
			total += l.Price.Amount * l.Quantity
			left[l.SKU] -= l.Quantity
		}
		for _, l := range due.Unpriced {
			left[l.SKU] -= l.Quantity
		}
		if total != due.Total.Amount || total < 0 {
			rt.Fatalf("total %v, lines cost %d", due.Total, total)
		}
		for sku, n := range left {
			if n != 0 {
				rt.Fatalf("%d of %s are free", n, sku)
			}
		}
	})
}

func TestFrozenSamples(t *testing.T) {
	t.Parallel()
	backbonetest.Frozen(t, BillVisit{
		Store: "STORE_001", Visit: "VISIT_001", Customer: "CUSTOMER_001", Currency: "EUR",
		Lines: []mall.PricedLine{priced("PRODUCT_001", eur(1000), 3)}, Unpriced: []mall.Line{{SKU: "4006381333999", Quantity: 1}},
	})
}
