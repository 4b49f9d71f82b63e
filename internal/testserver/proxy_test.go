package testserver_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.org/souk/internal/testserver"
)

// echo starts a server that sends back every line.
func echo(t *testing.T) (addr string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	return listener.Addr().String()
}

// client is a connection through a proxy that speaks in lines.
type client struct {
	net.Conn
	lines *bufio.Reader
}

func dial(t *testing.T, p *testserver.Proxy) client {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return client{conn, bufio.NewReader(conn)}
}

// say sends a line and returns what comes back within the time.
func (c client) say(line string, within time.Duration) (string, error) {
	if _, err := c.Write([]byte(line + "\n")); err != nil {
		return "", err
	}
	return c.hear(within)
}

func (c client) hear(within time.Duration) (string, error) {
	if err := c.SetReadDeadline(time.Now().Add(within)); err != nil {
		return "", err
	}
	text, err := c.lines.ReadString('\n')
	return strings.TrimSuffix(text, "\n"), err
}

const soon = 10 * time.Second

func mustSay(t *testing.T, c client, line string) {
	t.Helper()
	if got, err := c.say(line, soon); err != nil || got != line {
		t.Fatalf("said %q, heard %q, %v", line, got, err)
	}
}

func TestProxyCarriesBothWaysAndTheEnd(t *testing.T) {
	t.Parallel()
	p := testserver.NewProxy(t, echo(t))
	c := dial(t, p)
	mustSay(t, c, "hello")
	if err := c.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.hear(soon); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
	eventually(t, "a finished connection is forgotten", func() bool { return p.Connections() == 0 })
	if through := p.Through("postgres://u@db.example:5432/x?y=z"); through != "postgres://u@"+p.Addr()+"/x?y=z" {
		t.Errorf("Through returned %s", through)
	}
}

func TestProxyLatency(t *testing.T) {
	t.Parallel()
	p := testserver.NewProxy(t, echo(t))
	c := dial(t, p)
	mustSay(t, c, "quick")
	p.Latency(30 * time.Millisecond)
	before := time.Now()
	mustSay(t, c, "slow")
	if took := time.Since(before); took < 60*time.Millisecond {
		t.Errorf("a round trip took %v with 30 ms each way", took)
	}
	p.Latency(0)
	mustSay(t, c, "quick")
}

func TestProxyDownAndUp(t *testing.T) {
	t.Parallel()
	p := testserver.NewProxy(t, echo(t))
	c := dial(t, p)
	mustSay(t, c, "hello")
	p.Down()
	if _, err := c.hear(soon); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a connection of a proxy that is down: %v", err)
	}
	if _, err := net.Dial("tcp", p.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a new connection to a proxy that is down: %v", err)
	}
	p.Up()
	mustSay(t, dial(t, p), "again")
}

func TestProxyReset(t *testing.T) {
	t.Parallel()
	p := testserver.NewProxy(t, echo(t))
	c := dial(t, p)
	mustSay(t, c, "hello")
	p.Reset()
	if _, err := c.hear(soon); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a connection that was reset: %v", err)
	}
	mustSay(t, dial(t, p), "again")
}

func TestProxyCutAfter(t *testing.T) {
	t.Parallel()
	for name, direction := range map[string]testserver.Direction{"upstream": testserver.Upstream, "downstream": testserver.Downstream} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := testserver.NewProxy(t, echo(t))
			c := dial(t, p)
			mustSay(t, c, "hello")
			p.CutAfter(direction, int64(len("one\ntwo\nth")))
			mustSay(t, c, "one")
			mustSay(t, c, "two")
			if p.Cuts() != 0 {
				t.Error("it was cut early")
			}
			got, err := c.say("three", soon)
			if err == nil || errors.Is(err, os.ErrDeadlineExceeded) || got == "three" {
				t.Errorf("behind the cut: %q, %v", got, err)
			}
			if direction == testserver.Downstream && got != "th" {
				t.Errorf("before the cut came %q", got)
			}
			mustSay(t, dial(t, p), "it cuts once")
			if p.Cuts() != 1 {
				t.Errorf("%d cuts were made", p.Cuts())
			}
		})
	}
}

func TestProxyPause(t *testing.T) {
	t.Parallel()
	p := testserver.NewProxy(t, echo(t))
	c := dial(t, p)
	mustSay(t, c, "hello")
	p.Pause()
	p.Pause() // twice is once
	if got, err := c.say("anyone?", 50*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("through a paused proxy came %q, %v", got, err)
	}
	newcomer := dial(t, p)
	if got, err := newcomer.say("me too", 50*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a new connection through a paused proxy: %q, %v", got, err)
	}
	p.Resume()
	if got, err := c.hear(soon); err != nil || got != "anyone?" {
		t.Errorf("after the pause: %q, %v", got, err)
	}
	if got, err := newcomer.hear(soon); err != nil || got != "me too" {
		t.Errorf("after the pause: %q, %v", got, err)
	}
}
