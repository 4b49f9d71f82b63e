package greeter

import (
	"embed"

	"example.org/souk/backbone"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Service is the table of the service.
func Service() *backbone.Service {
	return &backbone.Service{
		Name:  "greeter",
		About: "Minds what the displays say to whoever comes in.",
		Handles: []backbone.Handler{
			backbone.Decide(greetings, greet),
		},
		Subscribes: []backbone.Subscriber{
			backbone.On(greetWhenArrived),
		},
		Sends:      []backbone.Command{},
		Views:      []backbone.View{people, pickups},
		Migrations: migrations,
	}
}
