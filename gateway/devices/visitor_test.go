package devices

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Nobody waits for who does not read what it is sent: what is too much ends the connection. What was said before a connection is closed is said, and who
// does not listen is not waited for.
func TestNobodyWaitsForWhoDoesNotRead(t *testing.T) {
	t.Parallel()
	visit := func() (*visitor, net.Conn, <-chan struct{}) {
		near, far := net.Pipe() // which holds nothing
		left := make(chan struct{})
		return &visitor{Conn: near, greeted: true, sends: &sync.WaitGroup{}, leave: sync.OnceFunc(func() { close(left) })}, far, left
	}
	v, far, _ := visit()
	for sent := 0; ; sent += maxPacket {
		if _, err := v.Write(make([]byte, maxPacket)); err != nil {
			if !errors.Is(err, errSlow) || sent != maxAhead {
				t.Errorf("after %d bytes: %v", sent, err)
			}
			break
		}
	}
	if _, err := io.ReadAll(far); err != nil {
		t.Error(err)
	}
	v, far, left := visit()
	for _, text := range []string{"so ", "long"} {
		if _, err := v.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	<-left
	if text, err := io.ReadAll(far); err != nil || string(text) != "so long" {
		t.Errorf("it hears %q, %v", text, err)
	}
	if _, err := v.Write([]byte("and thanks")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after that: %v", err)
	}
	synctest.Test(t, func(t *testing.T) {
		for _, closes := range []bool{false, true} {
			v, far, _ := visit()
			began := time.Now()
			if _, err := v.Write([]byte("anybody?")); err != nil {
				t.Fatal(err)
			}
			want := readWithin
			if closes {
				want = goodbyeWithin
				if err := v.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := v.Read(make([]byte, 1)); err == nil {
				t.Error("it says something")
			}
			if closes {
				<-time.After(want)
			}
			synctest.Wait()
			if _, err := v.Write([]byte("so?")); err == nil || time.Since(began) != want {
				t.Errorf("after %s: %v", time.Since(began), err)
			}
			_ = far.Close()
		}
	})
}

// Whoever connects hears first that it is let in, though the server has messages for it before it says so.
func TestTheFirstIsTheAnswer(t *testing.T) {
	t.Parallel()
	const first, second, answer, third = "\x32\x03one", "\x32\x03two", "\x20\x02\x01\x00", "\x32\x05three"
	for _, writes := range [][]string{
		{answer, first, second, third}, {first, answer, second, third}, {first, second, answer, third}, {first + second + answer + third}, {first, second + answer + third},
	} {
		near, far := net.Pipe()
		v := &visitor{Conn: near, sends: &sync.WaitGroup{}, leave: func() {}}
		for _, w := range writes {
			if n, err := v.Write([]byte(w)); n != len(w) || err != nil {
				t.Errorf("%d, %v", n, err)
			}
		}
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(far); err != nil || string(text) != answer+first+second+third {
			t.Errorf("after %q it hears %q, %v", writes, text, err)
		}
	}
}
