package analytics

import (
	"embed"

	"example.org/souk/backbone"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Service is the table of the service.
func Service() *backbone.Service {
	return &backbone.Service{
		Name:       "analytics",
		About:      "Counts orders, sales and walk-ins, and how far they come.",
		Sends:      []backbone.Command{},
		Views:      []backbone.View{sales, outcomes, products, trade},
		Migrations: migrations,
	}
}
