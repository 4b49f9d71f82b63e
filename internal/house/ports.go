package house

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"example.org/souk/gateway/callback"
	"example.org/souk/mall/baskets"
	"example.org/souk/mall/depot"
	"example.org/souk/mall/orders"
	"example.org/souk/mall/payments"
	"example.org/souk/provider/mail"
	"example.org/souk/provider/payment"
	"example.org/souk/provider/sms"
)

// PaymentConfig says who moves the money: the provider at URL, or by default the
// stand-in, which is this same program run once more as a process of its own.
type PaymentConfig struct {
	URL     string
	KeyFile string // holds the API key
	// CallbackSecretFile holds the secret with which the provider at URL signs its
	// callbacks; without one the house takes none. The stand-in has one of its own.
	CallbackSecretFile string
	// Program is the command that runs this program; its arguments follow. Default
	// the running executable.
	Program []string
}

// MailConfig says who sends mail: the SMTP server, or by default a mailbox file in
// the data directory.
type MailConfig struct {
	SMTP         string // host:port
	From         string
	Username     string
	PasswordFile string
	Plain        bool // without TLS; loopback only
}

// SMSConfig says who sends text messages: the provider at URL, or by default a file in the data directory.
type SMSConfig struct {
	URL     string
	KeyFile string // holds the API key
}

// standIn is the stand-in for a provider as a child process with a ledger of its own.
type standIn struct {
	name    string
	program []string
	args    []string
	cmd     *exec.Cmd
	lines   *bufio.Scanner
}

// standInMark is in the environment of stand-ins. A program that is told to be one and begins a mall instead, as a test's does, would begin
// stand-ins of its own, and these again.
const standInMark = "SOUK_STAND_IN"

// begin starts the child and returns the address that it listens on.
func (s *standIn) begin() (string, error) {
	if err := s.start(); err != nil {
		return "", err
	}
	return s.address()
}

// start starts the child. It is on its way while other things are done; address waits for it.
func (s *standIn) start() error {
	argv := append(append([]string{}, s.program...), s.args...)
	s.cmd = exec.Command(argv[0], argv[1:]...) //nolint:gosec // this very program, or the one that the configuration names
	s.cmd.Stderr = os.Stderr
	s.cmd.Env = append(os.Environ(), standInMark+"=1")
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := s.cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	s.lines = bufio.NewScanner(out)
	return nil
}

// address returns what a child that was started listens on.
func (s *standIn) address() (string, error) {
	if !s.lines.Scan() {
		return "", errors.Join(errors.New(s.name+": it ended at once"), s.cmd.Wait())
	}
	address, found := strings.CutPrefix(s.lines.Text(), "listening on ")
	if !found {
		return "", fmt.Errorf("%s: %q", s.name, s.lines.Text())
	}
	return address, nil
}

func (s *standIn) stop() {
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	done := make(chan struct{})
	go func() { _ = s.cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(3 * time.Second):
		_ = s.cmd.Process.Kill()
		<-done
	}
	s.cmd = nil
}

// ports fills what services need from outside.
func (h *House) ports(ctx context.Context) (p Ports, err error) {
	p = Ports{
		Intake: h.Several(), Currency: h.cfg.Currency, Baskets: baskets.Config{Hold: h.cfg.BasketHold}, Depot: depot.Config{Lease: h.cfg.RobotLease},
		Payments: payments.Config{Hold: h.cfg.PaymentHold},
		Orders:   orders.Config{Patience: h.cfg.OrderPatience, StepPatience: h.cfg.StepPatience, Collection: h.cfg.Collection},
	}
	if p.Devices, err = h.openDevices(ctx); err != nil {
		return p, err
	}
	if p.Partners, err = h.openPartners(ctx); err != nil {
		return p, err
	}
	if err := h.openLogistics(ctx, &p); err != nil {
		return p, err
	}
	url, keyFile, secretFile := h.cfg.Payment.URL, h.cfg.Payment.KeyFile, h.cfg.Payment.CallbackSecretFile
	switch {
	case h.cfg.Quiet || !h.runs("payments"):
		url, secretFile = "", "" // nobody can call
	case url == "" && secretFile != "":
		return p, errors.New("the payment stand-in has a callback secret of its own: name one for a provider of yours only")
	}
	if url == "" && !h.cfg.Quiet && h.runs("payments") {
		dir := filepath.Join(h.cfg.Data, "payment-stand-in")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return p, err
		}
		keyFile, secretFile = filepath.Join(dir, "api-key"), filepath.Join(dir, "callback-secret")
		program, err := h.program()
		if err != nil {
			return p, err
		}
		h.standIn = &standIn{name: "payment stand-in", program: program, args: []string{
			"provider", "payment", "--listen", "127.0.0.1:0",
			"--ledger", filepath.Join(dir, "ledger.jsonl"), "--api-key-file", keyFile,
			"--callback-url", h.fromHere() + callback.PaymentPath, "--callback-secret-file", secretFile,
		}}
		if file := h.Certificate(); file != "" {
			h.standIn.args = append(h.standIn.args, "--callback-cert", file)
		}
		if url, err = h.standIn.begin(); err != nil {
			return p, err
		}
	}
	if url != "" {
		key, err := os.ReadFile(keyFile)
		if err != nil {
			return p, fmt.Errorf("API key of the payment provider: %w", err)
		}
		client, err := payment.New(payment.Config{BaseURL: url, APIKey: strings.TrimSpace(string(key))})
		if err != nil {
			return p, err
		}
		p.Provider = provider{client}
	}
	if secretFile != "" {
		if h.reports, err = openReports(secretFile, h.Reader("payments")); err != nil {
			return p, err
		}
	}
	return p, h.mail(&p)
}

// mail opens what sends mail.
func (h *House) mail(p *Ports) error {
	c := h.cfg.Mail
	if h.cfg.Quiet || !h.runs("notifications") {
		return nil
	}
	if c.From == "" {
		c.From = "souk <shop@souk.example>"
	}
	texts, err := h.texts()
	if err != nil {
		return err
	}
	if c.SMTP == "" {
		box, err := mail.OpenMailbox(mail.MailboxConfig{Path: filepath.Join(h.cfg.Data, "mail.mbox"), From: c.From})
		if err != nil {
			return err
		}
		h.mailer = box
		p.Sender = post{h.Keys, h.Reader("notifications"), box, texts}
		return nil
	}
	config := mail.SenderConfig{Address: c.SMTP, From: c.From, Username: c.Username, PasswordFile: c.PasswordFile}
	if c.Plain {
		config.TLS = mail.NoTLS
	}
	sender, err := mail.NewSender(config)
	if err != nil {
		return err
	}
	p.Sender = post{h.Keys, h.Reader("notifications"), sender, texts}
	return nil
}

// texter sends text messages.
type texter interface {
	Send(ctx context.Context, m sms.Message) error
}

// texts opens what sends text messages.
func (h *House) texts() (texter, error) {
	c := h.cfg.SMS
	if c.URL == "" {
		return sms.Outbox{Path: filepath.Join(h.cfg.Data, "sms.jsonl")}, nil
	}
	key, err := os.ReadFile(c.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("API key of the text message provider: %w", err)
	}
	return sms.NewSender(sms.SenderConfig{URL: c.URL, APIKey: strings.TrimSpace(string(key))})
}
