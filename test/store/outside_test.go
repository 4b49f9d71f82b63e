package store

import (
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"example.org/souk/internal/testmall"
	"example.org/souk/internal/testserver"
	mailstandin "example.org/souk/provider/mail/standin"
	paystandin "example.org/souk/provider/payment/standin"
)

// outside is what the mall calls: a payment provider and a mail server, stand-ins as processes of their own that live on
// when the mall dies, each with a ledger of its own.
type outside struct {
	provider *testmall.Provider
	mail     *testserver.Process

	mailURL, smtp string
	mailKey       string // file
}

// startOutside starts them; payment are further flags of the payment provider.
func startOutside(t *testing.T, binary string, payment ...string) *outside {
	t.Helper()
	dir := t.TempDir()
	o := &outside{mailKey: filepath.Join(dir, "mail.key")}
	o.mail = testserver.Start(t, testserver.Build(t, "example.org/souk/provider/mail/standin/cmd/mailstandin"),
		"--ledger", filepath.Join(dir, "mail.jsonl"), "--api-key-file", o.mailKey)
	o.provider = testmall.Provide(t, binary, payment...)
	addresses := strings.Fields(strings.TrimPrefix(o.mail.WaitLine("listening on"), "listening on "))
	o.smtp, o.mailURL = strings.TrimPrefix(addresses[0], "smtp://"), addresses[1]
	return o
}

// flags lead a mall to the stand-ins.
func (o *outside) flags() []string {
	return slices.Concat(o.provider.Flags(), []string{"--smtp", o.smtp, "--smtp-plain"})
}

// money returns the payment provider's own ledger.
func (o *outside) money(t *testing.T) paystandin.Report {
	t.Helper()
	return o.provider.Books(t)
}

// letters returns what the mail server took.
func (o *outside) letters(t *testing.T) (r mailstandin.Report) {
	t.Helper()
	testmall.AskStandIn(t, http.MethodGet, o.mailURL+"/messages", o.mailKey, "", &r)
	return r
}

// troubleMoney sets the faults of the payment provider; {} is none.
func (o *outside) troubleMoney(t *testing.T, faults string) {
	t.Helper()
	o.provider.Trouble(t, faults)
}
