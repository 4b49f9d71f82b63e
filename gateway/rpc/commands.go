package rpc

import (
	"cmp"
	"context"
	"errors"
	"net/http"

	"connectrpc.com/connect"

	soukv1 "example.org/souk/api/gen/souk/v1"
	"example.org/souk/api/gen/souk/v1/soukv1connect"
	"example.org/souk/backbone"
	"example.org/souk/mall"
)

var commandsPolicy = map[string]Access{"Decide": processes}

// commandsFace takes commands of other processes to the services that run here.
type commandsFace struct{ *server }

func serveCommands(s *server, o ...connect.HandlerOption) (string, http.Handler) {
	return soukv1connect.NewCommandsServiceHandler(commandsFace{s}, o...)
}

func (h commandsFace) Decide(ctx context.Context, r *connect.Request[soukv1.DecideRequest]) (*connect.Response[soukv1.DecideResponse], error) {
	if h.ReadCommand == nil {
		return nil, backbone.ErrNotHandled
	}
	c, err := h.ReadCommand(r.Msg.GetType(), r.Msg.GetData())
	switch {
	case errors.Is(err, backbone.ErrNotHandled):
		return nil, err
	case err != nil:
		return nil, &mall.FieldError{Field: "data", Reason: "is no command of this type"}
	}
	if err := acceptable(r.Msg, c); err != nil {
		return nil, err
	}
	options := []backbone.DoOption{
		backbone.By(r.Msg.GetActor()), backbone.CausedBy(r.Msg.GetCorrelation(), r.Msg.GetCausation()), backbone.WithTrace(r.Msg.GetTrace()),
	}
	if id := r.Msg.GetCommandId(); id != "" {
		options = append(options, backbone.WithID(id))
	}
	a, err := h.Commands.Do(ctx, c, options...)
	if err != nil {
		return nil, err
	}
	answer := &soukv1.DecideResponse{Answer: answered(a.Command, &a)}
	if f := a.Refusal; f != nil {
		answer.Refusal = &soukv1.Refusal{Code: f.Code, Detail: f.Detail, Data: f.Data}
	}
	return done(answer, nil)
}

// acceptable judges what another process sends as it would be judged where it came in.
func acceptable(r *soukv1.DecideRequest, c backbone.Command) error {
	if r.GetCommandId() != "" {
		if err := validID("commandId", r.GetCommandId()); err != nil {
			return err
		}
	}
	if err := cmp.Or(
		shortText("actor", r.GetActor()), shortText("correlation", r.GetCorrelation()), shortText("causation", r.GetCausation()), shortText("trace", r.GetTrace()),
	); err != nil {
		return err
	}
	if v, ok := c.(interface{ Validate() error }); ok {
		return v.Validate()
	}
	return nil
}

// AnswerOf is what another process has answered to a command.
func AnswerOf(r *soukv1.DecideResponse) backbone.Answer {
	a := backbone.Answer{Command: r.GetAnswer().GetCommandId(), Outcome: backbone.Done, Repeated: r.GetAnswer().GetRepeated()}
	for _, e := range r.GetAnswer().GetEvents() {
		a.Refs = append(a.Refs, backbone.AppendedRef{Type: e.GetType(), ID: e.GetId(), Stream: e.GetStream()})
	}
	if f := r.GetRefusal(); f != nil {
		a.Outcome, a.Refusal = backbone.Refused, &backbone.Refusal{Code: f.GetCode(), Detail: f.GetDetail(), Data: f.GetData()}
	}
	return a
}
