package rpc

import (
	"net/http"
	"time"

	"connectrpc.com/connect"
)

// Observation describes one call that was answered. Method is its path, or "" where there is none such here, so it has few values.
type Observation struct {
	Method string
	// Kind is who called; "" where nobody was let in.
	Kind Kind
	// Status is the HTTP status that stands for the call's outcome: 200, or that of Connect for its code, whichever protocol was spoken.
	Status   int
	Duration time.Duration
}

// statuses are those that Connect has for codes.
var statuses = map[connect.Code]int{
	connect.CodeCanceled: 499, connect.CodeUnknown: http.StatusInternalServerError, connect.CodeInvalidArgument: http.StatusBadRequest,
	connect.CodeDeadlineExceeded: http.StatusGatewayTimeout, connect.CodeNotFound: http.StatusNotFound, connect.CodeAlreadyExists: http.StatusConflict,
	connect.CodePermissionDenied: http.StatusForbidden, connect.CodeResourceExhausted: http.StatusTooManyRequests,
	connect.CodeFailedPrecondition: http.StatusBadRequest, connect.CodeAborted: http.StatusConflict, connect.CodeOutOfRange: http.StatusBadRequest,
	connect.CodeUnimplemented: http.StatusNotImplemented, connect.CodeInternal: http.StatusInternalServerError,
	connect.CodeUnavailable: http.StatusServiceUnavailable, connect.CodeDataLoss: http.StatusInternalServerError,
	connect.CodeUnauthenticated: http.StatusUnauthorized,
}

// httpStatus is the status for what a call came to.
func httpStatus(err error) int {
	if err == nil {
		return http.StatusOK
	}
	if status, ok := statuses[connect.CodeOf(err)]; ok {
		return status
	}
	return http.StatusInternalServerError
}

// observe tells of a call. v is nil where it was not let in, which err says then.
func (s *server) observe(path string, v *visit, err error, began time.Time) {
	if s.Observe == nil {
		return
	}
	o := Observation{Status: httpStatus(err), Duration: s.Clock.Now().Sub(began)}
	if _, known := s.policy[path]; known {
		o.Method = path
	}
	if v != nil && err == nil {
		if o.Kind, o.Status = v.caller.Kind, v.status; o.Status == 0 {
			o.Status = http.StatusBadRequest // it never came to its handler, since it could not be read
		}
	}
	s.Observe(o)
}
