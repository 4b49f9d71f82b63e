package testmall

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.org/souk/internal/testserver"
	"example.org/souk/provider/payment/standin"
)

// Provider is a payment provider's stand-in as a process of its own: it lives on when the mall dies, and has books of its own.
type Provider struct {
	Proc *testserver.Process
	URL  string
	Key  string // file
}

// Provide starts a payment provider by a souk program; flags are further ones of it.
func Provide(t testing.TB, binary string, flags ...string) *Provider {
	t.Helper()
	dir := t.TempDir()
	p := &Provider{Key: filepath.Join(dir, "pay.key")}
	args := []string{binary, "provider", "payment", "--ledger", filepath.Join(dir, "pay.jsonl"), "--api-key-file", p.Key}
	p.Proc = testserver.Start(t, append(args, flags...)...)
	p.URL = strings.TrimPrefix(p.Proc.WaitLine("listening on"), "listening on ")
	return p
}

// Flags lead a mall to the provider.
func (p *Provider) Flags() []string { return []string{"--payment", p.URL, "--payment-key", p.Key} }

// Books returns the provider's own ledger.
func (p *Provider) Books(t testing.TB) (r standin.Report) {
	t.Helper()
	AskStandIn(t, http.MethodGet, p.URL+"/ledger", p.Key, "", &r)
	return r
}

// Trouble sets the provider's faults; {} is none.
func (p *Provider) Trouble(t testing.TB, faults string) {
	t.Helper()
	AskStandIn(t, http.MethodPut, p.URL+"/faults", p.Key, faults, nil)
}

// AskStandIn makes a request of a stand-in, which must not refuse it, with the key in a file. The answer is read unless it is nil.
func AskStandIn(t testing.TB, method, url, keyFile, body string, answer any) {
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
	defer func() { _ = resp.Body.Close() }()
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
