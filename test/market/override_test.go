package market

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.org/souk/internal/testserver"
)

// F10: a gate is opened by hand where one asks and another, who is a manager, agrees, and by nobody else. It hears so once, by either version of MQTT,
// with when that expires, of which MQTT 5 knows as well, and no other gate does. The simulator opens, and says so. Red when one person is enough, when it is
// told again, when it never expires, and when the simulator does not listen.
func TestF10_AGateIsOpenedByTwo(t *testing.T) {
	t.Parallel()
	m := open(t)
	who := func(role, subject string) string {
		return "Bearer " + strings.TrimSpace(m.Souk("token", "--role", role, "--subject", subject))
	}
	ann, annAsManager, bob, carl := who("clerk", "ann"), who("manager", "ann"), who("manager", "bob"), who("clerk", "carl")
	gate, other := m.device("gate-1"), m.device("gate-2")
	own := "souk/v1/" + gate.Store + "/gate/gate-1/"
	_, program := testserver.Mosquitto(t)
	hearers := map[string]*testserver.Process{}
	for _, protocol := range protocols {
		hearers[protocol] = gate.shown("%E %p", append([]string{program}, gate.flags(protocol)...), []string{own + "#"})
	}
	beside := other.sub("mqttv5", strings.Replace(own, "gate-1", "gate-2", 1)+"#")
	simulator := gate.begin("--rate", "0.001")
	await(t, "the simulator is there", func() bool {
		return strings.Contains(strings.Join(heard(hearers["mqttv5"], own+"connection"), ""), "ONLINE")
	})

	// A mall that is too busy to tell the gate within five seconds tells it nothing: it is asked for again then.
	const twice, most = 2, 6
	asked, opened := 0, []string{}
	for ; len(opened) < twice && asked < most; asked++ {
		approval := fmt.Sprint("A", asked)
		m.post(201, "/staff/approvals", ann, fmt.Sprintf(`{"approval":%q,"what":"open_gate","subject":"gate-1","reason":"a pram"}`, approval))
		at := "/staff/approvals/" + approval + "/give"
		m.post(403, at, ann, `{}`)
		m.post(403, at, carl, `{}`)
		if said := m.post(409, at, annAsManager, `{}`); !strings.Contains(said, "same_person") {
			t.Errorf("who asked is refused with %s", said)
		}
		m.Idle()
		for protocol, p := range hearers {
			if got := heard(p, own+"cmd/open"); len(got) > asked {
				t.Fatalf("nobody else has agreed, and %s hears %q", protocol, got)
			}
		}
		m.post(200, at, bob, `{}`)
		m.post(409, at, bob, `{}`)
		testserver.Await(t.Context(), 15*time.Second, func() bool { return len(openedBy(t, simulator)) > len(opened) })
		opened = openedBy(t, simulator)
	}
	m.Idle()
	if len(opened) != twice {
		t.Fatalf("asked %d times, the simulator has opened %d times: %s", asked, len(opened), simulator.Stdout())
	}
	for _, id := range opened {
		await(t, "it answers", func() bool {
			return strings.Contains(strings.Join(heard(hearers["mqttv5"], own+"ack"), ""), `{"id":"`+id+`","status":"done"}`)
		})
	}
	for protocol, p := range hearers {
		var ids []string
		for _, text := range heard(p, own+"cmd/open") {
			expiry, payload, _ := strings.Cut(text, " ")
			var o struct {
				ID      string
				TS      time.Time
				Expires time.Time `json:"expires_at"`
			}
			if err := json.Unmarshal([]byte(payload), &o); err != nil || o.Expires.Sub(o.TS) != 5*time.Second || slices.Contains(ids, o.ID) {
				t.Errorf("%s, after %v: %s %v", protocol, ids, payload, err)
			}
			if left, err := strconv.Atoi(expiry); protocol == "mqttv5" && (err != nil || left < 0 || left > 5) {
				t.Errorf("%s: it expires in %q", protocol, expiry)
			}
			ids = append(ids, o.ID)
		}
		if len(ids) > asked || slices.ContainsFunc(opened, func(id string) bool { return !slices.Contains(ids, id) }) {
			t.Errorf("asked %d times, %s hears %v, and it is opened for %v", asked, protocol, ids, opened)
		}
	}
	if text := beside.Stdout(); strings.Contains(text, "cmd/open") {
		t.Errorf("the other gate hears %s", text)
	}
}

// openedBy returns the ids of what the simulator says that it was opened for.
func openedBy(t *testing.T, simulator *testserver.Process) (ids []string) {
	t.Helper()
	for line := range strings.Lines(simulator.Stdout()) {
		var said struct{ What, ID string }
		if err := json.Unmarshal([]byte(line), &said); err != nil {
			t.Fatal(err)
		}
		if said.What == "opened" {
			ids = append(ids, said.ID)
		}
	}
	return ids
}
