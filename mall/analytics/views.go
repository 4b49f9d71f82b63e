package analytics

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/event"
)

// all is the key of every row: an hour and a product belong to many orders, so their events are counted one after another.
// Sums do not depend on the order in which they are made, so nothing else is asked of it.
func all[E backbone.Event](E) string { return "all" }

var sales = backbone.View{
	Name: "sales",
	From: backbone.FromFirst,
	Projections: []backbone.Projection{
		backbone.ProjectBy(all, func(ctx context.Context, tx backbone.ViewTx, e event.OrderApproved) error {
			return tx.Exec(ctx, `INSERT INTO {sales} AS s (hour, currency, orders, revenue) VALUES ($1, $2, 1, $3)
				ON CONFLICT (hour, currency) DO UPDATE SET orders = s.orders + 1, revenue = s.revenue + excluded.revenue`,
				hourOf(tx.Message().Time), e.Total.Currency, e.Total.Amount)
		}),
	},
}

var outcomes = backbone.View{
	Name: "outcomes",
	From: backbone.FromFirst,
	Projections: []backbone.Projection{
		count[event.OrderPlaced](Placed),
		count[event.OrderApproved](Approved),
		count[event.OrderBackordered](Backordered),
		count[event.OrderRejected](Rejected),
		count[event.OrderCanceled](Canceled),
		count[event.OrderExpired](Expired),
		count[event.OrderCompleted](Completed),
	},
}

// count counts one type of event.
func count[E backbone.Event](outcome string) backbone.Projection {
	return backbone.ProjectBy(all[E], func(ctx context.Context, tx backbone.ViewTx, _ E) error {
		return tx.Exec(ctx, `INSERT INTO {outcomes} AS o (hour, outcome, orders) VALUES ($1, $2, 1)
			ON CONFLICT (hour, outcome) DO UPDATE SET orders = o.orders + 1`, hourOf(tx.Message().Time), outcome)
	})
}

var products = backbone.ViewOf("products", backbone.FromFirst, countProducts).KeyedBy(all[event.OrderPlaced])

func countProducts(ctx context.Context, tx backbone.ViewTx, e event.OrderPlaced) error {
	for _, p := range perProduct(e.Items) {
		err := tx.Exec(ctx, `INSERT INTO {products} AS p (product, currency, orders, quantity, amount) VALUES ($1, $2, 1, $3, $4)
			ON CONFLICT (product, currency) DO UPDATE SET orders = p.orders + 1, quantity = p.quantity + excluded.quantity,
			amount = p.amount + excluded.amount`, p.Product, p.Amount.Currency, p.Quantity, p.Amount.Amount)
		if err != nil {
			return err
		}
	}
	return nil
}

// perProduct adds up the items of one order, ordered by product, so that an order counts once for a product that it names
// twice.
func perProduct(items []mall.Item) []Product {
	var list []Product
	for _, i := range items {
		at := slices.IndexFunc(list, func(p Product) bool { return p.Product == i.Product })
		if at < 0 {
			at = len(list)
			list = append(list, Product{Product: i.Product, Orders: 1, Amount: mall.Money{Currency: i.Price.Currency}})
		}
		list[at].Quantity += i.Quantity
		list[at].Amount.Amount += i.Price.Amount * i.Quantity
	}
	slices.SortFunc(list, func(a, b Product) int { return cmp.Compare(a.Product, b.Product) })
	return list
}

func hourOf(t time.Time) int64 { return t.Truncate(time.Hour).UnixMicro() }

// What can become of an order.
const (
	Placed      = "placed"
	Approved    = "approved"
	Backordered = "backordered"
	Rejected    = "rejected"
	Canceled    = "canceled"
	Expired     = "expired"
	Completed   = "completed"
)

// Hour is what was approved in one hour and currency.
type Hour struct {
	Begin   time.Time  `json:"begin"`
	Orders  int64      `json:"orders"`
	Revenue mall.Money `json:"revenue"`
}

// Sales returns the hours that begin in [from, until), oldest first. Hours without orders are left out.
func Sales(ctx context.Context, r *backbone.Reader, from, until time.Time) ([]Hour, error) {
	rows, err := r.Query(ctx, `SELECT hour, currency, orders, revenue FROM {sales} WHERE hour >= $1 AND hour < $2 ORDER BY hour, currency`,
		from.UnixMicro(), until.UnixMicro())
	if err != nil {
		return nil, fmt.Errorf("sales: %w", err)
	}
	return collect(rows, "sales", func(h *Hour, scan func(...any) error) error {
		var begin int64
		err := scan(&begin, &h.Revenue.Currency, &h.Orders, &h.Revenue.Amount)
		h.Begin = time.UnixMicro(begin).UTC()
		return err
	})
}

// Outcomes returns how many orders met each outcome in the hours that begin in [from, until).
func Outcomes(ctx context.Context, r *backbone.Reader, from, until time.Time) (map[string]int64, error) {
	rows, err := r.Query(ctx, `SELECT outcome, orders FROM {outcomes} WHERE hour >= $1 AND hour < $2`, from.UnixMicro(), until.UnixMicro())
	if err != nil {
		return nil, fmt.Errorf("outcomes: %w", err)
	}
	type line struct {
		outcome string
		orders  int64
	}
	list, err := collect(rows, "outcomes", func(l *line, scan func(...any) error) error { return scan(&l.outcome, &l.orders) })
	counts := map[string]int64{}
	for _, l := range list {
		counts[l.outcome] += l.orders
	}
	return counts, err
}

// Product is what was ordered of a product, whatever became of the orders.
type Product struct {
	Product  string     `json:"product"`
	Orders   int64      `json:"orders"`
	Quantity int64      `json:"quantity"`
	Amount   mall.Money `json:"amount"`
}

// Products returns the products of which most was ordered, up to limit.
func Products(ctx context.Context, r *backbone.Reader, limit int) ([]Product, error) {
	rows, err := r.Query(ctx, `SELECT product, currency, orders, quantity, amount FROM {products} ORDER BY quantity DESC, product, currency LIMIT $1`, limit)
	if err != nil {
		return nil, fmt.Errorf("products: %w", err)
	}
	return collect(rows, "products", func(p *Product, scan func(...any) error) error {
		return scan(&p.Product, &p.Amount.Currency, &p.Orders, &p.Quantity, &p.Amount.Amount)
	})
}

// collect reads all rows and closes them.
func collect[T any](rows backbone.Rows, what string, read func(*T, func(...any) error) error) ([]T, error) {
	defer rows.Close()
	var list []T
	for rows.Next() {
		var t T
		if err := read(&t, rows.Scan); err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		list = append(list, t)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return list, nil
}
