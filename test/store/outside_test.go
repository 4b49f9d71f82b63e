package store

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.org/souk/internal/testserver"
	mailstandin "example.org/souk/provider/mail/standin"
	paystandin "example.org/souk/provider/payment/standin"
)

// outside is what the mall calls: a payment provider and a mail server, stand-ins as processes of their own that live on
// when the mall dies, each with a ledger of its own.
type outside struct {
	payment, mail *testserver.Process

	payURL, mailURL, smtp string
	payKey, mailKey       string // files
}

// startOutside starts them; payment are further flags of the payment provider.
func startOutside(t *testing.T, binary string, payment ...string) *outside {
	t.Helper()
	dir := t.TempDir()
	o := &outside{payKey: filepath.Join(dir, "pay.key"), mailKey: filepath.Join(dir, "mail.key")}
	args := []string{binary, "provider", "payment", "--ledger", filepath.Join(dir, "pay.jsonl"), "--api-key-file", o.payKey}
	o.payment = testserver.Start(t, append(args, payment...)...)
	o.mail = testserver.Start(t, testserver.Build(t, "example.org/souk/provider/mail/standin/cmd/mailstandin"),
		"--ledger", filepath.Join(dir, "mail.jsonl"), "--api-key-file", o.mailKey)
	o.payURL = strings.TrimPrefix(o.payment.WaitLine("listening on"), "listening on ")
	addresses := strings.Fields(strings.TrimPrefix(o.mail.WaitLine("listening on"), "listening on "))
	o.smtp, o.mailURL = strings.TrimPrefix(addresses[0], "smtp://"), addresses[1]
	return o
}

// flags lead a mall to the stand-ins.
func (o *outside) flags() []string {
	return []string{"--payment", o.payURL, "--payment-key", o.payKey, "--smtp", o.smtp, "--smtp-plain"}
}

func ask(t *testing.T, method, url, keyFile, body string, answer any) {
	t.Helper()
	key, err := os.ReadFile(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(key)))
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		t.Fatalf("%s %s: %s", method, url, resp.Status)
	}
	if answer == nil {
		return
	}
	if err := json.NewDecoder(resp.Body).Decode(answer); err != nil {
		t.Fatal(err)
	}
}

// money returns the payment provider's own ledger.
func (o *outside) money(t *testing.T) (r paystandin.Report) {
	t.Helper()
	ask(t, http.MethodGet, o.payURL+"/ledger", o.payKey, "", &r)
	return r
}

// letters returns what the mail server took.
func (o *outside) letters(t *testing.T) (r mailstandin.Report) {
	t.Helper()
	ask(t, http.MethodGet, o.mailURL+"/messages", o.mailKey, "", &r)
	return r
}

// troubleMoney sets the faults of the payment provider; {} is none.
func (o *outside) troubleMoney(t *testing.T, faults string) {
	t.Helper()
	ask(t, http.MethodPut, o.payURL+"/faults", o.payKey, faults, nil)
}
