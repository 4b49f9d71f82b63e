package fastlane

import (
	"cmp"
	"context"
	"strconv"
	"strings"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/event"
)

type cashier struct{ currency string }

// billWhenDeparted looks up what everything in the bag cost when it left. It comes after the view of the prices: a departure may get here before the
// news of a price that was changed ahead of it.
func (k cashier) billWhenDeparted(ctx context.Context, tx backbone.Tx, e event.CustomerDeparted) error {
	c := BillVisit{Store: e.Store, Visit: e.Visit, Customer: e.Customer, Currency: k.currency, Lines: []mall.PricedLine{}}
	known, err := pricesOf(ctx, tx, e.Store, e.Lines, cmp.Or(e.At, tx.Message().Time.UnixMicro()))
	if err != nil {
		return err
	}
	for _, l := range e.Lines {
		p, found := known[l.SKU]
		if !found {
			c.Unpriced = append(c.Unpriced, l)
			continue
		}
		p.Quantity = l.Quantity
		c.Lines = append(c.Lines, p)
	}
	if len(c.Lines) > 0 {
		c.Currency = c.Lines[0].Price.Currency
	}
	tx.Do(backbone.Send(c))
	return nil
}

// pricesOf returns what a piece of each line's SKU cost at an instant.
func pricesOf(ctx context.Context, tx backbone.Tx, store string, lines []mall.Line, at int64) (map[string]mall.PricedLine, error) {
	known := map[string]mall.PricedLine{}
	if len(lines) == 0 {
		return known, nil
	}
	args := []any{store, at}
	var skus []string
	for _, l := range lines {
		args = append(args, l.SKU)
		skus = append(skus, "$"+strconv.Itoa(len(args)))
	}
	rows, err := tx.Query(ctx, `SELECT p.sku, p.price, p.currency, p.version FROM {prices} AS p
		WHERE p.store = $1 AND p.version = (SELECT MAX(q.version) FROM {prices} AS q WHERE q.product = p.product AND q.since <= $2)
		AND p.sku IN (`+strings.Join(skus, ", ")+`) ORDER BY p.since`, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var p mall.PricedLine
		if err := rows.Scan(&p.SKU, &p.Price.Amount, &p.Price.Currency, &p.PriceVersion); err != nil {
			return nil, err
		}
		known[p.SKU] = p // of two products of one SKU, the one whose price is newer
	}
	return known, rows.Err()
}
