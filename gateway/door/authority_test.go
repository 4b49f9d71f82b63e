package door_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"example.org/souk/gateway/door"
)

func authority(t *testing.T) (*door.Authority, *clock, string) {
	t.Helper()
	c, dir := &clock{now: time.Unix(1_800_000_000, 0)}, filepath.Join(t.TempDir(), "auth")
	a, err := door.OpenAuthority(dir, c)
	if err != nil {
		t.Fatal(err)
	}
	return a, c, dir
}

// signingKey reads the key that an attacker does not have, to forge tokens that are wrong in one point only.
func signingKey(t *testing.T, dir string) (kid string, private ed25519.PrivateKey) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "signing-keys.json"))
	if err != nil {
		t.Fatal(err)
	}
	var keys []struct {
		Kid  string `json:"kid"`
		Seed []byte `json:"seed"`
	}
	if err := json.Unmarshal(data, &keys); err != nil {
		t.Fatal(err)
	}
	last := keys[len(keys)-1]
	return last.Kid, ed25519.NewKeyFromSeed(last.Seed)
}

func TestForgedTokens(t *testing.T) {
	t.Parallel()
	a, c, dir := authority(t)
	kid, private := signingKey(t, dir)
	called := make(chan string, 10)
	trap := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { called <- r.URL.Path }))
	defer trap.Close()
	now := c.Now()
	good := func() (jwt.MapClaims, map[string]any) {
		return jwt.MapClaims{
			"iss": "souk", "aud": []string{"online"}, "sub": "C1", "role": "customer", "sid": "s1", "jti": "j",
			"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Minute).Unix(), "auth_time": now.Unix(),
		}, map[string]any{"kid": kid, "typ": "at+jwt"}
	}
	_, stranger, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public := private.Public().(ed25519.PublicKey)
	type change func(claims jwt.MapClaims, header map[string]any)
	claim := func(name string, value any) change {
		return func(c jwt.MapClaims, _ map[string]any) { c[name] = value }
	}
	head := func(name string, value any) change {
		return func(_ jwt.MapClaims, h map[string]any) { h[name] = value }
	}
	without := func(name string) change { return func(c jwt.MapClaims, _ map[string]any) { delete(c, name) } }
	for name, f := range map[string]struct {
		method jwt.SigningMethod
		key    any
		change change
	}{
		"alg none":                  {jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil},
		"HS256 with the public key": {jwt.SigningMethodHS256, []byte(public), nil},
		"another key":               {jwt.SigningMethodEdDSA, stranger, nil},
		"kid outside":               {jwt.SigningMethodEdDSA, private, head("kid", "../../etc/passwd")},
		"kid injection":             {jwt.SigningMethodEdDSA, private, head("kid", "' OR 1=1 --")},
		"kid no text":               {jwt.SigningMethodEdDSA, private, head("kid", 1)},
		"no kid":                    {jwt.SigningMethodEdDSA, private, func(_ jwt.MapClaims, h map[string]any) { delete(h, "kid") }},
		"jku":                       {jwt.SigningMethodEdDSA, stranger, head("jku", trap.URL)},
		"jku, right key":            {jwt.SigningMethodEdDSA, private, head("jku", trap.URL)},
		"x5u":                       {jwt.SigningMethodEdDSA, stranger, head("x5u", trap.URL)},
		"jwk": {jwt.SigningMethodEdDSA, stranger, head("jwk", map[string]string{
			"kty": "OKP", "crv": "Ed25519",
			"x": base64.RawURLEncoding.EncodeToString(stranger.Public().(ed25519.PublicKey)),
		})},
		"crit":                 {jwt.SigningMethodEdDSA, private, head("crit", []string{"b64"})},
		"ID token":             {jwt.SigningMethodEdDSA, private, head("typ", "JWT")},
		"wrong issuer":         {jwt.SigningMethodEdDSA, private, claim("iss", "evil")},
		"no issuer":            {jwt.SigningMethodEdDSA, private, without("iss")},
		"another gateway":      {jwt.SigningMethodEdDSA, private, claim("aud", []string{"robots"})},
		"no audience":          {jwt.SigningMethodEdDSA, private, without("aud")},
		"expired":              {jwt.SigningMethodEdDSA, private, claim("exp", now.Add(-61*time.Second).Unix())},
		"no expiry":            {jwt.SigningMethodEdDSA, private, without("exp")},
		"not yet":              {jwt.SigningMethodEdDSA, private, claim("nbf", now.Add(61*time.Second).Unix())},
		"no nbf":               {jwt.SigningMethodEdDSA, private, without("nbf")},
		"issued in the future": {jwt.SigningMethodEdDSA, private, claim("iat", now.Add(61*time.Second).Unix())},
		"no iat":               {jwt.SigningMethodEdDSA, private, without("iat")},
		"lives too long":       {jwt.SigningMethodEdDSA, private, claim("exp", now.Add(25*time.Hour).Unix())},
		"unknown role":         {jwt.SigningMethodEdDSA, private, claim("role", "root")},
		"no session":           {jwt.SigningMethodEdDSA, private, without("sid")},
		"no beginning":         {jwt.SigningMethodEdDSA, private, without("auth_time")},
		"subject is no id":     {jwt.SigningMethodEdDSA, private, claim("sub", "a b\n")},
	} {
		claims, header := good()
		if f.change != nil {
			f.change(claims, header)
		}
		token := jwt.NewWithClaims(f.method, claims)
		for k, v := range header {
			token.Header[k] = v
		}
		if _, ok := header["kid"]; !ok {
			delete(token.Header, "kid")
		}
		signed, err := token.SignedString(f.key)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for range 2 { // the second time it may not come from a cache
			if _, err := a.Verify(signed, "online"); !errors.Is(err, door.ErrToken) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	claims, header := good()
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, claims)
	token.Header["kid"], token.Header["typ"] = header["kid"], header["typ"]
	signed, err := token.SignedString(private)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := a.Verify(signed, "online"); err != nil || p.Subject != "C1" || p.Role != door.Customer {
		t.Errorf("the control fails: %v, %v", p, err)
	}
	for _, broken := range []string{"", ".", "..", "a.b.c", signed[:len(signed)-2], signed + "A", " " + signed, strings.Repeat("a", 1<<20), signed + "." + signed} {
		if _, err := a.Verify(broken, "online"); !errors.Is(err, door.ErrToken) {
			t.Errorf("%.20q: %v", broken, err)
		}
	}
	if len(called) > 0 {
		t.Errorf("a token made us call %s", <-called)
	}
}

func TestTokensExpire(t *testing.T) {
	t.Parallel()
	a, c, _ := authority(t)
	token, p, err := a.Issue(door.Grant{Role: door.Customer, Subject: "C1"})
	if err != nil || !p.Expires.Equal(c.Now().Add(door.DefaultTTL)) {
		t.Fatalf("%v, %v", p, err)
	}
	if _, err := a.Verify(token, "staff"); !errors.Is(err, door.ErrToken) {
		t.Errorf("a customer's token at the staff's gateway: %v", err)
	}
	c.move(door.DefaultTTL + time.Minute)
	if _, err := a.Verify(token, "online"); err != nil {
		t.Errorf("within the leeway: %v", err)
	}
	c.move(time.Second)
	if _, err := a.Verify(token, "online"); !errors.Is(err, door.ErrToken) {
		t.Errorf("after it: %v", err)
	}
	for _, g := range []door.Grant{{}, {Role: "root", Subject: "a"}, {Role: door.Staff}, {Role: door.Staff, Subject: "a b"}, {Role: door.Staff, Subject: "a", TTL: 25 * time.Hour}} {
		if _, _, err := a.Issue(g); err == nil {
			t.Errorf("%+v was granted", g)
		}
		if _, err := a.Link(g); err == nil {
			t.Errorf("%+v was granted", g)
		}
	}
}

func TestKeysRotateAndSurvive(t *testing.T) {
	t.Parallel()
	a, c, dir := authority(t)
	issue := func() string {
		token, _, err := a.Issue(door.Grant{Role: door.Staff, Subject: "S1", TTL: door.MaxTTL})
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	rotate := func() {
		if err := a.Rotate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	other, err := door.OpenAuthority(dir, c) // as another process would
	if err != nil {
		t.Fatal(err)
	}
	stands := func(token string, want bool) {
		t.Helper()
		if _, err := other.Verify(token, "staff"); (err == nil) != want {
			t.Error(err)
		}
	}
	old := issue()
	rotate()
	stands(issue(), true) // it has not heard of the new key, which signs nothing yet
	c.move(11 * time.Second)
	young := issue()
	stands(young, false) // so that one does
	if err := other.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	stands(young, true)
	stands(old, true)
	if a, err = door.OpenAuthority(dir, c); err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{old, young} {
		if _, err := a.Verify(token, "staff"); err != nil {
			t.Error(err)
		}
	}
	c.move(door.MaxTTL + 2*time.Minute)
	rotate()
	var keys []any
	data, _ := os.ReadFile(filepath.Join(dir, "signing-keys.json"))
	if err := json.Unmarshal(data, &keys); err != nil || len(keys) != 2 {
		t.Errorf("%d keys are kept: %v", len(keys), err)
	}
}

// When keys may have been stolen, all that they signed ends: in the cache, in open streams, and in other processes when they look.
func TestKeysAreForgotten(t *testing.T) {
	t.Parallel()
	a, c, dir := authority(t)
	other, err := door.OpenAuthority(dir, c)
	if err != nil {
		t.Fatal(err)
	}
	token, _, err := a.Issue(door.Grant{Role: door.Staff, Subject: "S1"})
	if err != nil {
		t.Fatal(err)
	}
	kid, private := signingKey(t, dir)
	open := map[*door.Authority]func() bool{}
	for _, one := range []*door.Authority{a, other} {
		p, err := one.Verify(token, "staff")
		if err != nil {
			t.Fatal(err)
		}
		ctx, done := one.Follow(t.Context(), &p)
		defer done()
		open[one] = func() bool { return ctx.Err() == nil }
	}
	if err := a.Forget(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !open[other]() || open[a]() {
		t.Error("the stream here stays open, or the one there does not")
	}
	if err := other.Refresh(t.Context()); err != nil || open[other]() {
		t.Errorf("the stream there stays open: %v", err)
	}
	c.move(time.Minute)
	now := c.Now()
	stolen := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{
		"iss": "souk", "aud": "staff", "sub": "thief", "role": "staff", "sid": "s", "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(), "auth_time": now.Unix(),
	})
	stolen.Header["kid"], stolen.Header["typ"] = kid, "at+jwt"
	forged, err := stolen.SignedString(private)
	if err != nil {
		t.Fatal(err)
	}
	anew, _, err := a.Issue(door.Grant{Role: door.Staff, Subject: "S1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range []*door.Authority{a, other} {
		for _, bad := range []string{token, forged} {
			if _, err := one.Verify(bad, "staff"); !errors.Is(err, door.ErrToken) {
				t.Error(err)
			}
		}
		if _, err := one.Verify(anew, "staff"); err != nil {
			t.Error(err)
		}
	}
}

func TestFilesAreOursAlone(t *testing.T) {
	t.Parallel()
	a, c, dir := authority(t)
	if err := a.RevokeSession("s1"); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Fatalf("%v, %v", entries, err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", e.Name(), info.Mode(), err)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	path := filepath.Join(dir, "signing-keys.json")
	for _, damage := range []func() error{
		func() error { return os.Chmod(path, 0o644) },
		func() error { return errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, []byte("[]"), 0o600)) },
		func() error { return os.WriteFile(path, []byte(`[{"kid":"a","seed":"AA=="}]`), 0o600) },
		func() error { return os.WriteFile(path, []byte("{"), 0o600) },
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		if _, err := door.OpenAuthority(dir, c); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%v", err)
		}
	}
}

func TestRevocationHolds(t *testing.T) {
	t.Parallel()
	a, c, dir := authority(t)
	issue := func(subject string) (string, door.Principal) {
		token, p, err := a.Issue(door.Grant{Role: door.Customer, Subject: subject})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Verify(token, "online"); err != nil { // and into the cache
			t.Fatal(err)
		}
		return token, p
	}
	one, p := issue("C1")
	two, _ := issue("C1")
	other, _ := issue("C2")
	stands := func(token string, want bool) {
		t.Helper()
		if _, err := a.Verify(token, "online"); (err == nil) != want {
			t.Errorf("%v", err)
		}
	}
	if err := a.RevokeSession(p.Session); err != nil {
		t.Fatal(err)
	}
	stands(one, false)
	stands(two, true)
	if err := a.RevokeSubject(door.Customer, "C1"); err != nil {
		t.Fatal(err)
	}
	stands(two, false)
	stands(other, true)
	c.move(time.Second)
	later, _ := issue("C1")
	stands(later, true)
	var err error
	if a, err = door.OpenAuthority(dir, c); err != nil { // a restart forgives nothing
		t.Fatal(err)
	}
	stands(one, false)
	stands(two, false)
	stands(later, true)
}

func TestSignInOnce(t *testing.T) {
	t.Parallel()
	for _, tls := range []bool{false, true} {
		w := open(t, door.Config{TLS: tls}, door.Route{Pattern: "GET /x", Access: everybody, Handle: fine})
		code, err := w.authority.Link(door.Grant{Role: door.Customer, Subject: "C1"})
		if err != nil || len(code) < 22 {
			t.Fatal(code, err)
		}
		for range 3 { // looking at it does not use it up
			if rec := w.do(request("GET", "/sign-in/"+code, "")); rec.Code != 200 || !strings.Contains(rec.Body.String(), `method="post"`) {
				t.Fatalf("%d %s", rec.Code, rec.Body)
			}
		}
		refused(t, w.do(request("POST", "/sign-in/"+code, "", with("Sec-Fetch-Site", "cross-site"))), 403, "foreign_origin")
		rec := w.do(request("POST", "/sign-in/"+code, ""))
		if rec.Code != 303 || rec.Header().Get("Location") != "/" || len(rec.Result().Cookies()) != 1 {
			t.Fatalf("%d %v", rec.Code, rec.Header())
		}
		c := rec.Result().Cookies()[0]
		if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Secure != tls || c.Path != "/" || c.Domain != "" || strings.HasPrefix(c.Name, "__Host-") != tls {
			t.Errorf("cookie %v", c)
		}
		refused(t, w.do(request("POST", "/sign-in/"+code, "")), 404, "not_found")
		refused(t, w.do(request("POST", "/sign-in/nothing", "")), 404, "not_found")

		signedIn := with("Cookie", c.Name+"="+c.Value)
		if rec := w.do(request("GET", "/x", "", signedIn)); rec.Code != 200 || !strings.Contains(rec.Body.String(), "customer:C1") || len(rec.Result().Cookies()) != 0 {
			t.Errorf("%d %s", rec.Code, rec.Body)
		}
		w.clock.move(door.DefaultTTL * 2 / 3)
		rec = w.do(request("GET", "/x", "", signedIn))
		if len(rec.Result().Cookies()) != 1 {
			t.Fatal("the session is not renewed")
		}
		renewed := with("Cookie", c.Name+"="+rec.Result().Cookies()[0].Value)
		w.clock.move(door.DefaultTTL)
		refused(t, w.do(request("GET", "/x", "", signedIn)), 401, "unauthenticated")
		if rec := w.do(request("GET", "/livez", "", signedIn)); rec.Code != 200 {
			t.Errorf("an old cookie shuts out of what is public: %d", rec.Code)
		}
		w.clock.move(-door.DefaultTTL / 2)
		if rec := w.do(request("POST", "/sign-out", "", renewed)); rec.Code != 204 || rec.Result().Cookies()[0].Value != "" {
			t.Errorf("%d %v", rec.Code, rec.Header())
		}
		refused(t, w.do(request("GET", "/x", "", renewed)), 401, "unauthenticated")

		late, err := w.authority.Link(door.Grant{Role: door.Customer, Subject: "C1"})
		if err != nil {
			t.Fatal(err)
		}
		w.clock.move(door.LinkTTL + time.Second)
		refused(t, w.do(request("POST", "/sign-in/"+late, "")), 404, "not_found")
		for range 1024 {
			if _, err := w.authority.Link(door.Grant{Role: door.Staff, Subject: "a"}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.authority.Link(door.Grant{Role: door.Staff, Subject: "a"}); err == nil {
			t.Error("links are unbounded")
		}
	}
}

// A session is renewed until its end and not longer.
func TestSessionsEnd(t *testing.T) {
	t.Parallel()
	w := open(t, door.Config{}, door.Route{Pattern: "GET /x", Access: everybody, Handle: fine})
	code, err := w.authority.Link(door.Grant{Role: door.Customer, Subject: "C1"})
	if err != nil {
		t.Fatal(err)
	}
	cookie := w.do(request("POST", "/sign-in/"+code, "")).Result().Cookies()[0]
	began := w.clock.Now()
	for {
		w.clock.move(door.DefaultTTL / 2)
		rec := w.do(request("GET", "/x", "", with("Cookie", "souk="+cookie.Value)))
		if rec.Code != 200 {
			refused(t, rec, 401, "unauthenticated")
			break
		}
		if cookies := rec.Result().Cookies(); len(cookies) == 1 {
			cookie = cookies[0]
		}
	}
	if lived := w.clock.Now().Sub(began); lived < door.MaxSession || lived > door.MaxSession+2*door.DefaultTTL {
		t.Errorf("lived %v", lived)
	}
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	w := open(t, door.Config{}, door.Route{Pattern: "GET /x", Access: everybody, Handle: fine})
	token := w.token(door.Staff, "s")
	for name, r := range map[string]*http.Request{
		"basic":                   request("GET", "/x", "", with("Authorization", "Basic "+token)),
		"bare":                    request("GET", "/x", "", with("Authorization", token)),
		"empty":                   request("GET", "/x", "", with("Authorization", "")),
		"two headers":             request("GET", "/x", "", bearer(token), bearer(token)),
		"cookie":                  request("GET", "/x", "", with("Cookie", "souk=x")),
		"headers":                 request("GET", "/x", "", with("X-User-Id", "s"), with("X-Role", "staff"), with("Nats-User", "s")),
		"bad bearer, good cookie": request("GET", "/x", "", bearer("x"), with("Cookie", "souk="+token)),
	} {
		t.Log(name)
		refused(t, w.do(r), 401, "unauthenticated")
	}
	for _, query := range []string{"token=", "access_token=", "Authorization=", "a=b&jwt="} {
		refused(t, w.do(request("GET", "/x?"+query+token, "", bearer(token))), 401, "token_in_url")
	}
	if rec := w.do(request("GET", "/x", "", with("Authorization", "bearer "+token))); rec.Code != 200 {
		t.Errorf("%d", rec.Code)
	}
	if rec := w.do(request("GET", "/x", "", with("Cookie", "souk="+token))); rec.Code != 200 {
		t.Errorf("%d", rec.Code)
	}
}

// Verified tokens are forgotten in time, and their number is bounded however many there are.
func TestManyTokens(t *testing.T) {
	t.Parallel()
	a, _, _ := authority(t)
	var first string
	for i := range 300 {
		token, _, err := a.Issue(door.Grant{Role: door.Customer, Subject: fmt.Sprintf("C%d", i)})
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = token
		}
		if p, err := a.Verify(token, "online"); err != nil || p.Subject != fmt.Sprintf("C%d", i) {
			t.Fatal(p, err)
		}
	}
	if p, err := a.Verify(first, "online"); err != nil || p.Subject != "C0" {
		t.Error(p, err)
	}
}

func BenchmarkVerify(b *testing.B) {
	c := &clock{now: time.Unix(1_800_000_000, 0)}
	a, err := door.OpenAuthority(b.TempDir(), c)
	if err != nil {
		b.Fatal(err)
	}
	token, _, err := a.Issue(door.Grant{Role: door.Customer, Subject: "C1"})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := a.Verify(token, "online"); err != nil {
			b.Fatal(err)
		}
	}
}

// Who is a clerk and who a manager stands in the token, which nobody but the authority writes; a route for managers keeps clerks out.
func TestRanks(t *testing.T) {
	t.Parallel()
	w := open(t, door.Config{},
		door.Route{Pattern: "GET /m", Access: door.Access{door.Staff: door.All, door.Engineer: door.All}, Managers: true, Handle: fine},
		door.Route{Pattern: "GET /s", Access: door.Access{door.Staff: door.All}, Handle: fine})
	for _, c := range []struct {
		grant        door.Grant
		rank         door.Rank
		manage, shop int
	}{
		{door.Grant{Role: door.Staff, Subject: "s"}, door.Clerk, 403, 200},
		{door.Grant{Role: door.Staff, Rank: door.Clerk, Subject: "s"}, door.Clerk, 403, 200},
		{door.Grant{Role: door.Staff, Rank: door.Manager, Subject: "s"}, door.Manager, 200, 200},
		{door.Grant{Role: door.Engineer, Subject: "e"}, "", 200, 403},
		{door.Grant{Role: door.Customer, Subject: "c"}, "", 403, 403},
	} {
		c.grant.Gates = []string{"online"}
		token, p, err := w.authority.Issue(c.grant)
		if err != nil || p.Rank != c.rank {
			t.Fatalf("%+v: %q, %v", c.grant, p.Rank, err)
		}
		if p, err := w.authority.Verify(token, "online"); err != nil || p.Rank != c.rank {
			t.Errorf("%+v: verified as %q, %v", c.grant, p.Rank, err)
		}
		for path, want := range map[string]int{"/m": c.manage, "/s": c.shop} {
			if rec := w.do(request("GET", path, "", bearer(token))); rec.Code != want {
				t.Errorf("%+v: %s answers %d", c.grant, path, rec.Code)
			}
		}
	}
	for _, g := range []door.Grant{
		{Role: door.Staff, Rank: "owner", Subject: "s"},
		{Role: door.Customer, Rank: door.Manager, Subject: "c"},
		{Role: door.Engineer, Rank: door.Clerk, Subject: "e"},
	} {
		if _, _, err := w.authority.Issue(g); err == nil {
			t.Errorf("%+v was issued", g)
		}
	}
	if err := w.door.Gate("online").Add(door.Route{Pattern: "GET /n", Access: door.Access{door.Customer: door.All}, Managers: true, Handle: fine}); err == nil {
		t.Error("a route for managers that lets no staff in was taken")
	}
}
