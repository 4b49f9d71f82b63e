package mall_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"testing"

	"pgregory.net/rapid"

	"example.org/souk/mall"
)

func eur(amount int64) mall.Money { return mall.Money{Amount: amount, Currency: "EUR"} }

func TestParseMoney(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		literal, currency string
		amount            int64
		err               error
	}{
		{"40", "EUR", 4000, nil},
		{"12.5", "EUR", 1250, nil},
		{"12.50", "EUR", 1250, nil},
		{"12.500", "EUR", 1250, nil},
		{"0.01", "EUR", 1, nil},
		{"0", "EUR", 0, nil},
		{"-0.0", "EUR", 0, nil},
		{"0e-60", "EUR", 0, nil},
		{"-3.07", "EUR", -307, nil},
		{"1e2", "EUR", 10000, nil},
		{"1E+2", "EUR", 10000, nil},
		{"1250e-2", "EUR", 1250, nil},
		{"1.5e1", "JPY", 15, nil},
		{"1.234", "KWD", 1234, nil},
		{"92233720368547758.07", "EUR", math.MaxInt64, nil},
		{"-92233720368547758.08", "EUR", math.MinInt64, nil},

		{"0.005", "EUR", 0, mall.ErrDecimals},
		{"12.345", "EUR", 0, mall.ErrDecimals},
		{"1e-3", "EUR", 0, mall.ErrDecimals},
		{"0.5", "JPY", 0, mall.ErrDecimals},
		{"92233720368547758.08", "EUR", 0, mall.ErrRange},
		{"1e18", "EUR", 0, mall.ErrRange},
		{"1e99999999999999999999", "EUR", 0, mall.ErrRange},
		{"1e-99999999999999999999", "EUR", 0, mall.ErrRange},

		{"", "EUR", 0, mall.ErrNumber},
		{"-", "EUR", 0, mall.ErrNumber},
		{"+1", "EUR", 0, mall.ErrNumber},
		{"01", "EUR", 0, mall.ErrNumber},
		{".5", "EUR", 0, mall.ErrNumber},
		{"5.", "EUR", 0, mall.ErrNumber},
		{"1e", "EUR", 0, mall.ErrNumber},
		{"1e+-2", "EUR", 0, mall.ErrNumber},
		{"1,5", "EUR", 0, mall.ErrNumber},
		{" 1", "EUR", 0, mall.ErrNumber},
		{"0x10", "EUR", 0, mall.ErrNumber},
		{"1_0", "EUR", 0, mall.ErrNumber},
		{"NaN", "EUR", 0, mall.ErrNumber},
		{"١", "EUR", 0, mall.ErrNumber},
		{fmt.Sprintf("%065d", 1), "EUR", 0, mall.ErrNumber},
		{"1", "eur", 0, mall.ErrCurrency},
		{"1", "", 0, mall.ErrCurrency},
		{"1", "EURO", 0, mall.ErrCurrency},
	} {
		got, err := mall.ParseMoney(c.literal, c.currency)
		if !errors.Is(err, c.err) {
			t.Errorf("%q %s: error %v, want %v", c.literal, c.currency, err, c.err)
		} else if err == nil && (got != mall.Money{Amount: c.amount, Currency: c.currency}) {
			t.Errorf("%q %s: %v, want %d minor units", c.literal, c.currency, got, c.amount)
		}
	}
}

func TestMoneyIsWritten(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		money                   mall.Money
		decimal, number, joined string
		whole                   int64
	}{
		{eur(4000), "40.00", "40", "40.00 EUR", 40},
		{eur(1250), "12.50", "12.5", "12.50 EUR", 12},
		{eur(-1299), "-12.99", "-12.99", "-12.99 EUR", -12},
		{eur(5), "0.05", "0.05", "0.05 EUR", 0},
		{eur(0), "0.00", "0", "0.00 EUR", 0},
		{eur(math.MinInt64), "-92233720368547758.08", "-92233720368547758.08", "-92233720368547758.08 EUR", -92233720368547758},
		{mall.Money{Amount: 1500, Currency: "JPY"}, "1500", "1500", "1500 JPY", 1500},
		{mall.Money{Amount: 1500, Currency: "KWD"}, "1.500", "1.5", "1.500 KWD", 1},
		{mall.Money{}, "0.00", "0", "0.00", 0},
	} {
		if got := c.money.Decimal(); got != c.decimal {
			t.Errorf("Decimal: %s, want %s", got, c.decimal)
		}
		if got := c.money.Number(); string(got) != c.number {
			t.Errorf("Number: %s, want %s", got, c.number)
		}
		if got := c.money.String(); got != c.joined {
			t.Errorf("String: %s, want %s", got, c.joined)
		}
		if got := c.money.Whole(); got != c.whole {
			t.Errorf("Whole of %v: %d, want %d", c.money, got, c.whole)
		}
	}
	if got, err := json.Marshal(eur(1250)); err != nil || string(got) != `{"amount":1250,"currency":"EUR"}` {
		t.Errorf("JSON: %s, %v", got, err)
	}
}

func TestF8_CurrenciesDoNotMix(t *testing.T) {
	t.Parallel()
	chf := mall.Money{Amount: 1, Currency: "CHF"}
	if _, err := eur(1).Add(chf); !errors.Is(err, mall.ErrCurrency) {
		t.Errorf("Add: %v", err)
	}
	if _, err := eur(1).Sub(chf); !errors.Is(err, mall.ErrCurrency) {
		t.Errorf("Sub: %v", err)
	}
	if _, err := eur(1).Cmp(chf); !errors.Is(err, mall.ErrCurrency) {
		t.Errorf("Cmp: %v", err)
	}
	if _, err := eur(1).Add(mall.Money{Amount: 1}); !errors.Is(err, mall.ErrCurrency) {
		t.Errorf("an amount of no currency was added: %v", err)
	}
	if sum, err := (mall.Money{}).Add(eur(7)); err != nil || sum != eur(7) {
		t.Errorf("nothing and 7: %v, %v", sum, err)
	}
	if diff, err := (mall.Money{}).Sub(eur(7)); err != nil || diff != eur(-7) {
		t.Errorf("nothing less 7: %v, %v", diff, err)
	}
}

// amounts are drawn from the edges as often as from the middle.
func amounts() *rapid.Generator[int64] {
	return rapid.OneOf(
		rapid.Int64(),
		rapid.Int64Range(-1000, 1000),
		rapid.SampledFrom([]int64{math.MinInt64, math.MinInt64 + 1, -1, 0, 1, math.MaxInt64 - 1, math.MaxInt64}),
	)
}

// Each operation agrees with integers that have no bounds: the same result where it fits, ErrRange where it does not.
func TestF8_ArithmeticIsExact(t *testing.T) {
	t.Parallel()
	operations := map[string]struct {
		money func(a, b int64) (mall.Money, error)
		exact func(a, b *big.Int) *big.Int
	}{
		"add": {
			func(a, b int64) (mall.Money, error) { return eur(a).Add(eur(b)) },
			func(a, b *big.Int) *big.Int { return new(big.Int).Add(a, b) },
		},
		"sub": {
			func(a, b int64) (mall.Money, error) { return eur(a).Sub(eur(b)) },
			func(a, b *big.Int) *big.Int { return new(big.Int).Sub(a, b) },
		},
		"mul": {
			func(a, b int64) (mall.Money, error) { return eur(a).Mul(b) },
			func(a, b *big.Int) *big.Int { return new(big.Int).Mul(a, b) },
		},
	}
	for name, operation := range operations {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				a, b := amounts().Draw(t, "a"), amounts().Draw(t, "b")
				want := operation.exact(big.NewInt(a), big.NewInt(b))
				got, err := operation.money(a, b)
				if !want.IsInt64() {
					if !errors.Is(err, mall.ErrRange) {
						t.Fatalf("%v, %v instead of ErrRange", got, err)
					}
				} else if err != nil || got != eur(want.Int64()) {
					t.Fatalf("%v, %v, want %v", got, err, want)
				}
			})
		})
	}
}

func TestCmpAgreesWithSub(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := eur(amounts().Draw(t, "a")), eur(amounts().Draw(t, "b"))
		got, err := a.Cmp(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff, err := a.Sub(b); err == nil && got != big.NewInt(diff.Amount).Sign() {
			t.Fatalf("Cmp %d, difference %v", got, diff)
		}
		if back, _ := b.Cmp(a); back != -got {
			t.Fatalf("Cmp %d one way, %d the other", got, back)
		}
	})
}

func TestWrittenMoneyReadsBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := mall.Money{
			Amount:   amounts().Draw(t, "amount"),
			Currency: rapid.SampledFrom([]string{"EUR", "JPY", "KWD", "CLF", "XYZ"}).Draw(t, "currency"),
		}
		for _, literal := range []string{m.Decimal(), m.Number().String()} {
			if got, err := mall.ParseMoney(literal, m.Currency); err != nil || got != m {
				t.Fatalf("%s: %v, %v, want %v", literal, got, err, m)
			}
			if !json.Valid([]byte(literal)) {
				t.Fatalf("%s is no JSON number", literal)
			}
		}
	})
}

// What ParseMoney takes is a JSON number, whatever is thrown at it.
func TestParseMoneyTakesJSONNumbersOnly(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		literal := rapid.StringMatching(`[-+0-9.eE x]{0,12}`).Draw(t, "literal")
		m, err := mall.ParseMoney(literal, "EUR")
		var number json.Number
		valid := json.Unmarshal([]byte(literal), &number) == nil && string(number) == literal
		switch {
		case !valid && err == nil:
			t.Fatalf("%q was read as %v", literal, m)
		case valid && errors.Is(err, mall.ErrNumber):
			t.Fatalf("%q was refused: %v", literal, err)
		case err == nil:
			want, _ := new(big.Rat).SetString(literal)
			if want.Mul(want, big.NewRat(100, 1)); want.Cmp(new(big.Rat).SetInt64(m.Amount)) != 0 {
				t.Fatalf("%q was read as %v", literal, m)
			}
		}
	})
}

func ExampleParseMoney() {
	price, err := mall.ParseMoney("12.5", "EUR")
	if err != nil {
		fmt.Println(err)
		return
	}
	total, err := price.Mul(3)
	fmt.Println(total, total.Amount, total.Number(), total.Whole(), err)

	_, err = mall.ParseMoney("12.505", "EUR")
	fmt.Println(err)
	// Output:
	// 37.50 EUR 3750 37.5 37 <nil>
	// 12.505 EUR: too many decimals
}
