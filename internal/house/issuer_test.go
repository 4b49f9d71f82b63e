package house

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"

	"example.org/souk/gateway/door"
)

// issuer stands in for an OpenID provider.
type issuer struct {
	*httptest.Server
	key *ecdsa.PrivateKey
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{key: key}
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var answer any = map[string]string{
			"issuer": i.URL, "jwks_uri": i.URL + "/keys", "authorization_endpoint": i.URL + "/authorize", "token_endpoint": i.URL + "/token",
		}
		if r.URL.Path == "/keys" {
			answer = jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k"}}}
		}
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(i.Close)
	return i
}

// token is an access token of somebody.
func (i *issuer) token(t *testing.T, subject string, groups ...string) string {
	t.Helper()
	now := time.Now()
	token := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
		"iss": i.URL, "aud": "souk", "sub": subject, "groups": groups, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	})
	token.Header["kid"] = "k"
	signed, err := token.SignedString(i.key)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// answer is what a request got.
type answer struct {
	status, version int
	header          http.Header
	cookies         []*http.Cookie
}

// FAILURES 9, 16, 32 and the issuer outside, for a house whose web server speaks TLS with a certificate of its own: its pages, what programs call
// and its streams take the issuer's tokens, each for what they are; and nothing is said in the clear or in an old way.
func TestF10_TLSAndAnIssuerOutside(t *testing.T) {
	t.Parallel()
	outside := newIssuer(t)
	h := opened(t, func(c *Config) {
		c.TLS.On = true
		c.OIDC = OIDCConfig{
			Issuer: outside.URL, Audience: "souk", RoleClaim: "groups", Client: "pages",
			Roles: map[string]string{"floor": "clerk", "lead": "manager", "people": "customer", "tech": "engineer"},
		}
	})
	certificate, err := os.ReadFile(h.Certificate())
	if err != nil {
		t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(certificate)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	ask := func(method, path, token, body string) answer {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, h.URL()+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		rsp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer rsp.Body.Close()
		_, _ = io.Copy(io.Discard, rsp.Body)
		return answer{rsp.StatusCode, rsp.ProtoMajor, rsp.Header, rsp.Cookies()}
	}

	clerk, lead, customer, nobody := outside.token(t, "anna", "floor"), outside.token(t, "bo", "floor", "lead"), outside.token(t, "C1", "people"), outside.token(t, "x", "clerk")
	own, _, err := h.Authority.Issue(door.Grant{Role: door.Staff, Subject: "s"})
	if err != nil {
		t.Fatal(err)
	}
	robots := h.Robots().Path() + "Work"
	for _, x := range []struct {
		method, path, token string
		want                int
	}{
		{"GET", "/livez", "", 200},
		{"GET", "/staff/orders", clerk, 200},
		{"GET", "/staff/orders", customer, 401}, // not for this gateway
		{"GET", "/staff/orders", nobody, 401},
		{"GET", "/order/none", customer, 404},
		{"GET", "/console", outside.token(t, "eve", "tech"), 200},
		{"POST", "/staff/stores", clerk, 403},
		{"POST", "/staff/stores", lead, 400}, // says nothing yet
		{"POST", "/souk.v1.OrdersService/ListLatestOrders", clerk, 200},
		{"POST", "/souk.v1.OrdersService/ListLatestOrders", customer, 403},
		{"POST", "/souk.v1.OrdersService/ListLatestOrders", nobody, 401},
		{"POST", "/souk.v1.OrdersService/PlaceOrder", "", 401},
		{"POST", robots, clerk, 401}, // a token is no login of a robot
		{"POST", robots, own, 401},
		// What is for whoever looks into a program is not there, or is for engineers.
		{"GET", "/debug/pprof/", "", 404},
		{"GET", "/debug/vars", "", 404},
		{"GET", "/debug/requests", "", 404},
		{"GET", "/metrics", "", 401},
		{"GET", "/metrics", clerk, 401},
		{"POST", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "", 401},
		{"POST", "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "", 401},
	} {
		if rsp := ask(x.method, x.path, x.token, "{}"); rsp.status != x.want {
			t.Errorf("%s %s: %d, want %d", x.method, x.path, rsp.status, x.want)
		}
	}
	rsp := ask("GET", "/livez", "", "")
	if rsp.version != 2 || rsp.header.Get("Strict-Transport-Security") == "" {
		t.Errorf("HTTP/%d, %v", rsp.version, rsp.header)
	}
	link, err := h.Authority.Link(door.Grant{Role: door.Staff, Subject: "s"})
	if err != nil {
		t.Fatal(err)
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if cookies := ask("POST", "/sign-in/"+link, "", "").cookies; len(cookies) != 1 || !cookies[0].Secure || cookies[0].Name != "__Host-souk" {
		t.Errorf("cookies: %v", cookies)
	}

	links, err := h.SignIns()
	if err != nil || links[len(links)-1].URL != h.URL()+door.SignInPath {
		t.Errorf("%v, %v", links, err)
	}
	to, err := url.Parse(ask("GET", door.SignInPath, "", "").header.Get("Location"))
	if err != nil || !strings.HasPrefix(to.String(), outside.URL+"/authorize?") || to.Query().Get("redirect_uri") != h.URL()+door.CallbackPath {
		t.Errorf("sent to %v, %v", to, err)
	}

	// Whoever does not trust the certificate, speaks an old TLS or none gets nothing.
	address := strings.TrimPrefix(h.URL(), "https://")
	for name, config := range map[string]*tls.Config{
		"not trusted": {MinVersion: tls.VersionTLS12}, "TLS 1.1": {RootCAs: trusted, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11},
	} {
		if conn, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", address); err == nil {
			_ = conn.Close()
			t.Errorf("%s: connected", name)
		}
	}
	if n := concurrent(t, address, trusted); n == 0 || n > 256 {
		t.Errorf("one connection may have %d requests at once", n)
	}
	plain, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+address+"/livez", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if rsp, err := http.DefaultTransport.RoundTrip(plain); err == nil {
		if _ = rsp.Body.Close(); rsp.StatusCode != http.StatusBadRequest {
			t.Errorf("in the clear: %s", rsp.Status)
		}
	}
	if info, err := os.Stat(filepath.Join(filepath.Dir(h.Certificate()), "key.pem")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("its key: %v, %v", info, err)
	}
}

// concurrent returns how many requests at once the server lets one connection of HTTP/2 have; 0 where it does not say.
func concurrent(t *testing.T, address string, trusted *x509.CertPool) uint32 {
	t.Helper()
	dialer := tls.Dialer{Config: &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"}}}
	conn, err := dialer.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second)) // a connection that has been made takes one
	if _, err := conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")); err != nil {
		t.Fatal(err)
	}
	head := make([]byte, 9)
	if _, err := io.ReadFull(conn, head); err != nil || head[3] != 4 { // SETTINGS comes first
		t.Fatalf("%v, %v", head, err)
	}
	settings := make([]byte, int(head[1])<<8|int(head[2]))
	if _, err := io.ReadFull(conn, settings); err != nil {
		t.Fatal(err)
	}
	for one := range slices.Chunk(settings, 6) {
		if binary.BigEndian.Uint16(one) == 3 { // MAX_CONCURRENT_STREAMS
			return binary.BigEndian.Uint32(one[2:])
		}
	}
	return 0
}

// What would let in whom nobody meant is refused at start, and so is an issuer that cannot be read.
func TestWhoIsRefusedAtStart(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]Config{
		"in test mode whoever reaches it": {HTTP: "0.0.0.0:0", TestMode: true},
		"without an audience":             {OIDC: OIDCConfig{Issuer: "https://issuer.example"}},
		"of an issuer that is not named":  {OIDC: OIDCConfig{Audience: "souk"}},
		"secret at the issuer outside":    {OIDC: OIDCConfig{Issuer: "http://127.0.0.1:1", Audience: "souk", Client: "c", SecretFile: "none"}},
		"connection refused":              {OIDC: OIDCConfig{Issuer: "http://127.0.0.1:1", Audience: "souk"}},
		"certificate of the web server":   {TLS: TLSConfig{CertFile: "none.pem", KeyFile: "none.key"}},
		"has to be https":                 {OIDC: OIDCConfig{Issuer: "http://issuer.example", Audience: "souk"}},
	} {
		c.Data, c.Empty, c.Logistics, c.Logger = t.TempDir(), true, "off", slog.New(slog.DiscardHandler)
		if c.HTTP == "" {
			c.HTTP = "127.0.0.1:0"
		}
		c.Payment = PaymentConfig{URL: "http://127.0.0.1:9", KeyFile: keyFile(t)}
		h, err := Open(t.Context(), c)
		if err == nil {
			_ = h.Stop(context.Background())
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
