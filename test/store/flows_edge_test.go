package store

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"example.org/souk/internal/control"
	"example.org/souk/internal/testmall"
	"example.org/souk/internal/testserver"
	"example.org/souk/mall/event"
	"example.org/souk/provider/supplier/standin"
)

// edge is what a supermarket has around it: devices, and a supplier who delivers when the scenario says so.
type edge struct {
	admin, password string // of the supplier; the file with its password
	passwords       map[string]string
	screens         map[string]*testserver.Process // what displays and tills are told
	scans           int                            // of bags
	said            []string                       // by the gate that said something last: its name, the topic, the message
	got             map[string]bool                // orders that the supplier got and the scenario has named
}

// startEdge starts the supplier and returns the flags that lead a mall to it.
func startEdge(t *testing.T, binary string) (*edge, []string) {
	t.Helper()
	dir := t.TempDir()
	e := &edge{
		password: filepath.Join(dir, "password"), passwords: map[string]string{}, screens: map[string]*testserver.Process{}, got: map[string]bool{},
	}
	p := testserver.Start(t, binary, "provider", "supplier", "--hold", "--ledger", filepath.Join(dir, "ledger.jsonl"), "--password-file", e.password)
	bus := strings.TrimPrefix(p.WaitLine("listening on"), "listening on mqtt://")
	e.admin = strings.TrimPrefix(p.WaitLine("faults at"), "faults at ")
	return e, []string{"--mqtt", "auto", "--logistics", "mqtt://souk@" + bus + "?password_file=" + e.password}
}

// ledger returns what the supplier has written down of one kind.
func (s *scenario) ledger(what string) (list []standin.Entry) {
	s.t.Helper()
	var all []standin.Entry
	testmall.AskStandIn(s.t, http.MethodGet, s.edge.admin+"/ledger", s.edge.password, "", &all)
	for _, e := range all {
		if e.What == what {
			list = append(list, e)
		}
	}
	return list
}

// mqtt makes the arguments with which a device connects by a stock client.
func (s *scenario) mqtt(device string) []string {
	_, address, _ := strings.Cut(s.of("devices").proc.WaitLine("devices   "), "//")
	host, port, _ := strings.Cut(address, ":")
	return []string{"-h", host, "-p", port, "-u", device, "-P", s.edge.passwords[device], "-q", "1"}
}

// scan has a gate say something.
func (s *scenario) scan(gate, topic, text string) {
	s.t.Helper()
	s.edge.said = []string{gate, topic, text}
	pub, _ := testserver.Mosquitto(s.t)
	if out, err := exec.CommandContext(s.t.Context(), pub, append(s.mqtt(gate), "-t", topic, "-m", text)...).CombinedOutput(); err != nil {
		s.t.Fatalf("%s says %s: %v %s", gate, text, err, out)
	}
}

// connect gives a device a login and has it listen to a topic, if it is to.
func (s *scenario) connect(kind, device, topic string) {
	s.t.Helper()
	s.edge.passwords[device] = fmt.Sprint(s.told("device add", control.Args{"device": device, "kind": kind})[0]["password"])
	if topic == "" {
		return
	}
	_, sub := testserver.Mosquitto(s.t)
	const here = "souk/v1/main-hall/server/connection" // is kept, so whoever is told of it has subscribed
	p := testserver.Start(s.t, append(append([]string{sub}, s.mqtt(device)...), "-F", "%t %p", "-t", topic, "-t", here)...)
	p.WaitLine(here)
	s.edge.screens[device] = p
}

// edgeSentences are what can be said of a supermarket and its supplier.
var edgeSentences = []sentence{
	say(`the shop has the gate ID, the display ID and the till ID`, func(s *scenario, w []string) {
		s.connect("gate", w[0], "")
		s.connect("display", w[1], "display-welcome")
		s.connect("till", w[2], "payment-due")
	}),
	say(`the shop has the gate ID`, func(s *scenario, w []string) { s.connect("gate", w[0], "") }),
	say(`ID has the card NUMBER`, func(s *scenario, w []string) {
		s.told("customer card", control.Args{"customer": w[0], "card": w[1]})
		s.idle()
	}),
	say(`the card NUMBER is scanned at the gate ID`, func(s *scenario, w []string) { s.scan(w[1], "CustomerArrival", w[0]) }),
	say(`ID is visitor ID on visit ID`, func(s *scenario, w []string) {
		var arrived []event.CustomerArrived
		var visitors []string
		for _, row := range s.rows("entrance", `SELECT stream, text(data) FROM {bb_log} WHERE type = '`+event.CustomerArrivedV1+`'`) {
			stream, data, _ := strings.Cut(row, "|")
			var e event.CustomerArrived
			if err := json.Unmarshal([]byte(data), &e); err != nil {
				s.t.Fatal(err)
			}
			if e.Customer == w[0] {
				arrived, visitors = append(arrived, e), append(visitors, strings.TrimPrefix(stream, "visitor/"))
			}
		}
		if len(arrived) != 1 {
			s.t.Fatalf("arrived: %+v", arrived)
		}
		s.called[w[1]], s.called[w[2]] = visitors[0], arrived[0].Visit
	}),
	say(`the display ID says "..."`, func(s *scenario, w []string) {
		lines, err := json.Marshal(strings.Split(w[1], ", and "))
		if err != nil {
			s.t.Fatal(err)
		}
		s.edge.screens[w[0]].WaitLine(`"lines":` + string(lines))
	}),
	say(`ID leaves through the gate ID with ...`, func(s *scenario, w []string) {
		var products []string
		for _, part := range strings.Split(w[2], ", ") {
			quantity, product, _ := strings.Cut(part, " ")
			for range number(s.t, quantity) {
				products = append(products, strconv.Quote(product))
			}
		}
		s.edge.scans++
		s.scan(w[1], "customer-departed", fmt.Sprintf(
			`{"timestamp":"2026-05-01T12:30:%02dZ","customer_id":%q,"product_ids":[%s]}`, s.edge.scans, w[0], strings.Join(products, ",")))
	}),
	say(`the gate says so again`, func(s *scenario, _ []string) { s.scan(s.edge.said[0], s.edge.said[1], s.edge.said[2]) }),
	say(`the till ID says once that ID owes NUMBER cents for visit ID`, func(s *scenario, w []string) {
		till := s.edge.screens[w[0]]
		till.WaitLine("payment-due ")
		var due struct {
			Customer string `json:"customer_id"`
			Visit    string `json:"visit_id"`
			Amount   int
		}
		_, text, _ := strings.Cut(till.Stdout(), "payment-due ")
		if err := json.Unmarshal([]byte(strings.SplitN(text, "\n", 2)[0]), &due); err != nil {
			s.t.Fatal(err)
		}
		if due.Customer != w[1] || due.Amount != number(s.t, w[2]) || due.Visit != w[3] || strings.Contains(text, "payment-due ") {
			s.t.Errorf("it says %s", text)
		}
	}),
	say(`the shop sells ID for NUMBER.NUMBER, and orders NUMBER when fewer than NUMBER are left`, func(s *scenario, w []string) {
		s.souk("product", "add", w[0], w[1]+"."+w[2], "--name", w[0], "--restock", w[3], "--threshold", w[4])
		s.idle()
	}),
	say(`the supplier has had NUMBER orders`, func(s *scenario, w []string) {
		if list := s.ledger("ordered"); len(list) != number(s.t, w[0]) {
			s.t.Errorf("it has had %+v", list)
		}
	}),
	say(`the supplier gets order ID of NUMBER ID`, func(s *scenario, w []string) {
		var is standin.Entry
		await(s.t, "the supplier gets it", func() bool {
			for _, is = range s.ledger("ordered") {
				if !s.edge.got[is.Purchase] {
					return true
				}
			}
			return false
		})
		if is.Item != w[2] || is.Quantity != int64(number(s.t, w[1])) {
			s.t.Errorf("it gets %+v", is)
		}
		s.edge.got[is.Purchase], s.called[w[0]] = true, is.Purchase
		await(s.t, "we know that it is there", func() bool {
			return len(s.rows("logistics", `SELECT 1 FROM {bb_log} WHERE type = '`+event.PurchaseSentV1+`' AND stream = 'purchase/`+is.Purchase+`'`)) > 0
		})
	}),
	say(`the supplier delivers order ID`, func(s *scenario, w []string) {
		testmall.AskStandIn(s.t, http.MethodPost, s.edge.admin+"/deliver", s.edge.password, "", nil)
		await(s.t, "the supplier has the receipt", func() bool {
			for _, e := range s.ledger("receipt") {
				if e.Purchase == w[0] {
					return true
				}
			}
			return false
		})
	}),
}
