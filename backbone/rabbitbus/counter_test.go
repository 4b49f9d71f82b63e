package rabbitbus_test

import (
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"

	"example.org/souk/internal/testserver"
)

// counter carries connections to a server and counts what clients ask of it, by the protocol's names.
type counter struct {
	url string

	mu     sync.Mutex
	counts map[string]int
	bytes  int64  // from clients
	before func() // is done once, before the next declaration passes
}

// asked are the methods that change something at the server, or take something out of a queue, by class and method.
var asked = map[[2]uint16]string{
	{40, 10}: "exchange.declare", {40, 20}: "exchange.delete", {40, 30}: "exchange.bind", {40, 40}: "exchange.unbind",
	{50, 10}: "queue.declare", {50, 20}: "queue.bind", {50, 30}: "queue.purge", {50, 40}: "queue.delete", {50, 50}: "queue.unbind",
	{60, 20}: "basic.consume", {60, 40}: "basic.publish", {60, 70}: "basic.get", {60, 80}: "basic.ack", {60, 120}: "basic.nack",
}

// count starts a counter, which ends with the test.
func count(t testing.TB, server *testserver.RabbitServer) *counter {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	u.Host = listener.Addr().String()
	c := &counter{url: u.String(), counts: map[string]int{}}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			upstream, err := net.Dial("tcp", server.Addr())
			if err != nil {
				t.Error(err)
				_ = client.Close()
				return
			}
			running.Go(func() {
				if _, err := io.Copy(client, upstream); err != nil {
					t.Logf("answers end: %v", err) // as they do where either side is cut off; what that came to the test sees at its client
				}
				_ = client.Close()
			})
			running.Go(func() {
				c.follow(client, upstream)
				_ = upstream.Close()
				_ = client.Close() // also where the server has gone
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		running.Wait()
	})
	return c
}

// follow carries what a client says: eight bytes, and then frames of a type, a channel, a length, so many bytes and one more.
func (c *counter) follow(client io.Reader, upstream io.Writer) {
	if _, err := io.CopyN(upstream, client, 8); err != nil {
		return
	}
	for {
		frame := make([]byte, 7)
		if _, err := io.ReadFull(client, frame); err != nil {
			return
		}
		frame = append(frame, make([]byte, binary.BigEndian.Uint32(frame[3:])+1)...)
		if _, err := io.ReadFull(client, frame[7:]); err != nil {
			return
		}
		c.seen(frame)
		if _, err := upstream.Write(frame); err != nil {
			return
		}
	}
}

// seen counts a frame.
func (c *counter) seen(frame []byte) {
	name := ""
	if frame[0] == 1 {
		name = change(frame[7:])
	}
	c.mu.Lock()
	c.bytes += int64(len(frame))
	var before func()
	if name != "" {
		c.counts[name]++
		if name == "queue.declare" {
			before, c.before = c.before, nil
		}
	}
	c.mu.Unlock()
	if before != nil {
		before()
	}
}

// change names a method that changes something, and nothing for a declaration that asks only whether something is there.
func change(method []byte) string {
	class, number := binary.BigEndian.Uint16(method), binary.BigEndian.Uint16(method[2:])
	name := asked[[2]uint16{class, number}]
	if name == "queue.declare" || name == "exchange.declare" {
		// A reserved number, the name, for an exchange its type, and bits of which the first is "passive".
		at := 6
		at += 1 + int(method[at])
		if name == "exchange.declare" {
			at += 1 + int(method[at])
		}
		if method[at]&1 != 0 {
			return ""
		}
	}
	return name
}

// taken returns the counts since it was last called, and how many bytes clients sent.
func (c *counter) taken() (counts map[string]int, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	counts, bytes = c.counts, c.bytes
	c.counts, c.bytes = map[string]int{}, 0
	return counts, bytes
}
