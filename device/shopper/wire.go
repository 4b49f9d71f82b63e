package shopper

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// The bodies of the kiosk's interface, as far as a shopper reads them.
type (
	money struct {
		Amount   int64  `json:"amount"`
		Currency string `json:"currency"`
	}
	product struct {
		Product string `json:"product"`
		Name    string `json:"name"`
		Price   money  `json:"price"`
		Stock   string `json:"stock"`
	}
	quote struct {
		Price        money `json:"price"`
		PriceVersion int64 `json:"priceVersion"`
	}
	basket struct {
		Basket        string `json:"basket"`
		PricesChanged bool   `json:"pricesChanged"`
		Items         []struct {
			Product  string `json:"product"`
			Quantity int64  `json:"quantity"`
			Changed  bool   `json:"changed"`
			Sold     bool   `json:"sold"`
			Now      quote  `json:"now"`
		} `json:"items"`
	}
	order struct {
		Order  string `json:"order"`
		Status string `json:"status"`
		Total  money  `json:"total"`
		Paid   bool   `json:"paid"`
	}
)

// answerLimit bounds an answer, in bytes.
const answerLimit = 4 << 20

// refused is a problem document.
type refused struct {
	Status int    `json:"status"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
	later  bool   // Retry-After says that it may be otherwise in a moment
}

func (r *refused) Error() string { return fmt.Sprintf("%d %s: %s", r.Status, r.Code, r.Detail) }

func codeOf(err error) string {
	if r, ok := errors.AsType[*refused](err); ok {
		return r.Code
	}
	return ""
}

// client speaks to the kiosk.
type client struct {
	http *http.Client
	base string
}

func newClient(server, caFile string) (*client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 64
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return nil, err
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", caFile)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	return &client{&http.Client{Transport: transport}, strings.TrimSuffix(server, "/") + "/kiosk/v1"}, nil
}

// call makes one request and reads its answer into a value.
func (c *client) call(ctx context.Context, token, key, method, path string, body, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	r, err := c.request(ctx, token, method, path, body)
	if err != nil {
		return err
	}
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // it was read as far as it matters
	data, err := io.ReadAll(io.LimitReader(resp.Body, answerLimit))
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return problemOf(resp, data)
	}
	if into == nil || len(data) == 0 {
		return nil
	}
	return json.Unmarshal(data, into)
}

func (c *client) request(ctx context.Context, token, method, path string, body any) (*http.Request, error) {
	var data []byte
	if body != nil {
		var err error
		if data, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Authorization", "Bearer "+token)
	return r, nil
}

func problemOf(resp *http.Response, data []byte) error {
	r := &refused{Status: resp.StatusCode}
	if json.Unmarshal(data, r) != nil || r.Status == 0 {
		r.Status, r.Code, r.Detail = resp.StatusCode, "no_problem_document", "the answer is none"
	}
	r.later = resp.Header.Get("Retry-After") != ""
	return r
}

// again reports whether a request may be answered when it is made once more, without anybody doing something about it.
func again(err error) bool {
	r, ok := errors.AsType[*refused](err)
	return !ok || r.later || r.Status == http.StatusTooManyRequests || r.Status == http.StatusServiceUnavailable
}

// follow calls see with each state of an order, until see says that it has seen enough or the stream ends. It returns the id of the last event, from
// which the next stream goes on.
func (c *client) follow(ctx context.Context, token, id, last string, see func(order) (enough bool, err error)) (string, bool, error) {
	r, err := c.request(ctx, token, http.MethodGet, "/orders/"+id+"/events", nil)
	if err != nil {
		return last, false, err
	}
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return last, false, err
	}
	defer func() { _ = resp.Body.Close() }() // it is cut
	if resp.StatusCode != http.StatusOK {
		data, _ := io.ReadAll(io.LimitReader(resp.Body, answerLimit)) // what did not arrive is no problem document
		return last, false, problemOf(resp, data)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, answerLimit)
	event := ""
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "id":
			event = value
		case "data":
			var o order
			if err := json.Unmarshal([]byte(value), &o); err != nil {
				return last, false, err
			}
			last = event
			if enough, err := see(o); enough || err != nil {
				return last, enough, err
			}
		}
	}
	return last, false, lines.Err()
}
