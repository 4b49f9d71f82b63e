package search

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/event"
)

// found has one key for each order, product, shop and customer, and a row belongs to one of them. What payments say of an order and
// what the order says of itself come in any order, since they are streams of their own: they write columns of their own.
var found = backbone.View{
	Name:   "orders",
	Tables: []string{"found", "terms", "goods", "shops", "people"},
	From:   backbone.FromFirst,
	Projections: []backbone.Projection{
		backbone.ProjectBy(func(e event.OrderPlaced) string { return e.Order }, place),
		status(func(e event.OrderStockReserved) string { return e.Order }, Reserved),
		status(func(e event.OrderBackordered) string { return e.Order }, Backordered),
		status(func(e event.OrderApproved) string { return e.Order }, Approved),
		status(func(e event.OrderPicking) string { return e.Order }, Picking),
		status(func(e event.OrderShort) string { return e.Order }, Short),
		backbone.ProjectBy(func(e event.OrderAmended) string { return e.Order }, amend),
		status(func(e event.OrderReadied) string { return e.Order }, Ready),
		status(func(e event.OrderCompleted) string { return e.Order }, Completed),
		status(func(e event.OrderExpired) string { return e.Order }, Expired),
		backbone.ProjectBy(func(e event.OrderRejected) string { return e.Order },
			func(ctx context.Context, tx backbone.ViewTx, e event.OrderRejected) error {
				return because(ctx, tx, e.Order, Rejected, e.Reason)
			}),
		backbone.ProjectBy(func(e event.OrderCancelling) string { return e.Order },
			func(ctx context.Context, tx backbone.ViewTx, e event.OrderCancelling) error {
				return because(ctx, tx, e.Order, Cancelling, e.Reason)
			}),
		backbone.ProjectBy(func(e event.OrderCanceled) string { return e.Order },
			func(ctx context.Context, tx backbone.ViewTx, e event.OrderCanceled) error {
				return because(ctx, tx, e.Order, Canceled, e.Reason)
			}),
		backbone.ProjectBy(func(e event.OrderPaid) string { return e.Order },
			func(ctx context.Context, tx backbone.ViewTx, e event.OrderPaid) error {
				return tx.Exec(ctx, `UPDATE {found} SET paid = $2, changed = $2 WHERE order_id = $1`, e.Order, now(tx))
			}),
		backbone.ProjectBy(func(e event.OrderCollected) string { return e.Order },
			func(ctx context.Context, tx backbone.ViewTx, e event.OrderCollected) error {
				return tx.Exec(ctx, `UPDATE {found} SET collected = $2, changed = $2 WHERE order_id = $1`, e.Order, now(tx))
			}),

		held(func(e event.PaymentConfirmed) (string, mall.Money) { return e.Order, mall.Money{} }, "confirmed"),
		held(func(e event.PaymentCaptured) (string, mall.Money) { return e.Order, e.Amount }, "captured"),
		held(func(e event.PaymentVoided) (string, mall.Money) { return e.Order, mall.Money{} }, "voided"),
		backbone.ProjectBy(func(e event.PaymentRefunded) string { return e.Order },
			func(ctx context.Context, tx backbone.ViewTx, e event.PaymentRefunded) error {
				return money(ctx, tx, e.Order, columns{refunded: e.Amount.Amount})
			}),
		backbone.ProjectBy(func(e event.InvoiceRefunded) string { return e.Order },
			func(ctx context.Context, tx backbone.ViewTx, e event.InvoiceRefunded) error {
				if e.Payment != "" {
					return nil // that payment gives it back, and is told of as PaymentRefunded
				}
				return money(ctx, tx, e.Order, columns{refunded: e.Amount.Amount})
			}),
		invoiced(func(e event.InvoiceCreated) (string, mall.Money) { return e.Order, e.Amount }, "open"),
		invoiced(func(e event.InvoiceAdjusted) (string, mall.Money) { return e.Order, e.Amount }, "open"),
		invoiced(func(e event.InvoicePaid) (string, mall.Money) { return e.Order, e.Amount }, "paid"),
		invoiced(func(e event.InvoiceCanceled) (string, mall.Money) { return e.Order, mall.Money{} }, "canceled"),

		backbone.ProjectBy(func(e event.ProductAdded) string { return e.Product },
			func(ctx context.Context, tx backbone.ViewTx, e event.ProductAdded) error {
				return tx.Exec(ctx, `INSERT INTO {goods} (product, store, term) VALUES ($1, $2, $3) ON CONFLICT (product) DO NOTHING`,
					e.Product, e.Store, []byte(ofProduct+e.Product))
			}),
		backbone.ProjectBy(func(e event.StoreCreated) string { return e.Store },
			func(ctx context.Context, tx backbone.ViewTx, e event.StoreCreated) error {
				return shop(ctx, tx, e.Store, e.Name)
			}),
		backbone.ProjectBy(func(e event.StoreRebranded) string { return e.Store },
			func(ctx context.Context, tx backbone.ViewTx, e event.StoreRebranded) error {
				return shop(ctx, tx, e.Store, e.Name)
			}),

		backbone.ProjectBy(func(e event.CustomerRegistered) string { return e.Customer },
			func(ctx context.Context, tx backbone.ViewTx, e event.CustomerRegistered) error {
				return tx.Exec(ctx, `INSERT INTO {people} (customer, card, name) VALUES ($1, $2, $3) ON CONFLICT (customer) DO NOTHING`,
					e.Customer, e.Card, string(e.Name))
			}),
		backbone.ProjectBy(func(e event.ContactChanged) string { return e.Customer },
			func(ctx context.Context, tx backbone.ViewTx, e event.ContactChanged) error {
				return tx.Exec(ctx, `UPDATE {people} SET name = $2 WHERE customer = $1`, e.Customer, string(e.Name))
			}),
		backbone.ProjectBy(func(e event.CardLinked) string { return e.Customer },
			func(ctx context.Context, tx backbone.ViewTx, e event.CardLinked) error {
				return tx.Exec(ctx, `UPDATE {people} SET card = $2 WHERE customer = $1`, e.Customer, e.Card)
			}),
		backbone.ProjectBy(func(e event.CustomerForgotten) string { return e.Customer },
			func(ctx context.Context, tx backbone.ViewTx, e event.CustomerForgotten) error {
				return tx.Exec(ctx, `DELETE FROM {people} WHERE customer = $1`, e.Customer)
			}),
	},
}

// The statuses of an order, as customers see them.
const (
	Pending     = "PENDING"
	Reserved    = "RESERVED" // pending or backordered, with its stock held
	Backordered = "BACKORDERED"
	Approved    = "APPROVED"
	Picking     = "PICKING"
	Short       = "SHORT" // goods were not found, and somebody has to decide
	Ready       = "READY"
	Completed   = "COMPLETED"
	Rejected    = "REJECTED"
	Expired     = "EXPIRED"
	Cancelling  = "CANCELLING"
	Canceled    = "CANCELED"
)

// statuses lists them all.
var statuses = []string{
	Pending, Reserved, Backordered, Approved, Picking, Short, Ready, Completed, Rejected, Expired, Cancelling, Canceled,
}

func now(tx backbone.ViewTx) int64 { return tx.Message().Time.UnixMicro() }

// step is how a status is written into a history.
func step(status string, at int64) string { return fmt.Sprintf("%s=%d ", status, at) }

func place(ctx context.Context, tx backbone.ViewTx, e event.OrderPlaced) error {
	items, err := json.Marshal(e.Items)
	if err != nil {
		return err
	}
	at := now(tx)
	err = tx.Exec(ctx, `INSERT INTO {found} (order_id, customer, basket, items, total, currency, payment, status, reason, history, placed, changed,
			paid, collected, held, captured, invoice, invoiced, refunded)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, '', $9, $10, $10, 0, 0, '', 0, '', 0, 0)
		ON CONFLICT (order_id) DO UPDATE SET customer = excluded.customer, basket = excluded.basket, items = excluded.items, total = excluded.total,
			currency = excluded.currency, payment = excluded.payment, status = excluded.status, history = excluded.history,
			placed = excluded.placed, changed = excluded.changed`,
		e.Order, e.Customer, e.Basket, string(items), e.Total.Amount, e.Total.Currency, e.Payment, Pending, step(Pending, at), at)
	if err != nil {
		return err
	}
	list := goodsTerms(e.Items)
	for _, w := range words(e.Order) {
		list = append(list, ofWord+w)
	}
	if e.Basket != "" {
		list = append(list, ofBasket+e.Basket)
	}
	if e.Payment != "" {
		list = append(list, ofPayment+e.Payment)
	}
	return findBy(ctx, tx, e.Order, list)
}

func amend(ctx context.Context, tx backbone.ViewTx, e event.OrderAmended) error {
	err := tx.Exec(ctx, `UPDATE {found} SET total = $2 WHERE order_id = $1`, e.Order, e.Total.Amount)
	if err == nil {
		err = become(ctx, tx, e.Order, Picking)
	}
	if err != nil {
		return err
	}
	return findBy(ctx, tx, e.Order, goodsTerms(e.Substitutes))
}

// status projects an event that says no more of an order than how far it is.
func status[E backbone.Event](order func(E) string, status string) backbone.Projection {
	return backbone.ProjectBy(order, func(ctx context.Context, tx backbone.ViewTx, e E) error {
		return become(ctx, tx, order(e), status)
	})
}

func become(ctx context.Context, tx backbone.ViewTx, order, status string) error {
	at := now(tx)
	return tx.Exec(ctx, `UPDATE {found} SET history = CASE WHEN status = $2 THEN history ELSE history || $3 END, status = $2, changed = $4
		WHERE order_id = $1`, order, status, step(status, at), at)
}

func because(ctx context.Context, tx backbone.ViewTx, order, status, reason string) error {
	err := tx.Exec(ctx, `UPDATE {found} SET reason = $2 WHERE order_id = $1`, order, reason)
	if err != nil {
		return err
	}
	return become(ctx, tx, order, status)
}

// columns is what payments write of an order. An empty text leaves what there is.
type columns struct {
	held, invoice                string
	captured, invoiced, refunded int64
}

// held projects what became of a payment. One that no order has goes by a key of its own, since there is no empty one.
func held[E backbone.Event](of func(E) (order string, captured mall.Money), state string) backbone.Projection {
	return backbone.ProjectBy(
		func(e E) string { order, _ := of(e); return cmp.Or(order, "none") },
		func(ctx context.Context, tx backbone.ViewTx, e E) error {
			order, captured := of(e)
			return money(ctx, tx, order, columns{held: state, captured: captured.Amount})
		})
}

func invoiced[E backbone.Event](of func(E) (order string, asked mall.Money), state string) backbone.Projection {
	return backbone.ProjectBy(
		func(e E) string { order, _ := of(e); return order },
		func(ctx context.Context, tx backbone.ViewTx, e E) error {
			order, asked := of(e)
			return money(ctx, tx, order, columns{invoice: state, invoiced: asked.Amount})
		})
}

// money writes what payments say of an order, whether the order itself was heard of or not. A payment that no order has is none of ours.
func money(ctx context.Context, tx backbone.ViewTx, order string, c columns) error {
	if order == "" {
		return nil
	}
	return tx.Exec(ctx, `INSERT INTO {found} AS f (order_id, customer, basket, items, total, currency, payment, status, reason, history, placed, changed,
			paid, collected, held, captured, invoice, invoiced, refunded)
		VALUES ($1, '', '', '[]', 0, '', '', '', '', '', 0, 0, 0, 0, $2, $3, $4, $5, $6)
		ON CONFLICT (order_id) DO UPDATE SET
			held = CASE WHEN excluded.held = '' THEN f.held ELSE excluded.held END,
			captured = CASE WHEN excluded.held = 'captured' THEN excluded.captured ELSE f.captured END,
			invoice = CASE WHEN excluded.invoice = '' THEN f.invoice ELSE excluded.invoice END,
			invoiced = CASE WHEN excluded.invoice = '' THEN f.invoiced ELSE excluded.invoiced END,
			refunded = f.refunded + excluded.refunded`, order, c.held, c.captured, c.invoice, c.invoiced, c.refunded)
}

func shop(ctx context.Context, tx backbone.ViewTx, store, name string) error {
	return tx.Exec(ctx, `INSERT INTO {shops} (store, name) VALUES ($1, $2) ON CONFLICT (store) DO UPDATE SET name = excluded.name`, store, name)
}

// The kinds of terms.
const (
	ofWord    = "w"
	ofProduct = "g"
	ofSKU     = "k"
	ofStore   = "s"
	ofBasket  = "b"
	ofPayment = "p"
)

// goodsTerms returns what an order with these items is found by.
func goodsTerms(items []mall.Item) []string {
	var list []string
	for _, i := range items {
		list = append(list, ofProduct+i.Product, ofSKU+i.SKU)
		if i.Store != "" {
			list = append(list, ofStore+i.Store)
		}
		for _, w := range words(i.Name + " " + i.StoreName) {
			list = append(list, ofWord+w)
		}
	}
	return list
}

// findBy adds terms to an order. They are written some at a time, so that all orders are written by the same statement.
func findBy(ctx context.Context, tx backbone.ViewTx, order string, terms []string) error {
	slices.Sort(terms)
	terms = slices.Compact(terms)
	const some = 6
	for part := range slices.Chunk(terms, some) {
		args := []any{order}
		for i := range some {
			args = append(args, []byte(part[min(i, len(part)-1)]))
		}
		err := tx.Exec(ctx, `INSERT INTO {terms} (term, order_id) VALUES ($2, $1), ($3, $1), ($4, $1), ($5, $1), ($6, $1), ($7, $1)
			ON CONFLICT (term, order_id) DO NOTHING`, args...)
		if err != nil {
			return err
		}
	}
	return nil
}

const (
	maxWord  = 32  // of its runes count
	maxWords = 400 // of a text are kept
)

// words returns the words of a text in the form in which they are kept and looked for: runs of letters and digits, in small letters, without accents.
func words(text string) []string {
	var list []string
	for _, w := range strings.FieldsFunc(text, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.Is(unicode.Mn, r)
	}) {
		var b strings.Builder
		n := 0
		for _, r := range w {
			if unicode.Is(unicode.Mn, r) || n == maxWord {
				continue
			}
			n++
			plain(&b, unicode.ToLower(r))
		}
		if b.Len() > 0 && len(list) < maxWords {
			list = append(list, b.String())
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// accents has Latin letters beside those that they are looked up as.
var accents = func() map[rune]string {
	table := map[rune]string{}
	for plain, letters := range map[string]string{
		"a": "àáâãäåāăą", "c": "çćĉċč", "d": "ďđð", "e": "èéêëēĕėęě", "g": "ĝğġģ", "h": "ĥħ", "i": "ìíîïĩīĭįı", "j": "ĵ", "k": "ķ",
		"l": "ĺļľŀł", "n": "ñńņňŋ", "o": "òóôõöøōŏő", "r": "ŕŗř", "s": "śŝşšș", "t": "ţťŧț", "u": "ùúûüũūŭůűų", "w": "ŵ", "y": "ýÿŷ",
		"z": "źżž", "ae": "æ", "oe": "œ", "ss": "ß", "th": "þ",
	} {
		for _, r := range letters {
			table[r] = plain
		}
	}
	return table
}()

// plain writes a small letter without its accent.
func plain(b *strings.Builder, r rune) {
	if r < utf8.RuneSelf {
		b.WriteByte(byte(r))
	} else if without, ok := accents[r]; ok {
		b.WriteString(without)
	} else {
		b.WriteRune(r)
	}
}
