package stores

import (
	"embed"

	"example.org/souk/backbone"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Service is the table of the service.
func Service() *backbone.Service {
	return &backbone.Service{
		Name:  "stores",
		About: "Minds what is sold, by whom and at which price.",
		Handles: []backbone.Handler{
			backbone.Decide(stores, create),
			backbone.Decide(stores, rebrandStore),
			backbone.Decide(stores, enableParticipation),
			backbone.Decide(stores, disableParticipation),
			backbone.DecideMany(productAndStore, addProduct).On(products, stores),
			backbone.Decide(products, rebrandProduct),
			backbone.Decide(products, assignBarcode),
			backbone.Decide(products, categorizeProduct),
			backbone.Decide(products, increasePrice),
			backbone.Decide(products, decreasePrice),
			backbone.Decide(products, removeProduct),
		},
		Sends:      []backbone.Command{},
		Views:      []backbone.View{catalogue},
		Migrations: migrations,
	}
}
