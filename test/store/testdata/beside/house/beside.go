package house

import (
	"example.org/souk/backbone"
	"example.org/souk/gateway/door"
	"example.org/souk/gateway/online"
	"example.org/souk/mall/payments"
	"example.org/souk/provider/payment"
)

// Paying makes the payments service's calls with a client.
func Paying(client *payment.Client) payments.Provider { return provider{client} }

// Sell opens the online store at a door as souk up of 0.1.0 does, with services that need not be in this process, but for orders.
func Sell(d *door.Door, r *backbone.Runtime) error {
	return online.Register(d, online.Config{
		Commands: r, Catalogue: catalogue{r.Reader("stores")}, Orders: orderBook{r.Reader("orders")},
		Stock:  stock{r.Reader("stores"), r.Reader("inventory")},
		Pulses: &online.Hub{}, Seeder: worlds{}, Currency: "EUR",
	})
}
