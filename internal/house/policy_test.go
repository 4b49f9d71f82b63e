package house

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
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

// callers are the columns of the policy, beside nobody and whoever has the login of a robot.
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
// list, or lists otherwise, fails. Red when a route, a service or a topic is added, whatever its name, when a policy is widened, and when one is not asked.
func TestF10_EveryWayInWithEveryCaller(t *testing.T) {
	t.Parallel()
	outside := newIssuer(t)
	h := opened(t, func(c *Config) {
		c.OIDC = OIDCConfig{Issuer: outside.URL, Audience: "souk", Client: "pages"}
		c.MQTT.Address, c.MQTT.FiltersEach = "127.0.0.1:0", 4096
	})
	credentials, again := make([]string, len(callers)), 0
	ways := []string{"online", "kiosk", "staff", "console", rpc.Gate}
	sign := func(i int, g door.Grant) {
		g.Gates = ways
		token, _, err := h.Authority.Issue(g)
		if err != nil {
			t.Fatal(err)
		}
		credentials[i] = "Bearer " + token
	}
	for i, g := range callers {
		sign(i, g)
	}
	robot := basic("robot-1", admit(t, h, devices.Login{Device: "robot-1", Store: "hall", Kind: devices.Robot}))
	var table strings.Builder
	line := func(way string, cells []string) {
		fmt.Fprintln(&table, strings.TrimRight(fmt.Sprintf("%-58s %s", way, strings.Join(cells, " ")), " "))
	}
	line("way", []string{"nobody  ", "customer", "clerk   ", "manager ", "robot   ", "device  ", "partner ", "engineer", "login   "})

	routes := h.Door.Routes()
	slices.SortFunc(routes, func(a, b door.Route) int { return strings.Compare(wayOf(a), wayOf(b)) })
	for _, rt := range routes {
		method, path, _ := strings.Cut(rt.Pattern, " ")
		path = strings.NewReplacer("{$}", "", "{", "", "}", "").Replace(path)
		cells := []string{cell(rt.Public, "all")}
		if rec := tryAs(t, h.Door, method, path, ""); (rec.Code == http.StatusUnauthorized) == rt.Public {
			t.Errorf("%s by nobody: %d", rt.Pattern, rec.Code)
		}
		if rec := tryAs(t, h.Door, method, path, robot); rec.Code != http.StatusUnauthorized { // whoever gives one that is not taken here is told so
			t.Errorf("%s by the login of a robot: %d", rt.Pattern, rec.Code)
		}
		for i, g := range callers {
			scope := rt.Access[g.Role]
			allowed := rt.Public || scope != door.None && (!rt.Managers || g.Role != door.Staff || g.Rank == door.Manager)
			cells = append(cells, cell(allowed, map[door.Scope]string{door.Own: "own", door.All: "all", door.None: "all"}[scope]))
			if rec := tryAs(t, h.Door, method, path, credentials[i]); (rec.Code == http.StatusForbidden) == allowed {
				t.Errorf("%s by %v: %d", rt.Pattern, g, rec.Code)
			}
			if _, err := h.Authority.Verify(strings.TrimPrefix(credentials[i], "Bearer "), rpc.Gate); err != nil { // some ways in end the session
				again++
				g.Subject = fmt.Sprint(g.Subject, again)
				sign(i, g)
			}
		}
		line(wayOf(rt), append(cells, cell(false, "")))
	}
	for path, stream := range methods(t, h) {
		var cells []string
		served := false
		for _, credential := range slices.Concat([]string{""}, credentials, []string{robot}) {
			status, answer := call(t, h, path, stream, credential)
			served = served || status != http.StatusNotFound
			cells = append(cells, cell(!strings.Contains(answer, `"code":"unauthenticated"`) && !strings.Contains(answer, `"code":"permission_denied"`), "in"))
		}
		if served { // others are clients' here, or of the modules
			line("RPC "+strings.TrimPrefix(strings.TrimPrefix(path, "/"), "souk.v1."), cells)
		}
	}
	lines := strings.Split(strings.TrimRight(table.String(), "\n"), "\n")
	slices.SortFunc(lines[1:], strings.Compare)
	text := strings.Join(lines, "\n") + "\n\nMQTT: devices alone come in, each with its login; who may say and who may hear\n" + topics(t, h)
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

// admit gives a device a login, and returns its password.
func admit(t *testing.T, h *House, l devices.Login) (password string) {
	t.Helper()
	password = devices.NewPassword()
	l.Hash = devices.HashOf(password)
	answer, err := h.Runtime.Do(t.Context(), devices.AddDevice(l))
	if err := errors.Join(err, answer.Err()); err != nil {
		t.Fatal(err)
	}
	return password
}

// basic writes a device's login as a request carries it.
func basic(device, password string) string {
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(device, password)
	return r.Header.Get("Authorization")
}

// methods are the paths of those of all services that this program has the contract of, whoever made it, and of what it serves to programs without one; with
// whether they are streams.
func methods(t *testing.T, h *House) map[string]bool {
	t.Helper()
	programs, err := h.programs()
	if err != nil {
		t.Fatal(err)
	}
	all := programs.(interface{ Methods() map[string]bool }).Methods()
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			for n := range f.Services().Get(i).Methods().Len() {
				m := f.Services().Get(i).Methods().Get(n)
				all["/"+string(m.Parent().FullName())+"/"+string(m.Name())] = m.IsStreamingServer() || m.IsStreamingClient()
			}
		}
		return true
	})
	return all
}

// call calls a method of a running mall with an empty message, over HTTP/2 as streams need it, and gives up on what does not end.
func call(t *testing.T, h *House, path string, stream bool, credential string) (status int, answer string) {
	t.Helper()
	kind, body := "application/json", "{}"
	if stream {
		kind, body = "application/connect+json", "\x00\x00\x00\x00\x02{}"
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{"Content-Type": {kind}}
	if credential != "" {
		r.Header.Set("Authorization", credential)
	}
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	defer resp.Body.Close()
	enough := time.AfterFunc(300*time.Millisecond, cancel)
	defer enough.Stop()
	data, err := io.ReadAll(resp.Body)
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Fatalf("%s: %v", path, err)
	}
	return resp.StatusCode, string(data)
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

// tryAs makes a request of a caller, "" for nobody.
func tryAs(t *testing.T, to http.Handler, method, path, credential string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, http.NoBody)
	if credential != "" {
		r.Header.Set("Authorization", credential)
	}
	return answered(t, to, r)
}

// try makes a request of whoever has a token.
func try(t *testing.T, to http.Handler, method, path, token, contentType, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+token)
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	return answered(t, to, r)
}

// answered returns the answer to a request, and gives up on what does not end.
func answered(t *testing.T, to http.Handler, r *http.Request) *httptest.ResponseRecorder {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	rec := httptest.NewRecorder()
	to.ServeHTTP(rec, r.WithContext(ctx))
	return rec
}
