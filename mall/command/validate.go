package command

import (
	"cmp"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"example.org/souk/mall"
)

// Bounds of texts, in bytes.
const (
	maxName        = 200
	maxReason      = 500
	maxDescription = 4000
)

// The checks below answer nil or a *mall.FieldError. A Validate method hands several of them to cmp.Or, which picks the first that failed.

func wrong(field, format string, args ...any) error {
	return &mall.FieldError{Field: field, Reason: fmt.Sprintf(format, args...)}
}

func id(field, value string) error {
	if err := mall.ValidID(value); err != nil {
		return wrong(field, "%v", err)
	}
	return nil
}

func optionalID(field, value string) error {
	if value == "" {
		return nil
	}
	return id(field, value)
}

// text asks for 1 to limit bytes that can be printed on one line, which somebody has typed: there is no number of a payment card in them.
func text(field, value string, limit int) error {
	if strings.TrimSpace(value) == "" {
		return wrong(field, "must not be empty")
	}
	return optionalText(field, value, limit, "")
}

// optionalText accepts the empty text as well. Control characters are refused, except those in allowed.
func optionalText(field, value string, limit int, allowed string) error {
	if err := printable(field, value, limit, allowed); err != nil {
		return err
	}
	if mall.HoldsCard(value) {
		return wrong(field, "%s", mall.NoCard)
	}
	return nil
}

// name asks for what the catalogue calls something, which was judged when it came into it.
func name(field, value string) error {
	if strings.TrimSpace(value) == "" {
		return wrong(field, "must not be empty")
	}
	return printable(field, value, maxName, "")
}

// printable refuses what is too long, no text, or has control characters except those in allowed.
func printable(field, value string, limit int, allowed string) error {
	switch {
	case len(value) > limit:
		return wrong(field, "must have at most %d bytes", limit)
	case !utf8.ValidString(value):
		return wrong(field, "must be UTF-8")
	case strings.ContainsFunc(value, func(r rune) bool { return unicode.IsControl(r) && !strings.ContainsRune(allowed, r) }):
		return wrong(field, "must not have control characters")
	}
	return nil
}

// sealed asks for a token; what is inside it was judged before it was sealed.
func sealed(field string, value mall.Personal) error {
	if value == "" {
		return wrong(field, "must not be empty")
	}
	return optionalSealed(field, value)
}

func optionalSealed(field string, value mall.Personal) error {
	if len(value) > mall.MaxPersonal {
		return wrong(field, "must have at most %d bytes when sealed", mall.MaxPersonal)
	}
	return nil
}

func quantity(field string, value int64) error {
	if value < 1 || value > mall.MaxQuantity {
		return wrong(field, "must be 1 to %d", mall.MaxQuantity)
	}
	return nil
}

func quantityOrNone(field string, value int64) error {
	if value < 0 || value > mall.MaxQuantity {
		return wrong(field, "must be 0 to %d", mall.MaxQuantity)
	}
	return nil
}

func money(field string, value mall.Money) error {
	if mall.ValidCurrency(value.Currency) != nil {
		return wrong(field+".currency", "must be three capital letters")
	}
	if value.Amount < 0 {
		return wrong(field+".amount", "must not be negative")
	}
	if value.Amount > mall.MaxAmount {
		return wrong(field+".amount", "must be at most %d", mall.MaxAmount)
	}
	return nil
}

func positiveMoney(field string, value mall.Money) error {
	if err := money(field, value); err != nil {
		return err
	}
	if value.Amount == 0 {
		return wrong(field+".amount", "must be more than 0")
	}
	return nil
}

func instant(field string, value int64) error {
	if value <= 0 {
		return wrong(field, "must be microseconds since 1970")
	}
	return nil
}

func optionalInstant(field string, value int64) error {
	if value == 0 {
		return nil
	}
	return instant(field, value)
}

// lines asks for 1 to mall.MaxLines lines with a SKU each of its own.
func lines(field string, value []mall.Line) error {
	if err := count(field, len(value)); err != nil {
		return err
	}
	seen := make(map[string]bool, len(value))
	for n, line := range value {
		at := fmt.Sprintf("%s[%d]", field, n)
		if err := id(at+".sku", line.SKU); err != nil {
			return err
		}
		if err := quantity(at+".quantity", line.Quantity); err != nil {
			return err
		}
		if seen[line.SKU] {
			return wrong(at+".sku", "must not be named twice")
		}
		seen[line.SKU] = true
	}
	return nil
}

// linesOrNone accepts no lines as well.
func linesOrNone(field string, value []mall.Line) error {
	if len(value) == 0 {
		return nil
	}
	return lines(field, value)
}

// visitor asks for a customer, for the card that was scanned, or for both.
func visitor(customer, card string) error {
	if customer == "" {
		return id("card", card)
	}
	return cmp.Or(id("customer", customer), optionalID("card", card))
}

// items asks for 1 to mall.MaxLines items of one currency, whose total fits into Money and whose lines can be reserved.
func items(field string, value []mall.Item) error {
	if err := count(field, len(value)); err != nil {
		return err
	}
	for n, i := range value {
		at := fmt.Sprintf("%s[%d]", field, n)
		if err := item(at, i); err != nil {
			return err
		}
		if i.Price.Currency != value[0].Price.Currency {
			return wrong(at+".price.currency", "must be the same for all items")
		}
	}
	if _, err := mall.Total(value); err != nil {
		return wrong(field, "must not cost more than an amount can hold")
	}
	for _, line := range mall.Lines(value) {
		if line.Quantity > mall.MaxQuantity {
			return wrong(field, "must not ask for more than %d of one sku", mall.MaxQuantity)
		}
	}
	return nil
}

func item(field string, value mall.Item) error {
	return cmp.Or(
		id(field+".product", value.Product),
		id(field+".sku", value.SKU),
		name(field+".name", value.Name),
		money(field+".price", value.Price),
		quantity(field+".quantity", value.Quantity),
		optionalID(field+".store", value.Store),
		printable(field+".storeName", value.StoreName, maxName, ""),
		notNegative(field+".priceVersion", value.PriceVersion),
	)
}

func whenShort(field string, value mall.WhenShort) error {
	if !value.Valid() {
		return wrong(field, "must be ask, rest, substitute or cancel")
	}
	return nil
}

// number asks for 1 to most.
func number(field string, value, most int64) error {
	if value < 1 || value > most {
		return wrong(field, "must be 1 to %d", most)
	}
	return nil
}

func positive(field string, value int64) error {
	if value < 1 {
		return wrong(field, "must be more than 0")
	}
	return nil
}

func notNegative(field string, value int64) error {
	if value < 0 {
		return wrong(field, "must not be negative")
	}
	return nil
}

func count(field string, n int) error {
	if n < 1 || n > mall.MaxLines {
		return wrong(field, "must have 1 to %d entries", mall.MaxLines)
	}
	return nil
}

// restock asks for a level and how many to order below it: both, or neither.
func restock(levelField string, level int64, orderField string, order int64) error {
	if err := cmp.Or(quantityOrNone(levelField, level), quantityOrNone(orderField, order)); err != nil {
		return err
	}
	if level > 0 && order == 0 {
		return wrong(orderField, "must be more than 0 where there is a threshold")
	}
	return nil
}

// shortage asks for what was short and by how much, or for nothing at all.
func shortage(sku string, wanted, available int64) error {
	if sku == "" {
		if wanted != 0 || available != 0 {
			return wrong("sku", "must be named with wanted and available")
		}
		return nil
	}
	if err := cmp.Or(id("sku", sku), quantity("wanted", wanted)); err != nil {
		return err
	}
	if available < 0 || available >= wanted {
		return wrong("available", "must be 0 or more and less than wanted")
	}
	return nil
}

// delta asks for a change by at most mall.MaxQuantity pieces, up or down.
func delta(field string, value int64) error {
	if value == 0 || value < -mall.MaxQuantity || value > mall.MaxQuantity {
		return wrong(field, "must be -%d to %[1]d and not 0", mall.MaxQuantity)
	}
	return nil
}

// tell refuses a channel that there is not. What waits for a customer they cannot wish not to be told.
func tell(field string, t mall.Tell) error {
	for _, c := range []struct {
		name    string
		channel mall.Channel
	}{{"asking", t.Asking}, {"progress", t.Progress}, {"receipts", t.Receipts}} {
		if !c.channel.Valid() || c.name == "asking" && c.channel == mall.ByNone {
			return &mall.FieldError{Field: field + "." + c.name, Reason: "is no channel for it"}
		}
	}
	return nil
}
