package payment_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.org/souk/mall"
	"example.org/souk/provider/payment"
)

var fiver = payment.Authorization{Payment: "p1", Customer: "c1", Amount: mall.Money{Amount: 500, Currency: "EUR"}}

// provider serves one fixed answer.
func provider(t *testing.T, serve http.HandlerFunc) *payment.Client {
	t.Helper()
	server := httptest.NewServer(serve)
	t.Cleanup(server.Close)
	return client(t, server.URL)
}

func client(t *testing.T, address string) *payment.Client {
	t.Helper()
	c, err := payment.New(payment.Config{BaseURL: address, APIKey: "key", Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestRequest(t *testing.T) {
	t.Parallel()
	seen := make(chan *http.Request, 1)
	bodies := make(chan map[string]any, 1)
	c := provider(t, func(w http.ResponseWriter, r *http.Request) {
		var body map[string]any
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		seen <- r
		bodies <- body
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_, _ = w.Write([]byte(`{"state":"authorized","reference":"r","amount":{"amount":500,"currency":"EUR"},"at":"2030-01-02T03:04:05Z"}`))
	})
	got, err := c.Authorize(t.Context(), "order-1:authorize", fiver)
	if err != nil || got.State != payment.Authorized || got.Reference != "r" || got.Amount != fiver.Amount || got.At.Year() != 2030 {
		t.Fatalf("got %+v, %v", got, err)
	}
	r := <-seen
	if r.Method != "POST" || r.URL.Path != "/v1/payments/p1/authorize" || r.Header.Get("Idempotency-Key") != "order-1:authorize" ||
		r.Header.Get("Authorization") != "Bearer key" || r.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
	}
	if body := <-bodies; body["payment"] != "p1" || body["customer"] != "c1" {
		t.Errorf("body %v", body)
	}
}

func TestClasses(t *testing.T) {
	t.Parallel()
	reply := func(status int, kind, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	const problem, plain = "application/problem+json", "application/json"
	for name, test := range map[string]struct {
		serve http.HandlerFunc
		class payment.Class
		code  string
	}{
		"refused":                   {reply(409, problem, `{"code":"exceeds"}`), payment.Refused, "exceeds"},
		"refused without a code":    {reply(404, "text/html", `not here`), payment.Unknown, ""},
		"key in flight":             {reply(409, problem, `{"code":"in_flight"}`), payment.Unknown, "in_flight"},
		"wrong API key":             {reply(401, problem, `{"code":"unauthorized"}`), payment.Unavailable, "unauthorized"},
		"too many":                  {reply(429, problem, `{"code":"slow_down"}`), payment.Unavailable, "slow_down"},
		"broken":                    {reply(500, problem, `{"code":"internal"}`), payment.Unknown, "internal"},
		"a proxy's error page":      {reply(502, "text/html", `<html>`), payment.Unknown, ""},
		"a redirect":                {http.RedirectHandler("http://127.0.0.1:1/", http.StatusTemporaryRedirect).ServeHTTP, payment.Unknown, ""},
		"not JSON":                  {reply(200, "text/html", `<html>`), payment.Unknown, "bad_answer"},
		"half an answer":            {reply(200, plain, `{"state":"author`), payment.Unknown, "bad_answer"},
		"an endless answer":         {reply(200, plain, `{"reason":"`+strings.Repeat("x", 70<<10)+`"}`), payment.Unknown, "bad_answer"},
		"another amount":            {reply(200, plain, `{"state":"authorized","amount":{"amount":50,"currency":"EUR"}}`), payment.Unknown, "bad_answer"},
		"the answer to another one": {reply(200, plain, `{"state":"refunded","amount":{"amount":500,"currency":"EUR"}}`), payment.Unknown, "bad_answer"},
		"connection dropped":        {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, payment.Unknown, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := provider(t, test.serve).Authorize(t.Context(), "k1", fiver)
			if payment.ClassOf(err) != test.class || payment.CodeOf(err) != test.code {
				t.Fatalf("got %q %q (%v), want %q %q", payment.ClassOf(err), payment.CodeOf(err), err, test.class, test.code)
			}
		})
	}
}

func TestNothingSentIsUnavailable(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	c := client(t, "http://"+listener.Addr().String())
	_, err = c.Authorize(t.Context(), "k1", fiver)
	if payment.ClassOf(err) != payment.Unavailable {
		t.Errorf("connection refused: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = c.Authorize(ended, "k1", fiver); payment.ClassOf(err) != payment.Unavailable {
		t.Errorf("cancelled before: %v", err)
	}
	if _, found, err := c.Ask(t.Context(), "k1"); found || payment.ClassOf(err) != payment.Unavailable {
		t.Errorf("asked: %v, %v", found, err)
	}
}

func TestOneCallIsOneTransmission(t *testing.T) {
	t.Parallel()
	calls := make(chan string, 8)
	c := provider(t, func(w http.ResponseWriter, r *http.Request) {
		key := r.Header.Get("Idempotency-Key")
		calls <- key
		if key != "first" {
			panic(http.ErrAbortHandler) // on a connection that worked before, which is where net/http would try again
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"state":"authorized","amount":{"amount":500,"currency":"EUR"}}`))
	})
	if _, err := c.Authorize(t.Context(), "first", fiver); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Authorize(t.Context(), "second", fiver); payment.ClassOf(err) != payment.Unknown {
		t.Fatalf("got %v", err)
	}
	if len(calls) != 2 {
		t.Errorf("%d requests, want 2", len(calls))
	}
}

func TestAnUnknownPageIsNotAnUnknownKey(t *testing.T) {
	t.Parallel()
	_, found, err := provider(t, http.NotFound).Ask(t.Context(), "k1")
	if found || payment.ClassOf(err) != payment.Unknown {
		t.Errorf("got %v, %v: a wrong address must not pass for 'never happened'", found, err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]payment.Config{
		"no address":        {APIKey: "k"},
		"plain http":        {APIKey: "k", BaseURL: "http://pay.example.org"},
		"another scheme":    {APIKey: "k", BaseURL: "ftp://127.0.0.1"},
		"a password in it":  {APIKey: "k", BaseURL: "https://a:b@pay.example.org"},
		"no API key":        {BaseURL: "https://pay.example.org"},
		"a broken API key":  {APIKey: "a\r\nb", BaseURL: "https://pay.example.org"},
		"a negative limit":  {APIKey: "k", BaseURL: "https://pay.example.org", Timeout: -1},
		"like loopback":     {APIKey: "k", BaseURL: "http://127.0.0.1.example.org"},
		"a query behind it": {APIKey: "k", BaseURL: "https://pay.example.org?a=b"},
	} {
		if _, err := payment.New(config); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestOpenCallbackRefuses(t *testing.T) {
	t.Parallel()
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	header := http.Header{}
	header.Set("Webhook-Id", "cb-1")
	header.Set("Webhook-Timestamp", strconv.FormatInt(now.Unix(), 10))
	// Computed by: printf 'cb-1.1893456000.{"key":"k"}' | openssl dgst -sha256 -hmac secret -binary | base64
	header.Set("Webhook-Signature", "v1,TOER0GzJGk2i1FJUJnE1erxLVekfs/gNuspFotqW2Sk=")
	body := []byte(`{"key":"k"}`)
	if got, err := payment.OpenCallback([]byte("secret"), header, body, now); err != nil || got.Key != "k" || got.ID != "cb-1" {
		t.Fatalf("got %+v, %v", got, err)
	}
	changing := header.Clone()
	changing.Set("Webhook-Signature", "v1,AAAA "+header.Get("Webhook-Signature")+" v2,BBBB")
	if _, err := payment.OpenCallback([]byte("secret"), changing, body, now); err != nil {
		t.Errorf("several signatures: %v", err)
	}
	for name, open := range map[string]func() (payment.Callback, error){
		"other secret": func() (payment.Callback, error) { return payment.OpenCallback([]byte("other"), header, body, now) },
		"other body": func() (payment.Callback, error) {
			return payment.OpenCallback([]byte("secret"), header, []byte(`{}`), now)
		},
		"stale": func() (payment.Callback, error) {
			return payment.OpenCallback([]byte("secret"), header, body, now.Add(6*time.Minute))
		},
		"from ahead": func() (payment.Callback, error) {
			return payment.OpenCallback([]byte("secret"), header, body, now.Add(-6*time.Minute))
		},
		"no header": func() (payment.Callback, error) {
			return payment.OpenCallback([]byte("secret"), http.Header{}, body, now)
		},
		"no secret": func() (payment.Callback, error) { return payment.OpenCallback(nil, header, body, now) },
	} {
		if got, err := open(); err == nil {
			t.Errorf("%s: accepted %+v", name, got)
		}
	}
}
