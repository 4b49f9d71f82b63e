package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// most is the memory in kB that a mall may ever have taken, whatever is asked of it.
const most = 512 << 10

// frugal fails the test where the mall's process has taken more memory than it may.
func (m *mall) frugal() {
	m.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.proc.Pid()))
	if err != nil {
		m.t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); f[0] == "VmHWM:" {
			if kB, err := strconv.Atoi(f[1]); err != nil || kB > most {
				m.t.Errorf("the process took %s kB, %v", f[1], err)
			}
			return
		}
	}
	m.t.Error("nothing is known of the memory")
}

// F11: several hundred connections that order as fast as they can, with a rate for each caller and without, are answered:
// taken, known already, or refused with the time to come again. The memory stays bounded, and every order that was
// accepted comes to its end. Red when a refusal does not say when to come again, when the rate is not looked at, and when what
// overload refuses is taken all the same.
func TestF11_Flood(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rate    string
		refused bool
	}{"rate of 100": {"100", true}, "no rate": {"100000", false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := start(t, program(t), t.TempDir(), nil, "--caller-rate", c.rate)
			m.seed()
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 500}, Timeout: 20 * time.Second}
			defer client.CloseIdleConnections()
			var mu sync.Mutex
			var accepted []string
			counts := map[int]int{}
			var next atomic.Int64
			var callers sync.WaitGroup
			for range 500 {
				callers.Go(func() {
					for n := next.Add(1); n <= 800; n = next.Add(1) {
						id := fmt.Sprint("F", n)
						status, header, err := sendTo(t.Context(), client, m.url+"/order", strings.NewReader(order(id, "CUSTOMER_001", item{"PRODUCT_001", 10, 1})))
						mu.Lock()
						counts[status]++
						switch {
						case err != nil:
							t.Errorf("order %s: %v", id, err)
						case status == 202 || status == 200:
							accepted = append(accepted, id)
						case status != 429 && status != 503:
							t.Errorf("order %s is answered with %d", id, status)
						case !saysWhen(header):
							t.Errorf("order %s is refused with %d, Retry-After %q", id, status, header.Get("Retry-After"))
						}
						mu.Unlock()
					}
				})
			}
			callers.Wait()
			if counts[202] < 100 || (counts[429] > 0) != c.refused {
				t.Errorf("answers: %v", counts)
			}
			m.frugal()
			// holds fails where an order has not come to its end.
			k := m.holdsRebuilt()
			for _, id := range accepted {
				if _, found := k.placed[id]; !found {
					t.Errorf("order %s was accepted and is gone", id)
				}
			}
			if len(k.placed) != len(accepted) && counts[503] == 0 {
				t.Errorf("%d orders were accepted and %d are there", len(accepted), len(k.placed))
			}
		})
	}
}

func sendTo(ctx context.Context, client *http.Client, url string, body io.Reader) (status int, header http.Header, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, body)
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, resp.Header, err
}

// endless is a body that does not end.
type endless struct{ sent atomic.Int64 }

func (e *endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = '['
	}
	e.sent.Add(int64(len(b)))
	return len(b), nil
}

// F11: connections that say a little and then nothing hinder nobody and are closed; a body that is said to be too large is
// refused before it is read, and one of which that turns out is read no further. Red without a limit on the time for a
// header, or on the size that a header may say, or on what is read.
func TestF11_SlowAndLarge(t *testing.T) {
	t.Parallel()
	m := start(t, program(t), t.TempDir(), nil)
	m.seed()
	address := strings.TrimPrefix(m.url, "http://")
	var slow []net.Conn
	defer func() {
		for _, c := range slow {
			_ = c.Close()
		}
	}()
	for n := range 300 {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		slow = append(slow, c)
		begun := "POST /order HTTP/1.1\r\nHost: " + address + "\r\nContent-Type: application/json\r\n"
		if n%2 == 1 { // the header is whole, and the body does not come
			begun += "Content-Length: 500\r\n\r\n{"
		}
		if _, err := io.WriteString(c, begun); err != nil {
			t.Fatal(err)
		}
	}
	large := strings.Replace(order1, `"ORDER_001"`, `"`+strings.Repeat("x", 1<<20)+`"`, 1)
	for name, body := range map[string]io.Reader{"large": strings.NewReader(large), "endless": &endless{}} {
		status, _, err := sendTo(t.Context(), http.DefaultClient, m.url+"/order", body)
		if status != 413 && !errors.Is(err, net.ErrClosed) {
			t.Errorf("a body that is %s: %d %v", name, status, err)
		}
		if e, ok := body.(*endless); ok && e.sent.Load() > 32<<20 {
			t.Errorf("%d bytes of an endless body were read", e.sent.Load())
		}
	}
	announced, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer announced.Close()
	if err := announced.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(announced, "POST /order HTTP/1.1\r\nHost: "+address+"\r\nContent-Type: application/json\r\nContent-Length: 1048576\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if resp, err := http.ReadResponse(bufio.NewReader(announced), nil); err != nil {
		t.Errorf("a body that is said to be large, and is not sent: %v", err)
	} else if _ = resp.Body.Close(); resp.StatusCode != 413 {
		t.Errorf("a body that is said to be large, and is not sent: %d", resp.StatusCode)
	}
	if status, answer := m.call("POST", "/order", strings.Repeat("[", 60_000)); status != 400 {
		t.Errorf("sixty thousand brackets: %d %s", status, answer)
	}
	m.must(202, "POST", "/order", order1)
	m.awaitStatus("ORDER_001", "APPROVED")
	until := time.Now().Add(30 * time.Second)
	for n, c := range slow {
		if err := c.SetReadDeadline(until); err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(c)
		if resp, err := http.ReadResponse(r, nil); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode != 400 && resp.StatusCode != 408 && resp.StatusCode != 503 {
				t.Errorf("connection %d is told %d", n, resp.StatusCode)
			}
		}
		if _, err := io.Copy(io.Discard, r); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("connection %d says nothing and is still open", n)
		}
	}
	m.frugal()
	m.holds()
}
