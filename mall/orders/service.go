package orders

import (
	"embed"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/mall/command"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Config is what a shop can settle about its orders. The zero value is the default.
type Config struct {
	// Patience is how long an order may wait for its approval unless it says otherwise; default 24 hours.
	Patience time.Duration
	// StepPatience is how long a step of the checkout may wait for the answer of another service; then it asks again, or
	// undoes the order where a payment is not confirmed. Default 30 seconds.
	StepPatience time.Duration
	// Collection is how long a ready order waits to be collected before it expires; default 48 hours.
	Collection time.Duration
	// Depot says that the mall has a depot, which has the goods fetched: then the checkout is of version 2. Without one an
	// approved order stays approved.
	Depot bool
	// Baskets says that the mall has baskets, which are checked out into orders.
	Baskets bool
}

// collection is how long a ready order waits where a shop does not say.
const collection = 48 * time.Hour

// Service is the table of the service.
func Service(config Config) *backbone.Service {
	if config.Patience <= 0 {
		config.Patience = patience
	}
	if config.StepPatience <= 0 {
		config.StepPatience = stepPatience
	}
	if config.Collection <= 0 {
		config.Collection = collection
	}
	return &backbone.Service{
		Name:  "orders",
		About: "Minds the life of an order and runs the checkout.",
		Handles: []backbone.Handler{
			backbone.Decide(orders, placing(config.Patience)),
			backbone.Decide(orders, reserveStock),
			backbone.Decide(orders, backorder),
			backbone.Decide(orders, approve),
			backbone.Decide(orders, reject),
			backbone.Decide(orders, cancel),
			backbone.Decide(orders, finishCancel),
			backbone.Decide(orders, expire),
			backbone.Decide(orders, pick),
			backbone.Decide(orders, keeping(config.Collection, shorten)),
			backbone.Decide(orders, keeping(config.Collection, decideShort)),
			backbone.Decide(orders, keeping(config.Collection, ready)),
			backbone.Decide(orders, pay),
			backbone.Decide(orders, handOver),
			backbone.Decide(orders, expireUncollected),
		},
		Reacts: []backbone.Subscriber{
			// An order that nobody approves, rejects or cancels expires.
			backbone.Whenever(expireWhenPlaced),
			backbone.Whenever(earmarkWhenPlaced),
			backbone.Whenever(keepWhenApproved),
			backbone.Whenever(keepWhenRejected),
			backbone.Whenever(keepWhenCancelling),
			// Nor does a ready one wait for ever that nobody comes for.
			backbone.Whenever(expireWhenReady(config.Collection)),
			backbone.Whenever(keepWhenCompleted),
			// What was collected is out of the house.
			backbone.Whenever(issueWhenCollected),
		},
		Subscribes: config.subscribes(),
		Sends:      []backbone.Command{command.IssueReservedStock{}, command.EarmarkPayment{}},
		Sagas:      config.sagas(),
		Views:      []backbone.View{feed},
		Migrations: migrations,
	}
}

// subscribes lists what is heard of the others that the mall has.
func (c Config) subscribes() []backbone.Subscriber {
	list := []backbone.Subscriber{
		backbone.Whenever(backorderWhenShort),
	}
	if c.Baskets {
		// A basket may be checked out before this service first runs.
		list = append(list, backbone.Whenever(placeWhenCheckedOut).From(backbone.FromFirst))
	}
	if c.Depot {
		list = append(list,
			backbone.Whenever(pickWhenAssigned),
			backbone.Whenever(shortenWhenShort),
			backbone.Whenever(readyWhenListCompleted),
			backbone.Whenever(payWhenInvoicePaid),
			backbone.Whenever(payWhenCaptured))
	}
	return list
}

// sagas lists the checkouts: the newest takes what is placed from now on, and those before it what they have begun.
func (c Config) sagas() []backbone.SagaDefinition {
	list := []backbone.SagaDefinition{within(checkout, c.StepPatience)}
	if c.Depot {
		list = append(list, within(checkoutWithDepot, c.StepPatience))
	}
	return list
}
