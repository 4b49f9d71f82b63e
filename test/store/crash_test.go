package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.org/souk/internal/control"
	"example.org/souk/internal/testserver"
)

// points are the crash points of the backbone. internal/demo walks to all others, so that none is left out.
func points(t *testing.T) (names []string) {
	t.Helper()
	for _, p := range testserver.CrashPoints(t) {
		if p.Below("backbone") {
			names = append(names, p.Name)
		}
	}
	return slices.Compact(names)
}

// walks says how each crash point is reached by what the load does besides ordering. Every load prepays some orders, cancels
// some, and has the watcher stumble at some; a mail server and a payment provider with faults of their own take part.
type walk struct {
	flags   []string                           // of the mall
	broker  bool                               // there must be a broker that carries the messages
	over    string                             // the carrier; default: NATS where there must be a broker, or the log
	besides func(ctx context.Context, m *mall) // runs until the mall is gone
	split   []string                           // what runs in which process; nil: all of it in one
	heal    bool                               // the watcher heals while the load runs, so that what is parked goes on
	passes  func(passes []int) (few []int)     // which passes of the point can be reached; default all
}

var walks = map[string]walk{
	"timer.fired":       {flags: []string{"--order-patience", "1s"}},
	"redrive.before":    {heal: true},
	"rebuild.chunk":     {besides: rebuilds, passes: firstOnly(3)},
	"rebuild.swap":      {besides: rebuilds, passes: firstOnly(3)},
	"rebuild.take.over": {besides: rebuilds, passes: firstOnly(3)},
	"seal.before":       {passes: firstOnly(3)},
	"relay.published":   {broker: true},
	"relay.kept":        {broker: true},
	"broker.settle":     {broker: true},
}

// firstOnly is for points that are passed only now and then.
func firstOnly(most int) func([]int) []int {
	return func(passes []int) (few []int) {
		for _, p := range passes {
			few = append(few, min(p, most))
		}
		return slices.Compact(few)
	}
}

// rebuilds makes views again, an inline one and an asynchronous one in turn, until the mall is gone.
func rebuilds(ctx context.Context, m *mall) {
	for ctx.Err() == nil {
		for _, a := range []control.Args{{"service": "orders", "view": "feed"}, {"service": "analytics", "view": "sales"}} {
			if m.ask(ctx, "view rebuild", a) != nil {
				return // there is no answer any more
			}
		}
	}
}

// F1: at every crash point the process dies by SIGKILL with work in flight; after a
// restart every order that was accepted is there and ends, and all invariants hold,
// against the ledgers of the payment provider and the mail server too.
func TestF1_CrashWalk(t *testing.T) {
	t.Parallel()
	if !proving(t) {
		return
	}
	binary := testserver.Build(t, "example.org/souk/test/store/watched", "crashpoints")
	passes := []int{1, 40}
	if os.Getenv("SOUK_PROVE") == "full" {
		passes = nil
		for pass := 1; pass < 120; pass += 3 {
			passes = append(passes, pass)
		}
	}
	names := points(t)
	for point := range walks {
		if !slices.Contains(names, point) {
			t.Errorf("there is no point %s any more", point)
		}
	}
	if len(names) < 10 {
		t.Fatalf("only %d crash points were found: %v", len(names), names)
	}
	var walked, baskets atomic.Int64
	t.Cleanup(func() {
		if !t.Failed() && walked.Load() >= int64(len(names)) && baskets.Load() == 0 {
			t.Error("no basket was checked out in any of the walks")
		}
	})
	for _, point := range names {
		few := passes
		if f := walks[point].passes; f != nil {
			few = f(passes)
		}
		for _, pass := range few {
			t.Run(fmt.Sprintf("%s/%d", point, pass), func(t *testing.T) {
				t.Parallel()
				baskets.Add(crash(t, binary, point, pass, walks[point]))
				walked.Add(1)
			})
		}
	}
}

// F1: the same with the mall in several processes on PostgreSQL, over each carrier. Whichever reaches the point first dies; the others go on
// meanwhile.
func TestF1_CrashWalkOfProcesses(t *testing.T) {
	t.Parallel()
	if !proving(t) {
		return
	}
	binary := testserver.Build(t, "example.org/souk/test/store/watched", "crashpoints")
	names, pass := points(t), 10
	if os.Getenv("SOUK_PROVE") == "short" { // several processes take seconds to begin: make prove walks all points
		names = []string{"commit.after"}
	}
	for _, over := range carriers() {
		if os.Getenv("SOUK_PROVE") == "short" && over != "log" {
			continue
		}
		for _, point := range names {
			w, pass := walks[point], pass
			if over == "log" && w.broker {
				continue
			}
			if w.passes != nil {
				pass = w.passes([]int{pass})[0]
			}
			w.over = over
			w.split = []string{"online stores customers keys", "orders inventory payments watcher", "notifications analytics depot baskets search"}
			t.Run(over+"/"+point, func(t *testing.T) {
				t.Parallel()
				crash(t, binary, point, pass, w)
			})
		}
	}
}

// underLoad is the order at which a walk begins to count how often its point is passed: those before it are in work.
const underLoad = 20

// ground is what a walk goes over: a mall with goods and payments in it.
type ground struct {
	*mall
	server broker // nil where the log carries the messages
	healed string // the setting that names the file with which the watcher is healed
}

// ground prepares what a walk goes over, and ends the mall.
func (w *walk) ground(t *testing.T, binary string) *ground {
	t.Helper()
	over := w.over
	if over == "" && w.broker {
		over = "nats"
	}
	carried, server := carrier(t, over)
	out := startOutside(t, binary)
	g := &ground{server: server, healed: "WATCHER_HEALED=" + filepath.Join(t.TempDir(), "healed")}
	g.mall = w.start(t, out, binary, []string{g.healed}, slices.Concat(w.flags, carried))
	g.seed()
	for _, product := range []string{"PRODUCT_001", "PRODUCT_002"} {
		if err := g.ask(t.Context(), "stock receive", control.Args{"sku": product, "quantity": "1000"}); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 40 {
		err := g.ask(t.Context(), "payment authorize", control.Args{"payment": prepaid(n), "customer": customerOf(n), "amount": "15.00"})
		if err != nil {
			t.Fatal(err)
		}
	}
	g.idle()
	g.stop()
	return g
}

// start runs souk in the way of a walk.
func (w *walk) start(t *testing.T, out *outside, binary string, env []string, flags []string) *mall {
	if w.split == nil {
		return startWith(t, out, binary, t.TempDir(), env, flags...)
	}
	m := &mall{
		t: t, binary: binary, dir: t.TempDir(), db: testserver.Postgres(t).Database(t), flags: append(out.flags(), flags...), out: out,
		others: processes(w.split),
	}
	m.begin(env...)
	return m
}

// crashing is what has a process die at a point.
type crashing struct{ mark, arm, point string }

func crashAt(t *testing.T, point string, pass int) crashing {
	return crashing{filepath.Join(t.TempDir(), "reached"), filepath.Join(t.TempDir(), "armed"), fmt.Sprintf("%s:%d", point, pass)}
}

func (c crashing) env() []string {
	return []string{"SOUK_CRASH=" + c.point, "SOUK_CRASH_MARK=" + c.mark, "SOUK_CRASH_ARM=" + c.arm}
}

// armed is a load under which it is counted how often the point is passed.
func (c crashing) armed(t *testing.T, order func(int) (id, body string)) func(int) (id, body string) {
	return func(n int) (id, body string) {
		if n == underLoad {
			if err := os.WriteFile(c.arm, nil, 0o600); err != nil {
				t.Error(err)
			}
		}
		return order(n)
	}
}

// reached fails the test unless a process has died at the point.
func (c crashing) reached(t *testing.T, died *testserver.Process) {
	t.Helper()
	e := died.Wait()
	if _, err := os.Stat(c.mark); err != nil || e.Signal == 0 {
		t.Fatalf("the point was not reached: the process ended with %v", e)
	}
}

// crash walks to a point and beyond it. It returns how many of the orders that were accepted came from baskets.
func crash(t *testing.T, binary, point string, pass int, w walk) (fromBaskets int64) {
	t.Helper()
	g, c := w.ground(t, binary), crashAt(t, point, pass)
	g.out.troubleMoney(t, `{"seed":7,"fail_percent":20}`)
	g.begin(append(c.env(), g.healed)...)
	busy, end := context.WithCancel(t.Context())
	defer end()
	var others sync.WaitGroup
	if w.besides != nil {
		others.Go(func() { w.besides(busy, g.mall) })
	}
	var baskets []string
	others.Go(func() { baskets = g.checkOut(busy) })
	accepted := g.loadOf(t, 8, 1500, c.armed(t, mixed))
	if w.heal {
		heal(t, g.healed)
		others.Go(func() {
			for busy.Err() == nil {
				if _, err := g.redrive(busy); err != nil {
					return // there is no answer any more
				}
			}
		})
	}
	died := g.firstEnded()
	died.Wait()
	end()
	others.Wait()
	c.reached(t, died)
	ids := accepted()
	if len(ids) == 0 {
		t.Error("nothing was accepted before the process died: there was no load")
	}
	for _, p := range g.others { // those that went on have the point before them as well
		p.proc.Kill9()
	}
	failed(t, g.wrong(append(ids, baskets...)))
	return int64(len(baskets))
}

// wrong has what ended run again, and all go on to its end with a watcher and a payment provider that have no trouble any more. Then it ends
// the mall and returns which of these orders, which were accepted, are gone, and what does not hold of what must hold whatever happened.
func (g *ground) wrong(accepted []string) (list []string) {
	g.t.Helper()
	g.out.troubleMoney(g.t, `{}`)
	heal(g.t, g.healed)
	g.beginWhatEnded(g.healed)
	redriven := g.redriven()
	g.settle()
	g.stop()
	k, broken := invariants(g.t, g.place().rebuilt(), g.out, true)
	for _, id := range accepted {
		if _, found := k.placed[id]; !found {
			list = append(list, fmt.Sprintf("order %s was accepted and is gone", id))
		}
	}
	if !redriven {
		list = append(list, "something stays parked, however often it is tried again")
	}
	return append(list, broken...)
}

// checkOut has one basket after another checked out until the mall is gone, and returns the orders that were accepted.
func (m *mall) checkOut(ctx context.Context) (accepted []string) {
	for n := 0; ; n++ {
		id := fmt.Sprintf("BASKET%05d", n)
		for _, step := range []struct {
			operation string
			args      control.Args
		}{
			{"basket start", control.Args{"customer": customerOf(n), "basket": id}},
			{"basket add", control.Args{"basket": id, "items": `[{"product":"PRODUCT_001","quantity":1}]`}},
			{"basket checkout", control.Args{"basket": id, "order": id}},
		} {
			if m.ask(ctx, step.operation, step.args) != nil {
				return accepted // there is no answer any more
			}
		}
		accepted = append(accepted, id)
	}
}

func heal(t *testing.T, healed string) {
	t.Helper()
	if err := os.WriteFile(strings.TrimPrefix(healed, "WATCHER_HEALED="), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// redriveAll has everything that is parked tried again until nothing is.
func (m *mall) redriveAll() {
	m.t.Helper()
	if !m.redriven() {
		m.t.Fatal("something stays parked")
	}
}

// redriven has everything that is parked tried again until nothing is, and reports whether that comes. It takes a command line each, which a busy
// machine needs seconds for.
func (m *mall) redriven() bool {
	m.t.Helper()
	return testserver.Await(m.t.Context(), 4*time.Minute, func() bool {
		m.idle()
		left, err := m.redrive(m.t.Context())
		if err != nil {
			m.t.Fatal(err)
		}
		return left == 0
	})
}

// redrive asks for everything that is dead to be tried again, and returns how many keys are blocked. It is the mall's own program that is asked:
// none but it knows of a service that was added to it.
func (m *mall) redrive(ctx context.Context) (left int, err error) {
	dlq := func(args ...string) ([]byte, error) {
		line := []string{"--data", m.dir}
		if m.db != "" {
			line = append(line, "--db", m.db)
		}
		return exec.CommandContext(ctx, m.binary, append(append(line, "-o", "jsonl", "dlq"), args...)...).Output()
	}
	list, err := dlq("list")
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(list) {
		var head struct{ Service, Subscription, Key, State string }
		if err := json.Unmarshal(line, &head); err != nil {
			return 0, err
		}
		left++
		if head.State == "dead" {
			// What went on by itself meanwhile is not parked any more, and the next look shows it.
			_, _ = dlq("redrive", head.Service, head.Key, "--subscription", head.Subscription, "--why", "it works again")
		}
	}
	return left, nil
}

func prepaid(n int) string { return fmt.Sprintf("PAY%03d", n) }

func customerOf(n int) string { return []string{"CUSTOMER_001", "CUSTOMER_002"}[n%2] }

// mixed is the load of the crash walk: prepaid orders as long as there are payments, orders that wait for goods, and
// orders that the watcher stumbles at.
func mixed(n int) (id, body string) {
	id = fmt.Sprintf("K%05d", n)
	switch n % 7 {
	case 3:
		id = "POISON" + id
	case 5:
		id = "FLAKY" + id
	}
	if n%11 == 5 {
		return id, strings.Replace(order(id, customerOf(n), item{"Laptop", 1200, 12}), `"orderId"`, `"waitForStock":true,"orderId"`, 1)
	}
	body = order(id, customerOf(n), item{"PRODUCT_001", 10, 1}, item{"PRODUCT_002", 5, 1})
	if n < 40 {
		body = strings.Replace(body, `"orderId"`, fmt.Sprintf(`"payment":%q,"orderId"`, prepaid(n)), 1)
	}
	return id, body
}

// The control of the walk: damage to a copy of what a mall kept is named by the
// invariants, so a crash that did such damage would be.
func TestF1_ControlDamageIsNamed(t *testing.T) {
	t.Parallel()
	binary := testserver.Build(t, "example.org/souk/test/store/watched")
	out := startOutside(t, binary)
	m := startWith(t, out, binary, t.TempDir(), nil)
	m.seed()
	if err := m.ask(t.Context(), "payment authorize", control.Args{"payment": "PAY000", "customer": "CUSTOMER_001", "amount": "40.00"}); err != nil {
		t.Fatal(err)
	}
	m.idle()
	m.must(202, "POST", "/order", strings.Replace(order1, `"orderId"`, `"payment":"PAY000","orderId"`, 1))
	m.awaitStatus("ORDER_001", "APPROVED")
	m.holdsRebuilt()
	for name, damage := range map[string]struct{ named, sql string }{
		"a record is gone":        {"log of orders", `DELETE FROM orders_bb_log WHERE type = 'souk.orders.OrderApproved.v1'`},
		"an approval is gone":     {"order ORDER_001 is pending", `DELETE FROM orders_bb_log WHERE type = 'souk.orders.OrderApproved.v1'`},
		"a record was edited":     {"not what was sealed", `UPDATE orders_bb_log SET data = replace(data, 'CUSTOMER_001', 'CUSTOMER_002') WHERE type = 'souk.orders.OrderApproved.v1'`},
		"stock was moved":         {"are committed, approved orders hold", `UPDATE inventory_stock SET committed = committed + 1`},
		"stock appeared":          {"and the log says", `UPDATE inventory_stock SET on_hand = on_hand + 1`},
		"a sale was forgotten":    {"analytics has no sales by hour", `DELETE FROM analytics_lines`},
		"an order is not found":   {"the search shows order ORDER_001 0 times", `DELETE FROM search_found`},
		"the feed lost an entry":  {"feed of CUSTOMER_001", `DELETE FROM orders_feed WHERE n = 4`},
		"a view counted twice":    {"view sales of analytics", `UPDATE analytics_sales SET orders = orders + 1`},
		"a handler ran twice":     {"ORDER_001 placed 2 times", `UPDATE watcher_seen SET times = 2 WHERE event = 'placed'`},
		"its view counted twice":  {"the watcher's view counts order ORDER_001 2 times", `UPDATE watcher_told SET times = 2`},
		"its view never counted":  {"the watcher's view does not count order ORDER_001", `DELETE FROM watcher_told`},
		"a handler never ran":     {"never told", `DELETE FROM watcher_seen`},
		"a payment was forgotten": {"its payment is authorized", `DELETE FROM payments_bb_log WHERE type = 'souk.payments.PaymentConfirmed.v1'`},
		"money was made":          {"our ledger says", `UPDATE payments_ledger SET authorized = authorized + 1`},
		"a letter is unknown":     {"never sent", `DELETE FROM notifications_bb_log WHERE type = 'souk.notifications.NotificationSent.v1'`},
		"a letter is missing":     {"does not have it", `UPDATE notifications_bb_log SET data = replace(data, '"notification":"', '"notification":"x') WHERE type = 'souk.notifications.NotificationSent.v1'`},
		"a message stays parked":  {"watcher_bb_blocked", `INSERT INTO watcher_bb_blocked VALUES ('watcher', 3, 'order/ORDER_001')`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(m.dir)); err != nil {
				t.Fatal(err)
			}
			db, err := sql.Open("sqlite", filepath.Join(dir, "souk.db"))
			if err != nil {
				t.Fatal(err)
			}
			result, err := db.Exec(damage.sql)
			if err != nil {
				t.Fatal(err)
			}
			if n, err := result.RowsAffected(); err != nil || n == 0 {
				t.Fatalf("nothing was damaged: %v", err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			_, broken := invariants(t, place{dir: dir, rebuild: strings.HasPrefix(damage.named, "view ")}, out, true)
			if !slices.ContainsFunc(broken, func(b string) bool { return strings.Contains(b, damage.named) }) {
				t.Errorf("nobody noticed; what was named is %q", broken)
			}
		})
	}
}
