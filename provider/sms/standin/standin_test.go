package standin_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"example.org/souk/provider/sms"
	"example.org/souk/provider/sms/standin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const apiKey = "a-key-for-this-test-only"

// start runs a stand-in on a ledger, and returns it with what stops it.
func start(t *testing.T, ledger string) (*standin.Provider, func()) {
	t.Helper()
	p, err := standin.New(standin.Config{Ledger: ledger, APIKey: apiKey})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(stop)
	return p, stop
}

func sender(t *testing.T, url, key string) *sms.Sender {
	t.Helper()
	s, err := sms.NewSender(sms.SenderConfig{URL: url, APIKey: key, Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func message(id string) sms.Message { return sms.Message{ID: id, To: "+49 30 1", Text: "Grüße"} }

func wantClass(t *testing.T, err error, class sms.Class) {
	t.Helper()
	if sms.ClassOf(err) != class {
		t.Errorf("got %v, want %q", err, class)
	}
	if err != nil && (strings.Contains(err.Error(), "+49") || strings.Contains(err.Error(), "Grüße")) {
		t.Errorf("the error names the receiver, or says the text: %v", err)
	}
}

// What was taken stands in the ledger once, whatever is dropped, deferred or sent again, and after the process has ended.
func TestLedger(t *testing.T) {
	t.Parallel()
	ledger := filepath.Join(t.TempDir(), "ledger")
	p, stop := start(t, ledger)
	s := sender(t, p.URL(), apiKey)
	wantClass(t, s.Send(t.Context(), message("m1")), "")
	faults := func(f standin.Faults) {
		t.Helper()
		if err := p.SetFaults(f); err != nil {
			t.Fatal(err)
		}
	}
	faults(standin.Faults{DropPercent: 100})
	wantClass(t, s.Send(t.Context(), message("m2")), sms.Unknown)
	faults(standin.Faults{DeferPercent: 100})
	wantClass(t, s.Send(t.Context(), message("m3")), sms.Transient)
	faults(standin.Faults{Reject: []string{"+49 30 1"}})
	wantClass(t, s.Send(t.Context(), message("m4")), sms.Permanent)
	faults(standin.Faults{Pause: true})
	answered := make(chan error, 1)
	go func() { answered <- s.Send(t.Context(), message("m5")) }()
	faults(standin.Faults{})
	wantClass(t, <-answered, "")
	wantClass(t, s.Send(t.Context(), message("m2")), "")
	wantClass(t, sender(t, p.URL(), "another-key-of-somebody").Send(t.Context(), message("m6")), sms.Unavailable)
	for _, bad := range []sms.Message{{To: "+1", Text: "x"}, {ID: "a", To: "eve", Text: "x"}, {ID: "a", To: "+1"}, {ID: "a", To: "+1", Text: strings.Repeat("x", sms.MaxText+1)}} {
		wantClass(t, s.Send(t.Context(), bad), sms.Permanent)
	}
	if err := p.SetFaults(standin.Faults{DropPercent: 101}); err == nil {
		t.Error("101 % are taken")
	}
	stop()
	wantClass(t, s.Send(t.Context(), message("m7")), sms.Unavailable)
	again, _ := start(t, ledger)
	r := again.Report()
	if len(r.Messages) != 3 || r.Copies["m5"] != 1 || r.Messages[0].ID != "m1" || r.Messages[1].Text != "Grüße" || r.Copies["m1"] != 1 || r.Copies["m2"] != 2 || len(r.Copies) != 3 {
		t.Errorf("%+v", r)
	}
}

func TestOutbox(t *testing.T) {
	t.Parallel()
	o := sms.Outbox{Path: filepath.Join(t.TempDir(), "sms.jsonl")}
	for _, id := range []string{"m1", "m2"} {
		if err := o.Send(t.Context(), message(id)); err != nil {
			t.Fatal(err)
		}
	}
	wantClass(t, o.Send(t.Context(), sms.Message{ID: "m3", To: "eve", Text: "x"}), sms.Permanent)
	got, err := os.ReadFile(o.Path)
	info, statErr := os.Stat(o.Path)
	if err != nil || statErr != nil || info.Mode().Perm() != 0o600 ||
		string(got) != `{"id":"m1","to":"+49 30 1","text":"Grüße"}`+"\n"+`{"id":"m2","to":"+49 30 1","text":"Grüße"}`+"\n" {
		t.Errorf("%s %v %v", got, err, statErr)
	}
}

func TestSendersThatMakeNoSense(t *testing.T) {
	t.Parallel()
	for _, c := range []sms.SenderConfig{
		{APIKey: apiKey}, {URL: "http://sms.example.org", APIKey: apiKey}, {URL: "https://sms.example.org"},
		{URL: "https://u:p@sms.example.org", APIKey: apiKey}, {URL: "https://sms.example.org", APIKey: "a\nb"},
	} {
		if _, err := sms.NewSender(c); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
}
