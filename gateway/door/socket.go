package door

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// Socket is a WebSocket on which only this side speaks. One goroutine at a time may send.
type Socket struct {
	door    *Door
	request *Request
	conn    *websocket.Conn
	slow    time.Duration
	gone    context.Context
	end     context.CancelCauseFunc
	done    chan struct{}
}

// Close says why a socket ends, with a code of RFC 6455 and a reason of at most 123 bytes.
type Close struct {
	Code   websocket.StatusCode
	Reason string
}

// The ends of a socket that its owner says by itself.
var (
	CloseLater = &Close{websocket.StatusTryAgainLater, "unavailable"}
	CloseHole  = &Close{websocket.StatusInternalError, "the feed has a hole"}
)

// errSpoken ends a socket whose reader says something: there is nothing to say.
var errSpoken = errors.New("a feed is only read")

// AskUpgrade answers a request that is no WebSocket's with 426.
func AskUpgrade(w http.ResponseWriter, r *Request) error {
	if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		return nil
	}
	w.Header().Set("Upgrade", "websocket")
	return NewProblem(http.StatusUpgradeRequired, "upgrade_required", "This is a WebSocket.")
}

// OpenSocket accepts the WebSocket that a Stream route was asked for. A reader that does not take a frame within slowAfter is cut off. The
// caller calls Run, which closes it.
func (d *Door) OpenSocket(w http.ResponseWriter, r *Request, slowAfter time.Duration) (*Socket, error) {
	// The door has checked Origin, and more strictly.
	conn, err := websocket.Accept(w, r.Request, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return nil, fmt.Errorf("accept feed: %w", err)
	}
	conn.SetReadLimit(1024)
	s := &Socket{door: d, request: r, conn: conn, slow: slowAfter, done: make(chan struct{})}
	// What comes from the other side is taken, so that its answers to pings and its goodbye are heard. Conn.CloseRead would do the same, but
	// when it is spoken to it waits 15 s for itself to end.
	ctx := context.WithoutCancel(r.Context())
	s.gone, s.end = context.WithCancelCause(ctx)
	go func() {
		defer close(s.done)
		_, _, err := conn.Reader(ctx) // not gone: its end would cut the connection before a goodbye
		if err == nil {
			err = errSpoken
		}
		s.end(err)
	}()
	return s, nil
}

// Run calls send until that returns, tells the reader why it is over, and closes the socket. send gets a context that ends with the
// token and with the server, and looks at Gone as well.
func (s *Socket) Run(send func(ctx context.Context) *Close) {
	c := send(s.request.Context())
	_ = s.conn.Close(c.Code, c.Reason) // the other side may be gone
	s.end(nil)
	_ = s.conn.CloseNow() // it is closed already, unless something went wrong
	<-s.done
}

// Gone is closed when the reader is.
func (s *Socket) Gone() <-chan struct{} { return s.gone.Done() }

// Send writes one text frame, unless the token has ended. It waits until the reader takes it.
func (s *Socket) Send(body []byte) *Close {
	if c := s.Over(); c != nil {
		return c
	}
	// Not within gone: its end in the middle of a write would cut the connection before a goodbye.
	err := within(context.WithoutCancel(s.gone), s.slow, func(ctx context.Context) error { return s.conn.Write(ctx, websocket.MessageText, body) })
	if err != nil {
		return &Close{websocket.StatusPolicyViolation, "too slow"}
	}
	return nil
}

// Ping asks whether the reader is there.
func (s *Socket) Ping() *Close {
	if s.door.Expired(&s.request.Caller) {
		return &Close{websocket.StatusPolicyViolation, "token expired"}
	}
	if err := within(s.gone, s.slow, s.conn.Ping); err != nil && !errors.Is(context.Cause(s.gone), errSpoken) {
		return &Close{websocket.StatusPolicyViolation, "no answer"}
	}
	return nil
}

// Over says why nothing more may be sent; nil while it may.
func (s *Socket) Over() *Close {
	ctx := s.request.Context()
	switch {
	case s.door.Expired(&s.request.Caller):
		return &Close{websocket.StatusPolicyViolation, "token expired"}
	case ctx.Err() != nil && errors.Is(context.Cause(ctx), ErrToken):
		return &Close{websocket.StatusPolicyViolation, "signed out"}
	case ctx.Err() != nil:
		return &Close{websocket.StatusGoingAway, "the server is stopping"}
	}
	return nil
}

// Left says how a socket ends whose reader is gone: it went, or it spoke.
func (s *Socket) Left() *Close {
	if errors.Is(context.Cause(s.gone), errSpoken) {
		return &Close{websocket.StatusPolicyViolation, errSpoken.Error()}
	}
	return &Close{websocket.StatusNormalClosure, ""}
}

func within(ctx context.Context, limit time.Duration, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return do(ctx)
}
