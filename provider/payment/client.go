package payment

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"example.org/souk/mall"
)

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 64 << 10

// Config says which provider a Client talks to.
type Config struct {
	// BaseURL is the address before /v1, such as https://pay.example.org. Plain http is accepted for a loopback address
	// only. Required.
	BaseURL string
	// APIKey authenticates the shop to the provider. Required.
	APIKey string
	// Timeout limits one call from dialling to the last byte of the answer. Default 10 s. A shorter deadline of the
	// call's context wins.
	Timeout time.Duration
}

// Client calls a payment provider. It is safe for concurrent use and keeps connections open between calls.
type Client struct {
	base    string
	apiKey  string
	timeout time.Duration
	http    *http.Client
}

// New returns a client for the provider that config names. It connects on the first call.
func New(config Config) (*Client, error) {
	base, err := url.Parse(config.BaseURL)
	switch {
	case err != nil:
		return nil, fmt.Errorf("payment provider: address: %w", err)
	case base.Host == "" || base.User != nil || base.RawQuery != "" || base.Fragment != "":
		return nil, errors.New("payment provider: the address must be of the form https://host[:port][/path]")
	case base.Scheme != "https" && (base.Scheme != "http" || !loopback(base.Hostname())):
		return nil, errors.New("payment provider: the address must be https, or http to a loopback address")
	case config.APIKey == "" || strings.ContainsFunc(config.APIKey, unprintable):
		return nil, errors.New("payment provider: an API key of printable ASCII characters is required")
	case config.Timeout < 0:
		return nil, errors.New("payment provider: the time limit is negative")
	}
	timeout := config.Timeout
	if timeout == 0 {
		timeout = 10 * time.Second
	}
	return &Client{
		base:    strings.TrimSuffix(base.String(), "/") + "/v1",
		apiKey:  config.APIKey,
		timeout: timeout,
		http: &http.Client{
			Transport: &http.Transport{
				Proxy:                  http.ProxyFromEnvironment,
				DialContext:            (&net.Dialer{Timeout: timeout}).DialContext,
				ForceAttemptHTTP2:      true,
				TLSHandshakeTimeout:    timeout,
				ResponseHeaderTimeout:  timeout,
				MaxResponseHeaderBytes: maxAnswer,
				MaxIdleConnsPerHost:    16,
				IdleConnTimeout:        30 * time.Second,
			},
			// A redirect would carry the key and the API key to an address that nobody configured.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

func unprintable(r rune) bool { return r <= ' ' || r > '~' }

// Close gives up idle connections. The client stays usable.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// State is what a call did to a payment.
type State string

// The states of a Result.
const (
	Authorized State = "authorized"
	Declined   State = "declined"
	Voided     State = "voided"
	Captured   State = "captured"
	Refunded   State = "refunded"
)

// Result is the provider's answer to one call. A repeat with the same key gets the same one.
type Result struct {
	State     State      `json:"state"`
	Reference string     `json:"reference"` // the provider's own name for what it did
	Reason    string     `json:"reason"`    // why it was declined; empty otherwise
	Amount    mall.Money `json:"amount"`    // what this call authorized, voided, captured or refunded
	At        time.Time  `json:"at"`        // when, by the provider's clock
}

// Authorization asks for an amount to be set aside.
type Authorization struct {
	Payment  string     `json:"payment"`  // the shop's id of the payment, [A-Za-z0-9_-]{1,64}
	Customer string     `json:"customer"` // the shop's id of the customer, likewise
	Amount   mall.Money `json:"amount"`   // more than zero
}

// Authorize sets an amount aside. The result is Authorized or Declined.
func (c *Client) Authorize(ctx context.Context, key string, a Authorization) (Result, error) {
	if !id.MatchString(a.Customer) {
		return Result{}, invalid("authorize", key, "customer id")
	}
	return c.do(ctx, call{op: "authorize", key: key, payment: a.Payment, amount: a.Amount, body: a}, Authorized, Declined)
}

// Void gives back everything that is set aside for payment, none of which may have been captured. The result's amount
// is what was given back.
func (c *Client) Void(ctx context.Context, key, payment string) (Result, error) {
	return c.do(ctx, call{op: "void", key: key, payment: payment, body: struct{}{}}, Voided)
}

// Capture takes amount out of what is set aside for payment. Several captures may share one authorization.
func (c *Client) Capture(ctx context.Context, key, payment string, amount mall.Money) (Result, error) {
	return c.do(ctx, call{op: "capture", key: key, payment: payment, amount: amount, body: amountOf{amount}}, Captured)
}

// Refund returns amount out of what was captured of payment.
func (c *Client) Refund(ctx context.Context, key, payment string, amount mall.Money) (Result, error) {
	return c.do(ctx, call{op: "refund", key: key, payment: payment, amount: amount, body: amountOf{amount}}, Refunded)
}

// Ask looks up what happened under key, however old it is, and changes nothing. It returns the result that the call
// with that key got, or false when the provider has never executed one. False is no promise that it never will: a call
// can still be on its way, so what must not happen any more has to be undone under a key of its own. A call that was
// refused is found too: then the error is its refusal, with class Refused.
func (c *Client) Ask(ctx context.Context, key string) (Result, bool, error) {
	if !keyPattern.MatchString(key) {
		return Result{}, false, invalid("ask", key, "key")
	}
	result, err := c.send(ctx, call{op: "ask", key: key}, http.MethodGet, c.base+"/keys/"+url.PathEscape(key), nil)
	if err == nil {
		return result.Result, true, nil
	}
	if CodeOf(err) == codeKeyUnknown {
		return Result{}, false, nil
	}
	return Result{}, result.State == refusedState, err
}

var (
	id         = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	keyPattern = regexp.MustCompile(`^[A-Za-z0-9_.:-]{1,200}$`)
)

type amountOf struct {
	Amount mall.Money `json:"amount"`
}

type call struct {
	op, key, payment string
	amount           mall.Money // zero for a void
	body             any
}

// answer is everything that the provider's answers can hold.
type answer struct {
	Result
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

// refusedState is the state of a found key whose call was refused.
const refusedState State = "refused"

func invalid(op, key, what string) error {
	return &Error{Class: Refused, Op: op, Key: key, Code: CodeInvalid, Err: errors.New("not sent: bad " + what)}
}

func (c *Client) do(ctx context.Context, call call, expected ...State) (Result, error) {
	switch {
	case !keyPattern.MatchString(call.key):
		return Result{}, invalid(call.op, call.key, "key")
	case !id.MatchString(call.payment):
		return Result{}, invalid(call.op, call.key, "payment id")
	case call.op != "void" && (call.amount.Amount <= 0 || call.amount.Currency == ""):
		return Result{}, invalid(call.op, call.key, "amount")
	}
	body, err := json.Marshal(call.body)
	if err != nil {
		return Result{}, &Error{Class: Refused, Op: call.op, Key: call.key, Code: CodeInvalid, Err: err}
	}
	got, err := c.send(ctx, call, http.MethodPost, c.base+"/payments/"+call.payment+"/"+call.op, body)
	if err != nil {
		return Result{}, err
	}
	for _, state := range expected {
		if got.State == state && (call.op == "void" || got.Amount == call.amount) {
			return got.Result, nil
		}
	}
	return Result{}, &Error{
		Class: Unknown, Op: call.op, Key: call.key, Status: http.StatusOK, Code: codeBadAnswer,
		Err: fmt.Errorf("the answer says %q %d %s", got.State, got.Amount.Amount, got.Amount.Currency),
	}
}

// send makes one request and sorts what comes back. The answer is returned beside an error where there was one to read.
func (c *Client) send(ctx context.Context, call call, method, address string, body []byte) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	// Without a connection nothing can have been sent; with one, the provider may have seen it all.
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	})
	request, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return answer{}, &Error{Class: Unavailable, Op: call.op, Key: call.key, Err: err}
	}
	// One call is one transmission: net/http would otherwise send a keyed request again by itself on a lost connection,
	// and when to repeat is the caller's decision.
	request.GetBody = nil
	request.Header.Set("Authorization", "Bearer "+c.apiKey)
	request.Header.Set("Accept", "application/json")
	if method == http.MethodPost {
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Idempotency-Key", call.key)
	}
	response, err := c.http.Do(request)
	if err != nil {
		class := Unavailable
		if connected.Load() {
			class = Unknown
		}
		return answer{}, &Error{Class: class, Op: call.op, Key: call.key, Err: err}
	}
	got, readErr := read(response)
	failure := &Error{Op: call.op, Key: call.key, Status: response.StatusCode, Code: got.Code}
	switch {
	case response.StatusCode == http.StatusOK && readErr != nil:
		failure.Class, failure.Code, failure.Err = Unknown, codeBadAnswer, readErr
	case response.StatusCode == http.StatusOK && got.State == refusedState:
		failure.Class, failure.Err = Refused, detail(got)
	case response.StatusCode == http.StatusOK:
		return got, nil
	default:
		failure.Class, failure.Err = classOfStatus(response.StatusCode, got.Code), detail(got)
	}
	return got, failure
}

// classOfStatus sorts every status but 200. A few of the 4xx speak of the caller or the moment rather than of the
// payment: the provider turned the call away unread, and a rotated API key must not end every payment for good.
func classOfStatus(status int, code string) Class {
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusProxyAuthRequired,
		status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == http.StatusTooManyRequests:
		return Unavailable
	case status == http.StatusConflict && code == codeInFlight:
		return Unknown
	case status >= 400 && status < 500 && code != "":
		return Refused
	default:
		// A 4xx without a code is not from the provider itself but from something in front of it, or it is another
		// server altogether: it says nothing about the payment.
		return Unknown
	}
}

func detail(got answer) error {
	if got.Detail == "" {
		return nil
	}
	return errors.New(got.Detail)
}

func read(response *http.Response) (answer, error) {
	content, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	// Nothing was written through it, so closing a body cannot lose anything.
	_ = response.Body.Close()
	if err != nil {
		return answer{}, fmt.Errorf("read the answer: %w", err)
	}
	if len(content) > maxAnswer {
		return answer{}, fmt.Errorf("the answer is longer than %d bytes", maxAnswer)
	}
	kind, _, err := mime.ParseMediaType(response.Header.Get("Content-Type"))
	if err != nil || (kind != "application/json" && kind != "application/problem+json") {
		return answer{}, errors.New("the answer is not JSON")
	}
	var got answer
	if err := json.Unmarshal(content, &got); err != nil {
		return answer{}, fmt.Errorf("read the answer: %w", err)
	}
	return got, nil
}
