package online

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/gateway/door"
	"example.org/souk/mall"
	"example.org/souk/mall/event"
)

// frame is one message of the feed.
type frame struct {
	N         int64  `json:"n"`
	ID        string `json:"id"`
	Aggregate string `json:"aggregateId"`
	Resource  string `json:"resource"`
	Operation string `json:"operation"`
	Type      string `json:"type"`
	Subject   string `json:"subject"` // as in CloudEvents: the id of the thing that it is about
	Data      any    `json:"data"`
}

// feedChunk is how many entries are read at once; it bounds what a feed holds in memory.
const feedChunk = 128

// feed sends a customer's entries one by one, from the one after ?since on, and then as they come. A number that the feed has not come to, as after a
// restore, is answered with 410.
func (g *gateway) feed(w http.ResponseWriter, r *door.Request) error {
	query := r.URL.Query()
	customer := query.Get("customer")
	if customer == "" && r.Caller.Limited() {
		customer = r.Caller.Subject
	}
	if mall.ValidID(customer) != nil {
		return door.InvalidField("customer", "must be the id of a customer")
	}
	if !r.Caller.Owns(customer) {
		return door.NotFound("feed")
	}
	var since int64
	if s := query.Get("since"); s != "" {
		var err error
		if since, err = strconv.ParseInt(s, 10, 64); err != nil || since < 0 {
			return door.InvalidField("since", "must be the number of the last frame that was seen, or 0")
		}
	}
	if err := door.AskUpgrade(w, r); err != nil {
		return err
	}
	// Looking before the upgrade lets a database that is away be answered with a status.
	entries, err := g.Orders.Feed(r.Context(), customer, since, feedChunk)
	if err == nil && len(entries) == 0 && since > 0 {
		// The frame that was seen last is kept, unless the numbers are others than they were: then what comes under those below since would be missed.
		var seen []Entry
		if seen, err = g.Orders.Feed(r.Context(), customer, since-1, 1); err == nil && len(seen) == 0 {
			return door.NewProblem(http.StatusGone, "position_unknown", "This feed has not come to that number; begin again with 0.")
		}
	}
	if err != nil {
		return errors.Join(backbone.ErrUnavailable, err)
	}
	socket, err := g.door.OpenSocket(w, r, g.SlowAfter)
	if err != nil {
		return err
	}
	socket.Run(func(ctx context.Context) *door.Close { return g.send(ctx, socket, customer, since, entries) })
	return nil
}

// send runs a feed until it ends, and returns what its reader is told.
func (g *gateway) send(ctx context.Context, socket *door.Socket, customer string, last int64, entries []Entry) *door.Close {
	pulse, stop := g.Pulses.Watch(customer)
	defer stop()
	ping := time.NewTicker(g.PingEvery)
	defer ping.Stop()
	for {
		// The first look was before the watch began; what came between is found by the second.
		for _, e := range entries {
			if e.N != last+1 {
				return door.CloseHole
			}
			if over := socket.Over(); over != nil {
				return over
			}
			body, err := g.render(ctx, e)
			if err != nil {
				return door.CloseLater
			}
			if over := socket.Send(body); over != nil {
				return over
			}
			last = e.N
		}
		var err error
		if entries, err = g.Orders.Feed(ctx, customer, last, feedChunk); err != nil {
			if over := socket.Over(); over != nil {
				return over
			}
			return door.CloseLater
		}
		if len(entries) > 0 {
			continue
		}
		select {
		case <-pulse:
		case <-ping.C:
			if over := socket.Ping(); over != nil {
				return over
			}
		case <-socket.Gone():
			return socket.Left()
		case <-ctx.Done():
			return socket.Over()
		}
	}
}

// operations names what happened to an order. A type that is not here is named after itself.
var operations = map[string]struct{ operation, status string }{
	event.OrderPlacedV1:        {"ORDER_CREATED", "PENDING"},
	event.OrderStockReservedV1: {"INVENTORY_RESERVED", "RESERVED"},
	event.OrderApprovedV1:      {"ORDER_APPROVED", "APPROVED"},
	event.OrderRejectedV1:      {"ORDER_REJECTED", "REJECTED"},
	event.OrderBackorderedV1:   {"ORDER_BACKORDERED", "BACKORDERED"},
	event.OrderPickingV1:       {"ORDER_PICKING", "PICKING"},
	event.OrderShortV1:         {"ORDER_SHORT", "SHORT"},
	event.OrderAmendedV1:       {"ORDER_AMENDED", "PICKING"},
	event.OrderReadiedV1:       {"ORDER_READIED", "READY"},
	event.OrderPaidV1:          {"ORDER_PAID", ""},
	event.OrderCollectedV1:     {"ORDER_COLLECTED", ""},
	event.OrderCompletedV1:     {"ORDER_COMPLETED", "COMPLETED"},
	event.OrderCancellingV1:    {"ORDER_CANCELLING", "CANCELLING"},
	event.OrderCanceledV1:      {"ORDER_CANCELED", "CANCELED"},
	event.OrderExpiredV1:       {"ORDER_EXPIRED", "EXPIRED"},
}

// facts is what the events of an order have between them, as far as a frame shows it.
type facts struct {
	Order          string      `json:"order"`
	Message        string      `json:"message"`
	Customer       string      `json:"customer"`
	Items          []mall.Item `json:"items"`
	Total          mall.Money  `json:"total"`
	Payment        string      `json:"payment"`
	Lines          []mall.Line `json:"lines"`
	Missing        []mall.Line `json:"missing"`
	Substitutes    []mall.Item `json:"substitutes"`
	InventoryEvent string      `json:"inventoryEvent"`
	Reason         string      `json:"reason"`
	SKU            string      `json:"sku"`
	Wanted         int64       `json:"wanted"`
	Available      int64       `json:"available"`
}

type line struct {
	Product  string `json:"productId"`
	Quantity int64  `json:"quantity"`
}

type happened struct {
	Status    string `json:"status,omitempty"`
	Reason    string `json:"reason,omitempty"`
	Product   string `json:"productId,omitempty"`
	Wanted    *int64 `json:"wanted,omitempty"`
	Available *int64 `json:"available,omitempty"`
	Missing   []line `json:"missing,omitempty"`

	// Of an order that was amended.
	TotalPrice  json.Number `json:"totalPrice,omitempty"`
	Substitutes []itemBody  `json:"substitutes,omitempty"`
}

type inventories struct {
	Lines []line `json:"inventories"`
}

// render writes an entry as a frame.
func (g *gateway) render(ctx context.Context, e Entry) ([]byte, error) {
	var f facts
	if err := json.Unmarshal(e.Data, &f); err != nil {
		return nil, fmt.Errorf("entry %d, %s %s: %w", e.N, e.Type, e.Event, err)
	}
	out := frame{N: e.N, ID: e.Event, Aggregate: f.Order, Resource: "ORDER", Type: "EVENT", Subject: f.Order}
	if e.Type == event.OrderPlacedV1 {
		b := orderBody{Order: f.Order, Customer: f.Customer, Status: "PENDING", TotalPrice: f.Total.Number(), Items: itemsOf(f.Items), Payment: f.Payment}
		for _, item := range f.Items {
			b.TotalQuantity += item.Quantity
		}
		out.Operation, out.Data = "ORDER_CREATED", b
		if e.Part == Asked {
			out.Operation, out.Type = "ORDER_CREATE", "COMMAND"
			if f.Message != "" {
				out.ID = f.Message
			} else {
				out.ID = commandID("place", f.Order)
			}
		}
		return json.Marshal(out)
	}
	what, known := operations[e.Type]
	if !known {
		what.operation = e.Type
	}
	out.Operation = what.operation
	short := happened{Status: what.status, Reason: f.Reason}
	if e.Type == event.OrderAmendedV1 {
		short.TotalPrice, short.Substitutes = f.Total.Number(), itemsOf(f.Substitutes)
	}
	if f.SKU != "" || len(f.Lines) > 0 || len(f.Missing) > 0 {
		o, _, err := g.Orders.Order(ctx, f.Order) // events name SKUs, the store speaks of products
		if err != nil {
			return nil, err
		}
		short.Missing = linesOf(o.Items, f.Missing)
		if f.SKU != "" {
			short.Product, short.Wanted, short.Available = productOf(o.Items, f.SKU), &f.Wanted, &f.Available
		}
		if e.Part == Stocked {
			out.Resource, out.Operation = "INVENTORY", "INVENTORY_RESERVED"
			out.Data = inventories{linesOf(o.Items, f.Lines)}
			if f.InventoryEvent != "" {
				out.ID = f.InventoryEvent
			}
			if f.SKU != "" {
				short.Status = ""
				out.Operation, out.Data = "INVENTORY_REJECTED", short
			}
			return json.Marshal(out)
		}
	}
	out.Data = short
	return json.Marshal(out)
}

func linesOf(items []mall.Item, lines []mall.Line) []line {
	list := make([]line, len(lines))
	for i, l := range lines {
		list[i] = line{productOf(items, l.SKU), l.Quantity}
	}
	return list
}
