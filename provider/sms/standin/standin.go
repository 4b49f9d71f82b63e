package standin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"sync"
	"time"

	"example.org/souk/provider/internal/admin"
	"example.org/souk/provider/internal/fault"
	"example.org/souk/provider/internal/journal"
	"example.org/souk/provider/sms"
)

// Config says how a stand-in runs.
type Config struct {
	// Listen is a loopback address. Default 127.0.0.1:0, a free port.
	Listen string
	// Ledger is the path of the ledger file, created if it is not there. One process uses it at a time. Required.
	Ledger string
	// APIKey is what callers must present; at least 16 characters. Required.
	APIKey string
	// Now is the clock by which messages are stamped. Default time.Now.
	Now func() time.Time
}

// Faults is what goes wrong. The zero value is a provider that works.
type Faults struct {
	// Reject refuses messages to these numbers for good.
	Reject []string `json:"reject,omitempty"`
	// DeferPercent of the attempts are answered 503, and not taken; DropPercent are taken, and the connection is dropped instead of saying so. The seed, the
	// id and how often it came decide which.
	DeferPercent int    `json:"defer_percent"`
	DropPercent  int    `json:"drop_percent"`
	Seed         uint64 `json:"seed"`
	// Pause lets every caller wait for an answer until it is switched off.
	Pause bool `json:"pause"`
}

func (f Faults) check() error {
	for _, p := range []int{f.DeferPercent, f.DropPercent} {
		if p < 0 || p > 100 {
			return errors.New("a percentage lies between 0 and 100")
		}
	}
	return nil
}

// Taken is one line of the ledger: an attempt that was taken.
type Taken struct {
	Seq int       `json:"seq"` // dense from 1
	At  time.Time `json:"at"`
	sms.Message
}

// Report is the ledger as GET /messages shows it.
type Report struct {
	Messages []Taken `json:"messages"` // each id once, as it came first
	// Copies counts how often each id was taken.
	Copies map[string]int `json:"copies"`
}

// Provider is a running stand-in.
type Provider struct {
	now     func() time.Time
	journal *journal.Journal
	desk    net.Listener
	server  *http.Server
	gate    fault.Gate
	stop    chan struct{}
	close   func() error

	mu       sync.Mutex
	faults   Faults
	taken    int
	messages []Taken
	copies   map[string]int
	attempts map[string]int
}

// New opens the ledger and the port; callers are answered once Run is called. The stand-in must be ended by Run or, if that is
// never called, by Close.
func New(c Config) (*Provider, error) {
	if c.Listen == "" {
		c.Listen = "127.0.0.1:0"
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if err := admin.Check(c.APIKey, c.Listen); err != nil {
		return nil, fmt.Errorf("text message stand-in: %w", err)
	}
	if c.Ledger == "" {
		return nil, errors.New("text message stand-in: a ledger file is required")
	}
	p := &Provider{now: c.Now, stop: make(chan struct{}), copies: map[string]int{}, attempts: map[string]int{}}
	file, err := journal.Open(c.Ledger, func(line []byte) error {
		var t Taken
		if err := json.Unmarshal(line, &t); err != nil {
			return err
		}
		if t.Seq != p.taken+1 {
			return fmt.Errorf("message %d stands where %d should", t.Seq, p.taken+1)
		}
		p.post(t)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("text message stand-in: %w", err)
	}
	p.journal = file
	if p.desk, err = net.Listen("tcp", c.Listen); err != nil {
		return nil, errors.Join(fmt.Errorf("text message stand-in: %w", err), file.Close())
	}
	p.server = admin.Server(c.APIKey, p.routes())
	p.close = sync.OnceValue(func() error {
		close(p.stop)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if p.server.Shutdown(ctx) != nil {
			_ = p.server.Close() // whoever waits longer is cut off
		}
		_ = p.desk.Close() // the server has closed it where it ran
		return file.Close()
	})
	return p, nil
}

// URL returns the address, http://host:port.
func (p *Provider) URL() string { return "http://" + p.desk.Addr().String() }

// Run answers callers until ctx ends, then closes port and ledger. It is called once.
func (p *Provider) Run(ctx context.Context) error {
	served := make(chan error, 1)
	go func() { served <- p.server.Serve(p.desk) }()
	var err error
	select {
	case <-ctx.Done():
		err = p.close()
		<-served
	case err = <-served:
		err = errors.Join(fmt.Errorf("text message stand-in: %w", err), p.close())
	}
	return err
}

// Close ends a stand-in that was never run. After Run it does nothing new; it may be called again.
func (p *Provider) Close() error { return p.close() }

// SetFaults replaces all faults. It fails, and changes nothing, when they make no sense.
func (p *Provider) SetFaults(f Faults) error {
	if err := f.check(); err != nil {
		return fmt.Errorf("text message stand-in: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gate.Set(f.Pause)
	p.faults = f
	return nil
}

// Report returns what was taken.
func (p *Provider) Report() Report {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Report{Messages: append([]Taken{}, p.messages...), Copies: maps.Clone(p.copies)}
}

func (p *Provider) post(t Taken) {
	if p.taken++; p.copies[t.ID] == 0 {
		p.messages = append(p.messages, t)
	}
	p.copies[t.ID]++
}

// take records a message and returns once it is on disk.
func (p *Provider) take(m sms.Message) error {
	p.mu.Lock()
	t := Taken{Seq: p.taken + 1, At: p.now().UTC(), Message: m}
	ticket, err := p.journal.Append(t)
	if err == nil {
		p.post(t)
	}
	p.mu.Unlock()
	if err != nil {
		return err
	}
	return ticket.Wait()
}

func (p *Provider) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/messages", p.send)
	mux.HandleFunc("GET /messages", func(w http.ResponseWriter, _ *http.Request) { admin.Answer(w, p.Report()) })
	mux.HandleFunc("GET /faults", func(w http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		admin.Answer(w, p.faults)
	})
	mux.HandleFunc("PUT /faults", func(w http.ResponseWriter, r *http.Request) {
		var f Faults
		err := admin.Decode(r, &f)
		if err == nil {
			err = p.SetFaults(f)
		}
		if err != nil {
			admin.Refuse(w, http.StatusBadRequest, "invalid", err.Error())
			return
		}
		admin.Answer(w, f)
	})
	return mux
}

// send takes a message, as far as the faults let it.
func (p *Provider) send(w http.ResponseWriter, r *http.Request) {
	select {
	case <-p.gate.Opened():
	case <-r.Context().Done():
		return
	case <-p.stop:
		return
	}
	var m sms.Message
	if err := admin.Decode(r, &m); err != nil || m.ID == "" || m.To == "" || m.Text == "" {
		admin.Refuse(w, http.StatusBadRequest, "invalid", "a message has id, to and text")
		return
	}
	p.mu.Lock()
	f := p.faults
	p.attempts[m.ID]++
	attempt := p.attempts[m.ID]
	p.mu.Unlock()
	for _, number := range f.Reject {
		if number == m.To {
			admin.Refuse(w, http.StatusUnprocessableEntity, "rejected", "nobody has that number")
			return
		}
	}
	if fault.Hits(f.DeferPercent, f.Seed, "defer", m.ID, attempt) {
		admin.Refuse(w, http.StatusServiceUnavailable, "busy", "try again later")
		return
	}
	if err := p.take(m); err != nil {
		admin.Refuse(w, http.StatusInternalServerError, "internal", "")
		return
	}
	if fault.Hits(f.DropPercent, f.Seed, "drop", m.ID, attempt) {
		panic(http.ErrAbortHandler) // which closes the connection without an answer
	}
	admin.Answer(w, struct {
		ID string `json:"id"`
	}{m.ID})
}
