package rpc

import (
	"context"
	"net/http"
	"slices"

	"connectrpc.com/connect"

	soukv1 "example.org/souk/api/gen/souk/v1"
	"example.org/souk/api/gen/souk/v1/soukv1connect"
)

var controlPolicy = map[string]Access{
	"GetInFlight":   machinery,
	"PauseService":  machinery,
	"ResumeService": machinery,
}

// controlFace steers the process.
type controlFace struct{ *server }

func serveControl(s *server, o ...connect.HandlerOption) (string, http.Handler) {
	return soukv1connect.NewControlServiceHandler(controlFace{s}, o...)
}

func (h controlFace) GetInFlight(ctx context.Context, _ *connect.Request[soukv1.GetInFlightRequest]) (*connect.Response[soukv1.GetInFlightResponse], error) {
	answer := &soukv1.GetInFlightResponse{Heads: map[string]int64{}}
	for _, name := range h.Run {
		head, err := h.Reader(name).Head(ctx)
		if err != nil {
			return nil, unread(err)
		}
		answer.Heads[name] = head
	}
	text, err := h.Control.InFlight(ctx)
	answer.InFlight = text
	return done(answer, unread(err))
}

func (h controlFace) PauseService(ctx context.Context, r *connect.Request[soukv1.PauseServiceRequest]) (*connect.Response[soukv1.PauseServiceResponse], error) {
	err := h.steer(ctx, "paused", r.Msg.GetService(), h.Control.Pause)
	return done(&soukv1.PauseServiceResponse{}, err)
}

func (h controlFace) ResumeService(ctx context.Context, r *connect.Request[soukv1.ResumeServiceRequest]) (*connect.Response[soukv1.ResumeServiceResponse], error) {
	err := h.steer(ctx, "resumed", r.Msg.GetService(), h.Control.Resume)
	return done(&soukv1.ResumeServiceResponse{}, err)
}

func (h controlFace) steer(ctx context.Context, what, service string, do func(context.Context, string) error) error {
	if !slices.Contains(h.Run, service) {
		return ErrNotFound
	}
	h.Logger.WarnContext(ctx, "service "+what, "service", service, "actor", visitOf(ctx).actor)
	return do(ctx, service)
}
