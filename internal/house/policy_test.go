package house

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"example.org/souk/gateway/devices"
	"example.org/souk/gateway/door"
	"example.org/souk/gateway/rpc"
)

var rewrite = flag.Bool("rewrite", false, "write testdata/policy.txt as the policy stands")

// callers are the columns of the policy.
var callers = []door.Grant{
	{Role: door.Customer, Subject: "c"},
	{Role: door.Staff, Rank: door.Clerk, Subject: "s"},
	{Role: door.Staff, Rank: door.Manager, Subject: "m"},
	{Role: door.Robot, Subject: "r"},
	{Role: door.Device, Subject: "d"},
	{Role: door.Partner, Subject: "p"},
	{Role: door.Engineer, Subject: "e"},
}

// F10: every way in with every kind of caller, each tried. testdata/policy.txt is what was decided: a route, a method or a topic that it does not
// list, or lists otherwise, fails. Red when a route is added, when a policy is widened, and when one is not asked.
func TestF10_EveryWayInWithEveryCaller(t *testing.T) {
	t.Parallel()
	outside := newIssuer(t)
	h := opened(t, func(c *Config) { c.OIDC = OIDCConfig{Issuer: outside.URL, Audience: "souk", Client: "pages"} })
	programs, err := h.programs()
	if err != nil {
		t.Fatal(err)
	}
	tokens, again := make([]string, len(callers)), 0
	ways := []string{"online", "kiosk", "staff", "console", rpc.Gate}
	for i, g := range callers {
		g.Gates = ways
		if tokens[i], _, err = h.Authority.Issue(g); err != nil {
			t.Fatal(err)
		}
	}
	var table strings.Builder
	line := func(way string, cells []string) {
		fmt.Fprintln(&table, strings.TrimRight(fmt.Sprintf("%-58s %s", way, strings.Join(cells, " ")), " "))
	}
	line("way", []string{"nobody  ", "customer", "clerk   ", "manager ", "robot   ", "device  ", "partner ", "engineer"})

	routes := h.Door.Routes()
	slices.SortFunc(routes, func(a, b door.Route) int { return strings.Compare(wayOf(a), wayOf(b)) })
	for _, rt := range routes {
		method, path, _ := strings.Cut(rt.Pattern, " ")
		path = strings.NewReplacer("{$}", "", "{", "", "}", "").Replace(path)
		cells := []string{cell(rt.Public, "all")}
		if rec := try(t, h.Door, method, path, "", "", ""); (rec.Code == http.StatusUnauthorized) == rt.Public {
			t.Errorf("%s by nobody: %d", rt.Pattern, rec.Code)
		}
		for i, g := range callers {
			scope := rt.Access[g.Role]
			allowed := rt.Public || scope != door.None && (!rt.Managers || g.Role != door.Staff || g.Rank == door.Manager)
			cells = append(cells, cell(allowed, map[door.Scope]string{door.Own: "own", door.All: "all", door.None: "all"}[scope]))
			if rec := try(t, h.Door, method, path, tokens[i], "", ""); (rec.Code == http.StatusForbidden) == allowed {
				t.Errorf("%s by %v: %d", rt.Pattern, g, rec.Code)
			}
			if _, err := h.Authority.Verify(tokens[i], rpc.Gate); err != nil { // some ways in end the session
				again++
				g.Gates, g.Subject = ways, fmt.Sprint(g.Subject, again)
				if tokens[i], _, err = h.Authority.Issue(g); err != nil {
					t.Fatal(err)
				}
			}
		}
		line(wayOf(rt), cells)
	}

	protoregistry.GlobalFiles.RangeFilesByPackage("souk.v1", func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			for n := range f.Services().Get(i).Methods().Len() {
				m := f.Services().Get(i).Methods().Get(n)
				path := "/" + string(m.Parent().FullName()) + "/" + string(m.Name())
				kind, body := "application/json", "{}"
				if m.IsStreamingServer() || m.IsStreamingClient() {
					kind, body = "application/connect+json", "\x00\x00\x00\x00\x02{}"
				}
				var cells []string
				for _, token := range append([]string{""}, tokens...) {
					answer := try(t, programs, "POST", path, token, kind, body).Body.String()
					cells = append(cells, cell(!strings.Contains(answer, `"code":"unauthenticated"`) && !strings.Contains(answer, `"code":"permission_denied"`), "in"))
				}
				line("RPC "+strings.TrimPrefix(path, "/souk.v1."), cells)
			}
		}
		return true
	})
	lines := strings.Split(strings.TrimRight(table.String(), "\n"), "\n")
	slices.SortFunc(lines[1:], strings.Compare)
	text := strings.Join(lines, "\n") + "\n\nMQTT: devices alone come in, each with its login; who may say and who may hear\n"
	for _, w := range devices.Ways("souk") {
		text += fmt.Sprintf("%s\n  says  %v\n  hears %v\n", w.Topic, w.Says, w.Hears)
	}
	const path = "testdata/policy.txt"
	if *rewrite {
		if err := errors.Join(os.MkdirAll("testdata", 0o750), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if text != string(want) {
		t.Errorf("the policy is\n%s\nand %s says\n%s", text, path, want)
	}
}

func wayOf(rt door.Route) string {
	method, path, _ := strings.Cut(rt.Pattern, " ")
	return path + " " + method
}

func cell(allowed bool, how string) string {
	if !allowed {
		how = "-"
	}
	return fmt.Sprintf("%-8s", how)
}

// try makes a request and gives up on what does not end.
func try(t *testing.T, to http.Handler, method, path, token, contentType, body string) *httptest.ResponseRecorder {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	r := httptest.NewRequestWithContext(ctx, method, path, strings.NewReader(body))
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	rec := httptest.NewRecorder()
	to.ServeHTTP(rec, r)
	return rec
}

// What is revoked ends within five seconds wherever it is open: the socket of staff, the feed of a customer, the live page.
// Streams of programs are tried in gateway/rpc, devices in test/market.
func TestF10_RevocationCutsStreams(t *testing.T) {
	t.Parallel()
	h := opened(t)
	for _, c := range []struct {
		path  string
		grant door.Grant
	}{
		{"/staff/feed", door.Grant{Role: door.Staff, Subject: "s"}},
		{"/feed", door.Grant{Role: door.Customer, Subject: "c"}},
		{"/console/events", door.Grant{Role: door.Engineer, Subject: "e"}},
	} {
		token, _, err := h.Authority.Issue(c.grant)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, "GET", h.URL()+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header = http.Header{"Authorization": {"Bearer " + token}}
		if c.path != "/console/events" {
			for name, value := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="} {
				r.Header.Set(name, value)
			}
		}
		rsp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		if rsp.StatusCode != http.StatusSwitchingProtocols && rsp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s", c.path, rsp.Status)
		}
		if err := h.Authority.RevokeSubject(c.grant.Role, c.grant.Subject); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		buffer := make([]byte, 4096)
		for err = nil; err == nil && !closing(buffer); {
			clear(buffer)
			_, err = rsp.Body.Read(buffer)
		}
		if d := time.Since(began); d > 5*time.Second {
			t.Errorf("%s stays open for %v: %v", c.path, d, err)
		}
		_ = rsp.Body.Close()
	}
}

// closing tells whether what came is the closing frame of a WebSocket.
func closing(frame []byte) bool { return frame[0] == 0x88 }
