package store

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"example.org/souk/internal/testserver"
	"example.org/souk/mall/orders"
)

// E1: the fixtures, and that they exist in test mode only.
func TestE1_SeedAndReset(t *testing.T) {
	t.Parallel()
	m := start(t, program(t), t.TempDir(), nil)
	m.must(200, "GET", "/automation-testing/ready", "")
	for range 2 {
		m.seed()
		m.seed() // once more changes nothing
		if a, b := m.available("PRODUCT_001"), m.available("PRODUCT_002"); a != 10 || b != 15 {
			t.Fatalf("seeded with %d and %d", a, b)
		}
		m.must(202, "POST", "/order", order1)
		m.awaitStatus("ORDER_001", "APPROVED")
		if m.others != nil {
			if answer := m.must(409, "DELETE", "/automation-testing/all", ""); !strings.Contains(answer, `"code":"shared_database"`) {
				t.Errorf("emptied by one of several processes: %s", answer)
			}
			break
		}
		m.must(200, "DELETE", "/automation-testing/all", "")
		m.must(404, "GET", "/order/ORDER_001", "")
	}
	m.holds()
}

// E1: outside of test mode nobody can fill or empty the world. Red when the routes
// of tests are always served.
func TestE1_NotOutsideOfTestMode(t *testing.T) {
	t.Parallel()
	p := testserver.Command{Args: []string{program(t), "--data", t.TempDir(), "up", "--http", "127.0.0.1:0"}}.Start(t)
	line := p.WaitLine("online store")
	p.WaitLine("ready")
	m := &mall{t: t, url: strings.TrimSpace(strings.TrimPrefix(line, "online store")), proc: p}
	m.must(404, "POST", "/automation-testing/seed", "")
	m.must(404, "DELETE", "/automation-testing/all", "")
	m.must(404, "GET", "/automation-testing/ready", "")
	m.stop()
}

// E2: an order that is posted a hundred times takes effect once. Red when the
// recorded answer of a command is not looked up.
func TestE2_PostedAHundredTimes(t *testing.T) {
	t.Parallel()
	m := start(t, program(t), t.TempDir(), nil)
	m.seed()
	var posts sync.WaitGroup
	var accepted, repeated atomic.Int64
	for range 100 {
		posts.Go(func() {
			switch status, answer := m.call("POST", "/order", order1); status {
			case http.StatusAccepted:
				accepted.Add(1)
			case http.StatusOK:
				repeated.Add(1)
			default:
				t.Errorf("%d %s", status, answer)
			}
		})
	}
	posts.Wait()
	if accepted.Load() < 1 || accepted.Load()+repeated.Load() != 100 {
		t.Errorf("%d accepted, %d repeated", accepted.Load(), repeated.Load())
	}
	m.awaitStatus("ORDER_001", "APPROVED")
	if a, b := m.available("PRODUCT_001"), m.available("PRODUCT_002"); a != 7 || b != 13 {
		t.Errorf("available %d and %d, want 7 and 13", a, b)
	}
	m.must(202, "POST", "/order", order2)
	m.awaitStatus("ORDER_002", "APPROVED")
	if a, b := m.available("PRODUCT_001"), m.available("PRODUCT_002"); a != 5 || b != 13 {
		t.Errorf("available %d and %d, want 5 and 13", a, b)
	}
	m.holds()
}

// E3: the same order id with other content changes nothing.
func TestE3_OtherContent(t *testing.T) {
	t.Parallel()
	m := start(t, program(t), t.TempDir(), nil)
	m.seed()
	m.must(202, "POST", "/order", order1)
	m.must(409, "POST", "/order", order("ORDER_001", "CUSTOMER_001", item{"PRODUCT_001", 10, 1}))
	m.must(409, "POST", "/order", order("ORDER_003", "CUSTOMER_001", item{"PRODUCT_001", 9, 1})) // not the catalogue's price
	m.must(400, "POST", "/order", order("ORDER_004", "CUSTOMER_001", item{"NOTHING", 1, 1}))
	m.must(400, "POST", "/order", order("ORDER_005", "CUSTOMER_001", item{"PRODUCT_001", 10, 0}))
	m.awaitStatus("ORDER_001", "APPROVED")
	if a := m.available("PRODUCT_001"); a != 7 {
		t.Errorf("available %d, want 7", a)
	}
	m.holds()
}

// E4: the four messages in order, at that customer's feed only, and again for a
// client that reconnects.
func TestE4_Feed(t *testing.T) {
	t.Parallel()
	m := start(t, program(t), t.TempDir(), nil)
	m.seed()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	read := func(customer string, since, n int) (list, of []string) {
		conn, _, err := websocket.Dial( //nolint:bodyclose // the library owns the body of an upgraded connection
			ctx, fmt.Sprintf("ws%s/feed?customer=%s&since=%d", strings.TrimPrefix(m.url, "http"), customer, since), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.CloseNow() }()
		for range n {
			_, data, err := conn.Read(ctx)
			if err != nil {
				t.Fatal(err)
			}
			var f struct {
				N                         int
				Resource, Operation, Type string
				AggregateID               string `json:"aggregateId"`
			}
			if err := json.Unmarshal(data, &f); err != nil {
				t.Fatal(err)
			}
			list = append(list, fmt.Sprintf("%d %s %s %s", f.N, f.Resource, f.Operation, f.Type))
			of = append(of, f.AggregateID)
		}
		return list, of
	}
	m.must(202, "POST", "/order", order1)
	frames, _ := read("CUSTOMER_001", 0, 5)
	got := strings.Join(frames, "\n")
	want := "1 ORDER ORDER_CREATE COMMAND\n2 ORDER ORDER_CREATED EVENT\n3 INVENTORY INVENTORY_RESERVED EVENT\n4 ORDER INVENTORY_RESERVED EVENT\n5 ORDER ORDER_APPROVED EVENT"
	if got != want {
		t.Errorf("the feed says\n%s\nwant\n%s", got, want)
	}
	if again, _ := read("CUSTOMER_001", 3, 2); again[0] != "4 ORDER INVENTORY_RESERVED EVENT" {
		t.Errorf("after the third frame comes %q", again[0])
	}
	m.must(202, "POST", "/order", order("ORDER_B", "CUSTOMER_002", item{"PRODUCT_001", 10, 1}))
	if other, of := read("CUSTOMER_002", 0, 1); other[0] != "1 ORDER ORDER_CREATE COMMAND" || of[0] != "ORDER_B" {
		t.Errorf("the other customer's feed begins with %q of %s", other[0], of[0])
	}
	m.holds()
}

// E5: what is accepted while the stockroom is absent waits and goes on by itself.
func TestE5D2_InventoryAbsent(t *testing.T) {
	t.Parallel()
	m := start(t, program(t), t.TempDir(), nil)
	m.seed()
	m.stop()
	m.beginWithout("inventory", "notifications")
	m.must(202, "POST", "/order", order1)
	if s := m.status("ORDER_001"); s != "PENDING" {
		t.Errorf("the order is %s", s)
	}
	m.stop()
	m.begin()
	m.awaitStatus("ORDER_001", "APPROVED")
	m.holds()
}

// E6: of a thousand orders for the last ten exactly ten are approved. Red when the
// stock is not decided on the state that the batch has made so far.
func TestE6_TheLastTen(t *testing.T) {
	t.Parallel()
	m := start(t, program(t), t.TempDir(), nil)
	m.seed()
	var posts sync.WaitGroup
	next := make(chan int)
	for range 50 {
		posts.Go(func() {
			for i := range next {
				if status, answer := m.call("POST", "/order", order(fmt.Sprintf("L%04d", i), "CUSTOMER_001", item{"Laptop", 1200, 1})); status != 202 {
					t.Errorf("%d %s", status, answer)
				}
			}
		})
	}
	for i := range 1000 {
		next <- i
	}
	close(next)
	posts.Wait()
	k := m.holds()
	counts := map[orders.Status]int{}
	for _, s := range k.status {
		counts[s]++
	}
	if counts[orders.Approved] != 10 || counts[orders.Rejected] != 990 {
		t.Errorf("%v, want 10 approved and 990 rejected", counts)
	}
}

// E7 and B8: cancelled at any moment, also several times at once, an order ends in
// exactly one state and its stock comes back once.
func TestE7B8_CancelAtAnyMoment(t *testing.T) {
	t.Parallel()
	m := start(t, program(t), t.TempDir(), nil)
	m.seed()
	var customers sync.WaitGroup
	for i := range 60 {
		customers.Go(func() {
			id := fmt.Sprintf("C%03d", i)
			if status, answer := m.call("POST", "/order", order(id, "CUSTOMER_001", item{"PRODUCT_002", 5, 1})); status != 202 {
				t.Errorf("%d %s", status, answer)
			}
			for range i % 4 { // each reading takes a moment, so cancels come at different steps
				m.status(id)
			}
			var cancels sync.WaitGroup
			for range 3 {
				cancels.Go(func() {
					if status, answer := m.call("POST", "/order/"+id+"/cancel", `{}`); status >= 500 || status == 0 {
						t.Errorf("%d %s", status, answer)
					}
				})
			}
			cancels.Wait()
		})
	}
	customers.Wait()
	k := m.holds()
	for id, s := range k.status {
		if s != orders.Canceled && s != orders.Rejected {
			t.Errorf("order %s is %s", id, s)
		}
	}
}

// C4 and D1: what was answered with 202 is there after a kill -9, whole.
func TestC4D1_AcceptedIsDurable(t *testing.T) {
	t.Parallel()
	binary, dir := program(t), t.TempDir()
	m := start(t, binary, dir, nil)
	m.seed()
	accepted := m.load(t, 8, 300)
	m.kill9()
	ids := accepted()
	if len(ids) == 0 {
		t.Fatal("nothing was accepted before the kill")
	}
	k := m.holdsRebuilt()
	for _, id := range ids {
		if _, found := k.placed[id]; !found {
			t.Errorf("order %s was accepted and is gone", id)
		}
	}
}

// load posts orders from several clients until the mall does not answer any more
// or the number is reached, and cancels every fifth. It returns once a third of them
// is accepted; the function returned waits for the rest and tells which were accepted.
// A mall that answers may refuse for a while, but not for anything else.
func (m *mall) load(t *testing.T, clients, number int) func() []string {
	t.Helper()
	return m.loadOf(t, clients, number, func(n int) (id, body string) {
		id = fmt.Sprintf("K%05d", n)
		return id, order(id, customerOf(n), item{"PRODUCT_001", 10, 1}, item{"PRODUCT_002", 5, 1})
	})
}

// loadOf is load with orders of one's own.
func (m *mall) loadOf(t *testing.T, clients, number int, order func(n int) (id, body string)) func() []string {
	t.Helper()
	var mu sync.Mutex
	var ids []string
	var running sync.WaitGroup
	enough := make(chan struct{})
	var next atomic.Int64
	for range clients {
		running.Go(func() {
			for {
				n := int(next.Add(1))
				if n > number {
					return
				}
				id, body := order(n)
				status, answer := m.call("POST", "/order", body)
				switch status {
				case 0:
					return
				case http.StatusAccepted, http.StatusOK:
					mu.Lock()
					if ids = append(ids, id); len(ids) == number/3 {
						close(enough)
					}
					mu.Unlock()
				case http.StatusTooManyRequests, http.StatusServiceUnavailable:
					continue
				default:
					t.Errorf("order %s: %d %s", id, status, answer)
				}
				if n%5 == 0 {
					if status, answer := m.call("POST", "/order/"+id+"/cancel", `{}`); status >= 500 && status != http.StatusServiceUnavailable {
						t.Errorf("cancel %s: %d %s", id, status, answer)
					}
				}
			}
		})
	}
	ended := make(chan struct{})
	go func() { running.Wait(); close(ended) }()
	select {
	case <-enough:
	case <-ended:
	}
	return func() []string {
		<-ended
		return ids
	}
}

// F12: a stop under load drains: every order that was accepted is there, and the
// process ends with success.
func TestF12_GracefulStop(t *testing.T) {
	t.Parallel()
	binary, dir := program(t), t.TempDir()
	m := start(t, binary, dir, nil)
	m.seed()
	accepted := m.load(t, 8, 600)
	m.stop()
	ids := accepted()
	k := m.holds()
	for _, id := range ids {
		if _, found := k.placed[id]; !found {
			t.Errorf("order %s was accepted and is gone", id)
		}
	}
}

// F9: a repeated key is answered as the first time, with another body it is refused.
func TestF9_IdempotencyKey(t *testing.T) {
	t.Parallel()
	m := start(t, program(t), t.TempDir(), nil)
	m.seed()
	first, answer := m.call("POST", "/order", order1, "Idempotency-Key", "k1")
	again, repeated := m.call("POST", "/order", order1, "Idempotency-Key", "k1")
	if first != 202 || again != 202 || answer != repeated {
		t.Errorf("first %d %s, again %d %s", first, answer, again, repeated)
	}
	if status, answer := m.call("POST", "/order", order2, "Idempotency-Key", "k1"); status != 422 {
		t.Errorf("another body: %d %s", status, answer)
	}
	m.holds()
}

// F16: no file of the data directory and no table holds a name or an address in the clear,
// except the mailbox, which is what was sent. Red where an event carries one of them unsealed.
func TestF16_NothingPersonalInTheClear(t *testing.T) {
	t.Parallel()
	m := start(t, program(t), t.TempDir(), nil)
	m.seed()
	m.must(202, "POST", "/order", order1)
	m.awaitStatus("ORDER_001", "APPROVED")
	box := filepath.Join(m.dirOf("notifications"), "mail.mbox")
	await(t, "the confirmation", func() bool {
		data, err := os.ReadFile(box)
		return err == nil && bytes.Contains(data, []byte("customer.one@souk.example"))
	})
	written := m.written()
	if delete(written, box); len(written) < 3 {
		t.Errorf("only this was looked at: %v", slices.Collect(maps.Keys(written)))
	}
	for where, text := range written {
		for _, canary := range []string{"customer.one@souk.example", "Customer One"} {
			if strings.Contains(text, canary) {
				t.Errorf("%s holds %q", where, canary)
			}
		}
	}
	m.holds()
}

// written returns what a mall has written, by where it stands: its files, and its tables where they are in none of these.
func (m *mall) written() map[string]string {
	m.t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(m.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		all[path] = string(data)
		return err
	})
	if err != nil {
		m.t.Fatal(err)
	}
	if m.db != "" {
		for _, table := range m.place().tables(m.t) {
			all[table[0]+"."+table[1]] = strings.Join(m.rows(table[0], `SELECT * FROM {`+table[1]+`}`), "\n")
		}
	}
	return all
}

// F12: a request that is in flight when the stop begins gets its answer, and the
// order is there. Red when the process ends without draining.
func TestF12_InFlightIsAnswered(t *testing.T) {
	t.Parallel()
	m := start(t, program(t), t.TempDir(), nil)
	m.seed()
	online := m.of("online")
	address := strings.TrimPrefix(online.url, "http://")
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(conn, "POST /order HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", address, len(order1))
	if err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewReader(conn)
	if line, err := answers.ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") {
		t.Fatalf("the body was not asked for: %q %v", line, err)
	}
	if _, err := answers.ReadString('\n'); err != nil { // the empty line that ends the 100
		t.Fatal(err)
	}
	online.proc.Signal(syscall.SIGTERM)
	await(t, "new connections are refused", func() bool {
		other, err := net.Dial("tcp", address)
		if err == nil {
			_ = other.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	if _, err := io.WriteString(conn, order1); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(answers, nil)
	if err != nil {
		t.Fatalf("the request in flight got no answer: %v", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		t.Errorf("the request in flight was answered with %d", resp.StatusCode)
	}
	if e := online.proc.Wait(); e.Code != 0 {
		t.Errorf("souk ended with %v", e)
	}
	if k := m.holds(); k.placed["ORDER_001"].Order == "" {
		t.Error("the order is gone")
	}
}
