package search

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/mall"
)

// Query says which orders are wanted: those for which everything holds that it says. The zero Query wants all of them.
type Query struct {
	Order    string
	Customer string
	Card     string   // the loyalty card of the customer, as it is linked now
	Statuses []string // any of these
	Store    string   // sells something in it
	Product  string   // a product, or a SKU
	Basket   string   // that was checked out
	Payment  string   // that it is or was to be paid with
	Method   Method
	Paid     *bool
	// Currency, Least and Most bound the total, in minor units; Most 0 is no bound.
	Currency    string
	Least, Most int64
	// From and Until bound when it was placed: at From or later, before Until. The zero time is no bound.
	From, Until time.Time
	// Text has words that all stand in the order's id or in what its goods and shops were called when it was placed. Each is
	// the beginning of a word or all of it; neither case nor accents count.
	Text string

	// Limit is the greatest number of orders to return; default 50, at most MaxLimit.
	Limit int
	// Cursor goes on after a page that was read before; see Page.
	Cursor string
}

// Method says how an order is paid.
type Method string

// The methods; the empty one is any.
const (
	Prepaid Method = "prepaid"
	AtDepot Method = "depot"
)

// Bounds of a query.
const (
	MaxLimit   = 500
	MaxText    = 256 // bytes
	usualLimit = 50
	queryMost  = 8 // words of a text
)

// Page is a piece of what was found, newest first.
type Page struct {
	Orders []Order
	// Next is the Cursor of what follows, empty where that was all. It names the last order of the page by when it was placed, which does not change: going
	// on with it neither repeats nor leaves out an order that was there when the first page was read, whatever has happened since.
	Next string
}

// Order is an order that was found.
type Order struct {
	ID       string
	Customer string
	Name     mall.Personal // of the customer; empty where they were forgotten
	Basket   string
	Items    []mall.Item // as they were ordered, with the shop of each where it is known and what the shop is called now
	Total    mall.Money  // as of now
	Status   string
	Reason   string // why it was rejected or cancelled
	History  []Step // oldest first
	Placed   time.Time
	Changed  time.Time

	Payment   string    // that it is paid with; empty: at the depot
	Paid      time.Time // zero: not yet
	Collected time.Time // zero: not yet
	Money     Money
}

// Step says since when an order has had a status.
type Step struct {
	Status string
	Since  time.Time
}

// Money is what payments say of an order, which may be a moment before or after what the order says of itself.
type Money struct {
	Payment  string // what became of the payment: confirmed, captured, voided; empty: it has none
	Captured mall.Money
	Invoice  string // open, paid or canceled; empty: it has none
	Invoiced mall.Money
	Refunded mall.Money
}

// Find returns a page of the orders that are wanted. An error of type *mall.FieldError names what makes no sense in the query.
func Find(ctx context.Context, r *backbone.Reader, q Query) (Page, error) {
	sql, args, limit, err := q.statement()
	if err != nil {
		return Page{}, err
	}
	list, err := read(ctx, r, sql, args)
	if err != nil {
		return Page{}, fmt.Errorf("find orders: %w", err)
	}
	var page Page
	if len(list) > limit {
		list = list[:limit]
		page.Next = cursor{list[limit-1].Placed.UnixMicro(), list[limit-1].ID}.String()
	}
	page.Orders = list
	if err := nameShops(ctx, r, list); err != nil {
		return Page{}, fmt.Errorf("find orders: %w", err)
	}
	return page, nil
}

const selected = `SELECT f.order_id, f.customer, COALESCE(p.name, ''), f.basket, f.items, f.total, f.currency, f.payment, f.status, f.reason, f.history,
	f.placed, f.changed, f.paid, f.collected, f.held, f.captured, f.invoice, f.invoiced, f.refunded
	FROM {found} AS f LEFT JOIN {people} AS p ON p.customer = f.customer`

// statement is the query as SQL, with one order more than the page has.
func (q *Query) statement() (sql string, args []any, limit int, err error) {
	if err := q.Check(); err != nil {
		return "", nil, 0, err
	}
	where := []string{"f.placed > 0"}
	// and adds a condition; each ? in it stands for the next argument.
	and := func(condition string, values ...any) {
		for _, v := range values {
			args = append(args, v)
			condition = strings.Replace(condition, "?", "$"+strconv.Itoa(len(args)), 1)
		}
		where = append(where, condition)
	}
	if q.Order != "" {
		and(`f.order_id = ?`, q.Order)
	}
	if q.Customer != "" {
		and(`f.customer = ?`, q.Customer)
	}
	if q.Card != "" {
		and(`f.customer IN (SELECT customer FROM {people} WHERE card = ?)`, q.Card)
	}
	if len(q.Statuses) > 0 {
		wanted := make([]any, len(q.Statuses))
		for i, s := range q.Statuses {
			wanted[i] = s
		}
		and(`f.status IN (?`+strings.Repeat(`, ?`, len(wanted)-1)+`)`, wanted...)
	}
	if q.Store != "" {
		// Where an order does not say who sells a product, the catalogue does.
		and(`f.order_id IN (SELECT order_id FROM {terms} WHERE term = ? OR term IN (SELECT term FROM {goods} WHERE store = ?))`,
			[]byte(ofStore+q.Store), q.Store)
	}
	if q.Product != "" {
		and(`f.order_id IN (SELECT order_id FROM {terms} WHERE term IN (?, ?))`, []byte(ofProduct+q.Product), []byte(ofSKU+q.Product))
	}
	const has = `f.order_id IN (SELECT order_id FROM {terms} WHERE term = ?)`
	if q.Basket != "" {
		and(has, []byte(ofBasket+q.Basket))
	}
	if q.Payment != "" {
		and(has, []byte(ofPayment+q.Payment))
	}
	for _, w := range words(q.Text) {
		and(`f.order_id IN (SELECT order_id FROM {terms} WHERE term >= ? AND term < ?)`, []byte(ofWord+w), append([]byte(ofWord+w), afterAll))
	}
	switch q.Method {
	case Prepaid:
		and(`f.payment <> ''`)
	case AtDepot:
		and(`f.payment = ''`)
	}
	if q.Paid != nil && *q.Paid {
		and(`f.paid > 0`)
	} else if q.Paid != nil {
		and(`f.paid = 0`)
	}
	if q.Currency != "" {
		and(`f.currency = ?`, q.Currency)
	}
	if q.Least > 0 {
		and(`f.total >= ?`, q.Least)
	}
	if q.Most > 0 {
		and(`f.total <= ?`, q.Most)
	}
	if !q.From.IsZero() {
		and(`f.placed >= ?`, q.From.UnixMicro())
	}
	if !q.Until.IsZero() {
		and(`f.placed < ?`, q.Until.UnixMicro())
	}
	if q.Cursor != "" {
		c, err := cursorOf(q.Cursor)
		if err != nil {
			return "", nil, 0, err
		}
		and(`(f.placed < ? OR (f.placed = ? AND f.order_id < ?))`, c.placed, c.placed, c.order)
	}
	limit = min(q.Limit, MaxLimit)
	if limit == 0 {
		limit = usualLimit
	}
	args = append(args, limit+1)
	return selected + ` WHERE ` + strings.Join(where, ` AND `) + ` ORDER BY f.placed DESC, f.order_id DESC LIMIT $` + strconv.Itoa(len(args)), args, limit, nil
}

// afterAll is greater than every byte of a word in UTF-8.
const afterAll = 0xff

// Check finds what makes no sense: an error of type *mall.FieldError.
func (q *Query) Check() error {
	wrong := func(field, reason string) error { return &mall.FieldError{Field: field, Reason: reason} }
	for _, id := range []struct{ field, value string }{
		{"order", q.Order}, {"customer", q.Customer}, {"store", q.Store}, {"product", q.Product}, {"basket", q.Basket}, {"payment", q.Payment}, {"card", q.Card},
	} {
		if id.value != "" && mall.ValidID(id.value) != nil {
			return wrong(id.field, "must be 1 to 64 letters, digits, _ or -")
		}
	}
	for i, s := range q.Statuses {
		if !IsStatus(s) {
			return wrong(fmt.Sprintf("statuses[%d]", i), "is not the status of an order")
		}
	}
	switch {
	case len(q.Statuses) > len(statuses):
		return wrong("statuses", "names more than there are")
	case q.Method != "" && q.Method != Prepaid && q.Method != AtDepot:
		return wrong("method", "must be "+string(Prepaid)+" or "+string(AtDepot))
	case q.Currency != "" && mall.ValidCurrency(q.Currency) != nil:
		return wrong("currency", "must be three capital letters")
	case q.Least < 0:
		return wrong("least", "must not be negative")
	case q.Most < 0:
		return wrong("most", "must not be negative")
	case q.Limit < 0:
		return wrong("limit", "must not be negative")
	case len(q.Text) > MaxText:
		return wrong("text", fmt.Sprintf("must have at most %d bytes", MaxText))
	case q.Text != "" && len(words(q.Text)) == 0:
		return wrong("text", "has no word in it")
	case len(words(q.Text)) > queryMost:
		return wrong("text", fmt.Sprintf("must have at most %d words", queryMost))
	}
	return nil
}

// cursor names the last order of a page.
type cursor struct {
	placed int64
	order  string
}

// String returns what Page.Next is: letters, digits, _ and - only.
func (c cursor) String() string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(c.placed, 10) + "." + c.order))
}

func cursorOf(text string) (cursor, error) {
	bad := &mall.FieldError{Field: "cursor", Reason: "is none that a page came with"}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return cursor{}, bad
	}
	placed, order, _ := strings.Cut(string(raw), ".")
	c := cursor{order: order}
	if c.placed, err = strconv.ParseInt(placed, 10, 64); err != nil || c.placed <= 0 || mall.ValidID(order) != nil {
		return cursor{}, bad
	}
	return c, nil
}

func read(ctx context.Context, r *backbone.Reader, sql string, args []any) ([]Order, error) {
	rows, err := r.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []Order
	for rows.Next() {
		var o Order
		var name, items, history, currency string
		var placed, changed, paid, collected int64
		if err := rows.Scan(&o.ID, &o.Customer, &name, &o.Basket, &items, &o.Total.Amount, &currency, &o.Payment, &o.Status, &o.Reason, &history,
			&placed, &changed, &paid, &collected, &o.Money.Payment, &o.Money.Captured.Amount, &o.Money.Invoice, &o.Money.Invoiced.Amount,
			&o.Money.Refunded.Amount); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(items), &o.Items); err != nil {
			return nil, fmt.Errorf("items of %s: %w", o.ID, err)
		}
		o.Name, o.Total.Currency = mall.Personal(name), currency
		for _, m := range []*mall.Money{&o.Money.Captured, &o.Money.Invoiced, &o.Money.Refunded} {
			if m.Amount != 0 {
				m.Currency = currency
			}
		}
		o.Placed, o.Changed, o.Paid, o.Collected = timeOf(placed), timeOf(changed), timeOf(paid), timeOf(collected)
		for _, s := range strings.Fields(history) {
			status, since, _ := strings.Cut(s, "=")
			at, err := strconv.ParseInt(since, 10, 64)
			if err != nil {
				return nil, fmt.Errorf("history of %s: %w", o.ID, err)
			}
			o.History = append(o.History, Step{status, timeOf(at)})
		}
		list = append(list, o)
	}
	return list, rows.Err()
}

// timeOf reads microseconds; 0 is the zero time.
func timeOf(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}

// nameShops puts into the items of orders who sells them and what that shop is called now, as far as it is known.
func nameShops(ctx context.Context, r *backbone.Reader, list []Order) error {
	sold := map[string][2]string{} // the store of a product, and its name
	for _, o := range list {
		for _, i := range o.Items {
			sold[i.Product] = [2]string{}
		}
	}
	if len(sold) == 0 {
		return nil
	}
	products := make([]any, 0, len(sold))
	for p := range sold {
		products = append(products, p)
	}
	for part := range slices.Chunk(products, 500) {
		if err := readShops(ctx, r, part, sold); err != nil {
			return err
		}
	}
	for _, o := range list {
		for n := range o.Items {
			i := &o.Items[n]
			if s := sold[i.Product]; s[0] != "" && (i.Store == "" || i.Store == s[0]) {
				i.Store, i.StoreName = s[0], s[1]
			}
		}
	}
	return nil
}

// readShops fills the store of each product, and its name.
func readShops(ctx context.Context, r *backbone.Reader, products []any, sold map[string][2]string) error {
	marks := make([]string, len(products))
	for i := range products {
		marks[i] = "$" + strconv.Itoa(i+1)
	}
	rows, err := r.Query(ctx, `SELECT g.product, g.store, COALESCE(s.name, '') FROM {goods} AS g LEFT JOIN {shops} AS s ON s.store = g.store
		WHERE g.product IN (`+strings.Join(marks, `, `)+`)`, products...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var product, store, name string
		if err := rows.Scan(&product, &store, &name); err != nil {
			return err
		}
		sold[product] = [2]string{store, name}
	}
	return rows.Err()
}

// IsStatus reports whether a word, in capitals, is the status of an order.
func IsStatus(word string) bool { return slices.Contains(statuses, word) }
