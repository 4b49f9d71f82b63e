package devices

import (
	"bytes"
	"errors"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// visitor is a connection that was let in. The first that it is sent is the answer to who it says it is: the MQTT server may have a message for it before
// that, which would be against the protocol. What is written to it is sent by another goroutine, since the MQTT server would have whoever tells something to
// all devices wait for the one that does not read. Its methods may be called from several goroutines.
type visitor struct {
	net.Conn
	leave func()
	sends *sync.WaitGroup

	mu      sync.Mutex
	greeted bool
	hello   []byte // messages that came before the answer
	waits   []byte // to be sent
	ahead   int    // bytes that are to be sent, those included that are being sent
	sending bool
	until   time.Time // when it is sent away: until then it may read what was written
	err     error     // ends it
}

const (
	// maxAhead bounds what is sent to a device and not read, in bytes: everything that may wait in a session, and more.
	maxAhead = 8 << 20
	// readWithin is how long a device may read nothing of what it is sent, and goodbyeWithin how long when it is sent away.
	readWithin    = 30 * time.Second
	goodbyeWithin = time.Second
)

// errSlow says that a device does not read what it is sent.
var errSlow = errors.New("it does not read what it is sent")

// Write implements net.Conn. It does not wait for the other end.
func (v *visitor) Write(p []byte) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.err != nil:
		return 0, v.err
	case !v.until.IsZero():
		return 0, net.ErrClosed
	case v.ahead+len(p) > maxAhead:
		v.end(errSlow)
		return 0, errSlow
	}
	n := len(p)
	if !v.greeted {
		v.hello = append(v.hello, p...)
		if p = greeting(v.hello); p == nil {
			v.ahead += n
			return n, nil
		}
		v.greeted, v.hello, v.ahead = true, nil, 0
	}
	v.waits, v.ahead = append(v.waits, p...), v.ahead+len(p)
	if !v.sending {
		v.sending = true
		v.sends.Go(v.send)
	}
	return n, nil
}

// greeting returns packets with the first that is no message before the others; nil where all are messages.
func greeting(text []byte) []byte {
	in := bytes.NewBuffer(text)
	for in.Len() > 0 {
		start := len(text) - in.Len()
		kind, err := in.ReadByte()
		if err != nil {
			return text
		}
		size, _, err := packets.DecodeLength(in)
		if err != nil || size > in.Len() {
			return text // it is no packet
		}
		in.Next(size)
		if end := len(text) - in.Len(); kind>>4 != packets.Publish {
			return slices.Concat(text[start:end], text[:start], text[end:])
		}
	}
	return nil
}

// send sends what waits, and ends.
func (v *visitor) send() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for len(v.waits) > 0 && v.err == nil {
		next := v.waits
		v.waits = nil
		v.put(next)
		v.ahead -= len(next)
	}
	v.sending = false
	if !v.until.IsZero() {
		v.end(net.ErrClosed)
	}
}

// put sends a piece after the other. The caller holds mu, which others have meanwhile.
func (v *visitor) put(text []byte) {
	const most = 64 << 10
	for len(text) > 0 && v.err == nil {
		until := v.until
		if until.IsZero() {
			until = time.Now().Add(readWithin)
		}
		err := v.SetWriteDeadline(until)
		v.mu.Unlock()
		n := 0
		if err == nil {
			n, err = v.Conn.Write(text[:min(most, len(text))])
		}
		v.mu.Lock()
		if text = text[n:]; err != nil {
			v.end(err)
		}
	}
}

// end closes the connection. The caller holds mu.
func (v *visitor) end(err error) {
	if v.err == nil {
		v.err, v.waits = err, nil
		_ = v.Conn.Close() // nobody asks what becomes of it
	}
}

// SetDeadline implements net.Conn, for what is read.
func (v *visitor) SetDeadline(t time.Time) error { return v.SetReadDeadline(t) }

// Close implements net.Conn. What was written before is sent, if it is read at once.
func (v *visitor) Close() error {
	v.leave()
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.err != nil || !v.until.IsZero():
		return nil
	case !v.sending:
		v.end(net.ErrClosed)
		return nil
	}
	now := time.Now()
	v.until = now.Add(goodbyeWithin)
	return errors.Join(v.SetReadDeadline(now), v.SetWriteDeadline(v.until))
}
