package store

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/internal/house"
	core "example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/depot"
)

// between stops the mall, gives its services commands that no gateway and no operator has, and starts it again.
func (m *mall) between(commands ...backbone.Command) {
	m.t.Helper()
	m.stop()
	ctx, cancel := context.WithTimeout(m.t.Context(), time.Minute)
	defer cancel()
	h, err := house.Open(ctx, house.Config{Data: m.dir, DB: m.db, Broker: m.broker(), Quiet: true, Empty: true})
	if err != nil {
		m.t.Fatal(err)
	}
	if err := h.Start(ctx); err != nil {
		m.t.Fatal(err)
	}
	for _, c := range commands {
		answer, err := h.Runtime.Do(ctx, c, backbone.By("operator:test"))
		if err == nil {
			err = answer.Err()
		}
		if err != nil {
			m.t.Errorf("%s: %v", c.CommandType(), err)
		}
	}
	if err := h.Stop(ctx); err != nil {
		m.t.Fatal(err)
	}
	m.begin()
}

// saga is an order's checkout as "souk saga show" prints it.
type saga struct {
	Saga, State string
	Data        struct {
		Step, Attempts int
		Steps          []string
		Why            string
	}
}

func (m *mall) saga(order string) saga {
	m.t.Helper()
	var list []saga
	if err := json.Unmarshal([]byte(m.souk("saga", "show", order, "-o", "json")), &list); err != nil {
		m.t.Fatal(err)
	}
	for _, each := range list { // where processes may be away, the online store has one of its own by the order's id
		if each.Saga == "checkout" {
			return each
		}
	}
	return saga{}
}

// traced returns the short names of what an order led to, in the order of time.
func (m *mall) traced(order string) (types []string) {
	m.t.Helper()
	for _, row := range rows(m.t, m.binary, m.dir, "trace", order) {
		parts := strings.Split(fmt.Sprint(row["type"]), ".")
		if len(parts) == 4 {
			types = append(types, parts[2])
		}
	}
	return types
}

// follow reports whether these stand in a list one after the other, whatever is between.
func follow(list []string, names ...string) bool {
	for _, name := range names {
		i := slices.Index(list, name)
		if i < 0 {
			return false
		}
		list = list[i+1:]
	}
	return true
}

// B5 and B9: whichever step of the checkout is refused, what the steps before it did is undone, and the order ends rejected
// and says why. A payment that is too small, another customer's, used, declined or unknown buys nothing, and stays what it
// is. Red when a step's undo is left out, when a payment's amount, customer or order is not looked at, or when the refused
// step itself is undone, although its receiver takes that for nothing: neither stock nor a payment was the order's.
func TestB5B9_RefusedAtEachStep(t *testing.T) {
	t.Parallel()
	binary := program(t)
	out := startOutside(t, binary)
	m := startWith(t, out, binary, t.TempDir(), nil)
	m.seed()
	m.authorize("BIG", "CUSTOMER_001", "100.00")
	m.authorize("SMALL", "CUSTOMER_001", "9.99")
	m.authorize("OTHERS", "CUSTOMER_002", "100.00")
	m.authorize("USED", "CUSTOMER_001", "10.00")
	m.settle()
	out.troubleMoney(t, `{"decline_percent":100}`)
	m.authorize("DECLINED", "CUSTOMER_001", "100.00")
	m.settle()
	out.troubleMoney(t, `{}`)
	m.between(command.DisableCustomer{Customer: "CUSTOMER_002"}, command.CancelList{List: "MARKED", Reason: core.ReasonOrderCanceled})
	one := func(id, customer string) string { return order(id, customer, item{"PRODUCT_001", 10, 1}) }
	m.must(202, "POST", "/order", paidBy("USED", one("FIRST", "CUSTOMER_001")))
	m.awaitStatus("FIRST", "APPROVED")

	for id, c := range map[string]struct {
		body, reason string
		steps        []string // how each step of the checkout ended
	}{
		"NOBODY":   {one("NOBODY", "CUSTOMER_999"), core.ReasonCustomerRefused, []string{"refused", "", "", "", "", "", ""}},
		"DISABLED": {one("DISABLED", "CUSTOMER_002"), core.ReasonCustomerRefused, []string{"refused", "", "", "", "", "", ""}},
		"SHORT": {
			order("SHORT", "CUSTOMER_001", item{"PRODUCT_002", 5, 1}, item{"PRODUCT_001", 10, 10}),
			core.ReasonOutOfStock,
			[]string{"undone", "refused", "", "", "", "", ""},
		},
		// The depot has a mark under this id that refuses the list, as a checkout leaves one whose list it gave up before it was there.
		"MARKED":   {one("MARKED", "CUSTOMER_001"), depot.ErrListCanceled.Code, []string{"undone", "undone", "refused", "", "", "", ""}},
		"SMALL":    {paidBy("SMALL", one("SMALL", "CUSTOMER_001")), core.ReasonPaymentRefused, []string{"undone", "undone", "undone", "refused", "", "", ""}},
		"OTHERS":   {paidBy("OTHERS", one("OTHERS", "CUSTOMER_001")), core.ReasonPaymentRefused, []string{"undone", "undone", "undone", "refused", "", "", ""}},
		"USED":     {paidBy("USED", one("USED", "CUSTOMER_001")), core.ReasonPaymentRefused, []string{"undone", "undone", "undone", "refused", "", "", ""}},
		"DECLINED": {paidBy("DECLINED", one("DECLINED", "CUSTOMER_001")), core.ReasonPaymentRefused, []string{"undone", "undone", "undone", "refused", "", "", ""}},
		"UNKNOWN":  {paidBy("UNKNOWN", one("UNKNOWN", "CUSTOMER_001")), core.ReasonPaymentRefused, []string{"undone", "undone", "undone", "refused", "", "", ""}},
	} {
		m.must(202, "POST", "/order", c.body)
		m.awaitStatus(id, "REJECTED")
		var told struct {
			Rejection struct {
				Reason, ProductID string
				Wanted, Available int
			}
		}
		if err := json.Unmarshal([]byte(m.must(200, "GET", "/order/"+id, "")), &told); err != nil {
			t.Fatal(err)
		}
		if told.Rejection.Reason != c.reason {
			t.Errorf("%s was rejected because of %q, want %q", id, told.Rejection.Reason, c.reason)
		}
		if r := told.Rejection; id == "SHORT" && (r.ProductID != "PRODUCT_001" || r.Wanted != 10 || r.Available != 9) {
			t.Errorf("%s is told %+v", id, r)
		}
		if s := m.saga(id); s.State != "compensated" || !slices.Equal(s.Data.Steps, c.steps) {
			t.Errorf("%s: the checkout is %s, its steps %q, want %q", id, s.State, s.Data.Steps, c.steps)
		}
		if id == "NOBODY" { // whoever registers later is told even so
			m.souk("customer", "register", "--customer", "CUSTOMER_999", "--name", "Late", "--email", "late@souk.example")
		}
		if c.steps[1] == "undone" && !follow(m.traced(id), "StockReserved", "ReleaseStock", "StockReleased", "OrderRejected") {
			t.Errorf("%s: stock was not released before the end: %v", id, m.traced(id))
		}
		for step, undo := range []string{"", "ReleaseStock", "CancelList", "VoidPayment"} {
			if c.steps[step] != "undone" && slices.Contains(m.traced(id), undo) {
				t.Errorf("%s: %s was sent and there is nothing to undo: %v", id, undo, m.traced(id))
			}
		}
	}
	if a, b := m.available("PRODUCT_001"), m.available("PRODUCT_002"); a != 9 || b != 15 {
		t.Errorf("available %d and %d, want 9 and 15", a, b)
	}
	for id, want := range map[string]string{"BIG": "authorized", "SMALL": "authorized", "OTHERS": "authorized", "USED": "confirmed", "DECLINED": "declined"} {
		if s := m.payment(id); s != want {
			t.Errorf("payment %s is %s, want %s", id, s, want)
		}
	}
	m.must(202, "POST", "/order", paidBy("BIG", one("LAST", "CUSTOMER_001")))
	m.awaitStatus("LAST", "APPROVED")
	m.holds()
}

// B5 and B8: cancelled while any step is under way, also one that gives no answer yet, an order ends cancelled once it can
// be undone, with its stock back and its payment voided. Until then the checkout can be seen compensating. Red when a step
// whose outcome is unknown is not undone.
func TestB5B8_CancelBetween(t *testing.T) {
	t.Parallel()
	binary := program(t)
	out := startOutside(t, binary)
	m := startWith(t, out, binary, t.TempDir(), nil)
	m.seed()
	for step, service := range []string{"customers", "inventory", "depot", "payments", ""} {
		id, payment := fmt.Sprint("AT", step), fmt.Sprint("PAY", step)
		m.authorize(payment, "CUSTOMER_001", "10.00")
		m.settle()
		if service != "" {
			m.souk("service", "pause", service)
		}
		m.must(202, "POST", "/order", paidBy(payment, order(id, "CUSTOMER_001", item{"PRODUCT_001", 10, 1})))
		if service == "" {
			m.awaitStatus(id, "APPROVED")
		} else {
			await(t, "the step is under way", func() bool { s := m.saga(id); return s.Data.Step == step && s.State == "running" })
		}
		m.must(202, "POST", "/order/"+id+"/cancel", `{"reason":"another colour"}`)
		if step >= 1 && step <= 3 { // there is something to undo, and nobody to do it
			await(t, "the checkout is being undone", func() bool { return m.saga(id).State == "compensating" })
			if list := m.souk("saga", "list", "--state", "compensating"); !strings.Contains(list, id) {
				t.Errorf("%s is not listed:\n%s", id, list)
			}
			if s := m.status(id); s != "CANCELLING" {
				t.Errorf("%s is %s", id, s)
			}
		}
		if service != "" {
			m.souk("service", "resume", service)
		}
		m.awaitStatus(id, "CANCELED")
		m.settle()
		if a := m.available("PRODUCT_001"); a != 10 {
			t.Errorf("%s: available %d, want 10", id, a)
		}
		want := "authorized" // it was never the order's
		if step >= 3 {
			want = "voided"
		}
		if s := m.payment(payment); s != want {
			t.Errorf("%s: the payment is %s, want %s", id, s, want)
		}
	}
	m.holds()
	m.caused()
}

// sent returns when the orders service sent an order a command of this type, and under how many ids.
func (m *mall) sent(order, command string) (times []time.Time, ids int) {
	m.t.Helper()
	distinct := map[string]bool{}
	for _, row := range m.rows("orders", `SELECT ref, time FROM {bb_log} WHERE type = '`+command+`' AND text(meta) LIKE '%/`+order+`#%' ORDER BY position`) {
		id, at, _ := strings.Cut(row, "|")
		micro, err := strconv.ParseInt(at, 10, 64)
		if err != nil {
			m.t.Fatal(err)
		}
		times, distinct[id] = append(times, time.UnixMicro(micro)), true
	}
	return times, len(distinct)
}

// B5: a step whose answer does not come in time is asked again, under the same id, until it comes, and takes effect once; a
// payment that is not confirmed in time has the order undone, whose undo is asked again in its turn, and the payment, which
// was confirmed late, is given back. Red when a deadline is not kept, comes too soon, gives up what is to wait or waits where
// it is to give up, when what is sent again has another id, and when a step of unknown outcome is not undone.
func TestB5_Deadlines(t *testing.T) {
	t.Parallel()
	const patience = 1500 * time.Millisecond // deadlines are looked at once a second
	binary := program(t)
	out := startOutside(t, binary)
	m := startWith(t, out, binary, t.TempDir(), nil, "--step-patience", patience.String())
	m.seed()
	again := func(id, command string, often int) {
		t.Helper()
		await(t, id+" is asked again and again for "+command, func() bool { times, _ := m.sent(id, command); return len(times) >= often })
		times, ids := m.sent(id, command)
		if ids != 1 {
			t.Errorf("%s was sent %d ids of %s", id, ids, command)
		}
		for i, at := range times[1:] {
			if waited := at.Sub(times[i]); waited < patience {
				t.Errorf("%s was sent %s again after %v", id, command, waited)
			}
		}
	}
	for step, c := range []struct{ service, command string }{{"customers", command.AuthorizeCustomerV1}, {"inventory", command.ReserveStockV1}} {
		id := fmt.Sprint("WAITS", step)
		m.souk("service", "pause", c.service)
		m.must(202, "POST", "/order", order(id, "CUSTOMER_001", item{"PRODUCT_001", 10, 1}))
		again(id, c.command, 2)
		if s := m.saga(id); s.State != "running" || s.Data.Step != step {
			t.Errorf("%s: nobody answers step %d, and the checkout is %s at %d", id, step, s.State, s.Data.Step)
		}
		if s := m.status(id); s != "PENDING" {
			t.Errorf("%s: nobody answers, and it is %s", id, s)
		}
		m.souk("service", "resume", c.service)
		m.awaitStatus(id, "APPROVED")
	}

	m.authorize("PAY", "CUSTOMER_001", "10.00")
	m.settle()
	m.souk("service", "pause", "payments")
	m.must(202, "POST", "/order", paidBy("PAY", order("UNDONE", "CUSTOMER_001", item{"PRODUCT_001", 10, 1})))
	again("UNDONE", command.VoidPaymentV1, 3)
	if times, _ := m.sent("UNDONE", command.ConfirmPaymentV1); len(times) != 1 {
		t.Errorf("the confirmation that was given up was asked for %d times", len(times))
	}
	if s := m.saga("UNDONE"); s.State != "compensating" {
		t.Errorf("its payment is not confirmed in time, and the checkout is %s", s.State)
	}
	m.souk("service", "resume", "payments")
	m.awaitStatus("UNDONE", "REJECTED")
	if answer := m.must(200, "GET", "/order/UNDONE", ""); !strings.Contains(answer, core.ReasonPaymentRefused) {
		t.Errorf("the reason is %s", answer)
	}
	if s := m.saga("UNDONE"); s.State != "compensated" || !slices.Equal(s.Data.Steps, []string{"undone", "undone", "undone", "undone", "", "", ""}) {
		t.Errorf("the checkout is %s, its steps %q", s.State, s.Data.Steps)
	}
	m.settle()
	if s := m.payment("PAY"); s != "voided" {
		t.Errorf("the payment of an order that was given up is %s", s)
	}
	if a := m.available("PRODUCT_001"); a != 8 { // of 10 the two that waited have one each
		t.Errorf("available %d, want 8", a)
	}
	if bearer := m.token(binary, "engineer"); m.scrape(bearer)["souk_alarms_total"] == 0 {
		t.Error("no alarm was raised")
	}
	m.holds()
	m.caused()
}

// B5: a payment that has to be given back while the provider fails is asked for again and again; the order has ended, the
// money follows. Red when a void that failed is given up.
func TestB5_VoidIsRetried(t *testing.T) {
	t.Parallel()
	binary := program(t)
	out := startOutside(t, binary)
	m := startWith(t, out, binary, t.TempDir(), nil)
	m.seed()
	m.authorize("PAY", "CUSTOMER_001", "10.00")
	m.settle()
	m.must(202, "POST", "/order", paidBy("PAY", order("O1", "CUSTOMER_001", item{"PRODUCT_001", 10, 1})))
	m.awaitStatus("O1", "APPROVED")
	out.troubleMoney(t, `{"fail_percent":100}`)
	m.must(202, "POST", "/order/O1/cancel", `{}`)
	m.awaitStatus("O1", "CANCELED")
	await(t, "the void was tried again", func() bool {
		list := m.rows("payments", `SELECT cause FROM {bb_call} WHERE attempts >= 2`)
		return len(list) == 1 && list[0] != ""
	})
	if s := m.payment("PAY"); s != "voiding" {
		t.Errorf("nothing was given back, and the payment is %s", s)
	}
	if bearer := m.token(binary, "engineer"); m.scrape(bearer)["souk_calls_waiting"] != 1 {
		t.Error("no metric shows the call that waits")
	}
	out.troubleMoney(t, `{}`)
	m.settle()
	if s := m.payment("PAY"); s != "voided" {
		t.Errorf("the payment is %s", s)
	}
	m.holds()
}

// B5: an undo that is refused is tried again, and after its tries the checkout is stuck, where everybody sees it, until an
// operator has it tried again or gives it up; both say who and why. Red when a refused undo counts as done.
func TestB5_StuckUndo(t *testing.T) {
	t.Parallel()
	binary := program(t)
	m := start(t, binary, t.TempDir(), nil)
	m.seed()
	later := time.Now().Add(time.Hour).UnixMicro()
	other := []core.Line{{SKU: "PRODUCT_002", Quantity: 1}}
	var reserve, release []backbone.Command
	ids := []string{"RETRY", "ABORT"}
	for _, id := range ids { // a reservation of other lines stands under the order's id: what the order holds cannot be released
		reserve = append(reserve, command.ReserveStock{Order: id, Lines: other, Location: core.MainLocation, Expires: later})
		release = append(release, command.ReleaseStock{Order: id, Lines: other, Location: core.MainLocation, Reason: "by hand"})
	}
	m.between(reserve...)
	for _, id := range ids {
		m.must(202, "POST", "/order", order(id, "CUSTOMER_001", item{"PRODUCT_001", 10, 1}))
		await(t, id+" waits for stock", func() bool { return m.saga(id).State == "waiting" })
		m.must(202, "POST", "/order/"+id+"/cancel", `{}`)
		await(t, id+" cannot be undone", func() bool {
			s := m.saga(id)
			return s.State == "compensating" && s.Data.Attempts > 0 && strings.Contains(s.Data.Why, "refused")
		})
	}
	// As if it had been tried for some minutes.
	m.stop()
	for _, id := range ids {
		tried := regexp.MustCompile(`"attempts":\d+`).FindString(m.rows("orders", `SELECT text(data) FROM {bb_saga} WHERE id = '`+id+`'`)[0])
		m.place().change(t, "orders", `UPDATE {bb_saga} SET data = CAST(replace(text(data), '`+tried+`', '"attempts":7') AS BLOB) WHERE id = '`+id+`'`)
	}
	m.begin()
	for _, id := range ids {
		await(t, id+" is stuck", func() bool { return m.saga(id).State == "stuck" })
	}
	if list := m.souk("saga", "list", "--state", "stuck"); !strings.Contains(list, "RETRY") || !strings.Contains(list, "ABORT") {
		t.Errorf("the list of what is stuck:\n%s", list)
	}
	if _, code := souk(t, binary, m.dir, "saga", "retry", "orders", "checkout", "RETRY"); code != 2 {
		t.Errorf("a retry without a reason: exit %d", code)
	}
	m.souk("saga", "abort", "orders", "checkout", "ABORT", "--why", "released by hand")
	m.awaitStatus("ABORT", "CANCELED")
	m.between(release...)
	if s := m.saga("RETRY"); s.State != "stuck" {
		t.Errorf("nobody asked for it, and it is %s", s.State)
	}
	m.souk("saga", "retry", "orders", "checkout", "RETRY", "--why", "the reservation is in order")
	m.awaitStatus("RETRY", "CANCELED")
	for _, id := range ids {
		if s := m.saga(id); s.State != "compensated" {
			t.Errorf("%s is %s", id, s.State)
		}
	}
	requests := m.rows("orders", `SELECT action, key, why FROM {bb_request} WHERE subject = 'saga' AND actor LIKE 'operator:_%' AND done > 0 ORDER BY id`)
	if want := []string{"abort|ABORT|released by hand", "retry|RETRY|the reservation is in order"}; !slices.Equal(requests, want) {
		t.Errorf("the requests are kept as %q, want %q", requests, want)
	}
	m.holds()
	m.caused()
}
