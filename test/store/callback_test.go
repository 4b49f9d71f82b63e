package store

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"example.org/souk/internal/control"
	"example.org/souk/internal/testserver"
)

// wire lies between the payment provider and the address where the mall hears it. It notes what passes, and can be cut.
type wire struct {
	server *httptest.Server
	secret string // file that the provider and the mall share

	mu     sync.Mutex
	to     string         // the mall of the moment
	passed map[string]int // by id: how many copies were answered with 204
	others []int          // all other answers; 0 is none
	// handle deals with a callback in place of forwarding it; 0 answers nothing.
	handle func(forward func() int) int
}

func newWire(t *testing.T) *wire {
	t.Helper()
	w := &wire{secret: filepath.Join(t.TempDir(), "callback.secret"), passed: map[string]int{}}
	if err := os.WriteFile(w.secret, []byte("a secret of callbacks\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.server = httptest.NewServer(http.HandlerFunc(w.carry))
	t.Cleanup(w.server.Close)
	return w
}

func (w *wire) carry(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	w.mu.Lock()
	to, handle := w.to, w.handle
	w.mu.Unlock()
	forward := func() int { return post(context.WithoutCancel(r.Context()), to, r.Header, body) }
	var status int
	if handle != nil {
		status = handle(forward)
	} else {
		status = forward()
	}
	w.mu.Lock()
	if status == http.StatusNoContent {
		w.passed[r.Header.Get("Webhook-Id")]++
	} else {
		w.others = append(w.others, status)
	}
	w.mu.Unlock()
	if status == 0 {
		panic(http.ErrAbortHandler)
	}
	rw.WriteHeader(status)
}

// post sends a callback to a mall and returns the status of the answer, 0 if there was none.
func post(ctx context.Context, mall string, header http.Header, body []byte) int {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, mall+"/payments/callback", bytes.NewReader(body))
	if err != nil {
		return 0
	}
	req.Header = header.Clone()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// lead connects the wire to a mall, or to the same one after it began again.
func (w *wire) lead(m *mall) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.to = m.url
}

func (w *wire) setHandle(handle func(forward func() int) int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.handle = handle
}

func (w *wire) answers() (passed map[string]int, others []int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	passed = make(map[string]int, len(w.passed))
	for id, n := range w.passed {
		passed[id] = n
	}
	return passed, append([]int(nil), w.others...)
}

// startCalledBack runs a mall whose payment provider calls it back.
func startCalledBack(t *testing.T) (*mall, *wire) {
	t.Helper()
	binary, w := program(t), newWire(t)
	out := startOutside(t, binary, "--callback-url", w.server.URL, "--callback-secret-file", w.secret)
	m := startWith(t, out, binary, t.TempDir(), nil, "--payment-callback-secret", w.secret)
	w.lead(m)
	m.seed()
	return m, w
}

// inPayments runs a query on the database of a mall.
func (m *mall) inPayments(query string) []string {
	m.t.Helper()
	return m.rows("payments", query)
}

// settledByCallback lists the commands of callbacks.
const settledByCallback = `SELECT id FROM {bb_answer} WHERE id LIKE 'callback%'`

func (m *mall) awaitPayment(id, want string) {
	m.t.Helper()
	await(m.t, id+" "+want, func() bool { return m.payment(id) == want })
}

// B9: the provider carries calls out and does not answer; its callbacks settle them, and what the calls come to later
// changes nothing. No settled call waits any more, so the next of its payment is made while the one before is still out.
// Red when nobody hears callbacks, and when a settled call stays until its next attempt.
func TestCallback_BeforeTheAnswer(t *testing.T) {
	t.Parallel()
	m, w := startCalledBack(t)
	m.out.troubleMoney(t, `{"timeout_percent":100,"timeout_ms":6000}`)
	m.authorize("PAY", "CUSTOMER_001", "40.00")
	m.awaitPayment("PAY", "authorized")
	settled := func(callbacks int) {
		t.Helper()
		if waits := m.inPayments(`SELECT id FROM {bb_call}`); len(waits) != 0 {
			t.Errorf("the payment is %s, and of the calls wait %q", m.payment("PAY"), waits)
		}
		if got := m.inPayments(settledByCallback); len(got) != callbacks {
			t.Errorf("the payment is %s, and it was not the callback: %q", m.payment("PAY"), got)
		}
	}
	settled(1)
	m.must(202, "POST", "/order", paidBy("PAY", order1))
	m.awaitStatus("ORDER_001", "APPROVED")
	m.must(202, "POST", "/order/ORDER_001/cancel", `{}`)
	m.awaitPayment("PAY", "voided")
	settled(2)
	if trace := m.souk("trace", "ORDER_001"); !strings.Contains(trace, "souk.payments.PaymentVoided.v1") {
		t.Errorf("the order's trace does not show what the callback led to:\n%s", trace)
	}
	m.settle()
	if passed, others := w.answers(); len(passed) != 2 || len(others) > 0 {
		t.Errorf("taken %v, not taken %v", passed, others)
	}
	m.holds()
}

// Copies of a callback are acknowledged and count once. Red when each callback is a command of its own.
func TestCallback_Twice(t *testing.T) {
	t.Parallel()
	m, w := startCalledBack(t)
	m.out.troubleMoney(t, `{"duplicate_callback":true,"decline_percent":30,"seed":3}`)
	const payments = 20
	for n := range payments {
		m.authorize(prepaid(n), customerOf(n), "15.00")
	}
	await(t, "all copies", func() bool {
		passed, _ := w.answers()
		for _, n := range passed {
			if n != 2 {
				return false
			}
		}
		return len(passed) == payments
	})
	m.settle()
	if got := m.inPayments(settledByCallback); len(got) != payments {
		t.Errorf("the callbacks of %d payments were %d commands", payments, len(got))
	}
	if _, others := w.answers(); len(others) > 0 {
		t.Errorf("not taken %v", others)
	}
	declined := m.inPayments(`SELECT stream FROM {bb_log} WHERE type = 'souk.payments.PaymentDeclined.v1'`)
	authorized := m.inPayments(`SELECT stream FROM {bb_log} WHERE type = 'souk.payments.PaymentAuthorized.v1'`)
	if len(declined) == 0 || len(authorized) == 0 || len(declined)+len(authorized) != payments {
		t.Errorf("%d authorized and %d declined of %d", len(authorized), len(declined), payments)
	}
	m.holds()
}

// A provider that loses answers and never calls back is asked. Red when calls are left to callbacks.
func TestCallback_Never(t *testing.T) {
	t.Parallel()
	m, w := startCalledBack(t)
	m.out.troubleMoney(t, `{"no_callback":true,"timeout_percent":50,"timeout_ms":20,"seed":5}`)
	for n := range 10 {
		m.authorize(prepaid(n), customerOf(n), "15.00")
	}
	m.settle()
	for n := range 10 {
		if s := m.payment(prepaid(n)); s != "authorized" {
			t.Errorf("%s is %s", prepaid(n), s)
		}
	}
	passed, others := w.answers()
	if got := m.inPayments(settledByCallback); len(got)+len(passed)+len(others) > 0 {
		t.Errorf("there were callbacks: %v %v %v", got, passed, others)
	}
	m.holds()
}

// signed returns the header of a callback.
func signed(secret, id string, at time.Time, body string) http.Header {
	stamp := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%s.%s.%s", id, stamp, body)
	h := http.Header{}
	h.Set("Content-Type", "application/json")
	h.Set("Webhook-Id", id)
	h.Set("Webhook-Timestamp", stamp)
	h.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	return h
}

func done(key, payment, state, amount string) string {
	return fmt.Sprintf(`{"key":%q,"payment":%q,"state":%q,"amount":{"amount":%s,"currency":"EUR"}}`, key, payment, state, amount)
}

// F4: nobody but the provider settles a call, and the provider none but the one that waits. Red when the signature or the
// age is not looked at, and when a settle does not look at key and amount.
func TestCallback_Forged(t *testing.T) {
	t.Parallel()
	m, w := startCalledBack(t)
	content, err := os.ReadFile(w.secret)
	if err != nil {
		t.Fatal(err)
	}
	secret := strings.TrimSpace(string(content))
	m.out.troubleMoney(t, `{"pause":true,"no_callback":true}`)
	m.authorize("PAY", "CUSTOMER_001", "40.00")
	calling := func() { // so that the provider carries it out in the end, whoever settles it here
		t.Helper()
		await(t, "the provider holds the call", func() bool { return m.out.money(t).Waiting > 0 })
	}
	calling()
	now, good := time.Now(), done("auth-PAY", "PAY", "authorized", "4000")
	send := func(h http.Header, body string) int { return post(t.Context(), m.url, h, []byte(body)) }
	unsigned := signed(secret, "cb-1", now, good)
	unsigned.Del("Webhook-Signature")
	renamed := signed(secret, "cb-1", now, good)
	renamed.Set("Webhook-Id", "cb-2")
	restamped := signed(secret, "cb-1", now.Add(-time.Hour), good)
	restamped.Set("Webhook-Timestamp", strconv.FormatInt(now.Unix(), 10))
	long := good[:len(good)-1] + `,"reason":"` + strings.Repeat("x", 100_000) + `"}`
	type sent struct {
		header http.Header
		body   string
		want   int
	}
	right := func(id, body string) sent { return sent{signed(secret, id, now, body), body, 204} }
	for name, c := range map[string]sent{
		"not signed":         {unsigned, good, 401},
		"of another secret":  {signed("not the secret", "cb-1", now, good), good, 401},
		"of no secret":       {signed("", "cb-1", now, good), good, 401},
		"of another body":    {signed(secret, "cb-1", now, `{}`), good, 401},
		"of another id":      {renamed, good, 401},
		"of another time":    {restamped, good, 401},
		"stale":              {signed(secret, "cb-1", now.Add(-6*time.Minute), good), good, 401},
		"of the future":      {signed(secret, "cb-1", now.Add(6*time.Minute), good), good, 401},
		"without an id":      {signed(secret, "", now, good), good, 401},
		"no JSON":            {signed(secret, "cb-1", now, `{`), `{`, 401},
		"too large":          {signed(secret, "cb-1", now, long), long, 413},
		"an unknown payment": right("cb-3", done("auth-NOBODY", "NOBODY", "authorized", "1")),
		"no payment":         right("cb-4", done("auth-PAY", "", "authorized", "4000")),
		"an unknown key":     right("cb-5", done("k", "PAY", "authorized", "4000")),
		"another key":        right("cb-6", done("auth-PAY2", "PAY", "authorized", "4000")),
		"another state":      right("cb-7", done("auth-PAY", "PAY", "captured", "4000")),
		"an unknown state":   right("cb-8", done("auth-PAY", "PAY", "disputed", "4000")),
		"another amount":     right("cb-9", done("auth-PAY", "PAY", "authorized", "1")),
	} {
		if got := send(c.header, c.body); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
		if s := m.payment("PAY"); s != "authorizing" {
			t.Fatalf("%s: the payment is %s", name, s)
		}
	}
	if got := m.inPayments(`SELECT type FROM {bb_log} WHERE stream LIKE '%NOBODY' OR stream = 'payment/'`); len(got) > 0 {
		t.Errorf("there is %q of a payment that nobody asked for", got)
	}
	calling()
	if got := send(signed(secret, "cb-1", now.Add(-4*time.Minute), good), good); got != 204 {
		t.Errorf("the right one: %d", got)
	}
	if s := m.payment("PAY"); s != "authorized" {
		t.Errorf("the payment is %s", s)
	}
	m.out.troubleMoney(t, `{}`)
	m.holds()
}

// Without a secret nobody can call, and one that is too short is none. Red when the route is always there.
func TestCallback_NoSecret(t *testing.T) {
	t.Parallel()
	binary := program(t)
	out := startOutside(t, binary)
	m := startWith(t, out, binary, t.TempDir(), nil)
	body := done("auth-PAY", "PAY", "authorized", "4000")
	if got := post(t.Context(), m.url, signed("", "cb-1", time.Now(), body), []byte(body)); got != 404 {
		t.Errorf("%d, want 404", got)
	}
	m.stop()
	short := filepath.Join(t.TempDir(), "short")
	if err := os.WriteFile(short, []byte("too short\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, flags := range [][]string{append(out.flags(), "--payment-callback-secret", short), {"--payment-callback-secret", short}} {
		p := testserver.Start(t, append([]string{binary, "--data", t.TempDir(), "up", "--http", "127.0.0.1:0"}, flags...)...)
		if e := p.Wait(); e.Code != 1 || !strings.Contains(p.Stderr(), "secret") {
			t.Errorf("%v: %v %s", flags, e, p.Stderr())
		}
	}
}

// C4: what a callback said is durable once it is acknowledged: the mall dies before the provider has the answer, nobody can
// be asked, and the payment is authorized. Red when a callback is acknowledged before its commit.
func TestCallback_Kill9AfterItsAnswer(t *testing.T) {
	t.Parallel()
	m, w := startCalledBack(t)
	m.out.troubleMoney(t, `{"timeout_percent":100,"timeout_ms":600000}`)
	acknowledged := make(chan int, 1)
	var first sync.Once // the provider, which has no answer, comes again
	w.setHandle(func(forward func() int) int {
		first.Do(func() {
			status := forward()
			m.of("payments").proc.Kill9()
			acknowledged <- status
		})
		return 0
	})
	m.authorize("PAY", "CUSTOMER_001", "40.00")
	if status := <-acknowledged; status != 204 {
		t.Fatalf("the callback was answered with %d", status)
	}
	<-m.of("payments").proc.Done()
	m.out.troubleMoney(t, `{"pause":true}`)
	m.beginWhatEnded()
	if s := m.payment("PAY"); s != "authorized" {
		t.Errorf("the callback was acknowledged, and the payment is %s", s)
	}
	w.setHandle(nil)
	w.lead(m)
	m.out.troubleMoney(t, `{}`)
	m.holdsRebuilt()
}

// F1: the mall dies while callbacks come in, and all of it is settled once: by them, by their copies, or by asking. Red when
// an outcome that nobody waits for takes effect.
func TestCallback_Kill9WhileTheyComeIn(t *testing.T) {
	t.Parallel()
	m, w := startCalledBack(t)
	m.out.troubleMoney(t, `{"timeout_percent":60,"timeout_ms":100,"duplicate_callback":true,"seed":11}`)
	var died sync.Once
	came := 0 // callbacks come one after another
	w.setHandle(func(forward func() int) int {
		if came++; came < 8 {
			return forward()
		}
		answer := make(chan int, 1)
		go func() { answer <- forward() }()
		died.Do(m.of("payments").proc.Kill9)
		return <-answer
	})
	for n := range 12 {
		if m.ask(t.Context(), "payment authorize", control.Args{"payment": prepaid(n), "customer": customerOf(n), "amount": "15.00"}) != nil {
			break // it is dead
		}
	}
	select {
	case <-m.of("payments").proc.Done():
	case <-time.After(20 * time.Second):
		t.Fatal("it did not die")
	}
	m.beginWhatEnded()
	w.setHandle(nil)
	w.lead(m)
	for n := range 12 {
		m.authorize(prepaid(n), customerOf(n), "15.00")
	}
	m.settle()
	for n := range 12 {
		if s := m.payment(prepaid(n)); s != "authorized" {
			t.Errorf("%s is %s", prepaid(n), s)
		}
	}
	m.holdsRebuilt()
}

// The stand-in that the mall starts by itself calls back, with a secret of its own. Red when it is not told where to.
func TestCallback_OfTheOwnStandIn(t *testing.T) {
	t.Parallel()
	m := start(t, program(t), t.TempDir(), nil)
	m.seed()
	for range 2 { // on another port the second time
		before := len(m.inPayments(settledByCallback))
		m.authorize(fmt.Sprint("PAY", before), "CUSTOMER_001", "40.00")
		await(t, "its callback", func() bool { return len(m.inPayments(settledByCallback)) == before+1 })
		m.settle()
		m.stop()
		m.begin()
	}
	info, err := os.Stat(filepath.Join(m.dirOf("payments"), "payment-stand-in", "callback-secret"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("its secret: %v, %v", info, err)
	}
	m.holds()
}
