package shopper_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"example.org/souk/device/shopper"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

// counter is a kiosk's interface that says yes to everything, as far as a shopper needs it, and notes what was asked.
type counter struct {
	mu      sync.Mutex
	seen    []string // method and path, with ids taken out
	keys    map[string]int
	lines   map[string]map[string]int64 // by basket
	status  map[string]string
	paid    map[string]bool
	busy    int // how many requests are refused before one is answered
	settles int // how many payments are refused before one is taken
	short   bool
	decided map[string]bool
	next    int
}

func (c *counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/kiosk/v1")
	parts := strings.Split(strings.Trim(path, "/"), "/")
	if r.Method == "GET" && len(parts) == 3 && parts[2] == "events" {
		c.events(w, parts[1])
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy > 0 {
		c.busy--
		w.WriteHeader(503)
		fmt.Fprint(w, `{"status":503,"code":"unavailable"}`)
		return
	}
	if k := r.Header.Get("Idempotency-Key"); k != "" {
		c.keys[k]++
	}
	c.seen = append(c.seen, r.Method+" "+parts[0]+"/"+parts[len(parts)-1])
	answer := func(v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v) // the shopper is there
	}
	var body struct {
		Product  string
		Quantity int64
		Choice   string
	}
	_ = json.NewDecoder(r.Body).Decode(&body) // some have none
	basket := func(id string) map[string]any {
		items := []map[string]any{}
		for p, n := range c.lines[id] {
			items = append(items, map[string]any{"product": p, "quantity": n, "sold": true})
		}
		return map[string]any{"basket": id, "items": items}
	}
	switch {
	case path == "/products":
		answer(map[string]any{"products": []map[string]any{{"product": "bowl", "name": "Bowl"}, {"product": "lamp", "name": "Lamp"}, {"product": "tea", "name": "Tea"}}})
	case path == "/customers":
		answer(map[string]string{"customer": "walkin-1"})
	case path == "/sessions":
		answer(map[string]string{"customer": "walkin-1", "token": "session"})
	case path == "/baskets":
		c.next++
		id := fmt.Sprint("b", c.next)
		c.lines[id] = map[string]int64{}
		answer(basket(id))
	case r.Method == "DELETE":
		c.lines[parts[1]][parts[3]]--
		answer(basket(parts[1]))
	case strings.HasSuffix(path, "/items"):
		c.lines[parts[1]][body.Product] += body.Quantity
		answer(basket(parts[1]))
	case strings.HasSuffix(path, "/checkout"):
		c.status[parts[1]] = "pending"
		answer(map[string]string{"order": parts[1], "status": "pending"})
	case strings.HasSuffix(path, "/pay"):
		if r.Header.Get("Authorization") != "Bearer login" {
			w.WriteHeader(403)
			fmt.Fprint(w, `{"status":403,"code":"forbidden"}`)
			return
		}
		if c.settles > 0 {
			c.settles--
			c.keys[r.Header.Get("Idempotency-Key")]--
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(409)
			fmt.Fprint(w, `{"status":409,"code":"payment_settling"}`)
			return
		}
		c.paid[parts[1]] = true
		answer(map[string]any{"paid": true})
	case strings.HasSuffix(path, "/cancel"):
		c.status[parts[1]] = "canceled"
	case strings.HasSuffix(path, "/short"):
		c.status[parts[1]] = map[string]string{"rest": "picking", "cancel": "canceled"}[body.Choice]
		c.decided[parts[1]] = true
	}
}

// events tells of an order a status after the other, one a stream, so that the shopper has to come back for each.
func (c *counter) events(w http.ResponseWriter, id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	steps := []string{"pending", "approved", "picking", "short", "picking", "ready", "completed"}
	now := c.status[id]
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprintf(w, "retry: 1\n\n: still here\n\nid: %s\nevent: order\ndata: {\"order\":%q,\"status\":%q,\"paid\":%v}\n\n", now, id, now, c.paid[id])
	i := slices.Index(steps, now)
	switch {
	case now == "picking" && !c.short:
		i = 4
	case now == "short" || now == "canceled" || now == "ready" && !c.paid[id]:
		return
	case now == "picking" && c.decided[id]:
		i = 4
	}
	if i >= 0 && i+1 < len(steps) {
		c.status[id] = steps[i+1]
	}
}

func newCounter(t *testing.T) (*counter, string) {
	c := &counter{keys: map[string]int{}, lines: map[string]map[string]int64{}, status: map[string]string{}, paid: map[string]bool{}, decided: map[string]bool{}}
	s := httptest.NewServer(c)
	t.Cleanup(s.Close)
	return c, s.URL
}

// run lets people come and returns what each of them did.
func run(t *testing.T, c shopper.Config) map[int][]shopper.Done {
	t.Helper()
	var out bytes.Buffer
	c.Out, c.Token, c.Rate = &out, "login", 1e6
	if c.People == 0 {
		c.People = 30
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := shopper.Run(ctx, c); err != nil {
		t.Fatal(err)
	}
	all := map[int][]shopper.Done{}
	d := json.NewDecoder(&out)
	for d.More() {
		var done shopper.Done
		if err := d.Decode(&done); err != nil {
			t.Fatal(err)
		}
		if done.Step != len(all[done.Person]) {
			t.Errorf("step %d of person %d comes after %d", done.Step, done.Person, len(all[done.Person]))
		}
		all[done.Person] = append(all[done.Person], done)
	}
	if len(all) != c.People {
		t.Fatalf("%d people", len(all))
	}
	return all
}

// wishes is what people decided, without what the mall said to it.
func wishes(all map[int][]shopper.Done) string {
	var b strings.Builder
	for n := range len(all) {
		for _, d := range all[n] {
			fmt.Fprintln(&b, n, d.What, d.Product, d.Quantity, d.Fault)
		}
	}
	return b.String()
}

func count(all map[int][]shopper.Done, what string) (n int) {
	for _, list := range all {
		for _, d := range list {
			if d.What == what {
				n++
			}
		}
	}
	return n
}

// One seed gives one sequence of actions, whatever the timing; another gives another.
func TestASeedIsASequence(t *testing.T) {
	t.Parallel()
	f := shopper.Faults{Abandon: 20, Cancel: 20, NoShow: 20}
	_, one := newCounter(t)
	_, two := newCounter(t)
	a := run(t, shopper.Config{Server: one, Seed: 7, Cards: []string{"1001"}, Faults: f})
	b := run(t, shopper.Config{Server: two, Seed: 7, Cards: []string{"1001"}, Faults: f, AtOnce: 2})
	if wishes(a) != wishes(b) {
		t.Errorf("one seed, and\n%s\nand\n%s", wishes(a), wishes(b))
	}
	other := run(t, shopper.Config{Server: one, Seed: 8, Cards: []string{"1001"}, Faults: f})
	if wishes(a) == wishes(other) {
		t.Error("another seed, and nothing is another way")
	}
	for _, what := range []string{"enter as guest", "enter by card", "add", "put back", "check out", "pay", "abandon", "cancel", "no show", "canceled"} {
		if count(a, what)+count(other, what) == 0 {
			t.Errorf("nobody did: %s", what)
		}
	}
}

// Without faults everybody who orders comes to the depot and pays once.
func TestEverybodyPays(t *testing.T) {
	t.Parallel()
	c, url := newCounter(t)
	all := run(t, shopper.Config{Server: url, Seed: 3})
	ordered := count(all, "check out")
	if paid := len(c.paid); ordered != 30 || paid != ordered {
		t.Errorf("%d ordered, %d paid", ordered, paid)
	}
	for k, n := range c.keys {
		if n != 1 {
			t.Errorf("key %s came %d times", k, n)
		}
	}
	if count(all, "pay early") == 0 {
		t.Error("nobody came early")
	}
}

// Whoever is told that there is no bill yet, and when to come again, pays then. Red where they leave, which a mall sees of nearly everybody: an order
// is ready a moment before there is a bill.
func TestTheBillIsNotThereYet(t *testing.T) {
	t.Parallel()
	c, url := newCounter(t)
	c.settles = 4
	all := run(t, shopper.Config{Server: url, Seed: 3, People: 6})
	if ordered := count(all, "check out"); ordered != 6 || len(c.paid) != ordered || c.settles != 0 {
		t.Errorf("%d ordered, %d paid, %d refusals are left", ordered, len(c.paid), c.settles)
	}
	for k, n := range c.keys {
		if n != 1 {
			t.Errorf("key %s came %d times", k, n)
		}
	}
}

// A mall that does not answer is told of once for each reason, and tried again.
func TestAMallThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	c, url := newCounter(t)
	c.busy = 4
	var trouble bytes.Buffer
	run(t, shopper.Config{Server: url, Device: "kiosk-1", Seed: 3, People: 1, Trouble: &trouble})
	if got := trouble.String(); got != "kiosk-1 is not answered by "+url+", and tries again: 503 unavailable: \n" {
		t.Errorf("%q", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	told := &lines{arrived: make(chan string, 1)}
	ended := make(chan error, 1)
	go func() {
		ended <- shopper.Run(ctx, shopper.Config{Server: "http://127.0.0.1:1", Token: "login", Trouble: told})
	}()
	if line := <-told.arrived; !strings.Contains(line, "connection refused") {
		t.Error(line)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// What is missing is decided by the one who ordered it.
func TestSomethingIsMissing(t *testing.T) {
	t.Parallel()
	c, url := newCounter(t)
	c.short = true
	all := run(t, shopper.Config{Server: url, Seed: 3, People: 12})
	rest, cancel := count(all, "decide rest"), count(all, "decide cancel")
	if rest == 0 || cancel == 0 || rest+cancel != 12 || count(all, "canceled") != cancel || count(all, "tired of waiting") != 0 {
		t.Errorf("%d take the rest, %d nothing: %+v", rest, cancel, all)
	}
}

// A request that is sent twice has one key, and so has one that is made again since it was refused.
func TestRequestsComeTwice(t *testing.T) {
	t.Parallel()
	c, url := newCounter(t)
	run(t, shopper.Config{Server: url, Seed: 3, People: 3, Faults: shopper.Faults{Duplicates: 100}})
	for k, n := range c.keys {
		if n != 2 {
			t.Errorf("key %s came %d times", k, n)
		}
	}
	c, url = newCounter(t)
	c.busy = 5
	if all := run(t, shopper.Config{Server: url, Seed: 3, People: 1}); count(all, "pay")+count(all, "pay early") != 1 {
		t.Errorf("%+v", all)
	}
}

// Faults are switched while it runs, by who knows the login, and only to what they can be.
func TestFaultsAreSwitched(t *testing.T) {
	t.Parallel()
	_, url := newCounter(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	out := &lines{arrived: make(chan string, 1000)}
	ended := make(chan error, 1)
	go func() {
		ended <- shopper.Run(ctx, shopper.Config{Server: url, Token: "login", Rate: 100, Out: out, Admin: "127.0.0.1:0"})
	}()
	var told struct {
		At string `json:"faults_at"`
	}
	if err := json.Unmarshal([]byte(<-out.arrived), &told); err != nil {
		t.Fatal(err)
	}
	put := func(token, body string) int {
		r, err := http.NewRequestWithContext(ctx, "PUT", told.At, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close() // only its status matters
		return resp.StatusCode
	}
	if a, b, c := put("other", `{}`), put("login", `{"abandon":101}`), put("login", `{"abandon":100}`); a != 401 || b != 400 || c != 200 {
		t.Errorf("%d %d %d", a, b, c)
	}
	for line := range out.arrived {
		if strings.Contains(line, `"abandon"`) {
			break
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := shopper.Run(t.Context(), shopper.Config{Server: url, Token: "login", Admin: "0.0.0.0:0"}); err == nil {
		t.Error("faults can be switched from elsewhere")
	}
	if err := shopper.Run(t.Context(), shopper.Config{Server: url, Token: "login", Faults: shopper.Faults{Loss: -1}}); err == nil {
		t.Error("less than nothing is lost")
	}
}

// lines passes on what is written, and forgets what nobody takes.
type lines struct{ arrived chan string }

func (l *lines) Write(p []byte) (int, error) {
	select {
	case l.arrived <- string(p):
	default:
	}
	return len(p), nil
}
