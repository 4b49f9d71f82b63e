package analytics

import (
	"cmp"
	"context"
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

// trade has the facts from which sales, the funnel and the time to ready are read: one row an order, a visit, a basket, a line, a
// movement of money. A column is written by one type of event alone and a row of lines or moves by one event alone, so whatever order the services'
// events come in, and however often, the tables are the same. What was not found of an order is reckoned from how it was placed, which is of the same stream.
var trade = backbone.View{
	Name:   "trade",
	Tables: []string{"trades", "lines", "moves", "started", "goods"},
	From:   backbone.FromFirst,
	Projections: []backbone.Projection{
		backbone.ProjectBy(func(e event.OrderPlaced) string { return e.Order }, place),
		backbone.ProjectBy(func(e event.OrderAmended) string { return e.Order }, amend),
		reached(func(e event.OrderApproved) string { return e.Order }, "approved"),
		reached(func(e event.OrderReadied) string { return e.Order }, "readied"),
		reached(func(e event.OrderPaid) string { return e.Order }, "paid"),
		reached(func(e event.OrderCompleted) string { return e.Order }, "completed"),
		reached(func(e event.OrderRejected) string { return e.Order }, "rejected"),
		reached(func(e event.OrderCancelling) string { return e.Order }, "canceled"), // nothing comes back from there
		reached(func(e event.OrderExpired) string { return e.Order }, "expired"),

		backbone.ProjectBy(func(e event.BasketStarted) string { return e.Basket }, start),
		backbone.ProjectBy(func(e event.BasketCheckedOut) string { return e.Basket }, checkOut),
		backbone.ProjectBy(func(e event.BasketCanceled) string { return e.Basket }, giveUp),

		backbone.ProjectBy(func(e event.CustomerDeparted) string { return e.Visit }, depart),
		backbone.ProjectBy(func(e event.PaymentDue) string { return e.Visit }, bill),
		backbone.ProjectBy(func(e event.ItemPriced) string { return e.Visit }, price),

		backbone.ProjectBy(func(e event.PaymentCaptured) string { return e.Payment }, capture),
		backbone.ProjectBy(func(e event.PaymentRefunded) string { return e.Payment }, refund),
		backbone.ProjectBy(func(e event.InvoicePaid) string { return e.Invoice }, payInvoice),
		backbone.ProjectBy(func(e event.InvoiceRefunded) string { return e.Invoice }, refundInvoice),
		backbone.ProjectBy(func(e event.VisitCharged) string { return e.Payment }, charge),
		backbone.ProjectBy(func(e event.VisitChargeFailed) string { return e.Payment }, failCharge),

		backbone.ProjectBy(func(e event.ProductAdded) string { return e.Product }, stock),
	},
}

// The kinds of trades.
const (
	ofOrder = "order"
	ofVisit = "visit"
)

// The kinds of moves.
const (
	taken    = "taken"
	returned = "returned"
	failed   = "failed"
)

func at(tx backbone.ViewTx) int64 { return tx.Message().Time.UnixMicro() }

// mark notes in a column of a trade when it happened. Where it is told twice, it happened when it did first.
func mark(ctx context.Context, tx backbone.ViewTx, kind, id, column string) error {
	return tx.Exec(ctx, `INSERT INTO {trades} AS t (kind, id, `+column+`) VALUES ($1, $2, $3) ON CONFLICT (kind, id) DO UPDATE SET `+
		column+` = CASE WHEN t.`+column+` = 0 OR excluded.`+column+` < t.`+column+` THEN excluded.`+column+` ELSE t.`+column+` END`,
		kind, id, at(tx))
}

// reached projects how far an order has come.
func reached[E backbone.Event](order func(E) string, column string) backbone.Projection {
	return backbone.ProjectBy(order, func(ctx context.Context, tx backbone.ViewTx, e E) error {
		return mark(ctx, tx, ofOrder, order(e), column)
	})
}

func place(ctx context.Context, tx backbone.ViewTx, e event.OrderPlaced) error {
	err := tx.Exec(ctx, `INSERT INTO {trades} (kind, id, placed, basket) VALUES ($1, $2, $3, $4)
		ON CONFLICT (kind, id) DO UPDATE SET placed = excluded.placed, basket = excluded.basket`, ofOrder, e.Order, at(tx), e.Basket)
	for n, i := range e.Items {
		err = cmp.Or(err, sell(ctx, tx, ofOrder, e.Order, "", n, i))
	}
	return err
}

// sell writes a line.
func sell(ctx context.Context, tx backbone.ViewTx, kind, trade, part string, n int, i mall.Item) error {
	return tx.Exec(ctx, `INSERT INTO {lines} (kind, trade, part, n, store, product, sku, currency, price, quantity)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (kind, trade, part, n) DO NOTHING`,
		kind, trade, part, n, i.Store, i.Product, i.SKU, i.Price.Currency, i.Price.Amount, i.Quantity)
}

// amend takes what is missing off the lines of an order, the first ones of a SKU first as mall.Without does, and adds what came instead.
func amend(ctx context.Context, tx backbone.ViewTx, e event.OrderAmended) error {
	this := tx.Message().ID
	left, err := leftOf(ctx, tx, e.Order, this)
	if err != nil {
		return err
	}
	for _, missing := range e.Missing {
		for n := range left {
			gone := min(left[n].Quantity, missing.Quantity)
			if left[n].SKU != missing.SKU || gone == 0 {
				continue
			}
			left[n].Quantity -= gone
			missing.Quantity -= gone
			off := left[n]
			off.Quantity = -gone
			if err := sell(ctx, tx, ofOrder, e.Order, this, n, off); err != nil {
				return err
			}
		}
	}
	for n, i := range e.Substitutes {
		if err := sell(ctx, tx, ofOrder, e.Order, this, len(left)+n, i); err != nil {
			return err
		}
	}
	return nil
}

// leftOf returns the lines of an order as they were placed, less what was missing of them but for what one event says.
func leftOf(ctx context.Context, tx backbone.ViewTx, order, but string) ([]mall.Item, error) {
	rows, err := tx.Query(ctx, `SELECT p.store, p.product, p.sku, p.currency, p.price, p.quantity + COALESCE((SELECT CAST(SUM(o.quantity) AS BIGINT)
			FROM {lines} AS o WHERE o.kind = p.kind AND o.trade = p.trade AND o.n = p.n AND o.part <> '' AND o.part <> $3), 0)
		FROM {lines} AS p WHERE p.kind = $1 AND p.trade = $2 AND p.part = '' ORDER BY p.n`, ofOrder, order, but)
	if err != nil {
		return nil, err
	}
	return collect(rows, "lines of an order", func(i *mall.Item, scan func(...any) error) error {
		return scan(&i.Store, &i.Product, &i.SKU, &i.Price.Currency, &i.Price.Amount, &i.Quantity)
	})
}

func start(ctx context.Context, tx backbone.ViewTx, e event.BasketStarted) error {
	return tx.Exec(ctx, `INSERT INTO {started} (basket, began) VALUES ($1, $2) ON CONFLICT (basket) DO UPDATE SET began = excluded.began`,
		e.Basket, at(tx))
}

func checkOut(ctx context.Context, tx backbone.ViewTx, e event.BasketCheckedOut) error {
	return tx.Exec(ctx, `INSERT INTO {started} (basket, checked_out, order_id) VALUES ($1, $2, $3)
		ON CONFLICT (basket) DO UPDATE SET checked_out = excluded.checked_out, order_id = excluded.order_id`, e.Basket, at(tx), e.Order)
}

func giveUp(ctx context.Context, tx backbone.ViewTx, e event.BasketCanceled) error {
	column := "canceled"
	if e.Reason == mall.ReasonBasketExpired {
		column = "expired"
	}
	return tx.Exec(ctx, `INSERT INTO {started} (basket, `+column+`) VALUES ($1, $2)
		ON CONFLICT (basket) DO UPDATE SET `+column+` = excluded.`+column, e.Basket, at(tx))
}

func depart(ctx context.Context, tx backbone.ViewTx, e event.CustomerDeparted) error {
	return mark(ctx, tx, ofVisit, e.Visit, "placed")
}

func bill(ctx context.Context, tx backbone.ViewTx, e event.PaymentDue) error {
	unpriced := int64(0)
	for _, l := range e.Unpriced {
		unpriced += l.Quantity
	}
	err := tx.Exec(ctx, `INSERT INTO {trades} (kind, id, approved, unpriced) VALUES ($1, $2, $3, $4)
		ON CONFLICT (kind, id) DO UPDATE SET approved = excluded.approved, unpriced = excluded.unpriced`, ofVisit, e.Visit, at(tx), unpriced)
	for n, l := range e.Lines {
		err = cmp.Or(err, sell(ctx, tx, ofVisit, e.Visit, "", n, mall.Item{Store: e.Store, SKU: l.SKU, Price: l.Price, Quantity: l.Quantity}))
	}
	return err
}

func price(ctx context.Context, tx backbone.ViewTx, e event.ItemPriced) error {
	return sell(ctx, tx, ofVisit, e.Visit, tx.Message().ID, 0, mall.Item{Store: e.Store, SKU: e.SKU, Price: e.Price, Quantity: e.Quantity})
}

// move writes what became of money.
func move(ctx context.Context, tx backbone.ViewTx, what, kind, trade, payment string, amount mall.Money) error {
	return tx.Exec(ctx, `INSERT INTO {moves} (event, what, kind, trade, payment, amount) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (event) DO NOTHING`, tx.Message().ID, what, kind, trade, payment, amount.Amount)
}

// capture leaves out the payments of visits, which are told of as VisitCharged.
func capture(ctx context.Context, tx backbone.ViewTx, e event.PaymentCaptured) error {
	if e.Order == "" {
		return nil
	}
	return move(ctx, tx, taken, ofOrder, e.Order, e.Payment, e.Amount)
}

func refund(ctx context.Context, tx backbone.ViewTx, e event.PaymentRefunded) error {
	kind := ofOrder
	if e.Order == "" {
		kind = ofVisit
	}
	return move(ctx, tx, returned, kind, e.Order, e.Payment, e.Amount)
}

// payInvoice leaves out what a payment pays, which is told of as PaymentCaptured; so does refundInvoice.
func payInvoice(ctx context.Context, tx backbone.ViewTx, e event.InvoicePaid) error {
	if e.Payment != "" {
		return nil
	}
	return move(ctx, tx, taken, ofOrder, e.Order, "", e.Amount)
}

func refundInvoice(ctx context.Context, tx backbone.ViewTx, e event.InvoiceRefunded) error {
	if e.Payment != "" {
		return nil
	}
	return move(ctx, tx, returned, ofOrder, e.Order, "", e.Amount)
}

func charge(ctx context.Context, tx backbone.ViewTx, e event.VisitCharged) error {
	return move(ctx, tx, taken, ofVisit, e.Visit, e.Payment, e.Amount)
}

func failCharge(ctx context.Context, tx backbone.ViewTx, e event.VisitChargeFailed) error {
	return move(ctx, tx, failed, ofVisit, e.Visit, e.Payment, e.Amount)
}

func stock(ctx context.Context, tx backbone.ViewTx, e event.ProductAdded) error {
	return tx.Exec(ctx, `INSERT INTO {goods} (product, store) VALUES ($1, $2) ON CONFLICT (product) DO NOTHING`, e.Product, e.Store)
}
