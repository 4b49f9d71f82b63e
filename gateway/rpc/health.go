package rpc

import (
	"context"
	"errors"

	"connectrpc.com/connect"
	"connectrpc.com/grpchealth"
)

// checker says whether services can be used: one that runs here and whose database answers is serving.
type checker struct{ s *server }

// Check implements grpchealth.Checker. The empty service is the process: it serves when all do that run here.
func (c checker) Check(ctx context.Context, r *grpchealth.CheckRequest) (*grpchealth.CheckResponse, error) {
	answer := &grpchealth.CheckResponse{Status: grpchealth.StatusServing}
	select {
	case <-c.s.Closing:
		answer.Status = grpchealth.StatusNotServing
		return answer, nil
	default:
	}
	var services []string
	switch f := c.s.faces[r.Service]; {
	case f != nil:
		services = []string{f.service}
	case r.Service == "":
		services = c.s.Run
	default:
		return nil, connect.NewError(connect.CodeNotFound, errors.New("there is no such service here"))
	}
	for _, name := range services {
		if _, err := c.s.Reader(name).Head(ctx); err != nil {
			answer.Status = grpchealth.StatusNotServing
		}
	}
	return answer, nil
}
