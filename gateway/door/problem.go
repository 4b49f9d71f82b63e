package door

import (
	"context"
	"encoding/json"
	"errors"
	"html/template"
	"net/http"
	"strconv"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/mall"
)

// Problem is an answer that says what went wrong (RFC 9457). It is an error, so that a handler returns it. A Problem says nothing of how the
// program works inside.
type Problem struct {
	Status int
	// Code is stable and meant for programs: "price_changed".
	Code string
	// Detail is a sentence for people.
	Detail string
	// Errors names the fields at fault.
	Errors []FieldError
	// RetryAfter tells the client when to try again, where that helps. It is rounded up to whole seconds.
	RetryAfter time.Duration
	// Allow lists the methods of a resource, for 405.
	Allow string
}

// FieldError names a field of the request and what is wrong with it.
type FieldError struct {
	Field  string `json:"field"`
	Reason string `json:"reason"`
	// Sent and Current are the two figures where the field differs from what holds now.
	Sent    json.Number `json:"sent,omitempty"`
	Current json.Number `json:"current,omitempty"`
}

// NewProblem returns a problem.
func NewProblem(status int, code, detail string) *Problem {
	return &Problem{Status: status, Code: code, Detail: detail}
}

// InvalidField returns the 400 of one wrong field.
func InvalidField(field, reason string) *Problem {
	p := NewProblem(http.StatusBadRequest, "invalid_field", "A field of the request is wrong.")
	p.Errors = []FieldError{{Field: field, Reason: reason}}
	return p
}

// NotFound returns the 404 of something that does not exist, or that the caller must not know to exist.
func NotFound(what string) *Problem {
	return NewProblem(http.StatusNotFound, "not_found", "There is no such "+what+".")
}

// NotYet returns the 409 of what cannot be done yet, and can be in a moment without anybody doing something about it. It is not kept under an
// Idempotency-Key: what is asked for again under the same one is tried again.
func NotYet(code, detail string) *Problem {
	p := NewProblem(http.StatusConflict, code, detail)
	p.RetryAfter = time.Second
	return p
}

// Error returns code and detail.
func (p *Problem) Error() string { return p.Code + ": " + p.Detail }

// ProblemOf returns what a client is told about an error: itself where it is a Problem, the field of a mall.FieldError, what the
// backbone's errors mean for the client, 409 for a refusal, and otherwise a 500 that says nothing.
func ProblemOf(err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	if f, ok := errors.AsType[*mall.FieldError](err); ok {
		return InvalidField(f.Field, f.Reason)
	}
	if r, ok := errors.AsType[*backbone.Refusal](err); ok {
		return NewProblem(http.StatusConflict, r.Code, r.Detail)
	}
	unavailable := func(code, detail string, after time.Duration) *Problem {
		p := NewProblem(http.StatusServiceUnavailable, code, detail)
		p.RetryAfter = after
		return p
	}
	var tooLarge *http.MaxBytesError
	switch {
	case errors.Is(err, backbone.ErrOverloaded):
		return unavailable("overloaded", "Too much is waiting already. Nothing was done; try again later.", time.Second)
	case errors.Is(err, backbone.ErrUnavailable), errors.Is(err, backbone.ErrPaused), errors.Is(err, backbone.ErrNotHandled):
		return unavailable("unavailable", "This cannot be done now. Nothing was done; try again later.", 5*time.Second)
	case errors.Is(err, backbone.ErrStopped):
		return unavailable("stopping", "The server is stopping. Nothing was done; try again.", time.Second)
	case errors.Is(err, backbone.ErrDifferentCommand):
		return NewProblem(http.StatusConflict, "different_content", "Something else was asked for under this id before.")
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return unavailable("timeout", "It took too long to find out. Try again with the same ids.", time.Second)
	case errors.As(err, &tooLarge):
		return NewProblem(http.StatusRequestEntityTooLarge, "body_too_large",
			"The body is larger than "+strconv.FormatInt(tooLarge.Limit, 10)+" bytes.")
	}
	return NewProblem(http.StatusInternalServerError, "internal", "Something went wrong here. It was noted under the trace id.")
}

// problemBody is the document as it travels.
type problemBody struct {
	Type     string       `json:"type"`
	Title    string       `json:"title"`
	Status   int          `json:"status"`
	Detail   string       `json:"detail,omitempty"`
	Instance string       `json:"instance,omitempty"`
	Code     string       `json:"code"`
	Errors   []FieldError `json:"errors,omitempty"`
	TraceID  string       `json:"trace_id,omitempty"`
}

func (p *Problem) write(w http.ResponseWriter, instance, traceID string) {
	body, err := json.Marshal(problemBody{
		Type: "urn:souk:problem:" + p.Code, Title: http.StatusText(p.Status), Status: p.Status, Detail: p.Detail,
		Instance: instance, Code: p.Code, Errors: p.Errors, TraceID: traceID,
	})
	if err != nil {
		body = []byte(`{"type":"about:blank","title":"Internal Server Error","status":500,"code":"internal"}`)
		p = NewProblem(http.StatusInternalServerError, "internal", "")
	}
	h := w.Header()
	h["Content-Type"] = problemType
	p.head(h)
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(p.Status)
	_, _ = w.Write(body) // a client that went away is told nothing
}

// head sets the header fields that go with a problem, however it is written.
func (p *Problem) head(h http.Header) {
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((p.RetryAfter+time.Second-1)/time.Second), 10))
	}
	if p.Allow != "" {
		h.Set("Allow", p.Allow)
	}
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="souk"`)
	}
}

var problemPage = template.Must(template.New("problem").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{{.Title}}</title>
<h1>{{.Title}}</h1>
<p>{{.Detail}}</p>
{{- range .Errors}}
<p><b>{{.Field}}</b>: {{.Reason}}</p>
{{- end}}
{{- with .SignIn}}
<p><a href="{{.}}">Sign in</a></p>
{{- end}}
<p><small>{{.Code}}, trace id {{.TraceID}}</small></p>
`))

// show writes a problem for somebody who looks at it in a browser.
func (d *Door) show(w http.ResponseWriter, p *Problem, traceID string) {
	page := struct {
		Title, Detail, Code, TraceID, SignIn string
		Errors                               []FieldError
	}{http.StatusText(p.Status), p.Detail, p.Code, traceID, "", p.Errors}
	if p.Status == http.StatusUnauthorized {
		page.Detail = "You are not signed in, or not any more. Ask whoever runs the mall for a sign-in link."
		if i := d.authority.outside; i != nil && i.signIns != nil {
			page.Detail, page.SignIn = "You are not signed in, or not any more.", SignInPath
		}
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	p.head(w.Header())
	w.WriteHeader(p.Status)
	_ = problemPage.Execute(w, page) // a client that went away is told nothing
}

// Values of header fields that are written on every answer; they are shared and never changed.
var (
	problemType = []string{"application/problem+json"}
	jsonType    = []string{"application/json"}
)

// Answer writes v as JSON with a status. It fails only where v cannot be encoded, and has written nothing then.
func Answer(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	AnswerBytes(w, status, body)
	return nil
}

// AnswerBytes writes a body that is JSON already.
func AnswerBytes(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h["Content-Type"] = jsonType
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that went away is told nothing
}
