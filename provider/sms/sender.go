package sms

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"
)

// Message is a text message. Its errors name the ID and neither number nor text.
type Message struct {
	ID   string `json:"id"`   // of the caller's: the same in every attempt
	To   string `json:"to"`   // a phone number
	Text string `json:"text"` // at most MaxText runes
}

// MaxText is the greatest number of runes of a text.
const MaxText = 480

func (m Message) check() error {
	switch {
	case m.ID == "":
		return errors.New("the message has no id")
	case strings.Trim(m.To, "+0123456789 ()-") != "" || !strings.ContainsAny(m.To, "0123456789"):
		return errors.New("it is for no phone number")
	case m.Text == "" || !utf8.ValidString(m.Text) || utf8.RuneCountInString(m.Text) > MaxText:
		return fmt.Errorf("its text must have 1 to %d characters", MaxText)
	}
	return nil
}

// Class says what a failed sending means for the caller.
type Class string

const (
	// Unavailable: the provider did not get the message. It is nothing about the message; it may be sent later.
	Unavailable Class = "unavailable"
	// Transient: the provider answered that it cannot take it now. It may be sent later.
	Transient Class = "transient"
	// Unknown: there was no answer. The message may have been sent; send it again with the same ID.
	Unknown Class = "unknown"
	// Permanent: the provider, or this package, refuses this message for good.
	Permanent Class = "permanent"
)

// Error is the error of every failed sending.
type Error struct {
	Class Class
	ID    string // the message's
	Code  int    // the HTTP status, 0 when there was none
	Err   error
}

// Error implements error. It names the message but not whom it is for.
func (e *Error) Error() string {
	return fmt.Sprintf("send text message %q: %s (status %d): %v", e.ID, e.Class, e.Code, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ClassOf returns the class that err carries. An error from elsewhere is Unknown, the class that promises least; nil has none.
func ClassOf(err error) Class {
	if err == nil {
		return ""
	}
	if failure, ok := errors.AsType[*Error](err); ok {
		return failure.Class
	}
	return Unknown
}

// SenderConfig says which provider a Sender hands messages to.
type SenderConfig struct {
	// URL is the address before /v1: https, or http to a loopback address. Required.
	URL string
	// APIKey authenticates the shop. Required.
	APIKey string
	// Timeout limits one sending. Default 10 s.
	Timeout time.Duration
}

// Sender hands messages to a provider. It is safe for concurrent use.
type Sender struct {
	url, key string
	client   *http.Client
}

// NewSender returns a sender. It connects with the first message.
func NewSender(c SenderConfig) (*Sender, error) {
	u, err := url.Parse(c.URL)
	switch {
	case err != nil:
		return nil, fmt.Errorf("text message provider: %w", err)
	case u.Host == "" || u.User != nil || u.RawQuery != "":
		return nil, errors.New("text message provider: the address must be of the form https://host[:port][/path]")
	case u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())):
		return nil, errors.New("text message provider: the address must be https, or http to a loopback address")
	case c.APIKey == "" || strings.ContainsFunc(c.APIKey, func(r rune) bool { return r <= ' ' || r > '~' }):
		return nil, errors.New("text message provider: an API key of printable ASCII characters is required")
	}
	if c.Timeout <= 0 {
		c.Timeout = 10 * time.Second
	}
	refuse := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // the key is for nobody else
	return &Sender{strings.TrimSuffix(c.URL, "/") + "/v1/messages", c.APIKey, &http.Client{Timeout: c.Timeout, CheckRedirect: refuse}}, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Send hands a message over and returns once the provider has taken it. Its errors are of type *Error.
func (s *Sender) Send(ctx context.Context, m Message) error {
	fail := func(class Class, code int, err error) error { return &Error{class, m.ID, code, err} }
	if err := m.check(); err != nil {
		return fail(Permanent, 0, err)
	}
	body, err := json.Marshal(m)
	if err != nil {
		return fail(Permanent, 0, err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return fail(Permanent, 0, err)
	}
	request.Header.Set("Authorization", "Bearer "+s.key)
	request.Header.Set("Content-Type", "application/json")
	response, err := s.client.Do(request)
	if err != nil {
		if dial, ok := errors.AsType[*net.OpError](err); ok && dial.Op == "dial" {
			return fail(Unavailable, 0, err)
		}
		return fail(Unknown, 0, err)
	}
	defer response.Body.Close()
	_, _ = io.CopyN(io.Discard, response.Body, 64<<10) // for the next message on this connection; what it says is of no use
	code := response.StatusCode
	switch {
	case code >= 200 && code < 300:
		return nil
	case code == http.StatusUnauthorized || code == http.StatusForbidden || code >= 300 && code < 400:
		return fail(Unavailable, code, errors.New("the provider does not know the shop"))
	case code == http.StatusRequestTimeout || code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable:
		return fail(Transient, code, errors.New("the provider cannot take it now"))
	case code >= 500:
		return fail(Unknown, code, errors.New("the provider failed"))
	}
	return fail(Permanent, code, errors.New("the provider refuses it"))
}
