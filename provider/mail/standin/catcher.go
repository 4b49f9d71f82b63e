package standin

import (
	"context"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"example.org/souk/provider/internal/admin"
	"example.org/souk/provider/internal/fault"
)

// Config says how a stand-in runs.
type Config struct {
	// Listen is the loopback address for SMTP, ListenAdmin the one for HTTP. Default 127.0.0.1:0, a free port.
	Listen      string
	ListenAdmin string
	// Ledger is the path of the ledger file, created if it is not there. One process uses it at a time. Required.
	Ledger string
	// APIKey is what callers of the HTTP side must present; at least 16 characters. Required: there is no default. See
	// NewAPIKey.
	APIKey string
	// TLS offers STARTTLS with this configuration. Default: none is offered.
	TLS *tls.Config
	// Username and Password, when set, must be presented before a message is taken; they are asked for under TLS only.
	Username, Password string
	// Faults are switched on from the start. Default none.
	Faults Faults
	// Now is the clock by which messages are stamped. Default time.Now.
	Now func() time.Time
}

// NewAPIKey returns a random API key.
func NewAPIKey() string { return admin.NewKey() }

// Catcher is a running stand-in.
type Catcher struct {
	config Config
	ledger *ledger
	faults switchboard

	mail  *listener
	smtp  *smtp.Server
	desk  net.Listener
	admin *http.Server
	stop  chan struct{} // closed when the stand-in stops
	close func() error
}

const maxMessage = 4 << 20 // bytes

// New opens the ledger and both ports; from then on callers can connect, and are answered once Run is called. The
// stand-in must be ended by Run or, if that is never called, by Close.
func New(config Config) (*Catcher, error) {
	if config.Listen == "" {
		config.Listen = "127.0.0.1:0"
	}
	if config.ListenAdmin == "" {
		config.ListenAdmin = "127.0.0.1:0"
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	err := errors.Join(admin.Check(config.APIKey, config.Listen, config.ListenAdmin), config.Faults.check())
	switch {
	case err != nil:
		return nil, fmt.Errorf("mail stand-in: %w", err)
	case config.Ledger == "":
		return nil, errors.New("mail stand-in: a ledger file is required")
	case (config.Username == "") != (config.Password == ""):
		return nil, errors.New("mail stand-in: a user name and a password belong together")
	case config.Username != "" && config.TLS == nil:
		return nil, errors.New("mail stand-in: a login needs TLS")
	}
	c := &Catcher{config: config, stop: make(chan struct{})}
	if c.ledger, err = openLedger(config.Ledger, config.Now); err != nil {
		return nil, fmt.Errorf("mail stand-in: %w", err)
	}
	port, err := net.Listen("tcp", config.Listen)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("mail stand-in: %w", err), c.ledger.journal.Close())
	}
	if c.desk, err = net.Listen("tcp", config.ListenAdmin); err != nil {
		return nil, errors.Join(fmt.Errorf("mail stand-in: %w", err), port.Close(), c.ledger.journal.Close())
	}
	c.faults.set(config.Faults)
	c.mail = &listener{Listener: port, gate: &c.faults.gate, stop: c.stop, open: map[*conn]struct{}{}}

	c.smtp = smtp.NewServer(smtp.BackendFunc(func(conn *smtp.Conn) (smtp.Session, error) {
		return &session{catcher: c, conn: conn}, nil
	}))
	c.smtp.Domain = "mail.standin.invalid"
	c.smtp.TLSConfig = config.TLS
	c.smtp.MaxMessageBytes = maxMessage
	c.smtp.MaxRecipients = 100
	c.smtp.ReadTimeout = time.Minute
	c.smtp.WriteTimeout = 10 * time.Second
	c.smtp.EnableSMTPUTF8 = true
	c.smtp.ErrorLog = log.New(io.Discard, "", 0) // lost connections, which here are the purpose
	c.admin = admin.Server(config.APIKey, c.routes())

	c.close = sync.OnceValue(func() error {
		close(c.stop)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		// Connections that idle between messages would never end by themselves.
		c.mail.closeAll()
		// Closing what is closed already, or was never served, reports errors that mean nothing here.
		_ = c.smtp.Shutdown(ctx)
		_ = c.mail.Close()
		if c.admin.Shutdown(ctx) != nil {
			_ = c.admin.Close()
		}
		_ = c.desk.Close()
		return c.ledger.journal.Close()
	})
	return c, nil
}

// Address returns host:port for SMTP.
func (c *Catcher) Address() string { return c.mail.Addr().String() }

// URL returns the address of the HTTP side, http://host:port.
func (c *Catcher) URL() string { return "http://" + c.desk.Addr().String() }

// Run answers callers until ctx ends, then closes the ports and the ledger. It is called once.
func (c *Catcher) Run(ctx context.Context) error {
	var group sync.WaitGroup
	served := make(chan error, 2)
	group.Go(func() { served <- c.smtp.Serve(c.mail) })
	group.Go(func() { served <- c.admin.Serve(c.desk) })
	var err error
	select {
	case <-ctx.Done():
	case err = <-served:
		err = fmt.Errorf("mail stand-in: %w", err)
	}
	err = errors.Join(err, c.close())
	group.Wait()
	return err
}

// Close ends a stand-in that was never run. After Run it does nothing new; it may be called again.
func (c *Catcher) Close() error { return c.close() }

// Faults returns the faults of the moment.
func (c *Catcher) Faults() Faults { return c.faults.get() }

// SetFaults replaces all faults. It fails, and changes nothing, when they make no sense.
func (c *Catcher) SetFaults(f Faults) error {
	if err := f.check(); err != nil {
		return fmt.Errorf("mail stand-in: %w", err)
	}
	c.faults.set(f)
	return nil
}

// Report returns all messages that were taken, as they are on disk.
func (c *Catcher) Report() (Report, error) {
	report, err := c.ledger.report("", "")
	if err != nil {
		return Report{}, fmt.Errorf("mail stand-in: %w", err)
	}
	return report, nil
}

func (c *Catcher) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /messages", func(w http.ResponseWriter, r *http.Request) {
		report, err := c.ledger.report(r.URL.Query().Get("to"), r.URL.Query().Get("id"))
		if err != nil {
			admin.Refuse(w, http.StatusInternalServerError, "internal", "")
			return
		}
		admin.Answer(w, report)
	})
	mux.HandleFunc("GET /faults", func(w http.ResponseWriter, _ *http.Request) { admin.Answer(w, c.Faults()) })
	mux.HandleFunc("PUT /faults", func(w http.ResponseWriter, r *http.Request) {
		var faults Faults
		err := admin.Decode(r, &faults)
		if err == nil {
			err = c.SetFaults(faults)
		}
		if err != nil {
			admin.Refuse(w, http.StatusBadRequest, "invalid", err.Error())
			return
		}
		admin.Answer(w, c.Faults())
	})
	return mux
}

// session is one connection's dialogue.
type session struct {
	catcher  *Catcher
	conn     *smtp.Conn
	from     string
	to       []string
	loggedIn bool
}

// Reset implements smtp.Session.
func (s *session) Reset() { s.from, s.to = "", nil }

// Logout implements smtp.Session.
func (s *session) Logout() error { return nil }

// AuthMechanisms implements smtp.AuthSession.
func (s *session) AuthMechanisms() []string {
	if s.catcher.config.Username == "" {
		return nil
	}
	return []string{sasl.Plain}
}

// Auth implements smtp.AuthSession.
func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, username, password string) error {
		config := s.catcher.config
		if subtle.ConstantTimeCompare([]byte(username), []byte(config.Username))&
			subtle.ConstantTimeCompare([]byte(password), []byte(config.Password)) != 1 || config.Username == "" {
			return smtp.ErrAuthFailed
		}
		s.loggedIn = true
		return nil
	}), nil
}

// Mail implements smtp.Session.
func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	if s.catcher.config.Username != "" && !s.loggedIn {
		return smtp.ErrAuthRequired
	}
	s.from = from
	return nil
}

// Rcpt implements smtp.Session.
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	faults := s.catcher.faults.get()
	switch {
	case matches(faults.Reject, to):
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such mailbox"}
	case matches(faults.Defer, to):
		return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 2, 1}, Message: "mailbox is busy, try again later"}
	}
	s.to = append(s.to, to)
	return nil
}

// Data implements smtp.Session.
func (s *session) Data(r io.Reader) error {
	content, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	m, err := parse(content)
	if err != nil {
		return &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 6, 0}, Message: "malformed message"}
	}
	m.From, m.To = s.from, s.to
	copies, err := s.catcher.ledger.take(m)
	if err != nil {
		return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "cannot store the message"}
	}
	faults := s.catcher.faults.get()
	if faults.SlowMS > 0 {
		timer := time.NewTimer(time.Duration(faults.SlowMS) * time.Millisecond)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-s.catcher.stop:
		}
	}
	if fault.Hits(faults.DropPercent, faults.Seed, "drop", m.MessageID, copies) {
		_ = s.conn.Conn().Close() // dropping it is the purpose
	}
	return nil
}

// listener keeps count of its connections, so that they can be closed, and lets none speak while the gate is shut.
type listener struct {
	net.Listener
	gate *fault.Gate
	stop <-chan struct{}

	mu     sync.Mutex
	closed bool
	open   map[*conn]struct{}
}

type conn struct {
	net.Conn
	from *listener
	gone chan struct{} // closed by Close
	once func() error
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: accepted, from: l, gone: make(chan struct{})}
	c.once = sync.OnceValue(func() error {
		close(c.gone)
		l.mu.Lock()
		delete(l.open, c)
		l.mu.Unlock()
		return c.Conn.Close()
	})
	l.mu.Lock()
	l.open[c] = struct{}{}
	closed := l.closed
	l.mu.Unlock()
	if closed {
		return c, c.Close()
	}
	return c, nil
}

// closeAll closes every connection, and every one that is still accepted.
func (l *listener) closeAll() {
	l.mu.Lock()
	l.closed = true
	open := make([]*conn, 0, len(l.open))
	for c := range l.open {
		open = append(open, c)
	}
	l.mu.Unlock()
	for _, c := range open {
		_ = c.Close() // nothing can be lost through it
	}
}

// Write waits until the gate is open.
func (c *conn) Write(p []byte) (int, error) {
	select {
	case <-c.from.gate.Opened():
	case <-c.gone:
		return 0, net.ErrClosed
	case <-c.from.stop:
		return 0, net.ErrClosed
	}
	// The deadline was set before the wait, and must not be used up by it.
	if err := c.Conn.SetWriteDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// Close implements net.Conn. Closing again reports what the first time did.
func (c *conn) Close() error { return c.once() }
