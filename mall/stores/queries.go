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
	Category     string     `json:"category,omitempty"`
	Name         string     `json:"name"`
	Description  string     `json:"description,omitempty"`
	Price        mall.Money `json:"price"`
	PriceVersion int64      `json:"priceVersion"`
	// Orderable says that the product is in the catalogue and its store takes part.
	Orderable bool `json:"orderable"`
	// Removed says that it was taken out of the catalogue for good.
	Removed bool `json:"removed,omitempty"`
}

// Price is one of the prices that a product has had.
type Price struct {
	Version int64      `json:"version"`
	Price   mall.Money `json:"price"`
	Since   time.Time  `json:"since"`
}

const selectProducts = `SELECT p.product, p.store, s.location, p.sku, p.barcode, p.category, p.name, p.description,
	p.price, p.currency, p.price_version, CASE WHEN p.removed = 0 AND s.participating = 1 THEN 1 ELSE 0 END, p.removed
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

// FindSKU returns the product that has a SKU, whether it can be ordered now or not; false when there is none, or it was removed.
func FindSKU(ctx context.Context, r *backbone.Reader, sku string) (Product, bool, error) {
	return first(ctx, r, selectProducts+`WHERE p.sku = $1 AND p.removed = 0 ORDER BY p.product LIMIT 1`, sku)
}

// OfSKU returns the product that has a SKU, whatever became of it; false when there never was one. One that is not removed is taken before those that are.
func OfSKU(ctx context.Context, r *backbone.Reader, sku string) (Product, bool, error) {
	return first(ctx, r, selectProducts+`WHERE p.sku = $1 ORDER BY p.removed, p.product LIMIT 1`, sku)
}

// FindBarcode returns the product that can be ordered and has a barcode; false when there is none. store is the shop that sells it, ""
// any; of several products the one with the least id is taken.
func FindBarcode(ctx context.Context, r *backbone.Reader, store, barcode string) (Product, bool, error) {
	if barcode == "" {
		return Product{}, false, nil // is on many
	}
	return first(ctx, r, selectProducts+`WHERE p.barcode = $1 AND ($2 = '' OR p.store = $2)
		AND p.removed = 0 AND s.participating = 1 ORDER BY p.product LIMIT 1`, barcode, store)
}

// Filter selects products. The zero value is all that are not removed.
type Filter struct {
	After     string // the product after which the list begins
	Store     string // the shop that sells them; empty: any
	Category  string // that they are found under; empty: any, and none
	Orderable bool   // only what can be ordered now
}

// List returns up to limit products that are not removed, in the order of their ids.
func List(ctx context.Context, r *backbone.Reader, f Filter, limit int) ([]Product, error) {
	least := 0
	if f.Orderable {
		least = 1
	}
	return query(ctx, r, selectProducts+`WHERE p.product > $1 AND p.removed = 0 AND ($2 = '' OR p.store = $2) AND s.participating >= $3
		AND ($4 = '' OR p.category = $4) ORDER BY p.product LIMIT $5`, f.After, f.Store, least, f.Category, limit)
}

// Categories returns up to limit categories under which something can be ordered, in the order of their names. store is the shop that sells it,
// "" any.
func Categories(ctx context.Context, r *backbone.Reader, store string, limit int) ([]string, error) {
	rows, err := r.Query(ctx, `SELECT DISTINCT p.category FROM {products} p JOIN {stores} s ON s.store = p.store
		WHERE p.category <> '' AND p.removed = 0 AND s.participating = 1 AND ($1 = '' OR p.store = $1) ORDER BY p.category LIMIT $2`, store, limit)
	if err != nil {
		return nil, fmt.Errorf("categories: %w", err)
	}
	defer rows.Close()
	var list []string
	for rows.Next() {
		var category string
		if err := rows.Scan(&category); err != nil {
			return nil, fmt.Errorf("categories: %w", err)
		}
		list = append(list, category)
	}
	return list, rows.Err()
}

// Store is a shop of the mall.
type Store struct {
	Store         string `json:"store"`
	Name          string `json:"name"`
	Location      string `json:"location"` // where its goods lie
	Participating bool   `json:"participating"`
}

// GetStore returns a shop; false when there never was one of that id.
func GetStore(ctx context.Context, r *backbone.Reader, store string) (Store, bool, error) {
	list, err := queryStores(ctx, r, `SELECT store, name, location, participating FROM {stores} WHERE store = $1`, store)
	if err != nil || len(list) == 0 {
		return Store{}, false, err
	}
	return list[0], true, nil
}

// ListStores returns up to limit shops in the order of their ids, beginning after one of them; after "" begins at the first.
// With participating only those that take part are returned.
func ListStores(ctx context.Context, r *backbone.Reader, after string, participating bool, limit int) ([]Store, error) {
	least := 0
	if participating {
		least = 1
	}
	return queryStores(ctx, r, `SELECT store, name, location, participating FROM {stores} WHERE store > $1 AND participating >= $2
		ORDER BY store LIMIT $3`, after, least, limit)
}

func queryStores(ctx context.Context, r *backbone.Reader, sql string, args ...any) ([]Store, error) {
	rows, err := r.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("stores: %w", err)
	}
	defer rows.Close()
	var list []Store
	for rows.Next() {
		var s Store
		var participating int64
		if err := rows.Scan(&s.Store, &s.Name, &s.Location, &participating); err != nil {
			return nil, fmt.Errorf("stores: %w", err)
		}
		s.Participating = participating == 1
		list = append(list, s)
	}
	return list, rows.Err()
}

// PriceAt returns the price that a product had at a time; false when it was not in the catalogue yet.
func PriceAt(ctx context.Context, r *backbone.Reader, product string, at time.Time) (Price, bool, error) {
	list, err := queryPrices(ctx, r, product, `SELECT version, price, currency, since FROM {prices} WHERE product = $1 AND since <= $2
		ORDER BY version DESC LIMIT 1`, product, at.UnixMicro())
	if err != nil || len(list) == 0 {
		return Price{}, false, err
	}
	return list[0], true, nil
}

// Prices returns all prices that a product has had, the first one first.
func Prices(ctx context.Context, r *backbone.Reader, product string) ([]Price, error) {
	return queryPrices(ctx, r, product, `SELECT version, price, currency, since FROM {prices} WHERE product = $1 ORDER BY version`, product)
}

func queryPrices(ctx context.Context, r *backbone.Reader, product, sql string, args ...any) ([]Price, error) {
	rows, err := r.Query(ctx, sql, args...)
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
		var orderable, removed int64
		err := rows.Scan(&p.Product, &p.Store, &p.Location, &p.SKU, &p.Barcode, &p.Category, &p.Name, &p.Description,
			&p.Price.Amount, &p.Price.Currency, &p.PriceVersion, &orderable, &removed)
		if err != nil {
			return nil, fmt.Errorf("catalogue: %w", err)
		}
		p.Orderable, p.Removed = orderable == 1, removed == 1
		list = append(list, p)
	}
	return list, rows.Err()
}
