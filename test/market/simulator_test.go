package market

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"example.org/souk/internal/testmall"
	"example.org/souk/internal/testserver"
	"example.org/souk/mall/event"
)

// passed is a line of what the gate tells.
type passed struct {
	N        int
	What     string
	Customer string
	Products []string
	Sent     int
	Fault    string
}

// play runs the gate simulator to its end and returns what it tells.
func (l login) play(flags ...string) (list []passed) {
	l.m.t.Helper()
	p := l.begin(flags...)
	if e := p.Wait(); e.Code != 0 {
		l.m.t.Fatalf("the gate ended with %v: %s", e, p.Stderr())
	}
	for line := range strings.Lines(p.Stdout()) {
		if strings.Contains(line, "faults_at") {
			continue
		}
		var one passed
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			l.m.t.Fatal(err)
		}
		list = append(list, one)
	}
	return list
}

func (l login) begin(flags ...string) *testserver.Process {
	args := append([]string{
		l.m.Binary, "device", "gate", l.Device, "--server", "mqtt://" + l.m.host + ":" + l.m.port,
		"--customers", "CUSTOMER_001,CUSTOMER_002,9001,9002", "--products", "PRODUCT_001,PRODUCT_002", "--rate", "200",
	}, flags...)
	return testserver.Command{Args: args, Env: []string{"SOUK_DEVICE_PASSWORD=" + l.Password}}.Start(l.m.t)
}

// A9: the simulator takes a seed, a rate and faults. Whatever it sends twice, late, smudged or never: what the mall has decided is
// what the gate got through, once. Red where copies are decided again, or where the gate forgets what it could not send.
func TestA9_GateWithFaults(t *testing.T) {
	t.Parallel()
	m := open(t)
	m.Souk("stock", "receive", "PRODUCT_001", "100000")
	m.Souk("stock", "receive", "PRODUCT_002", "100000")
	display := m.device("display-1")
	screen := testserver.Command{
		Args: []string{m.Binary, "device", "display", "display-1", "--server", "mqtt://" + m.host + ":" + m.port, "--mqtt-version", "3"},
		Env:  []string{"SOUK_DEVICE_PASSWORD=" + display.Password},
	}.Start(t)
	screen.WaitLine("(connected)")
	departures, arrivals, pieces := 0, map[string]int{}, map[string]int64{}
	for i, flags := range [][]string{
		{"--mqtt-version", "5", "--seed", "11"},
		{"--mqtt-version", "3", "--seed", "12", "--older"},
	} {
		gate := m.device(fmt.Sprint("gate-", i+1))
		list := gate.play(append(flags, "--visitors", "60", "--duplicates", "25", "--reorder", "15", "--misreads", "10", "--loss", "10", "--offline", "2")...)
		if len(list) != 120 {
			t.Fatalf("%d passed, want 120", len(list))
		}
		faults := ""
		for _, p := range list {
			faults += p.Fault
			if want := map[bool]int{true: 0, false: 1}[strings.Contains(p.Fault, "lost")]; p.Sent < want || want == 0 && p.Sent > 0 {
				t.Errorf("%+v", p)
			}
			switch {
			case p.Sent == 0:
			case p.What == "arrival":
				arrivals[p.Customer]++
			default:
				departures++
				for _, sku := range p.Products {
					pieces[sku]++
				}
			}
		}
		for _, f := range []string{"duplicated", "reordered", "misread", "lost"} {
			if !strings.Contains(faults, f) {
				t.Errorf("nothing was %s", f)
			}
		}
	}
	m.Idle()
	if got := testmall.Events[event.CustomerDeparted](m.Mall, event.CustomerDepartedV1); len(got) != departures {
		t.Errorf("%d departures, %d got through", len(got), departures)
	}
	came := map[string]int{}
	for _, a := range testmall.Events[event.CustomerArrived](m.Mall, event.CustomerArrivedV1) {
		who := a.Customer
		if who == "" {
			who = a.Card
		}
		came[who]++
	}
	for who, n := range came {
		if n > arrivals[who] {
			t.Errorf("%s came %d times, the gate saw them %d times", who, n, arrivals[who])
		}
	}
	for sku, n := range pieces {
		taken := int64(0)
		for _, i := range testmall.Events[event.StockIssued](m.Mall, event.StockIssuedV1) {
			for _, l := range i.Lines {
				if l.SKU == sku {
					taken += l.Quantity
				}
			}
		}
		for _, d := range testmall.Events[event.StockDiscrepancy](m.Mall, event.StockDiscrepancyV1) {
			if d.SKU == sku {
				taken += d.Quantity
			}
		}
		if taken != n {
			t.Errorf("%d of %s left by the books, %d went through the gates", taken, sku, n)
		}
	}
	if got := testmall.Events[event.PaymentDue](m.Mall, event.PaymentDueV1); len(got) != departures {
		t.Errorf("%d payments are due, want %d", len(got), departures)
	}
	await(t, "the display welcomes somebody by name", func() bool {
		return strings.Contains(screen.Stdout(), "| Welcome, Customer One | Bronze customer |")
	})
}

// A9: a gate that is switched on again with the same seed lets the same people pass once more, and they count. Red where a message of the second run
// has the id of one of the first, so that the mall takes it for a copy.
func TestA9_TheSameSeedAgain(t *testing.T) {
	t.Parallel()
	m := open(t)
	gate := m.device("gate-1")
	first := gate.play("--seed", "5", "--visitors", "3")
	again := gate.play("--seed", "5", "--visitors", "3")
	if !reflect.DeepEqual(first, again) {
		t.Errorf("one seed, and %+v and %+v", first, again)
	}
	m.Idle()
	if got := testmall.Events[event.CustomerDeparted](m.Mall, event.CustomerDepartedV1); len(got) != 6 {
		t.Errorf("%d departures, want those of two runs", len(got))
	}
}

// A9: what a gate holds back when it is stopped is sent, and told. In seed 87 the first message is the only one that 99 percent of loss do not strike.
func TestA9_StoppedWithSomethingHeldBack(t *testing.T) {
	t.Parallel()
	m := open(t)
	p := m.device("gate-1").begin("--seed", "87", "--loss", "99", "--reorder", "100", "--rate", "20")
	p.WaitLine("lost")
	if strings.Contains(p.Stdout(), `"n":0`) {
		t.Fatalf("the first was not held back: %s", p.Stdout())
	}
	p.Signal(syscall.SIGINT)
	if e := p.Wait(); e.Code != 0 || !strings.Contains(p.Stdout(), `"sent":1,"fault":"reordered"`) {
		t.Errorf("it ended with %v: %s %s", e, p.Stdout(), p.Stderr())
	}
	m.Idle()
	if got := testmall.Events[event.CustomerArrived](m.Mall, event.CustomerArrivedV1); len(got) != 1 {
		t.Errorf("%d arrivals", len(got))
	}
}

// A device that can never work says so and ends, in place of trying for ever or doing something else.
func TestDevicesThatCannotWork(t *testing.T) {
	t.Parallel()
	binary := testserver.Build(t, "example.org/souk/cmd/souk")
	mqtt, web := "write mqtt://host:port or mqtts://host:port", "write http://host:port or https://host:port"
	for _, c := range []struct{ args, says string }{
		{"gate gate-1", "there is none"},
		{"display display-1", "there is none"},
		{"robot robot-1", "there is none"},
		{"shopper kiosk-1", "there is none"},
		{"gate gate-1 --password p --server 127.0.0.1:1883", mqtt},
		{"display display-1 --password p --server http://127.0.0.1:1883", mqtt},
		{"robot robot-1 --password p --server mqtt://127.0.0.1:1883", web},
		{"shopper kiosk-1 --token p --server 127.0.0.1:8080", web},
		{"gate gate-1 --password p --rate 0", "--rate is more than 0"},
		{"gate gate-1 --password p --rate=-1", "--rate is more than 0"},
		{"gate gate-1 --password p --visitors=-1", "not less than nothing"},
		{"shopper kiosk-1 --token p --rate 0", "--rate is more than 0"},
		{"shopper kiosk-1 --token p --people=-1", "not less than nothing"},
		{"shopper kiosk-1 --token p --at-once=-1", "not less than nothing"},
		{"gate gate-1 --password p --admin 127.0.0.1:0 --offline-ms 600001", "a spell lasts 0 to 600000 ms"},
	} {
		p := testserver.Command{Args: append([]string{binary, "device"}, strings.Fields(c.args)...)}.Start(t)
		if e := p.Wait(); e.Code == 0 || !strings.Contains(p.Stderr(), c.says) || strings.Contains(p.Stderr(), "goroutine") {
			t.Errorf("%s: ended with %v: %s %s", c.args, e, p.Stdout(), p.Stderr())
		}
	}
}

// A9: faults are switched while it runs.
func TestA9_FaultsWhileItRuns(t *testing.T) {
	t.Parallel()
	m := open(t)
	gate := m.device("gate-1")
	p := gate.begin("--admin", "127.0.0.1:0", "--rate", "20")
	var at struct {
		Faults string `json:"faults_at"`
	}
	if err := json.Unmarshal([]byte(p.WaitLine("faults_at")), &at); err != nil {
		t.Fatal(err)
	}
	put := func(token, body string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, at.Faults, bytes.NewBufferString(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	p.WaitLine(`"sent":1`)
	if a, b := put("guess", `{"loss":100}`), put(gate.Password, `{"loss":101}`); a != 401 || b != 400 {
		t.Errorf("a guess is answered %d, nonsense %d", a, b)
	}
	if strings.Contains(p.Stdout(), "lost") {
		t.Error("something was lost before that was switched on")
	}
	if got := put(gate.Password, `{"loss":100}`); got != 200 {
		t.Errorf("%d", got)
	}
	p.WaitLine("lost")
	if got := put(gate.Password, `{"duplicates":100}`); got != 200 {
		t.Errorf("%d", got)
	}
	p.WaitLine(`"sent":2`)
	if !slices.Contains([]string{"", p.Stderr()}, "") {
		t.Errorf("it says %s", p.Stderr())
	}
}
