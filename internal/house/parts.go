package house

import (
	"cmp"

	"example.org/souk/backbone"
	"example.org/souk/gateway/devices"
	"example.org/souk/gateway/kiosk"
	"example.org/souk/gateway/online"
	"example.org/souk/gateway/partner"
	"example.org/souk/gateway/staff"
	"example.org/souk/mall/analytics"
	"example.org/souk/mall/baskets"
	"example.org/souk/mall/customers"
	"example.org/souk/mall/depot"
	"example.org/souk/mall/entrance"
	"example.org/souk/mall/exitgate"
	"example.org/souk/mall/fastlane"
	"example.org/souk/mall/greeter"
	"example.org/souk/mall/inventory"
	"example.org/souk/mall/logistics"
	"example.org/souk/mall/notifications"
	"example.org/souk/mall/orders"
	"example.org/souk/mall/payments"
	"example.org/souk/mall/search"
	"example.org/souk/mall/stores"
)

// Ports are what services need from outside, nil where they do not run, and what the shop settles about them.
type Ports struct {
	Orders   orders.Config
	Baskets  baskets.Config
	Payments payments.Config
	Depot    depot.Config
	Provider payments.Provider
	Sender   notifications.Sender
	// Devices is the gateway to devices, whose service is always there; nil where it does not run.
	Devices *devices.Gateway
	// Bus is that of the logistics department.
	Bus logistics.Bus
	// Currency is the shop's.
	Currency string
	// Partners is the gateway to partners, which has a service of its own; nil where there is none.
	Partners *partner.Gateway
	// Intake says that the online store and kiosks take orders in by services of their own, since others may be away.
	Intake bool
}

// Parts lists every service of the mall, in the order in which the map shows them,
// and those that were added.
func Parts(p Ports, added ...*backbone.Service) []*backbone.Service {
	p.Orders.Depot, p.Orders.Baskets, p.Payments.Depot = true, true, true
	parts := []*backbone.Service{
		stores.Service(),
		customers.Service(),
		baskets.Service(p.Baskets),
		orders.Service(p.Orders),
		inventory.Service(),
		depot.Service(p.Depot),
		payments.Service(p.Provider, p.Payments),
		notifications.Service(p.Sender),
		analytics.Service(),
		search.Service(),
		entrance.Service(),
		greeter.Service(),
		exitgate.Service(),
		fastlane.Service(cmp.Or(p.Currency, "EUR")),
		logistics.Service(p.Bus),
		devices.Service(p.Devices),
		backbone.KeyService(),
	}
	if p.Intake {
		parts = append(parts, online.Service(), kiosk.Service())
	}
	if p.Partners != nil {
		parts = append(parts, p.Partners.Service())
	}
	parts = append(parts, staff.Service(openGate))
	return append(parts, added...)
}
