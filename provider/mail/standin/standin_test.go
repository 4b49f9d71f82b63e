package standin_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"example.org/souk/provider/mail"
	"example.org/souk/provider/mail/standin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const apiKey = "a-key-for-this-test-only"

type world struct {
	*standin.Catcher
	config standin.Config
	stop   func()
}

func start(t *testing.T, change ...func(*standin.Config)) *world {
	t.Helper()
	w := &world{config: standin.Config{Ledger: filepath.Join(t.TempDir(), "ledger"), APIKey: apiKey}}
	for _, f := range change {
		f(&w.config)
	}
	w.run(t)
	return w
}

func (w *world) run(t *testing.T) {
	t.Helper()
	catcher, err := standin.New(w.config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- catcher.Run(ctx) }()
	w.Catcher = catcher
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(w.stop)
}

func (w *world) sender(t *testing.T, change ...func(*mail.SenderConfig)) *mail.Sender {
	t.Helper()
	config := mail.SenderConfig{Address: w.Address(), From: "Shop <shop@shop.example>", TLS: mail.NoTLS, Timeout: 5 * time.Second}
	for _, f := range change {
		f(&config)
	}
	sender, err := mail.NewSender(config)
	if err != nil {
		t.Fatal(err)
	}
	return sender
}

func within(d time.Duration) func(*mail.SenderConfig) {
	return func(c *mail.SenderConfig) { c.Timeout = d }
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

func message(id string) mail.Message {
	return mail.Message{ID: id, To: "Ann <ann@example.org>", Subject: "Ihre Bestellung für heute", Text: "Grüße,\nFrom us\n.\nend\n"}
}

func wantClass(t *testing.T, err error, class mail.Class, code int) {
	t.Helper()
	failure, ok := errors.AsType[*mail.Error](err)
	if !ok || failure.Class != class || failure.Code != code {
		t.Fatalf("got %v, want %s with code %d", err, class, code)
	}
	if strings.Contains(err.Error(), "ann@") {
		t.Errorf("the error names the receiver: %v", err)
	}
}

func TestMessageIsCaught(t *testing.T) {
	t.Parallel()
	w := start(t)
	sender := w.sender(t)
	if err := sender.Send(t.Context(), message("m1")); err != nil {
		t.Fatal(err)
	}
	withHTML := message("m2@elsewhere.example")
	withHTML.HTML = "<p>Grüße</p>"
	for range 2 { // sent again, it is the same message
		if err := sender.Send(t.Context(), withHTML); err != nil {
			t.Fatal(err)
		}
	}
	report := w.report(t)
	if len(report.Messages) != 3 {
		t.Fatalf("%d messages", len(report.Messages))
	}
	got := report.Messages[0]
	if got.MessageID != "m1@shop.example" || got.From != "shop@shop.example" || len(got.To) != 1 || got.To[0] != "ann@example.org" ||
		got.Subject != message("").Subject || strings.TrimSpace(got.Body) != strings.TrimSpace(message("").Text) || got.Seq != 1 {
		t.Errorf("got %+v", got)
	}
	one, two := report.Messages[1], report.Messages[2]
	if strings.TrimSpace(one.Body) != strings.TrimSpace(message("").Text) || one.BodySHA256 != two.BodySHA256 || one.BodySHA256 == got.BodySHA256 {
		t.Errorf("got %+v and %+v", one, two)
	}
	if report.Copies["m1@shop.example"] != 1 || report.Copies["m2@elsewhere.example"] != 2 {
		t.Errorf("copies %v", report.Copies)
	}
}

func TestRejectAndDefer(t *testing.T) {
	t.Parallel()
	w := start(t)
	sender := w.sender(t)
	w.faults(t, standin.Faults{Reject: []string{"*@EXAMPLE.org"}})
	wantClass(t, sender.Send(t.Context(), message("m1")), mail.Permanent, 550)
	w.faults(t, standin.Faults{Reject: []string{"bob@example.org"}, Defer: []string{"ann@*"}})
	wantClass(t, sender.Send(t.Context(), message("m1")), mail.Transient, 451)
	if n := len(w.report(t).Messages); n != 0 {
		t.Fatalf("%d messages were taken", n)
	}
	w.faults(t, standin.Faults{})
	if err := sender.Send(t.Context(), message("m1")); err != nil {
		t.Fatal(err)
	}
}

func TestDropAfterTaking(t *testing.T) {
	t.Parallel()
	w := start(t)
	sender := w.sender(t)
	w.faults(t, standin.Faults{DropPercent: 100})
	wantClass(t, sender.Send(t.Context(), message("m1")), mail.Unknown, 0)
	if n := w.report(t).Copies["m1@shop.example"]; n != 1 {
		t.Fatalf("taken %d times", n)
	}
	w.faults(t, standin.Faults{})
	if err := sender.Send(t.Context(), message("m1")); err != nil {
		t.Fatal(err)
	}
	if n := w.report(t).Copies["m1@shop.example"]; n != 2 {
		t.Errorf("taken %d times, want one extra", n)
	}
}

func TestSlow(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.faults(t, standin.Faults{SlowMS: 60_000})
	wantClass(t, w.sender(t, within(700*time.Millisecond)).Send(t.Context(), message("m1")), mail.Unknown, 0)
	w.faults(t, standin.Faults{SlowMS: 400})
	begin := time.Now()
	if err := w.sender(t).Send(t.Context(), message("m2")); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took < 400*time.Millisecond {
		t.Errorf("took %v", took)
	}
	if n := len(w.report(t).Messages); n != 2 {
		t.Errorf("%d messages", n)
	}
}

func TestPause(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.faults(t, standin.Faults{Pause: true})
	wantClass(t, w.sender(t, within(100*time.Millisecond)).Send(t.Context(), message("m1")), mail.Unavailable, 0)

	sent := make(chan error, 1)
	go func() { sent <- w.sender(t).Send(t.Context(), message("m3")) }()
	w.faults(t, standin.Faults{})
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if got := w.report(t).Copies; len(got) != 1 || got["m3@shop.example"] != 1 {
		t.Errorf("taken %v, want m3 only", got)
	}
}

func TestNobodyThere(t *testing.T) {
	t.Parallel()
	w := start(t)
	sender := w.sender(t)
	w.stop()
	wantClass(t, sender.Send(t.Context(), message("m1")), mail.Unavailable, 0)
}

func TestSTARTTLSAndLogin(t *testing.T) {
	t.Parallel()
	certificate, roots := selfSigned(t)
	w := start(t, func(c *standin.Config) {
		c.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
		c.Username, c.Password = "shop", "correct horse"
	})
	passwords := filepath.Join(t.TempDir(), "password")
	write := func(password string) {
		if err := os.WriteFile(passwords, []byte(password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("wrong")
	login := func(c *mail.SenderConfig) {
		c.TLS, c.RootCAs, c.Username, c.PasswordFile = mail.STARTTLS, roots, "shop", passwords
	}
	sender := w.sender(t, login)
	// The password is about the shop, not about the message: it must not be given up for it.
	wantClass(t, sender.Send(t.Context(), message("m1")), mail.Unavailable, 535)
	write("correct horse")
	if err := sender.Send(t.Context(), message("m1")); err != nil {
		t.Fatal(err)
	}
	stranger := w.sender(t, login, func(c *mail.SenderConfig) { c.RootCAs = x509.NewCertPool() })
	wantClass(t, stranger.Send(t.Context(), message("m2")), mail.Unavailable, 0)
	if err := w.sender(t).Send(t.Context(), message("m3")); err == nil {
		t.Error("taken without a login")
	}
	if n := len(w.report(t).Messages); n != 1 {
		t.Errorf("%d messages", n)
	}

	plain := start(t)
	downgraded := plain.sender(t, func(c *mail.SenderConfig) { c.TLS = mail.STARTTLS })
	wantClass(t, downgraded.Send(t.Context(), message("m4")), mail.Unavailable, 0)
}

func selfSigned(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

func TestLedgerSurvivesATornLastLine(t *testing.T) {
	t.Parallel()
	w := start(t)
	if err := w.sender(t).Send(t.Context(), message("m1")); err != nil {
		t.Fatal(err)
	}
	before := w.report(t)
	w.stop()
	file, err := os.OpenFile(w.config.Ledger, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = file.WriteString(`{"seq":2,"message_id":"m2@sh`)
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	w.run(t)
	if err := w.sender(t).Send(t.Context(), message("m1")); err != nil {
		t.Fatal(err)
	}
	after := w.report(t)
	if len(after.Messages) != 2 || after.Messages[0].At != before.Messages[0].At || after.Copies["m1@shop.example"] != 2 {
		t.Errorf("before %+v, after %+v", before, after)
	}
}

func TestConcurrentSendersAreAllCaught(t *testing.T) {
	t.Parallel()
	w := start(t)
	sender := w.sender(t)
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() {
			for j := range 5 {
				if err := sender.Send(t.Context(), message("m-"+string(rune('a'+i))+string(rune('a'+j)))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if report := w.report(t); len(report.Messages) != 100 || len(report.Copies) != 100 {
		t.Errorf("%d messages, %d ids, want 100", len(report.Messages), len(report.Copies))
	}
}

func (w *world) raw(t *testing.T, method, path, token, body string) (int, []byte) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, w.URL()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Close = true
	request.Header.Set("Authorization", token)
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

func TestHTTPSide(t *testing.T) {
	t.Parallel()
	w := start(t)
	for _, path := range []string{"/messages", "/faults", "/"} {
		if status, _ := w.raw(t, "GET", path, "Bearer wrong", ""); status != http.StatusUnauthorized {
			t.Errorf("%s: %d without the key", path, status)
		}
	}
	const token = "Bearer " + apiKey
	if err := w.sender(t).Send(t.Context(), message("m1")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{
		"/messages": 1, "/messages?to=ann@example.org": 1, "/messages?to=bob@example.org": 0,
		"/messages?id=m1@shop.example": 1, "/messages?id=m2@shop.example": 0,
	} {
		_, body := w.raw(t, "GET", path, token, "")
		var got standin.Report
		if err := json.Unmarshal(body, &got); err != nil || len(got.Messages) != want || got.Copies["m1@shop.example"] != 1 {
			t.Errorf("%s: %s, %v", path, body, err)
		}
	}
	status, _ := w.raw(t, "PUT", "/faults", token, `{"reject":["*@example.org"]}`)
	if status != http.StatusOK {
		t.Errorf("status %d", status)
	}
	wantClass(t, w.sender(t).Send(t.Context(), message("m2")), mail.Permanent, 550)
	for _, bad := range []string{`{"reject":["["]}`, `{"drop_percent":101}`, `{"slow_ms":-1}`, `{"drop":1}`, `{} {}`} {
		if status, _ := w.raw(t, "PUT", "/faults", token, bad); status != http.StatusBadRequest {
			t.Errorf("%s: %d", bad, status)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	ledger := filepath.Join(t.TempDir(), "ledger")
	for name, config := range map[string]standin.Config{
		"no key":             {Ledger: ledger},
		"no ledger":          {APIKey: apiKey},
		"not loopback":       {Ledger: ledger, APIKey: apiKey, Listen: "0.0.0.0:0"},
		"admin not loopback": {Ledger: ledger, APIKey: apiKey, ListenAdmin: ":0"},
		"login without TLS":  {Ledger: ledger, APIKey: apiKey, Username: "u", Password: "p"},
		"bad faults":         {Ledger: ledger, APIKey: apiKey, Faults: standin.Faults{SlowMS: -1}},
	} {
		if catcher, err := standin.New(config); err == nil {
			t.Errorf("%s: accepted", name)
			_ = catcher.Close()
		}
	}
	catcher, err := standin.New(standin.Config{Ledger: ledger, APIKey: apiKey})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(catcher.Close(), catcher.Close()); err != nil {
		t.Errorf("closed without having run: %v", err)
	}
	for name, config := range map[string]mail.SenderConfig{
		"no server":           {From: "a@b.example"},
		"no sender":           {Address: "mail.example.org:25"},
		"sender with header":  {Address: "mail.example.org:25", From: "a@b.example\r\nBcc: c@d.example"},
		"clear to the world":  {Address: "mail.example.org:25", From: "a@b.example", TLS: mail.NoTLS},
		"unknown TLS":         {Address: "mail.example.org:25", From: "a@b.example", TLS: "maybe"},
		"unknown login":       {Address: "mail.example.org:25", From: "a@b.example", Auth: "ntlm"},
		"user but no file":    {Address: "mail.example.org:25", From: "a@b.example", Username: "u"},
		"password not there":  {Address: "mail.example.org:25", From: "a@b.example", Username: "u", PasswordFile: filepath.Join(t.TempDir(), "none")},
		"a socket for a host": {Address: "unix:///run/mail:25", From: "a@b.example"},
	} {
		if _, err := mail.NewSender(config); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
