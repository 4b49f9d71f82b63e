package devices

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// raw is a client that speaks MQTT by hand.
type raw struct {
	t       *testing.T
	version byte
	conn    net.Conn
	in      *bufio.Reader
	next    uint16
}

// knock connects as a session of a device, which outlives the connection where it lasts, and returns the answer.
func knock(t *testing.T, g *Gateway, version byte, device, id string, lasts bool, with ...func(*packets.Packet)) (*raw, packets.Packet) {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", g.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.(*net.TCPConn).SetReadBuffer(16 << 10); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	c := &raw{t: t, version: version, conn: conn, in: bufio.NewReader(conn)}
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connect}, ProtocolVersion: version, Connect: packets.ConnectParams{
		ProtocolName: []byte("MQTT"), Clean: !lasts, Keepalive: 60, ClientIdentifier: id,
		UsernameFlag: true, Username: []byte(device), PasswordFlag: true, Password: []byte("password of " + device),
	}}
	if version == 5 && lasts {
		pk.Properties.SessionExpiryInterval, pk.Properties.SessionExpiryIntervalFlag = 600, true
	}
	for _, change := range with {
		change(&pk)
	}
	c.send(pk.ConnectEncode)
	answer := c.answer()
	if err := answer.ConnackDecode(answer.Payload); err != nil {
		t.Fatal(err)
	}
	return c, answer
}

func (c *raw) send(encode func(*bytes.Buffer) error) {
	c.t.Helper()
	var b bytes.Buffer
	err := encode(&b)
	if err == nil {
		_, err = c.conn.Write(b.Bytes())
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// answer reads a packet, whose body is in its payload.
func (c *raw) answer() (pk packets.Packet) {
	c.t.Helper()
	pk.ProtocolVersion = c.version
	first, err := c.in.ReadByte()
	if err == nil {
		err = pk.FixedHeader.Decode(first)
	}
	if err == nil {
		pk.FixedHeader.Remaining, _, err = packets.DecodeLength(c.in)
	}
	if err == nil {
		pk.Payload = make([]byte, pk.FixedHeader.Remaining)
		_, err = io.ReadFull(c.in, pk.Payload)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return pk
}

// subscribe asks for filters and returns what is said to each.
func (c *raw) subscribe(filters ...string) []byte {
	c.t.Helper()
	c.next++
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe, Qos: 1}, ProtocolVersion: c.version, PacketID: c.next}
	for _, f := range filters {
		pk.Filters = append(pk.Filters, packets.Subscription{Filter: f, Qos: 1})
	}
	c.send(pk.SubscribeEncode)
	answer := c.answer()
	if err := answer.SubackDecode(answer.Payload); err != nil {
		c.t.Fatal(err)
	}
	return answer.ReasonCodes
}

func (c *raw) unsubscribe(filter string) {
	c.t.Helper()
	c.next++
	pk := packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe, Qos: 1}, ProtocolVersion: c.version, PacketID: c.next,
		Filters: packets.Subscriptions{{Filter: filter}},
	}
	c.send(pk.UnsubscribeEncode)
	if pk := c.answer(); pk.FixedHeader.Type != packets.Unsuback {
		c.t.Fatalf("%+v", pk)
	}
}

// leave disconnects and returns when the server has closed the connection.
func (c *raw) leave() {
	c.t.Helper()
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}, ProtocolVersion: c.version}
	c.send(pk.DisconnectEncode)
	c.closed()
}

func (c *raw) closed() {
	c.t.Helper()
	if more, err := io.ReadAll(c.in); err != nil || len(more) > 0 {
		c.t.Errorf("after that the server says %x, %v", more, err)
	}
}

// dues reads from a connection until it was told of so many visits, acknowledges each message, and returns how often it was told of each.
func (c *raw) dues(visits int) map[string]int {
	c.t.Helper()
	told := map[string]int{}
	for len(told) < visits {
		c.take(told)
	}
	return told
}

// take reads one message, notes whose visit it is about, and acknowledges it.
func (c *raw) take(told map[string]int) {
	c.t.Helper()
	pk := c.answer()
	if pk.FixedHeader.Type != packets.Publish {
		c.t.Fatalf("%+v", pk)
	}
	if err := pk.PublishDecode(pk.Payload); err != nil {
		c.t.Fatal(err)
	}
	_, visit, _ := strings.Cut(string(pk.Payload), `"visit_id":"`)
	told[visit[:strings.IndexByte(visit, '"')]]++
	ack := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Puback}, ProtocolVersion: c.version, PacketID: pk.PacketID}
	c.send(ack.PubackEncode)
}
