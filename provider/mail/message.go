package mail

import (
	"crypto/sha256"
	"errors"
	"fmt"
	netmail "net/mail"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	gomail "github.com/wneessen/go-mail"
)

// Limits of a message, in bytes. A header line must stay below 998.
const (
	maxID      = 250
	maxSubject = 500
	maxBody    = 1 << 20
)

// Message is one message to one person.
type Message struct {
	// ID makes the Message-ID and must be the same whenever the same message is sent again: "a.b" or "a.b@shop.example",
	// of letters, digits and !#$%&'*+/=?^_`{|}~.- only, 250 bytes at most. Without an @ the domain of the sender follows.
	ID string
	// To is one address, "ann@example.org" or "Ann <ann@example.org>".
	To string
	// Subject is one line, 500 bytes at most.
	Subject string
	// Text is the body. Required; with HTML it is what a reader without HTML sees. Both together 1 MiB at most.
	Text string
	// HTML is a second form of the body.
	HTML string
}

var idPattern = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*(@[A-Za-z0-9-]+(\\.[A-Za-z0-9-]+)*)?$")

// origin is whom messages come from.
type origin struct {
	address *netmail.Address
	domain  string
	now     func() time.Time
}

func newOrigin(from string, now func() time.Time) (origin, error) {
	address, err := parseAddress(from)
	if err != nil {
		return origin{}, fmt.Errorf("mail: sender address: %w", err)
	}
	if now == nil {
		now = time.Now
	}
	return origin{address, address.Address[strings.LastIndexByte(address.Address, '@')+1:], now}, nil
}

// parseAddress refuses what could begin another header or another SMTP command, whatever the parser makes of it.
func parseAddress(text string) (*netmail.Address, error) {
	if !oneLine(text) {
		return nil, errors.New("it holds control characters")
	}
	address, err := netmail.ParseAddress(text)
	if err != nil {
		return nil, err
	}
	if !oneLine(address.Address) || !oneLine(address.Name) || len(address.Address) > 254 || len(address.Name) > maxSubject {
		return nil, errors.New("it holds control characters or is too long")
	}
	return address, nil
}

func oneLine(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool {
		return unicode.IsControl(r) || r == '\u2028' || r == '\u2029'
	})
}

// compose checks m and makes it a message on the wire. Its errors have class Permanent.
func (o origin) compose(m Message) (*gomail.Msg, error) {
	to, err := parseAddress(m.To)
	switch {
	case len(m.ID) > maxID || !idPattern.MatchString(m.ID):
		err = errors.New("malformed message id")
	case err != nil:
		// The cause quotes the address; it is kept out of logs.
		err = errors.New("malformed address of the receiver")
	case !oneLine(m.Subject) || len(m.Subject) > maxSubject:
		err = fmt.Errorf("the subject must be one line of %d bytes at most", maxSubject)
	case m.Text == "" || len(m.Text)+len(m.HTML) > maxBody || !utf8.ValidString(m.Text) || !utf8.ValidString(m.HTML):
		err = fmt.Errorf("the body must be UTF-8 text of 1 to %d bytes", maxBody)
	}
	if err != nil {
		return nil, &Error{Class: Permanent, ID: m.ID, Err: err}
	}
	id := m.ID
	if !strings.Contains(id, "@") {
		id += "@" + o.domain
	}
	message := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	message.FromMailAddress(o.address)
	message.ToMailAddress(to)
	message.SetMessageIDWithValue(id)
	message.SetDateWithValue(o.now())
	message.Subject(m.Subject)
	message.SetGenHeader("Auto-Submitted", "auto-generated") // keeps out-of-office answers away (RFC 3834)
	message.SetBodyString(gomail.TypeTextPlain, m.Text)
	if m.HTML != "" {
		// Derived, so that a message sent again is the same but for its date; from the bodies too, so that no text can
		// hold the boundary it will be sent with. go-mail does not quote it: letters, digits and hyphens only.
		sum := sha256.Sum256([]byte(id + "\x00" + m.Text + "\x00" + m.HTML))
		message.SetBoundary(fmt.Sprintf("part-%x", sum[:16]))
		message.AddAlternativeString(gomail.TypeTextHTML, m.HTML)
	}
	return message, nil
}
