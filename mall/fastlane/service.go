package fastlane

import (
	"embed"

	"example.org/souk/backbone"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Service is the table of the service. currency is the shop's, in which nothing is owed where a bag is empty.
func Service(currency string) *backbone.Service {
	return &backbone.Service{
		Name:  "fastlane",
		About: "Minds what a walk-out costs.",
		Handles: []backbone.Handler{
			backbone.Decide(bills, bill),
			backbone.Decide(bills, priceUnknown),
		},
		Subscribes: []backbone.Subscriber{
			backbone.On(cashier{currency}.billWhenDeparted).From(backbone.FromFirst).After(prices.Name),
		},
		Sends:      []backbone.Command{},
		Views:      []backbone.View{prices},
		Migrations: migrations,
	}
}
