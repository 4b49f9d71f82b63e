package door_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"

	"example.org/souk/gateway/door"
)

// rsaKey is slow to make, so that all tests share one.
var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func ecKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func jwk(kid string, key crypto.PublicKey) jose.JSONWebKey {
	return jose.JSONWebKey{Key: key, KeyID: kid, Use: "sig"}
}

// outside is an OpenID provider that a test stands in for, over real HTTP.
type outside struct {
	*httptest.Server
	t     *testing.T
	clock *clock

	reads atomic.Int64 // of its keys

	mu     sync.Mutex
	away   bool
	hang   chan struct{} // what its keys wait for
	keys   []any
	answer map[string]func(w http.ResponseWriter) // in place of what a path answers
	token  http.HandlerFunc
	pages  map[string]http.HandlerFunc // that browsers see
}

func stranger(t *testing.T, c *clock, keys ...any) *outside {
	t.Helper()
	o := &outside{t: t, clock: c, keys: keys, answer: map[string]func(http.ResponseWriter){}}
	o.Server = httptest.NewServer(http.HandlerFunc(o.serve))
	t.Cleanup(o.Close)
	return o
}

func (o *outside) set(change func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change()
}

func (o *outside) serve(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	away, answer, keys, hang := o.away, o.answer[r.URL.Path], o.keys, o.hang
	o.mu.Unlock()
	switch {
	case away:
		w.WriteHeader(http.StatusBadGateway)
	case answer != nil:
		answer(w)
	case r.URL.Path == "/.well-known/openid-configuration":
		o.say(w, map[string]any{
			"issuer": o.URL, "jwks_uri": o.URL + "/keys", "authorization_endpoint": o.URL + "/authorize", "token_endpoint": o.URL + "/token",
		})
	case r.URL.Path == "/keys":
		o.reads.Add(1)
		if hang != nil {
			<-hang
		}
		o.say(w, map[string]any{"keys": keys})
	case r.URL.Path == "/token" && o.token != nil:
		o.token(w, r)
	case o.pages[r.URL.Path] != nil:
		o.pages[r.URL.Path](w, r)
	case r.URL.Path == "/favicon.ico" && o.pages != nil:
		w.WriteHeader(http.StatusNotFound)
	default:
		o.t.Errorf("it is asked for %s", r.URL)
	}
}

func (o *outside) say(w http.ResponseWriter, v any) {
	if err := json.NewEncoder(w).Encode(v); err != nil {
		o.t.Error(err)
	}
}

// open has an authority believe it.
func (o *outside) open(config door.IssuerConfig) (*door.Authority, *door.Issuer) {
	o.t.Helper()
	a, err := door.OpenAuthority(o.t.TempDir(), o.clock)
	if err != nil {
		o.t.Fatal(err)
	}
	return a, o.believe(a, config)
}

func (o *outside) believe(a *door.Authority, config door.IssuerConfig) *door.Issuer {
	o.t.Helper()
	config.URL, config.Audience, config.Clock, config.Logger = o.URL, "souk-mall", o.clock, slog.New(slog.DiscardHandler)
	i, err := door.OpenIssuer(o.t.Context(), config)
	if err != nil {
		o.t.Fatal(err)
	}
	a.Trust(i)
	return i
}

// claims are those of an access token for anna, who is a clerk.
func (o *outside) claims() jwt.MapClaims {
	now := o.clock.Now()
	return jwt.MapClaims{
		"iss": o.URL, "aud": "souk-mall", "sub": "anna", "role": "clerk", "sid": "s1", "jti": "j1",
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
}

func sign(t *testing.T, method jwt.SigningMethod, kid string, key any, claims jwt.MapClaims, header map[string]any) string {
	t.Helper()
	token := jwt.NewWithClaims(method, claims)
	token.Header["kid"], token.Header["typ"] = kid, "at+jwt"
	for name, v := range header {
		token.Header[name] = v
		if v == nil {
			delete(token.Header, name)
		}
	}
	signed, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// FAILURES 6 to 10, for tokens of an issuer outside: each is wrong in one point alone.
func TestOutsideTokens(t *testing.T) {
	t.Parallel()
	c := &clock{now: time.Unix(1_800_000_000, 0)}
	ec, ecOnly, other := ecKey(t), ecKey(t), ecKey(t)
	edPublic, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	encrypting := jwk("enc", other.Public())
	encrypting.Use = "enc"
	bound := jwk("bound", rsaKey().Public())
	bound.Algorithm = "RS256"
	secret := jose.JSONWebKey{Key: []byte("a secret that everybody can read"), KeyID: "secret", Algorithm: "HS256"}
	o := stranger(t, c, jwk("rsa", rsaKey().Public()), jwk("ec", ec.Public()), jwk("ed", edPublic), jwk("ec2", ecOnly.Public()), encrypting, bound, secret,
		map[string]string{"kty": "new", "kid": "of another kind"})
	a, _ := o.open(door.IssuerConfig{})
	called := make(chan string, 10)
	trap := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { called <- r.URL.Path }))
	defer trap.Close()

	for name, token := range map[string]string{
		"RS256":           sign(t, jwt.SigningMethodRS256, "rsa", rsaKey(), o.claims(), nil),
		"PS384":           sign(t, jwt.SigningMethodPS384, "rsa", rsaKey(), o.claims(), nil),
		"ES256":           sign(t, jwt.SigningMethodES256, "ec", ec, o.claims(), nil),
		"EdDSA":           sign(t, jwt.SigningMethodEdDSA, "ed", ed, o.claims(), nil),
		"bound, RS256":    sign(t, jwt.SigningMethodRS256, "bound", rsaKey(), o.claims(), nil),
		"typ JWT":         sign(t, jwt.SigningMethodES256, "ec", ec, o.claims(), map[string]any{"typ": "JWT"}),
		"no typ":          sign(t, jwt.SigningMethodES256, "ec", ec, o.claims(), map[string]any{"typ": nil}),
		"several for":     sign(t, jwt.SigningMethodES256, "ec", ec, with1(o.claims(), "aud", []string{"other", "souk-mall"}), nil),
		"no nbf":          sign(t, jwt.SigningMethodES256, "ec", ec, with1(o.claims(), "nbf", nil), nil),
		"a minute over":   sign(t, jwt.SigningMethodES256, "ec", ec, with1(o.claims(), "exp", c.Now().Add(-59*time.Second).Unix()), nil),
		"a minute before": sign(t, jwt.SigningMethodES256, "ec", ec, with1(o.claims(), "nbf", c.Now().Add(59*time.Second).Unix()), nil),
	} {
		if p, err := a.Verify(token, "staff"); err != nil || p.Role != door.Staff || p.Rank != door.Clerk || p.Subject != "anna" || p.Actor() != "staff:anna" {
			t.Errorf("the control %s fails: %+v, %v", name, p, err)
		}
	}

	public, err := x509.MarshalPKIXPublicKey(rsaKey().Public())
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	claims := func(name string, value any) string {
		return sign(t, jwt.SigningMethodES256, "ec", ec, with1(o.claims(), name, value), nil)
	}
	header := func(name string, value any) string {
		return sign(t, jwt.SigningMethodES256, "ec", ec, o.claims(), map[string]any{name: value})
	}
	now := c.Now()
	for name, token := range map[string]string{
		"alg none":                           sign(t, jwt.SigningMethodNone, "rsa", jwt.UnsafeAllowNoneSignatureType, o.claims(), nil),
		"HS256 with the public key":          sign(t, jwt.SigningMethodHS256, "rsa", public, o.claims(), nil),
		"HS256 with the public key as PEM":   sign(t, jwt.SigningMethodHS256, "rsa", text, o.claims(), nil),
		"HS256 with a key that is published": sign(t, jwt.SigningMethodHS256, "secret", []byte("a secret that everybody can read"), o.claims(), nil),
		"another key":                        sign(t, jwt.SigningMethodES256, "ec", other, o.claims(), nil),
		"another key of the issuer":          sign(t, jwt.SigningMethodES256, "ec2", ec, o.claims(), nil),
		"a key for encryption":               sign(t, jwt.SigningMethodES256, "enc", other, o.claims(), nil),
		"a key of another kind":              sign(t, jwt.SigningMethodES256, "rsa", ec, o.claims(), nil),
		"not as its key is for":              sign(t, jwt.SigningMethodRS512, "bound", rsaKey(), o.claims(), nil),
		"unknown kid":                        sign(t, jwt.SigningMethodES256, "what", ec, o.claims(), nil),
		"kid is a path":                      sign(t, jwt.SigningMethodES256, "../../etc/passwd", ec, o.claims(), nil),
		"no kid":                             header("kid", nil),
		"kid no text":                        header("kid", 1),
		"jku":                                header("jku", trap.URL),
		"x5u":                                header("x5u", trap.URL),
		"x5c":                                header("x5c", []string{"AAAA"}),
		"jwk":                                header("jwk", jwk("ec", other.Public())),
		"crit":                               header("crit", []string{"b64"}),
		"a logout token":                     header("typ", "logout+jwt"),
		"wrong issuer":                       claims("iss", "https://evil.example"),
		"issuer with a slash":                claims("iss", o.URL+"/"),
		"no issuer":                          claims("iss", nil),
		"our own issuer":                     claims("iss", "souk"),
		"wrong audience":                     claims("aud", "another"),
		"almost the audience":                claims("aud", []string{"souk-mall2", "Souk-mall"}),
		"no audience":                        claims("aud", nil),
		"expired":                            claims("exp", now.Add(-61*time.Second).Unix()),
		"no expiry":                          claims("exp", nil),
		"expiry no number":                   claims("exp", "later"),
		"lives too long":                     claims("exp", now.Add(25*time.Hour).Unix()),
		"not yet":                            claims("nbf", now.Add(61*time.Second).Unix()),
		"issued in the future":               claims("iat", now.Add(61*time.Second).Unix()),
		"no iat":                             claims("iat", nil),
		"ID token by its nonce":              claims("nonce", "n"),
		"ID token by its hash":               claims("at_hash", "h"),
		"ID token by its kind":               claims("typ", "ID"),
		"refresh token":                      claims("typ", "Refresh"),
		"no subject":                         claims("sub", nil),
		"subject is no id":                   claims("sub", "a b\n"),
		"subject no text":                    claims("sub", 7),
		"subject too long":                   claims("sub", strings.Repeat("a", 65)),
		"no role":                            claims("role", nil),
		"unknown role":                       claims("role", "root"),
		"no roles":                           claims("role", []string{}),
		"unknown roles":                      claims("role", []string{"root", "admin"}),
		"two roles":                          claims("role", []string{"clerk", "customer"}),
		"role is a thing":                    claims("role", map[string]any{"clerk": true}),
		"role is a number":                   claims("role", 1),
		"role in another case":               claims("role", "Clerk"),
		"roles in one text":                  claims("role", "clerk manager"),
		"device without being named":         claims("role", "device"),
		"robot without being named":          claims("role", "robot"),
		"partner without being named":        claims("role", "partner"),
		"too long":                           claims("more", strings.Repeat("a", 8192)),
	} {
		for range 2 { // the second time it may not come from a cache
			if p, err := a.Verify(token, "staff"); !errors.Is(err, door.ErrToken) {
				t.Errorf("%s: %+v, %v", name, p, err)
			}
		}
	}
	good := sign(t, jwt.SigningMethodES256, "ec", ec, o.claims(), nil)
	for _, gate := range []string{"robots", "devices", "partner", "console"} {
		if _, err := a.Verify(good, gate); !errors.Is(err, door.ErrToken) {
			t.Errorf("a clerk's token is taken at %s: %v", gate, err)
		}
	}
	for _, broken := range []string{good[:len(good)-2], good + "A", " " + good, good + "." + good, strings.Replace(good, ".", "..", 1)} {
		if _, err := a.Verify(broken, "staff"); !errors.Is(err, door.ErrToken) {
			t.Errorf("%.20q: %v", broken, err)
		}
	}
	if len(called) > 0 {
		t.Errorf("a token made us call %s", <-called)
	}
	// Our own tokens are taken as before, and those of the issuer no more once they are over.
	own, _, err := a.Issue(door.Grant{Role: door.Staff, Subject: "bo"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Verify(own, "staff"); err != nil {
		t.Error(err)
	}
	c.move(time.Hour + 61*time.Second)
	if _, err := a.Verify(good, "staff"); !errors.Is(err, door.ErrToken) {
		t.Errorf("after its end: %v", err)
	}
}

// with1 changes one claim; nil takes it away.
func with1(c jwt.MapClaims, name string, value any) jwt.MapClaims {
	c[name] = value
	if value == nil {
		delete(c, name)
	}
	return c
}

// What the claims of other systems make of their bearers.
func TestOutsideRoles(t *testing.T) {
	t.Parallel()
	c := &clock{now: time.Unix(1_800_000_000, 0)}
	key := ecKey(t)
	o := stranger(t, c, jwk("k", key.Public()))
	keycloak := door.IssuerConfig{RoleClaim: "realm_access.roles", SubjectClaim: "mall.id", Roles: map[string]string{
		"shop-floor": "clerk", "shop-lead": "manager", "Kunde": "customer", "terminal": "device", "picker": "robot",
	}}
	named := door.IssuerConfig{RoleClaim: "https://mall.example/role"} // a name with dots that is no path
	for _, x := range []struct {
		config door.IssuerConfig
		claims jwt.MapClaims
		want   string // "": nobody
		rank   door.Rank
	}{
		{keycloak, jwt.MapClaims{"realm_access": map[string]any{"roles": []string{"offline_access", "shop-floor"}}}, "staff:B7", door.Clerk},
		{keycloak, jwt.MapClaims{"realm_access": map[string]any{"roles": []string{"shop-lead", "shop-floor", "shop-floor"}}}, "staff:B7", door.Manager},
		{keycloak, jwt.MapClaims{"realm_access": map[string]any{"roles": []string{"shop-floor", "shop-lead"}}}, "staff:B7", door.Manager},
		{keycloak, jwt.MapClaims{"realm_access": map[string]any{"roles": "Kunde"}}, "customer:B7", ""},
		{keycloak, jwt.MapClaims{"realm_access": map[string]any{"roles": []string{"terminal"}}}, "device:B7", ""},
		{keycloak, jwt.MapClaims{"realm_access": map[string]any{"roles": []string{"picker"}}}, "robot:B7", ""},
		{keycloak, jwt.MapClaims{"realm_access": map[string]any{"roles": []string{"manager", "engineer"}}}, "", ""}, // our names mean nothing any more
		{keycloak, jwt.MapClaims{"realm_access": map[string]any{"roles": []any{1, nil, map[string]any{}}}}, "", ""},
		{keycloak, jwt.MapClaims{"realm_access": []string{"shop-floor"}}, "", ""},
		{keycloak, jwt.MapClaims{"realm_access": map[string]any{"roles": []string{"shop-floor", "Kunde"}}}, "", ""},
		{keycloak, jwt.MapClaims{"role": "clerk"}, "", ""},
		{named, jwt.MapClaims{"https://mall.example/role": "engineer"}, "engineer:anna", ""},
		{named, jwt.MapClaims{"https://mall": map[string]any{"example/role": "engineer"}}, "engineer:anna", ""},
	} {
		a, _ := o.open(x.config)
		claims := o.claims()
		delete(claims, "role")
		claims["mall"] = map[string]any{"id": "B7"}
		for name, v := range x.claims {
			claims[name] = v
		}
		p, err := a.Verify(sign(t, jwt.SigningMethodES256, "k", key, claims, nil), "")
		if (err == nil) != (x.want != "") || err == nil && (p.Actor() != x.want || p.Rank != x.rank) {
			t.Errorf("%v: %s %s, %v; want %q", x.claims, p.Actor(), p.Rank, err, x.want)
		}
	}
}

// An issuer that cannot be read or answers rubbish is told at start, and so is one that we are told to trust without reason.
func TestIssuerAtStart(t *testing.T) {
	t.Parallel()
	c := &clock{now: time.Unix(1_800_000_000, 0)}
	key := ecKey(t)
	const about, keys = "/.well-known/openid-configuration", "/keys"
	says := func(format string, args ...any) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { _, _ = fmt.Fprintf(w, format, args...) }
	}
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	set := func(keys ...jose.JSONWebKey) func(http.ResponseWriter) {
		data, err := json.Marshal(jose.JSONWebKeySet{Keys: keys})
		if err != nil {
			t.Fatal(err)
		}
		return says("%s", data)
	}
	for name, x := range map[string]struct {
		path   string
		answer func(http.ResponseWriter)
		change func(*door.IssuerConfig)
		want   string
	}{
		"fine":              {"", nil, nil, ""},
		"no audience":       {"", nil, func(c *door.IssuerConfig) { c.Audience = "" }, "without an audience"},
		"in the clear":      {"", nil, func(c *door.IssuerConfig) { c.URL = "http://issuer.example" }, "has to be https"},
		"no address":        {"", nil, func(c *door.IssuerConfig) { c.URL = "issuer" }, "is no address"},
		"with a password":   {"", nil, func(c *door.IssuerConfig) { c.URL = "https://a:b@issuer.example" }, "is no address"},
		"nobody there":      {"", nil, func(c *door.IssuerConfig) { c.URL = "http://127.0.0.1:1" }, "connection refused"},
		"unknown role":      {"", nil, func(c *door.IssuerConfig) { c.Roles = map[string]string{"boss": "root"} }, `"boss" means`},
		"an error":          {about, func(w http.ResponseWriter) { w.WriteHeader(500) }, nil, "500"},
		"elsewhere":         {about, func(w http.ResponseWriter) { w.Header().Set("Location", "/keys"); w.WriteHeader(302) }, nil, "302"},
		"a page":            {about, says("<html>"), nil, "something else"},
		"nothing":           {about, says("{}"), nil, `it says that it is ""`},
		"another issuer":    {about, says(`{"issuer":"https://evil.example","jwks_uri":"https://evil.example"}`), nil, "evil.example"},
		"endless":           {about, says("%s", strings.Repeat(" ", 300<<10)), nil, "more than"},
		"keys are a page":   {keys, says("<html>"), nil, "something else"},
		"keys are missing":  {keys, func(w http.ResponseWriter) { w.WriteHeader(404) }, nil, "404"},
		"no keys":           {keys, says(`{"keys":[]}`), nil, "has no key"},
		"a list":            {keys, says(`[]`), nil, "something else"},
		"a secret":          {keys, set(jose.JSONWebKey{Key: []byte("secret"), KeyID: "k"}), nil, "has no key"},
		"a private key":     {keys, set(jose.JSONWebKey{Key: key, KeyID: "k"}), nil, "has no key"},
		"without a name":    {keys, set(jwk("", key.Public())), nil, "has no key"},
		"too short":         {keys, set(jwk("k", weak.Public())), nil, "has no key"},
		"not on the curve":  {keys, says(`{"keys":[{"kty":"EC","crv":"P-256","kid":"k","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE","y":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE"}]}`), nil, "has no key"},
		"two of one name":   {keys, set(jwk("k", key.Public()), jwk("k", rsaKey().Public())), nil, "two of its keys"},
		"too many":          {keys, says(`{"keys":[%s{}]}`, strings.Repeat("{},", 64)), nil, "too many"},
		"for another use":   {keys, set(jose.JSONWebKey{Key: key.Public(), KeyID: "k", Use: "enc"}), nil, "has no key"},
		"another algorithm": {keys, set(jose.JSONWebKey{Key: key.Public(), KeyID: "k", Algorithm: "ECDH-ES"}), nil, "has no key"},
	} {
		o := stranger(t, c, jwk("k", key.Public()))
		config := door.IssuerConfig{URL: o.URL, Audience: "souk-mall", Clock: c}
		if x.answer != nil {
			o.answer[x.path] = x.answer
		}
		if x.change != nil {
			x.change(&config)
		}
		_, err := door.OpenIssuer(t.Context(), config)
		if (err == nil) != (x.want == "") || err != nil && !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %q", name, err, x.want)
		}
	}
	// Its keys may not lie where somebody else can answer.
	o := stranger(t, c)
	for _, at := range []string{"http://keys.example/k", "ftp://127.0.0.1/k", "/keys", ""} {
		o.answer[about] = says(`{"issuer":%q,"jwks_uri":%q}`, o.URL, at)
		if _, err := door.OpenIssuer(t.Context(), door.IssuerConfig{URL: o.URL, Audience: "souk-mall", Clock: c}); err == nil {
			t.Errorf("keys are read at %q", at)
		}
	}
}

// FAILURES 11: keys are rotated and taken back, and the issuer goes away for a while, or for good.
func TestIssuerKeys(t *testing.T) {
	t.Parallel()
	c := &clock{now: time.Unix(1_800_000_000, 0)}
	first, second, third := ecKey(t), ecKey(t), ecKey(t)
	o := stranger(t, c, jwk("1", first.Public()))
	a, i := o.open(door.IssuerConfig{})
	stands := func(what, token string, want bool) {
		t.Helper()
		if _, err := a.Verify(token, "staff"); (err == nil) != want {
			t.Errorf("%s: %v", what, err)
		}
	}
	claims := with1(o.claims(), "exp", c.Now().Add(24*time.Hour).Unix())
	old := sign(t, jwt.SigningMethodES256, "1", first, claims, nil)
	next := sign(t, jwt.SigningMethodES256, "2", second, claims, nil)
	stands("the first", old, true)
	stands("one that nobody knows yet", next, false)
	reads := o.reads.Load()

	// A flood of unknown keys, from many at once, asks the issuer at a bounded rate.
	o.set(func() { o.keys = []any{jwk("1", first.Public()), jwk("2", second.Public())} })
	flood := func(n int) {
		var all sync.WaitGroup
		for w := range 8 {
			all.Go(func() {
				for k := range n {
					token := sign(t, jwt.SigningMethodES256, fmt.Sprint("no", w, "-", k), third, claims, nil)
					if _, err := a.Verify(token, "staff"); !errors.Is(err, door.ErrToken) {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
	}
	flood(50)
	stands("the second within the pause", next, false)
	if n := o.reads.Load() - reads; n != 0 {
		t.Errorf("it was asked %d times in a moment", n)
	}
	c.move(10 * time.Second)
	stands("the second, by being asked for", next, true)
	stands("the first beside it", old, true)
	flood(50)
	if n := o.reads.Load() - reads; n != 1 {
		t.Errorf("it was asked %d times", n)
	}

	// A key that is taken back ends what it opened, from the cache as well, and its open streams.
	p, err := a.Verify(old, "staff")
	if err != nil {
		t.Fatal(err)
	}
	q, err := a.Verify(next, "staff")
	if err != nil {
		t.Fatal(err)
	}
	cut, done := a.Follow(t.Context(), &p)
	defer done()
	stays, done := a.Follow(t.Context(), &q)
	defer done()
	o.set(func() { o.keys = o.keys[1:] })
	if err := i.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	stands("the first, taken back", old, false)
	stands("the second", next, true)
	if cut.Err() == nil || stays.Err() != nil {
		t.Errorf("streams: %v, %v", cut.Err(), stays.Err())
	}
	// Another key under the same name is another key.
	o.set(func() { o.keys = []any{jwk("2", third.Public())} })
	if err := i.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	stands("the second, exchanged", next, false)
	if stays.Err() == nil {
		t.Error("the stream of an exchanged key stays open")
	}
	now := sign(t, jwt.SigningMethodES256, "2", third, claims, nil)
	stands("what stands there now", now, true)

	// While the issuer is away, or answers rubbish, the last keys are believed, for a day and no longer.
	for _, trouble := range []func(){
		func() { o.away = true },
		func() {
			o.away = false
			o.answer["/keys"] = func(w http.ResponseWriter) { _, _ = io.WriteString(w, `{"keys":[]}`) }
		},
		func() { o.answer["/keys"] = func(w http.ResponseWriter) { _, _ = io.WriteString(w, `<html>`) } },
		func() {
			o.answer["/.well-known/openid-configuration"] = func(w http.ResponseWriter) { _, _ = io.WriteString(w, `{"issuer":"https://evil.example"}`) }
		},
	} {
		o.set(trouble)
		if err := i.Refresh(t.Context()); err == nil {
			t.Error("no trouble")
		}
		stands("while it is in trouble", now, true)
	}
	unread := sign(t, jwt.SigningMethodES256, "2", third, claims, nil)
	stands("one that is not in the cache", unread, true)
	c.move(24*time.Hour - 10*time.Minute)
	late := sign(t, jwt.SigningMethodES256, "2", third, o.claims(), nil)
	stands("within the day", late, true)
	open, err := a.Verify(late, "staff")
	if err != nil {
		t.Fatal(err)
	}
	follows, done := a.Follow(t.Context(), &open)
	defer done()
	c.move(11 * time.Minute)
	stands("after it", late, false)
	stands("after it, anew", sign(t, jwt.SigningMethodES256, "2", third, o.claims(), nil), false)
	if err := i.Refresh(t.Context()); err == nil || follows.Err() == nil {
		t.Errorf("%v; streams: %v", err, follows.Err())
	}
	o.set(func() { clear(o.answer) })
	if err := i.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	stands("when it is back", late, true)
}

// ended counts requests that came to an end.
type ended struct{ atomic.Int64 }

func (e *ended) RoundTrip(r *http.Request) (*http.Response, error) {
	defer e.Add(1)
	return (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
}

// A reading that hangs holds up a bounded number of requests, and no others.
func TestIssuerHangs(t *testing.T) {
	t.Parallel()
	c := &clock{now: time.Unix(1_800_000_000, 0)}
	key, other := ecKey(t), ecKey(t)
	o := stranger(t, c, jwk("1", key.Public()))
	over := &ended{}
	a, _ := o.open(door.IssuerConfig{Client: &http.Client{Transport: over}})
	c.move(time.Minute)
	before := over.Load()
	hang := make(chan struct{})
	o.set(func() { o.hang = hang })
	const many = 200
	answered := make(chan error, many)
	for n := range many {
		token := sign(t, jwt.SigningMethodES256, fmt.Sprint("no", n), other, o.claims(), nil)
		go func() {
			_, err := a.Verify(token, "staff")
			answered <- err
		}()
	}
	for range many - 64 {
		if err := <-answered; !errors.Is(err, door.ErrToken) {
			t.Error(err)
		}
	}
	if over.Load() != before {
		t.Error("more than 64 waited until the reading was given up")
	}
	good := sign(t, jwt.SigningMethodES256, "1", key, o.claims(), nil)
	if _, err := a.Verify(good, "staff"); err != nil {
		t.Errorf("whose key is known waits, too: %v", err)
	}
	close(hang)
	for range 64 {
		if err := <-answered; !errors.Is(err, door.ErrToken) {
			t.Error(err)
		}
	}
}

// The door and its policy know bearers of outside tokens by what the issuer says they are, and by nothing else.
func TestOutsideAtTheDoor(t *testing.T) {
	t.Parallel()
	orders := map[string]string{"o1": "C1", "o2": "C2"}
	w := open(t, door.Config{},
		door.Route{Pattern: "GET /order/{id}", Access: door.Access{door.Customer: door.Own, door.Staff: door.All}, Handle: func(w http.ResponseWriter, r *door.Request) error {
			if !r.Caller.Owns(orders[r.PathValue("id")]) {
				return door.NotFound("order")
			}
			return fine(w, r)
		}},
		door.Route{Pattern: "POST /prices", Access: door.Access{door.Staff: door.All}, Managers: true, Handle: fine},
		door.Route{Pattern: "GET /robots", Access: door.Access{door.Robot: door.All, door.Device: door.All}, Handle: fine},
	)
	key := ecKey(t)
	o := stranger(t, w.clock, jwk("k", key.Public()))
	o.believe(w.authority, door.IssuerConfig{})
	token := func(role, subject string, more ...any) string {
		claims := with1(with1(o.claims(), "role", role), "sub", subject)
		for n := 0; n < len(more); n += 2 {
			claims[more[n].(string)] = more[n+1]
		}
		return sign(t, jwt.SigningMethodES256, "k", key, claims, nil)
	}
	status := func(want int, method, path, token string, change ...func(*http.Request)) {
		t.Helper()
		if rec := w.do(request(method, path, "", append(change, bearer(token))...)); rec.Code != want {
			t.Errorf("%s %s: %d, want %d: %s", method, path, rec.Code, want, rec.Body)
		}
	}
	c1 := token("customer", "C1")
	status(200, "GET", "/order/o1", c1)
	status(404, "GET", "/order/o2", c1)
	// Whom else the token or the request speaks of is of no account.
	status(404, "GET", "/order/o2", token("customer", "C1", "customer", "C2", "act", map[string]any{"sub": "C2"}, "preferred_username", "C2"))
	status(404, "GET", "/order/o2", c1, with("X-User-Id", "C2"), with("Souk-Actor", "customer:C2"))
	status(403, "POST", "/prices", c1)
	status(403, "POST", "/prices", token("clerk", "anna"))
	status(200, "POST", "/prices", token("manager", "bo"))
	status(403, "GET", "/robots", token("manager", "bo"))
	status(401, "GET", "/robots", token("robot", "robot-1"))
	status(401, "GET", "/robots", token("device", "kiosk-1"))
	// An outside token in a cookie lets in as long as it lives, and is never turned into a session of ours.
	clerk := token("clerk", "anna")
	w.clock.move(50 * time.Minute)
	rec := w.do(request("GET", "/order/o1", "", with("Cookie", "souk="+clerk)))
	if rec.Code != 200 || len(rec.Result().Cookies()) != 0 {
		t.Errorf("%d %v", rec.Code, rec.Result().Cookies())
	}
	// What is revoked here is worth nothing, whatever the issuer says; who signs in there again comes in again.
	again := func(at time.Time) string { return token("clerk", "anna", "auth_time", at.Unix()) }
	before := again(w.clock.Now())
	if err := w.authority.RevokeSubject(door.Staff, "anna"); err != nil {
		t.Fatal(err)
	}
	status(401, "GET", "/order/o1", clerk)
	status(401, "GET", "/order/o1", before)
	w.clock.move(time.Second)
	status(401, "GET", "/order/o1", again(w.clock.Now().Add(-time.Minute))) // a new token of the old session
	status(200, "GET", "/order/o1", again(w.clock.Now()))
	out := token("customer", "C1", "sid", "s9")
	status(204, "POST", "/sign-out", out)
	status(401, "GET", "/order/o1", out)
	status(401, "GET", "/order/o1", token("customer", "C1", "sid", "s9", "jti", "another of the session"))
	status(200, "GET", "/order/o1", token("customer", "C1", "sid", "s10"))
}
