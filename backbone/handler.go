package backbone

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"example.org/souk/backbone/driver"
)

var errTxOver = errors.New("the transaction is over: a Tx is used only while its handler runs")

// holdLimit is how long a handler may hold the writer before it is reported.
const holdLimit = 50 * time.Millisecond

// handlerRun is one run of an event handler or projection. It runs off the writer
// until its first Query; from there on the writer waits for it.
type handlerRun struct {
	sub  *subscription
	msg  *Message
	view *View // whose tables it may write; nil for the service's own

	statements []pendingStatement
	effects    []Effect

	// enlist hands the unit to the writer; called once, at the first Query.
	enlist func() error

	mu       sync.Mutex
	enlisted bool
	over     bool // timed out, handed back, or done
	lost     error
	b        *batch
	u        *unit
	grant    chan struct{} // closed when the writer is ours, or lost is set
	finished chan struct{} // closed when the handler has returned
	err      error         // what it returned
}

type pendingStatement struct {
	sql  string
	args []any
}

func newHandlerRun(sub *subscription, msg *Message, view *View) *handlerRun {
	return &handlerRun{sub: sub, msg: msg, view: view, grant: make(chan struct{}), finished: make(chan struct{})}
}

func (h *handlerRun) isGranted() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.b != nil
}

// call runs fn with the time limit of its service.
func (h *handlerRun) call(ctx context.Context, fn func(context.Context) error) (err error) {
	limit := h.sub.handlerTimeout()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	late := time.AfterFunc(limit+limit/2, func() {
		h.sub.alarm("handler", fmt.Sprintf("the handler of %s %s ignores that its context has ended; its lane stays closed until it returns", h.msg.Type, h.msg.ID))
	})
	defer func() {
		late.Stop()
		if p := recover(); p != nil {
			err = &PanicError{Value: p, Stack: string(debug.Stack())}
		}
		if ctx.Err() != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = Transient(fmt.Errorf("handler of %s ran longer than %s: %w", h.msg.Type, limit, context.DeadlineExceeded))
		}
		h.mu.Lock()
		h.err = err
		if h.lost != nil {
			err = h.lost
		}
		close(h.finished)
		h.mu.Unlock()
	}()
	return fn(ctx)
}

func (h *handlerRun) Message() *Message { return h.msg }

func (h *handlerRun) Exec(ctx context.Context, sql string, args ...any) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	real, err := h.sub.host.statement(sql, h.view)
	if err != nil {
		return Permanent(err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over {
		return errTxOver
	}
	h.statements = append(h.statements, pendingStatement{real, args})
	return nil
}

func (h *handlerRun) Do(effects ...Effect) { h.effects = append(h.effects, effects...) }

func (h *handlerRun) Query(ctx context.Context, sql string, args ...any) (Rows, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	real, err := h.sub.host.statement(sql, nil)
	if err != nil {
		return nil, Permanent(err)
	}
	if !h.enlisted {
		h.enlisted = true
		if err := h.enlist(); err != nil {
			return nil, err
		}
	}
	<-h.grant
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lost != nil {
		return nil, h.lost
	}
	if h.over {
		return nil, errTxOver
	}
	s := h.b.of(h.sub.host)
	h.move(s)
	if err := h.b.flushStatements(s); err != nil {
		h.lost = err
		return nil, err
	}
	return h.b.tx.Query(ctx, real, args...)
}

func (h *handlerRun) QueryCommitted(ctx context.Context, sql string, args ...any) (Rows, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !isRead(sql) {
		return nil, Permanent(fmt.Errorf("statement %q is no read: Exec queues what writes", sql))
	}
	real, err := h.sub.host.statement(sql, nil)
	if err != nil {
		return nil, Permanent(err)
	}
	h.mu.Lock()
	over := h.over
	h.mu.Unlock()
	if over {
		return nil, errTxOver
	}
	return h.sub.host.store.Query(ctx, real, args...)
}

// move puts what was queued into the batch.
func (h *handlerRun) move(s *share) {
	for _, st := range h.statements {
		s.statements = append(s.statements, driver.Statement{Unit: h.u.index, SQL: st.sql, Args: st.args})
	}
	h.statements = h.statements[:0]
}

// hold runs on the writer: it lends the transaction to the handler until that
// returns or its time is over.
func (h *handlerRun) hold(b *batch, u *unit) error {
	h.mu.Lock()
	h.b, h.u = b, u
	u.flushed = true
	close(h.grant)
	h.mu.Unlock()
	limit := h.sub.handlerTimeout()
	expired := time.NewTimer(limit)
	defer expired.Stop()
	started := time.Now() //souk:clock durations for alarms
	select {
	case <-h.finished:
	case <-expired.C:
		h.mu.Lock()
		h.over = true
		h.mu.Unlock()
		return Transient(fmt.Errorf("handler of %s held the writer longer than %s: %w", h.msg.Type, limit, context.DeadlineExceeded))
	}
	if held := time.Since(started); held > holdLimit {
		h.sub.alarm("handler", fmt.Sprintf("the handler of %s %s held the writer for %s", h.msg.Type, h.msg.ID, held.Round(time.Millisecond)))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = true
	if h.lost != nil {
		return h.lost
	}
	if h.err != nil {
		return h.err
	}
	s := b.of(h.sub.host)
	h.move(s)
	return nil
}

// lose tells a handler that waits for the writer that it will not get it.
func (h *handlerRun) lose(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.b == nil && h.lost == nil {
		h.lost, h.over = err, true
		close(h.grant)
	}
}
