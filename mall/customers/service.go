package customers

import (
	"context"

	"example.org/souk/backbone"
)

// Service is the table of the service.
func Service() *backbone.Service {
	return &backbone.Service{
		Name:  "customers",
		About: "Minds who may buy.",
		Handles: []backbone.Handler{
			backbone.Decide(customers, register),
			backbone.Decide(customers, changeContact),
			backbone.Decide(customers, enable),
			backbone.Decide(customers, disable),
			backbone.Decide(customers, linkCard),
			backbone.Decide(customers, authorize),
			backbone.Decide(customers, forget),
		},
		Sends: []backbone.Command{},
	}
}

// Get returns a customer as of now. One that nobody registered has the Status Unknown and no error.
func Get(ctx context.Context, r *backbone.Reader, id string) (Customer, error) {
	c, _, err := backbone.Load(ctx, r, customers, id)
	return c, err
}
