package pgstore

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// A password is changed in two places, one after the other: the server and the file. Whoever needs a new connection between the two
// waits so long, and looks so often.
const (
	passwordWait = 3 * time.Second
	passwordLook = 50 * time.Millisecond
)

// password returns the password of now, which a file may hold; the one before where the file cannot be read.
func (s *Store) password(before string) string {
	now, err := pgxpool.ParseConfig(s.url)
	if err != nil || now.ConnConfig.Password == "" {
		return before
	}
	return now.ConnConfig.Password
}

// connection returns what a connection beside the pool is made with.
func (s *Store) connection() *pgx.ConnConfig {
	c := s.pool.Config().ConnConfig.Copy()
	if s.own {
		c.Password = s.password(c.Password)
	}
	return c
}

// let does something that takes a connection, again as long as the server refuses the login. Nothing has been done then.
func (s *Store) let(ctx context.Context, do func() error) error {
	err := do()
	for began := time.Now(); s.refused(err) && time.Since(began) < passwordWait; err = do() {
		timer := time.NewTimer(passwordLook)
		select {
		case <-ctx.Done():
			timer.Stop()
			return err
		case <-timer.C:
		}
	}
	return err
}

// refused tells whether an error says that the server does not take the login, or that it was not asked since it has just refused others.
func (s *Store) refused(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && (pg.Code == "28P01" || pg.Code == "28000") {
		s.refusal.Store(time.Now().UnixNano())
		return true
	}
	return errors.Is(err, errRefusing) && time.Since(time.Unix(0, s.refusal.Load())) < 2*retry
}
