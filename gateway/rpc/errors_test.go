package rpc

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	soukv1 "example.org/souk/api/gen/souk/v1"
	"example.org/souk/api/gen/souk/v1/soukv1connect"
	"example.org/souk/backbone"
	"example.org/souk/mall"
)

// failing fails every command.
type failing struct{ err error }

func (f *failing) Do(context.Context, backbone.Command, ...backbone.DoOption) (backbone.Answer, error) {
	return backbone.Answer{}, f.err
}

// as sets who calls.
type as string

func (a as) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set(callerHeader, string(a))
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	t := &http.Transport{Protocols: p}
	defer t.CloseIdleConnections()
	return t.RoundTrip(r)
}

// What goes wrong comes out on the other side as what it was, over gRPC and Connect, and what is inside stays inside.
// Red when a detail is left out, or when a text of the inside is passed on.
func TestErrorsConform(t *testing.T) {
	t.Parallel()
	inside := errors.New("SQL of the inside")
	commands := &failing{}
	b := begin(t, func(c *Config) { c.Commands = commands })
	refusal := backbone.Refuse("not_open", "the order is not open").With(map[string]int{"n": 1})
	for _, c := range []struct {
		err   error
		code  codes.Code
		same  func(error) bool
		retry bool
	}{
		{refusal, codes.FailedPrecondition, func(err error) bool {
			r, ok := errors.AsType[*backbone.Refusal](err)
			return ok && reflect.DeepEqual(r, refusal)
		}, false},
		{&mall.FieldError{Field: "items[1].quantity", Reason: "must be 1"}, codes.InvalidArgument, func(err error) bool {
			f, ok := errors.AsType[*mall.FieldError](err)
			return ok && *f == mall.FieldError{Field: "items[1].quantity", Reason: "must be 1"}
		}, false},
		{backbone.ErrDifferentCommand, codes.AlreadyExists, is(backbone.ErrDifferentCommand), false},
		{backbone.ErrOverloaded, codes.ResourceExhausted, is(backbone.ErrOverloaded), true},
		{backbone.ErrUnavailable, codes.Unavailable, is(backbone.ErrUnavailable), true},
		{backbone.ErrPaused, codes.Unavailable, is(backbone.ErrPaused), true},
		{backbone.ErrStopped, codes.Unavailable, is(backbone.ErrStopped), true},
		{backbone.ErrNotHandled, codes.Unavailable, is(backbone.ErrNotHandled), true},
		{backbone.ErrForgotten, codes.FailedPrecondition, is(backbone.ErrForgotten), false},
		{ErrNotFound, codes.NotFound, is(ErrNotFound), false},
		{context.DeadlineExceeded, codes.DeadlineExceeded, is(context.DeadlineExceeded), false},
		{inside, codes.Internal, func(err error) bool { return connect.CodeOf(err) == connect.CodeInternal }, false},
	} {
		commands.err = c.err
		if _, isField := errors.AsType[*mall.FieldError](c.err); !isField && !errors.Is(c.err, refusal) {
			commands.err = fmt.Errorf("wrapped with %w: %w", inside, c.err)
		}
		request := &soukv1.RemoveProductRequest{CommandId: "c1", Product: "pen"}
		err := b.grpc.Invoke(b.as("staff:anna"), soukv1connect.StoresServiceRemoveProductProcedure, request, &soukv1.RemoveProductResponse{})
		s := status.Convert(err)
		if s.Code() != c.code || strings.Contains(s.Message(), "SQL") {
			t.Errorf("%v: %v %q, want %v", c.err, s.Code(), s.Message(), c.code)
		}
		retry := false
		for _, d := range s.Details() {
			r, ok := d.(*errdetails.RetryInfo)
			retry = retry || ok && r.GetRetryDelay().AsDuration() > 0
		}
		if retry != c.retry {
			t.Errorf("%v: told when to try again: %v", c.err, retry)
		}
		for name, options := range map[string][]connect.ClientOption{"gRPC": {connect.WithGRPC()}, "Connect": nil, "JSON": {connect.WithProtoJSON()}, "gRPC-Web": {connect.WithGRPCWeb()}} {
			client := soukv1connect.NewStoresServiceClient(&http.Client{Transport: as("staff:anna")}, b.url, options...)
			_, err := client.RemoveProduct(t.Context(), connect.NewRequest(request))
			if back := ErrorOf(err); !c.same(back) || strings.Contains(back.Error(), "SQL") {
				t.Errorf("%v over %s came back as %v", c.err, name, back)
			}
		}
	}
	if ErrorOf(nil) != nil || !errors.Is(ErrorOf(inside), inside) {
		t.Error("what is no error of a client does not stay what it is")
	}
}

func is(target error) func(error) bool {
	return func(err error) bool { return errors.Is(err, target) }
}

// Nobody there is unavailable; an answer that did not come back is not: something may have been done.
func TestLostAnswersAreNotUnavailable(t *testing.T) {
	t.Parallel()
	client := soukv1connect.NewStoresServiceClient(http.DefaultClient, "http://127.0.0.1:1")
	_, err := client.RemoveProduct(t.Context(), connect.NewRequest(&soukv1.RemoveProductRequest{}))
	if back := ErrorOf(err); !errors.Is(back, backbone.ErrUnavailable) {
		t.Errorf("nobody there: %v", back)
	}
	b := begin(t, func(c *Config) { c.Commands = dropping{} })
	client = soukv1connect.NewStoresServiceClient(&http.Client{Transport: as("staff:anna")}, b.url)
	_, err = client.RemoveProduct(t.Context(), connect.NewRequest(&soukv1.RemoveProductRequest{CommandId: "c1", Product: "pen"}))
	if back := ErrorOf(err); errors.Is(back, backbone.ErrUnavailable) || !errors.Is(back, context.DeadlineExceeded) {
		t.Errorf("the connection was lost: %v", back)
	}
}

// dropping loses the connection in the middle of a command.
type dropping struct{}

func (dropping) Do(context.Context, backbone.Command, ...backbone.DoOption) (backbone.Answer, error) {
	panic(http.ErrAbortHandler)
}
