package demo

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// figures is a mall whose processes are asked how it goes.
type figures struct {
	theMall
	at map[string]string
}

func (f figures) processes() []string    { return []string{"stopped", "working"} }
func (f figures) down() []string         { return nil }
func (f figures) url(part string) string { return f.at[part] }

// A process that does not answer hides neither what the others count, nor that orders are taken; where none answers, that is said of the figures and not of
// the mall. Red where it takes the time of all.
func TestTheBoardWithAProcessThatIsStopped(t *testing.T) {
	t.Parallel()
	stopped := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(stopped.Close)
	working := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "# TYPE souk_messages_total counter\nsouk_messages_total 7\n")
	}))
	t.Cleanup(working.Close)
	var out bytes.Buffer
	m := figures{at: map[string]string{"stopped": stopped.URL, "working": working.URL}}
	b := &board{
		play:     &play{Config: Config{Out: &out}, mall: m, tokens: map[string]string{"engineer/demo": "token"}},
		crowd:    &crowd{client: &http.Client{}},
		patience: 100 * time.Millisecond,
	}
	t.Cleanup(b.crowd.client.CloseIdleConnections)
	b.crowd.accepted.Add(3)
	if b.draw(t.Context()); !strings.Contains(out.String(), "3 accepted") || !strings.Contains(out.String(), "7 handled") {
		t.Errorf("with one that is stopped: %s", out.String())
	}
	out.Reset()
	m.at["working"] = stopped.URL
	if b.draw(t.Context()); !strings.Contains(out.String(), "3 accepted") || !strings.Contains(out.String(), "no figures just now") {
		t.Errorf("with none that answers: %s", out.String())
	}
}
