package store

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"example.org/souk/internal/testserver"
)

// vanishing is a mall that keeps what was set aside for two seconds, with its provider.
func vanishing(t *testing.T, flags ...string) (*mall, *outside) {
	t.Helper()
	binary := program(t)
	out := startOutside(t, binary)
	m := startWith(t, out, binary, t.TempDir(), nil, append(flags, "--payment-hold", "2s")...)
	await(t, "it is seeded", func() bool { status, _ := m.call("POST", "/automation-testing/seed", ""); return status == 200 })
	return m, out
}

// freed reports whether the provider has given back all of a payment.
func (o *outside) freed(t *testing.T, payment string) bool {
	t.Helper()
	a := o.money(t).Payments[payment]
	return a.Authorized > 0 && a.Voided == a.Authorized
}

// onEachDatabase runs a test on SQLite and then on PostgreSQL; with every service in a process of its own that has been decided.
func onEachDatabase(t *testing.T, test func(t *testing.T, flags ...string)) {
	t.Helper()
	if separately(t) != nil {
		test(t)
		return
	}
	t.Run("sqlite", func(t *testing.T) { test(t) })
	t.Run("postgres", func(t *testing.T) { test(t, "--db", testserver.Postgres(t).Database(t)) })
}

// Money that a browser had set aside which nobody sees again is free when its time is over, also where the mall is killed before the provider has answered and
// again when it has. The ledger of the provider says so, and that nothing was asked of it twice. An order that waits for goods keeps what was set
// aside for it for longer than that, and is approved when they come. Whoever orders too late is told that the payment is gone.
func TestMoneyThatNobodyTakes(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, flags ...string) {
		m, out := vanishing(t, flags...)
		out.troubleMoney(t, `{"pause":true}`)
		m.authorize("waits", "CUSTOMER_001", "100")
		m.must(202, "POST", "/order", strings.Replace(paidBy("waits", order("O_WAITS", "CUSTOMER_001", item{"PRODUCT_002", 5, 20})),
			`"orderId"`, `"waitForStock":true,"orderId"`, 1))
		m.awaitStatus("O_WAITS", "BACKORDERED")
		m.authorize("vanished", "CUSTOMER_002", "10")
		m.kill9()
		out.troubleMoney(t, `{}`)
		m.begin()
		await(t, "the provider has set it aside", func() bool { return out.money(t).Payments["vanished"].Authorized == 1000 })
		m.kill9()
		m.begin()
		await(t, "it is free", func() bool { return out.freed(t, "vanished") })
		m.awaitPayment("vanished", "voided")
		m.must(202, "POST", "/order", paidBy("vanished", order("O_LATE", "CUSTOMER_002", item{"PRODUCT_001", 10, 1})))
		m.awaitStatus("O_LATE", "REJECTED")
		if told := m.must(200, "GET", "/order/O_LATE", ""); !strings.Contains(told, `"payment_refused"`) {
			t.Errorf("whoever ordered too late is told %s", told)
		}

		m.authorize("vanished-too", "CUSTOMER_002", "10")
		await(t, "another one is free", func() bool { return out.freed(t, "vanished-too") })
		m.awaitPayment("waits", "authorized") // the claim of who was killed has ended
		if a := out.money(t).Payments["waits"]; a.Authorized != 10000 || a.Voided != 0 {
			t.Errorf("what a waiting order will take: %+v", a)
		}
		m.souk("stock", "receive", "PRODUCT_002", "10")
		m.awaitStatus("O_WAITS", "APPROVED")
		m.idle()
		money := out.money(t)
		if a := money.Payments["waits"]; a.Authorized != 10000 || a.Voided != 0 {
			t.Errorf("what the order has taken: %+v", a)
		}
		for key, n := range money.Executions {
			if n != 1 {
				t.Errorf("%s took effect %d times", key, n)
			}
		}
	})
}

// Orders arrive while what was set aside for them lapses, one payment after the other. Each has its money or is rejected, and the provider holds what the
// approved ones have and nothing else.
func TestOrdersWhileTheirMoneyLapses(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, flags ...string) {
		m, out := vanishing(t, flags...)
		m.souk("stock", "receive", "PRODUCT_001", "100")
		const many = 30
		for i := range many {
			m.authorize(fmt.Sprintf("p%d", i), "CUSTOMER_001", "10")
		}
		await(t, "the first has lapsed", func() bool { return out.freed(t, "p0") })
		var all sync.WaitGroup
		for i := range many {
			all.Go(func() {
				body := paidBy(fmt.Sprintf("p%d", i), order(fmt.Sprintf("O%d", i), "CUSTOMER_001", item{"PRODUCT_001", 10, 1}))
				if status, answer := m.call("POST", "/order", body); status != 202 {
					t.Errorf("O%d: %d %s", i, status, answer)
				}
			})
		}
		all.Wait()
		await(t, "the last has lapsed or is taken", func() bool {
			for i := range many {
				if s := m.status(fmt.Sprintf("O%d", i)); s != "APPROVED" && s != "REJECTED" {
					return false
				}
			}
			return true
		})
		m.idle()
		approved, money := 0, out.money(t)
		for i := range many {
			a, status := money.Payments[fmt.Sprintf("p%d", i)], m.status(fmt.Sprintf("O%d", i))
			if status == "APPROVED" {
				approved++
			}
			if a.Authorized != 1000 || (a.Voided == 0) != (status == "APPROVED") {
				data, err := json.Marshal(a)
				t.Errorf("O%d is %s, and the provider has %s (%v)", i, status, data, err)
			}
		}
		t.Logf("%d of %d orders have their money", approved, many)
	})
}
