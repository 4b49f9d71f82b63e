package store

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"

	"example.org/souk/internal/control"
	"example.org/souk/internal/testserver"
)

// succession is a mall on one PostgreSQL database whose orders service, and with it every saga, is first run by the version before, which sells at
// an online store of its own, and then by this one. The services that the sagas ask run in both versions.
type succession struct {
	*mall                        // this version's processes, and its online store
	before   string              // program of the version before
	seller   *mall               // its orders service and online store
	replica  *testserver.Process // the other services in that version
	paid     int                 // prepaid orders so far
	accepted []string            // orders, by either store
}

// asked are the services that the checkout asks.
var asked = []string{"inventory", "customers", "stores", "payments"}

// longStep keeps steps of a checkout from being given up while a test has nobody answer them.
const longStep = "10m"

// openSuccession begins with nothing but the version before; this version comes beside it and brings its tables up to date under it.
func openSuccession(t *testing.T) *succession {
	t.Helper()
	now := program(t)
	out := startOutside(t, now)
	db := testserver.PostgresOwn(t, "max_connections=300").Database(t)
	s := &succession{before: besideProgram(t), mall: &mall{
		t: t, binary: now, dir: t.TempDir(), db: db, flags: out.flags(), out: out,
		others: processes([]string{"online keys notifications analytics depot baskets search", "inventory customers stores", "payments"}),
	}}
	s.seller = &mall{t: t}
	s.beginSeller()
	s.beginReplica(asked...)
	s.begin()
	s.seed()
	for _, product := range []string{"PRODUCT_001", "PRODUCT_002"} {
		s.souk("stock", "receive", product, "2000")
	}
	for n := range prepayments {
		s.authorize(prepaid(n), customerOf(n), "5.00")
	}
	await(t, "the money is set aside", func() bool {
		return len(s.rows("payments", `SELECT id FROM {bb_log} WHERE type LIKE 'souk.payments.PaymentAuthorized.%'`)) == prepayments
	})
	for _, service := range []string{"inventory", "customers", "payments"} {
		s.awaitBothAt(service)
	}
	return s
}

// prepayments is how many orders can be prepaid.
const prepayments = 40

// run begins a process of the version before.
func (s *succession) run(owner string, flags []string, services ...string) *testserver.Process {
	s.t.Helper()
	args := append([]string{s.before, "-owner", owner, "-payment", s.out.provider.URL, "-payment-key", s.out.provider.Key}, flags...)
	return testserver.Start(s.t, slices.Concat(args, []string{s.db}, services)...)
}

func (s *succession) beginSeller() {
	s.t.Helper()
	p := s.run("seller", []string{"-keys", s.t.TempDir(), "-step-patience", longStep}, "orders")
	s.seller.url = strings.TrimPrefix(p.WaitLine("online store"), "online store ")
	p.WaitLine("ready")
	s.seller.proc = p
}

func (s *succession) beginReplica(services ...string) {
	s.t.Helper()
	s.replica = s.run(earlierOwner, nil, services...)
	s.replica.WaitLine("ready")
}

// awaitBothAt waits until both versions have a share of what a service is told.
func (s *succession) awaitBothAt(service string) {
	s.t.Helper()
	await(s.t, "both versions have a share of "+service, func() bool {
		owners := s.rows(service, `SELECT DISTINCT owner FROM {bb_checkpoint} WHERE subscription = '`+service+`' AND owner <> ''`)
		return len(owners) > 1 && slices.Contains(owners, earlierOwner)
	})
}

// prepay makes an order that one of the payments is for, as long as there are any.
func (s *succession) prepay(id string) string {
	n := s.paid
	s.paid++
	return paidBy(prepaid(n), order(id, customerOf(n), item{"PRODUCT_002", 5, 1}))
}

// whileKilled loads a store and has something killed meanwhile. At that of the version before some orders are prepaid: its payments does not
// know how this version has money kept for an order.
func (s *succession) whileKilled(store *mall, word string, kill func()) {
	s.t.Helper()
	bodies := map[int]string{} // before the load, whose clients run side by side
	for n := 1; store == s.seller && n <= 6; n++ {
		bodies[n] = s.prepay(fmt.Sprintf("%s-%04d", word, n))
	}
	accepted := store.loadOf(s.t, 4, 120, func(n int) (id, body string) {
		id, body = numbered(word)(n)
		if paid := bodies[n]; paid != "" {
			body = paid
		}
		return id, body
	})
	kill()
	s.accepted = append(s.accepted, accepted()...)
}

// inFlightBy counts the sagas that have not ended, by state and step.
func (s *succession) inFlightBy() map[string]int {
	s.t.Helper()
	count := map[string]int{}
	for _, row := range s.rows("orders", `SELECT state || ' at ' || (convert_from(data, 'UTF8')::json ->> 'step') FROM {bb_saga} WHERE state NOT IN ('completed', 'compensated')`) {
		count[row]++
	}
	return count
}

// strand leaves sagas of the version before at each kind of place: waiting for goods, for a payment's confirmation, for the customer's, and half undone.
// It returns which orders are to be approved once somebody answers, and which canceled.
func (s *succession) strand() (approved, canceled []string) {
	s.t.Helper()
	for n := range 4 {
		id := fmt.Sprintf("waits-%d", n)
		body := strings.Replace(order(id, customerOf(n), item{"Laptop", 1200, 10}), `"orderId"`, `"waitForStock":true,"orderId"`, 1)
		s.seller.must(202, "POST", "/order", body)
		status := "BACKORDERED"
		if n == 0 {
			status = "APPROVED" // there are ten
		}
		s.seller.awaitStatus(id, status)
		approved = append(approved, id)
	}
	canceled, approved = approved[3:], slices.Clip(approved[:3])

	// Nobody minds payments any more, in either version.
	s.replica.Signal(syscall.SIGTERM)
	if e := s.replica.Wait(); e.Code != 0 {
		s.t.Errorf("the version before ended with %v\n%s", e, s.replica.Stderr())
	}
	s.of("payments").proc.Kill9()
	s.beginReplica("inventory", "customers", "stores")
	for n := range 6 {
		id := fmt.Sprintf("unconfirmed-%d", n)
		s.seller.must(202, "POST", "/order", s.prepay(id))
		approved = append(approved, id)
	}
	await(s.t, "payments are to be confirmed", func() bool { return s.inFlightBy()["running at 2"] >= 6 })

	// Nor anything else that the checkout asks.
	s.replica.Kill9()
	s.of("inventory").proc.Kill9()
	for n := range 6 {
		id := fmt.Sprintf("unknown-%d", n)
		s.seller.must(202, "POST", "/order", order(id, customerOf(n), item{"PRODUCT_001", 10, 1}))
		approved = append(approved, id)
	}
	for _, id := range canceled {
		s.seller.must(202, "POST", "/order/"+id+"/cancel", `{}`)
	}
	s.accepted = slices.Concat(s.accepted, approved, canceled)
	return approved, canceled
}

// takeIn has this version's gateways take in what the version before does not hear, and returns the orders: they wait for this version's orders service.
func (s *succession) takeIn() (waiting []string) {
	s.t.Helper()
	for n := range 10 {
		id := fmt.Sprintf("intake-%d", n)
		s.must(202, "POST", "/order", order(id, customerOf(n), item{"PRODUCT_002", 5, 1}))
		waiting = append(waiting, id)
	}
	for _, step := range []struct {
		operation string
		args      control.Args
	}{
		{"basket start", control.Args{"customer": customerOf(0), "basket": "basket"}},
		{"basket add", control.Args{"basket": "basket", "items": `[{"product":"PRODUCT_001","quantity":1}]`}},
		{"basket checkout", control.Args{"basket": "basket", "order": "basket"}},
	} {
		if err := s.ask(s.t.Context(), step.operation, step.args); err != nil {
			s.t.Fatalf("%s: %v", step.operation, err)
		}
	}
	waiting = append(waiting, "basket")
	s.accepted = append(s.accepted, waiting...)
	return waiting
}

// succeed begins this version's orders service, kills it under load, and begins it again with what ended before.
func (s *succession) succeed() {
	s.t.Helper()
	orders := processes([]string{"orders"})[0]
	s.others = append(s.others, orders)
	s.beginPart(orders)
	s.whileKilled(s.mall, "now", func() {
		orders.proc.Kill9()
		s.beginWhatEnded()
		s.beginReplica(asked...)
	})
}

// F7: on one PostgreSQL database the version before runs orders, all of its sagas, and what they ask runs in both versions; each process is
// killed under load. Then the one that runs orders is killed with sagas stranded at each kind of place, and this version's takes them to their end, and what
// the gateways of this version took in meanwhile: nothing is lost, nothing happens twice, feeds have no holes, and the seals of the orders hold
// over both. Red when this version does not find a saga of the version before again (another name, or no version 1 of it), and when what its baskets
// were checked out into before it first ran orders is passed over.
func TestF7_ReleasedSagasGoOnBeside(t *testing.T) {
	t.Parallel()
	if !proving(t) {
		return
	}
	s := openSuccession(t)
	s.whileKilled(s.seller, "replica", func() {
		s.replica.Kill9()
		s.beginReplica(asked...)
	})
	s.whileKilled(s.seller, "both", func() {
		s.of("inventory").proc.Kill9()
		s.of("payments").proc.Kill9()
		s.beginWhatEnded()
	})
	s.whileKilled(s.seller, "seller", s.seller.proc.Kill9)
	s.beginSeller()
	s.seller.awaitStatus("replica-0011", "APPROVED") // the version before brings its orders to their end

	waiting := s.takeIn()
	approved, canceled := s.strand()
	s.whileKilled(s.seller, "last", s.seller.proc.Kill9)
	stranded := s.inFlightBy()
	t.Logf("sagas in flight: %v", stranded)
	for _, place := range []string{"running at 0", "waiting at 1", "running at 2", "compensating at 1"} {
		if stranded[place] == 0 {
			t.Errorf("no saga is %s when the version before is killed: %v", place, slices.Sorted(maps.Keys(stranded)))
		}
	}
	s.succeed()
	s.souk("stock", "receive", "Laptop", "50")
	s.idle()
	for _, id := range slices.Concat(approved, waiting) {
		s.awaitStatus(id, "APPROVED")
	}
	for _, id := range canceled {
		s.awaitStatus(id, "CANCELED")
	}
	again := order("unknown-0", customerOf(0), item{"PRODUCT_001", 10, 1})
	if status, answer := s.call("POST", "/order", again); status != 200 && status != 202 {
		t.Errorf("an order of the version before sent again: %d %s", status, answer)
	}
	s.settle()
	s.replica.Signal(syscall.SIGTERM)
	if e := s.replica.Wait(); e.Code != 0 {
		t.Errorf("the version before ended with %v\n%s", e, s.replica.Stderr())
	}
	s.redriveUnknown()
	s.settle()
	if left := s.inFlightBy(); len(left) > 0 {
		t.Errorf("sagas are left: %v", left)
	}
	s.stop()
	at := s.place()
	at.forked, at.rebuild = asked, true
	s.accountFor(report(t, at, s.out, true), s.accepted)
}
