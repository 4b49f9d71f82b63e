package market

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"example.org/souk/internal/testmall"
	"example.org/souk/internal/testserver"
	"example.org/souk/mall/event"
)

// B20: on PostgreSQL the supermarket does what it does on SQLite: a visitor is known, welcomed, billed and charged, and
// the shelf fills again. Then devices alone have a process, under a role of their own, which knows cards and barcodes, and
// nothing else that other services keep. Red where the role may not read them, and where it may read more.
func TestB20_OnPostgres(t *testing.T) {
	t.Parallel()
	server := testserver.Postgres(t)
	db := server.Database(t)
	m := open(t, "--db", db)
	m.Souk("product", "add", "cup", "2.00", "--name", "Cup", "--threshold", "5", "--restock", "20", "--barcode", "4006381333931")
	m.Souk("stock", "receive", "cup", "5")
	m.Idle()
	gate, till := m.device("gate-1"), m.device("till-1")
	told := till.sub("mqttv5", "payment-due")
	gate.mustPub("mqttv311", "CustomerArrival", "5001")
	m.Idle()
	gate.mustPub("mqttv5", "customer-departed", departureOf("5001", 1, "4006381333931", "PRODUCT_001"))
	await(t, "payment is due", func() bool { return len(heard(told, "payment-due")) == 1 })
	if got := m.charged(1); len(got) != 1 || got[0].Customer != "CUSTOMER_001" || got[0].Amount.Amount != 1200 {
		t.Errorf("charged: %+v", got)
	}
	await(t, "the shelf is full again", func() bool { return m.onHand("cup") == 24 })
	if got := testmall.Events[event.WelcomeShown](m.Mall, event.WelcomeShownV1); len(got) != 1 || got[0].Name == "" {
		t.Errorf("welcomes: %+v", got)
	}
	if got := testmall.Events[event.CustomerDeparted](m.Mall, event.CustomerDepartedV1); len(got) != 1 || got[0].Unannounced {
		t.Errorf("departures: %+v", got)
	}
	m.Souk("device", "revoke", "gate-1")
	gate = m.device("gate-2")
	m.Stop()

	m.DB = db
	m.Souk("migrate", "--roles", "market_b20")
	alone := strings.Replace(db, "postgres@", "market_b20_devices@", 1)
	m.DB = alone
	p := &testmall.Part{Runs: []string{"devices"}, Dir: filepath.Join(m.Dir, "alone"), More: []string{"--mqtt-sessions-each", "1"}}
	m.beginParts(p)
	gate.mustPub("mqttv5", "CustomerArrival", "5001")
	gate.mustPub("mqttv311", "customer-departed", departureOf("5001", 2, "4006381333931"))
	taken, _ := server.Psql(t, alone, `SELECT convert_from(data, 'UTF8') FROM devices.bb_log WHERE type IN ('souk.devices.ArrivalTaken.v1', 'souk.devices.DepartureTaken.v1') ORDER BY position;`)
	if lines := strings.Split(strings.TrimSpace(taken), "\n"); len(lines) != 2 || !strings.Contains(lines[0], `"customer":"CUSTOMER_001"`) || !strings.Contains(lines[1], `"customer":"CUSTOMER_001"`) ||
		!strings.Contains(lines[1], `"sku":"cup"`) {
		t.Errorf("devices alone have taken in:\n%s", taken)
	}
	if _, denied := server.Psql(t, alone, "SELECT * FROM customers.bb_answer; SELECT * FROM payments.bb_parked; DELETE FROM entrance.cards;"); strings.Count(denied, "permission denied") != 3 {
		t.Errorf("the role of devices may do more than it needs: %s", denied)
	}
	till.sub("mqttv5", "payment-due")
	if out, err := till.pub("mqttv5", "souk/v1/market/till/till-1/ack", "{}"); err == nil || !strings.Contains(out, "Quota exceeded") {
		t.Errorf("a second session of a device that may have one: %v %s", err, out)
	}
	p.Proc.Signal(syscall.SIGTERM)
	if e := p.Proc.Wait(); e.Code != 0 || strings.Contains(p.Proc.Stderr(), "permission denied") {
		t.Errorf("devices alone end with %v\n%s", e, p.Proc.Stderr())
	}
}
