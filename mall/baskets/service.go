package baskets

import (
	"embed"
	"time"

	"example.org/souk/backbone"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Config is what a shop can settle about its baskets. The zero value is the default.
type Config struct {
	// Hold is how long a basket is kept unless it is extended; default 30 minutes.
	Hold time.Duration
}

const hold = 30 * time.Minute

// Service is the table of the service.
func Service(config Config) *backbone.Service {
	if config.Hold <= 0 {
		config.Hold = hold
	}
	return &backbone.Service{
		Name:  "baskets",
		About: "Minds what a customer wants.",
		Handles: []backbone.Handler{
			backbone.Decide(baskets, starting(config.Hold)),
			backbone.Decide(baskets, add),
			backbone.Decide(baskets, remove),
			backbone.Decide(baskets, acceptPrices),
			backbone.Decide(baskets, extending(config.Hold)),
			backbone.Decide(baskets, cancel),
			backbone.Decide(baskets, checkout),
		},
		Reacts: []backbone.Subscriber{
			// A basket that nobody checks out, cancels or extends expires.
			backbone.Whenever(expireWhenStarted),
			backbone.Whenever(expireWhenExtended),
			backbone.Whenever(endWhenCanceled),
			backbone.Whenever(endWhenCheckedOut),
		},
		Sends:      []backbone.Command{},
		Views:      []backbone.View{known},
		Migrations: migrations,
	}
}
