package natsbus

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"example.org/souk/backbone/internal/broker"
)

// event returns one with some attributes.
func event(id string, attributes ...string) *broker.Outgoing {
	m := &broker.Outgoing{Topic: "orders", ID: id, Type: "shop.things.Made.v1", Body: []byte(`"` + id + `"`)}
	for i := 0; i < len(attributes); i += 2 {
		m.Attributes = append(m.Attributes, broker.Attribute{Name: attributes[i], Value: attributes[i+1]})
	}
	return m
}

// TestHeadersAreTheirOwn shows that a header that is written over another one says of its event what is to be said, and nothing of the one
// before. Red when the attributes of the last event are taken to be those of the next one, and when a batch's own headers stay.
func TestHeadersAreTheirOwn(t *testing.T) {
	t.Parallel()
	events := []*broker.Outgoing{
		event("1", "id", "1", "type", "a.v1", "subject", "x"),
		event("2", "id", "2", "type", "b.v1", "subject", "y z"),
		event("3", "id", "3", "type", "b.v1", "actor", "x"),
		event("4", "id", "4", "type", "b.v1", "actor", "x", "ref", "r"),
		event("5", "subject", "x"),
		event("6", "subject", "y"),
		event("7"),
	}
	const wire = "shop.things.Made.v1"
	want := []map[string]string{
		{"ce-id": "1", "ce-type": "a.v1", "ce-subject": "x"},
		{"ce-id": "2", "ce-type": "b.v1", "ce-subject": "y%20z"},
		{"ce-id": "3", "ce-type": "b.v1", "ce-actor": "x"},
		{"ce-id": "4", "ce-type": "b.v1", "ce-actor": "x", "ce-ref": "r"},
		{"ce-id": "5", "ce-type": wire, "ce-subject": "x"},
		{"ce-id": "6", "ce-type": wire, "ce-subject": "y"},
		{"ce-id": "7", "ce-type": wire},
	}
	for _, whole := range []bool{false, true} {
		l := letters{topic: &topic{name: "orders", stream: "orders", partitions: 1}, reply: "inbox", id: "b", whole: whole, of: len(events)}
		for i, m := range events {
			msg := l.next(m)
			got := map[string]string{}
			for name, values := range msg.Header {
				got[name] = strings.Join(values, " and ")
			}
			want := maps.Clone(want[i])
			want["ce-datacontenttype"] = "application/json"
			if i == 0 {
				want["Nats-Expected-Stream"] = "orders"
			}
			if whole {
				want["Nats-Batch-Id"], want["Nats-Batch-Sequence"] = "b", strconv.Itoa(i+1)
				if i == len(events)-1 {
					want["Nats-Batch-Commit"] = "1"
				}
			}
			if !maps.Equal(got, want) {
				t.Errorf("whole %t: event %s has the header %v, want %v", whole, m.ID, got, want)
			}
			if string(msg.Data) != `"`+m.ID+`"` || msg.Subject != "orders.0.shop_things_Made.v1" {
				t.Errorf("whole %t: event %s: %s to %s", whole, m.ID, msg.Data, msg.Subject)
			}
		}
	}
}

// TestMessagesOfABatchCostLittle shows what a message of a batch takes beside what the library does. Red when each has a header or a
// subject made for it.
func TestMessagesOfABatchCostLittle(t *testing.T) {
	const n = 200
	l := letters{topic: &topic{name: "orders", stream: "orders", partitions: 1}, reply: "inbox.1", of: 2 * n}
	m := event("1", "id", "1", "type", "a.v1", "subject", "x", "actor", "customer:C1")
	l.next(m)
	if each := testing.AllocsPerRun(n, func() { l.next(m) }); each > 1 { // its reply subject
		t.Errorf("a message takes %v allocations", each)
	}
}

// counting is a server that counts what is published to it, and confirms what it is told to.
type counting struct {
	t       *testing.T
	url     string
	came    chan int // the number of the message in its batch
	replies chan string

	mu    sync.Mutex
	conn  net.Conn
	inbox string // the number of the subscription
}

func newCounting(t *testing.T) *counting {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &counting{t: t, url: "nats://" + listener.Addr().String(), came: make(chan int, 10_000), replies: make(chan string, 1)}
	var all sync.WaitGroup
	all.Go(func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		s.mu.Lock()
		s.conn = conn
		s.mu.Unlock()
		s.serve(conn)
	})
	t.Cleanup(func() {
		_ = listener.Close()
		all.Wait()
	})
	return s
}

func (s *counting) serve(conn net.Conn) {
	fmt.Fprintf(conn, "INFO {\"server_id\":\"x\",\"version\":\"2.15.0\",\"proto\":1,\"headers\":true,\"max_payload\":1048576,\"jetstream\":true}\r\n")
	in := bufio.NewReader(conn)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		switch words := strings.Fields(line); words[0] {
		case "PING":
			fmt.Fprint(conn, "PONG\r\n")
		case "SUB":
			s.mu.Lock()
			s.inbox = words[len(words)-1]
			s.mu.Unlock()
		case "HPUB":
			n, err := strconv.Atoi(words[len(words)-1])
			if err == nil {
				_, err = io.CopyN(io.Discard, in, int64(n+2))
			}
			if err != nil {
				return
			}
			reply := words[2]
			select {
			case s.replies <- reply:
			default:
			}
			parts := strings.Split(reply, ".") // ... NUMBER OPERATION $FI
			number, err := strconv.Atoi(parts[len(parts)-3])
			if err != nil {
				s.t.Errorf("published with the reply subject %s", reply)
			}
			s.came <- number
		}
	}
}

// published has a session publish messages to it, and returns what comes of that.
func (s *counting) published(ms []*broker.Outgoing, anchor *broker.Anchor) (*session, <-chan error) {
	s.t.Helper()
	from, err := connect(&ClientConfig{URL: s.url})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(from.close)
	from.topics["orders"] = &topic{name: "orders", stream: "orders", partitions: 1}
	done := make(chan error, 1)
	go func() { done <- from.publish(s.t.Context(), ms, anchor) }()
	return from, done
}

// say answers to a batch.
func (s *counting) say(reply string, what any) {
	s.t.Helper()
	text, err := json.Marshal(what)
	if err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := fmt.Fprintf(s.conn, "MSG %s %s %d\r\n%s\r\n", reply, s.inbox, len(text), text); err != nil {
		s.t.Fatal(err)
	}
}

// until waits for the message of a number, which are to come one after the other.
func (s *counting) until(from, number int) {
	s.t.Helper()
	for ; from <= number; from++ {
		select {
		case got := <-s.came:
			if got != from {
				s.t.Fatalf("message %d of the batch comes in the place of %d", got, from)
			}
		case <-time.After(time.Minute):
			s.t.Fatalf("message %d of the batch does not come", from)
		}
	}
}

// none shows that nothing more was sent: a message that is published on the same connection comes next.
func (s *counting) none(nc *nats.Conn) {
	s.t.Helper()
	err := nc.PublishMsg(&nats.Msg{Subject: "x", Reply: "x.0.1.$FI", Header: nats.Header{"a": {"b"}}})
	if err != nil {
		s.t.Fatal(err)
	}
	s.until(0, 0)
}

// TestLongBatchesWaitForTheServer shows that one batch is as long as what is sent, and that the server is never given more than a thousand
// messages that it has not confirmed. Red when a batch does not wait for signs of progress, and when it is cut into batches that each wait for
// the one before.
func TestLongBatchesWaitForTheServer(t *testing.T) {
	t.Parallel()
	const n = 2600
	ms := make([]*broker.Outgoing, n)
	for i := range ms {
		ms[i] = event(strconv.Itoa(i + 1))
	}
	server := newCounting(t)
	var anchor broker.Anchor
	s, done := server.published(ms, &anchor)
	server.until(1, batchMessages)
	server.none(s.nc)
	reply := <-server.replies
	sign := func(stored int) {
		server.say(reply, map[string]any{"type": "ack", "seq": stored, "msgs": batchSigns})
	}
	sign(0)
	server.none(s.nc)
	for stored := batchSigns; stored+batchMessages < n; stored += batchSigns {
		sign(stored)
		server.until(stored+batchMessages-batchSigns+1, stored+batchMessages)
		server.none(s.nc)
	}
	sign(2000)
	server.until(2501, n)
	server.say(reply, map[string]any{"stream": "orders", "seq": 7000, "batch": "b", "count": n})
	if err := <-done; err != nil || anchor.Sequence != 7000 || anchor.ID != "2600" {
		t.Errorf("anchor %+v, %v", anchor, err)
	}
}

// TestABatchThatFailsWaitsNoMore shows that after an error of the server nothing of the batch waits for progress. Red when it does.
func TestABatchThatFailsWaitsNoMore(t *testing.T) {
	t.Parallel()
	ms := slices.Repeat([]*broker.Outgoing{event("1")}, 3000)
	server := newCounting(t)
	_, done := server.published(ms, new(broker.Anchor))
	server.until(1, batchMessages)
	reply := <-server.replies
	server.say(reply, map[string]any{"type": "err", "seq": 10, "error": map[string]any{"code": 400, "err_code": 10077, "description": "no"}})
	server.until(batchMessages+1, len(ms))
	server.say(reply, map[string]any{"stream": "orders", "seq": 9, "batch": "b", "count": 9})
	if err := <-done; err == nil || !strings.Contains(err.Error(), "no") {
		t.Errorf("a batch that the server refused ends with %v", err)
	}
}
