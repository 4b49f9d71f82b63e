package market

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.org/souk/internal/testmall"
	"example.org/souk/internal/testserver"
	"example.org/souk/mall/event"
)

// A8: two stores are isolated by topic and by authorisation. A device publishes below its own topics only and reads what
// concerns its store only, whatever it asks for. Red where the rule looks at less than the whole topic, or where deliveries are not
// judged.
func TestA8_Isolation(t *testing.T) {
	t.Parallel()
	m := open(t)
	m.Souk("store", "create", "corner", "--name", "Corner shop", "--location", "corner")
	m.Souk("product", "add", "nut", "1.00", "--name", "Nut", "--store", "corner")
	m.Idle()
	hall, corner := m.device("gate-1", "store", "main-hall"), m.device("gate-2", "store", "corner")
	displays := []login{m.device("display-1", "store", "main-hall"), m.device("display-2", "store", "corner")}
	tills := []login{m.device("till-1", "store", "main-hall"), m.device("till-2", "store", "corner")}
	for _, protocol := range protocols {
		for _, topic := range []string{
			"souk/v1/corner/gate/gate-2/event/customer-arrived", "souk/v1/main-hall/gate/gate-2/event/customer-arrived",
			"souk/v1/main-hall/gate-in/gate-1/event/customer-arrived", "souk/v1/main-hall/gate/gate-1/cmd/open", "souk/v1/main-hall/gate/gate-1",
			"souk/v1/main-hall/gate/gate-1/event/a/b", "souk/v1/main-hall/display/display-1/content", "souk/v1/main-hall/business/payment-due",
			"souk/v1/main-hall/server/connection", "souk/corner/CustomerArrival", "other/main-hall/CustomerArrival", "display-welcome", "payment-due",
			"souk/main-hall/payment-due", "anything", "$SYS/broker/version",
		} {
			if out, err := hall.pub(protocol, topic, arrivalOf("CUSTOMER_001", 1)); err == nil && !strings.Contains(out, "Not authorized") {
				t.Errorf("%s: gate-1 may publish %s: %s", protocol, topic, out)
			}
		}
		if out, err := displays[0].pub(protocol, "CustomerArrival", "5001"); err == nil && !strings.Contains(out, "Not authorized") {
			t.Errorf("%s: a display may let people in: %s", protocol, out)
		}
		// What happens is not kept for whoever subscribes later.
		if out, err := hall.pub(protocol, "CustomerArrival", "5001", "-r"); protocol == "mqttv5" && err == nil && out == "" {
			t.Errorf("an arrival is kept: %s", out)
		}
		for _, topic := range []string{
			"#", "+", "souk/#", "souk/v1/#", "souk/v1/+/business/#", "souk/v1/corner/#", "souk/corner/payment-due", "souk/corner/#", "$SYS/#",
			"souk/v1/main-hall/display/display-1/content", "display-welcome", "$share/x/souk/main-hall/payment-due",
		} {
			if out := tills[0].refusedSub(t, protocol, topic); out != "" {
				t.Errorf("%s: till-1 may subscribe %s: %s", protocol, topic, out)
			}
		}
	}
	m.Idle()
	if got := testmall.Events[event.CustomerArrived](m.Mall, event.CustomerArrivedV1); len(got) != 0 {
		t.Errorf("%+v came in", got)
	}
	// The same bare names mean another store each; a filter with # is given what concerns the store.
	var shown, told []*testserver.Process
	for i := range 2 {
		shown = append(shown, displays[i].sub("mqttv311", "display-welcome"))
		told = append(told, tills[i].sub("mqttv5", "payment-due", "souk/"+tills[i].Store+"/#"))
	}
	hall.mustPub("mqttv311", "CustomerArrival", "1111")
	corner.mustPub("mqttv5", "CustomerArrival", "2222")
	hall.mustPub("mqttv311", "customer-departed", departureOf("1111", 1, "PRODUCT_001", "nut"))
	corner.mustPub("mqttv5", "customer-departed", departureOf("2222", 1, "nut", "nut"))
	for i, want := range []string{`"customer_id":"","amount":1000`, `"customer_id":"","amount":200`} {
		await(t, "each till is told of its own", func() bool { return len(heard(told[i], "payment-due")) == 1 })
		await(t, "each display shows its own", func() bool { return len(heard(shown[i], "display-welcome")) == 1 })
		if got := heard(told[i], "payment-due")[0]; !strings.Contains(got, want) {
			t.Errorf("till %d is told %s", i+1, got)
		}
		other := tills[1-i].Store
		if strings.Contains(told[i].Stdout()+shown[i].Stdout(), "souk/"+other) || strings.Contains(told[i].Stdout(), "display-welcome") {
			t.Errorf("till %d hears what does not concern it: %s", i+1, told[i].Stdout())
		}
	}
	// A product of another store is nobody's here, and not free.
	due := testmall.Events[event.PaymentDue](m.Mall, event.PaymentDueV1)
	if len(due) != 2 || len(due[0].Unpriced)+len(due[1].Unpriced) != 1 {
		t.Errorf("due: %+v", due)
	}
}

// refusedSub subscribes; it returns what the client says where it was let.
func (l login) refusedSub(t *testing.T, protocol, topic string) string {
	t.Helper()
	_, program := testserver.Mosquitto(t)
	args := append(l.flags(protocol), "-t", topic, "-W", "2", "-E", "-d")
	out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput()
	if strings.Contains(string(out), "denied") || strings.Contains(string(out), ": 128") || strings.Contains(string(out), ": 135") ||
		strings.Contains(string(out), ": 158") || err != nil {
		return ""
	}
	return string(out)
}

// A8: nobody comes in without a login, with a guess, with another's name, or with a last will about something else; and whoever's
// login is revoked is sent away within five seconds.
func TestA8_Logins(t *testing.T) {
	t.Parallel()
	m := open(t)
	gate := m.device("gate-1")
	other := m.device("gate-2")
	program, _ := testserver.Mosquitto(t)
	for _, protocol := range protocols {
		at := []string{"-h", m.host, "-p", m.port, "-V", protocol, "-q", "1", "-t", "CustomerArrival", "-m", "5001"}
		for name, flags := range map[string][]string{
			"anonymous": nil, "a guess": {"-u", "gate-1", "-P", "guess"}, "no password": {"-u", "gate-1"}, "another's name": {"-u", "gate-2", "-P", gate.Password},
			"an unknown device": {"-u", "gate-9", "-P", gate.Password}, "a name with a wildcard": {"-u", "#", "-P", gate.Password},
			"a last will about another": {"-u", "gate-1", "-P", gate.Password, "--will-topic", "souk/v1/main-hall/gate/gate-2/connection", "--will-payload", "x"},
			"a last will as a command":  {"-u", "gate-1", "-P", gate.Password, "--will-topic", "souk/v1/main-hall/gate/gate-1/cmd/open", "--will-payload", "x"},
		} {
			if out, err := exec.CommandContext(t.Context(), program, append(flags, at...)...).CombinedOutput(); err == nil {
				t.Errorf("%s: %s is let in: %s", protocol, name, out)
			}
		}
	}
	m.Idle()
	if got := testmall.Events[event.CustomerArrived](m.Mall, event.CustomerArrivedV1); len(got) != 0 {
		t.Errorf("%+v came in", got)
	}
	// Another device under the same client id takes over nothing.
	_, sub := testserver.Mosquitto(t)
	stays := testserver.Start(t, append(append([]string{sub}, gate.flags("mqttv311")...), "-i", "same", "-F", "got %t %p", "-t", "souk/v1/main-hall/server/connection", "-t", "CustomerArrival")...)
	stays.WaitLine("server/connection")
	other.mustPub("mqttv311", "CustomerArrival", "7777", "-i", "same")
	stays.WaitLine("got CustomerArrival")
	select {
	case <-stays.Done():
		t.Error("the first was sent away")
	default:
	}
	m.Souk("device", "revoke", "gate-1", "--why", "stolen")
	cut := time.Now()
	// The client connects again by itself, and is told that it may not.
	await(t, "its connection is cut", func() bool {
		select {
		case <-stays.Done():
			return true
		default:
			return strings.Contains(strings.ToLower(stays.Stderr()), "not authori") || strings.Contains(strings.ToLower(stays.Stderr()), "bad user")
		}
	})
	if took := time.Since(cut); took > 5*time.Second {
		t.Errorf("it was cut after %s", took)
	}
	if out, err := gate.pub("mqttv311", "CustomerArrival", "5001"); err == nil {
		t.Errorf("it is let in again: %s", out)
	}
	if out, err := m.Try("device", "revoke", "gate-1"); err == nil {
		t.Errorf("revoked twice: %s", out)
	}
	again := m.device("gate-1")
	if again.Password == gate.Password {
		t.Error("it got its old password back")
	}
	again.mustPub("mqttv5", "CustomerArrival", "8888")

	// What waits for a device is not for whoever has its name next: a login that is exchanged begins with nothing.
	till := m.device("till-1")
	const here = "souk/v1/main-hall/server/connection"
	keeping := func(l login, topic string) *testserver.Process {
		p := testserver.Start(t, append(append([]string{sub}, l.flags("mqttv311")...), "-c", "-i", "keep", "-q", "1", "-F", "got %t %p", "-t", topic, "-t", here)...)
		p.WaitLine("got " + here) // what waited came before
		p.Kill9()
		return p
	}
	keeping(till, "CustomerArrival")
	again.mustPub("mqttv311", "CustomerArrival", "6661")
	if p := keeping(till, "CustomerArrival"); !strings.Contains(p.Stdout(), "got CustomerArrival 6661") {
		t.Errorf("the control: nothing waited for the till: %s", p.Stdout())
	}
	again.mustPub("mqttv311", "CustomerArrival", "6662")
	m.Souk("device", "revoke", "till-1", "--why", "sold")
	if p := keeping(m.device("till-1", "kind", "display"), "display-welcome"); strings.Contains(p.Stdout(), "CustomerArrival") {
		t.Errorf("a display was given what waited for a till: %s", p.Stdout())
	}
	// A packet that is too large closes the connection, and nothing else.
	large := t.TempDir() + "/large"
	if err := os.WriteFile(large, make([]byte, 70<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	args := append(append([]string{program}, again.flags("mqttv311")...), "-t", "souk/v1/main-hall/gate/gate-1/state", "-q", "1", "-f", large)
	if e := testserver.Start(t, args...).Wait(); e.Code == 0 {
		t.Error("70 KiB were taken")
	}
	other.mustPub("mqttv311", "CustomerArrival", "9999")
}

// A8: TLS works, with the certificate that souk makes, and an unsecured client gets nowhere.
func TestA8_TLS(t *testing.T) {
	t.Parallel()
	m := open(t, "--mqtt-tls")
	gate := m.device("gate-1")
	if !strings.Contains(gate.Example, "--cafile") {
		t.Errorf("the example does not say how the server is trusted: %s", gate.Example)
	}
	file := filepath.Join(m.DirOf("devices"), "mqtt", "certificate.pem")
	for _, protocol := range protocols {
		gate.mustPub(protocol, "CustomerArrival", arrivalOf(protocol, 1), "--cafile", file)
		if out, err := gate.pub(protocol, "CustomerArrival", arrivalOf("plain", 1)); err == nil {
			t.Errorf("%s: in the clear: %s", protocol, out)
		}
	}
	list := gate.play("--visitors", "3", "--server", "mqtts://"+m.host+":"+m.port, "--ca-file", file)
	if len(list) != 6 {
		t.Errorf("%d passed, want 6", len(list))
	}
}

// A simulated gate that is not let in says so, and goes on when it is. Red where it waits without a word.
func TestAGateSaysWhyItIsNotConnected(t *testing.T) {
	t.Parallel()
	m := open(t)
	gate := m.device("gate-1")
	wrong := gate
	wrong.Password = "wrong"
	p := wrong.begin("--visitors", "1")
	await(t, "the gate says that it is not let in", func() bool { return strings.Contains(p.Stderr(), "gate-1 is not connected to mqtt://") })
	p.Kill9()
	if list := gate.play("--visitors", "1"); len(list) != 2 {
		t.Errorf("with its password %d passed, want 2", len(list))
	}
}

// The line that device add prints does what it says.
func TestDeviceExample(t *testing.T) {
	t.Parallel()
	m := open(t)
	line := m.device("gate-1").Example
	if out, err := exec.CommandContext(t.Context(), "/bin/sh", "-c", line).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v %s", line, err, out)
	}
	m.Idle()
	if got := testmall.Events[event.CustomerArrived](m.Mall, event.CustomerArrivedV1); len(got) != 1 {
		t.Errorf("arrivals: %+v", got)
	}
}
