package kiosk

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"example.org/souk/gateway/door"
)

// rest is the base of the REST interface's paths.
const rest = "/kiosk/v1"

// api puts huma between the door and the gateway's operations: huma describes them, and reads and judges what comes by that description; the
// door lets in and writes problems.
type api struct {
	huma.API
	door    *door.Gate
	tongues *tongues
	errs    []error
	routes  []string // documented ones
}

// policy is what the door has to know of an operation.
type policy struct {
	access  door.Access
	public  bool
	creates bool // honours an Idempotency-Key
	stream  bool
}

const policyKey = "policy"

func newAPI(gate *door.Gate, all *tongues) *api {
	a := &api{door: gate, tongues: all}
	registry := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	a.API = huma.NewAPI(huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "souk kiosk", Version: "1.0.0",
				Description: "What a kiosk, and the customer who stands at it, can ask of the mall. Amounts are minor units with a currency; " +
					"times are RFC 3339 in UTC; stock is told in words, never in numbers. Everything that goes wrong is a problem document (RFC 9457), " +
					"whose detail is in English, German or French as Accept-Language asks.",
			},
			Components: &huma.Components{
				Schemas: registry,
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"bearer":  {Type: "http", Scheme: "bearer", BearerFormat: "JWT", Description: "A token of souk."},
					"browser": {Type: "apiKey", In: "cookie", Name: "souk", Description: "A browser that signed in; __Host-souk over HTTPS."},
				},
			},
			Tags: []*huma.Tag{{Name: "catalogue"}, {Name: "people"}, {Name: "baskets"}, {Name: "orders"}},
		},
		Formats: map[string]huma.Format{
			"application/json":         huma.DefaultJSONFormat,
			"application/problem+json": huma.DefaultJSONFormat, // what it would write is thrown away
		},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
		Transformers:                 []huma.Transformer{keepFailure},
	}, a)
	return a
}

// failure carries the error of an operation through huma to the door.
type failure struct{ error }

// GetStatus makes huma pass it on as it is.
func (failure) GetStatus() int { return http.StatusInternalServerError }

// Unwrap returns the error.
func (f failure) Unwrap() error { return f.error }

// keepFailure takes what went wrong out of huma's hands.
func keepFailure(ctx huma.Context, _ string, v any) (any, error) {
	var err error
	switch v := v.(type) {
	case failure:
		err = v.error
	case *huma.ErrorModel:
		err = problemOf(v)
	default:
		return v, nil
	}
	for {
		if x, ok := ctx.(*exchange); ok {
			x.err = err
			return v, nil
		}
		w, ok := ctx.(interface{ Unwrap() huma.Context })
		if !ok {
			return v, err
		}
		ctx = w.Unwrap()
	}
}

// problemOf is what the door says of a request that does not fit its description.
func problemOf(m *huma.ErrorModel) *door.Problem {
	p := door.NewProblem(http.StatusBadRequest, "invalid_field", "A field of the request is wrong.")
	if m.Status == http.StatusRequestEntityTooLarge || m.Status == http.StatusRequestTimeout {
		p.Status, p.Code, p.Detail = m.Status, "body_unreadable", "The body is too large, or did not arrive whole."
	}
	for _, e := range m.Errors {
		p.Errors = append(p.Errors, fieldOf(e))
	}
	if len(p.Errors) == 0 && m.Status == http.StatusBadRequest {
		p.Errors = []door.FieldError{{Field: "body", Reason: "is required"}}
	}
	slices.SortFunc(p.Errors, func(a, b door.FieldError) int { return strings.Compare(a.Field, b.Field) })
	return p
}

// fieldOf names a field as problems do, without what its value was.
func fieldOf(e *huma.ErrorDetail) door.FieldError {
	for _, place := range []string{"body.", "path.", "query.", "header."} {
		if rest, ok := strings.CutPrefix(e.Location, place); ok {
			return door.FieldError{Field: plain(rest), Reason: plain(e.Message)}
		}
	}
	if rest, ok := strings.CutPrefix(e.Message, "expected required property "); ok {
		if name, ok := strings.CutSuffix(rest, " to be present"); ok {
			return door.FieldError{Field: plain(name), Reason: "is required"}
		}
	}
	return door.FieldError{Field: plain(e.Location), Reason: plain(e.Message)}
}

// plain bounds a text that may have parts of what the client sent, and takes control characters out of it.
func plain(s string) string {
	const most = 200
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return '?'
		}
		return r
	}, s)
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}

// add makes an operation a route of the door. id, method and path describe it; handle is called with what was read.
func add[I, O any](a *api, op huma.Operation, p policy, handle func(ctx context.Context, r *door.Request, in *I) (*O, error)) {
	if op.Responses == nil {
		op.Responses = map[string]*huma.Response{}
	}
	op.Metadata = map[string]any{policyKey: p}
	op.Path = rest + op.Path
	codes := []int{http.StatusBadRequest, http.StatusTooManyRequests, http.StatusServiceUnavailable}
	if !p.public {
		op.Security = []map[string][]string{{"bearer": {}}, {"browser": {}}}
		codes = append(codes, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound)
		roles := make([]string, 0, len(p.access))
		for role := range p.access {
			roles = append(roles, string(role))
		}
		slices.Sort(roles)
		op.Extensions = map[string]any{"x-roles": roles}
	}
	if op.Method != http.MethodGet {
		codes = append(codes, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)
	}
	if p.creates {
		codes = append(codes, http.StatusUnprocessableEntity)
	}
	schema := a.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[problem](), true, "Problem")
	for _, code := range codes {
		op.Responses[strconv.Itoa(code)] = &huma.Response{
			Description: http.StatusText(code), Content: map[string]*huma.MediaType{"application/problem+json": {Schema: schema}},
		}
	}
	a.routes = append(a.routes, op.Method+" "+op.Path)
	huma.Register(a.API, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := handle(ctx, ctx.Value(requestKey{}).(*door.Request), in)
		if err != nil {
			return nil, failure{err}
		}
		return out, nil
	})
}

// problem describes the document that the door writes when something goes wrong.
type problem struct {
	Type     string         `json:"type" doc:"A URN that ends in the code."`
	Title    string         `json:"title" doc:"The status in words."`
	Status   int            `json:"status"`
	Detail   string         `json:"detail,omitempty" doc:"A sentence for people."`
	Instance string         `json:"instance,omitempty"`
	Code     string         `json:"code" doc:"Stable, and meant for programs." example:"price_changed"`
	Errors   []problemField `json:"errors,omitempty"`
	TraceID  string         `json:"trace_id,omitempty"`
}

type problemField struct {
	Field   string  `json:"field"`
	Reason  string  `json:"reason"`
	Sent    float64 `json:"sent,omitempty"`
	Current float64 `json:"current,omitempty"`
}

type requestKey struct{}

// Handle implements huma.Adapter.
func (a *api) Handle(op *huma.Operation, handler func(huma.Context)) {
	p, ok := op.Metadata[policyKey].(policy)
	if !ok {
		a.errs = append(a.errs, fmt.Errorf("operation %q says nothing about who may use it", op.OperationID))
		return
	}
	rt := door.Route{
		Pattern: op.Method + " " + op.Path, Access: p.access, Public: p.public, Creates: p.creates, Stream: p.stream, Body: op.RequestBody != nil,
	}
	rt.Handle = func(w http.ResponseWriter, r *door.Request) error {
		if err := wellFormed(r.Body); err != nil {
			return err
		}
		x := &exchange{op: op, w: w, r: r, ctx: context.WithValue(r.Context(), requestKey{}, r)}
		handler(x)
		return a.told(w, r, x.err)
	}
	a.errs = append(a.errs, a.door.Add(rt))
}

// told says what went wrong in the language that the client asks for. What has no sentence there stays as it is.
func (a *api) told(w http.ResponseWriter, r *door.Request, err error) error {
	if err == nil {
		return nil
	}
	t, p := a.tongues.of(r.Request, ""), *door.ProblemOf(err)
	text := t.words["say."+p.Code]
	if t.Code == usual || text == "" {
		return err
	}
	p.Detail = text
	w.Header().Set("Content-Language", t.Code)
	return errors.Join(&p, err)
}

// ServeHTTP implements huma.Adapter; nothing comes this way, since the door serves.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }

// maxDepth is how deep a body may nest. None has to be half as deep.
const maxDepth = 16

// wellFormed refuses what encoding/json would take: members that are given twice, text that is no UTF-8, and nesting that nobody needs.
func wellFormed(body []byte) error {
	if len(body) == 0 {
		return nil
	}
	malformed := door.NewProblem(http.StatusBadRequest, "malformed_json", "The body is not one JSON value.")
	if !utf8.Valid(body) {
		return malformed
	}
	type level struct {
		names map[string]bool // nil in an array
		name  bool            // the next token is a name
	}
	var open []level
	d := json.NewDecoder(bytes.NewReader(body))
	for values := 0; ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) && len(open) == 0 && values == 1 {
			return nil
		}
		if err != nil {
			return malformed
		}
		if delim, ok := token.(json.Delim); ok && (delim == '}' || delim == ']') {
			open = open[:len(open)-1]
		} else if len(open) > 0 && open[len(open)-1].name {
			top := &open[len(open)-1]
			name, _ := token.(string)
			if top.names[name] {
				return door.InvalidField(plain(name), "must not be given twice")
			}
			top.names[name], top.name = true, false
			continue
		} else if ok {
			if len(open) == maxDepth {
				return malformed
			}
			l := level{}
			if delim == '{' {
				l.names, l.name = map[string]bool{}, true
			}
			open = append(open, l)
			continue
		}
		if len(open) == 0 {
			if values++; values > 1 {
				return malformed
			}
		} else if top := &open[len(open)-1]; top.names != nil {
			top.name = true
		}
	}
}

// exchange is a request as huma sees it. What goes wrong is kept for the door, and nothing of it written.
type exchange struct {
	op     *huma.Operation
	w      http.ResponseWriter
	r      *door.Request
	ctx    context.Context
	status int
	err    error
}

func (x *exchange) Operation() *huma.Operation { return x.op }
func (x *exchange) Context() context.Context   { return x.ctx }
func (x *exchange) TLS() *tls.ConnectionState  { return x.r.TLS }
func (x *exchange) Version() huma.ProtoVersion {
	return huma.ProtoVersion{Proto: x.r.Proto, ProtoMajor: x.r.ProtoMajor, ProtoMinor: x.r.ProtoMinor}
}
func (x *exchange) Method() string            { return x.r.Method }
func (x *exchange) Host() string              { return x.r.Host }
func (x *exchange) RemoteAddr() string        { return x.r.RemoteAddr }
func (x *exchange) URL() url.URL              { return *x.r.URL }
func (x *exchange) Param(name string) string  { return x.r.PathValue(name) }
func (x *exchange) Query(name string) string  { return x.r.URL.Query().Get(name) }
func (x *exchange) Header(name string) string { return x.r.Request.Header.Get(name) }
func (x *exchange) EachHeader(each func(name, value string)) {
	for name, values := range x.r.Request.Header {
		for _, v := range values {
			each(name, v)
		}
	}
}

// BodyReader reads what the door has read already, within its limit.
func (x *exchange) BodyReader() io.Reader { return bytes.NewReader(x.r.Body) }

func (x *exchange) GetMultipartForm() (*multipart.Form, error) { return nil, http.ErrNotMultipart }
func (x *exchange) SetReadDeadline(time.Time) error            { return nil } // the door has read everything
func (x *exchange) Status() int                                { return x.status }
func (x *exchange) SetHeader(name, value string)               { x.w.Header().Set(name, value) }
func (x *exchange) AppendHeader(name, value string)            { x.w.Header().Add(name, value) }

func (x *exchange) SetStatus(code int) {
	x.status = code
	if x.err == nil {
		x.w.WriteHeader(code)
	}
}

func (x *exchange) BodyWriter() io.Writer {
	if x.err != nil {
		return io.Discard
	}
	return x.w
}
