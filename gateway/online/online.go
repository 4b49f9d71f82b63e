package online

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/gateway/door"
	"example.org/souk/mall"
)

// Gate is the gateway's name at the door.
const Gate = "online"

// Commands takes commands to the services that handle them. *backbone.Runtime is one.
type Commands interface {
	Do(ctx context.Context, c backbone.Command, options ...backbone.DoOption) (backbone.Answer, error)
}

// Catalogue knows what can be ordered now, and at which price.
type Catalogue interface {
	// Product returns false for what nobody sells.
	Product(ctx context.Context, id string) (Product, bool, error)
}

// Product is what an order's item is made from.
type Product struct {
	SKU   string
	Name  string
	Price mall.Money
}

// Orders shows what became of orders. What was accepted is seen at once.
type Orders interface {
	Order(ctx context.Context, id string) (Order, bool, error)
	// Feed returns up to limit entries of a customer's feed whose numbers are greater than after, in order.
	Feed(ctx context.Context, customer string, after int64, limit int) ([]Entry, error)
}

// Order is an order as it stands now.
type Order struct {
	ID           string
	Customer     string
	Status       string // in capitals: a state of the order, or RESERVED while it waits with its stock held
	Items        []mall.Item
	Total        mall.Money
	Payment      string
	WaitForStock bool
	WhenShort    mall.WhenShort // empty: the customer is asked
	History      []Change       // oldest first
	Shortage     *Shortage
}

// Change is a status that an order came into.
type Change struct {
	Status string
	At     time.Time
}

// Shortage says why an order was rejected or waits. SKU is empty where stock is not the reason.
type Shortage struct {
	Reason    string
	SKU       string
	Wanted    int64
	Available int64
}

// Entry is one line of a customer's feed. Numbers begin at 1 and have no holes.
type Entry struct {
	N     int64
	Part  Part
	Event string // id of the orders service's event
	Type  string // its wire name
	Data  json.RawMessage
}

// Part says which side of an event an entry shows. An event may have several entries, in the order in which they stand here.
type Part int

// The parts of an event.
const (
	Asked    Part = iota // what the customer asked for, before OrderPlaced
	Stocked              // what the stockroom said, before the order took it in
	Happened             // to the order itself
)

// Stock shows the levels of what is sold.
type Stock interface {
	// Level returns false for a product that does not exist.
	Level(ctx context.Context, product string) (Level, bool, error)
}

// Level is what is there of a product.
type Level struct {
	OnHand, Held, Committed, Available int64
}

// Seeder fills and empties the world of a test.
type Seeder interface {
	Seed(ctx context.Context) error
	Reset(ctx context.Context) error
	// Ready answers nil when orders can be taken.
	Ready(ctx context.Context) error
}

// Config says what stands behind the gateway. Everything but Seeder and the two intervals is required.
type Config struct {
	Commands  Commands
	Catalogue Catalogue
	Orders    Orders
	Stock     Stock
	Pulses    door.Pulses
	Seeder    Seeder // required in test mode
	// Currency is the shop's: three capital letters.
	Currency string
	// PingEvery is how often a feed asks whether its reader is there, and looks for entries that no pulse told of; default 15 s.
	PingEvery time.Duration
	// SlowAfter closes a feed whose reader does not take a frame for so long; default 5 s.
	SlowAfter time.Duration
}

type gateway struct {
	Config
	door *door.Door
}

// Register adds the gateway's routes to a door.
func Register(d *door.Door, c Config) error {
	if c.Commands == nil || c.Catalogue == nil || c.Orders == nil || c.Stock == nil || c.Pulses == nil {
		return errors.New("online: Commands, Catalogue, Orders, Stock and Pulses are required")
	}
	if d.TestMode() && c.Seeder == nil {
		return errors.New("online: test mode needs a Seeder")
	}
	if err := mall.ValidCurrency(c.Currency); err != nil {
		return errors.Join(errors.New("online: Currency"), err)
	}
	if c.PingEvery <= 0 {
		c.PingEvery = 15 * time.Second
	}
	if c.SlowAfter <= 0 {
		c.SlowAfter = 5 * time.Second
	}
	g := &gateway{c, d}
	own := door.Access{door.Customer: door.Own, door.Staff: door.All}
	all := door.Access{door.Customer: door.All, door.Staff: door.All}
	tester := door.Access{door.Staff: door.All}
	return d.Gate(Gate).Add(
		door.Route{Pattern: "POST /order", Access: own, Body: true, Creates: true, Handle: g.place},
		door.Route{Pattern: "GET /order/{id}", Access: own, Handle: g.show},
		door.Route{Pattern: "POST /order/{id}/cancel", Access: own, Body: true, Creates: true, Handle: g.cancel},
		door.Route{Pattern: "GET /stock/{productId}", Access: all, Handle: g.stock},
		door.Route{Pattern: "GET /feed", Access: own, Stream: true, Handle: g.feed},
		door.Route{Pattern: "POST /automation-testing/seed", Access: tester, TestOnly: true, Handle: g.seed},
		door.Route{Pattern: "DELETE /automation-testing/all", Access: tester, TestOnly: true, Handle: g.reset},
		door.Route{Pattern: "GET /automation-testing/ready", Access: tester, TestOnly: true, Handle: g.ready},
	)
}
