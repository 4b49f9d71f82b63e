package market

import (
	"fmt"
	"maps"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"example.org/souk/internal/testmall"
	"example.org/souk/internal/testserver"
	"example.org/souk/mall/event"
)

// apart is the supermarket with each of its parts in a process of its own, inventory and the fast lane in two, and in another one what stands
// behind them.
var apart = []string{
	"online stores customers keys payments logistics orders baskets depot notifications analytics search staff kiosk",
	"devices", "entrance", "greeter", "exitgate", "inventory", "fastlane", "inventory", "fastlane",
}

// openApart starts a market as several processes.
func openApart(t *testing.T, server *testserver.Server) *market {
	t.Helper()
	m := &market{Mall: testmall.Open(t), t: t}
	m.Split(server, apart)
	m.begin()
	m.fill()
	return m
}

// flood publishes lines, one after another over one connection, and returns when each is acknowledged.
func (l login) flood(protocol, topic string, lines []string) {
	l.m.t.Helper()
	program, _ := testserver.Mosquitto(l.m.t)
	args := append(append([]string{program}, l.flags(protocol)...), "-q", "1", "-l", "-t", topic)
	p := testserver.Command{Args: args, Stdin: strings.Join(lines, "\n") + "\n"}.Start(l.m.t)
	if e := p.Wait(); e.Code != 0 {
		l.m.t.Fatalf("publish %s as %s: %v", topic, l.Device, e)
	}
}

// handled returns how many messages of a type a process has handled, as it tells Prometheus.
func (m *market) handled(p *testmall.Part, bearer, wire string) (n int) {
	m.t.Helper()
	text := m.get(p.URL+"/metrics", bearer)
	for _, found := range regexp.MustCompile(`(?m)^souk_messages_total\{result="handled",.*type="`+regexp.QuoteMeta(wire)+`"\} (\d+)$`).FindAllStringSubmatch(text, -1) {
		one, err := strconv.Atoi(found[1])
		if err != nil {
			m.t.Fatal(err)
		}
		n += one
	}
	return n
}

// A6, A7, B20: the parts of the supermarket run as processes of their own, two of them twice. Instances share the work, and none of it is done
// twice, also when one of them dies in the middle. What devices said while a part was away is acknowledged, and dealt with once when the part is
// there again, whichever part that is; and what a device was to be told waits for it, also where the server that it connects to dies. Red
// where the gateway asks the part before it acknowledges, where instances work on the same slices, or where what was acknowledged is not in
// the log.
func TestA6A7_Processes(t *testing.T) {
	t.Parallel()
	if !testmall.Proving(t) {
		return
	}
	server := testserver.PostgresOwn(t, "max_connections=300")
	m := openApart(t, server)
	m.Souk("stock", "receive", "PRODUCT_001", "10000")
	gate, till := m.device("gate-1"), m.device("till-1")
	told := till.stay("mqttv311", "payment-due")
	for _, service := range []string{"inventory", "fastlane"} {
		await(t, "both instances of "+service+" have slices", func() bool {
			owners, _ := server.Psql(t, m.DB, fmt.Sprintf("SELECT count(DISTINCT owner) FROM %s.bb_checkpoint WHERE subscription = '%[1]s' AND owner <> ''", service))
			return strings.TrimSpace(owners) == "2"
		})
	}
	visits := 0
	// visit has so many people come and leave with two pieces each; of one of them it is told twice.
	visit := func(protocol string, people int) {
		t.Helper()
		var came, left []string
		for range people {
			visits++
			who := fmt.Sprintf("V%04d", visits)
			came = append(came, arrivalOf(who, visits))
			left = append(left, departureOf(who, visits, "PRODUCT_001", "PRODUCT_001"))
		}
		gate.flood(protocol, "customer-arrival", append(came, came[0]))
		gate.flood(protocol, "customer-departed", append(left, left[0]))
	}
	visit("mqttv5", 25)
	visit("mqttv311", 25)
	m.settle(visits)
	bearer := "Bearer " + strings.TrimSpace(m.Souk("token", "--role", "engineer", "--subject", "eve"))
	for _, service := range []string{"inventory", "fastlane"} {
		sum := 0
		for _, p := range m.Of(service) {
			n := m.handled(p, bearer, event.CustomerDepartedV1)
			if sum += n; n < visits/10 {
				t.Errorf("an instance of %s has dealt with %d of %d departures", service, n, visits)
			}
		}
		if sum != visits {
			t.Errorf("the instances of %s have dealt with %d departures, want %d", service, sum, visits)
		}
	}
	// One instance of each dies in the middle.
	visit("mqttv5", 15)
	killed := []*testmall.Part{m.Of("inventory")[0], m.Of("fastlane")[1]}
	for _, p := range killed {
		p.Proc.Kill9()
	}
	visit("mqttv311", 5)
	m.beginParts(killed...)
	m.settle(visits)
	for i, service := range []string{"greeter", "inventory", "fastlane", "entrance", "exitgate"} {
		away := m.Of(service)
		for _, p := range away {
			if i%2 == 0 {
				p.Proc.Kill9()
				continue
			}
			p.Proc.Signal(syscall.SIGTERM)
			p.Proc.Wait()
		}
		visit(protocols[i%2], 2)
		m.beginParts(away...)
	}
	m.settle(visits)
	// The server that devices connect to dies as soon as it has acknowledged; the till is away meanwhile.
	await(t, "the till is told of each", func() bool { return len(visitsOf(t, told)) == visits })
	told.Signal(syscall.SIGTERM)
	told.Wait()
	before := visitsOf(t, told)
	visit("mqttv5", 3)
	m.settle(visits)
	m.Idle()
	visit("mqttv311", 2)
	m.Of("devices")[0].Proc.Kill9()
	m.beginParts(m.Of("devices")...)
	told = till.stay("mqttv311", "payment-due")
	await(t, "the till is told of what was due while it was away", func() bool {
		all := visitsOf(t, told)
		maps.Copy(all, before)
		return len(all) == visits
	})
	m.settle(visits)
	m.Idle()
	m.once(visits)
}

// visitsOf returns the visits of which a subscriber was told what is due.
func visitsOf(t *testing.T, p *testserver.Process) map[string]bool {
	t.Helper()
	visits := map[string]bool{}
	for _, d := range dues(t, heard(p, "payment-due")) {
		visits[d.Visit] = true
	}
	return visits
}

// settle waits until so many visits are dealt with.
func (m *market) settle(visits int) {
	m.t.Helper()
	await(m.t, fmt.Sprint(visits, " visits are dealt with"), func() bool {
		return len(testmall.Events[event.PaymentDue](m.Mall, event.PaymentDueV1)) >= visits && len(testmall.Events[event.StockIssued](m.Mall, event.StockIssuedV1)) >= visits &&
			len(testmall.Events[event.WelcomeShown](m.Mall, event.WelcomeShownV1)) >= visits
	})
}

// once fails the test unless each of so many visits was begun, greeted, ended, issued, and billed once.
func (m *market) once(visits int) {
	m.t.Helper()
	counted := map[string]map[string]int{}
	count := func(what, visit string) {
		if counted[what] == nil {
			counted[what] = map[string]int{}
		}
		counted[what][visit]++
	}
	for _, e := range testmall.Events[event.CustomerArrived](m.Mall, event.CustomerArrivedV1) {
		count("arrivals", e.Card)
	}
	for _, e := range testmall.Events[event.WelcomeShown](m.Mall, event.WelcomeShownV1) {
		count("welcomes", e.Visit)
	}
	for _, e := range testmall.Events[event.CustomerDeparted](m.Mall, event.CustomerDepartedV1) {
		count("departures", e.Card)
	}
	for _, e := range testmall.Events[event.StockIssued](m.Mall, event.StockIssuedV1) {
		count("issues", e.Visit)
	}
	for _, e := range testmall.Events[event.PaymentDue](m.Mall, event.PaymentDueV1) {
		count("dues", e.Visit)
		if e.Total.Amount != 2000 {
			m.t.Errorf("due: %+v", e)
		}
	}
	for _, what := range []string{"arrivals", "welcomes", "departures", "issues", "dues"} {
		for visit, n := range counted[what] {
			if n != 1 {
				m.t.Errorf("%d %s of %s", n, what, visit)
			}
		}
		if n := len(counted[what]); n != visits {
			m.t.Errorf("%s of %d visits, want %d", what, n, visits)
		}
	}
	if got := m.onHand("PRODUCT_001"); got != int64(10_010-2*visits) {
		m.t.Errorf("%d on hand, want %d", got, 10_010-2*visits)
	}
}
