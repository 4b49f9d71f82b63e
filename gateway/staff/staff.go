package staff

import (
	"context"
	"errors"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/gateway/door"
	"example.org/souk/mall"
)

// Gate is the gateway's name at the door.
const Gate = "staff"

// Commands takes commands to the services that handle them, wherever these run.
type Commands interface {
	Do(ctx context.Context, c backbone.Command, options ...backbone.DoOption) (backbone.Answer, error)
}

// Shops shows who sells in the mall.
type Shops interface {
	// Shops returns up to limit shops in the order of their ids, beginning after one; "" begins at the first.
	Shops(ctx context.Context, after string, limit int) ([]Shop, error)
}

// Shop is one that sells in the mall.
type Shop struct {
	Store         string `json:"store"`
	Name          string `json:"name"`
	Location      string `json:"location"` // where its goods lie
	Participating bool   `json:"participating"`
}

// Stock shows what is there.
type Stock interface {
	// Levels returns up to limit levels in the order of SKU and location, beginning after one; "" and "" begin at the first.
	Levels(ctx context.Context, afterSKU, afterLocation string, limit int) ([]Level, error)
	// Low returns up to limit levels that are below their threshold, in the same order.
	Low(ctx context.Context, limit int) ([]Level, error)
	// Level returns one. What was never received has the level 0.
	Level(ctx context.Context, sku, location string) (Level, error)
}

// Level is what is there of one SKU at one location.
type Level struct {
	SKU       string `json:"sku"`
	Location  string `json:"location"`
	OnHand    int64  `json:"onHand"`
	Held      int64  `json:"held"`
	Committed int64  `json:"committed"`
	Available int64  `json:"available"`
	Threshold int64  `json:"threshold"`
}

// Low reports whether less is available than there should be.
func (l Level) Low() bool { return l.Available < l.Threshold }

// Orders shows orders. What was accepted is seen at once.
type Orders interface {
	// Latest returns up to limit orders, newest first, that have one of the statuses, or with none any.
	Latest(ctx context.Context, statuses []string, limit int) ([]OrderLine, error)
	Order(ctx context.Context, id string) (Order, bool, error)
}

// OrderLine is a line of a list of orders. Status is in capitals.
type OrderLine struct {
	Order    string     `json:"order"`
	Customer string     `json:"customer"`
	Status   string     `json:"status"`
	Total    mall.Money `json:"total"`
	Placed   time.Time  `json:"placed"`
	Paid     bool       `json:"paid"`
	Missing  int        `json:"missing,omitempty"` // lines that are short and wait for a decision
	// Settling says that it is ready and not paid, and that nothing is asked for at the depot: the money of a payment is being taken, or what
	// it comes to is being written down.
	Settling bool `json:"settling,omitempty"`
	// WhenShort is what the customer wants when goods are not found: ask, rest, substitute or cancel.
	WhenShort mall.WhenShort `json:"whenShort"`
	// Substitutes come instead of what was not found.
	Substitutes []mall.Item `json:"substitutes,omitempty"`
}

// Order is all that there is to know about an order.
type Order struct {
	OrderLine
	Payment string      `json:"payment,omitempty"` // empty: at the depot
	Items   []mall.Item `json:"items"`
	Short   []mall.Line `json:"short,omitempty"` // waits for a decision
	Reason  string      `json:"reason,omitempty"`
	// KeptUntil is until when it waits to be collected; zero where it is not ready, or nobody has said.
	KeptUntil time.Time `json:"keptUntil,omitzero"`
	History   []Change  `json:"history"` // oldest first
}

// Change is something that happened to an order.
type Change struct {
	Status string    `json:"status"`
	Time   time.Time `json:"time"`
	Actor  string    `json:"actor,omitempty"`
	Reason string    `json:"reason,omitempty"`
}

// Payments shows the money.
type Payments interface {
	Payment(ctx context.Context, id string) (Payment, bool, error)
	Invoice(ctx context.Context, id string) (Invoice, bool, error)
}

// Payment is what a customer gave, or what was set aside of it.
type Payment struct {
	Payment  string     `json:"payment"`
	Status   string     `json:"status"`
	Customer string     `json:"customer"`
	Order    string     `json:"order,omitempty"`
	Visit    string     `json:"visit,omitempty"`
	Amount   mall.Money `json:"amount"`
	Refunded mall.Money `json:"refunded,omitzero"`
}

// Invoice is what a customer was asked for.
type Invoice struct {
	Invoice  string     `json:"invoice"`
	Status   string     `json:"status"`
	Customer string     `json:"customer"`
	Order    string     `json:"order"`
	Amount   mall.Money `json:"amount"`
	Refunded mall.Money `json:"refunded,omitzero"`
}

// Purchases shows what was ordered from suppliers.
type Purchases interface {
	// Purchases returns up to limit purchases, newest first.
	Purchases(ctx context.Context, limit int) ([]Purchase, error)
}

// Purchase is an order at a supplier.
type Purchase struct {
	Purchase string    `json:"purchase"`
	SKU      string    `json:"sku"`
	Location string    `json:"location"`
	Quantity int64     `json:"quantity"`
	Open     int64     `json:"open"` // pieces that are still to come
	Status   string    `json:"status"`
	Proposed time.Time `json:"proposed"`
}

// Fleet shows the robots and what they fetch.
type Fleet interface {
	Robots(ctx context.Context) ([]Robot, error)
	// Lists returns up to limit shopping lists that are not over, oldest first.
	Lists(ctx context.Context, limit int) ([]List, error)
}

// Robot is one of the fleet.
type Robot struct {
	Robot   string          `json:"robot"`
	State   mall.RobotState `json:"state"`
	Battery int64           `json:"battery"` // percent
	At      mall.Place      `json:"at"`
	List    string          `json:"list,omitempty"`
	Seen    time.Time       `json:"seen,omitzero"` // when it was heard of last
}

// List is a shopping list.
type List struct {
	List   string `json:"list"`
	Order  string `json:"order"`
	State  string `json:"state"`
	Robot  string `json:"robot,omitempty"`
	Stops  int64  `json:"stops"`
	Picked int64  `json:"picked"` // stops that are done, those with too little included
}

// Devices shows what stands in shops.
type Devices interface {
	Devices(ctx context.Context) ([]Device, error)
}

// Device is one that may connect.
type Device struct {
	Device string `json:"device"`
	Store  string `json:"store"`
	Kind   string `json:"kind"`
}

// Config says what stands behind the gateway. Everything but Closing and the intervals is required.
type Config struct {
	Commands  Commands
	Shops     Shops
	Stock     Stock
	Orders    Orders
	Payments  Payments
	Purchases Purchases
	Fleet     Fleet
	Devices   Devices
	Trade     Trade
	Catalogue Catalogue
	// Own reads the gateway's own service.
	Own  *backbone.Reader
	Logs Logs
	// Clock defaults to the system's.
	Clock backbone.Clock
	// Heartbeat is how often a socket says that it is there, and asks whether its reader is; default 15 s.
	Heartbeat time.Duration
	// LookEvery is how often logs are looked at that no pulse tells of; default 100 ms.
	LookEvery time.Duration
	// SlowAfter closes a socket whose reader does not take a frame for so long; default 5 s.
	SlowAfter time.Duration
}

// Gateway is the way in for staff. Its methods may be called concurrently.
type Gateway struct {
	Config
	door      *door.Door
	follower  *follower
	positions Positions
	picture   picture
}

type systemClock struct{}

func (systemClock) Now() time.Time { return time.Now() }

// Register adds the gateway's routes to a door. Sockets hear of what happens while Run runs.
func Register(d *door.Door, c Config) (*Gateway, error) {
	if c.Commands == nil || c.Shops == nil || c.Stock == nil || c.Orders == nil || c.Payments == nil || c.Purchases == nil ||
		c.Fleet == nil || c.Devices == nil || c.Trade == nil || c.Catalogue == nil || c.Own == nil || c.Logs == nil {
		return nil, errors.New("staff: everything that stands behind the gateway is required")
	}
	if c.Clock == nil {
		c.Clock = systemClock{}
	}
	for _, v := range []struct {
		d        *time.Duration
		fallback time.Duration
	}{{&c.Heartbeat, 15 * time.Second}, {&c.LookEvery, 100 * time.Millisecond}, {&c.SlowAfter, 5 * time.Second}} {
		if *v.d <= 0 {
			*v.d = v.fallback
		}
	}
	g := &Gateway{Config: c, door: d, follower: newFollower(c.Logs, c.LookEvery)}
	return g, d.Gate(Gate).Add(g.routes()...)
}

// Run follows the logs for the sockets until ctx ends, and returns its error.
func (g *Gateway) Run(ctx context.Context) error { return g.follower.run(ctx) }

// Moved shows where a robot is to who looks. It never waits.
func (g *Gateway) Moved(at Position) { g.positions.Moved(at) }

// routes is the gateway's policy: who may do what. Managers alone settle who sells in the mall, correct what is on hand without a
// delivery, and decide what needs a second person.
func (g *Gateway) routes() []door.Route {
	shop := door.Access{door.Staff: door.All}
	look := door.Access{door.Staff: door.All, door.Engineer: door.All}
	see := func(pattern string, handle door.Handler) door.Route {
		return door.Route{Pattern: "GET /staff" + pattern, Access: look, Handle: handle}
	}
	act := func(pattern string, handle door.Handler) door.Route {
		return door.Route{Pattern: "POST /staff" + pattern, Access: shop, Body: true, Creates: true, Handle: handle}
	}
	manage := func(pattern string, handle door.Handler) door.Route {
		rt := act(pattern, handle)
		rt.Managers = true
		return rt
	}
	feed := see("/feed", g.feed)
	feed.Stream = true
	return []door.Route{
		see("", g.page),
		see("/page.css", asset("page.css", "text/css; charset=utf-8")),
		see("/page.js", asset("page.js", "text/javascript; charset=utf-8")),
		see("/form.js", asset("form.js", "text/javascript; charset=utf-8")),
		see("/board", g.board),
		see("/snapshot", g.snapshot),
		feed,

		see("/stores", g.listShops),
		manage("/stores", g.createStore),
		manage("/stores/{store}/rebrand", g.rebrandStore),
		manage("/stores/{store}/participation", g.setParticipation),

		see("/stock", g.listStock),
		see("/stock/{sku}", g.showStock),
		act("/stock/{sku}/receive", g.receiveStock),
		manage("/stock/{sku}/adjust", g.adjustStock),
		manage("/stock/{sku}/count", g.countStock),

		see("/orders", g.listOrders),
		see("/orders/{order}", g.showOrder),
		act("/orders/{order}/cancel", g.cancelOrder),
		act("/orders/{order}/decide", g.decideShort),
		see("/orders/{order}/substitutes", g.chooseSubstitutes),
		act("/orders/{order}/pay", g.takePayment),
		act("/orders/{order}/hand-over", g.handOver),

		see("/payments/{payment}", g.showPayment),
		see("/invoices/{invoice}", g.showInvoice),
		see("/approvals", g.listApprovals),
		act("/approvals", g.askApproval),
		see("/approvals/{approval}", g.showApproval),
		manage("/approvals/{approval}/give", g.giveApproval),
		act("/approvals/{approval}/refuse", g.refuseApproval),

		see("/purchases", g.listPurchases),
		manage("/purchases/{purchase}/cancel", g.cancelPurchase),
		act("/purchases/{purchase}/deliveries", g.acceptDelivery),
		act("/visits/{visit}/price", g.priceUnknown),

		see("/robots", g.listRobots),
		act("/robots/{robot}/steer", g.steerRobot),
		see("/lists", g.listLists),

		see("/devices", g.listDevices),
		see("/sales", g.sales),
	}
}
