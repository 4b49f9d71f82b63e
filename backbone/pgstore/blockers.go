package pgstore

import (
	"context"
	"fmt"
	"time"

	"example.org/souk/backbone/driver"
)

// Blockers implements driver.Blockers. Of the transactions of other users PostgreSQL tells everybody the process's number; the rest it
// tells who has the role pg_read_all_stats.
func (s *Store) Blockers(ctx context.Context, waited time.Duration) (list []driver.Blocker, err error) {
	r, err := s.Query(ctx, `SELECT b.pid,
			format('process %s%s%s%s%s', b.pid, ', ' || nullif(b.application_name, ''), ', user ' || b.usename, ', from ' || host(b.client_addr), ', ' || b.state),
			max(extract(epoch FROM clock_timestamp() - w.query_start))::float8 AS waited
		FROM pg_stat_activity w CROSS JOIN LATERAL unnest(pg_blocking_pids(w.pid)) AS p(pid) JOIN pg_stat_activity b ON b.pid = p.pid
		WHERE w.datname = current_database() AND w.wait_event_type = 'Lock' AND b.wait_event_type IS DISTINCT FROM 'Lock'
		GROUP BY 1, 2 HAVING max(extract(epoch FROM clock_timestamp() - w.query_start)) >= $1 ORDER BY waited DESC`, waited.Seconds())
	if err != nil {
		return nil, fmt.Errorf("read who is waited for: %w", err)
	}
	defer func() { _ = r.Close() }() // it has no error of its own
	for r.Next() {
		var b driver.Blocker
		var waited float64
		if err := r.Scan(&b.Process, &b.Who, &waited); err != nil {
			return nil, err
		}
		b.Waited = time.Duration(waited * float64(time.Second))
		list = append(list, b)
	}
	return list, r.Err()
}
