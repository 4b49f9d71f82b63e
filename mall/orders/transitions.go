package orders

import "example.org/souk/mall/event"

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
