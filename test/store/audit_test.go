package store

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	mailstandin "example.org/souk/provider/mail/standin"
)

// busyDay leads orders to every end: approved, prepaid, rejected, cancelled, backordered and gone on.
func (m *mall) busyDay() (orders []string) {
	m.t.Helper()
	m.seed()
	return m.ordersOfADay()
}

// ordersOfADay is busyDay in a world that was filled before.
func (m *mall) ordersOfADay() (orders []string) {
	m.t.Helper()
	m.authorize("PAY1", "CUSTOMER_001", "40.00")
	m.settle()
	m.must(202, "POST", "/order", paidBy("PAY1", order1))
	m.must(202, "POST", "/order", order2)
	m.must(202, "POST", "/order", order("SHORT", "CUSTOMER_002", item{"Laptop", 1200, 11}))
	m.must(202, "POST", "/order", strings.Replace(order("WAITS", "CUSTOMER_002", item{"Laptop", 1200, 11}), `"orderId"`, `"waitForStock":true,"orderId"`, 1))
	m.must(202, "POST", "/order", strings.Replace(order("COMES", "CUSTOMER_001", item{"PRODUCT_002", 5, 20}), `"orderId"`, `"waitForStock":true,"orderId"`, 1))
	m.must(202, "POST", "/order", order("GONE", "CUSTOMER_001", item{"PRODUCT_002", 5, 1}))
	m.must(202, "POST", "/order", order("NOBODY", "CUSTOMER_003", item{"PRODUCT_002", 5, 1}))
	m.souk("customer", "register", "--customer", "CUSTOMER_003", "--name", "Three", "--email", "three@souk.example")
	for id, status := range map[string]string{
		"ORDER_001": "APPROVED", "ORDER_002": "APPROVED", "SHORT": "REJECTED", "WAITS": "BACKORDERED", "COMES": "BACKORDERED", "GONE": "APPROVED",
	} {
		m.awaitStatus(id, status)
		orders = append(orders, id)
	}
	m.must(202, "POST", "/order/GONE/cancel", `{"reason":"another colour"}`)
	m.souk("stock", "receive", "PRODUCT_002", "10")
	m.awaitStatus("GONE", "CANCELED")
	m.awaitStatus("COMES", "APPROVED")
	m.settle()
	return append(orders, "NOBODY")
}

// B13: the events of each order, played again, lead to what the store shows of it: status, customer, total, items, and the
// way that it took. Red when a view is told something that no event says, or misses one.
func TestB13_ReplayEqualsLive(t *testing.T) {
	t.Parallel()
	m := start(t, program(t), t.TempDir(), nil)
	for _, id := range m.busyDay() {
		var live struct {
			CustomerID, Status string
			TotalPrice         json.Number
			Items              []struct {
				ProductID string
				Quantity  int64
			}
			History []struct{ Status string }
		}
		if err := json.Unmarshal([]byte(m.must(200, "GET", "/order/"+id, "")), &live); err != nil {
			t.Fatal(err)
		}
		var state struct {
			Status, Customer string
			Reserved         bool
			Total            struct{ Amount int64 }
			Items            []struct {
				Product  string
				Quantity int64
			}
		}
		var shown, way []string
		for line := range strings.Lines(m.souk("event", "replay", "order/"+id, "-o", "jsonl")) {
			row := struct{ State any }{&state}
			if err := json.Unmarshal([]byte(line), &row); err != nil {
				t.Fatal(err)
			}
			status := strings.ToUpper(state.Status)
			if state.Reserved && (status == "PENDING" || status == "BACKORDERED") {
				status = "RESERVED"
			}
			if len(shown) == 0 || shown[len(shown)-1] != status {
				shown = append(shown, status)
			}
		}
		for _, h := range live.History {
			way = append(way, h.Status)
		}
		if !slices.Equal(shown, way) || live.Status != shown[len(shown)-1] {
			t.Errorf("%s came through %v and is shown as %v, %s", id, shown, way, live.Status)
		}
		if total, err := live.TotalPrice.Float64(); err != nil || int64(total*100) != state.Total.Amount || live.CustomerID != state.Customer {
			t.Errorf("%s of %s costs %d and is shown as %s's, %s", id, state.Customer, state.Total.Amount, live.CustomerID, live.TotalPrice)
		}
		if fmt.Sprint(live.Items) != fmt.Sprint(state.Items) {
			t.Errorf("%s has %v and is shown with %v", id, state.Items, live.Items)
		}
	}
	m.souk("stock", "receive", "Laptop", "1")
	m.awaitStatus("WAITS", "APPROVED")
	m.holds()
}

// D4: of orders for several products at once, each gets all or nothing: as many as the scarcest product lasts for, and of
// the others not a piece is lost. Red when what is there is held although something else is not.
func TestD4_AllOrNothing(t *testing.T) {
	t.Parallel()
	m := start(t, program(t), t.TempDir(), nil)
	m.seed()
	m.souk("stock", "receive", "Laptop", "20") // so that the scarcest is neither the first nor the last
	var posts sync.WaitGroup
	for n := range 40 {
		items := []item{{"PRODUCT_001", 10, 1}, {"PRODUCT_002", 5, 1}, {"Laptop", 1200, 1}}
		slices.Reverse(items[n%3:])
		posts.Go(func() {
			if status, answer := m.call("POST", "/order", order(fmt.Sprint("A", n), "CUSTOMER_001", items...)); status != 202 {
				t.Errorf("%d %s", status, answer)
			}
		})
	}
	posts.Wait()
	m.idle()
	counts := map[string]int{}
	for n := range 40 {
		counts[m.status(fmt.Sprint("A", n))]++
	}
	if counts["APPROVED"] != 10 || counts["REJECTED"] != 30 {
		t.Errorf("%v, want 10 approved and 30 rejected", counts)
	}
	if a, b, c := m.available("PRODUCT_001"), m.available("PRODUCT_002"), m.available("Laptop"); a != 0 || b != 5 || c != 20 {
		t.Errorf("available %d, %d and %d, want 0, 5 and 20", a, b, c)
	}
	m.holds()
}

// caused checks that every record of every log says when, who and in which matter, and that what led to it is there: a
// record by its id, a command or call by its own, or a command that was given directly, of which the answer is kept. It
// returns how many records there are.
func (m *mall) caused() (total int) {
	m.t.Helper()
	known, causes := map[string]bool{}, map[string]string{}
	for _, table := range m.place().tables(m.t) {
		service := table[0]
		if table[1] != "bb_log" {
			continue
		}
		for _, id := range m.rows(service, `SELECT id FROM {bb_log} UNION SELECT ref FROM {bb_log} UNION SELECT id FROM {bb_answer}`) {
			known[id] = true
		}
		for _, row := range m.rows(service, `SELECT type, stream, time, text(meta) FROM {bb_log} WHERE type <> 'backbone.Sealed.v1'`) {
			total++
			f := strings.SplitN(row, "|", 4)
			var meta struct{ CausationID, Actor, CorrelationID string }
			if err := json.Unmarshal([]byte(f[3]), &meta); err != nil || f[2] <= "0" || meta.Actor == "" || meta.CorrelationID == "" {
				m.t.Errorf("%s: when, who and in which matter? %s (%v)", service, row, err)
			}
			causes[meta.CausationID] = service + " " + f[0] + " " + f[1]
		}
	}
	for cause, what := range causes {
		if cause == "" || !known[cause] {
			m.t.Errorf("nothing led to %s: cause %q", what, cause)
		}
	}
	return total
}

// D5: every record of every log says when, who and in which matter, and what led to it. What an order led to can be asked
// for by its id: each record of the answer follows from something that is there, and what came of a later cancel is in it.
// Red when a part writes records without their causes, when what the checkout decides itself names a cause that is recorded
// nowhere, when a trace has only what came of placing the order, or when it does not show by which ids its causes are named.
func TestD5_AuditTrail(t *testing.T) {
	t.Parallel()
	m := start(t, program(t), t.TempDir(), nil)
	m.busyDay()
	if total := m.caused(); total < 100 {
		t.Errorf("only %d records were looked at", total)
	}
	for id, parts := range map[string][]string{ // how often something was asked of it, and what heard of it
		"ORDER_001": {"1", "orders", "customers", "inventory", "payments", "notifications"},
		"GONE":      {"2", "orders", "customers", "inventory", "notifications", "souk.orders.OrderCancelling.v1", "souk.inventory.StockReleased.v1"},
	} {
		seen, shown, asked := map[string]bool{}, map[any]bool{}, map[any]bool{}
		list := rows(t, m.binary, m.dir, "trace", id)
		for _, row := range list {
			shown[row["id"]], shown[row["ref"]] = true, true
		}
		delete(shown, "")
		for _, row := range list {
			if !shown[row["cause"]] {
				asked[row["cause"]] = true
			}
			seen[fmt.Sprint(row["service"])] = true
			seen[fmt.Sprint(row["type"])] = true
			if row["actor"] == "" || row["time"] == "" {
				t.Errorf("%s: when and who? %v", id, row)
			}
		}
		if fmt.Sprint(len(asked)) != parts[0] {
			t.Errorf("%s: of the trace nobody can tell where it comes from that %v; asked were %s things", id, asked, parts[0])
		}
		for _, part := range parts[1:] {
			if !seen[part] {
				t.Errorf("%s: the trace has no %s", id, part)
			}
		}
	}
	m.souk("stock", "receive", "Laptop", "1")
	m.holds()
}

// D5: whoever edits, takes out, moves or adds a record of a log behind the mall's back is found out, a cut tail included,
// and the audit names the log and the first bad record. Red when a field is left out of the seal, or when the kept head is
// not looked at.
func TestD5_TamperingIsNamed(t *testing.T) {
	t.Parallel()
	binary := program(t)
	m := start(t, binary, t.TempDir(), nil)
	m.busyDay()
	m.souk("stock", "receive", "Laptop", "1")
	m.holds()
	m.souk("audit", "verify")
	position := func(where string) string {
		t.Helper()
		list := m.rows("orders", `SELECT position FROM {bb_log} WHERE `+where+` ORDER BY position LIMIT 1`)
		if len(list) != 1 {
			t.Fatal(where, list)
		}
		return list[0]
	}
	approved := position(`type = '` + approvedType + `'`)
	for name, harm := range map[string]string{
		"data edited":     `UPDATE {bb_log} SET data = CAST(replace(text(data), 'CUSTOMER_001', 'CUSTOMER_002') AS BLOB) WHERE position = ` + approved,
		"actor edited":    `UPDATE {bb_log} SET meta = CAST(replace(text(meta), '"actor":"', '"actor":"x') AS BLOB) WHERE position = ` + approved,
		"time edited":     `UPDATE {bb_log} SET time = time - 1000000 WHERE position = ` + approved,
		"stream edited":   `UPDATE {bb_log} SET stream = stream || 'x' WHERE position = ` + approved,
		"type edited":     `UPDATE {bb_log} SET type = 'souk.orders.OrderRejected.v1' WHERE position = ` + approved,
		"taken out":       `DELETE FROM {bb_log} WHERE position = ` + approved,
		"two of one kind": `UPDATE {bb_log} SET data = (SELECT o.data FROM {bb_log} o WHERE o.type = '` + placedType + `' ORDER BY o.position LIMIT 1) WHERE position = (SELECT max(position) FROM {bb_log} WHERE type = '` + placedType + `')`,
		"tail cut":        `DELETE FROM {bb_log} WHERE position >= ` + approved,
		"all of it cut":   `DELETE FROM {bb_log}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			copied := m.place().copied(t)
			copied.dir = filepath.Join(copied.dir, m.of("orders").name) // its process keeps the last seal of its log there
			if copied.change(t, "orders", harm) == 0 {
				t.Fatal("nothing was harmed")
			}
			p := copied.start(t, binary, "audit", "verify")
			if e := p.Wait(); e.Code != 1 || !strings.Contains(p.Stderr(), "log of orders, position ") {
				t.Fatalf("exit %d: %s", e.Code, p.Stderr())
			}
			// An edited record is named itself, one that is gone by the one that it followed; of what was cut off
			// only the seal that was kept elsewhere tells.
			_, told, _ := strings.Cut(p.Stderr(), "log of orders, position ")
			told, _, _ = strings.Cut(told, ":")
			first, err := strconv.Atoi(told)
			harmed, bad := strconv.Atoi(approved)
			edited := strings.HasSuffix(name, " edited")
			if err != nil || bad != nil || first < 1 || (edited && first != harmed) || (name == "taken out" && first > harmed) {
				t.Errorf("position %s was harmed: %s", approved, p.Stderr())
			}
		})
	}
}

// D6: making every view again sends no mail, moves no money and counts nothing twice: it leaves every log, timer, saga, call
// and answer as it was. Red when a rebuild runs the policies of the events that it reads, and when it counts one twice.
func TestD6_RebuildDoesNothingOutside(t *testing.T) {
	t.Parallel()
	binary := program(t)
	out := startOutside(t, binary)
	m := startWith(t, out, binary, t.TempDir(), nil)
	m.busyDay()
	sales := func() (list []string) {
		for _, table := range []string{"sales", "trades", "lines", "moves", "goods"} {
			list = append(list, m.rows("analytics", `SELECT * FROM {`+table+`}`)...)
		}
		slices.Sort(list)
		return list
	}
	kept := func() (list []string) {
		for _, table := range m.place().tables(t) {
			where := ""
			switch kind, _ := strings.CutPrefix(table[1], "bb_"); kind {
			case "log": // seals go on meanwhile
				where = ` WHERE type <> 'backbone.Sealed.v1'`
			case "timer", "saga", "call", "answer", "parked", "amendment":
			default:
				continue
			}
			for _, row := range m.rows(table[0], `SELECT * FROM {`+table[1]+`}`+where) {
				list = append(list, table[0]+" "+table[1]+" "+row)
			}
		}
		slices.Sort(list)
		return list
	}
	letters, money, sold, before := len(out.letters(t).Messages), len(out.money(t).Entries), sales(), kept()
	for range 2 {
		for _, v := range rows(t, binary, m.dir, "view", "list") {
			m.souk("view", "rebuild", fmt.Sprint(v["service"]), fmt.Sprint(v["view"]))
		}
	}
	m.settle()
	if l, p := len(out.letters(t).Messages), len(out.money(t).Entries); l != letters || p != money {
		t.Errorf("rebuilt twice: %d mails of %d, %d payments of %d", l, letters, p, money)
	}
	if again := sales(); len(sold) == 0 || !slices.Equal(again, sold) {
		t.Errorf("sales were %v and are %v", sold, again)
	}
	after := kept()
	if len(before) < 100 || !slices.Equal(after, before) {
		t.Errorf("rebuilt twice: %d rows of logs, timers, sagas, calls and answers were %d", len(after), len(before))
		for _, row := range after {
			if !slices.Contains(before, row) {
				t.Logf("new: %s", row)
			}
		}
	}
	m.souk("stock", "receive", "Laptop", "1")
	m.holdsRebuilt()
}

// letter returns the mail about an order with this subject.
func letter(t *testing.T, out *outside, subject string) (found mailstandin.Message) {
	t.Helper()
	for _, l := range out.letters(t).Messages {
		if l.Subject == subject {
			found = l
		}
	}
	return found
}

// B17: mails really go out by SMTP: to the customer, with what happened, each under one Message-ID made of the event. One
// that the server puts off is sent again, one whose answer was lost is sent again under the same Message-ID, and one that
// it refuses for good is given up. Red when the Message-ID is made at each try.
func TestB6B17_Mail(t *testing.T) {
	t.Parallel()
	binary := program(t)
	out := startOutside(t, binary)
	m := startWith(t, out, binary, t.TempDir(), nil)
	m.seed()
	m.must(202, "POST", "/order", order1)
	m.must(202, "POST", "/order", order("SHORT", "CUSTOMER_002", item{"Laptop", 1200, 11}))
	m.awaitStatus("SHORT", "REJECTED")
	m.awaitStatus("ORDER_001", "APPROVED")
	m.settle()
	for _, c := range []struct {
		order, event, to, subject string
		says                      []string
	}{
		{"ORDER_001", approvedType, "customer.one@souk.example", "Your order ORDER_001 is confirmed", []string{"Hello Customer One,", "40.00 EUR"}},
		{
			"SHORT", "souk.orders.OrderRejected.v1", "customer.two@souk.example", "Your order SHORT could not be accepted",
			[]string{"Hello Customer Two,", "too little in stock", "you ordered 11, and 10 are available", "Nothing was charged"},
		},
	} {
		l := letter(t, out, c.subject)
		if !slices.Equal(l.To, []string{c.to}) || l.MessageID != "notification-"+m.eventID(c.order, c.event)+"@souk.example" {
			t.Errorf("%s went to %v as %s", c.order, l.To, l.MessageID)
		}
		for _, part := range c.says {
			if !strings.Contains(l.Body, part) {
				t.Errorf("%s is told %q, without %q", c.order, l.Body, part)
			}
		}
	}

	waits := func(id, cause string) {
		t.Helper()
		m.must(202, "POST", "/order", order(id, "CUSTOMER_001", item{"PRODUCT_002", 5, 1}))
		await(t, id+" waits because of "+cause, func() bool {
			list := m.rows("notifications", `SELECT id, cause FROM {bb_call}`)
			return len(list) == 1 && !strings.HasSuffix(list[0], "|") && strings.Contains(list[0], cause)
		})
	}
	out.troubleMail(t, `{"defer":["*@souk.example"]}`)
	waits("PUTOFF", "451")
	if l := letter(t, out, "Your order PUTOFF is confirmed"); l.Seq != 0 {
		t.Errorf("it was put off, and taken: %+v", l)
	}
	out.troubleMail(t, `{}`)
	m.settle()
	if l := letter(t, out, "Your order PUTOFF is confirmed"); out.letters(t).Copies[l.MessageID] != 1 {
		t.Errorf("what was put off came %d times", out.letters(t).Copies[l.MessageID])
	}
	out.troubleMail(t, `{"drop_percent":100}`)
	waits("DROPPED", "")
	out.troubleMail(t, `{}`)
	m.settle()
	if l := letter(t, out, "Your order DROPPED is confirmed"); out.letters(t).Copies[l.MessageID] != 2 {
		t.Errorf("what was taken without an answer came %d times under its Message-ID, want 2", out.letters(t).Copies[l.MessageID])
	}
	out.troubleMail(t, `{"reject":["customer.one@*"]}`)
	m.must(202, "POST", "/order", order("REFUSED", "CUSTOMER_001", item{"PRODUCT_002", 5, 1}))
	await(t, "the mail is given up", func() bool {
		return strings.Contains(m.souk("event", "tail", "--service", "notifications", "--type", "souk.notifications.NotificationFailed.v1", "-o", "jsonl"), "REFUSED")
	})
	out.troubleMail(t, `{}`)
	m.holds()
	if l := letter(t, out, "Your order REFUSED is confirmed"); l.Seq != 0 {
		t.Errorf("it was refused, and taken: %+v", l)
	}
}
