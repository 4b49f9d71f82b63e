package exitgate

import (
	"context"
	"fmt"

	"example.org/souk/backbone"
)

// Place returns where the goods of a store lie; false for a store that the service has not heard of (yet).
func Place(ctx context.Context, r *backbone.Reader, store string) (location string, known bool, err error) {
	rows, err := r.Query(ctx, `SELECT location FROM {places} WHERE store = $1`, store)
	if err != nil {
		return "", false, fmt.Errorf("places: %w", err)
	}
	defer rows.Close()
	if rows.Next() {
		known, err = true, rows.Scan(&location)
	}
	if err == nil {
		err = rows.Err()
	}
	return location, known, err
}

// SKU returns the SKU of a store's goods that was scanned as a SKU, a barcode or a product's id; false for what nobody knows.
func SKU(ctx context.Context, r *backbone.Reader, store, scanned string) (sku string, known bool, err error) {
	rows, err := r.Query(ctx, `SELECT sku FROM {goods} WHERE store = $1 AND (sku = $2 OR barcode = $2 OR product = $2)
		ORDER BY CASE WHEN sku = $2 THEN 0 WHEN barcode = $2 THEN 1 ELSE 2 END, product LIMIT 1`, store, scanned)
	if err != nil {
		return "", false, fmt.Errorf("goods: %w", err)
	}
	defer rows.Close()
	if rows.Next() {
		known, err = true, rows.Scan(&sku)
	}
	if err == nil {
		err = rows.Err()
	}
	return sku, known, err
}

// StoresAt returns the stores whose goods lie at a location, in the order of their ids.
func StoresAt(ctx context.Context, r *backbone.Reader, location string) ([]string, error) {
	rows, err := r.Query(ctx, `SELECT store FROM {places} WHERE location = $1 ORDER BY store`, location)
	if err != nil {
		return nil, fmt.Errorf("places: %w", err)
	}
	defer rows.Close()
	var list []string
	for rows.Next() {
		var store string
		if err := rows.Scan(&store); err != nil {
			return nil, fmt.Errorf("places: %w", err)
		}
		list = append(list, store)
	}
	return list, rows.Err()
}
