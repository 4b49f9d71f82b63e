package rpc

import (
	"net/http"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/reflect/protoreflect"

	soukv1 "example.org/souk/api/gen/souk/v1"
)

// face is how one application service looks from outside.
type face struct {
	// service is the service of the mall that has to run here; empty: it stands in every process.
	service string
	// file describes the protobuf service, which is the only one in it.
	file protoreflect.FileDescriptor
	// policy says for each method who may call it.
	policy map[string]Access
	// serve returns the path and the handler.
	serve func(*server, ...connect.HandlerOption) (string, http.Handler)
}

// faces lists the faces of all services.
func faces() []face {
	return []face{
		{"orders", soukv1.File_souk_v1_orders_proto, ordersPolicy, serveOrders},
		{"stores", soukv1.File_souk_v1_stores_proto, storesPolicy, serveStores},
		{"customers", soukv1.File_souk_v1_customers_proto, customersPolicy, serveCustomers},
		{"baskets", soukv1.File_souk_v1_baskets_proto, basketsPolicy, serveBaskets},
		{"inventory", soukv1.File_souk_v1_inventory_proto, inventoryPolicy, serveInventory},
		{"payments", soukv1.File_souk_v1_payments_proto, paymentsPolicy, servePayments},
		{"notifications", soukv1.File_souk_v1_notifications_proto, notificationsPolicy, serveNotifications},
		{"analytics", soukv1.File_souk_v1_analytics_proto, analyticsPolicy, serveAnalytics},
		{"depot", soukv1.File_souk_v1_depot_proto, depotPolicy, serveDepot},
		{"search", soukv1.File_souk_v1_search_proto, searchPolicy, serveSearch},
		{"keys", soukv1.File_souk_v1_keys_proto, keysPolicy, serveKeys},
		{"", soukv1.File_souk_v1_commands_proto, commandsPolicy, serveCommands},
		{"", soukv1.File_souk_v1_log_proto, logPolicy, serveLog},
		{"", soukv1.File_souk_v1_control_proto, controlPolicy, serveControl},
	}
}

// name returns the full name of the protobuf service.
func (f *face) name() string { return string(f.file.Services().Get(0).FullName()) }
