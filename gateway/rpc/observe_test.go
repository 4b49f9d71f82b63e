package rpc

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	soukv1 "example.org/souk/api/gen/souk/v1"
	"example.org/souk/api/gen/souk/v1/soukv1connect"
)

// Each call is told of once, with its method, who called and the status that stands for its code, in whichever protocol and however far
// it came. Red where refusals are told by the status of HTTP, which gRPC leaves at 200, and where a call that cannot be read counts as
// one that was answered.
func TestObservation(t *testing.T) {
	t.Parallel()
	seen := make(chan Observation, 16)
	b := begin(t, func(c *Config) {
		c.MaxMessage = 1024
		c.Observe = func(o Observation) { seen <- o }
	})
	told := func(what, method string, kind Kind, status int) {
		t.Helper()
		select {
		case o := <-seen:
			if o.Duration < 0 || o.Duration > time.Minute {
				t.Errorf("%s took %v", what, o.Duration)
			}
			o.Duration = 0
			if want := (Observation{Method: method, Kind: kind, Status: status}); o != want {
				t.Errorf("%s is told as %+v, want %+v", what, o, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("nobody is told of %s", what)
		}
	}
	const get = soukv1connect.StoresServiceGetProductProcedure
	invoke := func(caller string, request proto.Message) {
		t.Helper()
		if err := b.grpc.Invoke(b.as(caller), get, request, &soukv1.GetProductResponse{}); err == nil {
			t.Error("there is such a product")
		}
	}
	b.json("staff:anna", "StoresService/ListProducts", `{}`)
	told("an answer", soukv1connect.StoresServiceListProductsProcedure, Staff, 200)
	b.json("staff:anna", "StoresService/GetProduct", `{"product":"NOTHING"}`)
	told("what there is not, as JSON", get, Staff, 404)
	invoke("staff:anna", &soukv1.GetProductRequest{Product: "NOTHING"})
	told("what there is not, by gRPC", get, Staff, 404)
	invoke("staff:anna", &soukv1.GetProductRequest{Product: strings.Repeat("x", 2000)})
	told("what is too long to be read, by gRPC", get, Staff, 400)
	b.json("staff:anna", "StoresService/GetProduct", `{"product"`)
	told("what cannot be read, as JSON", get, Staff, 400)
	b.json("", "StoresService/GetProduct", `{}`)
	told("nobody", get, "", 401)
	b.json("customer:C1", "ControlService/PauseService", `{}`)
	told("what a role may not do", soukv1connect.ControlServicePauseServiceProcedure, "", 403)
	b.post("staff:anna", "StoresService/Nothing", "application/json", nil)
	told("a method that there is not", "", "", 501)

	ctx, hangUp := context.WithCancel(b.as("process:online"))
	s, err := b.grpc.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, soukv1connect.OrdersServiceFollowFeedsProcedure)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SendMsg(&soukv1.FollowFeedsRequest{}); err != nil {
		t.Fatal(err)
	}
	if err := s.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if err := s.RecvMsg(&soukv1.FollowFeedsResponse{}); err != nil {
		t.Fatal(err)
	}
	select {
	case o := <-seen:
		t.Errorf("a stream that goes on is told as %+v", o)
	default:
	}
	hangUp()
	told("a stream that was given up", soukv1connect.OrdersServiceFollowFeedsProcedure, Process, 499)
	if len(seen) > 0 {
		t.Errorf("told twice: %+v", <-seen)
	}
}
