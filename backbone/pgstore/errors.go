package pgstore

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"example.org/souk/backbone/driver"
)

// Error is a failure of the database, under the contract's name for it.
type Error struct {
	Kind error // driver.ErrConflict, ErrFull or ErrUnavailable
	Err  error
}

// Error implements error.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns both the contract's error and the database's.
func (e *Error) Unwrap() []error { return []error{e.Kind, e.Err} }

// classify gives an error of the database its name in the contract, if it has one.
func classify(err error) error {
	var pg *pgconn.PgError
	var named *Error
	var connect *pgconn.ConnectError
	switch {
	case err == nil, errors.As(err, &named):
		return err
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.As(err, &connect): // whatever the server says, of a password or of its own state: nothing was done
		return &Error{driver.ErrUnavailable, err}
	case errors.As(err, &pg):
		if kind := kindOf(pg.Code); kind != nil {
			return &Error{kind, err}
		}
		return err
	case connectionLost(err):
		return &Error{driver.ErrUnavailable, err}
	}
	return err
}

func kindOf(code string) error {
	switch code {
	case "40001", "40P01", "55P03": // serialization, deadlock, lock not available
		return driver.ErrConflict
	case "53100", "25006": // disk full, read-only transaction
		return driver.ErrFull
	case "53300", "58030": // too many connections, I/O error
		return driver.ErrUnavailable
	}
	if strings.HasPrefix(code, "08") || strings.HasPrefix(code, "57P") { // connection, shutdown
		return driver.ErrUnavailable
	}
	return nil
}

// connectionLost reports whether an error came from the connection, not from the
// server or from the encoding of an argument.
func connectionLost(err error) bool {
	var network interface{ Timeout() bool }
	return errors.As(err, &network) || pgconn.SafeToRetry(err) ||
		strings.Contains(err.Error(), "unexpected EOF") || strings.Contains(err.Error(), "conn closed")
}

// unique reports whether a row of that key exists already.
func unique(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "23505"
}
