package control

import (
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"example.org/souk/backbone/driver"
	"example.org/souk/internal/house"
)

// What the relay holds back, since the broker does not take it, is named by doctor and by topic show. Red where either does not look.
func TestWhatIsHeldBackIsShown(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	h, err := house.Open(ctx, house.Config{Data: t.TempDir(), Quiet: true, Empty: true, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
	if err := h.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	look := func() (f Finding) {
		t.Helper()
		f, err := heldBack(ctx, h, false)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	if f := look(); f != (Finding{}) {
		t.Errorf("where no broker carries messages: %+v", f)
	}
	set := func(service, name, value string) {
		t.Helper()
		if err := h.Store(service).SetValue(ctx, service, name, []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	set("orders", "carrier", "broker")
	if f := look(); f.State != Well {
		t.Errorf("where nothing is held back: %+v", f)
	}
	set("orders", "relay.held", `[{"stream":"order/o1","position":7,"id":"e7","type":"souk.orders.OrderPlaced.v1","since":"2026-11-27T17:00:00Z","cause":"400 bytes"}]`)
	if f := look(); f.State != Warned || !strings.Contains(f.Found, "e7 in stream order/o1 of orders") || f.Do == "" {
		t.Errorf("where something is held back: %+v", f)
	}
	var rows []string
	emit := func(row any) error {
		text, err := json.Marshal(row)
		rows = append(rows, string(text))
		return err
	}
	for _, topic := range []string{"souk.orders", "souk.orders.commands", "souk.inventory"} {
		if err := showHeld(ctx, h, &driver.Topic{Name: topic}, emit); err != nil {
			t.Fatal(err)
		}
	}
	if len(rows) != 1 || !strings.Contains(rows[0], `"topic":"souk.orders","stream":"order/o1","position":7,"id":"e7"`) || !strings.Contains(rows[0], "400 bytes") {
		t.Errorf("topic show prints %v", rows)
	}
}
