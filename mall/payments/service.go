package payments

import (
	"embed"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/mall/event"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Config is what payments has to know of the mall. The zero value is the default.
type Config struct {
	// Depot says that the mall has a depot, so that orders become ready: then their money is taken, and given back when they
	// are undone. Without one, orders say nothing that there is to pay for.
	Depot bool
	// Hold is how long an authorized payment is kept that no order takes; then it is voided. Default 30 minutes.
	Hold time.Duration
}

// hold is how long a payment is kept where a shop does not say: as long as a basket.
const hold = 30 * time.Minute

// Service is the table of the service. provider may be nil where the service does not run.
func Service(provider Provider, config Config) *backbone.Service {
	if config.Hold <= 0 {
		config.Hold = hold
	}
	return &backbone.Service{
		Name:  "payments",
		About: "Minds the money: authorizes, confirms, captures, voids, refunds, invoices.",
		Handles: []backbone.Handler{
			backbone.Decide(payments, authorize),
			backbone.Decide(payments, earmark),
			backbone.Decide(payments, confirm),
			backbone.Decide(payments, capture),
			backbone.Decide(payments, void),
			backbone.Decide(payments, refund),
			backbone.Decide(payments, chargeVisit),
			backbone.Decide(payments, settle),
			backbone.Decide(payments, lapse),
			backbone.Decide(invoices, createInvoice),
			backbone.Decide(invoices, adjustInvoice),
			backbone.Decide(invoices, payInvoice),
			backbone.Decide(invoices, cancelInvoice),
			backbone.Decide(invoices, refundInvoice),
			backbone.Decide(invoices, billOrder),
			backbone.Decide(invoices, closeInvoice),
		},
		Reacts: config.reacts([]backbone.Subscriber{
			// What was decided to ask of the provider is asked.
			backbone.Whenever(callAuthorize),
			backbone.Whenever(callCapture),
			backbone.Whenever(callVoid),
			backbone.Whenever(callRefund),
			backbone.Whenever(clearUp),
			// What is set aside and nobody takes is freed.
			backbone.Whenever(lapsing(config.Hold)),
			backbone.Whenever(lapsingAfter(config.Hold)),
			backbone.Whenever(keepWhenConfirmed),
			backbone.Whenever(keepWhenCharged),
			backbone.Whenever(keepWhenVoiding),
			backbone.Whenever(keepWhenVoided),
			// What is settled is not asked any more.
			settled(func(e event.PaymentAuthorized) string { return e.Payment }),
			settled(func(e event.PaymentDeclined) string { return e.Payment }),
			settled(func(e event.PaymentCaptured) string { return e.Payment }),
			settled(func(e event.PaymentVoided) string { return e.Payment }),
			settled(func(e event.PaymentRefunded) string { return e.Payment }),
			// What one way of paying does not give, another does.
			backbone.Whenever(refundByPayment),
		}),
		Subscribes: config.subscribes(),
		Sends:      []backbone.Command{},
		Calls:      []backbone.CallType{providerCall(provider)},
		Views:      []backbone.View{ledger, accounts},
		Migrations: migrations,
	}
}

func (c Config) reacts(list []backbone.Subscriber) []backbone.Subscriber {
	if c.Depot {
		list = append(list, backbone.Whenever(billWhenRefused))
	}
	return list
}

func (c Config) subscribes() []backbone.Subscriber {
	list := []backbone.Subscriber{
		// Who left before this service first ran pays all the same.
		backbone.Whenever(chargeWhenDue).From(backbone.FromFirst),
		backbone.Whenever(chargeWhenPriced).From(backbone.FromFirst),
	}
	if c.Depot {
		list = append(list,
			backbone.Whenever(settleWhenReady),
			backbone.Whenever(closeWhenRejected),
			backbone.Whenever(closeWhenCancelling),
			backbone.Whenever(closeWhenExpired))
	}
	return list
}
