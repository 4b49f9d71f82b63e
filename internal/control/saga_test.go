package control

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"example.org/souk/backbone/driver"
	"example.org/souk/internal/house"
)

// A saga is found by its id however many began before it, and one that there is not is told to be none. Red when it is looked for among
// the first thousand.
func TestASagaOfThousandsIsShown(t *testing.T) {
	t.Parallel()
	data, ctx := t.TempDir(), t.Context()
	h, err := house.Open(ctx, house.Config{Data: data, Quiet: true, Empty: true, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	var w driver.Writes
	for i := range 1500 {
		w.Sagas = append(w.Sagas, driver.Saga{
			SagaKey: driver.SagaKey{Name: "checkout", ID: fmt.Sprintf("o%d", i)}, Definition: 1, State: "completed", Data: []byte("{}"), Started: int64(i), Revision: 1,
		})
	}
	tx, err := h.Store("orders").Begin(ctx)
	if err == nil {
		if err = tx.Apply(ctx, "orders", &w); err == nil {
			err = tx.Commit(ctx)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	var rows []string
	show := func(id string) error {
		return Call(ctx, Mall{Data: data}, "saga list", Args{"id": id}, func(row json.RawMessage) error {
			rows = append(rows, string(row))
			return nil
		})
	}
	if err := show("o1499"); err != nil || len(rows) != 1 || !strings.Contains(rows[0], `"id":"o1499"`) {
		t.Errorf("shown: %v, %v", rows, err)
	}
	if err := show("o1500"); err == nil || !strings.Contains(err.Error(), "there is no saga") {
		t.Errorf("one that there is not: %v", err)
	}
	// A list that ends before its end says so, and nothing else does. Red where it is cut in silence.
	for limit, want := range map[string]struct {
		rows int
		says string
	}{
		"": {1000, "1000 are shown, and there are more"}, "1499": {1499, "1499 are shown, and there are more"}, "1500": {1500, ""}, "0": {0, "0 are shown"},
	} {
		rows = nil
		var notes []string
		m := Mall{Data: data, Noted: func(text string) { notes = append(notes, text) }}
		err := Call(ctx, m, "saga list", Args{"limit": limit}, func(row json.RawMessage) error {
			rows = append(rows, string(row))
			return nil
		})
		if err != nil || len(rows) != want.rows || (want.says == "") != (len(notes) == 0) || !strings.Contains(strings.Join(notes, ""), want.says) {
			t.Errorf("with the limit %q: %d rows, notes %q, %v", limit, len(rows), notes, err)
		}
	}
}
