package mail

import (
	"errors"
	"fmt"
)

// Class says what a failed sending means for the caller.
type Class string

const (
	// Unavailable: the message was not handed over (no connection, no TLS, login refused, connection lost before the
	// message was transmitted). It is nothing about the message; it may be sent later.
	Unavailable Class = "unavailable"
	// Transient: the server answered 4xx to this message. It may be sent later.
	Transient Class = "transient"
	// Unknown: the connection was lost, or time ran out, between the beginning of the transmission and the server's
	// answer to it. The message may have been sent.
	Unknown Class = "unknown"
	// Permanent: the server answered 5xx to this message, or the message is malformed. Sending it again changes nothing.
	Permanent Class = "permanent"
)

// Error is the error of every failed sending. Its text names the message but not whom it is for.
type Error struct {
	Class Class
	ID    string // the message's ID
	Code  int    // the server's reply code, 0 when it gave none
	Err   error
}

func (e *Error) Error() string {
	if e.Code != 0 {
		return fmt.Sprintf("send mail %q: %s (reply %d): %v", e.ID, e.Class, e.Code, e.Err)
	}
	return fmt.Sprintf("send mail %q: %s: %v", e.ID, e.Class, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ClassOf returns the class that err carries. An error from elsewhere is Unknown, the class that promises least; nil has
// none.
func ClassOf(err error) Class {
	if err == nil {
		return ""
	}
	if failure, ok := errors.AsType[*Error](err); ok {
		return failure.Class
	}
	return Unknown
}
