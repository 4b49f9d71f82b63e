package house

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"example.org/souk/gateway/devices"
)

// visitor is a device at the MQTT server, by MQTT 5: it is told why something is refused, and stays.
type visitor struct {
	t      *testing.T
	client *paho.Client
	login  devices.Login
}

// Reason codes of MQTT 5.
const notAuthorized, invalidFilter = 0x87, 0x8f

// enters lets a device in, and returns the code that it is answered with.
func enters(t *testing.T, h *House, l devices.Login, password string) (*visitor, byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", strings.TrimPrefix(h.MQTT(), "mqtt://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	v := &visitor{t: t, login: l, client: paho.NewClient(paho.ClientConfig{Conn: conn, PacketTimeout: 30 * time.Second})}
	ack, err := v.client.Connect(ctx, &paho.Connect{
		ClientID: l.Device, Username: l.Device, UsernameFlag: true, Password: []byte(password), PasswordFlag: true, KeepAlive: 60, CleanStart: true,
	})
	if ack == nil {
		t.Fatal(err)
	}
	return v, ack.ReasonCode
}

// says tells whether the device may say something on a topic. What it says makes no sense, so nobody comes or leaves by it.
func (v *visitor) says(topic string) bool {
	v.t.Helper()
	answer, err := v.client.Publish(v.t.Context(), &paho.Publish{QoS: 1, Topic: topic, Payload: []byte("{")})
	if answer == nil {
		v.t.Fatalf("%s says something on %q: %v", v.login.Device, topic, err)
	}
	return answer.ReasonCode != notAuthorized
}

// hears tells whether the device may ask for what comes on topics.
func (v *visitor) hears(topics ...string) []bool {
	v.t.Helper()
	asked := &paho.Subscribe{}
	for _, topic := range topics {
		asked.Subscriptions = append(asked.Subscriptions, paho.SubscribeOptions{Topic: topic, QoS: 1})
	}
	answer, err := v.client.Subscribe(v.t.Context(), asked)
	if answer == nil || len(answer.Reasons) != len(topics) {
		v.t.Fatalf("%s asks for %q: %v %v", v.login.Device, topics, answer, err)
	}
	heard := make([]bool, len(topics))
	for i, code := range answer.Reasons {
		heard[i] = code < 0x80
		if !heard[i] && code != notAuthorized && code != invalidFilter {
			v.t.Fatalf("%s asks for %q: %#x", v.login.Device, topics[i], code)
		}
	}
	return heard
}

// topics tries every topic of devices with every kind of them, and returns who may say and who may hear something there. What is not listed is refused to all.
func topics(t *testing.T, h *House) string {
	t.Helper()
	type row struct {
		topic       string
		says, hears []devices.Kind
	}
	var rows []row
	for _, kind := range devices.Kinds() {
		l := devices.Login{Device: "d-" + string(kind), Store: "hall", Kind: kind}
		v, code := enters(t, h, l, admit(t, h, l))
		if kind == devices.Robot {
			if code < 0x80 {
				t.Error("a robot is let in by MQTT")
			}
			continue
		}
		if code != 0 {
			t.Fatalf("a %s is not let in: %#x", kind, code)
		}
		listed := devices.Topics("souk", l)
		hears := v.hears(listed...)
		for i, topic := range listed {
			if len(rows) == i {
				rows = append(rows, row{topic: strings.NewReplacer(ownOf(l), "souk/v1/STORE/KIND/DEVICE/", "/hall/", "/STORE/").Replace(topic)})
			}
			says := v.says(topic)
			if says {
				rows[i].says = append(rows[i].says, kind)
			}
			if hears[i] {
				rows[i].hears = append(rows[i].hears, kind)
			}
			if bare, ok := strings.CutPrefix(topic, "souk/hall/"); ok && (v.says(bare) != says || v.hears(bare)[0] != hears[i]) {
				t.Errorf("a %s may not do by the name %s what it may by %s, or more", kind, bare, topic)
			}
		}
		v.refused(unlisted(l, listed))
	}
	var text strings.Builder
	for _, r := range rows {
		fmt.Fprintf(&text, "%s\n  says  %v\n  hears %v\n", r.topic, r.says, r.hears)
	}
	return text.String()
}

func ownOf(l devices.Login) string {
	return "souk/v1/" + l.Store + "/" + string(l.Kind) + "/" + l.Device + "/"
}

// unlisted are topics that no row has to a device: beside each that is listed, of another store, another kind and another device, and made up.
func unlisted(l devices.Login, listed []string) (list []string) {
	own := ownOf(l)
	for _, topic := range listed {
		for _, other := range []string{
			topic + "/more", topic + "x", topic + " ", "x" + topic, strings.Replace(topic, "/hall/", "/corner/", 1), strings.Replace(topic, own, "souk/v1/hall/"+string(l.Kind)+"/other/", 1),
			strings.Replace(topic, own, "souk/v1/hall/else/"+l.Device+"/", 1), strings.Replace(topic, "souk/", "other/", 1), topic[:strings.LastIndexByte(topic, '/')],
		} {
			madeUp := strings.HasPrefix(other, own+"event/") && strings.Count(other, "/") == strings.Count(own, "/")+1 && !strings.Contains(other, " ")
			if !slices.Contains(listed, other) && !slices.Contains(list, other) && !madeUp {
				list = append(list, other)
			}
		}
	}
	for _, name := range []string{"cmd/deny", "cmd/show", "cmd", "event", "event/", "event/a b", "event/a/b", "event/\u00fc", "else", "CustomerArrival", "payment-due", strings.Repeat("x", 200)} {
		list = append(list, own+name)
	}
	return append(list, "else", "souk", "/", "souk/hall", "souk/v1/hall/business/else", "souk/v1/hall/server/else", "souk/v1/hall/server/connection/else")
}

// refused holds that the device may neither say nor hear anything on topics, nor ask for what lies beyond its store and its own.
func (v *visitor) refused(list []string) {
	v.t.Helper()
	for _, topic := range list {
		if v.says(topic) {
			v.t.Errorf("a %s may say something on %q", v.login.Kind, topic)
		}
	}
	list = append(list,
		"#", "+", "+/#", "souk/#", "souk/+", "souk/v1/#", "souk/v1/+/business/#", "souk/v1/hall/#", "souk/v1/hall/+/+/state", "souk/v1/corner/business/#", "souk/+/CustomerArrival",
		"souk/corner/#", "souk/hall/+/#", "souk/v1/hall/"+string(v.login.Kind)+"/+/state", "$SYS/#", "$SYS/+", "$SYS/broker/version", "souk/v1/hall/server/#",
	)
	for i, heard := range v.hears(list...) {
		if heard {
			v.t.Errorf("a %s may hear %q", v.login.Kind, list[i])
		}
	}
}
