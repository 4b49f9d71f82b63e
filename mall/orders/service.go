package orders

import (
	"embed"

	"example.org/souk/backbone"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Service is the table of the service.
func Service() *backbone.Service {
	return &backbone.Service{
		Name:  "orders",
		About: "Minds the life of an order and runs the checkout.",
		Handles: []backbone.Handler{
			backbone.Decide(orders, place),
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
		Sagas:      []backbone.SagaDefinition{checkout},
		Views:      []backbone.View{feed},
		Migrations: migrations,
	}
}
