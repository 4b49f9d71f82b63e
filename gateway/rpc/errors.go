package rpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	soukv1 "example.org/souk/api/gen/souk/v1"
	"example.org/souk/backbone"
	"example.org/souk/mall"
)

// ErrNotFound says that something does not exist, or that the caller must not know that it does.
var ErrNotFound = errors.New("not found")

// Domain is that of the ErrorInfo which says which of the backbone's errors an error is.
const Domain = "souk"

// kinds are the backbone's errors as they travel: a code, a reason by which the other side knows them, and what a person reads.
var kinds = []struct {
	err    error
	code   connect.Code
	reason string
	text   string
	retry  time.Duration // 0: the same request does not get another answer
}{
	{backbone.ErrOverloaded, connect.CodeResourceExhausted, "OVERLOADED", "too much is waiting already; nothing was done, try again later", time.Second},
	{backbone.ErrPaused, connect.CodeUnavailable, "PAUSED", "the service is paused; nothing was done, try again later", 5 * time.Second},
	{backbone.ErrStopped, connect.CodeUnavailable, "STOPPED", "the process is stopping; nothing was done, try again", time.Second},
	{backbone.ErrNotHandled, connect.CodeUnavailable, "NOT_HANDLED", "the service is not here; nothing was done", 5 * time.Second},
	{backbone.ErrUnavailable, connect.CodeUnavailable, "UNAVAILABLE", "this cannot be done now; nothing was done, try again later", 5 * time.Second},
	{backbone.ErrDifferentCommand, connect.CodeAlreadyExists, "DIFFERENT_COMMAND", "something else was asked for under this command_id before", 0},
	{backbone.ErrForgotten, connect.CodeFailedPrecondition, "FORGOTTEN", "the person asked to be forgotten", 0},
	{ErrNotFound, connect.CodeNotFound, "NOT_FOUND", "there is no such thing", 0},
}

// wireError returns an error as a client is told it; nil for nil. What it does not know says nothing but that it is internal.
func wireError(err error) *connect.Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*connect.Error](err); ok {
		return e
	}
	if r, ok := errors.AsType[*backbone.Refusal](err); ok {
		return detailed(connect.CodeFailedPrecondition, r.Error(), &soukv1.Refusal{Code: r.Code, Detail: r.Detail, Data: r.Data})
	}
	if f, ok := errors.AsType[*mall.FieldError](err); ok {
		return detailed(connect.CodeInvalidArgument, f.Error(), &errdetails.BadRequest{
			FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: f.Field, Description: f.Reason}},
		})
	}
	for _, k := range kinds {
		if !errors.Is(err, k.err) {
			continue
		}
		details := []proto.Message{&errdetails.ErrorInfo{Reason: k.reason, Domain: Domain}}
		if k.retry > 0 {
			details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(k.retry)})
		}
		return detailed(k.code, k.text, details...)
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return connect.NewError(connect.CodeDeadlineExceeded, errors.New("it took too long to find out; try again with the same ids"))
	case errors.Is(err, context.Canceled):
		return connect.NewError(connect.CodeCanceled, errors.New("the call was given up"))
	}
	return connect.NewError(connect.CodeInternal, errors.New("something went wrong here"))
}

func detailed(code connect.Code, text string, details ...proto.Message) *connect.Error {
	e := connect.NewError(code, errors.New(text))
	for _, d := range details {
		if detail, err := connect.NewErrorDetail(d); err == nil { // every generated message can be written
			e.AddDetail(detail)
		}
	}
	return e
}

const tooManyReason = "TOO_MANY_REQUESTS"

// tooMany is the answer to who asks too often.
func tooMany(wait time.Duration) *connect.Error {
	return detailed(connect.CodeResourceExhausted, "too many requests; slow down",
		&errdetails.ErrorInfo{Reason: tooManyReason, Domain: Domain}, &errdetails.RetryInfo{RetryDelay: durationpb.New(wait)})
}

// ErrorOf turns the error of a client of this API into what it was on the other side: a *backbone.Refusal, a *mall.FieldError, one of the
// backbone's errors, or ErrNotFound. Where nobody could be reached it is backbone.ErrUnavailable. Where the answer did not
// come back (the connection was lost, a deadline passed) it is context.DeadlineExceeded: whether something was done is not known
// then, and the same command_id finds out. What is none of these stays as it is, and so does nil.
func ErrorOf(err error) error {
	e, ok := errors.AsType[*connect.Error](err)
	if !ok {
		return err
	}
	for _, d := range e.Details() {
		m, decodeErr := d.Value()
		if decodeErr != nil {
			continue // of a newer version
		}
		switch m := m.(type) {
		case *soukv1.Refusal:
			return &backbone.Refusal{Code: m.GetCode(), Detail: m.GetDetail(), Data: m.GetData()}
		case *errdetails.BadRequest:
			for _, f := range m.GetFieldViolations() {
				return &mall.FieldError{Field: f.GetField(), Reason: f.GetDescription()}
			}
		case *errdetails.ErrorInfo:
			for _, k := range kinds {
				if m.GetDomain() == Domain && m.GetReason() == k.reason {
					return fmt.Errorf("%w: %w", k.err, err)
				}
			}
			if m.GetDomain() == Domain && m.GetReason() == tooManyReason {
				return fmt.Errorf("%w: %w", backbone.ErrOverloaded, err)
			}
		}
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return fmt.Errorf("%w: %w", backbone.ErrUnavailable, err)
	}
	switch code := e.Code(); {
	case code == connect.CodeUnavailable, code == connect.CodeDeadlineExceeded,
		!connect.IsWireError(err) && (code == connect.CodeInternal || code == connect.CodeUnknown):
		return fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
	}
	return err
}
