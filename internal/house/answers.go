package house

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/gateway/door"
)

// doorTables is the name under which the door keeps tables. It is no service: it has no log that anybody reads.
const doorTables = "door"

//go:embed door/*.sql
var doorFiles embed.FS

// doorSchema is what the door keeps in a database.
func doorSchema() driver.Schema {
	migrations, err := fs.Sub(doorFiles, "door")
	if err != nil {
		panic(err) // the folder is compiled in
	}
	return driver.Schema{Service: doorTables, Migrations: migrations}
}

// answers is the table of answers by Idempotency-Key. Safe for concurrent use.
type answers struct {
	store    driver.Store
	transact transact
	table    string
	boot     string        // this process, until it ends
	claims   chan struct{} // holds a token for each claim that waits for the database
}

// mostClaims bounds the claims that wait for the database: those of whom nobody waits for any more are among them.
const mostClaims = 4096

// transact is backbone.Runtime.Transact.
type transact func(ctx context.Context, store driver.Store, work func(context.Context, backbone.Transaction) error) error

var _ door.Idempotency = (*answers)(nil)

func newAnswers(store driver.Store, t transact) *answers {
	return &answers{store: store, transact: t, table: store.Name(doorTables, "idempotency"), boot: rand.Text(), claims: make(chan struct{}, mostClaims)}
}

// Claim implements door.Idempotency. A claim is kept as long as an answer, so that its key cannot be used for another request
// after a crash; once it has expired, or its process is gone, the same request takes it over, and any once it was given back. Running that
// again is safe, since commands are known by ids of their own. Where ctx ends first, what becomes claimed after that is given back. Where
// too many claims wait for the database already, it is backbone.ErrOverloaded.
func (a *answers) Claim(ctx context.Context, caller, key string, fingerprint [sha256.Size]byte, now, until time.Time) (standing door.Remembered, claimed bool, err error) {
	content := hex.EncodeToString(fingerprint[:])
	// Most of what comes again was answered, and to see that needs no transaction.
	r, free, err := a.look(ctx, a.store.Query, caller, key, content, now)
	if err != nil || !free {
		return r, false, err
	}
	select {
	case a.claims <- struct{}{}:
	default:
		return door.Remembered{}, false, backbone.ErrOverloaded
	}
	ended := make(chan claim)
	go func() {
		defer func() { <-a.claims }()
		c := a.claim(caller, key, content, now, until)
		select {
		case ended <- c:
		case <-ctx.Done():
			if c.made {
				_ = a.change(a.released(caller, key, until)) // otherwise it expires
			}
		}
	}()
	select {
	case c := <-ended:
		return c.standing, c.made, c.err
	case <-ctx.Done():
		return door.Remembered{}, false, ctx.Err()
	}
}

// claim is what came of one.
type claim struct {
	standing door.Remembered
	made     bool
	err      error
}

func (a *answers) claim(caller, key, content string, now, until time.Time) (c claim) {
	err := a.change(func(ctx context.Context, tx backbone.Transaction) (err error) {
		c = claim{}
		rows, err := tx.Query(ctx, `INSERT INTO `+a.table+` AS i (caller, key, fingerprint, status, type, location, body, boot, until, expires, since)
			VALUES ($1, $2, $3, 0, '', '', '', $4, $5, $6, $7)
			ON CONFLICT (caller, key) DO UPDATE SET fingerprint = excluded.fingerprint, status = 0, type = '', location = '', body = '',
			boot = excluded.boot, until = excluded.until, expires = excluded.expires,
			since = CASE WHEN i.expires <= excluded.since THEN excluded.since ELSE i.since END
			WHERE i.expires <= $7 OR i.status = 0 AND (i.boot = '' OR i.fingerprint = excluded.fingerprint AND (i.boot <> excluded.boot OR i.until <= $7))
			RETURNING since`, caller, key, content, a.boot, until.UnixMicro(), now.Add(door.KeyLife).UnixMicro(), now.UnixMicro())
		if err != nil {
			return err
		}
		var since int64
		if c.made = rows.Next(); c.made {
			err = rows.Scan(&since)
		}
		if err := errors.Join(err, rows.Err(), rows.Close()); err != nil || c.made {
			c.standing.Since = time.UnixMicro(since)
			return err
		}
		c.standing, _, err = a.look(ctx, tx.Query, caller, key, content, now)
		return err
	})
	if err != nil {
		return claim{err: err}
	}
	return c
}

// look returns what stands under a key, and whether it is free for a request of this content.
func (a *answers) look(ctx context.Context, query func(context.Context, string, ...any) (driver.Rows, error), caller, key, content string, now time.Time) (r door.Remembered, free bool, err error) {
	rows, err := query(ctx, `SELECT fingerprint, status, type, location, body, boot, until, expires, since FROM `+a.table+
		` WHERE caller = $1 AND key = $2 AND expires > $3`, caller, key, now.UnixMicro())
	if err != nil {
		return r, false, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	if !rows.Next() {
		return r, true, rows.Err()
	}
	var first, body, boot string
	var until, expires, since int64
	if err := rows.Scan(&first, &r.Status, &r.Type, &r.Location, &body, &boot, &until, &expires, &since); err != nil {
		return r, false, err
	}
	r.Expires, r.Since = time.UnixMicro(expires), time.UnixMicro(since)
	if r.Status == 0 && boot == "" {
		return r, true, nil
	}
	if n, err := hex.Decode(r.Fingerprint[:], []byte(first)); err != nil || n != len(r.Fingerprint) {
		return r, false, fmt.Errorf("idempotency key of %s: its fingerprint is damaged", caller)
	}
	r.Body = []byte(body)
	orphan := boot != a.boot || until <= now.UnixMicro()
	return r, r.Status == 0 && orphan && first == content, nil
}

// Keep implements door.Idempotency. The first answer stays.
func (a *answers) Keep(_ context.Context, caller, key string, r door.Remembered) error {
	return a.change(func(ctx context.Context, tx backbone.Transaction) error {
		return tx.Exec(ctx, []driver.Statement{{
			SQL: `INSERT INTO ` + a.table + ` AS i (caller, key, fingerprint, status, type, location, body, boot, until, expires)
				VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9)
				ON CONFLICT (caller, key) DO UPDATE SET fingerprint = excluded.fingerprint, status = excluded.status, type = excluded.type,
				location = excluded.location, body = excluded.body, expires = excluded.expires WHERE i.status = 0`,
			Args: []any{caller, key, hex.EncodeToString(r.Fingerprint[:]), r.Status, r.Type, r.Location, string(r.Body), a.boot, r.Expires.UnixMicro()},
		}})
	})
}

// Release implements door.Idempotency.
func (a *answers) Release(_ context.Context, caller, key string) error {
	return a.change(a.released(caller, key, time.Time{}))
}

// released gives back a claim of this process, of one that lasts until an instant only where that is not zero.
func (a *answers) released(caller, key string, until time.Time) func(context.Context, backbone.Transaction) error {
	only := int64(0)
	if !until.IsZero() {
		only = until.UnixMicro()
	}
	return func(ctx context.Context, tx backbone.Transaction) error {
		return tx.Exec(ctx, []driver.Statement{{
			SQL:  `UPDATE ` + a.table + ` SET boot = '', until = 0 WHERE caller = $1 AND key = $2 AND status = 0 AND boot = $3 AND (until = $4 OR $4 = 0)`,
			Args: []any{caller, key, a.boot, only},
		}})
	}
}

// prune forgets up to limit of the keys that have expired at now, and reports whether there may be more.
func (a *answers) prune(now time.Time, limit int) (more bool, err error) {
	err = a.change(func(ctx context.Context, tx backbone.Transaction) error {
		rows, err := tx.Query(ctx, `DELETE FROM `+a.table+` WHERE (caller, key) IN
			(SELECT caller, key FROM `+a.table+` WHERE expires <= $1 ORDER BY expires LIMIT $2) RETURNING 1`, now.UnixMicro(), limit)
		if err != nil {
			return err
		}
		n := 0
		for rows.Next() {
			n++
		}
		more = n == limit
		return errors.Join(rows.Err(), rows.Close())
	})
	return more && err == nil, err
}

// clear forgets all keys.
func (a *answers) clear() error {
	return a.change(func(ctx context.Context, tx backbone.Transaction) error {
		return tx.Exec(ctx, []driver.Statement{{SQL: `DELETE FROM ` + a.table}})
	})
}

// change applies a change and returns when it is durable. It waits for that whatever becomes of the caller: what has happened is to be
// answered alike when it is asked for again.
func (a *answers) change(work func(context.Context, backbone.Transaction) error) error {
	return a.transact(context.Background(), a.store, work)
}

// pruneAtOnce bounds the keys that are forgotten in one transaction, in which the services' writer waits.
const pruneAtOnce = 1000

// pruneAnswers forgets expired keys until ctx ends.
func (h *House) pruneAnswers(ctx context.Context) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for more := true; more && ctx.Err() == nil; {
			var err error
			if more, err = h.answers.prune(clock{}.Now(), pruneAtOnce); err != nil && ctx.Err() == nil {
				h.cfg.Logger.WarnContext(ctx, "expired idempotency keys are still there", "error", err)
			}
		}
	}
}
