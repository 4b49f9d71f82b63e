package door

import (
	"bytes"
	"errors"
	"net/http"
)

// errNotAsked is what a handler meets that answers somebody with limited access without having asked whose the thing is.
var errNotAsked = errors.New("a handler answered without asking Caller.Owns")

// answer is the ResponseWriter that handlers write to. It knows the status, and can hold an answer back.
type answer struct {
	http.ResponseWriter
	caller *Caller
	status int
	held   *bytes.Buffer // nil: what is written goes out
}

// WriteHeader sends the status. It panics where the answer would pass the policy by: default deny extends to things.
func (a *answer) WriteHeader(status int) {
	if a.status != 0 {
		return
	}
	if c := a.caller; c != nil && status < 400 && c.scope == Own && !c.asked {
		panic(errNotAsked)
	}
	a.status = status
	if a.held == nil {
		a.ResponseWriter.WriteHeader(status)
	}
}

// Write sends a part of the body.
func (a *answer) Write(b []byte) (int, error) {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	if a.held != nil {
		return a.held.Write(b)
	}
	return a.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// hold keeps what is written from now on until release.
func (a *answer) hold() { a.held = &bytes.Buffer{} }

// release lets what was held go out.
func (a *answer) release() {
	held := a.held
	a.held = nil
	if a.status != 0 {
		a.ResponseWriter.WriteHeader(a.status)
		_, _ = a.ResponseWriter.Write(held.Bytes()) // a client that went away is told nothing
	}
}

// drop forgets what was held, so that something else can be answered.
func (a *answer) drop() {
	a.held, a.status = nil, 0
	for _, name := range []string{"Content-Type", "Content-Length", "Location"} {
		a.Header().Del(name)
	}
}
