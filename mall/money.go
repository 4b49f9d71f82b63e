package mall

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"
)

// The ways in which money goes wrong. Errors of this package wrap one of them; test with errors.Is.
var (
	// ErrCurrency says that two amounts of different currencies met, or that a currency is not three capital letters.
	ErrCurrency = errors.New("currency does not fit")
	// ErrRange says that a result does not fit into 64 bits of minor units, or is more than a command may name.
	ErrRange = errors.New("amount out of range")
	// ErrDecimals says that a decimal number is finer than the minor unit of its currency.
	ErrDecimals = errors.New("too many decimals")
	// ErrNumber says that a text is not a JSON number.
	ErrNumber = errors.New("not a number")
)

// MaxAmount is the greatest amount, in minor units, that one command may name and that the items of an order may cost together. It is more than anybody
// owns, and so small that the sums of books, which are made of thousands of them, fit into 64 bits.
const MaxAmount = 1_000_000_000_000_000

// Money is an exact amount of one currency. It is never a float; what does not fit is an error, not a rounding.
//
// The zero value is nothing at all, in no currency: Add, Sub and Cmp accept it beside every currency, so that a sum can
// begin with it.
type Money struct {
	// Amount counts minor units (cents for EUR, yen for JPY). It may be negative.
	Amount int64 `json:"amount"`
	// Currency is the ISO 4217 code, three capital letters.
	Currency string `json:"currency"`
}

// ParseMoney reads an amount of major units ("12.5", "-3", "1e2") exactly. The literal follows the grammar of a JSON
// number, so a gateway passes a json.Number on as it came. Precision is judged by value: "12.50" and "12.500" are the
// same number and both fit EUR, "12.505" is ErrDecimals.
func ParseMoney(literal, currency string) (Money, error) {
	if err := ValidCurrency(currency); err != nil {
		return Money{}, err
	}
	n, err := scanNumber(literal)
	if err != nil {
		return Money{}, err
	}
	amount, err := n.minor(Exponent(currency))
	if err != nil {
		return Money{}, fmt.Errorf("%s %s: %w", literal, currency, err)
	}
	return Money{Amount: amount, Currency: currency}, nil
}

// Add returns m + o, or ErrCurrency, or ErrRange.
func (m Money) Add(o Money) (Money, error) {
	currency, err := m.with(o)
	if err != nil {
		return Money{}, err
	}
	sum := m.Amount + o.Amount
	if (sum > m.Amount) != (o.Amount > 0) && o.Amount != 0 {
		return Money{}, fmt.Errorf("%v + %v: %w", m, o, ErrRange)
	}
	return Money{Amount: sum, Currency: currency}, nil
}

// Sub returns m - o, or ErrCurrency, or ErrRange. The result may be negative.
func (m Money) Sub(o Money) (Money, error) {
	currency, err := m.with(o)
	if err != nil {
		return Money{}, err
	}
	diff := m.Amount - o.Amount
	if (diff < m.Amount) != (o.Amount > 0) && o.Amount != 0 {
		return Money{}, fmt.Errorf("%v - %v: %w", m, o, ErrRange)
	}
	return Money{Amount: diff, Currency: currency}, nil
}

// Mul returns m taken n times, or ErrRange.
func (m Money) Mul(n int64) (Money, error) {
	hi, lo := bits.Mul64(magnitude(m.Amount), magnitude(n))
	negative := (m.Amount < 0) != (n < 0)
	switch {
	case hi == 0 && lo <= math.MaxInt64:
		product := int64(lo)
		if negative {
			product = -product
		}
		return Money{Amount: product, Currency: m.Currency}, nil
	case hi == 0 && negative && lo == 1<<63:
		return Money{Amount: math.MinInt64, Currency: m.Currency}, nil
	}
	return Money{}, fmt.Errorf("%v x %d: %w", m, n, ErrRange)
}

// Cmp returns -1, 0 or +1 as m is less than, equal to or more than o, or ErrCurrency.
func (m Money) Cmp(o Money) (int, error) {
	if _, err := m.with(o); err != nil {
		return 0, err
	}
	return cmp.Compare(m.Amount, o.Amount), nil
}

// Whole returns the whole major units in m, cut towards zero: 12 for 12.99 EUR.
func (m Money) Whole() int64 {
	for range Exponent(m.Currency) {
		m.Amount /= 10
	}
	return m.Amount
}

// Decimal returns the major units with all decimals of the currency, as a person reads them: "40.00".
func (m Money) Decimal() string {
	sign := ""
	if m.Amount < 0 {
		sign = "-"
	}
	digits := strconv.FormatUint(magnitude(m.Amount), 10)
	exponent := Exponent(m.Currency)
	if exponent == 0 {
		return sign + digits
	}
	if short := exponent + 1 - len(digits); short > 0 {
		digits = strings.Repeat("0", short) + digits
	}
	point := len(digits) - exponent
	return sign + digits[:point] + "." + digits[point:]
}

// Number returns the major units as the shortest exact JSON number, as a program reads them: 40, 12.5. ParseMoney takes
// it back to the same amount.
func (m Money) Number() json.Number {
	decimal := m.Decimal()
	if strings.Contains(decimal, ".") {
		decimal = strings.TrimRight(strings.TrimRight(decimal, "0"), ".")
	}
	return json.Number(decimal)
}

// String returns the amount and its currency: "40.00 EUR".
func (m Money) String() string {
	return strings.TrimSpace(m.Decimal() + " " + m.Currency)
}

// with returns the currency that m and o share.
func (m Money) with(o Money) (string, error) {
	switch {
	case m.Currency == o.Currency, o == Money{}:
		return m.Currency, nil
	case m == Money{}:
		return o.Currency, nil
	}
	return "", fmt.Errorf("%v and %v: %w", m, o, ErrCurrency)
}

// ValidCurrency answers nil for three capital letters, else ErrCurrency. It does not ask whether a country still pays in it.
func ValidCurrency(code string) error {
	if len(code) != 3 || strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return fmt.Errorf("%w: must be three capital letters", ErrCurrency)
	}
	return nil
}

// Exponent returns how many decimals the major unit of a currency has, by ISO 4217; 2 for a code that it does not know.
func Exponent(currency string) int {
	switch currency {
	case "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF":
		return 0
	case "BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND":
		return 3
	case "CLF", "UYW":
		return 4
	}
	return 2
}

// magnitude returns |n|, which for the least int64 only an unsigned number holds.
func magnitude(n int64) uint64 {
	if n < 0 {
		return -uint64(n)
	}
	return uint64(n)
}

// number is a decimal number taken apart: digits x 10^power. Digits have no zeros at either end; zero has none at all.
type number struct {
	negative bool
	digits   string
	power    int
}

// longestNumber bounds the work that a literal from outside can cause. The longest that fits an amount is far below it.
const longestNumber = 64

// scanNumber takes a JSON number apart: -?(0|[1-9][0-9]*)(.[0-9]+)?([eE][+-]?[0-9]+)?
func scanNumber(literal string) (number, error) {
	var n number
	if len(literal) > longestNumber {
		return n, fmt.Errorf("%w: longer than %d characters", ErrNumber, longestNumber)
	}
	rest, negative := strings.CutPrefix(literal, "-")
	whole, rest := leadingDigits(rest)
	if whole == "" || (len(whole) > 1 && whole[0] == '0') {
		return n, fmt.Errorf("%q: %w", literal, ErrNumber)
	}
	fraction := ""
	if after, found := strings.CutPrefix(rest, "."); found {
		if fraction, rest = leadingDigits(after); fraction == "" {
			return n, fmt.Errorf("%q: %w", literal, ErrNumber)
		}
	}
	power := 0
	if rest != "" {
		if rest[0] != 'e' && rest[0] != 'E' {
			return n, fmt.Errorf("%q: %w", literal, ErrNumber)
		}
		var err error
		if power, err = strconv.Atoi(rest[1:]); errors.Is(err, strconv.ErrRange) {
			return n, fmt.Errorf("%q: %w", literal, ErrRange)
		} else if err != nil {
			return n, fmt.Errorf("%q: %w", literal, ErrNumber)
		}
		if power < -longestNumber || power > longestNumber {
			return n, fmt.Errorf("%q: %w", literal, ErrRange)
		}
	}
	digits := strings.TrimLeft(whole+fraction, "0")
	n.digits = strings.TrimRight(digits, "0")
	n.power = power - len(fraction) + len(digits) - len(n.digits)
	n.negative = negative
	return n, nil
}

// minor returns the number in units of 10^-exponent.
func (n number) minor(exponent int) (int64, error) {
	shift := n.power + exponent
	switch {
	case n.digits == "":
		return 0, nil
	case shift < 0:
		return 0, ErrDecimals
	case len(n.digits)+shift > 19: // the greatest int64 has 19 digits
		return 0, ErrRange
	}
	digits := n.digits + strings.Repeat("0", shift)
	if n.negative {
		digits = "-" + digits
	}
	amount, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return 0, ErrRange
	}
	return amount, nil
}

func leadingDigits(s string) (digits, rest string) {
	end := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(s)
	}
	return s[:end], s[end:]
}
