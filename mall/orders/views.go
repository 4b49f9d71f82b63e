package orders

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/event"
)

// feed numbers what each customer is told. Frames are counted in the event's own transaction and keyed by customer, so the
// numbers have no holes and never change. A row only says which event it is: the frames are written when somebody reads
// them, and nearly nobody does.
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
			return tx.Exec(ctx, `INSERT INTO {feed} (customer, n, frames, order_id, event)
				VALUES ($1, (SELECT COALESCE(MAX(n), 0) FROM {feed} WHERE customer = $1) + $2, $2, $3, $4)`,
				customer, int64(framesOf(e)), order, tx.Message().ID)
		})
}

// framesOf returns how many frames an event is told in.
func framesOf(e backbone.Event) int {
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

// Frame is one message of a customer's feed. Numbers begin at 1 for each customer and have no holes.
type Frame struct {
	N           int64           `json:"n"`
	ID          string          `json:"id"`
	AggregateID string          `json:"aggregateId"` // the order
	Resource    string          `json:"resource"`    // ORDER or INVENTORY
	Operation   string          `json:"operation"`
	Type        string          `json:"type"`    // COMMAND or EVENT
	Subject     string          `json:"subject"` // the customer
	Data        json.RawMessage `json:"data"`
}

// Feed returns up to limit frames of a customer that come after number since, oldest first.
func Feed(ctx context.Context, r *backbone.Reader, customer string, since int64, limit int) ([]Frame, error) {
	rows, err := feedRows(ctx, r, customer, since, limit)
	if err != nil {
		return nil, fmt.Errorf("feed of %s: %w", customer, err)
	}
	logs := map[string][]*backbone.Message{}
	frames := make([]Frame, 0, len(rows))
	for _, row := range rows {
		if logs[row.order] == nil {
			if logs[row.order], err = history(ctx, r, row.order); err != nil {
				return nil, fmt.Errorf("feed of %s: %w", customer, err)
			}
		}
		told, err := framesFor(logs[row.order], row.event)
		if err != nil {
			return nil, fmt.Errorf("feed of %s: %w", customer, err)
		}
		for i, f := range told {
			f.N = row.last - int64(len(told)) + 1 + int64(i)
			f.AggregateID, f.Subject = row.order, customer
			if f.N > since && len(frames) < limit {
				frames = append(frames, f)
			}
		}
	}
	return frames, nil
}

type feedRow struct {
	last         int64
	order, event string
}

func feedRows(ctx context.Context, r *backbone.Reader, customer string, since int64, limit int) ([]feedRow, error) {
	rows, err := r.Query(ctx, `SELECT n, order_id, event FROM {feed} WHERE customer = $1 AND n > $2 ORDER BY n LIMIT $3`, customer, since, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []feedRow
	for rows.Next() {
		var row feedRow
		if err := rows.Scan(&row.last, &row.order, &row.event); err != nil {
			return nil, err
		}
		list = append(list, row)
	}
	return list, rows.Err()
}

// framesFor returns the frames of one event of an order, whose log begins with OrderPlaced.
func framesFor(log []*backbone.Message, id string) ([]Frame, error) {
	for _, m := range log {
		if m.ID != id {
			continue
		}
		var placed event.OrderPlaced
		if err := json.Unmarshal(log[0].Data, &placed); err != nil {
			return nil, fmt.Errorf("order %s: %w", log[0].Stream, err)
		}
		frames, err := tellEvent(placed, m)
		if err != nil {
			return nil, fmt.Errorf("event %s: %w", id, err)
		}
		return frames, nil
	}
	return nil, fmt.Errorf("event %s is not in the log", id)
}

// The words of a frame.
const (
	resourceOrder     = "ORDER"
	resourceInventory = "INVENTORY"
	typeCommand       = "COMMAND"
	typeEvent         = "EVENT"
)

// operations are what the frames of plain events are called, and the status that they tell.
var operations = map[string]struct{ operation, status string }{
	event.OrderApprovedV1:    {"ORDER_APPROVED", "APPROVED"},
	event.OrderBackorderedV1: {"ORDER_BACKORDERED", "BACKORDERED"},
	event.OrderPickingV1:     {"ORDER_PICKING", "PICKING"},
	event.OrderShortV1:       {"ORDER_SHORT", "PICKING"},
	event.OrderReadiedV1:     {"ORDER_READIED", "READY"},
	event.OrderPaidV1:        {"ORDER_PAID", ""},
	event.OrderCollectedV1:   {"ORDER_COLLECTED", ""},
	event.OrderCompletedV1:   {"ORDER_COMPLETED", "COMPLETED"},
	event.OrderCancellingV1:  {"ORDER_CANCELLING", "CANCELLING"},
	event.OrderCanceledV1:    {"ORDER_CANCELED", "CANCELED"},
	event.OrderExpiredV1:     {"ORDER_EXPIRED", "EXPIRED"},
}

func tellEvent(placed event.OrderPlaced, m *backbone.Message) ([]Frame, error) {
	switch m.Type {
	case event.OrderPlacedV1:
		request := placed.Message
		if request == "" {
			request = m.Causation
		}
		order := asJSON(orderOf(placed))
		return []Frame{
			{ID: request, Resource: resourceOrder, Operation: "ORDER_CREATE", Type: typeCommand, Data: order},
			{ID: m.ID, Resource: resourceOrder, Operation: "ORDER_CREATED", Type: typeEvent, Data: order},
		}, nil
	case event.OrderStockReservedV1:
		var e event.OrderStockReserved
		if err := json.Unmarshal(m.Data, &e); err != nil {
			return nil, err
		}
		return []Frame{
			{ID: e.InventoryEvent, Resource: resourceInventory, Operation: "INVENTORY_RESERVED", Type: typeEvent, Data: asJSON(inventoriesOf(placed))},
			{ID: m.ID, Resource: resourceOrder, Operation: "INVENTORY_RESERVED", Type: typeEvent, Data: asJSON(statusData{Status: "RESERVED"})},
		}, nil
	case event.OrderRejectedV1:
		var e event.OrderRejected
		if err := json.Unmarshal(m.Data, &e); err != nil {
			return nil, err
		}
		data := statusData{Status: "REJECTED", Reason: e.Reason}
		if e.SKU == "" {
			return []Frame{{ID: m.ID, Resource: resourceOrder, Operation: "ORDER_REJECTED", Type: typeEvent, Data: asJSON(data)}}, nil
		}
		data.shortageData = shortageOf(placed, e.SKU, e.Wanted, e.Available)
		return []Frame{
			{ID: m.ID + "-stock", Resource: resourceInventory, Operation: "INVENTORY_REJECTED", Type: typeEvent, Data: asJSON(data.shortageData)},
			{ID: m.ID, Resource: resourceOrder, Operation: "ORDER_REJECTED", Type: typeEvent, Data: asJSON(data)},
		}, nil
	}
	named, known := operations[m.Type]
	if !known {
		named.operation = strings.ToUpper(m.Type)
	}
	data := statusData{Status: named.status}
	switch m.Type {
	case event.OrderBackorderedV1:
		var e event.OrderBackordered
		if err := json.Unmarshal(m.Data, &e); err != nil {
			return nil, err
		}
		data.shortageData = shortageOf(placed, e.SKU, e.Wanted, e.Available)
	case event.OrderCancellingV1, event.OrderCanceledV1:
		var e event.OrderCanceled
		if err := json.Unmarshal(m.Data, &e); err != nil {
			return nil, err
		}
		data.Reason = e.Reason
	}
	return []Frame{{ID: m.ID, Resource: resourceOrder, Operation: named.operation, Type: typeEvent, Data: asJSON(data)}}, nil
}

// The data of frames. Money is a number of major units in the shop's currency there.
type (
	orderData struct {
		OrderID       string      `json:"orderId"`
		CustomerID    string      `json:"customerId"`
		TotalPrice    json.Number `json:"totalPrice"`
		TotalQuantity int64       `json:"totalQuantity"`
		Items         []itemData  `json:"items"`
	}
	itemData struct {
		ProductID string      `json:"productId"`
		Price     json.Number `json:"price"`
		Quantity  int64       `json:"quantity"`
	}
	inventoriesData struct {
		Inventories []inventoryData `json:"inventories"`
	}
	inventoryData struct {
		ProductID string `json:"productId"`
		Quantity  int64  `json:"quantity"`
	}
	statusData struct {
		Status string `json:"status,omitempty"`
		Reason string `json:"reason,omitempty"`
		*shortageData
	}
	shortageData struct {
		ProductID string `json:"productId"`
		Wanted    int64  `json:"wanted"`
		Available int64  `json:"available"`
	}
)

func orderOf(e event.OrderPlaced) orderData {
	o := orderData{OrderID: e.Order, CustomerID: e.Customer, TotalPrice: e.Total.Number()}
	for _, i := range e.Items {
		o.TotalQuantity += i.Quantity
		o.Items = append(o.Items, itemData{ProductID: i.Product, Price: i.Price.Number(), Quantity: i.Quantity})
	}
	return o
}

func inventoriesOf(e event.OrderPlaced) inventoriesData {
	var d inventoriesData
	for _, i := range e.Items {
		d.Inventories = append(d.Inventories, inventoryData{ProductID: i.Product, Quantity: i.Quantity})
	}
	return d
}

// shortageOf names the product as the customer knows it; a stockroom only knows its SKU.
func shortageOf(e event.OrderPlaced, sku string, wanted, available int64) *shortageData {
	s := &shortageData{ProductID: sku, Wanted: wanted, Available: available}
	if at := indexOfSKU(e.Items, sku); at >= 0 {
		s.ProductID = e.Items[at].Product
	}
	return s
}

func indexOfSKU(items []mall.Item, sku string) int {
	for i := range items {
		if items[i].SKU == sku {
			return i
		}
	}
	return -1
}

func asJSON(v any) json.RawMessage {
	data, err := json.Marshal(v)
	if err != nil {
		panic("frame data: " + err.Error()) // the types above always encode
	}
	return data
}
