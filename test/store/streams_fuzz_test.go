package store

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
	"google.golang.org/protobuf/reflect/protoreflect"

	robotsv1 "example.org/souk/api/gen/souk/robots/v1"
	"example.org/souk/gateway/devices"
	"example.org/souk/gateway/door/hostile"
	"example.org/souk/internal/control"
)

// enveloped is a message of a stream as Connect has it on the wire.
func enveloped(flags byte, message string) string {
	return string(binary.BigEndian.AppendUint32([]byte{flags}, uint32(len(message)))) + message
}

// ending reads messages of a stream until one is wanted or the stream is over: what it ended with is "" where it did not, or ended well.
func ending(from io.Reader, wanted func(message []byte) bool) (code, message string, err error) {
	for {
		var head [5]byte
		if _, err := io.ReadFull(from, head[:]); err != nil {
			return "", "", err
		}
		text := make([]byte, binary.BigEndian.Uint32(head[1:]))
		if _, err := io.ReadFull(from, text); err != nil {
			return "", "", err
		}
		if head[0]&2 != 0 {
			var end struct {
				Error struct{ Code, Message string }
			}
			err := json.Unmarshal(text, &end)
			return end.Error.Code, end.Error.Message, err
		}
		if wanted(text) {
			return "", "", nil
		}
	}
}

// broken are codes by which a program is told that something went wrong inside.
var broken = []string{"internal", "unknown", "unavailable", "data_loss"}

// joined gives a device a login and returns its password.
func (m *mall) joined(kind devices.Kind, device string) (password string) {
	m.t.Helper()
	err := control.Call(m.t.Context(), control.Mall{Data: m.dir, DB: m.db}, "device add", control.Args{"device": device, "kind": string(kind), "store": "main-hall"}, func(row json.RawMessage) error {
		var l struct{ Password string }
		err := json.Unmarshal(row, &l)
		password = l.Password
		return err
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return password
}

// B1: whatever robots and devices send, in whichever order, and however they stop in the middle of it, nothing breaks: a stream ends with what is wrong with it or
// goes on, no process ends, others go on meanwhile, and the mall does what it did. Red when a robot that says what makes no sense is told that the depot is away,
// and when what a device says ends the process.
func TestB1_NothingBreaksOverStreams(t *testing.T) {
	t.Parallel()
	m := start(t, program(t), t.TempDir(), nil, "--mqtt", "127.0.0.1:0")
	m.seed()
	at := m.of("devices").proc.WaitLine("mqtt://")
	at = at[strings.Index(at, "//")+2:]
	gate := m.visits(at, devices.Gate, "gate-good")
	till := m.visits(at, devices.Till, "till-good")
	till.hears("CustomerArrival")
	gate.arrives(till, "before")

	var sending sync.WaitGroup
	sending.Go(func() { m.roguesAmongRobots() })
	sending.Go(func() { m.roguesAmongDevices(at) })
	sending.Go(func() { m.rawMQTT(at) })
	sending.Wait()
	gate.arrives(till, "after")
	m.must(202, "POST", "/order", order1)
	m.awaitStatus("ORDER_001", "APPROVED")
	procs := []*part{m.of("online")}
	if m.others != nil {
		procs = m.others
	}
	for _, p := range procs {
		if p.proc.Ended() || strings.Contains(p.proc.Stdout()+p.proc.Stderr(), "panic") {
			t.Errorf("%v has ended (%v) or panicked\n%s", p.parts, p.proc.Ended(), p.proc.Stderr())
		}
	}
	m.holds()
}

// saying is what a robot says, in which form, and what becomes of its stream in any case, "" for either.
type saying struct {
	what, kind string
	frames     []string
	becomes    string
}

const (
	itEnds  = "ends"
	itWaits = "waits" // for the robot to stop: what it says is passed over
)

// roguesAmongRobots has robots say what none should, each on a stream that begins well.
func (m *mall) roguesAmongRobots() {
	const hello = `{"hello":{"session":"s","carries":"5"}}`
	const (
		inJSON, inProto = "application/connect+json", "application/connect+proto"
	)
	var list []saying
	one := func(what, kind, becomes string, frames ...string) {
		list = append(list, saying{what, kind, frames, becomes})
	}
	say := func(message string) string { return enveloped(0, message) }
	kinds := (&robotsv1.WorkRequest{}).ProtoReflect().Descriptor().Fields()
	every, n := 12, 0
	if os.Getenv("SOUK_PROVE") == "full" {
		every = 1
	}
	for i := range kinds.Len() {
		field := kinds.Get(i)
		for what, message := range hostile.Messages(field.Message(), "") {
			if n++; n%every != 0 {
				continue
			}
			body := say(`{"` + field.JSONName() + `":` + message + `}`)
			if field.Name() == protoreflect.Name("hello") {
				one("hello "+what, inJSON, "", body)
			} else {
				one(string(field.Name())+" "+what, inJSON, "", say(hello), body)
			}
		}
	}
	hint := `{"error":{"level":"ERROR_LEVEL_WARNING","hint":"a` + strings.Repeat("ü", 3000) + `"}}`
	place := func(x, y string) string {
		return say(`{"status":{"mode":"ROBOT_MODE_IDLE","battery":"-5","at":{"x":"` + x + `","y":"` + y + `"}}}`)
	}
	one("nothing", inJSON, itEnds, say("{}"))
	one("no message", inJSON, itEnds, say(""))
	one("what it is not asked for", inJSON, itEnds, say(`{"action":{"number":"1"}}`), say(hello))
	one("hello twice", inJSON, itEnds, say(hello), say(hello))
	one("nothing after hello", inJSON, itEnds, say(hello), say("{}"))
	one("a long hint", inJSON, "", say(hello), say(hint))
	one("places that there are not", inJSON, "", say(hello), place("9223372036854775807", "-9223372036854775808"), place("0", "99999999999999"))
	one("an order that there is not", inJSON, "", say(hello), say(`{"status":{"mode":"ROBOT_MODE_WORKING","order":{"orderId":"a/../#","updateId":"-1"}}}`), place("1", "1"))
	one("what was never picked", inJSON, "", say(hello), say(`{"action":{"number":"7","order":{"orderId":"FUZZ","updateId":"1"},"kind":"ACTION_KIND_HAND_IN","state":"ACTION_STATE_FINISHED","lines":[{"sku":"\u0000","quantity":"-3"}]}}`))
	one("no such flags", inJSON, itWaits, say(hello), enveloped(0xfc, "{}"))
	one("packed, and it is not", inJSON, itEnds, say(hello), enveloped(1, "{}"))
	one("an end that is none", inJSON, itWaits, say(hello), enveloped(2, "{}"), say("{}"))
	one("too large", inJSON, itEnds, say(hello), say(`{"error":{"hint":"`+strings.Repeat("x", 70_000)+`"}}`))
	one("an endless message", inJSON, itWaits, say(hello), "\x00\xff\xff\xff\xff{")
	one("too many", inJSON, itEnds, say(hello), strings.Repeat(say(`{"position":{"at":{"x":"1","y":"1"}}}`), 1000))
	one("no UTF-8", inProto, itEnds, enveloped(0, "\x0a\x04\x0a\x02\xff\xfe"))
	one("no message in binary", inProto, itEnds, enveloped(0, "\xff\xff\xff"))
	one("deep", inProto, itEnds, enveloped(0, strings.Repeat("\x0b", 20_000)))

	const robots = 4
	var working sync.WaitGroup
	for r := range robots {
		name := fmt.Sprintf("robot-%d", r)
		password := m.joined(devices.Robot, name)
		working.Go(func() {
			for i := r; i < len(list); i += robots {
				m.converses(name, password, list[i])
			}
		})
	}
	working.Wait()
	m.t.Logf("%d streams of robots", len(list))
	if len(list) < 90 {
		m.t.Errorf("only %d streams of robots", len(list))
	}
	staff := m.must(200, "GET", "/staff/snapshot", "")
	if strings.Contains(staff, "\ufffd") || !strings.Contains(staff, "robot-1") {
		m.t.Errorf("staff are shown %.2000s", staff)
	}
}

// probe is what every robot is answered: something is taken, or refused.
const probe = `{"action":{"number":"4711","kind":"ACTION_KIND_LEAVE","state":"ACTION_STATE_FINISHED","order":{"orderId":"nothing","updateId":"1"}}}`

// converses has a robot say something, and then something good, and holds that the stream ends because of what was said, or that the good is answered.
func (m *mall) converses(robot, password string, s saying) {
	patience := 30 * time.Second
	if s.becomes == itWaits {
		patience = 300 * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(m.t.Context(), patience)
	defer cancel()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	defer transport.CloseIdleConnections()
	out, in := io.Pipe()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.of("depot").url+"/souk.robots.v1.RobotsService/Work", out)
	if err != nil {
		m.t.Error(err)
		return
	}
	req.Header.Set("Content-Type", s.kind)
	req.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(robot+":"+password)))
	go func() {
		for _, frame := range append(slices.Clone(s.frames), enveloped(0, probe)) {
			if _, err := io.WriteString(in, frame); err != nil {
				return // the stream is over
			}
		}
	}()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		m.t.Errorf("%s: %v", s.what, err)
		return
	}
	defer resp.Body.Close()
	defer context.AfterFunc(ctx, func() {
		_ = in.CloseWithError(ctx.Err()) // or nobody looks whether time is up
		_ = resp.Body.Close()
	})()
	answered := false
	code, message, err := ending(resp.Body, func(text []byte) bool {
		answered = bytes.Contains(text, []byte("4711"))
		return answered
	})
	_ = in.CloseWithError(io.EOF)
	switch {
	case s.becomes == itWaits && ctx.Err() != nil:
	case resp.StatusCode != http.StatusOK || err != nil:
		m.t.Errorf("%s: %s %v", s.what, resp.Status, err)
	case slices.Contains(broken, code) && !strings.HasPrefix(message, "protocol error: "): // which Connect tells by that code
		m.t.Errorf("%s: %s: %s", s.what, code, message)
	case s.becomes != "" && (answered || code == ""):
		m.t.Errorf("%s: the stream goes on or ends well (%v)", s.what, answered)
	case !answered && code == "":
		m.t.Errorf("%s: the stream ends, and it is not said why", s.what)
	}
}

// device is a device at the MQTT server.
type device struct {
	m      *mall
	name   string
	client *paho.Client
	heard  chan string
}

// visits gives a device a login and connects it, by MQTT 5.
func (m *mall) visits(at string, kind devices.Kind, name string) *device {
	m.t.Helper()
	password := m.joined(kind, name)
	conn, err := (&net.Dialer{}).DialContext(m.t.Context(), "tcp", at)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { _ = conn.Close() })
	d := &device{m: m, name: name, heard: make(chan string, 10_000)}
	d.client = paho.NewClient(paho.ClientConfig{
		Conn: conn, PacketTimeout: time.Minute, OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(r paho.PublishReceived) (bool, error) {
			d.heard <- string(r.Packet.Payload)
			return true, nil
		}},
	})
	ack, err := d.client.Connect(m.t.Context(), &paho.Connect{
		ClientID: name, Username: name, UsernameFlag: true, Password: []byte(password), PasswordFlag: true, KeepAlive: 60, CleanStart: true,
	})
	if err != nil || ack.ReasonCode != 0 {
		m.t.Fatalf("%s is not let in: %v", name, err)
	}
	return d
}

func (d *device) hears(topic string) {
	d.m.t.Helper()
	if _, err := d.client.Subscribe(d.m.t.Context(), &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: topic, QoS: 1}}}); err != nil {
		d.m.t.Fatalf("%s asks for %s: %v", d.name, topic, err)
	}
}

// arrives has somebody come in at a gate, of which another device hears.
func (d *device) arrives(other *device, who string) {
	d.m.t.Helper()
	answer, err := d.client.Publish(d.m.t.Context(), &paho.Publish{QoS: 1, Topic: "CustomerArrival", Payload: []byte(`{"customer_id":"` + who + `","timestamp":"2026-05-01T12:00:00Z"}`)})
	if err != nil || answer.ReasonCode >= 0x80 {
		d.m.t.Fatalf("%s: %v %+v", d.name, err, answer)
	}
	limit := time.After(time.Minute)
	for {
		select {
		case payload := <-other.heard:
			if strings.Contains(payload, `"`+who+`"`) {
				return
			}
		case <-limit:
			d.m.t.Fatalf("%s hears nothing of %s", other.name, who)
		}
	}
}

// roguesAmongDevices has a device of each kind say nonsense on each topic, its own and others', and ask for what nobody has.
func (m *mall) roguesAmongDevices(at string) {
	payloads := slices.Concat(hostile.Values()[:20], []string{
		"", "\x00", "\xff\xfe", strings.Repeat("x", 60_000), `{"customer_id":"` + strings.Repeat("x", 60_000) + `"}`, `{"customer_id":"a\u0000b"}`, `{"timestamp":-1,"customer_id":{}}`,
		`{"customer_id":"c","product_ids":[` + strings.Repeat(`"pen",`, 5000) + `"pen"]}`, `{"specversion":"1.0","id":"\u0007","data":{"customer_id":"c"}}`, `{"items":[{"sku":"pen","qty":9223372036854775807}]}`,
		strings.Repeat("[", 30_000),
	})
	every, n := 12, 0
	if os.Getenv("SOUK_PROVE") == "full" {
		every = 1
	}
	said, cut := 0, 0
	for _, kind := range devices.Kinds() {
		if kind == devices.Robot {
			continue // it comes by another way
		}
		d := m.visits(at, kind, string(kind)+"-rogue")
		topics := devices.Topics("souk", devices.Login{Device: d.name, Store: "main-hall", Kind: kind})
		topics = append(topics, "CustomerArrival", "customer-departed", "\u0001", "a/b", "souk/v1/main-hall/gate/gate-good/event/customer-arrived", strings.Repeat("deep/", 1000))
		for _, topic := range topics {
			for _, payload := range payloads {
				taken := strings.Contains(topic, "rriv") || strings.Contains(topic, "depart") // what is there is read: all of it is sent
				if n++; n%every != 0 && !taken {
					continue
				}
				said++
				p := &paho.Publish{QoS: 1, Topic: topic, Payload: []byte(payload), Retain: said%3 == 0, Properties: &paho.PublishProperties{ContentType: "\u0001", User: paho.UserProperties{{Key: "id", Value: strings.Repeat("i", said%300)}}}}
				if !d.says(p) {
					cut++
					d = m.visits(at, kind, fmt.Sprintf("%s-rogue-%d", kind, cut))
				}
			}
		}
		_ = d.client.Disconnect(&paho.Disconnect{})
	}
	m.t.Logf("%d messages of devices, of which %d were cut off", said, cut)
	if said < 8*20*len(payloads)/every {
		m.t.Errorf("only %d messages of devices", said)
	}
}

// says publishes something, and returns false where the device was cut off for it. That it is neither answered nor cut off is an error.
func (d *device) says(p *paho.Publish) bool {
	ctx, cancel := context.WithTimeout(d.m.t.Context(), 30*time.Second)
	defer cancel()
	over := make(chan struct{})
	defer close(over)
	go func() {
		select {
		case <-d.client.Done():
			cancel()
		case <-over:
		}
	}()
	answer, err := d.client.Publish(ctx, p)
	switch {
	case answer != nil:
		return true
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		d.m.t.Errorf("%s says %.80q on %.80q, and is not answered: %v", d.name, p.Payload, p.Topic, err)
		return false
	}
	return false
}

// rawMQTT sends what no client library sends, to a server that has not heard of the client yet and to one that has let it in.
func (m *mall) rawMQTT(at string) {
	password := m.joined(devices.Gate, "gate-raw")
	connect := func(version byte) string {
		body := "\x00\x04MQTT" + string(version) + "\xc2\x00\x3c"
		if version == 5 {
			body += "\x00"
		}
		for _, text := range []string{"raw", "gate-raw", password} {
			body += string(binary.BigEndian.AppendUint16(nil, uint16(len(text)))) + text
		}
		return "\x10" + string([]byte{byte(len(body))}) + body
	}
	topic := func(name string) string { return string(binary.BigEndian.AppendUint16(nil, uint16(len(name)))) + name }
	packet := func(first byte, body string) string { return string([]byte{first, byte(len(body))}) + body }
	bodies := []string{
		"", "\x00", "\x10", "\x10\xff\xff\xff\xff\xff", "\x10\xff\xff\xff\x7f", "\x10\x02\x00\x04", "\xf0\x00", "\x30\xff\xff\x03" + "\x00\x04abcd", strings.Repeat("\xff", 5000), "GET / HTTP/1.1\r\n\r\n",
		packet(0x30, topic("\xff\xfe")+"x"), packet(0x30, topic("")+"x"), packet(0x30, topic("a\x00b")), packet(0x36, topic("CustomerArrival")+"\x00\x01x"), packet(0x32, topic("CustomerArrival")+"\x00\x00x"),
		packet(0x32, topic("CustomerArrival")), packet(0x32, topic("souk/#")+"\x00\x01x"), packet(0x3f, topic("CustomerArrival")+"\x00\x01{"), packet(0x82, "\x00\x01"), packet(0x82, "\x00\x01"+topic("#")+"\x07"),
		packet(0x80, "\x00\x01"+topic("a")+"\x00"), packet(0x82, "\x00\x00"+topic("a")+"\x00"), packet(0x82, "\x00\x01"+topic("\xff")+"\x00"), packet(0xa2, "\x00\x01"), packet(0x62, "\x00\x09"), packet(0x50, "\x00\x09"), packet(0x70, "\x00\x09"),
		packet(0x40, "\x00\x09"), packet(0x20, "\x00\x00"), packet(0xe0, "\xff\xff\xff"), packet(0xf0, "\x00"), packet(0xc0, "x"), packet(0x32, topic("CustomerArrival")+"\x00\x01"+"\x03\x23\x00\x05"+"{"),
		packet(0x32, "\x00\x00"+"\x00\x01"+"\x03\x23\x00\x05"+"{"),
	}
	for _, version := range []byte{4, 5} {
		for _, body := range bodies {
			m.sendsRaw(at, "", body)
			m.sendsRaw(at, connect(version), body)
		}
		m.sendsRaw(at, connect(version), connect(version))
	}
}

// sendsRaw sends something after a greeting, and a ping: the server answers, or ends the connection.
func (m *mall) sendsRaw(at, greeting, body string) {
	conn, err := (&net.Dialer{}).DialContext(m.t.Context(), "tcp", at)
	if err != nil {
		m.t.Errorf("%q: nobody is let in any more: %v", body, err)
		return
	}
	defer conn.Close()
	from := bufio.NewReader(conn)
	if greeting != "" {
		if _, err := io.WriteString(conn, greeting); err != nil {
			m.t.Errorf("%q: %v", body, err)
			return
		}
		_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
		if first, err := from.ReadByte(); err != nil || first != 0x20 {
			m.t.Errorf("before %q it is not let in: %#x %v", body, first, err)
			return
		}
	}
	if _, err := io.WriteString(conn, body+"\xc0\x00"); err != nil {
		return // it was cut off
	}
	// What is unfinished is waited for a while by the server; nobody waits for that here.
	_ = conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if _, err := io.Copy(io.Discard, from); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) && !strings.Contains(err.Error(), "reset") {
		m.t.Errorf("%q: %v", body, err)
	}
}
