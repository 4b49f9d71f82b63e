package stores

import (
	"context"
	"fmt"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/mall"
)

// Product is a line of the catalogue.
type Product struct {
	Product      string     `json:"product"`
	Store        string     `json:"store"`
	Location     string     `json:"location"` // where its goods lie
	SKU          string     `json:"sku"`
	Barcode      string     `json:"barcode,omitempty"`
	Name         string     `json:"name"`
	Description  string     `json:"description,omitempty"`
	Price        mall.Money `json:"price"`
	PriceVersion int64      `json:"priceVersion"`
	// Orderable says that the product is in the catalogue and its store takes part.
	Orderable bool `json:"orderable"`
}

// Price is one of the prices that a product has had.
type Price struct {
	Version int64      `json:"version"`
	Price   mall.Money `json:"price"`
	Since   time.Time  `json:"since"`
}

const selectProducts = `SELECT p.product, p.store, s.location, p.sku, p.barcode, p.name, p.description,
	p.price, p.currency, p.price_version, CASE WHEN p.removed = 0 AND s.participating = 1 THEN 1 ELSE 0 END
	FROM {products} p JOIN {stores} s ON s.store = p.store `

// Get returns a product, removed or not; false when there never was one of that id.
func Get(ctx context.Context, r *backbone.Reader, product string) (Product, bool, error) {
	return first(ctx, r, selectProducts+`WHERE p.product = $1`, product)
}

// Find returns the product that can be ordered under a SKU or, where no SKU is called so, under a name; false when
// there is none. Names are compared as they are written; of several products the one with the least id is taken.
func Find(ctx context.Context, r *backbone.Reader, skuOrName string) (Product, bool, error) {
	const orderable = ` AND p.removed = 0 AND s.participating = 1 ORDER BY p.product LIMIT 1`
	p, found, err := first(ctx, r, selectProducts+`WHERE p.sku = $1`+orderable, skuOrName)
	if err != nil || found {
		return p, found, err
	}
	return first(ctx, r, selectProducts+`WHERE p.name = $1`+orderable, skuOrName)
}

// List returns up to limit products that are not removed, in the order of their ids, beginning after one of them; after
// "" begins at the first.
func List(ctx context.Context, r *backbone.Reader, after string, limit int) ([]Product, error) {
	return query(ctx, r, selectProducts+`WHERE p.product > $1 AND p.removed = 0 ORDER BY p.product LIMIT $2`, after, limit)
}

// Prices returns all prices that a product has had, the first one first.
func Prices(ctx context.Context, r *backbone.Reader, product string) ([]Price, error) {
	rows, err := r.Query(ctx, `SELECT version, price, currency, since FROM {prices} WHERE product = $1 ORDER BY version`, product)
	if err != nil {
		return nil, fmt.Errorf("prices of %s: %w", product, err)
	}
	defer rows.Close()
	var list []Price
	for rows.Next() {
		var p Price
		var since int64
		if err := rows.Scan(&p.Version, &p.Price.Amount, &p.Price.Currency, &since); err != nil {
			return nil, fmt.Errorf("prices of %s: %w", product, err)
		}
		p.Since = time.UnixMicro(since).UTC()
		list = append(list, p)
	}
	return list, rows.Err()
}

func first(ctx context.Context, r *backbone.Reader, sql string, args ...any) (Product, bool, error) {
	list, err := query(ctx, r, sql, args...)
	if err != nil || len(list) == 0 {
		return Product{}, false, err
	}
	return list[0], true, nil
}

func query(ctx context.Context, r *backbone.Reader, sql string, args ...any) ([]Product, error) {
	rows, err := r.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("catalogue: %w", err)
	}
	defer rows.Close()
	var list []Product
	for rows.Next() {
		var p Product
		var orderable int64
		err := rows.Scan(&p.Product, &p.Store, &p.Location, &p.SKU, &p.Barcode, &p.Name, &p.Description,
			&p.Price.Amount, &p.Price.Currency, &p.PriceVersion, &orderable)
		if err != nil {
			return nil, fmt.Errorf("catalogue: %w", err)
		}
		p.Orderable = orderable == 1
		list = append(list, p)
	}
	return list, rows.Err()
}
