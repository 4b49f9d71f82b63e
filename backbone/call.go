package backbone

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"time"
)

// CallType is an entry of Service.Calls: one kind of call to the outside, made by
// CallTo.
type CallType struct {
	name        string
	typ         reflect.Type
	caller      func(ctx context.Context, c CallRequest, data []byte) (any, error)
	asker       func(ctx context.Context, c CallRequest, data []byte) (any, bool, error)
	then        func(data []byte, o CallOutcome) (Command, error)
	Timeout     time.Duration // of one attempt; default 10 s
	Parallel    int           // calls in flight; default 16
	KeyValidity time.Duration // how long the outside remembers a key; 0 means always
	Backoff     time.Duration // after the first failure, doubled to 5 minutes; default 1 s
}

// CallRequest tells a caller what it needs beside the request itself.
type CallRequest struct {
	Key     string // the same in every attempt
	Attempt int    // 1 for the first
	Meta    Meta
}

// Caller makes calls with requests of type R. The result travels as JSON.
type Caller[R any] interface {
	// Call makes the call once. An error of class Permanent ends it as failed;
	// any other is tried again until the deadline.
	Call(ctx context.Context, c CallRequest, r R) (result any, err error)
}

// Asker is the power of a Caller whose outside can be asked what became of a key.
// It is asked before a call is repeated whose outcome is unknown.
type Asker[R any] interface {
	Ask(ctx context.Context, c CallRequest, r R) (result any, found bool, err error)
}

// CallOutcome is how a call ended.
type CallOutcome struct {
	// Failed says that the outside refused for good, or that the deadline passed.
	Failed bool            `json:"failed,omitempty"`
	Cause  string          `json:"cause,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
}

// CallTo declares a kind of call. then turns its outcome into a command to the
// service itself. caller may be nil where the service does not run here.
func CallTo[R any](name string, caller Caller[R], then func(R, CallOutcome) Command) CallType {
	t := CallType{name: name, typ: reflect.TypeFor[R]()}
	decode := func(data []byte) (r R, err error) {
		if err = json.Unmarshal(data, &r); err != nil {
			err = fmt.Errorf("request of call %s: %w", name, err)
		}
		return r, err
	}
	t.then = func(data []byte, o CallOutcome) (Command, error) {
		r, err := decode(data)
		if err != nil {
			return nil, err
		}
		return then(r, o), nil
	}
	if caller != nil {
		t.caller = func(ctx context.Context, c CallRequest, data []byte) (any, error) {
			r, err := decode(data)
			if err != nil {
				return nil, Permanent(err)
			}
			return caller.Call(ctx, c, r)
		}
		if asker, ok := caller.(Asker[R]); ok {
			t.asker = func(ctx context.Context, c CallRequest, data []byte) (any, bool, error) {
				r, err := decode(data)
				if err != nil {
					return nil, false, Permanent(err)
				}
				return asker.Ask(ctx, c, r)
			}
		}
	}
	return t
}

// Name returns the call's name.
func (t CallType) Name() string { return t.name }
