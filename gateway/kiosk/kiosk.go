package kiosk

import (
	"context"
	"errors"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/gateway/door"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
)

// Gate is the gateway's name at the door.
const Gate = "kiosk"

// Commands takes commands to the services that handle them. *backbone.Runtime is one.
type Commands interface {
	Do(ctx context.Context, c backbone.Command, options ...backbone.DoOption) (backbone.Answer, error)
}

// Catalogue knows what is sold now, by whom, and at which price.
type Catalogue interface {
	// Stores returns the stores that take part, in the order of their ids.
	Stores(ctx context.Context) ([]Store, error)
	// Categories returns those under which something can be ordered, in the order of their names; store "" means any.
	Categories(ctx context.Context, store string) ([]string, error)
	// Products returns up to limit products that can be ordered, in the order of their ids, beginning after one of them.
	Products(ctx context.Context, q Query, after string, limit int) ([]Product, error)
	// Product returns a product, whether it is sold or not; false when there never was one of that id.
	Product(ctx context.Context, id string) (Product, bool, error)
}

// Store is a store that takes part.
type Store struct {
	ID   string
	Name string
}

// Query says which products are meant. The zero Query means all.
type Query struct {
	Store    string
	Category string
	Text     string // is part of the name or the description, in any case of letters; or is the SKU or the barcode
}

// Product is a line of the catalogue.
type Product struct {
	ID           string
	Store        string
	StoreName    string
	SKU          string
	Barcode      string
	Name         string
	Description  string
	Category     string
	Price        mall.Money
	PriceVersion int64
	Sold         bool // listed, by a store that takes part
}

// Stock knows what is there.
type Stock interface {
	// Available returns how many pieces of each SKU can be ordered now. One that it leaves out has none.
	Available(ctx context.Context, skus []string) (map[string]int64, error)
}

// Baskets shows baskets. What was decided is seen at once.
type Baskets interface {
	Basket(ctx context.Context, id string) (Basket, bool, error)
	// Owner returns the customer whose basket it is; false for one that was never begun.
	Owner(ctx context.Context, id string) (customer string, found bool, err error)
}

// Border fills in what the commands of baskets say of customers and products, from what the service knows, and refuses at once what it
// would refuse. baskets.Border is one; a service in another process has its own.
type Border interface {
	Start(ctx context.Context, basket, customer string) (command.StartBasket, error)
	// Add is given the price that the customer was shown; the zero Money says nothing of it.
	Add(ctx context.Context, basket, product string, quantity int64, seen mall.Money) (command.AddItem, error)
	Accept(ctx context.Context, c command.AcceptPrices) (command.AcceptPrices, error)
	Checkout(ctx context.Context, c command.CheckoutBasket) (command.CheckoutBasket, error)
	// Before returns the command that was carried out under an id, where it asked for the same as one that is refused by now.
	Before(ctx context.Context, id string, c command.Command) (command.Command, bool, error)
}

// The statuses of a basket.
const (
	BasketOpen       = "open"
	BasketCheckedOut = "checked_out"
	BasketCanceled   = "canceled"
)

// Basket is a basket as it stands now.
type Basket struct {
	ID       string
	Customer string
	Status   string
	Lines    []Line
	Total    mall.Money // at the prices that the customer has seen
	Expires  time.Time  // it is kept until then
	Order    string     // that it became; "" while it is not checked out
	Payment  string     // that it was checked out with; "": it is paid at the depot
	Reason   string     // why it was canceled
	Version  int64      // counts what happened to it
}

// Line is an item of a basket at the price that the customer has seen, and what holds of the product while the basket is open.
type Line struct {
	mall.Item
	Sold bool // it can be ordered now, for Now
	Now  mall.Quote
}

// Orders shows what became of orders.
type Orders interface {
	Order(ctx context.Context, id string) (Order, bool, error)
	// History returns up to limit orders of a customer, the latest first, beginning after one of them; after "" begins with the latest.
	History(ctx context.Context, customer, after string, limit int) ([]Summary, error)
}

// Order is an order as it stands now.
type Order struct {
	ID       string
	Customer string
	Status   string // pending, reserved, backordered, approved, picking, short, ready, completed, rejected, expired, cancelling or canceled
	Items    []mall.Item
	Total    mall.Money
	Payment  string // authorized beforehand; "": paid at the depot
	Paid     bool
	Owed     bool        // an invoice asks for what it comes to, here or at the depot
	Missing  []mall.Line // was not found, and nobody has decided yet
	Reason   string      // why it was rejected or cancelled
	SKU      string      // of which too little was there; "": of none
	Picked   int64       // stops that a robot has been to
	Stops    int64       // stops that it has to go to; 0: not known
	History  []Change    // oldest first
	// KeptUntil is until when it waits to be collected; zero where it is not ready, or nobody has said.
	KeptUntil time.Time
	Version   int64 // counts what happened to it
}

// Change is a status that an order came into.
type Change struct {
	Status string
	At     time.Time
}

// Summary is a line of the list of a customer's orders.
type Summary struct {
	ID     string
	Status string
	Total  mall.Money
	Placed time.Time
}

// People knows who buys.
type People interface {
	// ByCard returns the customer whose card it is; false where nobody is known by it.
	ByCard(ctx context.Context, card string) (customer string, known bool, err error)
	// Name returns what a customer is called, or "" where that is not known.
	Name(ctx context.Context, customer string) (string, error)
	// Seal encrypts something personal under the customer's key.
	Seal(ctx context.Context, customer, text string) (mall.Personal, error)
}

// Config says what stands behind the gateway. Everything down to Currency is required but Intake.
type Config struct {
	Commands  Commands
	Catalogue Catalogue
	Stock     Stock
	Baskets   Baskets
	Border    Border
	Orders    Orders
	Payments  Payments
	People    People
	Authority *door.Authority
	Pulses    door.Pulses
	// Intake takes in what is accepted while the service that decides it is away; nil: such requests are refused for now.
	Intake *Intake
	// Currency is the shop's: three capital letters. What is empty costs nothing in it.
	Currency string
	// Clock defaults to the system's.
	Clock backbone.Clock
	// Low is the number of pieces below which stock is told to be low; default 5.
	Low int64
	// SessionLife is for how long a session stands without anything being done in it; default 15 min.
	SessionLife time.Duration
	// LookEvery is how often a stream looks for what no pulse told of; default 2 s. BeatEvery is how often a
	// stream in which nothing happens says that it is there; default 15 s.
	LookEvery, BeatEvery time.Duration
	// SlowAfter ends a stream whose reader takes nothing for so long; default 5 s.
	SlowAfter time.Duration
	// IdleAfter is when the page asks whether somebody is there, and WarnFor how long it waits for an answer before it begins anew:
	// defaults 60 s and 30 s. Less than 20 s to answer is refused.
	IdleAfter, WarnFor time.Duration
	// Closing ends all streams when it is closed: a server that stops waits for them.
	Closing <-chan struct{}
	// TLS says that clients come by HTTPS only.
	TLS bool
}

// leastWarning is the least time to answer that a person is given before what they have begun is thrown away.
const leastWarning = 20 * time.Second

type gateway struct {
	Config
	door    *door.Door
	tongues *tongues
}

type systemClock struct{}

func (systemClock) Now() time.Time { return time.Now() }

// Register adds the gateway's routes and its page to a door.
func Register(d *door.Door, c Config) error {
	if c.Commands == nil || c.Catalogue == nil || c.Stock == nil || c.Baskets == nil || c.Border == nil || c.Orders == nil || c.Payments == nil || c.People == nil ||
		c.Authority == nil || c.Pulses == nil {
		return errors.New("kiosk: Commands, Catalogue, Stock, Baskets, Border, Orders, Payments, People, Authority and Pulses are required")
	}
	if err := mall.ValidCurrency(c.Currency); err != nil {
		return errors.Join(errors.New("kiosk: Currency"), err)
	}
	if c.Clock == nil {
		c.Clock = systemClock{}
	}
	if c.Low <= 0 {
		c.Low = 5
	}
	for _, d := range []struct {
		value   *time.Duration
		usually time.Duration
	}{
		{&c.SessionLife, 15 * time.Minute},
		{&c.LookEvery, 2 * time.Second},
		{&c.BeatEvery, 15 * time.Second},
		{&c.SlowAfter, 5 * time.Second},
		{&c.IdleAfter, time.Minute},
		{&c.WarnFor, 30 * time.Second},
	} {
		if *d.value <= 0 {
			*d.value = d.usually
		}
	}
	if c.WarnFor < leastWarning {
		return errors.New("kiosk: a person needs at least 20 s to say that they are there")
	}
	if c.SessionLife > door.MaxTTL {
		return errors.New("kiosk: a session cannot stand for longer than a token lives")
	}
	all, err := readTongues()
	if err != nil {
		return err
	}
	g := &gateway{c, d, all}
	if err := g.describe(); err != nil {
		return err
	}
	return g.showPages()
}
