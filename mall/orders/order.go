package orders

import (
	"slices"
	"strings"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/event"
)

// What the service refuses; compare with errors.Is.
var (
	ErrExists      = backbone.Refuse("order_exists", "an order of this id was placed before") // with Existing as data
	ErrUnknown     = backbone.Refuse("order_unknown", "there is no such order")
	ErrNotOpen     = backbone.Refuse("not_open", "the order is not open for that any more")
	ErrNotReserved = backbone.Refuse("not_reserved", "nothing is held for the order yet")
	ErrTooLate     = backbone.Refuse("too_late", "the order would have expired already")
	ErrItems       = backbone.Refuse("wrong_items", "the items do not add up")
)

// Existing is the data of ErrExists.
type Existing struct {
	// Same says that the order of that id has the same customer, items, prices, payment and wish to wait.
	Same   bool   `json:"same"`
	Status string `json:"status"` // as Order.Shown
}

// patience is how long an order may wait for its approval unless the shop or the order says otherwise.
const patience = 24 * time.Hour

// Status says how far an order is.
type Status string

// The statuses of an order.
const (
	Unknown     Status = "" // never placed
	Pending     Status = "pending"
	Backordered Status = "backordered" // waits for a delivery
	Approved    Status = "approved"    // will be carried through
	Picking     Status = "picking"
	Ready       Status = "ready" // to be collected
	Completed   Status = "completed"
	Rejected    Status = "rejected"
	Expired     Status = "expired"
	Cancelling  Status = "cancelling" // is being undone
	Canceled    Status = "canceled"
)

// Terminal reports whether nothing comes after.
func (s Status) Terminal() bool {
	return s == Completed || s == Rejected || s == Expired || s == Canceled
}

type transition struct {
	from Status
	on   string // wire name
	to   Status
}

// transitions are all steps that an order can take.
var transitions = []transition{
	{Unknown, event.OrderPlacedV1, Pending},

	{Pending, event.OrderStockReservedV1, Pending},
	{Pending, event.OrderBackorderedV1, Backordered},
	{Pending, event.OrderApprovedV1, Approved},
	{Pending, event.OrderRejectedV1, Rejected},
	{Pending, event.OrderExpiredV1, Expired},
	{Pending, event.OrderCancellingV1, Cancelling},

	{Backordered, event.OrderStockReservedV1, Backordered},
	{Backordered, event.OrderApprovedV1, Approved},
	{Backordered, event.OrderRejectedV1, Rejected},
	{Backordered, event.OrderExpiredV1, Expired},
	{Backordered, event.OrderCancellingV1, Cancelling},

	{Approved, event.OrderPickingV1, Picking},
	{Approved, event.OrderPaidV1, Approved},
	{Approved, event.OrderCancellingV1, Cancelling},

	{Picking, event.OrderShortV1, Picking},
	{Picking, event.OrderPaidV1, Picking},
	{Picking, event.OrderReadiedV1, Ready},
	{Picking, event.OrderCancellingV1, Cancelling},

	{Ready, event.OrderPaidV1, Ready},
	{Ready, event.OrderCollectedV1, Ready},
	{Ready, event.OrderCompletedV1, Completed},
	{Ready, event.OrderExpiredV1, Expired},
	{Ready, event.OrderCancellingV1, Cancelling},

	{Cancelling, event.OrderCanceledV1, Canceled},
}

// steps has the transitions by status and event.
var steps = func() map[Status]map[string]Status {
	index := map[Status]map[string]Status{}
	for _, t := range transitions {
		if index[t.from] == nil {
			index[t.from] = map[string]Status{}
		}
		index[t.from][t.on] = t.to
	}
	return index
}()

// allows reports whether the event may follow.
func (s Status) allows(wire string) bool {
	_, ok := steps[s][wire]
	return ok
}

// after returns the status that follows; an event that is not in the table changes nothing.
func (s Status) after(wire string) Status {
	if next, ok := steps[s][wire]; ok {
		return next
	}
	return s
}

// Order is the state of an order.
type Order struct {
	Status       Status
	Customer     string
	Message      string
	Items        []mall.Item
	Total        mall.Money
	Payment      string // empty: paid at the depot
	WaitForStock bool
	Expires      int64 // microseconds
	Reserved     bool  // its stock is held
	Paid         bool
	Collected    bool
	Reason       string // why it was rejected or cancelled
	Short        Shortage
}

// Shortage says of which SKU too little was there; the zero value: of none.
type Shortage struct {
	SKU       string
	Wanted    int64
	Available int64
}

// Shown returns the status as customers see it: in capitals, and RESERVED while the order waits with its stock held.
func (o Order) Shown() string { return shown(o.Status, o.Reserved) }

func shown(s Status, reserved bool) string {
	if reserved && (s == Pending || s == Backordered) {
		return "RESERVED"
	}
	return strings.ToUpper(string(s))
}

var orders = &backbone.Aggregate[Order]{
	Name: "order",
	Public: []backbone.Event{
		event.OrderPlaced{},
		event.OrderStockReserved{},
		event.OrderApproved{},
		event.OrderRejected{},
		event.OrderBackordered{},
		event.OrderPicking{},
		event.OrderShort{},
		event.OrderAmended{},
		event.OrderReadied{},
		event.OrderPaid{},
		event.OrderCollected{},
		event.OrderCompleted{},
		event.OrderCancelling{},
		event.OrderCanceled{},
		event.OrderExpired{},
	},
	Evolve: evolve,
}

func evolve(o Order, e backbone.Event) Order {
	o.Status = o.Status.after(e.EventType())
	switch e := e.(type) {
	case event.OrderPlaced:
		o.Customer, o.Message, o.Items, o.Total = e.Customer, e.Message, e.Items, e.Total
		o.Payment, o.WaitForStock, o.Expires = e.Payment, e.WaitForStock, e.Expires
	case event.OrderStockReserved:
		o.Reserved = true
	case event.OrderBackordered:
		o.Short = Shortage{e.SKU, e.Wanted, e.Available}
	case event.OrderRejected:
		o.Reason, o.Short = e.Reason, Shortage{e.SKU, e.Wanted, e.Available}
	case event.OrderCancelling:
		o.Reason = e.Reason
	case event.OrderPaid:
		o.Paid = true
	case event.OrderCollected:
		o.Collected = true
	}
	return o
}

// placing decides that an order is taken, which may then wait for so long.
func placing(patience time.Duration) func(Order, command.PlaceOrder, backbone.Meta) ([]backbone.Event, error) {
	return func(o Order, c command.PlaceOrder, m backbone.Meta) ([]backbone.Event, error) {
		if c.Expires == 0 {
			c.Expires = m.Time.Add(patience).UnixMicro()
		}
		return place(o, c, m)
	}
}

func place(o Order, c command.PlaceOrder, m backbone.Meta) ([]backbone.Event, error) {
	if o.Status != Unknown {
		return nil, ErrExists.With(Existing{Same: o.sameAs(c), Status: o.Shown()})
	}
	total, err := mall.Total(c.Items)
	if err != nil {
		return nil, ErrItems
	}
	if c.Expires <= m.Time.UnixMicro() {
		return nil, ErrTooLate
	}
	return one(event.OrderPlaced{
		Order: c.Order, Message: c.Message, Customer: c.Customer, Items: c.Items, Total: total,
		Payment: c.Payment, WaitForStock: c.WaitForStock, Expires: c.Expires,
	})
}

// sameAs compares what a customer asked for. What the products were called, and the request's own id, do not matter.
func (o Order) sameAs(c command.PlaceOrder) bool {
	return o.Customer == c.Customer && o.Payment == c.Payment && o.WaitForStock == c.WaitForStock &&
		slices.EqualFunc(o.Items, c.Items, func(a, b mall.Item) bool {
			return a.Product == b.Product && a.Quantity == b.Quantity && a.Price == b.Price
		})
}

// guard returns the refusal of an event that may not follow now.
func (o Order) guard(wire string) error {
	switch {
	case o.Status == Unknown:
		return ErrUnknown
	case !o.Status.allows(wire):
		return ErrNotOpen
	}
	return nil
}

func reserveStock(o Order, c command.ReserveOrderStock, _ backbone.Meta) ([]backbone.Event, error) {
	if err := o.guard(event.OrderStockReservedV1); err != nil || o.Reserved {
		return nil, err
	}
	return one(event.OrderStockReserved{Order: c.Order, Customer: o.Customer, Lines: c.Lines, InventoryEvent: c.InventoryEvent})
}

// backorder comes whenever stock was short: it concerns the orders that wait for it, and those only as long as they do.
func backorder(o Order, c command.BackorderOrder, _ backbone.Meta) ([]backbone.Event, error) {
	if o.Status != Pending || !o.WaitForStock || o.Reserved {
		return nil, nil
	}
	return one(event.OrderBackordered{Order: c.Order, Customer: o.Customer, SKU: c.SKU, Wanted: c.Wanted, Available: c.Available})
}

func approve(o Order, c command.ApproveOrder, _ backbone.Meta) ([]backbone.Event, error) {
	if o.Status == Approved {
		return nil, nil
	}
	if err := o.guard(event.OrderApprovedV1); err != nil {
		return nil, err
	}
	if !o.Reserved {
		return nil, ErrNotReserved
	}
	return one(event.OrderApproved{Order: c.Order, Customer: o.Customer, Total: o.Total})
}

func reject(o Order, c command.RejectOrder, _ backbone.Meta) ([]backbone.Event, error) {
	if o.Status == Rejected {
		return nil, nil
	}
	if err := o.guard(event.OrderRejectedV1); err != nil {
		return nil, err
	}
	return one(event.OrderRejected{
		Order: c.Order, Customer: o.Customer, Reason: c.Reason, SKU: c.SKU, Wanted: c.Wanted, Available: c.Available,
	})
}

func cancel(o Order, c command.CancelOrder, _ backbone.Meta) ([]backbone.Event, error) {
	if o.Status == Cancelling || o.Status == Canceled {
		return nil, nil
	}
	if err := o.guard(event.OrderCancellingV1); err != nil {
		return nil, err
	}
	return one(event.OrderCancelling{Order: c.Order, Customer: o.Customer, Reason: c.Reason})
}

func finishCancel(o Order, c command.FinishCancelOrder, _ backbone.Meta) ([]backbone.Event, error) {
	if o.Status == Canceled {
		return nil, nil
	}
	if err := o.guard(event.OrderCanceledV1); err != nil {
		return nil, err
	}
	return one(event.OrderCanceled{Order: c.Order, Customer: o.Customer, Reason: o.Reason})
}

// expire comes from the timer, which has judged the time. An order that is approved does not expire by it any more.
func expire(o Order, c command.ExpireOrder, _ backbone.Meta) ([]backbone.Event, error) {
	if o.Status != Pending && o.Status != Backordered {
		return nil, nil
	}
	return one(event.OrderExpired{Order: c.Order, Customer: o.Customer})
}

func one(e backbone.Event) ([]backbone.Event, error) { return []backbone.Event{e}, nil }

func expireWhenPlaced(e event.OrderPlaced, _ backbone.Meta) []backbone.Effect {
	return []backbone.Effect{backbone.SetTimer(timer(e.Order), time.UnixMicro(e.Expires).UTC(), command.ExpireOrder{Order: e.Order})}
}

func keepWhenApproved(e event.OrderApproved, _ backbone.Meta) []backbone.Effect { return keep(e.Order) }

func keepWhenRejected(e event.OrderRejected, _ backbone.Meta) []backbone.Effect { return keep(e.Order) }

func keepWhenCancelling(e event.OrderCancelling, _ backbone.Meta) []backbone.Effect {
	return keep(e.Order)
}

func keep(order string) []backbone.Effect {
	return []backbone.Effect{backbone.CancelTimer(timer(order))}
}

func timer(order string) string { return "expire/" + order }

func backorderWhenShort(e event.StockRejected, _ backbone.Meta) []backbone.Effect {
	return []backbone.Effect{backbone.Send(command.BackorderOrder{Order: e.Order, SKU: e.SKU, Wanted: e.Wanted, Available: e.Available})}
}
