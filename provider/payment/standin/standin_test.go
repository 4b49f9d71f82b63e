package standin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"example.org/souk/mall"
	"example.org/souk/provider/payment"
	"example.org/souk/provider/payment/standin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const apiKey = "a-key-for-this-test-only"

// world is one running stand-in with a client that talks to it.
type world struct {
	*standin.Provider
	client *payment.Client
	config standin.Config
	clock  *atomic.Int64 // seconds added to the time
	stop   func()
}

func start(t *testing.T, change ...func(*standin.Config)) *world {
	t.Helper()
	w := &world{clock: new(atomic.Int64)}
	w.config = standin.Config{Ledger: filepath.Join(t.TempDir(), "ledger"), APIKey: apiKey, Now: func() time.Time {
		return time.Now().Add(time.Duration(w.clock.Load()) * time.Second)
	}}
	for _, f := range change {
		f(&w.config)
	}
	w.run(t)
	return w
}

func (w *world) run(t *testing.T) {
	t.Helper()
	provider, err := standin.New(w.config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- provider.Run(ctx) }()
	w.Provider, w.client = provider, clientOf(t, provider.URL(), 5*time.Second)
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(w.stop)
}

func clientOf(t *testing.T, url string, timeout time.Duration) *payment.Client {
	t.Helper()
	client, err := payment.New(payment.Config{BaseURL: url, APIKey: apiKey, Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func (w *world) faults(t *testing.T, f standin.Faults) {
	t.Helper()
	if err := w.SetFaults(f); err != nil {
		t.Fatal(err)
	}
}

func (w *world) report(t *testing.T) standin.Report {
	t.Helper()
	report, err := w.Report()
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func eur(amount int64) mall.Money { return mall.Money{Amount: amount, Currency: "EUR"} }

func authorization(id string, amount int64) payment.Authorization {
	return payment.Authorization{Payment: id, Customer: "c1", Amount: eur(amount)}
}

// want fails unless the call succeeded with the state and amount.
func want(t *testing.T, got payment.Result, err error, state payment.State, amount mall.Money) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if got.State != state || got.Amount != amount || got.Reference == "" && state != payment.Declined || got.At.IsZero() {
		t.Fatalf("got %+v, want %s of %v", got, state, amount)
	}
}

func wantClass(t *testing.T, err error, class payment.Class, code string) {
	t.Helper()
	if payment.ClassOf(err) != class || payment.CodeOf(err) != code {
		t.Fatalf("got class %q code %q (%v), want %q %q", payment.ClassOf(err), payment.CodeOf(err), err, class, code)
	}
}

func TestLifeOfAPayment(t *testing.T) {
	t.Parallel()
	w, ctx := start(t), t.Context()
	got, err := w.client.Authorize(ctx, "k1", authorization("p1", 1000))
	want(t, got, err, payment.Authorized, eur(1000))
	got, err = w.client.Capture(ctx, "k2", "p1", eur(600))
	want(t, got, err, payment.Captured, eur(600))
	got, err = w.client.Capture(ctx, "k3", "p1", eur(400))
	want(t, got, err, payment.Captured, eur(400))
	got, err = w.client.Refund(ctx, "k4", "p1", eur(250))
	want(t, got, err, payment.Refunded, eur(250))
	got, err = w.client.Authorize(ctx, "k5", authorization("p2", 70))
	want(t, got, err, payment.Authorized, eur(70))
	got, err = w.client.Void(ctx, "k6", "p2")
	want(t, got, err, payment.Voided, eur(70))
	again, err := w.client.Void(ctx, "k6", "p2")
	if err != nil || again != got {
		t.Fatalf("the repeat got %+v, %v, the first %+v", again, err, got)
	}

	report := w.report(t)
	if got, want := report.Totals["EUR"], (standin.Account{Currency: "EUR", Authorized: 1070, Captured: 1000, Refunded: 250, Voided: 70}); got != want {
		t.Errorf("totals %+v, want %+v", got, want)
	}
	if got, want := report.Payments["p1"], (standin.Account{Currency: "EUR", Authorized: 1000, Captured: 1000, Refunded: 250}); got != want {
		t.Errorf("p1 %+v, want %+v", got, want)
	}
	if len(report.Entries) != 6 || len(report.Executions) != 6 {
		t.Errorf("%d entries, %d keys, want 6 of each", len(report.Entries), len(report.Executions))
	}
}

func TestRulesAreItsOwn(t *testing.T) {
	t.Parallel()
	w, ctx := start(t), t.Context()
	for i, id := range []string{"captured", "open", "voided"} {
		if _, err := w.client.Authorize(ctx, fmt.Sprint("setup-", i), authorization(id, 100)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.client.Capture(ctx, "setup-capture", "captured", eur(100)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.client.Void(ctx, "setup-void", "voided"); err != nil {
		t.Fatal(err)
	}
	before := w.report(t).Totals["EUR"]
	for name, test := range map[string]struct {
		call func(key string) error
		code string
	}{
		"authorize again":   {func(k string) error { _, err := w.client.Authorize(ctx, k, authorization("open", 100)); return err }, payment.CodePaymentExists},
		"capture too much":  {func(k string) error { _, err := w.client.Capture(ctx, k, "open", eur(101)); return err }, payment.CodeExceeds},
		"capture captured":  {func(k string) error { _, err := w.client.Capture(ctx, k, "captured", eur(1)); return err }, payment.CodeExceeds},
		"capture voided":    {func(k string) error { _, err := w.client.Capture(ctx, k, "voided", eur(1)); return err }, payment.CodeNotAllowed},
		"capture unknown":   {func(k string) error { _, err := w.client.Capture(ctx, k, "nobody", eur(1)); return err }, payment.CodePaymentUnknown},
		"refund uncaptured": {func(k string) error { _, err := w.client.Refund(ctx, k, "open", eur(1)); return err }, payment.CodeExceeds},
		"refund too much":   {func(k string) error { _, err := w.client.Refund(ctx, k, "captured", eur(101)); return err }, payment.CodeExceeds},
		"void captured":     {func(k string) error { _, err := w.client.Void(ctx, k, "captured"); return err }, payment.CodeNotAllowed},
		"void voided":       {func(k string) error { _, err := w.client.Void(ctx, k, "voided"); return err }, payment.CodeNotAllowed},
		"void unknown":      {func(k string) error { _, err := w.client.Void(ctx, k, "nobody"); return err }, payment.CodePaymentUnknown},
		"capture in other": {func(k string) error {
			_, err := w.client.Capture(ctx, k, "open", mall.Money{Amount: 1, Currency: "CHF"})
			return err
		}, payment.CodeCurrency},
		"key with other body": {func(string) error {
			_, err := w.client.Authorize(ctx, "setup-0", authorization("captured", 99))
			return err
		}, payment.CodeKeyReused},
		"key with other op": {func(string) error { _, err := w.client.Void(ctx, "setup-0", "captured"); return err }, payment.CodeKeyReused},
		"currency of one": {func(k string) error {
			_, err := w.client.Capture(ctx, k, "open", mall.Money{Amount: 1, Currency: "eur"})
			return err
		}, payment.CodeInvalid},
		"nothing":              {func(k string) error { _, err := w.client.Capture(ctx, k, "open", eur(0)); return err }, payment.CodeInvalid},
		"a key with a newline": {func(string) error { _, err := w.client.Void(ctx, "a\nb", "open"); return err }, payment.CodeInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			key := "k-" + strings.ReplaceAll(name, " ", "-")
			wantClass(t, test.call(key), payment.Refused, test.code)
			// A refusal is remembered like any answer.
			wantClass(t, test.call(key), payment.Refused, test.code)
		})
	}
	if after := w.report(t).Totals["EUR"]; after != before {
		t.Errorf("refusals moved money: %+v, before %+v", after, before)
	}
}

func TestAsk(t *testing.T) {
	t.Parallel()
	w, ctx := start(t), t.Context()
	if _, found, err := w.client.Ask(ctx, "k1"); found || err != nil {
		t.Fatalf("found %v, %v before anything happened", found, err)
	}
	first, err := w.client.Authorize(ctx, "k1", authorization("p1", 10))
	want(t, first, err, payment.Authorized, eur(10))
	got, found, err := w.client.Ask(ctx, "k1")
	if !found || err != nil || got != first {
		t.Fatalf("got %+v, %v, %v, want %+v", got, found, err, first)
	}
	if _, err := w.client.Refund(ctx, "k2", "p1", eur(1)); err == nil {
		t.Fatal("the refund was not refused")
	}
	_, found, err = w.client.Ask(ctx, "k2")
	wantClass(t, err, payment.Refused, payment.CodeExceeds)
	if !found {
		t.Error("a refused key was not found")
	}
}

func TestKeysAreForgottenAfterADayButNotTheLedger(t *testing.T) {
	t.Parallel()
	w, ctx := start(t), t.Context()
	first, err := w.client.Authorize(ctx, "k1", authorization("p1", 10))
	want(t, first, err, payment.Authorized, eur(10))
	capture, err := w.client.Capture(ctx, "k2", "p1", eur(4))
	want(t, capture, err, payment.Captured, eur(4))

	w.clock.Store(24*3600 - 60)
	again, err := w.client.Capture(ctx, "k2", "p1", eur(4))
	if err != nil || again != capture {
		t.Fatalf("within the day: %+v, %v", again, err)
	}
	w.clock.Store(25 * 3600)
	_, err = w.client.Authorize(ctx, "k1", authorization("p1", 10))
	wantClass(t, err, payment.Refused, payment.CodePaymentExists)
	// The old capture is done a second time: that is what asking first is for.
	if _, err = w.client.Capture(ctx, "k2", "p1", eur(4)); err != nil {
		t.Fatal(err)
	}
	if n := w.report(t).Executions["k2"]; n != 2 {
		t.Errorf("k2 executed %d times, want 2", n)
	}
	got, found, err := w.client.Ask(ctx, "k1")
	if !found || err != nil || got != first {
		t.Errorf("asked after a day: %+v, %v, %v", got, found, err)
	}
}

func TestConcurrentCallsOfOneKeyExecuteOnce(t *testing.T) {
	t.Parallel()
	w, ctx := start(t), t.Context()
	const callers = 32
	results := make([]payment.Result, callers)
	var group sync.WaitGroup
	for i := range callers {
		group.Go(func() {
			var err error
			if results[i], err = w.client.Authorize(ctx, "k1", authorization("p1", 10)); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for _, got := range results {
		if got != results[0] {
			t.Fatalf("answers differ: %+v and %+v", got, results[0])
		}
	}
	if report := w.report(t); report.Executions["k1"] != 1 || len(report.Entries) != 1 {
		t.Errorf("executed %d times, %d entries", report.Executions["k1"], len(report.Entries))
	}
}

func TestLedgerSurvivesATornLastLine(t *testing.T) {
	t.Parallel()
	w, ctx := start(t), t.Context()
	first, err := w.client.Authorize(ctx, "k1", authorization("p1", 10))
	want(t, first, err, payment.Authorized, eur(10))
	w.stop()
	file, err := os.OpenFile(w.config.Ledger, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteString(`{"seq":2,"key":"k2","op":"capt`); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	w.run(t)
	got, err := w.client.Authorize(ctx, "k1", authorization("p1", 10))
	if err != nil || got != first {
		t.Fatalf("after the restart: %+v, %v, want %+v", got, err, first)
	}
	got, err = w.client.Capture(ctx, "k2", "p1", eur(10))
	want(t, got, err, payment.Captured, eur(10))
	w.stop()
	w.run(t)
	if report := w.report(t); len(report.Entries) != 2 || report.Payments["p1"].Captured != 10 {
		t.Errorf("after the second restart: %+v", report)
	}
}

func TestDecline(t *testing.T) {
	t.Parallel()
	w, ctx := start(t), t.Context()
	w.faults(t, standin.Faults{DeclinePercent: 100})
	got, err := w.client.Authorize(ctx, "k1", authorization("p1", 10))
	want(t, got, err, payment.Declined, eur(10))
	if got.Reason == "" {
		t.Error("declined without a reason")
	}
	w.faults(t, standin.Faults{})
	got, err = w.client.Authorize(ctx, "k1", authorization("p1", 10))
	want(t, got, err, payment.Declined, eur(10)) // the key has its answer
	got, err = w.client.Authorize(ctx, "k2", authorization("p1", 10))
	want(t, got, err, payment.Authorized, eur(10))

	w.faults(t, standin.Faults{DeclinePercent: 30, Seed: 7})
	declined := map[string]bool{}
	for i := range 200 {
		key := fmt.Sprint("many-", i)
		got, err := w.client.Authorize(ctx, key, authorization(key, 10))
		if err != nil {
			t.Fatal(err)
		}
		declined[key] = got.State == payment.Declined
	}
	count := 0
	for _, is := range declined {
		if is {
			count++
		}
	}
	if count < 30 || count > 90 {
		t.Errorf("%d of 200 declined, want about 60", count)
	}
	other := start(t, func(c *standin.Config) { c.Faults = standin.Faults{DeclinePercent: 30, Seed: 7} })
	for key, was := range declined {
		got, err := other.client.Authorize(ctx, key, authorization(key, 10))
		if err != nil || (got.State == payment.Declined) != was {
			t.Fatalf("%s: %+v, %v; with the same seed declined was %v", key, got, err, was)
		}
	}
}

func TestTimeoutAfterExecuting(t *testing.T) {
	t.Parallel()
	w, ctx := start(t), t.Context()
	w.faults(t, standin.Faults{TimeoutPercent: 100, TimeoutMS: 60_000})
	_, err := clientOf(t, w.URL(), 700*time.Millisecond).Authorize(ctx, "k1", authorization("p1", 10))
	wantClass(t, err, payment.Unknown, "")
	got, found, err := w.client.Ask(ctx, "k1")
	if !found {
		t.Fatal("it was not executed")
	}
	want(t, got, err, payment.Authorized, eur(10))

	w.faults(t, standin.Faults{TimeoutPercent: 100})
	_, err = w.client.Capture(ctx, "k2", "p1", eur(10)) // the connection is dropped at once
	wantClass(t, err, payment.Unknown, "")
	w.faults(t, standin.Faults{})
	got, err = w.client.Capture(ctx, "k2", "p1", eur(10))
	want(t, got, err, payment.Captured, eur(10))
	if n := w.report(t).Executions["k2"]; n != 1 {
		t.Errorf("captured %d times", n)
	}
}

func TestFailBeforeExecuting(t *testing.T) {
	t.Parallel()
	w, ctx := start(t), t.Context()
	w.faults(t, standin.Faults{FailPercent: 100})
	_, err := w.client.Authorize(ctx, "k1", authorization("p1", 10))
	wantClass(t, err, payment.Unknown, "unavailable")
	if entries := w.report(t).Entries; len(entries) != 0 {
		t.Fatalf("executed: %+v", entries)
	}
	// At half, a call that is repeated gets through.
	w.faults(t, standin.Faults{FailPercent: 50})
	for range 64 {
		var got payment.Result
		if got, err = w.client.Authorize(ctx, "k1", authorization("p1", 10)); err == nil {
			want(t, got, err, payment.Authorized, eur(10))
			return
		}
	}
	t.Fatalf("64 tries failed: %v", err)
}

func TestPause(t *testing.T) {
	t.Parallel()
	w, ctx := start(t), t.Context()
	w.faults(t, standin.Faults{Pause: true})
	impatient, giveUp := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		_, err := w.client.Authorize(impatient, "given-up", authorization("p1", 10))
		ended <- err
	}()
	w.untilWaiting(t, 1)
	giveUp()
	wantClass(t, <-ended, payment.Unknown, "")
	w.untilWaiting(t, 0)

	got := make(chan payment.Result, 1)
	go func() {
		result, err := w.client.Authorize(ctx, "patient", authorization("p2", 10))
		if err != nil {
			t.Error(err)
		}
		got <- result
	}()
	w.untilWaiting(t, 1)
	if report := w.report(t); len(report.Entries) != 0 { // the ledger answers while the rest is paused
		t.Errorf("executed while paused: %+v", report.Entries)
	}
	w.faults(t, standin.Faults{})
	if result := <-got; result.State != payment.Authorized {
		t.Errorf("after the pause: %+v", result)
	}
	if n := len(w.report(t).Entries); n != 1 {
		t.Errorf("%d entries, want the patient one only", n)
	}
}

// untilWaiting returns once the pause holds n callers.
func (w *world) untilWaiting(t *testing.T, n int64) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	limit := time.After(10 * time.Second)
	for w.report(t).Waiting != n {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("the pause does not hold %d callers", n)
		}
	}
}

func TestSlow(t *testing.T) {
	t.Parallel()
	w, ctx := start(t), t.Context()
	w.faults(t, standin.Faults{SlowMS: 1000})
	_, err := clientOf(t, w.URL(), 100*time.Millisecond).Authorize(ctx, "k1", authorization("p1", 10))
	wantClass(t, err, payment.Unknown, "")
	if _, found, err := w.client.Ask(ctx, "k1"); found || err != nil {
		t.Fatalf("found %v, %v: executed before its delay", found, err)
	}
	// The call that was given up is executed late all the same; this one waits as long and comes second.
	begin := time.Now()
	got, err := w.client.Authorize(ctx, "k1", authorization("p1", 10))
	want(t, got, err, payment.Authorized, eur(10))
	if took := time.Since(begin); took < time.Second {
		t.Errorf("took %v", took)
	}
	if report := w.report(t); report.Executions["k1"] != 1 {
		t.Errorf("executed %d times", report.Executions["k1"])
	}
}

func TestCallbacks(t *testing.T) {
	t.Parallel()
	for name, serve := range map[string]func(http.Handler) *httptest.Server{"in the clear": httptest.NewServer, "over TLS": httptest.NewTLSServer} {
		t.Run(name, func(t *testing.T) { callsBack(t, serve) })
	}
}

func callsBack(t *testing.T, serve func(http.Handler) *httptest.Server) {
	t.Helper()
	t.Parallel()
	const secret = "a-callback-secret"
	received := make(chan payment.Callback, 16)
	shop := serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			var callback payment.Callback
			if callback, err = payment.OpenCallback([]byte(secret), r.Header, body, time.Now()); err == nil {
				received <- callback
			}
		}
		if err != nil {
			t.Error(err)
			w.WriteHeader(http.StatusBadRequest)
		}
	}))
	t.Cleanup(shop.Close)
	w := start(t, func(c *standin.Config) {
		c.CallbackURL, c.CallbackSecret = shop.URL, secret
		if certificate := shop.Certificate(); certificate != nil { // which names another host first
			c.CallbackCert = filepath.Join(t.TempDir(), "certificate.pem")
			if err := os.WriteFile(c.CallbackCert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw}), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	})
	ctx := t.Context()

	first, err := w.client.Authorize(ctx, "k1", authorization("p1", 10))
	want(t, first, err, payment.Authorized, eur(10))
	if got := <-received; got.Key != "k1" || got.Payment != "p1" || got.Result != first || got.ID == "" {
		t.Errorf("got %+v, want the result %+v", got, first)
	}
	if _, err := w.client.Authorize(ctx, "k1", authorization("p1", 10)); err != nil { // a repeat is no execution
		t.Fatal(err)
	}
	w.faults(t, standin.Faults{NoCallback: true})
	if _, err := w.client.Capture(ctx, "k2", "p1", eur(4)); err != nil {
		t.Fatal(err)
	}
	w.faults(t, standin.Faults{DuplicateCallback: true})
	if _, err := w.client.Capture(ctx, "k3", "p1", eur(6)); err != nil {
		t.Fatal(err)
	}
	one, two := <-received, <-received
	if one.Key != "k3" || one != two {
		t.Errorf("got %+v and %+v, want k3 twice", one, two)
	}
}

func TestEveryDoorIsLocked(t *testing.T) {
	t.Parallel()
	w := start(t)
	for _, door := range []string{"POST /v1/payments/p1/authorize", "GET /v1/keys/k", "GET /ledger", "GET /faults", "PUT /faults", "GET /"} {
		for _, token := range []string{"", "Bearer wrong", "Basic " + apiKey, apiKey} {
			method, path, _ := strings.Cut(door, " ")
			if status, _ := w.raw(t, method, path, token, ""); status != http.StatusUnauthorized {
				t.Errorf("%s with %q: %d", door, token, status)
			}
		}
	}
	client, err := payment.New(payment.Config{BaseURL: w.URL(), APIKey: "not-the-right-one"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	_, err = client.Authorize(t.Context(), "k1", authorization("p1", 10))
	wantClass(t, err, payment.Unavailable, "unauthorized") // a rotated key must not end a payment for good
}

func (w *world) raw(t *testing.T, method, path, token, body string) (int, []byte) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, w.URL()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Close = true
	if token != "" {
		request.Header.Set("Authorization", token)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, content
}

func TestFaultsOverHTTP(t *testing.T) {
	t.Parallel()
	w := start(t)
	const token = "Bearer " + apiKey
	status, _ := w.raw(t, "PUT", "/faults", token, `{"pause":true,"slow_ms":5}`)
	if want := (standin.Faults{Pause: true, SlowMS: 5}); status != http.StatusOK || w.Faults() != want {
		t.Errorf("status %d, faults %+v", status, w.Faults())
	}
	for _, bad := range []string{`{"pause":1}`, `{"pawse":true}`, `{"decline_percent":101}`, `{"slow_ms":-1}`, `{`, `{"no_callback":true,"duplicate_callback":true}`} {
		if status, _ := w.raw(t, "PUT", "/faults", token, bad); status != http.StatusBadRequest {
			t.Errorf("%s: %d", bad, status)
		}
	}
	_, body := w.raw(t, "GET", "/faults", token, "")
	var got standin.Faults
	if err := json.Unmarshal(body, &got); err != nil || !got.Pause || got.SlowMS != 5 {
		t.Errorf("%s: %v", body, err)
	}
	_, body = w.raw(t, "GET", "/ledger?entries=false", token, "")
	if bytes.Contains(body, []byte(`"entries"`)) {
		t.Errorf("%s", body)
	}
	if status, _ := w.raw(t, "PUT", "/faults", token, `{"seed":`+strings.Repeat(" ", 20<<10)+`1}`); status != http.StatusBadRequest {
		t.Errorf("a long body: %d", status)
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	ledger := filepath.Join(t.TempDir(), "ledger")
	for name, config := range map[string]standin.Config{
		"no key":           {Ledger: ledger},
		"short key":        {Ledger: ledger, APIKey: "short"},
		"no ledger":        {APIKey: apiKey},
		"not loopback":     {Ledger: ledger, APIKey: apiKey, Listen: "0.0.0.0:0"},
		"no secret":        {Ledger: ledger, APIKey: apiKey, CallbackURL: "http://127.0.0.1:1/"},
		"no certificate":   {Ledger: ledger, APIKey: apiKey, CallbackCert: "none"},
		"bad faults":       {Ledger: ledger, APIKey: apiKey, Faults: standin.Faults{FailPercent: -1}},
		"ledger is damage": {Ledger: damaged(t), APIKey: apiKey},
	} {
		if provider, err := standin.New(config); err == nil {
			t.Errorf("%s: accepted", name)
			_ = provider.Close()
		}
	}
	provider, err := standin.New(standin.Config{Ledger: ledger, APIKey: apiKey})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(provider.Close(), provider.Close()); err != nil {
		t.Errorf("closed without having run: %v", err)
	}
}

func damaged(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ledger")
	if err := os.WriteFile(path, []byte("{\"seq\":2,\"key\":\"k\"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
