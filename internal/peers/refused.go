package peers

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"log"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"
)

const (
	// sayAgain is for how long what was said of somebody who is refused is not said again.
	sayAgain = 10 * time.Minute
	// saidMost is how much of that is remembered; whoever comes under many addresses is not to fill the memory.
	saidMost = 1000
)

// refusals tells of those who are refused, each once in a while, however often they come.
type refusals struct {
	mu   sync.Mutex
	said map[string]time.Time
}

// due reports whether something is to be said now.
func (r *refusals) due(what string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if at, ok := r.said[what]; ok && now.Sub(at) < sayAgain {
		return false
	}
	if r.said == nil || len(r.said) >= saidMost {
		r.said = map[string]time.Time{}
	}
	r.said[what] = now
	return true
}

// passedOver tells of a process that could not prove that it runs a part.
func (p *Peers) passedOver(part, address string, err error) {
	var wrong *tls.CertificateVerificationError
	if errors.As(err, &wrong) && p.refused.due("to "+part+" at "+address, p.now()) {
		p.log.Warn("a process is passed over, since its certificate does not prove that it runs a part of this mall", "part", part, "address", address, "error", err)
	}
}

// ErrorLog is where a server on Listener says what went wrong with connections. Of those who show a certificate that is not one of this mall's it tells as
// warnings, once in a while for each address and cause; of the rest, such as ports that are tried, where all is told.
func (p *Peers) ErrorLog() *log.Logger { return log.New(handshakes{p}, "", 0) }

type handshakes struct{ *Peers }

// Write takes a line of net/http's.
func (h handshakes) Write(line []byte) (int, error) {
	text := string(bytes.TrimSpace(line))
	from, cause, found := strings.Cut(strings.TrimPrefix(text, "http: TLS handshake error from "), ": ")
	if host, _, err := net.SplitHostPort(from); err == nil {
		from = host
	}
	level := slog.LevelDebug
	if found && strings.Contains(cause, "certificate") {
		kind, _, _ := strings.Cut(cause, ": current time") // which is another each time
		if !h.refused.due("from "+from+" "+kind, h.now()) {
			return len(line), nil
		}
		level = slog.LevelWarn
	}
	h.log.Log(context.Background(), level, "a connection from another process is refused", "from", from, "error", cause)
	return len(line), nil
}
