package demo

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite" // to damage what was kept

	"example.org/souk/backbone"
	"example.org/souk/internal/control"
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
	if len(r.Broken) > 0 || len(r.Looked) < 17 || r.Tried != 60 || r.Accepted != 60 {
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
	if len(r.Broken) > 0 || len(r.Looked) < 17 || r.Accepted != 150 {
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

// handsOut has the clerk hand out what is ready, until nothing is. The robots come back: goods may come in for which orders wait.
func (p *play) handsOut(t *testing.T, life context.Context) {
	t.Helper()
	p.dismiss = p.fetch(life)
	desk, err := p.openCounter(&http.Client{Timeout: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	ctx, home := context.WithCancel(life)
	gone := make(chan struct{})
	go func() { defer close(gone); desk.run(ctx, p.noteUnless) }()
	var ready string
	if !testserver.Await(t.Context(), walkPatience, func() bool {
		ready = ""
		err = p.mall.operate(ctx, "order search", control.Args{"status": "READY", "limit": "1"}, func(row json.RawMessage) error {
			ready = string(row)
			return nil
		})
		return err == nil && ready == ""
	}) {
		t.Errorf("this is not handed out within %v: %s, %v", walkPatience, ready, err)
	}
	home()
	<-gone
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
	p.handsOut(t, life)
	must(p.rest(life))
	w.awaitTold(t)
	must(p.mall.stop())
	return p, w
}

// The control of all that holds: whatever is not as it should be is found. Red when a damage is not named by the check, or, where the mall alone cannot
// tell, by the witness.
func TestDamageIsFound(t *testing.T) {
	t.Parallel()
	p, w := begun(t, Config{Seed: 3, Speed: 25, Orders: 40})
	whole := p.data
	const one = `position = (SELECT min(position) FROM `
	for _, c := range []struct{ what, damage, found, witness string }{
		{"nothing", "", "", ""},
		{"a level", `UPDATE inventory_stock SET on_hand = on_hand + 1 WHERE sku = 'TEA-01'`, "is shown as", ""},
		{"a shelf", `DELETE FROM inventory_stock WHERE sku = 'TEA-01'`, "stock of TEA-01--main is not shown", ""},
		{"a record", `DELETE FROM orders_bb_log WHERE ` + one + `orders_bb_log WHERE type = 'souk.orders.OrderStockReserved.v1')`, "where", ""},
		{"what happened", `UPDATE inventory_bb_log SET data = replace(data, '"quantity":', '"quantity":1') WHERE type = 'souk.inventory.StockReceived.v1'`, "log of inventory", ""},
		{"an end", `DELETE FROM orders_bb_log WHERE type = 'souk.orders.OrderCanceled.v1'`, "is cancelling, and nothing is under way", ""},
		{"an approval", `UPDATE orders_bb_log SET type = 'souk.orders.OrderApproved.v1' WHERE type = 'souk.orders.OrderPicking.v1'`, "was approved 2 times", ""},
		{"who has the goods", `UPDATE inventory_bb_log SET data = replace(data, '"order":"', '"order":"x') WHERE ` + one +
			`inventory_bb_log WHERE type = 'souk.inventory.StockShifted.v1')`, `which is "", has of`, ""},
		{
			"what ended orders hold", `UPDATE inventory_bb_log SET data = replace(data, '"committed":-', '"committed":') WHERE type = 'souk.inventory.StockShifted.v1'`,
			"and it must be {Held:0 Committed:0}", "",
		},
		{"what was issued", `DELETE FROM inventory_bb_log WHERE type = 'souk.inventory.StockIssued.v1'`, "left with goods 1 times, and they were issued 0 times", "issued 0 times"},
		{
			"who was issued to", `UPDATE inventory_bb_log SET data = replace(data, '"visit":"', '"visit":"x') WHERE type = 'souk.inventory.StockIssued.v1'`,
			"left with goods 0 times, and they were issued 1 times", "",
		},
		{"what was collected", `DELETE FROM orders_bb_log WHERE type = 'souk.orders.OrderCollected.v1'`, "left with goods 0 times, and they were issued 1 times", ""},
		{"how much was issued", `UPDATE inventory_bb_log SET data = replace(data, '"quantity":1', '"quantity":7') WHERE type = 'souk.inventory.StockIssued.v1'`, "and 7 issued", ""},
		{"how much was taken", `DELETE FROM inventory_bb_log WHERE type = 'souk.inventory.StockTaken.v1' AND instr(data, '"order":"') > 0`, ": 0 were taken off the books", ""},
		{"what was wanted", `DELETE FROM logistics_bb_log WHERE type = 'souk.logistics.PurchaseProposed.v1'`, "wanted by", ""},
		{"what was bought", `UPDATE inventory_bb_log SET data = replace(data, '"purchase":"', '"purchase":"x') WHERE type = 'souk.inventory.PurchaseSettled.v1'`, "came for x", ""},
		{"a count", `UPDATE analytics_outcomes SET orders = orders + 1`, "analytics counted", ""},
		{"a sale", `UPDATE analytics_lines SET quantity = quantity + 1 WHERE n = 0`, "sales by product", ""},
		{"a step", `UPDATE analytics_trades SET readied = 0`, "analytics' funnel has 0 at ready", ""},
		{"a status that is searched", `UPDATE search_found SET status = 'SHORT' WHERE status = 'COMPLETED'`, "as {Status:SHORT", ""},
		{"a total that is searched", `UPDATE search_found SET total = total + 100000`, "the search shows order", ""},
		{"an order that is searched", `DELETE FROM search_found WHERE order_id = 'DEMO-000003'`, "the search shows order DEMO-000003 0 times", ""},
		{"the ledger", `UPDATE payments_ledger SET authorized = authorized + 1`, "our ledger says", ""},
		{"an account", `UPDATE payments_accounts SET balance = balance + 1 WHERE account = 'till'`, "our accounts in EUR sum to 1", ""},
		{
			"two accounts", `UPDATE payments_accounts SET balance = CASE account WHEN 'till' THEN balance + 1 ELSE balance - 1 END WHERE account IN ('till', 'taken')`,
			`our account "till" has`, "",
		},
		{"a payment", `DELETE FROM payments_bb_log WHERE type = 'souk.payments.PaymentCaptured.v1'`, "the log says of payment", ""},
		{"what is set aside", `DELETE FROM payments_bb_log WHERE type = 'souk.payments.PaymentCaptured.v1' AND instr(data, '"DEMO-') > 0`, "is set aside for order DEMO-", ""},
		{"an invoice", `UPDATE payments_bb_log SET type = 'souk.payments.InvoiceCreated.v1' WHERE type = 'souk.payments.InvoicePaid.v1'`, "has 2 invoices", ""},
		{"whose an invoice is", `UPDATE payments_bb_log SET data = replace(data, '"order":"', '"order":"x') WHERE type = 'souk.payments.InvoiceCreated.v1'`, `which is "", has 1 invoices`, ""},
		{
			"what an invoice is over", `UPDATE payments_bb_log SET data = replace(data, '"amount":{"amount":', '"amount":{"amount":1') WHERE type = 'souk.payments.InvoicePaid.v1'`,
			`is "paid"`, "",
		},
		{"a payment at the depot", `DELETE FROM payments_bb_log WHERE type = 'souk.payments.InvoicePaid.v1'`, `is "open"`, ""},
		{
			"what an order was paid with", `UPDATE orders_bb_log SET data = replace(data, '"amount":{"amount":', '"amount":{"amount":1') WHERE type = 'souk.orders.OrderPaid.v1'`,
			"is completed and says that", "",
		},
		{"what an undone order cost", `UPDATE orders_bb_log SET type = 'souk.orders.OrderExpired.v1' WHERE type = 'souk.orders.OrderCompleted.v1'`, "is expired and costs", ""},
		{"a bill", `DELETE FROM fastlane_bb_log WHERE type = 'souk.fastlane.PaymentDue.v1'`, "and 0 bills", ""},
		{"what was billed", `UPDATE fastlane_bb_log SET data = replace(data, '"quantity":1', '"quantity":2') WHERE type = 'souk.fastlane.PaymentDue.v1'`, "is billed for", ""},
		{"what a bill comes to", `UPDATE fastlane_bb_log SET data = replace(data, '"total":{"amount":', '"total":{"amount":1') WHERE type = 'souk.fastlane.PaymentDue.v1'`, "what is billed costs", ""},
		{"a charge", `DELETE FROM payments_bb_log WHERE ` + one + `payments_bb_log WHERE type = 'souk.payments.VisitCharged.v1')`, "or said not to be had, was []", ""},
		{
			"what was charged", `UPDATE payments_bb_log SET data = replace(data, '"amount":{"amount":', '"amount":{"amount":1') WHERE type = 'souk.payments.VisitCharged.v1'`,
			"was charged to a visit with", "",
		},
		{"a delivery", `DELETE FROM logistics_bb_log WHERE type = 'souk.logistics.GoodsReceived.v1'`, "and on the supplier's books", ""},
		{"a purchase", `DELETE FROM logistics_bb_log WHERE type = 'souk.logistics.PurchaseSent.v1'`, "was sent 0 times", ""},
		{"a list", `DELETE FROM depot_bb_log WHERE type = 'souk.depot.ShoppingListCompleted.v1'`, "done 0 times", ""},
		{"a departure", `DELETE FROM exitgate_bb_log WHERE instr(data, 'bag-000003') > 0`, "was billed 1 times and nobody left", "bag-000003 was acknowledged, and it left 0 times"},
		{"what is due", `UPDATE fastlane_bb_log SET data = replace(data, '"visit":"', '"visit":"x') WHERE type = 'souk.fastlane.PaymentDue.v1'`, "and nobody left", "never told"},
		{"a text message", `DELETE FROM notifications_bb_log WHERE type = 'souk.notifications.NotificationSent.v1' AND instr(data, '"sms"') > 0`, "who sends by sms has", ""},
		{"a letter", `DELETE FROM notifications_bb_log WHERE type = 'souk.notifications.NotificationSent.v1'`, "which was never sent", ""},
		{"a message that is parked", `INSERT INTO greeter_bb_parked (subscription, key, slice, source, id, record, cause, attempts, due, state, time)
			SELECT min(name), 'key', 0, 'orders', 'lost', '{}', 'nobody knows', 1, 0, 'parked', 1 FROM greeter_bb_subscription`, "has parked lost of orders: nobody knows", ""},
		{"a call that waits", `INSERT INTO payments_bb_call (id, name, request, stream, meta, deadline, due, attempts, epoch, lease_until, cause, created)
			VALUES ('lost', 'provider', '{}', 'none', '{}', 9e15, 9e15, 1, 0, 0, 'it is away', 1)`, "payments has still to call provider (lost): it is away", ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			p.data = filepath.Join(t.TempDir(), "mall")
			if err := os.CopyFS(p.data, os.DirFS(whole)); err != nil {
				t.Fatal(err)
			}
			if c.damage != "" {
				damage(t, p.data, c.damage)
			}
			p.house.Data = p.data
			if err := p.check(t.Context()); err != nil {
				t.Fatal(err)
			}
			if found := strings.Join(p.result.Broken, "\n"); c.damage == "" && found != "" || !strings.Contains(found, c.found) {
				t.Errorf("damage of %s: found %q", c.what, found)
			}
			p.result.Broken = nil
			if c.damage != "" && c.witness == "" {
				return
			}
			if err := w.check(t.Context()); err != nil {
				t.Fatal(err)
			}
			if found := strings.Join(p.result.Broken, "\n"); c.damage == "" && found != "" || !strings.Contains(found, c.witness) {
				t.Errorf("damage of %s: the witness found %q", c.what, found)
			}
		})
	}
}

// damage changes what a mall keeps in a directory, behind its back.
func damage(t *testing.T, data, statement string) {
	t.Helper()
	if !damaged(t, data, statement) {
		t.Fatalf("nothing is damaged by %s", statement)
	}
}

// damaged reports whether there was something to damage.
func damaged(t *testing.T, data, statement string) bool {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(data, "souk.db")+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	result, err := db.ExecContext(t.Context(), statement)
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	n, err := result.RowsAffected()
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	return n > 0
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

// What is broken is printed, and the program exits with 1: somebody changes a level in its database while it runs. Red when a finding is not printed, or
// does not decide how the program exits.
func TestWhatIsBrokenIsSaid(t *testing.T) {
	t.Parallel()
	tmp := t.TempDir()
	var failed strings.Builder
	cmd := exec.Command(souk(t)[0], "demo", "--speed", "20", "--check")
	cmd.Env, cmd.Stderr = append(os.Environ(), "TMPDIR="+tmp), &failed
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // where it was not waited for
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatalf("it says nothing: %v", lines.Err())
	}
	at, err := filepath.Glob(filepath.Join(tmp, "souk-demo-*", "mall"))
	if err != nil || len(at) != 1 {
		t.Fatalf("its data is in %v, %v", at, err)
	}
	damage(t, at[0], `UPDATE inventory_stock SET on_hand = on_hand + 1 WHERE sku = 'TEA-01'`)
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	var broken []string
	for lines.Scan() {
		if what, found := strings.CutPrefix(lines.Text(), "BROKEN"); found {
			broken = append(broken, strings.TrimSpace(what))
		}
	}
	const what = "stock of TEA-01 at main is shown as"
	if len(broken) != 1 || !strings.HasPrefix(broken[0], what) {
		t.Errorf("it says that these are broken: %q", broken)
	}
	exit, _ := errors.AsType[*exec.ExitError](cmd.Wait())
	if exit == nil || exit.ExitCode() != 1 || !strings.Contains(failed.String(), "1 thing does not add up: "+what) {
		t.Errorf("it exits with %v and says %q", exit, failed.String())
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
