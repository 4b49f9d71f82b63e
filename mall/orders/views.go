package orders

import (
	"context"
	"encoding/json"
	"fmt"

	"example.org/souk/backbone"
	"example.org/souk/mall/event"
)

// feed numbers what each customer is told. Entries are counted in the event's own transaction and keyed by customer, so the
// numbers have no holes and never change. A row only says which event it is: what it says is read from the log when
// somebody asks, and nearly nobody does.
var feed = backbone.View{
	Name:   "feed",
	Inline: true,
	Projections: []backbone.Projection{
		tell(func(e event.OrderPlaced) (string, string) { return e.Customer, e.Order }),
		tell(func(e event.OrderStockReserved) (string, string) { return e.Customer, e.Order }),
		tell(func(e event.OrderApproved) (string, string) { return e.Customer, e.Order }),
		tell(func(e event.OrderRejected) (string, string) { return e.Customer, e.Order }),
		tell(func(e event.OrderBackordered) (string, string) { return e.Customer, e.Order }),
		tell(func(e event.OrderPicking) (string, string) { return e.Customer, e.Order }),
		tell(func(e event.OrderShort) (string, string) { return e.Customer, e.Order }),
		tell(func(e event.OrderAmended) (string, string) { return e.Customer, e.Order }),
		tell(func(e event.OrderReadied) (string, string) { return e.Customer, e.Order }),
		tell(func(e event.OrderPaid) (string, string) { return e.Customer, e.Order }),
		tell(func(e event.OrderCollected) (string, string) { return e.Customer, e.Order }),
		tell(func(e event.OrderCompleted) (string, string) { return e.Customer, e.Order }),
		tell(func(e event.OrderCancelling) (string, string) { return e.Customer, e.Order }),
		tell(func(e event.OrderCanceled) (string, string) { return e.Customer, e.Order }),
		tell(func(e event.OrderExpired) (string, string) { return e.Customer, e.Order }),
	},
}

// tell projects one type of event; whom says which customer hears of which order.
func tell[E backbone.Event](whom func(E) (customer, order string)) backbone.Projection {
	return backbone.ProjectBy(
		func(e E) string { customer, _ := whom(e); return customer },
		func(ctx context.Context, tx backbone.ViewTx, e E) error {
			customer, order := whom(e)
			return tx.Exec(ctx, `INSERT INTO {feed} (customer, n, entries, order_id, event)
				VALUES ($1, (SELECT COALESCE(MAX(n), 0) FROM {feed} WHERE customer = $1) + $2, $2, $3, $4)`,
				customer, int64(entriesIn(e)), order, tx.Message().ID)
		})
}

// entriesIn returns how many entries an event has.
func entriesIn(e backbone.Event) int {
	switch e := e.(type) {
	case event.OrderPlaced, event.OrderStockReserved:
		return 2
	case event.OrderRejected:
		if e.SKU != "" {
			return 2
		}
	}
	return 1
}

// Entry is one line of a customer's feed. Numbers begin at 1 for each customer and have no holes.
type Entry struct {
	N     int64
	Part  Part
	Event string          // id of the event
	Type  string          // its wire name
	Data  json.RawMessage // what it says
}

// Part says which side of an event an entry shows. An event may have several entries, in the order in which they stand here.
type Part int

// The parts of an event.
const (
	Asked    Part = iota // what the customer asked for, before OrderPlaced
	Stocked              // what the stockroom said, before the order took it in
	Happened             // to the order itself
)

// Feed returns up to limit entries of a customer that come after number since, oldest first.
func Feed(ctx context.Context, r *backbone.Reader, customer string, since int64, limit int) ([]Entry, error) {
	rows, err := feedRows(ctx, r, customer, since, limit)
	if err != nil {
		return nil, fmt.Errorf("feed of %s: %w", customer, err)
	}
	logs := map[string][]*backbone.Message{}
	entries := make([]Entry, 0, len(rows))
	for _, row := range rows {
		if logs[row.order] == nil {
			if logs[row.order], err = history(ctx, r, row.order); err != nil {
				return nil, fmt.Errorf("feed of %s: %w", customer, err)
			}
		}
		for _, m := range logs[row.order] {
			if m.ID != row.event {
				continue
			}
			for _, e := range entriesOf(m, row) {
				if e.N > since && len(entries) < limit {
					entries = append(entries, e)
				}
			}
		}
	}
	return entries, nil
}

// entriesOf returns the entries that a row stands for.
func entriesOf(m *backbone.Message, row feedRow) []Entry {
	last := Entry{N: row.last, Part: Happened, Event: m.ID, Type: m.Type, Data: m.Data}
	if row.entries < 2 {
		return []Entry{last}
	}
	first := last
	first.N, first.Part = row.last-1, Stocked
	if m.Type == event.OrderPlacedV1 {
		first.Part = Asked
	}
	return []Entry{first, last}
}

type feedRow struct {
	last, entries int64
	order, event  string
}

func feedRows(ctx context.Context, r *backbone.Reader, customer string, since int64, limit int) ([]feedRow, error) {
	rows, err := r.Query(ctx, `SELECT n, entries, order_id, event FROM {feed} WHERE customer = $1 AND n > $2 ORDER BY n LIMIT $3`, customer, since, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []feedRow
	for rows.Next() {
		var row feedRow
		if err := rows.Scan(&row.last, &row.entries, &row.order, &row.event); err != nil {
			return nil, err
		}
		list = append(list, row)
	}
	return list, rows.Err()
}
