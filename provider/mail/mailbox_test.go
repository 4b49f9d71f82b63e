package mail_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	netmail "net/mail"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"example.org/souk/provider/mail"
)

func clock() time.Time { return time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC) }

func mailbox(t *testing.T, path string) *mail.Mailbox {
	t.Helper()
	box, err := mail.OpenMailbox(mail.MailboxConfig{Path: path, From: "Shop <shop@shop.example>", Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = box.Close() })
	return box
}

// messages reads an mbox file the strict way: a message begins at a From line that follows an empty line.
func messages(t *testing.T, path string) []*netmail.Message {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(content, []byte("\r")) {
		t.Error("the file holds carriage returns")
	}
	var all []*netmail.Message
	for _, entry := range regexp.MustCompile(`(?m)^From .*\n`).Split(string(content), -1)[1:] {
		entry = regexp.MustCompile(`(?m)^>(>*From )`).ReplaceAllString(entry, "$1")
		message, err := netmail.ReadMessage(strings.NewReader(entry))
		if err != nil {
			t.Fatalf("%v in %q", err, entry)
		}
		all = append(all, message)
	}
	return all
}

func body(t *testing.T, m *netmail.Message) string {
	t.Helper()
	content, err := io.ReadAll(m.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestMailboxQuotes(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "mbox")
	box := mailbox(t, path)
	text := "Hello,\n\nFrom here on\n>From there\n>>From further\n From inside\nFROM loud\n"
	for _, id := range []string{"one", "two"} {
		if err := box.Send(t.Context(), mail.Message{ID: id, To: "ann@example.org", Subject: "From me", Text: text}); err != nil {
			t.Fatal(err)
		}
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(content, []byte("From shop@shop.example Wed Jan  2 03:04:05 2030\n")) || !bytes.HasSuffix(content, []byte("\n\n")) {
		t.Errorf("file begins or ends wrongly:\n%s", content)
	}
	for _, line := range []string{"\n>From here", "\n>>From there", "\n>>>From further", "\n From inside", "\nFROM loud"} {
		if bytes.Count(content, []byte(line)) != 2 {
			t.Errorf("%q is not there twice:\n%s", line, content)
		}
	}
	all := messages(t, path)
	if len(all) != 2 {
		t.Fatalf("%d messages", len(all))
	}
	if got := all[1].Header.Get("Message-Id"); got != "<two@shop.example>" {
		t.Errorf("Message-ID %s", got)
	}
	if got := body(t, all[0]); strings.TrimSpace(got) != strings.TrimSpace(text) {
		t.Errorf("read back %q", got)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestMailboxIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "mbox")
	box := mailbox(t, path)
	const senders, each = 8, 100
	var group sync.WaitGroup
	for sender := range senders {
		group.Go(func() {
			for i := range each {
				if err := box.Send(t.Context(), mail.Message{
					ID: fmt.Sprintf("m-%d-%d", sender, i), To: "ann@example.org", Subject: "x", Text: strings.Repeat("long line\n", 100),
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	seen := map[string]bool{}
	for _, m := range messages(t, path) {
		seen[m.Header.Get("Message-Id")] = true
		if got := strings.Count(body(t, m), "long line"); got != 100 {
			t.Fatalf("%d lines", got)
		}
	}
	if len(seen) != senders*each {
		t.Errorf("%d messages, want %d", len(seen), senders*each)
	}
}

func TestMailboxClosesOffATornMessage(t *testing.T) {
	t.Parallel()
	for _, torn := range []string{"From a@b Wed Jan  2 03:04:05 2030\nSubject: x\n\nhalf a li", "From a@b Wed Jan  2 03:04:05 2030\nSubject: x\n\nline\n"} {
		path := filepath.Join(t.TempDir(), "mbox")
		if err := os.WriteFile(path, []byte(torn), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := mailbox(t, path).Send(t.Context(), mail.Message{ID: "next", To: "ann@example.org", Text: "x"}); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(content, []byte("\n\nFrom shop@shop.example")) || len(messages(t, path)) != 2 {
			t.Errorf("%v:\n%s", err, content)
		}
	}
}

func TestMalformedMessagesAreRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "mbox")
	box := mailbox(t, path)
	good := mail.Message{ID: "m1", To: "ann@example.org", Subject: "Hello", Text: "Hello"}
	for name, spoil := range map[string]func(*mail.Message){
		"subject with a header":     func(m *mail.Message) { m.Subject = "Hello\r\nBcc: eve@example.org" },
		"subject with a newline":    func(m *mail.Message) { m.Subject = "Hello\n" },
		"subject with a return":     func(m *mail.Message) { m.Subject = "Hello\rthere" },
		"subject with a NUL":        func(m *mail.Message) { m.Subject = "Hello\x00" },
		"subject not UTF-8":         func(m *mail.Message) { m.Subject = "\xff" },
		"subject without end":       func(m *mail.Message) { m.Subject = strings.Repeat("x", 501) },
		"receiver with a header":    func(m *mail.Message) { m.To = "ann@example.org\r\nBcc: eve@example.org" },
		"receiver's name with one":  func(m *mail.Message) { m.To = "\"Ann\r\nBcc: eve@example.org\" <ann@example.org>" },
		"encoded name with one":     func(m *mail.Message) { m.To = "=?utf-8?q?Ann=0D=0ABcc:_eve?= <ann@example.org>" },
		"receiver with a command":   func(m *mail.Message) { m.To = "<ann@example.org>\r\nDATA" },
		"two receivers":             func(m *mail.Message) { m.To = "ann@example.org, eve@example.org" },
		"no receiver":               func(m *mail.Message) { m.To = "" },
		"id with a header":          func(m *mail.Message) { m.ID = "m1>\r\nBcc: eve@example.org" },
		"id with a bracket":         func(m *mail.Message) { m.ID = "m1>" },
		"id with a space":           func(m *mail.Message) { m.ID = "m 1" },
		"id that ends in a newline": func(m *mail.Message) { m.ID = "m1\n" },
		"no id":                     func(m *mail.Message) { m.ID = "" },
		"no text":                   func(m *mail.Message) { m.Text = "" },
		"text without end":          func(m *mail.Message) { m.Text = strings.Repeat("x", 1<<20+1) },
	} {
		m := good
		spoil(&m)
		err := box.Send(t.Context(), m)
		if mail.ClassOf(err) != mail.Permanent {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "example.org") && !strings.Contains(m.ID, "example.org") {
			t.Errorf("%s: the error names the receiver: %v", name, err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Size() != 0 {
		t.Errorf("something was written: %v, %v", info.Size(), err)
	}
	// The opposite: what only looks odd is sent whole.
	good.Subject, good.To = "Grüße: \"100 %\" <b>", "Ännchen <ann+shop@example.org>"
	if err := box.Send(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	if got := len(messages(t, path)[0].Header); got > 9 {
		t.Errorf("%d headers: %v", got, messages(t, path)[0].Header)
	}
}

func TestClosedMailboxIsUnavailable(t *testing.T) {
	t.Parallel()
	box := mailbox(t, filepath.Join(t.TempDir(), "mbox"))
	if err := errors.Join(box.Close(), box.Close()); err != nil {
		t.Fatal(err)
	}
	m := mail.Message{ID: "m1", To: "ann@example.org", Text: "x"}
	if err := box.Send(t.Context(), m); mail.ClassOf(err) != mail.Unavailable {
		t.Errorf("got %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := box.Send(ended, m); mail.ClassOf(err) != mail.Unavailable || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func BenchmarkMailbox(b *testing.B) {
	box, err := mail.OpenMailbox(mail.MailboxConfig{Path: filepath.Join(b.TempDir(), "mbox"), From: "shop@shop.example"})
	if err != nil {
		b.Fatal(err)
	}
	defer box.Close()
	for b.Loop() {
		if err := box.Send(b.Context(), mail.Message{
			ID: "m", To: "ann@example.org", Subject: "Your order is ready", Text: strings.Repeat("one line of it\n", 20),
		}); err != nil {
			b.Fatal(err)
		}
	}
}
