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
	ErrNotReady    = backbone.Refuse("not_ready", "not everything is at the depot yet")
	ErrNotPaid     = backbone.Refuse("not_paid", "the order is not paid yet")
	ErrTooDear     = backbone.Refuse("too_dear", "the substitutes cost more than what they stand in for")
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
	Short       Status = "short" // goods were not found: somebody has to decide
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
	{Pending, event.OrderPaidV1, Pending},
	{Pending, event.OrderApprovedV1, Approved},
	{Pending, event.OrderRejectedV1, Rejected},
	{Pending, event.OrderExpiredV1, Expired},
	{Pending, event.OrderCancellingV1, Cancelling},

	{Backordered, event.OrderStockReservedV1, Backordered},
	{Backordered, event.OrderPaidV1, Backordered},
	{Backordered, event.OrderApprovedV1, Approved},
	{Backordered, event.OrderRejectedV1, Rejected},
	{Backordered, event.OrderExpiredV1, Expired},
	{Backordered, event.OrderCancellingV1, Cancelling},

	{Approved, event.OrderPickingV1, Picking},
	{Approved, event.OrderPaidV1, Approved},
	{Approved, event.OrderCancellingV1, Cancelling},

	{Picking, event.OrderShortV1, Short},
	{Picking, event.OrderPaidV1, Picking},
	{Picking, event.OrderReadiedV1, Ready},
	{Picking, event.OrderCancellingV1, Cancelling},

	{Short, event.OrderShortV1, Short},
	{Short, goodsArrivedV1, Short},
	{Short, event.OrderAmendedV1, Picking},
	{Short, event.OrderPaidV1, Short},
	{Short, event.OrderCancellingV1, Cancelling},

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
	Items        []mall.Item    // as they were ordered
	Total        mall.Money     // of what is left of them and what came instead
	Payment      string         // empty: paid at the depot
	WhenShort    mall.WhenShort // empty: the customer is asked
	WaitForStock bool
	Expires      int64 // microseconds
	Reserved     bool  // its stock is held
	Paid         bool
	Collected    bool
	Kept         int64  // it is kept for its customer until then, in microseconds; 0: it was not ready, or did not say
	Reason       string // why it was rejected or cancelled
	Short        Shortage
	Undecided    []mall.Line // were not found, and it is not decided yet what comes of it
	Missing      []mall.Line // were not found, and are left out
	Substitutes  []mall.Item // come instead

	arrived bool // everything else is at the depot
}

// Shortage says of which SKU too little was there; the zero value: of none.
type Shortage struct {
	SKU       string
	Wanted    int64
	Available int64
}

// Shown returns the status as customers see it: in capitals, and RESERVED while the order waits with its stock held.
func (o Order) Shown() string { return shown(o.Status, o.Reserved) }

// KeptUntil is until when an order that is ready is kept for its customer, in UTC; the zero time where it is not ready, or has not said.
func (o Order) KeptUntil() time.Time {
	if o.Status != Ready || o.Kept == 0 {
		return time.Time{}
	}
	return time.UnixMicro(o.Kept).UTC()
}

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
	Private: []backbone.Event{GoodsArrived{}},
	Evolve:  evolve,
}

func evolve(o Order, e backbone.Event) Order {
	o.Status = o.Status.after(e.EventType())
	switch e := e.(type) {
	case event.OrderPlaced:
		o.Customer, o.Message, o.Items, o.Total = e.Customer, e.Message, e.Items, e.Total
		o.Payment, o.WaitForStock, o.Expires, o.WhenShort = e.Payment, e.WaitForStock, e.Expires, e.WhenShort
	case event.OrderStockReserved:
		o.Reserved = true
	case event.OrderBackordered:
		o.Short = Shortage{e.SKU, e.Wanted, e.Available}
	case event.OrderRejected:
		o.Reason, o.Short = e.Reason, Shortage{e.SKU, e.Wanted, e.Available}
	case event.OrderCancelling:
		o.Reason = e.Reason
	case event.OrderShort:
		o.Undecided = mall.AddLines(o.Undecided, e.Missing)
	case event.OrderAmended:
		o.Undecided, o.Missing, o.Total = nil, mall.AddLines(o.Missing, e.Missing), e.Total
		o.Substitutes = append(slices.Clip(o.Substitutes), e.Substitutes...)
	case GoodsArrived:
		o.arrived = true
	case event.OrderReadied:
		o.Kept = e.Until
	case event.OrderPaid:
		o.Paid = true
	case event.OrderCollected:
		o.Collected = true
	}
	return o
}

// with returns the order after events.
func (o Order) with(events ...backbone.Event) Order {
	for _, e := range events {
		o = evolve(o, e)
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
		Payment: c.Payment, WaitForStock: c.WaitForStock, Expires: c.Expires, Basket: c.Basket, WhenShort: c.WhenShort,
	})
}

// sameAs compares what a customer asked for. What the products were called, and the request's own id, do not matter.
func (o Order) sameAs(c command.PlaceOrder) bool {
	return o.Customer == c.Customer && o.Payment == c.Payment && o.WaitForStock == c.WaitForStock && o.WhenShort == c.WhenShort &&
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

// pick and what follows come from the depot and from payments, whose events may cross with a cancel: an order that has no use
// for them any more is left as it is.
func pick(o Order, c command.PickOrder, _ backbone.Meta) ([]backbone.Event, error) {
	if o.Status == Unknown {
		return nil, ErrUnknown
	}
	return o.picked(c.Order), nil
}

// picked returns what brings an approved order to picking, which nobody need have said before what follows from it.
func (o Order) picked(order string) []backbone.Event {
	if o.Status != Approved {
		return nil
	}
	return []backbone.Event{event.OrderPicking{Order: order, Customer: o.Customer}}
}

// shorten takes note of what was not found at a stop. When all goods have arrived it is known anyway.
func shorten(o Order, c command.ShortenOrder, _ backbone.Meta) ([]backbone.Event, error) {
	switch {
	case o.Status == Unknown:
		return nil, ErrUnknown
	case o.arrived:
		return nil, nil
	}
	return o.lacks(c.Order, []mall.Line{{SKU: c.SKU, Quantity: c.Missing}}), nil
}

// lacks returns what follows when goods are missing: what the customer has said beforehand, or the question.
func (o Order) lacks(order string, missing []mall.Line) []backbone.Event {
	events := o.picked(order)
	o = o.with(events...)
	short := event.OrderShort{Order: order, Customer: o.Customer, WhenShort: o.WhenShort}
	for _, line := range missing {
		if line.Quantity = min(line.Quantity, o.expected(line.SKU)); line.Quantity > 0 {
			short.Missing = append(short.Missing, line)
		}
	}
	if len(short.Missing) == 0 || !o.Status.allows(event.OrderShortV1) {
		return events
	}
	events = append(events, short)
	o = evolve(o, short)
	switch o.WhenShort {
	case mall.ShortRest:
		amended, err := o.amend(order, mall.ShortRest, nil)
		if err != nil {
			break // somebody has to look at it
		}
		return append(events, amended...)
	case mall.ShortCancel:
		return append(events, o.cancelled(order, mall.ReasonShort))
	}
	return events
}

// expected returns how many pieces of a SKU are still to come.
func (o Order) expected(sku string) int64 {
	var n int64
	for _, item := range o.Items {
		if item.SKU == sku {
			n += item.Quantity
		}
	}
	for _, lines := range [][]mall.Line{o.Undecided, o.Missing} {
		for _, line := range lines {
			if line.SKU == sku {
				n -= line.Quantity
			}
		}
	}
	return n
}

func decideShort(o Order, c command.DecideShort, _ backbone.Meta) ([]backbone.Event, error) {
	if c.Choice == mall.ShortCancel && (o.Status == Cancelling || o.Status == Canceled) {
		return nil, nil
	}
	if err := o.guard(event.OrderAmendedV1); err != nil {
		return nil, err
	}
	if c.Choice == mall.ShortCancel {
		return one(o.cancelled(c.Order, mall.ReasonShort))
	}
	return o.amend(c.Order, c.Choice, c.Substitutes)
}

// amend leaves out what is undecided and takes the substitutes instead. An order of which nothing is left is cancelled.
func (o Order) amend(order string, choice mall.WhenShort, substitutes []mall.Item) ([]backbone.Event, error) {
	missing := mall.AddLines(o.Missing, o.Undecided)
	rest := mall.Without(o.Items, missing)
	instead := append(slices.Clip(o.Substitutes), substitutes...)
	if len(rest) == 0 && len(instead) == 0 {
		return one(o.cancelled(order, mall.ReasonShort))
	}
	total, err := mall.Total(slices.Concat(rest, instead))
	if err != nil {
		return nil, ErrItems
	}
	if total == (mall.Money{}) {
		total.Currency = o.Total.Currency
	}
	if dearer, err := total.Cmp(o.Total); err != nil {
		return nil, ErrItems
	} else if dearer > 0 {
		return nil, ErrTooDear
	}
	amended := event.OrderAmended{
		Order: order, Customer: o.Customer, Choice: choice, Missing: o.Undecided, Substitutes: substitutes, Total: total,
	}
	events := []backbone.Event{amended}
	if o = evolve(o, amended); o.arrived {
		events = append(events, o.readied(order)...)
	}
	return events, nil
}

func (o Order) cancelled(order, reason string) event.OrderCancelling {
	return event.OrderCancelling{Order: order, Customer: o.Customer, Reason: reason}
}

// ready comes when the list is done, and knows all that is missing, whether it was said before or comes late. While it is
// not decided what comes of it, the order waits for that.
func ready(o Order, c command.ReadyOrder, _ backbone.Meta) ([]backbone.Event, error) {
	switch o.Status {
	case Unknown:
		return nil, ErrUnknown
	case Pending, Backordered:
		return nil, ErrNotOpen
	}
	events := o.lacks(c.Order, o.unsaid(c.Missing))
	switch o = o.with(events...); o.Status {
	case Picking:
		events = append(events, o.readied(c.Order)...)
	case Short:
		if !o.arrived {
			events = append(events, GoodsArrived{Order: c.Order})
		}
	}
	return events, nil
}

// unsaid returns what of all that is missing nobody has said yet.
func (o Order) unsaid(missing []mall.Line) []mall.Line {
	said := map[string]int64{}
	for _, line := range mall.AddLines(o.Undecided, o.Missing) {
		said[line.SKU] = line.Quantity
	}
	var more []mall.Line
	for _, line := range missing {
		if line.Quantity -= said[line.SKU]; line.Quantity > 0 {
			more = append(more, line)
		}
	}
	return more
}

// readied says that the order can be collected, and that it is paid when it costs nothing.
func (o Order) readied(order string) []backbone.Event {
	events := []backbone.Event{event.OrderReadied{Order: order, Customer: o.Customer, Total: o.Total, Payment: o.Payment}}
	if o.Total.Amount == 0 && !o.Paid {
		events = append(events, event.OrderPaid{Order: order, Customer: o.Customer, Amount: o.Total})
	}
	return events
}

// keeping has an order that is made ready say how long it is kept for its customer.
func keeping[C backbone.Command](within time.Duration, decide func(Order, C, backbone.Meta) ([]backbone.Event, error)) func(Order, C, backbone.Meta) ([]backbone.Event, error) {
	return func(o Order, c C, m backbone.Meta) ([]backbone.Event, error) {
		events, err := decide(o, c, m)
		for i, e := range events {
			if e, ok := e.(event.OrderReadied); ok {
				e.Until = m.Time.Add(within).UnixMicro()
				events[i] = e
			}
		}
		return events, err
	}
}

// pay takes note of the money, once, however early it comes. That of an order which has ended otherwise, payments gives back.
func pay(o Order, c command.PayOrder, _ backbone.Meta) ([]backbone.Event, error) {
	switch {
	case o.Status == Unknown:
		return nil, ErrUnknown
	case o.Paid || !o.Status.allows(event.OrderPaidV1):
		return nil, nil
	}
	return one(event.OrderPaid{Order: c.Order, Customer: o.Customer, Amount: c.Amount, Payment: c.Payment})
}

func handOver(o Order, c command.HandOverOrder, _ backbone.Meta) ([]backbone.Event, error) {
	switch o.Status {
	case Unknown:
		return nil, ErrUnknown
	case Completed:
		return nil, nil
	case Pending, Backordered, Approved, Picking, Short:
		return nil, ErrNotReady
	case Ready:
	default:
		return nil, ErrNotOpen
	}
	if !o.Paid {
		return nil, ErrNotPaid
	}
	collected := event.OrderCollected{Order: c.Order, Customer: o.Customer, Lines: mall.Lines(o.Items), Missing: o.Missing}
	if len(o.Substitutes) > 0 {
		collected.Also = mall.Lines(o.Substitutes)
	}
	return []backbone.Event{
		collected,
		event.OrderCompleted{Order: c.Order, Customer: o.Customer, Total: o.Total},
	}, nil
}

// expireUncollected comes from the timer that was set when the order was ready.
func expireUncollected(o Order, c command.ExpireUncollectedOrder, _ backbone.Meta) ([]backbone.Event, error) {
	if o.Status != Ready {
		return nil, nil
	}
	return one(event.OrderExpired{Order: c.Order, Customer: o.Customer})
}

func one(e backbone.Event) ([]backbone.Event, error) { return []backbone.Event{e}, nil }

const goodsArrivedV1 = "souk.orders.GoodsArrived.v1"

// GoodsArrived says that everything that was found is at the depot, while it is not decided yet what comes of the rest.
type GoodsArrived struct {
	Order string `json:"order"`
}

// EventType returns the wire name.
func (GoodsArrived) EventType() string { return goodsArrivedV1 }
