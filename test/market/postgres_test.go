package market

import (
	"testing"

	"example.org/souk/internal/testserver"
	"example.org/souk/mall/event"
)

// B20: on PostgreSQL the supermarket does what it does on SQLite: a visitor is known, welcomed, billed and charged, and
// the shelf fills again.
func TestB20_OnPostgres(t *testing.T) {
	t.Parallel()
	m := open(t, "--db", testserver.Postgres(t).Database(t))
	m.souk("product", "add", "cup", "2.00", "--name", "Cup", "--threshold", "5", "--restock", "20", "--barcode", "4006381333931")
	m.souk("stock", "receive", "cup", "5")
	m.idle()
	gate, till := m.device("gate-1"), m.device("till-1")
	told := till.sub("mqttv5", "payment-due")
	gate.mustPub("mqttv311", "CustomerArrival", "5001")
	m.idle()
	gate.mustPub("mqttv5", "customer-departed", departureOf("5001", 1, "4006381333931", "PRODUCT_001"))
	await(t, "payment is due", func() bool { return len(heard(told, "payment-due")) == 1 })
	if got := m.charged(1); len(got) != 1 || got[0].Customer != "CUSTOMER_001" || got[0].Amount.Amount != 1200 {
		t.Errorf("charged: %+v", got)
	}
	await(t, "the shelf is full again", func() bool { return m.onHand("cup") == 24 })
	if got := events[event.WelcomeShown](m, event.WelcomeShownV1); len(got) != 1 || got[0].Name == "" {
		t.Errorf("welcomes: %+v", got)
	}
	if got := events[event.CustomerDeparted](m, event.CustomerDepartedV1); len(got) != 1 || got[0].Unannounced {
		t.Errorf("departures: %+v", got)
	}
	m.souk("device", "revoke", "gate-1")
	m.stop()
}
