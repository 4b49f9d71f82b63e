package entrance

import (
	"embed"

	"example.org/souk/backbone"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Service is the table of the service.
func Service() *backbone.Service {
	return &backbone.Service{
		Name:  "entrance",
		About: "Minds who comes in; one visit at a time.",
		Handles: []backbone.Handler{
			backbone.Decide(visitors, scan),
			backbone.Decide(visitors, closeVisit),
		},
		Reacts: []backbone.Subscriber{
			// A visit ends by itself when nobody saw the visitor leave.
			backbone.Whenever(closeInTime),
			backbone.Whenever(closed),
		},
		Subscribes: []backbone.Subscriber{
			backbone.Whenever(closeWhenDeparted).From(backbone.FromFirst),
		},
		Sends:      []backbone.Command{},
		Views:      []backbone.View{cards},
		Migrations: migrations,
	}
}
