package pgstore

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"example.org/souk/backbone/driver"
)

// reconnect keeps a pool from trying to connect all the time to a server that does not let anybody in. Each attempt has the
// server begin a process, also while it recovers; many programs that try at once keep it from its recovery.
// Safe for concurrent use.
type reconnect struct {
	most int // attempts that are free

	mu    sync.Mutex
	tried int       // since one worked
	next  time.Time // when the next one may be made, where too many were
}

// retry is how often a pool tries where nothing works.
const retry = 200 * time.Millisecond

var errRefusing = fmt.Errorf("the server has let nobody in; it is asked again in a moment: %w", driver.ErrUnavailable)

// before is asked before an attempt.
func (r *reconnect) before(context.Context, *pgx.ConnConfig) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if r.tried >= r.most && now.Before(r.next) {
		return errRefusing
	}
	r.tried, r.next = r.tried+1, now.Add(retry)
	return nil
}

// after hears of an attempt that worked.
func (r *reconnect) after(context.Context, *pgx.Conn) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tried = 0
	return nil
}
