package inventory

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"example.org/souk/backbone"
	"example.org/souk/mall"
)

// Level is what is there of one SKU at one location.
type Level struct {
	SKU       string `json:"sku"`
	Location  string `json:"location"`
	OnHand    int64  `json:"onHand"`
	Held      int64  `json:"held"`
	Committed int64  `json:"committed"`
	Available int64  `json:"available"` // OnHand - Held - Committed, never negative
	Threshold int64  `json:"threshold"` // more is ordered below it; 0: never
}

const selectLevels = `SELECT sku, location, on_hand, held, committed, threshold FROM {stock} `

// Get returns the level of a SKU at a location ("" for the main one). What was never received has the level 0.
func Get(ctx context.Context, r *backbone.Reader, sku, location string) (Level, error) {
	location = orMain(location)
	list, err := query(ctx, r, selectLevels+`WHERE id = $1`, mall.StockID(sku, location))
	if err != nil || len(list) == 0 {
		return Level{SKU: sku, Location: location}, err
	}
	return list[0], nil
}

// Of returns the levels of a SKU, by location; none where it was never received.
func Of(ctx context.Context, r *backbone.Reader, sku string) ([]Level, error) {
	return query(ctx, r, selectLevels+`WHERE sku = $1 ORDER BY location`, sku)
}

// Available returns how much can be ordered of each SKU at a location ("" for the main one), by one statement. What was never received has 0.
func Available(ctx context.Context, r *backbone.Reader, skus []string, location string) (map[string]int64, error) {
	found := make(map[string]int64, len(skus))
	if len(skus) == 0 {
		return found, nil
	}
	ids, marks := make([]any, len(skus)), make([]string, len(skus))
	for i, sku := range skus {
		found[sku] = 0
		ids[i], marks[i] = mall.StockID(sku, orMain(location)), "$"+strconv.Itoa(i+1)
	}
	list, err := query(ctx, r, selectLevels+`WHERE id IN (`+strings.Join(marks, ", ")+`)`, ids...)
	for _, l := range list {
		found[l.SKU] = l.Available
	}
	return found, err
}

// List returns up to limit levels in the order of SKU and location, beginning after one pair; after "" and "" begins at
// the first.
func List(ctx context.Context, r *backbone.Reader, afterSKU, afterLocation string, limit int) ([]Level, error) {
	return query(ctx, r, selectLevels+`WHERE sku > $1 OR (sku = $1 AND location > $2) ORDER BY sku, location LIMIT $3`,
		afterSKU, afterLocation, limit)
}

// Low returns up to limit levels of which less is available than their threshold, in the order of SKU and location.
func Low(ctx context.Context, r *backbone.Reader, limit int) ([]Level, error) {
	return query(ctx, r, selectLevels+`WHERE threshold > 0 AND on_hand - held - committed < threshold ORDER BY sku, location LIMIT $1`, limit)
}

func query(ctx context.Context, r *backbone.Reader, sql string, args ...any) ([]Level, error) {
	rows, err := r.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("stock levels: %w", err)
	}
	defer rows.Close()
	var list []Level
	for rows.Next() {
		var l Level
		if err := rows.Scan(&l.SKU, &l.Location, &l.OnHand, &l.Held, &l.Committed, &l.Threshold); err != nil {
			return nil, fmt.Errorf("stock levels: %w", err)
		}
		l.Available = l.OnHand - l.Held - l.Committed
		list = append(list, l)
	}
	return list, rows.Err()
}
