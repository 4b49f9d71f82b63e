package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"example.org/souk/backbone"
	"example.org/souk/backbone/backbonetest"
	"example.org/souk/mall"
	"example.org/souk/mall/analytics"
	"example.org/souk/mall/baskets"
	"example.org/souk/mall/command"
	"example.org/souk/mall/customers"
	"example.org/souk/mall/depot"
	"example.org/souk/mall/entrance"
	"example.org/souk/mall/exitgate"
	"example.org/souk/mall/fastlane"
	"example.org/souk/mall/inventory"
	"example.org/souk/mall/logistics"
	"example.org/souk/mall/notifications"
	"example.org/souk/mall/orders"
	"example.org/souk/mall/payments"
	"example.org/souk/mall/search"
	"example.org/souk/mall/stores"
)

// bench is the gateway before a mall of its own, on a server that speaks HTTP/1 and HTTP/2.
type bench struct {
	*backbonetest.World
	t    *testing.T
	keys *backbone.Keys
	url  string
	grpc *grpc.ClientConn
}

// provider does at once whatever it is asked to.
type provider struct{}

func (provider) Authorize(context.Context, string, string, string, mall.Money) (payments.Outcome, error) {
	return payments.Outcome{Reference: "r"}, nil
}

func (provider) Void(context.Context, string, string) (payments.Outcome, error) {
	return payments.Outcome{Reference: "r"}, nil
}

func (provider) Capture(context.Context, string, string, mall.Money) (payments.Outcome, error) {
	return payments.Outcome{Reference: "r"}, nil
}

func (provider) Refund(context.Context, string, string, mall.Money) (payments.Outcome, error) {
	return payments.Outcome{Reference: "r"}, nil
}

func (provider) Ask(context.Context, string) (payments.Outcome, bool, error) {
	return payments.Outcome{}, false, nil
}

// sender sends nothing and says that it did.
type sender struct{}

func (sender) Send(context.Context, string, notifications.Notice) (string, error) { return "none", nil }

// shelf is the catalogue as the stores service keeps it.
type shelf struct{ stores *backbone.Reader }

func (s shelf) Product(ctx context.Context, id string) (mall.Item, bool, error) {
	p, found, err := stores.Get(ctx, s.stores, id)
	return mall.Item{Product: id, SKU: p.SKU, Name: p.Name, Price: p.Price}, found && p.Orderable, err
}

func (s shelf) Known(ctx context.Context, sku string) (bool, error) {
	_, known, err := stores.OfSKU(ctx, s.stores, sku)
	return known, err
}

// people says who may buy, as the customers service knows it.
type people struct{ customers *backbone.Reader }

func (p people) MayBuy(ctx context.Context, customer string) (bool, error) {
	c, err := customers.Get(ctx, p.customers, customer)
	return c.Status == customers.Enabled, err
}

// callerHeader says in these tests who calls: "customer:C1".
const callerHeader = "Test-Caller"

func testCaller(r *http.Request) (*Caller, error) {
	kind, subject, ok := strings.Cut(r.Header.Get(callerHeader), ":")
	switch {
	case kind == "":
		return nil, nil
	case !ok:
		return nil, errors.New("no credentials of ours")
	}
	return &Caller{Kind: Kind(kind), Subject: subject}, nil
}

func begin(t *testing.T, change ...func(*Config)) *bench {
	t.Helper()
	return beginOn(t, 0, change...)
}

// beginOn is begin with a server that bounds how long an answer may take.
func beginOn(t *testing.T, writeTimeout time.Duration, change ...func(*Config)) *bench {
	t.Helper()
	w := backbonetest.Start(t, backbonetest.Config{Parts: []*backbone.Service{
		stores.Service(), customers.Service(), baskets.Service(baskets.Config{}), orders.Service(orders.Config{}), inventory.Service(), payments.Service(provider{}, payments.Config{}),
		entrance.Service(), exitgate.Service(), fastlane.Service("EUR"), logistics.Service(nil),
		notifications.Service(sender{}), analytics.Service(), search.Service(), depot.Service(depot.Config{}), backbone.KeyService(),
	}})
	keys, err := backbone.OpenKeys(backbone.KeysConfig{Store: w.Store(), Clock: w.Clock})
	if err != nil {
		t.Fatal(err)
	}
	runtime := w.Runtime()
	c := Config{
		Commands: runtime, Reader: runtime.Reader, Run: runtime.Services(), Changed: runtime.Changed, Control: runtime,
		Catalogue: shelf{runtime.Reader("stores")}, Keys: keys, Caller: testCaller,
		Baskets: baskets.Border{Reader: runtime.Reader("baskets"), Customers: people{runtime.Reader("customers")}},
		Logger:  slog.New(slog.DiscardHandler),
	}
	for _, f := range change {
		f(&c)
	}
	handler, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(handler)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Config.WriteTimeout = writeTimeout
	server.Start()
	t.Cleanup(server.Close)
	conn, err := grpc.NewClient("passthrough:///"+server.Listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &bench{World: w, t: t, keys: keys, url: server.URL, grpc: conn}
}

// as is the context of a call by gRPC of somebody.
func (b *bench) as(caller string, headers ...string) context.Context {
	ctx, cancel := context.WithTimeout(b.t.Context(), 20*time.Second)
	b.t.Cleanup(cancel)
	return metadata.AppendToOutgoingContext(ctx, append([]string{callerHeader, caller}, headers...)...)
}

// failure is an error as JSON.
type failure struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Details []struct {
		Type  string          `json:"type"`
		Debug json.RawMessage `json:"debug"`
	} `json:"details"`
}

// json calls a method as curl does; of an error only the code is returned.
func (b *bench) json(caller, method, body string) (answer map[string]any, code string) {
	b.t.Helper()
	status, data := b.post(caller, method, "application/json", []byte(body))
	if status == http.StatusOK {
		if err := json.Unmarshal(data, &answer); err != nil {
			b.t.Fatalf("%s: %v in %s", method, err, data)
		}
		return answer, ""
	}
	var f failure
	if err := json.Unmarshal(data, &f); err != nil || f.Code == "" {
		b.t.Fatalf("%s of %.200s: %d %s", method, body, status, data)
	}
	return nil, f.Code
}

// post makes a request; one whose connection a server ends that has answered without reading it whole is made again, as
// clients do.
func (b *bench) post(caller, method, contentType string, body []byte) (status int, answer []byte) {
	b.t.Helper()
	for try := 0; ; try++ {
		status, answer, err := b.attempt(caller, method, contentType, body)
		if err == nil {
			return status, answer
		}
		if try == 3 || !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
			b.t.Fatalf("%s: %v", method, err)
		}
	}
}

func (b *bench) attempt(caller, method, contentType string, body []byte) (status int, answer []byte, err error) {
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, b.url+"/souk.v1."+method, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("Content-Type", contentType)
	if caller != "" {
		r.Header.Set(callerHeader, caller)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

func eur(amount int64) mall.Money { return mall.Money{Amount: amount, Currency: "EUR"} }

// stock opens a shop with one product of which there are ten.
func (b *bench) stock() {
	b.t.Helper()
	for _, c := range []backbone.Command{
		command.CreateStore{Store: "hall", Name: "Hall", Location: "main"},
		command.EnableParticipation{Store: "hall"},
		command.AddProduct{Product: "pen", Store: "hall", Name: "Pen", SKU: "PEN", Price: eur(1000)},
		command.ReceiveStock{SKU: "PEN", Location: "main", Quantity: 10},
		command.RegisterCustomer{Customer: "C1", Name: "sealed"},
		command.RegisterCustomer{Customer: "C2", Name: "sealed"},
	} {
		b.Do(b.t, c)
	}
}
