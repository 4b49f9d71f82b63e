package house

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// comesFrom opens a connection from one of the addresses of this machine.
func comesFrom(t *testing.T, from byte, address string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, from)}}
	c, err := d.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// closed tells whether the other side closes a connection over which nothing was said, before it would for that silence.
func closed(t *testing.T, c net.Conn) bool {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	_, err := c.Read(make([]byte, 1))
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

// One address that opens connections and says nothing, at every listener, has as many as it may; one more is closed unheard and counted, everybody
// else is served, and who closes one may open another. Red when a listener is opened that does not count, and when a connection that ends is not given back.
func TestConnectionsOfAnAddressAreBounded(t *testing.T) {
	t.Parallel()
	const most = 5
	h := opened(t, func(c *Config) { c.ConnectionsEach, c.MQTT = most, MQTTConfig{Address: "127.0.0.1:0", TLS: true} })
	web, mqtt := strings.TrimPrefix(h.URL(), "http://"), strings.TrimPrefix(h.MQTT(), "mqtts://")
	between, err := h.bind(t.Context(), listensProcesses, "127.0.0.1:0") // as it is where there are others
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: time.Minute}
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(between) }()
	t.Cleanup(func() { _ = server.Close(); <-served })
	for what, address := range map[string]string{listensWeb: web, listensDevices: mqtt, listensProcesses: between.Addr().String()} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			count := func() float64 { return testutil.ToFloat64(h.metrics.refused.WithLabelValues(what)) }
			var open []net.Conn
			for range most {
				open = append(open, comesFrom(t, 7, address))
			}
			for i, c := range open {
				if closed(t, c) {
					t.Fatalf("connection %d of %d is closed", i+1, most)
				}
			}
			for n := range 20 {
				if c := comesFrom(t, 7, address); !closed(t, c) {
					t.Fatalf("connection %d more than %d is let in", n+1, most)
				}
			}
			if got := count(); got != 20 {
				t.Errorf("%v are counted, want 20", got)
			}
			if c := comesFrom(t, 8, address); closed(t, c) {
				t.Error("nobody else is let in")
			}
			for _, c := range open {
				if err := c.Close(); err != nil {
					t.Fatal(err)
				}
			}
			until(t, func() bool { return !closed(t, comesFrom(t, 7, address)) })
		})
	}
	t.Run("is served", func(t *testing.T) {
		c := comesFrom(t, 9, web)
		if _, err := io.WriteString(c, "GET /livez HTTP/1.1\r\nHost: mall\r\nConnection: close\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(c)
		if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200") {
			t.Errorf("%s %v", answer, err)
		}
	})
}
