package analytics

import (
	"cmp"
	"context"
	"fmt"
	"math/bits"
	"slices"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/mall"
)

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

// By says what sales are told apart by.
type By string

// What sales can be told apart by.
const (
	ByHour    By = "hour"
	ByShop    By = "shop"
	ByProduct By = "product" // a SKU of a shop
)

// Bys lists them all.
func Bys() []By { return []By{ByHour, ByShop, ByProduct} }

// Figure is what was sold in one hour, by one shop, or of one product, in one currency: by orders that are approved and were not undone, as
// they are now, and to visitors who walked out with goods that have a price. What visitors bought is in the sums and stands apart as well.
type Figure struct {
	Hour time.Time // where it begins, in UTC; zero: not by the hour
	Shop string    // empty: not by the shop, or nobody knows it
	SKU  string    // empty: not by the product

	Orders      int64 // with something of it
	WalkIns     int64 // visits with something of it
	Units       int64
	WalkInUnits int64
	Sold        mall.Money
	WalkInSold  mall.Money
	Refunded    mall.Money // of what was sold; what was given back because goods were missing is not in Sold in the first place
}

// Net returns what was sold less what was given back of it.
func (f *Figure) Net() mall.Money {
	return mall.Money{Amount: f.Sold.Amount - f.Refunded.Amount, Currency: f.Sold.Currency}
}

// compare tells figures apart by their groups. Databases sort texts by the language that they were set up for; here bytes count.
func (f *Figure) compare(other *Figure) int {
	return cmp.Or(f.Hour.Compare(other.Hour), cmp.Compare(f.Shop, other.Shop), cmp.Compare(f.SKU, other.SKU),
		cmp.Compare(f.Sold.Currency, other.Sold.Currency))
}

// sold selects, for each trade in a span that counts, what it has of each product of each shop. An order that has nothing left of a product does
// not count there.
const sold = `SELECT t.kind, t.id, t.placed, COALESCE(NULLIF(l.store, ''), g.store, '') AS store, l.sku AS sku, l.currency AS currency,
		SUM(l.quantity) AS units, SUM(l.quantity * l.price) AS amount
	FROM {trades} AS t JOIN {lines} AS l ON l.kind = t.kind AND l.trade = t.id LEFT JOIN {goods} AS g ON g.product = l.product
	WHERE t.placed > 0 AND t.placed >= $1 AND t.placed < $2
		AND (t.kind = 'visit' OR t.approved > 0 AND t.rejected = 0 AND t.canceled = 0 AND t.expired = 0)
	GROUP BY 1, 2, 3, 4, 5, 6
	HAVING SUM(l.quantity) > 0`

// hourly is the hour of a trade s.
const hourly = `s.placed / 3600000000 * 3600000000`

// groups says how a trade s is told apart: its hour, its shop, its SKU.
var groups = map[By]string{
	ByHour:    hourly + `, '', ''`,
	ByShop:    `0, s.store, ''`,
	ByProduct: `0, s.store, s.sku`,
}

// SalesBy returns what was sold by orders that were placed, and to visitors who left, in [from, until), by hour, shop or product and by
// currency, in the order of those. Each counts when it happened, whenever it was heard of. A refund of several products is divided among them by what
// they cost; to the last minor unit its parts are the whole.
func SalesBy(ctx context.Context, r *backbone.Reader, by By, from, until time.Time) ([]Figure, error) {
	group, known := groups[by]
	if !known {
		return nil, &mall.FieldError{Field: "by", Reason: "must be hour, shop or product"}
	}
	rows, err := r.Query(ctx, `SELECT `+group+`, s.currency, COUNT(DISTINCT CASE WHEN s.kind = 'order' THEN s.id END),
			COUNT(DISTINCT CASE WHEN s.kind = 'visit' THEN s.id END), CAST(SUM(s.units) AS BIGINT),
			CAST(SUM(CASE WHEN s.kind = 'visit' THEN s.units ELSE 0 END) AS BIGINT), CAST(SUM(s.amount) AS BIGINT),
			CAST(SUM(CASE WHEN s.kind = 'visit' THEN s.amount ELSE 0 END) AS BIGINT)
		FROM (`+sold+`) AS s GROUP BY 1, 2, 3, 4`, from.UnixMicro(), until.UnixMicro())
	if err != nil {
		return nil, fmt.Errorf("sales: %w", err)
	}
	list, err := collect(rows, "sales", func(f *Figure, scan func(...any) error) error {
		var hour int64
		err := scan(&hour, &f.Shop, &f.SKU, &f.Sold.Currency, &f.Orders, &f.WalkIns, &f.Units, &f.WalkInUnits, &f.Sold.Amount, &f.WalkInSold.Amount)
		if hour > 0 {
			f.Hour = time.UnixMicro(hour).UTC()
		}
		f.WalkInSold.Currency, f.Refunded.Currency = f.Sold.Currency, f.Sold.Currency
		return err
	})
	if err != nil {
		return nil, err
	}
	back, err := refunds(ctx, r, group, from, until)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b Figure) int { return a.compare(&b) })
	for i := range list {
		f := &list[i]
		f.Refunded.Amount = back[Figure{Hour: f.Hour, Shop: f.Shop, SKU: f.SKU, Sold: mall.Money{Currency: f.Sold.Currency}}]
	}
	return list, nil
}

// part is what one trade that money was given back of has of one group.
type part struct {
	kind, id        string
	group           Figure // what is told apart, and the currency
	amount          int64
	returned, taken int64 // of the whole trade
}

// refunds returns what was given back of what is still sold, by group.
func refunds(ctx context.Context, r *backbone.Reader, group string, from, until time.Time) (map[Figure]int64, error) {
	rows, err := r.Query(ctx, `SELECT s.kind, s.id, `+group+`, s.currency, CAST(SUM(s.amount) AS BIGINT), b.returned,
			COALESCE((SELECT CAST(SUM(m.amount) AS BIGINT) FROM {moves} AS m WHERE m.kind = s.kind AND m.trade = s.id AND m.what = 'taken'), 0)
		FROM (`+sold+`) AS s JOIN (
			SELECT r.kind AS kind, CASE WHEN r.trade = '' THEN c.trade ELSE r.trade END AS trade, CAST(SUM(r.amount) AS BIGINT) AS returned
			FROM {moves} AS r LEFT JOIN {moves} AS c ON r.trade = '' AND c.what = 'taken' AND c.payment = r.payment
			WHERE r.what = 'returned' GROUP BY 1, 2) AS b ON b.kind = s.kind AND b.trade = s.id
		GROUP BY 1, 2, 3, 4, 5, 6, b.returned`, from.UnixMicro(), until.UnixMicro())
	if err != nil {
		return nil, fmt.Errorf("refunds: %w", err)
	}
	list, err := collect(rows, "refunds", func(p *part, scan func(...any) error) error {
		var hour int64
		err := scan(&p.kind, &p.id, &hour, &p.group.Shop, &p.group.SKU, &p.group.Sold.Currency, &p.amount, &p.returned, &p.taken)
		if hour > 0 {
			p.group.Hour = time.UnixMicro(hour).UTC()
		}
		return err
	})
	slices.SortFunc(list, func(a, b part) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.id, b.id), a.group.compare(&b.group))
	})
	back := map[Figure]int64{}
	for len(list) > 0 {
		n := 1
		for n < len(list) && list[n].kind == list[0].kind && list[n].id == list[0].id {
			n++
		}
		amounts := make([]int64, n)
		total := int64(0)
		for i, p := range list[:n] {
			amounts[i] = p.amount
			total += p.amount
		}
		// What was taken beyond what is left of the trade had to be given back anyway, and is not in what was sold.
		extra := min(total, list[0].returned-max(0, list[0].taken-total))
		for i, share := range divide(extra, amounts) {
			back[list[i].group] += share
		}
		list = list[n:]
	}
	return back, err
}

// divide divides an amount, which is at most the sum of the weights, by them, without a remainder. None gets more than its weight.
func divide(amount int64, weights []int64) []int64 {
	shares := make([]int64, len(weights))
	total := uint64(0)
	for _, w := range weights {
		total += uint64(w)
	}
	if amount <= 0 || total == 0 {
		return shares
	}
	sum, given := uint64(0), uint64(0)
	for i, w := range weights {
		sum += uint64(w)
		high, low := bits.Mul64(uint64(amount), sum)
		upTo, _ := bits.Div64(high, low, total)
		shares[i] = int64(upTo - given)
		given = upTo
	}
	return shares
}

// Path is a way to a sale.
type Path string

// The ways to a sale.
const (
	FromBasket Path = "basket"  // a basket, which becomes an order
	Direct     Path = "direct"  // an order without a basket
	WalkIn     Path = "walk-in" // a visit to a shop
)

// The steps on them, in their order. All but the last three are those of baskets, those from StepPlaced on those of direct orders.
const (
	StepStarted    = "started"
	StepCheckedOut = "checked_out"
	StepPlaced     = "placed"
	StepApproved   = "approved"
	StepReady      = "ready"
	StepPaid       = "paid" // and ready
	StepCompleted  = "completed"

	StepLeft    = "left"
	StepOwing   = "owing" // had something with them that has a price
	StepCharged = "charged"
)

// Step is how many came as far as a step of a path, and what became of those that did not come to the next one. The next step's
// Reached and these add up to Reached; at the last one nobody is missing.
type Step struct {
	Path     Path
	Step     string
	Reached  int64
	Waiting  int64 // nothing is decided yet
	Rejected int64 // orders; of visits those of which a charge failed
	Canceled int64
	Expired  int64
	Free     int64 // visitors who had nothing to pay with them
}

// What became of who did not come further.
const (
	fateWaiting  = "waiting"
	fateRejected = "rejected"
	fateCanceled = "canceled"
	fateExpired  = "expired"
	fateFree     = "free"
	fateDone     = "done"
)

var paths = []struct {
	path  Path
	steps []string
	sql   string // returns step from 0, fate and number
}{
	{FromBasket, []string{StepStarted, StepCheckedOut, StepPlaced, StepApproved, StepReady, StepPaid, StepCompleted}, `
		SELECT CASE WHEN b.checked_out = 0 THEN 0 WHEN COALESCE(t.placed, 0) = 0 THEN 1 ELSE 2 + ` + depth + ` END,
			CASE WHEN b.checked_out = 0 AND b.canceled > 0 THEN 'canceled' WHEN b.checked_out = 0 AND b.expired > 0 THEN 'expired'
				WHEN b.checked_out = 0 OR COALESCE(t.placed, 0) = 0 THEN 'waiting' ELSE ` + fate + ` END, COUNT(*)
		FROM {started} AS b LEFT JOIN {trades} AS t ON t.kind = 'order' AND t.id = b.order_id
		WHERE b.began > 0 AND b.began >= $1 AND b.began < $2 GROUP BY 1, 2`},
	{Direct, []string{StepPlaced, StepApproved, StepReady, StepPaid, StepCompleted}, `
		SELECT ` + depth + `, ` + fate + `, COUNT(*) FROM {trades} AS t
		WHERE t.kind = 'order' AND t.basket = '' AND t.placed > 0 AND t.placed >= $1 AND t.placed < $2 GROUP BY 1, 2`},
	{WalkIn, []string{StepLeft, StepOwing, StepCharged}, `
		SELECT CASE WHEN v.due = 0 THEN 0 WHEN v.taken < v.due THEN 1 ELSE 2 END,
			CASE WHEN v.due = 0 AND (v.approved = 0 OR v.unpriced > 0) THEN 'waiting' WHEN v.due = 0 THEN 'free'
				WHEN v.taken >= v.due THEN 'done' WHEN v.failed > 0 THEN 'rejected' ELSE 'waiting' END, COUNT(*)
		FROM (SELECT t.approved,
			t.unpriced - COALESCE((SELECT CAST(SUM(l.quantity) AS BIGINT) FROM {lines} AS l WHERE l.kind = t.kind AND l.trade = t.id AND l.part <> ''), 0) AS unpriced,
			COALESCE((SELECT CAST(SUM(l.quantity * l.price) AS BIGINT) FROM {lines} AS l WHERE l.kind = t.kind AND l.trade = t.id), 0) AS due,
			COALESCE((SELECT CAST(SUM(m.amount) AS BIGINT) FROM {moves} AS m WHERE m.kind = t.kind AND m.trade = t.id AND m.what = 'taken'), 0) AS taken,
			COALESCE((SELECT CAST(SUM(m.amount) AS BIGINT) FROM {moves} AS m WHERE m.kind = t.kind AND m.trade = t.id AND m.what = 'failed'), 0) AS failed
			FROM {trades} AS t WHERE t.kind = 'visit' AND t.placed > 0 AND t.placed >= $1 AND t.placed < $2) AS v GROUP BY 1, 2`},
}

const (
	// depth is how far an order t has come, from its being placed on.
	depth = `CASE WHEN t.approved = 0 THEN 0 WHEN t.readied = 0 THEN 1 WHEN t.paid = 0 THEN 2 WHEN t.completed = 0 THEN 3 ELSE 4 END`
	// An order that is said to be completed before all that led there was heard of waits to be.
	fate = `CASE WHEN ` + depth + ` = 4 THEN 'done' WHEN t.rejected > 0 THEN 'rejected' WHEN t.canceled > 0 THEN 'canceled'
		WHEN t.expired > 0 THEN 'expired' ELSE 'waiting' END`
)

// Funnel returns how far baskets came that were started, orders without a basket that were placed, and visitors who left, in [from, until).
func Funnel(ctx context.Context, r *backbone.Reader, from, until time.Time) ([]Step, error) {
	var all []Step
	for _, p := range paths {
		rows, err := r.Query(ctx, p.sql, from.UnixMicro(), until.UnixMicro())
		if err != nil {
			return nil, fmt.Errorf("funnel: %w", err)
		}
		type line struct {
			step, number int64
			fate         string
		}
		list, err := collect(rows, "funnel", func(l *line, scan func(...any) error) error { return scan(&l.step, &l.fate, &l.number) })
		if err != nil {
			return nil, err
		}
		steps := make([]Step, len(p.steps))
		for i, name := range p.steps {
			s := &steps[i]
			s.Path, s.Step = p.path, name
			fates := map[string]*int64{
				fateWaiting: &s.Waiting, fateRejected: &s.Rejected, fateCanceled: &s.Canceled, fateExpired: &s.Expired, fateFree: &s.Free, fateDone: new(int64),
			}
			for _, l := range list {
				if l.step >= int64(i) {
					s.Reached += l.number
				}
				if l.step == int64(i) {
					*fates[l.fate] += l.number
				}
			}
		}
		all = append(all, steps...)
	}
	return all, nil
}

// Wait is how long orders took to be ready.
type Wait struct {
	Since  string // StepPlaced or StepApproved
	Orders int64
	// Half and Most are how long it took at most for half of them and for 95 in 100; 0 where there are none.
	Half, Most time.Duration
}

// TimeToReady returns how long the orders that were placed in [from, until) and became ready took, since they were placed and since they were approved.
func TimeToReady(ctx context.Context, r *backbone.Reader, from, until time.Time) ([]Wait, error) {
	var all []Wait
	for _, since := range []struct{ step, took string }{
		{StepPlaced, `t.readied - t.placed`},
		{StepApproved, `t.readied - t.approved`},
	} {
		rows, err := r.Query(ctx, `SELECT w.n, w.total, w.took FROM (
				SELECT `+since.took+` AS took, ROW_NUMBER() OVER (ORDER BY `+since.took+`, t.id) AS n, COUNT(*) OVER () AS total
				FROM {trades} AS t WHERE t.kind = 'order' AND t.readied > 0 AND t.approved > 0 AND t.placed > 0 AND t.placed >= $1 AND t.placed < $2) AS w
			WHERE w.n = (w.total * 50 + 99) / 100 OR w.n = (w.total * 95 + 99) / 100 ORDER BY w.n`, from.UnixMicro(), until.UnixMicro())
		if err != nil {
			return nil, fmt.Errorf("time to ready: %w", err)
		}
		type line struct{ n, total, took int64 }
		list, err := collect(rows, "time to ready", func(l *line, scan func(...any) error) error { return scan(&l.n, &l.total, &l.took) })
		if err != nil {
			return nil, err
		}
		w := Wait{Since: since.step}
		if len(list) > 0 {
			first, last := list[0], list[len(list)-1]
			w.Orders, w.Half, w.Most = last.total, time.Duration(first.took)*time.Microsecond, time.Duration(last.took)*time.Microsecond
		}
		all = append(all, w)
	}
	return all, nil
}
