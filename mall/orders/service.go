package orders

import (
	"embed"
	"time"

	"example.org/souk/backbone"
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
}

// Service is the table of the service.
func Service(config Config) *backbone.Service {
	if config.Patience <= 0 {
		config.Patience = patience
	}
	if config.StepPatience <= 0 {
		config.StepPatience = stepPatience
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
		},
		Reacts: []backbone.Subscriber{
			// An order that nobody approves, rejects or cancels expires.
			backbone.Whenever(expireWhenPlaced),
			backbone.Whenever(keepWhenApproved),
			backbone.Whenever(keepWhenRejected),
			backbone.Whenever(keepWhenCancelling),
		},
		Subscribes: []backbone.Subscriber{
			backbone.Whenever(backorderWhenShort),
		},
		Sagas:      []backbone.SagaDefinition{checkoutWithin(config.StepPatience)},
		Views:      []backbone.View{feed},
		Migrations: migrations,
	}
}
