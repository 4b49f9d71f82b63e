package rpc

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	soukv1 "example.org/souk/api/gen/souk/v1"
	"example.org/souk/api/gen/souk/v1/soukv1connect"
	"example.org/souk/backbone"
)

var controlPolicy = map[string]Access{
	"GetInFlight":   machinery,
	"PauseService":  machinery,
	"ResumeService": machinery,
	"RebuildView":   machinery,
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

func (h controlFace) RebuildView(ctx context.Context, r *connect.Request[soukv1.RebuildViewRequest], stream *connect.ServerStream[soukv1.RebuildViewResponse]) error {
	service, view := r.Msg.GetService(), r.Msg.GetView()
	if !slices.Contains(h.Run, service) {
		return ErrNotFound
	}
	h.Logger.WarnContext(ctx, "view is rebuilt", "service", service, "view", view, "actor", visitOf(ctx).actor)
	ctx, give := context.WithCancelCause(ctx)
	defer give(nil)
	err := h.Control.Rebuild(ctx, service, view, func(p backbone.RebuildProgress) {
		err := send(ctx, stream, &soukv1.RebuildViewResponse{
			Done: p.Done, Total: p.Total, EventsPerSecond: p.Rate, Remaining: durationpb.New(p.Remaining),
		})
		if err != nil {
			give(err)
		}
	})
	switch {
	case errors.Is(err, backbone.ErrNoView):
		return ErrNotFound
	case err != nil && context.Cause(ctx) != nil:
		return context.Cause(ctx)
	}
	return unread(err)
}

func (h controlFace) steer(ctx context.Context, what, service string, do func(context.Context, string) error) error {
	if !slices.Contains(h.Run, service) {
		return ErrNotFound
	}
	h.Logger.WarnContext(ctx, "service "+what, "service", service, "actor", visitOf(ctx).actor)
	return do(ctx, service)
}
