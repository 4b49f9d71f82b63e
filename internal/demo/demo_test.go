package demo

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	_ "modernc.org/sqlite" // to damage what was kept

	"example.org/souk/backbone"
	"example.org/souk/internal/testserver"
	"example.org/souk/mall/event"
	"example.org/souk/mall/inventory"
)

func souk(t *testing.T) []string {
	t.Helper()
	return []string{testserver.Build(t, "example.org/souk/cmd/souk")}
}

// B20: a mall that lives keeps what it promises.
func TestItHolds(t *testing.T) {
	t.Parallel()
	r, err := Run(t.Context(), Config{Seed: 3, Speed: 25, Orders: 60, Check: true, Program: souk(t)})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Broken) > 0 || len(r.Looked) < 8 || r.Tried != 60 || r.Accepted != 60 {
		t.Errorf("%+v", r)
	}
}

// F1: it keeps it while it is killed, while services are paused, and gates and the payment provider fail.
func TestItHoldsInChaos(t *testing.T) {
	t.Parallel()
	r, err := Run(t.Context(), Config{Seed: 5, Speed: 10, Orders: 150, Check: true, Chaos: true, Program: souk(t)})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Broken) > 0 || len(r.Looked) < 8 || r.Accepted != 150 {
		t.Errorf("%+v", r)
	}
	if r.Kills == 0 || r.Pauses == 0 {
		t.Errorf("it was killed %d times, and services were paused %d times", r.Kills, r.Pauses)
	}
}

// The same seed gives the same errands, whatever becomes of them, and another one others.
func TestSeedDecides(t *testing.T) {
	t.Parallel()
	texts := func(seed uint64) (list []string) {
		e := newErrands(seed)
		for range 100 {
			n := e.step()
			text, err := json.Marshal([]any{n.order, n.customer, n.prepaid, n.waits, n.regrets, n.lines})
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, string(text))
		}
		return list
	}
	if !slices.Equal(texts(1), texts(1)) || slices.Equal(texts(1), texts(2)) {
		t.Error("the sequence does not follow from the seed")
	}
}

// begun plays, with a witness, until all has come to rest and the mall has stopped, and checks nothing.
func begun(t *testing.T, config Config) (*play, *witness) {
	t.Helper()
	config.Program, config.Out, config.Logger = souk(t), t.Output(), slog.New(slog.DiscardHandler)
	life, end := context.WithCancel(context.WithoutCancel(t.Context()))
	p := &play{Config: config, data: filepath.Join(t.TempDir(), "mall")}
	t.Cleanup(func() { end(); p.around.Wait() })
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(p.openOutside(life, t.TempDir()))
	must(p.open(life))
	must(p.robots(life))
	w := p.watch(t, life)
	must(p.live(t.Context(), life))
	w.leave()
	must(p.rest(life))
	w.awaitTold(t)
	must(p.mall.stop())
	return p, w
}

// The control of all that holds: whatever is not as it should be is found.
func TestDamageIsFound(t *testing.T) {
	t.Parallel()
	p, w := begun(t, Config{Seed: 3, Speed: 25, Orders: 40})
	whole := p.data
	for _, c := range []struct{ what, damage, found string }{
		{"nothing", "", ""},
		{"a level", `UPDATE inventory_stock SET on_hand = on_hand + 1 WHERE sku = 'TEA-01'`, "is shown as"},
		{"a record", `DELETE FROM orders_bb_log WHERE position = (SELECT min(position) FROM orders_bb_log WHERE type = 'souk.orders.OrderStockReserved.v1')`, "where"},
		{"what happened", `UPDATE inventory_bb_log SET data = replace(data, '"quantity":', '"quantity":1') WHERE type = 'souk.inventory.StockReceived.v1'`, "log of inventory"},
		{"a count", `UPDATE analytics_outcomes SET orders = orders + 1`, "analytics counted"},
		{"a sale", `UPDATE analytics_lines SET quantity = quantity + 1 WHERE n = 0`, "sales by product"},
		{"a step", `UPDATE analytics_trades SET readied = 0`, "analytics' funnel has 0 at ready"},
		{"the ledger", `UPDATE payments_ledger SET authorized = authorized + 1`, "our ledger says"},
		{"a bill", `DELETE FROM fastlane_bb_log WHERE type = 'souk.fastlane.PaymentDue.v1'`, "and 0 bills"},
		{"a delivery", `DELETE FROM logistics_bb_log WHERE type = 'souk.logistics.GoodsReceived.v1'`, "and on the supplier's books"},
		{"a purchase", `DELETE FROM logistics_bb_log WHERE type = 'souk.logistics.PurchaseSent.v1'`, "was sent 0 times"},
		{"a list", `DELETE FROM depot_bb_log WHERE type = 'souk.depot.ShoppingListCompleted.v1'`, "done 0 times"},
		{"a departure", `DELETE FROM exitgate_bb_log WHERE instr(data, 'bag-000003') > 0`, "bag-000003 was acknowledged, and it left 0 times"},
		{"what was issued", `DELETE FROM inventory_bb_log WHERE type = 'souk.inventory.StockIssued.v1'`, "issued 0 times"},
		{"what is due", `UPDATE fastlane_bb_log SET data = replace(data, '"visit":"', '"visit":"x') WHERE type = 'souk.fastlane.PaymentDue.v1'`, "never told"},
		{"a text message", `DELETE FROM notifications_bb_log WHERE type = 'souk.notifications.NotificationSent.v1' AND instr(data, '"sms"') > 0`, "who sends by sms has"},
		{"a letter", `DELETE FROM notifications_bb_log WHERE type = 'souk.notifications.NotificationSent.v1'`, "which was never sent"},
	} {
		t.Run(c.what, func(t *testing.T) {
			p.data = filepath.Join(t.TempDir(), "mall")
			if err := os.CopyFS(p.data, os.DirFS(whole)); err != nil {
				t.Fatal(err)
			}
			if c.damage != "" {
				db, err := sql.Open("sqlite", "file:"+filepath.Join(p.data, "souk.db"))
				if err != nil {
					t.Fatal(err)
				}
				result, err := db.ExecContext(t.Context(), c.damage)
				if err != nil {
					t.Fatal(err)
				}
				if n, err := result.RowsAffected(); err != nil || n == 0 {
					t.Fatalf("nothing was damaged: %v", err)
				}
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
			}
			p.house.Data = p.data
			if err := errors.Join(p.check(t.Context()), w.check(t.Context())); err != nil {
				t.Fatal(err)
			}
			found := strings.Join(p.result.Broken, "\n")
			if c.damage == "" && found != "" || !strings.Contains(found, c.found) {
				t.Errorf("damage of %s: found %q", c.what, found)
			}
		})
	}
}

// A shelf that falls below its threshold asks for more once, at the threshold it does not, and again after it was refilled or
// the purchase was cancelled.
func TestCrossingsAreCounted(t *testing.T) {
	t.Parallel()
	s := &shelf{}
	apply := func(e backbone.Event) {
		t.Helper()
		data, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.apply(&backbone.Message{Type: e.EventType(), Data: data}); err != nil {
			t.Fatal(err)
		}
		s.settle()
	}
	due := func(want bool, when string) {
		t.Helper()
		if s.due() != want {
			t.Errorf("%s: due is %v", when, s.due())
		}
	}
	apply(inventory.ThresholdSet{Threshold: 5, Quantity: 10})
	due(false, "what was never there")
	apply(event.StockReceived{Quantity: 6})
	apply(inventory.StockTaken{Quantity: 1})
	due(false, "at the threshold")
	apply(inventory.StockTaken{Quantity: 1})
	due(true, "one below")
	s.asked = true
	apply(event.RestockNeeded{Quantity: 10})
	due(false, "asked for")
	apply(inventory.PurchaseSettled{Quantity: 10, Canceled: true})
	due(true, "cancelled")
}

// Whoever interrupts a demo before anybody came has it end in good order, and is told no error.
func TestInterruptedAtOnce(t *testing.T) {
	t.Parallel()
	tmp := t.TempDir()
	var said, failed strings.Builder
	cmd := exec.Command(souk(t)[0], "demo", "--speed", "20", "--check")
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), "TMPDIR="+tmp), &said, &failed
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for begun := false; !begun; runtime.Gosched() { // its data directory is there, and nobody else yet
		found, err := os.ReadDir(tmp)
		if err != nil {
			t.Fatal(err)
		}
		begun = len(found) > 0
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || failed.Len() > 0 {
		t.Errorf("%v: %s", err, failed.String())
	}
	if !strings.Contains(said.String(), "holds    nothing is parked") {
		t.Errorf("it was not checked: %s", said.String())
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("it leaves %v, %v", left, err)
	}
}

// The links of a demo let everybody in, so its pages are for this machine alone.
func TestOnlyOnLoopback(t *testing.T) {
	t.Parallel()
	said, err := exec.Command(souk(t)[0], "demo", "--orders", "1", "--http", "0.0.0.0:0").CombinedOutput()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(string(said), "--http 0.0.0.0:0 is not on loopback") {
		t.Errorf("%v: %s", err, said)
	}
}
