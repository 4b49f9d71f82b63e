package market

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/souk/internal/control"
	"example.org/souk/internal/testmall"
	"example.org/souk/internal/testserver"
)

// market is a running souk with a shop in it.
type market struct {
	*testmall.Mall
	t    *testing.T
	host string // of the MQTT server, with its port
	port string
}

// open starts souk, as one process or in the way that the test is run in (everyWay), with the goods of the tests: PRODUCT_001 at 10.00, of which
// there are 10, and PRODUCT_002 at 5.00, of which there are 15; CUSTOMER_001, whose card is 5001, and CUSTOMER_002.
func open(t *testing.T, flags ...string) *market {
	t.Helper()
	m := &market{Mall: testmall.Open(t, flags...), t: t}
	m.begin()
	m.fill()
	return m
}

// fill brings in the goods of the tests.
func (m *market) fill() {
	m.t.Helper()
	m.seed()
	m.Souk("customer", "card", "CUSTOMER_001", "5001")
	m.Idle()
}

// begin runs souk, again where it ran before; of several processes those that do not run.
func (m *market) begin() {
	m.t.Helper()
	m.meet(m.Begin())
	if m.Parts == nil {
		m.meetDevices(m.Proc)
	}
}

// beginParts runs processes side by side, again where they ran before, and waits until they are ready.
func (m *market) beginParts(list ...*testmall.Part) {
	m.t.Helper()
	m.BeginParts(list...)
	m.meet(list)
}

// meet finds out where processes are that have begun.
func (m *market) meet(list []*testmall.Part) {
	m.t.Helper()
	for _, p := range list {
		if p.Runs[0] == "devices" {
			p.More = []string{"--mqtt", m.meetDevices(p.Proc)} // where its clients find it again
		}
	}
}

// meetDevices waits until a process says where devices connect, and returns that.
func (m *market) meetDevices(p *testserver.Process) string {
	m.t.Helper()
	at := p.WaitLine("devices ")
	at = at[strings.Index(at, "//")+2:]
	m.host, m.port, _ = strings.Cut(at, ":")
	return at
}

// pause pauses a service; resume ends that.
func (m *market) pause(service string) (resume func()) {
	m.t.Helper()
	m.Souk("service", "pause", service)
	return func() { m.t.Helper(); m.Souk("service", "resume", service) }
}

// seed sells what the tests buy. Of many processes a busy machine is not done with it in the time that a request has, and what was done is not done twice.
func (m *market) seed() {
	m.t.Helper()
	const path = "/automation-testing/seed"
	await(m.t, "it is seeded", func() bool {
		req, err := http.NewRequestWithContext(m.t.Context(), http.MethodPost, m.At("online")+path, nil)
		if err != nil {
			m.t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			m.t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		text, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusServiceUnavailable {
			m.t.Fatalf("POST %s: %s %s %v", path, resp.Status, text, err)
		}
		return resp.StatusCode == http.StatusOK
	})
}

// get reads what an address shows a caller.
func (m *market) get(url, bearer string) string {
	m.t.Helper()
	req, err := http.NewRequestWithContext(m.t.Context(), http.MethodGet, url, nil)
	if err != nil {
		m.t.Fatal(err)
	}
	req.Header.Set("Authorization", bearer)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		m.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		m.t.Fatalf("GET %s: %s %s %v", url, resp.Status, text, err)
	}
	return string(text)
}

// post says something to staff's gateway, which must be answered so.
func (m *market) post(want int, path, bearer, body string) string {
	m.t.Helper()
	req, err := http.NewRequestWithContext(m.t.Context(), http.MethodPost, m.At("staff")+path, strings.NewReader(body))
	if err != nil {
		m.t.Fatal(err)
	}
	req.Header.Set("Authorization", bearer)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		m.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != want {
		m.t.Fatalf("POST %s: %s %s %v, want %d", path, resp.Status, text, err, want)
	}
	return string(text)
}

// onHand returns how much is on hand of a SKU.
func (m *market) onHand(sku string) int64 {
	m.t.Helper()
	return testmall.Rows[struct{ OnHand int64 }](m.Mall, "stock show", control.Args{"sku": sku})[0].OnHand
}

// login is what a device connects with.
type login struct {
	m        *market
	Device   string
	Store    string
	Kind     string
	Password string
	Example  string
}

// device gives a device a login.
func (m *market) device(id string, more ...string) login {
	m.t.Helper()
	args := control.Args{"device": id}
	for i := 0; i+1 < len(more); i += 2 {
		args[more[i]] = more[i+1]
	}
	l := testmall.Rows[login](m.Mall, "device add", args)[0]
	l.m = m
	return l
}

// protocols are the versions that stock clients speak.
var protocols = []string{"mqttv311", "mqttv5"}

func (l login) flags(protocol string) []string {
	return []string{"-h", l.m.host, "-p", l.m.port, "-u", l.Device, "-P", l.Password, "-V", protocol}
}

// pub publishes with the stock client and waits until it ends, with QoS 1 unless the arguments say otherwise.
func (l login) pub(protocol, topic, payload string, more ...string) (out string, err error) {
	l.m.t.Helper()
	program, _ := testserver.Mosquitto(l.m.t)
	ctx, cancel := context.WithTimeout(l.m.t.Context(), 30*time.Second)
	defer cancel()
	args := append(l.flags(protocol), "-t", topic, "-m", payload)
	if !slices.Contains(more, "-q") {
		args = append(args, "-q", "1")
	}
	all, err := exec.CommandContext(ctx, program, append(args, more...)...).CombinedOutput()
	return string(all), err
}

// mustPub publishes what must be taken.
func (l login) mustPub(protocol, topic, payload string, more ...string) {
	l.m.t.Helper()
	if out, err := l.pub(protocol, topic, payload, more...); err != nil {
		l.m.t.Fatalf("publish %s as %s: %v %s", topic, l.Device, err, out)
	}
}

// sub subscribes with the stock client; each message is a line, the topic before the payload.
func (l login) sub(protocol string, topics ...string) *testserver.Process {
	l.m.t.Helper()
	_, program := testserver.Mosquitto(l.m.t)
	return l.follow(append([]string{program}, l.flags(protocol)...), topics)
}

// follow runs the stock client on topics.
func (l login) follow(args, topics []string) *testserver.Process {
	l.m.t.Helper()
	return l.shown("%p", args, topics)
}

// shown is follow, and has of each message shown what the client's format says.
func (l login) shown(format string, args, topics []string) *testserver.Process {
	l.m.t.Helper()
	args = append(args, "-q", "1", "-F", "got %t "+format)
	// What is kept is given to whoever has subscribed, so from then on nothing is missed.
	here := "souk/v1/" + l.Store + "/server/connection"
	for _, t := range append(topics, here) {
		args = append(args, "-t", t)
	}
	p := testserver.Start(l.m.t, args...)
	p.WaitLine("got " + here)
	return p
}

// stay subscribes as sub does, in a session that outlives its connection.
func (l login) stay(protocol string, topics ...string) *testserver.Process {
	l.m.t.Helper()
	_, program := testserver.Mosquitto(l.m.t)
	args := append([]string{program}, l.flags(protocol)...)
	args = append(args, "-c", "-i", l.Device)
	if protocol == "mqttv5" {
		args = append(args, "-x", "3600")
	}
	return l.follow(args, topics)
}

// heard returns the payloads of a topic, or what else of its messages is shown, that a subscriber was given so far.
func heard(p *testserver.Process, topic string) (list []string) {
	for line := range strings.Lines(p.Stdout()) {
		if rest, ok := strings.CutPrefix(line, "got "+topic+" "); ok {
			list = append(list, strings.TrimSuffix(rest, "\n"))
		}
	}
	return list
}

// await waits until a condition holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	if !testserver.Await(t.Context(), time.Minute, holds) {
		t.Fatalf("it never came true that %s", what)
	}
}

// arrivalOf and departureOf are what gates send; n tells one from another.
func arrivalOf(customer string, n int) string {
	return fmt.Sprintf(`{"timestamp":"2026-05-01T12:00:%02d.%03dZ","customer_id":%q}`, n/1000, n%1000, customer)
}

func departureOf(customer string, n int, products ...string) string {
	list, err := json.Marshal(products)
	if err != nil {
		panic(err) // texts always encode
	}
	return fmt.Sprintf(`{"timestamp":"2026-05-01T12:30:%02d.%03dZ","customer_id":%q,"product_ids":%s}`, n/1000, n%1000, customer, list)
}

// nowhere fails the test where a text stands in the database or in any file of the data directory, and where others than the owner may read one
// (FAILURES 48).
func (m *market) nowhere(text string) {
	m.t.Helper()
	if m.DB != "" {
		dump := m.Server.Dump(m.t, m.DB)
		for _, written := range []string{text, hex.EncodeToString([]byte(text))} {
			if at := strings.Index(dump, written); at >= 0 {
				m.t.Errorf("%q stands in the database: %s", text, dump[max(0, at-200):at])
			}
		}
	}
	err := filepath.WalkDir(m.Dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && path != m.Dir { // which the test has made
			if info, err := d.Info(); err != nil || info.Mode().Perm()&0o077 != 0 {
				m.t.Errorf("%s may be read by others: %v, %v", strings.TrimPrefix(path, m.Dir), info.Mode(), err)
			}
		}
		if err != nil || !d.Type().IsRegular() || strings.HasSuffix(path, ".mbox") {
			return err
		}
		data, err := os.ReadFile(path)
		if strings.Contains(string(data), text) {
			m.t.Errorf("%q stands in %s", text, d.Name())
		}
		return err
	})
	if err != nil {
		m.t.Fatal(err)
	}
}
