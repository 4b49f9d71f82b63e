package search

import (
	"embed"

	"example.org/souk/backbone"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Service is the table of the service.
func Service() *backbone.Service {
	return &backbone.Service{
		Name:       "search",
		About:      "Finds orders.",
		Sends:      []backbone.Command{},
		Views:      []backbone.View{found},
		Migrations: migrations,
	}
}
