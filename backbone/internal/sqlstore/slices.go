package sqlstore

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"example.org/souk/backbone/driver"
)

// update runs work in a transaction of its own, for a service that is known.
func (c *Core) update(ctx context.Context, service string, work func(Conn) error) error {
	if err := c.Check(service); err != nil {
		return err
	}
	return c.Database.Update(ctx, work)
}

// list reads rows of a service that is known.
func list[T any](ctx context.Context, c *Core, service, text string, args []any, scan func(driver.Rows, *T) error) ([]T, error) {
	if err := c.Check(service); err != nil {
		return nil, err
	}
	return collect(ctx, c.Database, c.sql(service, text), args, scan)
}

func scanInt(rows driver.Rows, n *int) error { return rows.Scan(n) }

// InitSubscription implements driver.Slices. A source that is added later joins
// the slices with the owners that they have.
func (c *Core) InitSubscription(ctx context.Context, service, subscription string, count int, from map[string]int64) (int, error) {
	if count <= 0 {
		return 0, fmt.Errorf("subscription %q: %d slices", subscription, count)
	}
	stored := count
	err := c.update(ctx, service, func(q Conn) error {
		_, err := q.Exec(ctx, c.sql(service, `INSERT INTO {bb_subscription} (name, slices, hash) VALUES ($1, $2, $3)
			ON CONFLICT (name) DO NOTHING`), subscription, count, driver.SliceHash)
		if err != nil {
			return err
		}
		var hash string
		err = all(ctx, q, c.sql(service, "SELECT slices, hash FROM {bb_subscription} WHERE name = $1"+c.Dialect.ForUpdate),
			[]any{subscription}, func(rows driver.Rows) error { return rows.Scan(&stored, &hash) })
		if err != nil {
			return err
		}
		if hash != driver.SliceHash {
			return fmt.Errorf("subscription %q was divided by hash %s, this program knows %s", subscription, hash, driver.SliceHash)
		}
		return c.initSources(ctx, q, service, subscription, stored, from)
	})
	return stored, err
}

// initSources gives the slices of a subscription checkpoints for sources that are new to it, by one statement: a first start makes thousands.
func (c *Core) initSources(ctx context.Context, q Conn, service, subscription string, count int, from map[string]int64) error {
	known := map[string]bool{}
	err := all(ctx, q, c.sql(service, "SELECT DISTINCT source FROM {bb_checkpoint} WHERE subscription = $1"), []any{subscription},
		func(rows driver.Rows) error {
			var source string
			err := rows.Scan(&source)
			known[source] = true
			return err
		})
	if err != nil {
		return err
	}
	var starts []string
	args := []any{subscription, count}
	for _, source := range slices.Sorted(maps.Keys(from)) {
		if !known[source] {
			starts = append(starts, fmt.Sprintf("SELECT CAST($%d AS TEXT) AS source, CAST($%d AS BIGINT) AS position", len(args)+1, len(args)+2))
			args = append(args, source, from[source])
		}
	}
	if len(starts) == 0 {
		return nil
	}
	// A source that joins finds its slices owned as they are for the sources that are there.
	_, err = q.Exec(ctx, c.sql(service, `INSERT INTO {bb_checkpoint} (`+checkpointColumns+`)
		WITH RECURSIVE n(slice) AS (SELECT 0 UNION ALL SELECT slice + 1 FROM n WHERE slice + 1 < CAST($2 AS BIGINT))
		SELECT CAST($1 AS TEXT), v.source, n.slice, v.position, coalesce(h.epoch, 0), coalesce(h.owner, ''), coalesce(h.lease_until, 0)
		FROM (`+strings.Join(starts, " UNION ALL ")+`) AS v CROSS JOIN n LEFT JOIN (
			SELECT slice, max(epoch) AS epoch, max(owner) AS owner, max(lease_until) AS lease_until FROM {bb_checkpoint}
			WHERE subscription = $1 GROUP BY slice) AS h ON h.slice = n.slice`), args...)
	return err
}

const checkpointColumns = "subscription, source, slice, position, epoch, owner, lease_until"

func scanCheckpoint(rows driver.Rows, p *driver.Checkpoint) error {
	return rows.Scan(&p.Subscription, &p.Source, &p.Slice, &p.Position, &p.Epoch, &p.Owner, &p.LeaseUntil)
}

// Claim implements driver.Slices. Claims of one subscription wait for each other.
func (c *Core) Claim(ctx context.Context, service, subscription, owner string, limit int, lease time.Duration, only ...int) ([]driver.Checkpoint, error) {
	var out []driver.Checkpoint
	// The clock is asked before the transaction: its connection would be a second one, for which all who have a first might wait.
	now, err := c.now(ctx)
	if err != nil {
		return nil, err
	}
	err = c.update(ctx, service, func(q Conn) error {
		out = nil
		_, err := q.Exec(ctx, c.sql(service, "UPDATE {bb_subscription} SET slices = slices WHERE name = $1"), subscription)
		if err != nil {
			return err
		}
		among, which := "", []any{subscription, owner, now, limit}
		if len(only) > 0 {
			among = " AND slice IN (" + parameters(5, len(only)) + ")"
			for _, slice := range only {
				which = append(which, slice)
			}
		}
		free, err := collect(ctx, q, c.sql(service, `SELECT slice FROM {bb_checkpoint} WHERE subscription = $1`+among+` GROUP BY slice
			HAVING max(CASE WHEN owner <> '' AND owner <> $2 AND lease_until > $3 THEN 1 ELSE 0 END) = 0
			ORDER BY min(CASE WHEN owner = $2 THEN 0 ELSE 1 END), slice LIMIT $4`),
			which, scanInt)
		if err != nil || len(free) == 0 {
			return err
		}
		of, args := "WHERE subscription = $1 AND slice IN ("+parameters(2, len(free))+")", []any{subscription}
		for _, slice := range free {
			args = append(args, slice)
		}
		// This waits for transactions that move these checkpoints; what is returned then are the positions that they left.
		if err := c.lockCheckpoints(ctx, q, service, of, args); err != nil {
			return err
		}
		owned := fmt.Sprintf("UPDATE {bb_checkpoint} SET epoch = epoch + 1, owner = $%d, lease_until = $%d ", len(args)+1, len(args)+2)
		out, err = collect(ctx, q, c.sql(service, owned+of+" RETURNING "+checkpointColumns),
			append(args, owner, now+lease.Microseconds()), scanCheckpoint)
		return err
	})
	return sorted(out, func(a, b *driver.Checkpoint) int {
		if a.Slice != b.Slice {
			return a.Slice - b.Slice
		}
		return strings.Compare(a.Source, b.Source)
	}), err
}

func (c *Core) now(ctx context.Context) (int64, error) {
	t, err := c.Database.Now(ctx)
	return t.UnixMicro(), err
}

// ofLease narrows a WHERE clause over the checkpoints of subscription $1 to one row a slice, that of its first source. All rows of
// a slice have one owner, and the latest end of a lease among them counts, so one row is all that a renewal writes.
const ofLease = " AND source = (SELECT min(source) FROM {bb_checkpoint} WHERE subscription = $1)"

// Renew implements driver.Slices. A lease that ran out but was taken by nobody
// is prolonged too: the epoch is still the owner's.
func (c *Core) Renew(ctx context.Context, service, subscription, owner string, lease time.Duration) ([]int, error) {
	var held []int
	now, err := c.now(ctx)
	if err != nil {
		return nil, err
	}
	of, args := "WHERE subscription = $1 AND owner = $2"+ofLease, []any{subscription, owner, now + lease.Microseconds()}
	if c.Dialect.ForUpdate == "" {
		err = c.update(ctx, service, func(q Conn) error {
			held, err = collect(ctx, q, c.sql(service, "UPDATE {bb_checkpoint} SET lease_until = $3 "+of+" RETURNING slice"), args, scanInt)
			return err
		})
	} else {
		// Locked as lockCheckpoints does, and a transaction by itself: every process does it for each subscription every few seconds.
		held, err = list(ctx, c, service, `WITH mine AS (SELECT subscription, source, slice FROM {bb_checkpoint} `+of+" "+inLockOrder+c.Dialect.ForUpdate+`)
			UPDATE {bb_checkpoint} AS c SET lease_until = $3 FROM mine
			WHERE c.subscription = mine.subscription AND c.source = mine.source AND c.slice = mine.slice RETURNING c.slice`, args, scanInt)
	}
	slices.Sort(held)
	return held, err
}

// Standing implements driver.Slices, by one statement.
func (c *Core) Standing(ctx context.Context, service, subscription string, values ...string) (driver.Standing, error) {
	s := driver.Standing{Values: make(map[string][]byte, len(values))}
	text, args := "SELECT slice, owner, lease_until, '' FROM {bb_checkpoint} WHERE subscription = $1"+ofLease, []any{subscription}
	if len(values) > 0 {
		text += " UNION ALL SELECT -1, name, 0, value FROM {bb_value} WHERE name IN (" + parameters(2, len(values)) + ")"
		for _, name := range values {
			args = append(args, name)
		}
	}
	_, err := list(ctx, c, service, text+" ORDER BY 1", args, func(rows driver.Rows, _ *struct{}) error {
		var l driver.Lease
		var value []byte
		err := rows.Scan(&l.Slice, &l.Owner, &l.Until, &value)
		if l.Slice < 0 {
			s.Values[l.Owner] = value
		} else {
			s.Leases = append(s.Leases, l)
		}
		return err
	})
	return s, err
}

// Release implements driver.Slices.
func (c *Core) Release(ctx context.Context, service, subscription, owner string, held []int) error {
	if len(held) == 0 {
		return nil
	}
	args := []any{subscription, owner}
	for _, slice := range held {
		args = append(args, slice)
	}
	of := "WHERE subscription = $1 AND owner = $2 AND slice IN (" + parameters(3, len(held)) + ")"
	return c.update(ctx, service, func(q Conn) error {
		if err := c.lockCheckpoints(ctx, q, service, of, args); err != nil {
			return err
		}
		_, err := q.Exec(ctx, c.sql(service, "UPDATE {bb_checkpoint} SET owner = '', lease_until = 0 "+of), args...)
		return err
	})
}

// lockCheckpoints locks the checkpoints of a WHERE clause in the order in which batches lock those that they move: whoever locks
// several in another order and a batch could wait for each other. A database that lets one write at a time needs none of it.
func (c *Core) lockCheckpoints(ctx context.Context, q Conn, service, of string, args []any) error {
	if c.Dialect.ForUpdate == "" {
		return nil
	}
	return all(ctx, q, c.sql(service, "SELECT 1 FROM {bb_checkpoint} "+of+" "+inLockOrder+c.Dialect.ForUpdate), args,
		func(driver.Rows) error { return nil })
}

// Seize takes all slices of the subscriptions away from whoever has them, within a transaction: their epochs rise, and they
// are nobody's. It returns their checkpoints.
func (c *Core) Seize(ctx context.Context, q Conn, service string, subscriptions []string) ([]driver.Checkpoint, error) {
	if len(subscriptions) == 0 {
		return nil, nil
	}
	args := make([]any, len(subscriptions))
	for i, name := range subscriptions {
		args[i] = name
	}
	of := "WHERE subscription IN (" + parameters(1, len(subscriptions)) + ")"
	if err := c.lockCheckpoints(ctx, q, service, of, args); err != nil {
		return nil, err
	}
	out, err := collect(ctx, q, c.sql(service, "UPDATE {bb_checkpoint} SET epoch = epoch + 1, owner = '', lease_until = 0 "+of+
		" RETURNING "+checkpointColumns), args, scanCheckpoint)
	return sorted(out, func(a, b *driver.Checkpoint) int {
		return cmp.Or(compareText(a.Subscription, b.Subscription, a.Source, b.Source), cmp.Compare(a.Slice, b.Slice))
	}), err
}

// Checkpoints implements driver.Slices.
func (c *Core) Checkpoints(ctx context.Context, service, subscription string) ([]driver.Checkpoint, error) {
	return list(ctx, c, service, "SELECT "+checkpointColumns+` FROM {bb_checkpoint} WHERE $1 = '' OR subscription = $1
		ORDER BY subscription, source, slice`, []any{subscription}, scanCheckpoint)
}

// BlockedKeys implements driver.Slices.
func (c *Core) BlockedKeys(ctx context.Context, service, subscription string) ([]driver.BlockedKey, error) {
	return list(ctx, c, service, "SELECT subscription, slice, key FROM {bb_blocked} WHERE subscription = $1 ORDER BY key",
		[]any{subscription}, func(rows driver.Rows, k *driver.BlockedKey) error {
			return rows.Scan(&k.Subscription, &k.Slice, &k.Key)
		})
}

// Handled implements driver.Slices.
func (c *Core) Handled(ctx context.Context, service, subscription, source string, ids []string) (map[string]string, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	args := []any{subscription, source}
	for _, id := range ids {
		args = append(args, id)
	}
	hashes := make(map[string]string, len(ids))
	_, err := list(ctx, c, service, "SELECT id, hash FROM {bb_inbox} WHERE subscription = $1 AND source = $2 AND id IN ("+parameters(3, len(ids))+")", args,
		func(rows driver.Rows, _ *struct{}) error {
			var id, hash string
			err := rows.Scan(&id, &hash)
			hashes[id] = hash
			return err
		})
	return hashes, err
}

const parkedColumns = `p.subscription, p.key, p.seq, p.slice, p.source, p.id, p.record, p.cause, p.attempts, p.due, p.state, p.time`

func scanParked(rows driver.Rows, p *driver.Parked) error {
	return rows.Scan(&p.Subscription, &p.Key, &p.Seq, &p.Slice, &p.Source, &p.ID, &p.Record, &p.Cause, &p.Attempts, &p.Due,
		&p.State, &p.Time)
}

// isHead restricts parked rows p to the lowest of their key.
const isHead = `p.seq = (SELECT min(h.seq) FROM {bb_parked} h WHERE h.subscription = p.subscription AND h.key = p.key)`

// ParkedRows implements driver.Slices.
func (c *Core) ParkedRows(ctx context.Context, service, subscription, key string, limit int) ([]driver.Parked, error) {
	if key != "" {
		return list(ctx, c, service, "SELECT "+parkedColumns+` FROM {bb_parked} p
			WHERE p.subscription = $1 AND p.key = $2 ORDER BY p.seq LIMIT $3`, []any{subscription, key, bound(limit)}, scanParked)
	}
	return list(ctx, c, service, "SELECT "+parkedColumns+` FROM {bb_parked} p WHERE p.subscription = $1 AND `+isHead+`
		ORDER BY p.seq LIMIT $2`, []any{subscription, bound(limit)}, scanParked)
}

// DueParked implements driver.Slices.
func (c *Core) DueParked(ctx context.Context, service, subscription string, now int64, limit int) ([]driver.Parked, error) {
	return list(ctx, c, service, "SELECT "+parkedColumns+` FROM {bb_parked} p
		WHERE p.subscription = $1 AND p.state = 'retrying' AND p.due <= $2 AND p.due > 0 AND `+isHead+`
		ORDER BY p.due, p.seq LIMIT $3`, []any{subscription, now, bound(limit)}, scanParked)
}

// Amendments implements driver.Slices.
func (c *Core) Amendments(ctx context.Context, service, subscription string) ([]driver.Amendment, error) {
	return list(ctx, c, service, `SELECT subscription, source, id, discard, data, actor, why, time FROM {bb_amendment}
		WHERE subscription = $1 ORDER BY source, id`, []any{subscription}, func(rows driver.Rows, a *driver.Amendment) error {
		var discard int64
		err := rows.Scan(&a.Subscription, &a.Source, &a.ID, &discard, &a.Data, &a.Actor, &a.Why, &a.Time)
		a.Discard = discard != 0
		return err
	})
}

const sagaColumns = "name, id, definition, state, data, due, started, updated, revision"

// SagaRows implements driver.Slices.
func (c *Core) SagaRows(ctx context.Context, service, name, id, state string, limit int) ([]driver.Saga, error) {
	return list(ctx, c, service, "SELECT "+sagaColumns+` FROM {bb_saga} WHERE ($1 = '' OR name = $1) AND ($2 = '' OR id = $2) AND ($3 = '' OR state = $3)
		ORDER BY started, name, id LIMIT $4`, []any{name, id, state, bound(limit)}, scanSaga)
}

// DueSagas implements driver.Slices.
func (c *Core) DueSagas(ctx context.Context, service string, now int64, limit int) ([]driver.Saga, error) {
	return list(ctx, c, service, "SELECT "+sagaColumns+` FROM {bb_saga} WHERE due > 0 AND due <= $1
		ORDER BY due LIMIT $2`, []any{now, bound(limit)}, scanSaga)
}

// DueTimers implements driver.Slices.
func (c *Core) DueTimers(ctx context.Context, service string, now int64, limit int) ([]driver.Timer, int64, error) {
	// Mostly none is due, and then one look is enough.
	first, err := c.nextTimer(ctx, service, "SELECT coalesce(min(due), 0) FROM {bb_timer}")
	if err != nil || first == 0 || first > now {
		return nil, first, err
	}
	limit = bound(limit)
	timers, err := list(ctx, c, service, `SELECT name, generation, due, stream, type, data, meta FROM {bb_timer}
		WHERE due <= $1 ORDER BY due, generation LIMIT $2`, []any{now, limit + 1}, func(rows driver.Rows, t *driver.Timer) error {
		return rows.Scan(&t.Name, &t.Generation, &t.Due, &t.Stream, &t.Type, &t.Data, &t.Meta)
	})
	if err != nil {
		return nil, 0, err
	}
	if len(timers) > limit {
		return timers[:limit], timers[limit].Due, nil
	}
	next, err := c.nextTimer(ctx, service, "SELECT coalesce(min(due), 0) FROM {bb_timer} WHERE due > $1", now)
	return timers, next, err
}

// nextTimer reads a time at which a timer is due, 0 for none.
func (c *Core) nextTimer(ctx context.Context, service, text string, args ...any) (due int64, err error) {
	_, err = list(ctx, c, service, text, args, func(rows driver.Rows, _ *struct{}) error { return rows.Scan(&due) })
	return due, err
}

const callColumns = "id, name, request, stream, meta, deadline, due, attempts, epoch, lease_until, cause, created"

func scanCall(rows driver.Rows, k *driver.Call) error {
	return rows.Scan(&k.ID, &k.Name, &k.Request, &k.Stream, &k.Meta, &k.Deadline, &k.Due, &k.Attempts, &k.Epoch, &k.LeaseUntil,
		&k.Cause, &k.Created)
}

// Calls implements driver.Slices.
func (c *Core) Calls(ctx context.Context, service string, limit int) ([]driver.Call, error) {
	return list(ctx, c, service, "SELECT "+callColumns+" FROM {bb_call} ORDER BY entry LIMIT $1", []any{bound(limit)}, scanCall)
}

// PutRequest implements driver.Slices.
func (c *Core) PutRequest(ctx context.Context, service string, r driver.Request) (int64, error) {
	var id int64
	data := r.Data
	if data == nil {
		data = []byte{}
	}
	err := c.update(ctx, service, func(q Conn) error {
		return all(ctx, q, c.sql(service, `INSERT INTO {bb_request}
			(subject, action, subscription, key, seq, data, actor, why, time, done)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0) RETURNING id`),
			[]any{r.Subject, r.Action, r.Subscription, r.Key, r.Seq, data, r.Actor, r.Why, r.Time},
			func(rows driver.Rows) error { return rows.Scan(&id) })
	})
	return id, err
}

// OpenRequests implements driver.Slices.
func (c *Core) OpenRequests(ctx context.Context, service string, limit int) ([]driver.Request, error) {
	return list(ctx, c, service, `SELECT id, subject, action, subscription, key, seq, data, actor, why, time FROM {bb_request}
		WHERE done = 0 ORDER BY id LIMIT $1`, []any{bound(limit)}, func(rows driver.Rows, r *driver.Request) error {
		return rows.Scan(&r.ID, &r.Subject, &r.Action, &r.Subscription, &r.Key, &r.Seq, &r.Data, &r.Actor, &r.Why, &r.Time)
	})
}

// Prune implements driver.Slices. Rows that age stand in the order of their
// insertion, so looking at the oldest few tells whether there is anything to do.
func (c *Core) Prune(ctx context.Context, service string, before, readersPassed int64, limit int) (total int64, more bool, err error) {
	limit = bound(limit)
	err = c.update(ctx, service, func(q Conn) error {
		total, more = 0, false
		for _, text := range []string{
			`DELETE FROM {bb_answer} WHERE entry IN (SELECT entry FROM
				(SELECT entry, time FROM {bb_answer} ORDER BY entry LIMIT $2) AS oldest WHERE time < $1)`,
			`DELETE FROM {bb_inbox} WHERE entry IN (SELECT entry FROM
				(SELECT entry, time FROM {bb_inbox} ORDER BY entry LIMIT $2) AS oldest WHERE time < $1)`,
			`DELETE FROM {bb_request} WHERE id IN (SELECT id FROM {bb_request} WHERE done = 1 AND time < $1 ORDER BY id LIMIT $2)`,
		} {
			n, err := q.Exec(ctx, c.sql(service, text), before, limit)
			if err != nil {
				return err
			}
			total += n
			more = more || n == int64(limit)
		}
		n, left, err := c.pruneLog(ctx, q, service, before, readersPassed, limit)
		total += n
		more = more || left
		return err
	})
	return total, more, err
}

// pruneSpan is how many positions of a log one Prune looks at: some hundredths of a second's work, for which writers wait.
const pruneSpan = 20_000

// pruneLog remembers how far it has looked, so that the events that stay are not
// looked at again and again. It goes up to the first record that is not old
// enough, of whatever kind: records stand nearly in the order of their times.
func (c *Core) pruneLog(ctx context.Context, q Conn, service string, before, passed int64, limit int) (n int64, more bool, err error) {
	const step = 1000 // not worth a write
	var pruned, head int64
	err = all(ctx, q, c.sql(service, "SELECT pruned, position FROM {bb_head}"), nil, func(rows driver.Rows) error {
		return rows.Scan(&pruned, &head)
	})
	passed = min(passed, head)
	if err != nil || passed <= pruned {
		return 0, false, err
	}
	if passed > pruned+pruneSpan {
		passed, more = pruned+pruneSpan, true
	}
	err = all(ctx, q, c.sql(service, `SELECT position FROM {bb_log}
		WHERE position > $1 AND position <= $2 AND time >= $3 ORDER BY position LIMIT 1`),
		[]any{pruned, passed, before}, func(rows driver.Rows) error {
			err := rows.Scan(&passed)
			passed--
			more = false
			return err
		})
	if err != nil || passed <= pruned {
		return 0, false, err
	}
	gone, err := collect(ctx, q, c.sql(service, `SELECT position FROM {bb_log}
		WHERE position > $1 AND position <= $2 AND kind IN (3, 4, 5) ORDER BY position LIMIT $3`),
		[]any{pruned, passed, limit}, func(rows driver.Rows, position *int64) error { return rows.Scan(position) })
	if err != nil || len(gone) == 0 && passed-pruned < step {
		return 0, false, err
	}
	upto := passed
	if len(gone) == limit {
		upto, more = gone[limit-1], true
	}
	if len(gone) > 0 {
		n, err = q.Exec(ctx, c.sql(service, `DELETE FROM {bb_log}
			WHERE position > $1 AND position <= $2 AND kind IN (3, 4, 5)`), pruned, upto)
		if err != nil {
			return 0, false, err
		}
	}
	_, err = q.Exec(ctx, c.sql(service, "UPDATE {bb_head} SET pruned = $1"), upto)
	return n, more, err
}

// Value implements driver.Slices.
func (c *Core) Value(ctx context.Context, service, name string) ([]byte, error) {
	values, err := list(ctx, c, service, "SELECT value FROM {bb_value} WHERE name = $1", []any{name},
		func(rows driver.Rows, value *[]byte) error { return rows.Scan(value) })
	if err != nil || len(values) == 0 {
		return nil, err
	}
	if values[0] == nil {
		return []byte{}, nil
	}
	return values[0], nil
}

// SetValue implements driver.Slices.
func (c *Core) SetValue(ctx context.Context, service, name string, value []byte) error {
	if value == nil {
		value = []byte{}
	}
	return c.update(ctx, service, func(q Conn) error {
		_, err := q.Exec(ctx, c.sql(service, `INSERT INTO {bb_value} (name, value) VALUES ($1, $2)
			ON CONFLICT (name) DO UPDATE SET value = excluded.value`), name, value)
		return err
	})
}
