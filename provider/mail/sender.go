package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"os"
	"strconv"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"
)

// TLS says how a connection is encrypted.
type TLS string

// The ways to connect.
const (
	STARTTLS TLS = "starttls" // begin in the clear and refuse to go on without TLS; the default
	Implicit TLS = "implicit" // TLS from the first byte, mostly port 465
	NoTLS    TLS = "none"     // in the clear, to a loopback address only
)

// Auth says how the sender logs in.
type Auth string

// The ways to log in.
const (
	Plain       Auth = "plain" // the default
	Login       Auth = "login"
	CRAMMD5     Auth = "cram-md5"
	SCRAMSHA256 Auth = "scram-sha-256"
)

// SenderConfig says which server a Sender hands messages to.
type SenderConfig struct {
	// Address is the server's host:port. Required.
	Address string
	// From is the sender's address, "Shop <shop@example.org>". Required.
	From string
	// TLS is the way to connect. Default STARTTLS.
	TLS TLS
	// RootCAs are the authorities that may vouch for the server. Default: the system's.
	RootCAs *x509.CertPool
	// Username logs in with the password in PasswordFile, by Auth. Default: no login. The file is read anew for every
	// connection, so a changed password needs no restart.
	Username     string
	PasswordFile string
	Auth         Auth
	// Timeout limits one sending from dialling to the server's last answer. Default 30 s. A shorter deadline of the
	// sending's context wins.
	Timeout time.Duration
	// Now is the clock for the Date header. Default time.Now.
	Now func() time.Time
}

// Sender hands messages to an SMTP server, one connection a message. It is safe for concurrent use.
type Sender struct {
	origin
	config SenderConfig
	host   string
	port   int
	auth   gomail.SMTPAuthType
}

// NewSender returns a sender for the server that config names. It does not connect yet.
func NewSender(config SenderConfig) (*Sender, error) {
	host, service, err := net.SplitHostPort(config.Address)
	if err != nil {
		return nil, fmt.Errorf("mail server: %w", err)
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil || port == 0 || host == "" || strings.Contains(host, "/") {
		return nil, fmt.Errorf("mail server: %q is not host:port", config.Address)
	}
	if config.TLS == "" {
		config.TLS = STARTTLS
	}
	if config.Timeout == 0 {
		config.Timeout = 30 * time.Second
	}
	if config.Auth == "" {
		config.Auth = Plain
	}
	auth := map[Auth]gomail.SMTPAuthType{
		Plain: gomail.SMTPAuthPlain, Login: gomail.SMTPAuthLogin,
		CRAMMD5: gomail.SMTPAuthCramMD5, SCRAMSHA256: gomail.SMTPAuthSCRAMSHA256,
	}[config.Auth]
	switch {
	case config.TLS != STARTTLS && config.TLS != Implicit && config.TLS != NoTLS:
		return nil, fmt.Errorf("mail server: unknown TLS setting %q", config.TLS)
	case config.TLS == NoTLS && host != "localhost" && !isLoopback(net.ParseIP(host)):
		return nil, errors.New("mail server: without TLS only a loopback address is accepted")
	case auth == "":
		return nil, fmt.Errorf("mail server: unknown way to log in %q", config.Auth)
	case (config.Username == "") != (config.PasswordFile == ""):
		return nil, errors.New("mail server: a user name and a password file belong together")
	case config.Timeout < 0:
		return nil, errors.New("mail server: the time limit is negative")
	}
	from, err := newOrigin(config.From, config.Now)
	if err != nil {
		return nil, err
	}
	s := &Sender{origin: from, config: config, host: host, port: int(port), auth: auth}
	if _, err := s.password(); err != nil {
		return nil, err
	}
	return s, nil
}

func isLoopback(ip net.IP) bool { return ip != nil && ip.IsLoopback() }

func (s *Sender) password() (string, error) {
	if s.config.PasswordFile == "" {
		return "", nil
	}
	content, err := os.ReadFile(s.config.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("mail server: password: %w", err)
	}
	return strings.TrimRight(string(content), "\r\n"), nil
}

// Send hands m to the server. A nil error means that the server has taken it, which says nothing about its arrival.
func (s *Sender) Send(ctx context.Context, m Message) error {
	message, err := s.compose(m)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	unsent := func(err error) error {
		code := 0
		if reply, ok := errors.AsType[*textproto.Error](err); ok {
			// A reply at this point is about us (too many connections, wrong password), not about the message.
			code = reply.Code
		}
		return &Error{Class: Unavailable, ID: m.ID, Code: code, Err: err}
	}
	// go-mail forgets its connection when the greeting, TLS or the login fails, and cannot be interrupted while it waits
	// for a reply: so the connection is kept here, and closed when this returns or ctx ends.
	var connection net.Conn
	dial := func(dialCtx context.Context, network, address string) (net.Conn, error) {
		var err error
		if connection, err = s.dial(dialCtx, network, address); err != nil {
			return nil, err
		}
		context.AfterFunc(ctx, func() { _ = connection.Close() }) // nothing is written through it any more
		return connection, nil
	}
	client, err := s.client(dial)
	if err != nil {
		return unsent(err)
	}
	session, err := client.DialToSMTPClientWithContext(ctx)
	if err != nil {
		return unsent(err)
	}
	err = client.SendWithSMTPClient(session, message)
	delivered := err == nil || message.IsDelivered()
	class, code := classify(err)
	if delivered || code != 0 {
		// The server has spoken on the message. Whether it hears our goodbye changes nothing.
		_ = connection.SetDeadline(time.Now().Add(time.Second))
		_ = client.CloseWithSMTPClient(session)
	}
	if delivered {
		return nil
	}
	return &Error{Class: class, ID: m.ID, Code: code, Err: cause(err, class)}
}

func (s *Sender) client(dial gomail.DialContextFunc) (*gomail.Client, error) {
	options := []gomail.Option{
		gomail.WithPort(s.port), gomail.WithTimeout(s.config.Timeout), gomail.WithDialContextFunc(dial),
		gomail.WithoutNoop(), gomail.WithoutRset(),
		gomail.WithTLSConfig(s.tls()),
	}
	if s.config.TLS == STARTTLS {
		options = append(options, gomail.WithTLSPolicy(gomail.TLSMandatory))
	} else {
		options = append(options, gomail.WithTLSPolicy(gomail.NoTLS)) // none to negotiate: dial has done it, or must not
	}
	if s.config.Username != "" {
		password, err := s.password()
		if err != nil {
			return nil, err
		}
		options = append(options, gomail.WithSMTPAuth(s.auth), gomail.WithUsername(s.config.Username), gomail.WithPassword(password))
	}
	return gomail.NewClient(s.host, options...)
}

func (s *Sender) tls() *tls.Config {
	return &tls.Config{ServerName: s.host, RootCAs: s.config.RootCAs, MinVersion: tls.VersionTLS12}
}

func (s *Sender) dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := &net.Dialer{}
	if s.config.TLS == Implicit {
		return (&tls.Dialer{NetDialer: dialer, Config: s.tls()}).DialContext(ctx, network, address)
	}
	connection, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	// A name such as localhost may lead anywhere; what counts is where the connection went.
	if remote, ok := connection.RemoteAddr().(*net.TCPAddr); s.config.TLS == NoTLS && (!ok || !remote.IP.IsLoopback()) {
		return nil, errors.Join(errors.New("without TLS only a loopback address is accepted"), connection.Close())
	}
	return connection, nil
}

// classify sorts the errors of the mail transaction. A reply decides by its code; without one it matters how far the
// transaction got: only once the message is being transmitted can the server have taken it.
func classify(err error) (Class, int) {
	failure, ok := errors.AsType[*gomail.SendError](err)
	if !ok {
		return Unknown, 0
	}
	code := failure.ErrorCode()
	switch {
	case code >= 500:
		return Permanent, code
	case code >= 400:
		return Transient, code
	}
	switch failure.Reason {
	case gomail.ErrGetSender, gomail.ErrGetRcpts:
		return Permanent, 0
	case gomail.ErrConnCheck, gomail.ErrSMTPMailFrom, gomail.ErrSMTPRcptTo, gomail.ErrSMTPData:
		return Unavailable, 0
	default:
		return Unknown, 0
	}
}

// cause is what go-mail has to say, without the receiver's address, which it adds to its text and servers repeat in
// their replies.
func cause(err error, class Class) error {
	failure, ok := errors.AsType[*gomail.SendError](err)
	if !ok {
		return err
	}
	text := failure.Reason.String()
	if status := failure.EnhancedStatusCode(); status != "" {
		text += ": " + status
	} else if class == Unknown || class == Unavailable {
		text += ": no answer"
	}
	return errors.New(text)
}
