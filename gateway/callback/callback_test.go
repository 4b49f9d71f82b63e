package callback_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"example.org/souk/backbone"
	"example.org/souk/gateway/callback"
	"example.org/souk/gateway/door"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// note is a command about something.
type note struct {
	About string `json:"about"`
	Text  string `json:"text"`
}

func (note) CommandType() string { return "souk.test.Note.v1" }

func (n note) Stream() string { return n.About }

// service keeps what it is told, once for each id.
type service struct {
	kept  map[string]backbone.Command
	metas []backbone.Meta
	fails error
}

func (s *service) Do(ctx context.Context, c backbone.Command, options ...backbone.DoOption) (backbone.Answer, error) {
	var m backbone.Meta
	for _, o := range options {
		o(&m)
	}
	if s.fails != nil {
		return backbone.Answer{}, s.fails
	}
	if first, known := s.kept[m.ID]; known && first != c {
		return backbone.Answer{}, backbone.ErrDifferentCommand
	}
	s.kept[m.ID], s.metas = c, append(s.metas, m)
	return backbone.Answer{Command: m.ID, Outcome: backbone.Done}, ctx.Err()
}

type clock struct{}

func (clock) Now() time.Time { return time.Now() }

// open takes for signed what says so, and reads "about text", or nothing.
func open(_ context.Context, h http.Header, body []byte) (callback.Report, error) {
	if h.Get("Webhook-Signature") != "right" {
		return callback.Report{}, errors.New("wrong: secret is s3cret")
	}
	r := callback.Report{ID: h.Get("Webhook-Id")}
	var n note
	if k, _ := fmt.Sscanf(strings.Trim(string(body), `"`), "%s %s", &n.About, &n.Text); k == 2 {
		r.Command, r.Correlation, r.Causation = n, "about-"+n.About, "why-"+n.About
	}
	return r, nil
}

// gateway is a door with the route, where it is registered.
type gateway struct {
	*service
	door *door.Door
}

func newGateway(t *testing.T, registered bool) *gateway {
	t.Helper()
	authority, err := door.OpenAuthority(t.TempDir(), clock{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := door.New(door.Config{Authority: authority, Logger: slog.New(slog.DiscardHandler), MaxBody: 1000})
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{&service{kept: map[string]backbone.Command{}}, d}
	if registered {
		if err := callback.Register(d, g.service, open); err != nil {
			t.Fatal(err)
		}
	}
	return g
}

func (g *gateway) post(id, signature, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, callback.PaymentPath, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Webhook-Id", id)
	r.Header.Set("Webhook-Signature", signature)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	rec := httptest.NewRecorder()
	g.door.ServeHTTP(rec, r)
	return rec
}

func TestSettledOnce(t *testing.T) {
	t.Parallel()
	g := newGateway(t, true)
	for range 3 {
		if rec := g.post("cb-1", "right", `"p1 authorized"`); rec.Code != http.StatusNoContent || rec.Body.Len() > 0 {
			t.Errorf("%d %s", rec.Code, rec.Body)
		}
	}
	if len(g.kept) != 1 || g.kept[g.metas[0].ID] != backbone.Command(note{"p1", "authorized"}) {
		t.Errorf("kept %v", g.kept)
	}
	if m := g.metas[0]; m.Actor != callback.Actor || m.Correlation != "about-p1" || m.Causation != "why-p1" || m.Trace == "" || len(m.ID) > 64 {
		t.Errorf("%+v", m)
	}
	// Another id, or the same from a sender that numbers anew, is another callback.
	g.post("cb-2", "right", `"p1 voided"`)
	g.post("cb-1", "right", `"p2 authorized"`)
	if len(g.kept) != 3 {
		t.Errorf("kept %v", g.kept)
	}
	if rec := g.post("cb-1", "right", `"p1 declined"`); rec.Code != http.StatusConflict {
		t.Errorf("the same callback says something else: %d", rec.Code)
	}
	if rec := g.post("cb-3", "right", `"nothing"`); rec.Code != http.StatusNoContent || len(g.kept) != 3 {
		t.Errorf("a callback that says nothing: %d, kept %v", rec.Code, g.kept)
	}
}

// Red when a callback is taken before its signature is looked at.
func TestRefused(t *testing.T) {
	t.Parallel()
	g := newGateway(t, true)
	for name, c := range map[string]struct {
		rec  *httptest.ResponseRecorder
		want int
		code string
	}{
		"forged":       {g.post("cb-1", "wrong", `"p1 authorized"`), 401, "callback_refused"},
		"too large":    {g.post("cb-1", "right", `"p1 `+strings.Repeat("x", 1000)+`"`), 413, "body_too_large"},
		"not JSON":     {g.post("cb-1", "right", `"p1 authorized"`, "Content-Type", "text/plain"), 415, "unsupported_media_type"},
		"from a page":  {g.post("cb-1", "right", `"p1 authorized"`, "Sec-Fetch-Site", "cross-site"), 403, "foreign_origin"},
		"with a token": {g.post("cb-1", "right", `"p1 authorized"`, "Authorization", "Bearer x"), 401, "unauthenticated"},
	} {
		if c.rec.Code != c.want || !strings.Contains(c.rec.Body.String(), `"code":"`+c.code+`"`) {
			t.Errorf("%s: %d %s", name, c.rec.Code, c.rec.Body)
		}
		if got := c.rec.Header().Get("Content-Type"); got != "application/problem+json" || strings.Contains(c.rec.Body.String(), "s3cret") {
			t.Errorf("%s: %s %s", name, got, c.rec.Body)
		}
	}
	if len(g.kept) > 0 {
		t.Errorf("kept %v", g.kept)
	}
	if rec := newGateway(t, false).post("cb-1", "right", `"p1 authorized"`); rec.Code != http.StatusNotFound {
		t.Errorf("not registered: %d", rec.Code)
	}
}

// Red when 204 is answered whatever came of the command.
func TestNotDurable(t *testing.T) {
	t.Parallel()
	for _, err := range []error{
		backbone.ErrOverloaded, backbone.ErrUnavailable, backbone.ErrPaused, backbone.ErrStopped, backbone.ErrNotHandled, context.DeadlineExceeded,
	} {
		g := newGateway(t, true)
		g.fails = fmt.Errorf("do: %w", err)
		if rec := g.post("cb-1", "right", `"p1 authorized"`); rec.Code != http.StatusServiceUnavailable || rec.Header().Get("Retry-After") == "" {
			t.Errorf("%v: %d, Retry-After %q", err, rec.Code, rec.Header().Get("Retry-After"))
		}
	}
}

func TestWhatIsRequired(t *testing.T) {
	t.Parallel()
	g := newGateway(t, false)
	if callback.Register(g.door, nil, open) == nil || callback.Register(g.door, g.service, nil) == nil {
		t.Error("nothing was said")
	}
}
