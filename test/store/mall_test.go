package store

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.org/souk/internal/control"
	"example.org/souk/internal/testserver"
)

// mall is a running souk.
type mall struct {
	t      *testing.T
	binary string
	dir    string
	flags  []string // of "up" or "run", beside those that every test uses
	url    string
	proc   *testserver.Process // that answers customers
	out    *outside            // nil: the stand-ins that souk starts by itself
	// Of a mall that runs as several processes: its databases, what runs where, and what stands before them.
	db     string
	others []*part
	front  *front
	each   bool // every service has a process of its own, also those that the program and its flags add
}

// part is a process of a mall that runs as several.
type part struct {
	name  string // of its data directory
	parts []string
	db    string // "": the mall's
	url   string
	proc  *testserver.Process
}

// program builds souk, with crash points where asked.
func program(t *testing.T, tags ...string) string {
	t.Helper()
	return testserver.Build(t, "example.org/souk/cmd/souk", tags...)
}

// start runs souk on a data directory until it is ready: as one process, or in the way that the test is run in (everyWay).
func start(t *testing.T, binary, dir string, env []string, flags ...string) *mall {
	t.Helper()
	m := &mall{t: t, binary: binary, dir: dir, flags: flags}
	if w := separately(t); w != nil {
		db, carried := w.mallIn(t, dir)
		m.db, m.each, m.flags = db, true, slices.Concat(flags, carried)
	}
	m.begin(env...)
	return m
}

// startWith is start with stand-ins that live on when souk dies.
func startWith(t *testing.T, out *outside, binary, dir string, env []string, flags ...string) *mall {
	t.Helper()
	m := start(t, binary, dir, env, append(out.flags(), flags...)...)
	m.out = out
	return m
}

// noSupermarket leaves away what stands at the edge of a mall: the supermarket has tests of its own, and its processes would cost each of these a second.
// A flag asks for it all the same, and a version that does not know the variables passes over them.
var noSupermarket = slices.Clip([]string{"SOUK_MQTT=off", "SOUK_LOGISTICS=off"})

// begin runs souk, again where it ran before.
func (m *mall) begin(env ...string) {
	m.t.Helper()
	if m.each {
		m.others = eachApart(m.binary, m.flags)
		env = append(noSupermarket, env...)
	}
	if m.others != nil {
		m.beginAll(m.others, env...)
		return
	}
	args := append([]string{m.binary, "--data", m.dir, "up", "--http", "127.0.0.1:0", "--test-mode", "--caller-rate", "100000"}, m.flags...)
	m.proc = testserver.Command{Args: args, Env: append(noSupermarket, env...)}.Start(m.t)
	line := m.proc.WaitLine("online store")
	m.proc.WaitLine("ready")
	m.url = strings.TrimSpace(strings.TrimPrefix(line, "online store"))
}

// beginWithout runs a mall that has ended, but for some services, which are away until it begins the next time.
func (m *mall) beginWithout(services ...string) {
	m.t.Helper()
	if m.others == nil {
		flags := m.flags
		for _, s := range services {
			m.flags = slices.Concat(m.flags, []string{"--without", s})
		}
		m.begin()
		m.flags = flags
		return
	}
	m.others = slices.DeleteFunc(m.others, func(p *part) bool { return slices.Contains(services, p.parts[0]) })
	m.beginAll(m.others, noSupermarket...)
}

// split runs souk as several processes, each with the parts that stand apart by spaces.
func split(t *testing.T, binary, dir, db string, parts []string, flags ...string) *mall {
	t.Helper()
	m := &mall{t: t, binary: binary, dir: dir, db: db, flags: flags, others: processes(parts)}
	m.begin()
	return m
}

// eachApart lists a process for every service: of the online store, and of what a program and its flags add to it.
func eachApart(binary string, flags []string) []*part {
	parts := slices.Clone(apart)
	if slices.Contains(flags, "--partner") {
		parts = append(parts, "partner")
	}
	if filepath.Base(binary) == "watched" {
		parts = append(parts, "watcher")
	}
	return processes(parts)
}

// processes lists processes that are to begin, each with the parts that stand apart by spaces.
func processes(parts []string) (list []*part) {
	for i, p := range parts {
		list = append(list, &part{name: fmt.Sprintf("%d-%s", i, strings.Fields(p)[0]), parts: strings.Fields(p)})
	}
	return list
}

// beginPart runs one process of several, and waits until it is ready.
func (m *mall) beginPart(p *part, env ...string) {
	m.t.Helper()
	m.beginAll([]*part{p}, env...)
}

// beginAll runs processes of several side by side, and waits until all are ready.
func (m *mall) beginAll(parts []*part, env ...string) {
	m.t.Helper()
	for _, p := range parts {
		m.launch(p, env...)
	}
	for _, p := range parts {
		m.awaitPart(p)
	}
}

// launch starts one process of several.
func (m *mall) launch(p *part, env ...string) {
	m.t.Helper()
	args := append([]string{m.binary, "--data", filepath.Join(m.dir, p.name), "--db", cmp.Or(p.db, m.db), "run"}, p.parts...)
	args = append(append(args, "--test-mode", "--caller-rate", "100000"), m.flags...)
	p.proc = testserver.Command{Args: args, Env: env}.Start(m.t)
}

// awaitPart waits until a process that was launched is ready.
func (m *mall) awaitPart(p *part) {
	m.t.Helper()
	line := p.proc.WaitLine("web ")
	p.proc.WaitLine("ready")
	p.url = strings.TrimSpace(strings.TrimPrefix(line, "web"))
	if m.front == nil {
		m.front = newFront(m.t)
		m.url = m.front.url
	}
	if err := m.front.set(p.parts, p.url); err != nil {
		m.t.Fatal(err)
	}
	if slices.Contains(p.parts, "online") {
		m.proc = p.proc
	}
}

// of returns the process that runs a part, the first of several: in a mall of one process that one.
func (m *mall) of(name string) *part {
	m.t.Helper()
	if m.others == nil {
		return &part{parts: []string{name}, url: m.url, proc: m.proc}
	}
	for _, p := range m.others {
		if slices.Contains(p.parts, name) {
			return p
		}
	}
	m.t.Fatalf("nobody runs %s", name)
	return nil
}

// dirOf is the data directory of the process that runs a part.
func (m *mall) dirOf(name string) string {
	m.t.Helper()
	return filepath.Join(m.dir, m.of(name).name) // which in a mall of one process has none
}

// beginWhatEnded runs again what does not run.
func (m *mall) beginWhatEnded(env ...string) {
	m.t.Helper()
	if m.others == nil && m.proc.Ended() {
		m.begin(env...)
	}
	if m.each {
		env = append(noSupermarket, env...)
	}
	var ended []*part
	for _, p := range m.others {
		if p.proc.Ended() {
			ended = append(ended, p)
		}
	}
	m.beginAll(ended, env...)
}

// firstEnded waits until one of the mall's processes has ended, and returns it.
func (m *mall) firstEnded() *testserver.Process {
	m.t.Helper()
	ended := m.proc
	await(m.t, "a process has ended", func() bool {
		for _, p := range m.others {
			if p.proc.Ended() {
				ended = p.proc
				return true
			}
		}
		return ended.Ended()
	})
	return ended
}

// place is where the mall keeps what it keeps.
func (m *mall) place() place { return place{dir: m.dir, db: m.db, broker: m.broker()} }

// broker returns the URL of the broker that carries the mall's messages, "" where the log does.
func (m *mall) broker() string { return brokerOf(m.flags) }

func brokerOf(flags []string) string {
	if i := slices.Index(flags, "--broker"); i >= 0 {
		return flags[i+1]
	}
	return ""
}

// souk runs a command line on the mall, which must succeed, and returns what it printed.
func (m *mall) souk(args ...string) string {
	m.t.Helper()
	out, code := m.place().souk(m.t, m.binary, args...)
	if code != 0 {
		m.t.Fatalf("souk %s: exit %d\n%s", strings.Join(args, " "), code, out)
	}
	return out
}

// idle waits until nothing is in flight, for several minutes where the machine is slow. A mall of one process that runs is asked itself, which
// costs no process; of others it takes their own program to know all of their services.
func (m *mall) idle() {
	m.t.Helper()
	if m.db == "" {
		if control.Ask(m.t.Context(), m.dir, "wait", control.Args{"timeout": "40s"}, func(json.RawMessage) error { return nil }) == nil {
			return
		}
	}
	for range 6 {
		if _, code := m.place().souk(m.t, m.binary, "wait", "--idle", "--timeout", "40s"); code == 0 {
			return
		}
	}
	m.t.Fatal("it does not come to rest")
}

// ask runs an operation of the command line without a process of its own.
func (m *mall) ask(ctx context.Context, operation string, args control.Args) error {
	return control.Call(ctx, control.Mall{Data: m.dir, DB: m.db}, operation, args, func(json.RawMessage) error { return nil })
}

// call makes a request; status 0 means that there was no answer.
func (m *mall) call(method, path, body string, headers ...string) (status int, answer string) {
	return callAt(m.t, m.url, method, path, body, headers...)
}

// callAt makes a request to one of several gateways.
func callAt(t *testing.T, url, method, path, body string, headers ...string) (status int, answer string) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url+path, bytes.NewBufferString(body))
	if err != nil {
		t.Error(err)
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

// seed sells what the tests buy. It is many commands, one after the other and each to another process where there are several: a busy machine is not done in
// the time that a request has, and what was done is not done twice.
func (m *mall) seed() {
	m.t.Helper()
	await(m.t, "seeded", func() bool {
		status, answer := m.call("POST", "/automation-testing/seed", "")
		if status != 200 && status != 503 {
			m.t.Fatalf("seed: %d %s", status, answer)
		}
		return status == 200
	})
	if m.each { // each service hears of it by itself
		m.idle()
	}
}

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

// await polls until the condition holds; it fails the test after a minute, which only failures take.
func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	awaitFor(t, time.Minute, what, condition)
}

// awaitFor is await with a time of one's own.
func awaitFor(t *testing.T, longest time.Duration, what string, condition func() bool) {
	t.Helper()
	if !testserver.Await(t.Context(), longest, condition) {
		t.Fatalf("%s: not within %v", what, longest)
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

// kill9 kills the mall, each process of it.
func (m *mall) kill9() {
	if m.others == nil {
		m.proc.Kill9()
	}
	for _, p := range m.others {
		p.proc.Kill9()
	}
}

// end ends the process that runs a part in good order: in a mall of one process that one.
func (m *mall) end(name string) {
	m.t.Helper()
	m.endAll(m.of(name).proc)
}

// stop ends the mall in good order.
func (m *mall) stop() {
	m.t.Helper()
	procs := []*testserver.Process{m.proc}
	if m.others != nil {
		procs = nil
	}
	for _, p := range m.others {
		procs = append(procs, p.proc)
	}
	m.endAll(procs...)
}

// endAll ends processes side by side.
func (m *mall) endAll(procs ...*testserver.Process) {
	m.t.Helper()
	for _, p := range procs {
		p.Signal(syscall.SIGTERM)
	}
	for _, p := range procs {
		if e := p.Wait(); e.Code != 0 {
			m.t.Errorf("souk ended with %v\n%s", e, p.Stderr())
		}
	}
}
