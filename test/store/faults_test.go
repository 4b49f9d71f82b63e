package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.org/souk/internal/control"
	"example.org/souk/internal/testmall"
	"example.org/souk/internal/testserver"
)

// troubleMail sets the faults of the mail server; {} is none.
func (o *outside) troubleMail(t *testing.T, faults string) {
	t.Helper()
	testmall.AskStandIn(t, http.MethodPut, o.mailURL+"/faults", o.mailKey, faults, nil)
}

// mailAgain starts the mail server once more after it was killed, where it was and with what it had taken.
func (o *outside) mailAgain(t *testing.T) {
	t.Helper()
	o.mail = testserver.Start(t, testserver.Build(t, "example.org/souk/provider/mail/standin/cmd/mailstandin"),
		"--ledger", filepath.Join(filepath.Dir(o.mailKey), "mail.jsonl"), "--api-key-file", o.mailKey,
		"--listen", o.smtp, "--listen-admin", strings.TrimPrefix(o.mailURL, "http://"))
	o.mail.WaitLine("listening on")
}

// within is await with a limit of its own, for what takes its time by design.
func within(t *testing.T, limit time.Duration, what string, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within %v", what, limit)
		case <-tick.C:
		}
	}
}

// authorize asks for money to be set aside for a customer's order.
func (m *mall) authorize(payment, customer, amount string) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), 20*time.Second)
	defer cancel()
	if err := m.ask(ctx, "payment authorize", control.Args{"payment": payment, "customer": customer, "amount": amount}); err != nil {
		m.t.Fatal(err)
	}
}

// payment returns how far a payment is.
func (m *mall) payment(id string) string {
	m.t.Helper()
	steps := rows(m.t, m.binary, m.dir, "event", "replay", "payment/"+id)
	state, _ := steps[len(steps)-1]["state"].(map[string]any)
	status, _ := state["Status"].(string)
	return status
}

// paidBy makes an order a prepaid one.
func paidBy(payment, body string) string {
	return strings.Replace(body, `"orderId"`, `"payment":"`+payment+`","orderId"`, 1)
}

// request makes a request whose answer's header counts; its body is read and dropped.
func (m *mall) request(method, path, body string) (status int, header http.Header) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, m.url+path, strings.NewReader(body))
	if err != nil {
		m.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		m.t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode, resp.Header
}

// saysWhen reports whether an answer says in whole seconds when to come again.
func saysWhen(header http.Header) bool {
	n, err := strconv.Atoi(header.Get("Retry-After"))
	return err == nil && n > 0
}

// E5: a payment provider that answers nobody holds up only what needs it. Orders with money that is set aside already and
// orders without any are approved meanwhile, mails go out, prepaid orders are cancelled; what waits for the provider is
// done when it is back. Red when calls are made where commits are: then nothing at all is taken.
func TestE5_ProviderPaused(t *testing.T) {
	t.Parallel()
	for how, pause := range map[string]func(t *testing.T, o *outside) (resume func()){
		"stopped": func(_ *testing.T, o *outside) func() { o.provider.Proc.Pause(); return o.provider.Proc.Resume },
		"paused": func(t *testing.T, o *outside) func() {
			o.troubleMoney(t, `{"pause":true}`)
			return func() { o.troubleMoney(t, `{}`) }
		},
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			binary := program(t)
			out := startOutside(t, binary)
			m := startWith(t, out, binary, t.TempDir(), nil)
			m.seed()
			m.souk("stock", "receive", "PRODUCT_002", "100")
			const each = 6
			for n := range each {
				m.authorize(fmt.Sprint("EARLY", n), "CUSTOMER_001", "5.00")
			}
			m.settle()
			before := len(out.letters(t).Messages)
			resume := pause(t, out)

			body := func(id string) string { return order(id, "CUSTOMER_001", item{"PRODUCT_002", 5, 1}) }
			for n := range 3 * each { // more than the calls that are made at once
				m.authorize(fmt.Sprint("LATE", n), "CUSTOMER_001", "5.00")
			}
			for n := range each {
				m.must(202, "POST", "/order", paidBy(fmt.Sprint("EARLY", n), body(fmt.Sprint("PREPAID", n))))
				m.must(202, "POST", "/order", body(fmt.Sprint("PLAIN", n)))
			}
			for n := range each {
				m.awaitStatus(fmt.Sprint("PREPAID", n), "APPROVED")
				m.awaitStatus(fmt.Sprint("PLAIN", n), "APPROVED")
			}
			m.must(202, "POST", "/order/PREPAID0/cancel", `{}`)
			m.awaitStatus("PREPAID0", "CANCELED")
			await(t, "the mails of all that was approved", func() bool { return len(out.letters(t).Messages) >= before+2*each+1 })
			for _, late := range []string{"LATE0", fmt.Sprint("LATE", 3*each-1)} {
				if s := m.payment(late); s != "authorizing" {
					t.Errorf("nobody answers, and payment %s is %s", late, s)
				}
			}
			if s := m.payment("EARLY0"); s != "voiding" {
				t.Errorf("nobody answers, and the payment of a cancelled order is %s", s)
			}

			resume()
			m.settle()
			for n := range each {
				m.must(202, "POST", "/order", paidBy(fmt.Sprint("LATE", n), body(fmt.Sprint("AFTER", n))))
			}
			for n := range each {
				m.awaitStatus(fmt.Sprint("AFTER", n), "APPROVED")
			}
			if s := m.payment("EARLY0"); s != "voided" {
				t.Errorf("the payment of a cancelled order is %s", s)
			}
			m.holds()
		})
	}
}

// E5: a mail server that hangs or is gone delays no order, and every mail that was due comes once it is back. Red when a
// call that failed is given up.
func TestE5D2_MailServerGone(t *testing.T) {
	t.Parallel()
	for how, away := range map[string]func(t *testing.T, o *outside) (back func()){
		"stopped": func(_ *testing.T, o *outside) func() { o.mail.Pause(); return o.mail.Resume },
		"killed":  func(t *testing.T, o *outside) func() { o.mail.Kill9(); return func() { o.mailAgain(t) } },
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			binary := program(t)
			out := startOutside(t, binary)
			m := startWith(t, out, binary, t.TempDir(), nil)
			m.seed()
			m.must(202, "POST", "/order", order("FIRST", "CUSTOMER_001", item{"PRODUCT_001", 10, 1}))
			m.awaitStatus("FIRST", "APPROVED")
			m.settle()
			back := away(t, out)
			for n := range 12 {
				m.must(202, "POST", "/order", order(fmt.Sprint("M", n), "CUSTOMER_002", item{"PRODUCT_001", 10, 1}))
			}
			counts := map[string]int{}
			for n := range 12 {
				id := fmt.Sprint("M", n)
				await(t, id+" ends", func() bool { s := m.status(id); return s == "APPROVED" || s == "REJECTED" })
				counts[m.status(id)]++
			}
			if counts["APPROVED"] != 9 || counts["REJECTED"] != 3 {
				t.Errorf("of 9 pieces for 12 orders: %v", counts)
			}
			await(t, "12 mails wait", func() bool {
				return len(m.rows("notifications", `SELECT id FROM {bb_call}`)) == 12
			})
			back()
			m.settle()
			if got := len(out.letters(t).Copies); got != 13 {
				t.Errorf("the mail server has %d letters, want 13", got)
			}
			m.holdsRebuilt()
		})
	}
}

// E5: while somebody else holds the database, no order is taken and none is lost: a POST is refused with 503 and says when
// to come again, the mall is alive and not ready, what is known can be read. Once it is free all goes on by itself. Red
// when a database that takes no writes is an error like any other, and when what failed so is dropped.
func TestE5_DatabaseLocked(t *testing.T) {
	t.Parallel()
	m := start(t, program(t), t.TempDir(), nil)
	m.seed()
	for n := range 10 {
		m.must(202, "POST", "/order", order(fmt.Sprint("B", n), "CUSTOMER_001", item{"PRODUCT_002", 5, 1}))
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(m.dir, "souk.db")+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	held, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := held.ExecContext(t.Context(), "BEGIN EXCLUSIVE"); err != nil {
		t.Fatal(err)
	}
	m.unwritable(order1, 20*time.Second)
	if _, err := held.ExecContext(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	m.writable("ORDER_001", order1)
	for n := range 10 {
		m.awaitStatus(fmt.Sprint("B", n), "APPROVED")
	}
	m.holds()
}

// unwritable looks at a mall whose database takes no writes: it refuses this order and keeps nothing of it,
// and says so soon.
func (m *mall) unwritable(body string, soon time.Duration) {
	m.t.Helper()
	status, header := m.request("POST", "/order", body)
	if status != 503 || !saysWhen(header) {
		m.t.Errorf("an order is answered with %d, Retry-After %q", status, header.Get("Retry-After"))
	}
	within(m.t, soon, "not ready", func() bool { status, _ := m.call("GET", "/readyz", ""); return status == 503 })
	m.readable("ORDER_001")
}

// readable looks at a mall that takes no orders: it shows what it has, and nothing of the one that it refused.
func (m *mall) readable(refused string) {
	m.t.Helper()
	m.must(200, "GET", "/livez", "")
	m.must(200, "GET", "/stock/PRODUCT_001", "")
	m.must(200, "GET", "/order/B0", "")
	m.must(404, "GET", "/order/"+refused, "")
	if out, code := souk(m.t, m.binary, m.dir, "order", "show", "B0"); code != 0 {
		m.t.Errorf("order show: %d %s", code, out)
	}
}

// writable looks at the same mall once its database takes writes again: the order that was refused is taken now. Where the
// refusal said that it took too long to find out, it may have been taken meanwhile.
func (m *mall) writable(id, body string) {
	m.t.Helper()
	await(m.t, "ready", func() bool { status, _ := m.call("GET", "/readyz", ""); return status == 200 })
	if status, answer := m.call("POST", "/order", body); status != 202 && status != 200 {
		m.t.Errorf("the order that was refused: %d %s", status, answer)
	}
	m.awaitStatus(id, "APPROVED")
}

// E5: on a disk that is full no order is taken and none is lost, and once there is room all goes on by itself: no restart,
// and the database is whole. Red when a full disk is an error like any other.
func TestE5_DiskFull(t *testing.T) {
	t.Parallel()
	binary := program(t)
	out := startOutside(t, binary)
	d := startOnSmallDisk(t, out, binary)
	m := d.mall
	m.seed()
	m.souk("stock", "receive", "PRODUCT_002", "100000")
	// What the log of the database has room for is still taken, and that may be more once it begins anew; an order needs less of it than what the
	// mall tries. So the disk is full when the mall has found out and an order is refused.
	var accepted []string
	var refused, last string // the id of the last order that was refused, and what it was
	var since time.Time      // when the first one was
	full := false
	for n := 0; n < 20_000 && !full; n++ {
		if n == 40 {
			d.fill(t)
		}
		id := fmt.Sprint("B", n)
		body := order(id, "CUSTOMER_001", item{"PRODUCT_002", 5, 1})
		switch status, header := m.request("POST", "/order", body); {
		case status == 202:
			accepted = append(accepted, id)
		case status == 503 && saysWhen(header):
			refused, last = id, body
			if since.IsZero() {
				since = time.Now()
			}
			ready, _ := m.call("GET", "/readyz", "")
			full = ready == 503
		default:
			t.Fatalf("order %s is answered with %d, Retry-After %q", id, status, header.Get("Retry-After"))
		}
	}
	if !full || len(accepted) < 40 {
		t.Fatalf("%d orders were taken, and the disk is full: %v", len(accepted), full)
	}
	if found := time.Since(since); found > 5*time.Second { // a probe a second finds it; many small ones would fill what is left in the end
		t.Errorf("it took %v to find out that the disk is full", found)
	}
	m.readable(refused)
	d.relieve(t)
	m.writable(refused, last)
	for _, id := range accepted {
		m.awaitStatus(id, "APPROVED")
	}
	bearer := m.token(binary, "engineer")
	within(t, time.Minute, "nothing waits", func() bool { // a call whose claim was over before its end could be written is taken up again
		m.idle()
		return m.scrape(bearer)["souk_calls_waiting"] == 0
	})
	// The disk is the process's own and ends with it; what must hold is held against a copy.
	copied := filepath.Join(t.TempDir(), "souk.db")
	m.souk("backup", copied)
	m.stop()
	if k := report(t, place{dir: filepath.Dir(copied), rebuild: true}, out, false); len(k.placed) < len(accepted)+1 {
		t.Errorf("%d orders were accepted and %d are there", len(accepted)+1, len(k.placed))
	}
}

// smallDisk is a mall whose data directory has little room.
type smallDisk struct {
	mall          *mall
	fill, relieve func(t *testing.T)
}

// startOnSmallDisk runs a mall on a disk of a few megabytes that only it has, or, where this machine lets nobody mount one,
// with a limit on the size of its files.
func startOnSmallDisk(t *testing.T, out *outside, binary string) smallDisk {
	t.Helper()
	dir := t.TempDir()
	m := &mall{t: t, binary: binary, dir: dir, out: out}
	args := append([]string{binary, "--data", dir, "up", "--http", "127.0.0.1:0", "--test-mode", "--caller-rate", "100000"}, out.flags()...)
	mount := []string{"unshare", "--map-root-user", "--mount", "sh", "-c", `mount -t tmpfs -o size=48m,mode=700 small "$0" && exec "$@"`, dir}
	mounts := exec.Command(mount[0], append(append([]string{}, mount[1:]...), "true")...).Run() == nil
	d := smallDisk{mall: m}
	if mounts {
		m.proc = testserver.Start(t, append(mount, args...)...)
		m.dir = fmt.Sprintf("/proc/%d/root%s", m.proc.Pid(), dir) // as others see it
		filler := filepath.Join(m.dir, "filler")
		d.fill = func(t *testing.T) { t.Helper(); fillUp(t, filler) }
		d.relieve = func(t *testing.T) {
			t.Helper()
			if err := os.Remove(filler); err != nil {
				t.Fatal(err)
			}
		}
	} else {
		t.Log("no disk can be mounted here: the size of files is limited instead")
		m.proc = testserver.Start(t, args...)
		limit := func(t *testing.T, bytes string) {
			t.Helper()
			if out, err := exec.Command("prlimit", "--pid", strconv.Itoa(m.proc.Pid()), "--fsize="+bytes+":").CombinedOutput(); err != nil {
				t.Fatalf("%v %s", err, out)
			}
		}
		d.fill = func(t *testing.T) { t.Helper(); limit(t, strconv.Itoa(6<<20)) }
		d.relieve = func(t *testing.T) { t.Helper(); limit(t, "unlimited") }
	}
	m.url = strings.TrimSpace(strings.TrimPrefix(m.proc.WaitLine("online store"), "online store"))
	m.proc.WaitLine("ready")
	return d
}

// fillUp writes a file until its disk has no room.
func fillUp(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 64<<10); ; {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
