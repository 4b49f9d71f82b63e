package standin

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"example.org/souk/mall"
)

// caller reports executions to the shop's callback address. What waits is bounded: a callback that finds no room is
// dropped, which is no worse than what real providers do, and is counted.
type caller struct {
	url    string
	secret []byte
	now    func() time.Time
	client *http.Client
	queue  chan callback

	sent, failed atomic.Int64
}

type callback struct {
	id     string
	body   []byte
	copies int
}

const (
	callbackTries = 3
	callbackPause = 200 * time.Millisecond // before the second try; doubled before the third
)

func newCaller(config Config) (*caller, error) {
	transport := &http.Transport{IdleConnTimeout: 10 * time.Second}
	if config.CallbackCert != "" {
		data, err := os.ReadFile(config.CallbackCert)
		if err != nil {
			return nil, err
		}
		block, _ := pem.Decode(data)
		if block == nil {
			return nil, fmt.Errorf("%s holds no certificate", config.CallbackCert)
		}
		trusted, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", config.CallbackCert, err)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
		transport.TLSClientConfig.RootCAs.AddCert(trusted)
		if len(trusted.DNSNames) > 0 { // it is this very certificate that is trusted, under whichever address
			transport.TLSClientConfig.ServerName = trusted.DNSNames[0]
		}
	}
	return &caller{
		url: config.CallbackURL, secret: []byte(config.CallbackSecret), now: config.Now,
		client: &http.Client{Timeout: 5 * time.Second, Transport: transport},
		queue:  make(chan callback, 4096),
	}, nil
}

// report queues the callback for e.
func (c *caller) report(e Entry, copies int) error {
	if c.url == "" || copies == 0 {
		return nil
	}
	body, err := json.Marshal(struct {
		Key       string     `json:"key"`
		Payment   string     `json:"payment"`
		State     string     `json:"state"`
		Reference string     `json:"reference"`
		Reason    string     `json:"reason,omitempty"`
		Amount    mall.Money `json:"amount"`
		At        time.Time  `json:"at"`
	}{e.Key, e.Payment, e.State, e.Reference, e.Reason, e.Amount, e.At})
	if err != nil {
		return fmt.Errorf("callback: %w", err)
	}
	select {
	case c.queue <- callback{fmt.Sprintf("cb-%08d", e.Seq), body, copies}:
	default:
		c.failed.Add(int64(copies))
	}
	return nil
}

// run delivers callbacks until ctx ends. What still waits then is never sent.
func (c *caller) run(ctx context.Context) {
	defer c.client.CloseIdleConnections()
	for {
		select {
		case <-ctx.Done():
			return
		case next := <-c.queue:
			for range next.copies {
				if c.deliver(ctx, next) {
					c.sent.Add(1)
				} else {
					c.failed.Add(1)
				}
			}
		}
	}
}

func (c *caller) deliver(ctx context.Context, b callback) bool {
	pause := callbackPause
	for try := 1; ; try++ {
		if c.post(ctx, b) == nil {
			return true
		}
		if try == callbackTries {
			return false
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(pause):
			pause *= 2
		}
	}
}

func (c *caller) post(ctx context.Context, b callback) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(b.body))
	if err != nil {
		return err
	}
	stamp := strconv.FormatInt(c.now().Unix(), 10)
	mac := hmac.New(sha256.New, c.secret)
	fmt.Fprintf(mac, "%s.%s.%s", b.id, stamp, b.body)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Webhook-Id", b.id)
	request.Header.Set("Webhook-Timestamp", stamp)
	request.Header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	response, err := c.client.Do(request)
	if err != nil {
		return err
	}
	if err := response.Body.Close(); err != nil {
		return err
	}
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("the callback address answered %s", response.Status)
	}
	return nil
}
