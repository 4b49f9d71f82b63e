package store

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.org/souk/internal/testserver"
)

// mall is a running souk.
type mall struct {
	t    *testing.T
	dir  string
	url  string
	proc *testserver.Process
}

// program builds souk, with crash points where asked.
func program(t *testing.T, tags ...string) string {
	t.Helper()
	return testserver.Build(t, "example.org/souk/cmd/souk", tags...)
}

// start runs souk on a data directory until it is ready.
func start(t *testing.T, binary, dir string, env []string, flags ...string) *mall {
	t.Helper()
	args := append([]string{binary, "--data", dir, "up", "--http", "127.0.0.1:0", "--test-mode", "--caller-rate", "100000"}, flags...)
	p := testserver.Command{Args: args, Env: env}.Start(t)
	line := p.WaitLine("online store")
	p.WaitLine("ready")
	return &mall{t: t, dir: dir, url: strings.TrimSpace(strings.TrimPrefix(line, "online store")), proc: p}
}

// call makes a request; status 0 means that there was no answer.
func (m *mall) call(method, path, body string, headers ...string) (status int, answer string) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, m.url+path, bytes.NewBufferString(body))
	if err != nil {
		m.t.Error(err)
		return 0, ""
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(data)
}

func (m *mall) must(want int, method, path, body string) string {
	m.t.Helper()
	status, answer := m.call(method, path, body)
	if status != want {
		m.t.Fatalf("%s %s: %d %s, want %d", method, path, status, answer, want)
	}
	return answer
}

func (m *mall) seed() { m.t.Helper(); m.must(200, "POST", "/automation-testing/seed", "") }

type item struct {
	product  string
	price    int
	quantity int
}

// order is the body of an order.
func order(id, customer string, items ...item) string {
	total, quantity := 0, 0
	var lines []string
	for _, i := range items {
		total += i.price * i.quantity
		quantity += i.quantity
		lines = append(lines, fmt.Sprintf(`{"productId":%q,"price":%d,"quantity":%d}`, i.product, i.price, i.quantity))
	}
	return fmt.Sprintf(`{"data":{"id":"m-%s","order":{"orderId":%q,"customerId":%q,"totalPrice":%d,"totalQuantity":%d,"items":[%s]}}}`,
		id, id, customer, total, quantity, strings.Join(lines, ","))
}

var (
	order1 = order("ORDER_001", "CUSTOMER_001", item{"PRODUCT_001", 10, 3}, item{"PRODUCT_002", 5, 2})
	order2 = order("ORDER_002", "CUSTOMER_001", item{"PRODUCT_001", 10, 2})
)

// status returns an order's status, "" if there is none.
func (m *mall) status(id string) string {
	code, answer := m.call("GET", "/order/"+id, "")
	if code != 200 {
		return ""
	}
	var o struct {
		Status string `json:"status"`
	}
	if err := json.Unmarshal([]byte(answer), &o); err != nil {
		m.t.Error(err)
	}
	return o.Status
}

// await polls until the condition holds; it fails the test after 20 s.
func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within 20 s", what)
		case <-tick.C:
		}
	}
}

func (m *mall) awaitStatus(id, want string) {
	m.t.Helper()
	await(m.t, id+" "+want, func() bool { return m.status(id) == want })
}

func (m *mall) available(product string) int {
	m.t.Helper()
	var s struct{ OnHand, Held, Committed, Available int }
	if err := json.Unmarshal([]byte(m.must(200, "GET", "/stock/"+product, "")), &s); err != nil {
		m.t.Fatal(err)
	}
	if s.Available != s.OnHand-s.Held-s.Committed || s.Available < 0 {
		m.t.Errorf("stock of %s does not add up: %+v", product, s)
	}
	return s.Available
}

// stop ends the mall in good order.
func (m *mall) stop() {
	m.t.Helper()
	m.proc.Signal(syscall.SIGTERM)
	if e := m.proc.Wait(); e.Code != 0 {
		m.t.Errorf("souk ended with %v\n%s", e, m.proc.Stderr())
	}
}
