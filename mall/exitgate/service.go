package exitgate

import (
	"embed"

	"example.org/souk/backbone"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Service is the table of the service.
func Service() *backbone.Service {
	return &backbone.Service{
		Name:  "exitgate",
		About: "Minds who leaves with what.",
		Handles: []backbone.Handler{
			backbone.Decide(visitors, scan),
			backbone.Decide(visitors, adopt),
		},
		Subscribes: []backbone.Subscriber{
			backbone.Whenever(adoptWhenArrived).From(backbone.FromFirst),
		},
		Sends:      []backbone.Command{},
		Views:      []backbone.View{goods},
		Migrations: migrations,
	}
}
