package door_test

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"example.org/souk/gateway/door"
	"example.org/souk/internal/testserver"
)

// provider is an OpenID provider where people sign in by a browser.
type provider struct {
	*outside
	key    *ecdsa.PrivateKey
	asked  atomic.Int64
	codes  map[string]url.Values // what each code was asked for with; a code is worth something once
	change func(jwt.MapClaims)   // of the ID tokens
	breaks func(http.ResponseWriter)
}

const redirect = "https://mall.example/oidc/callback"

// signInWorld is a door, and an issuer where people sign in.
func signInWorld(t *testing.T) (*world, *provider) {
	t.Helper()
	c, key := &clock{now: time.Unix(1_800_000_000, 0)}, ecKey(t)
	p := &provider{outside: stranger(t, c, jwk("k", key.Public())), key: key, codes: map[string]url.Values{}, change: func(jwt.MapClaims) {}}
	p.token = p.redeem
	a, _ := p.open(door.IssuerConfig{SignIn: &door.SignInConfig{ID: "mall-pages", Secret: "s3cret", Redirect: redirect}})
	w := &world{t: t, clock: c, authority: a}
	var err error
	if w.door, err = door.New(door.Config{Authority: a, Clock: c, Homes: map[door.Role]string{door.Staff: "/staff"}}); err != nil {
		t.Fatal(err)
	}
	if err := w.door.Gate("staff").Add(door.Route{Pattern: "GET /x", Access: everybody, Handle: fine}); err != nil {
		t.Fatal(err)
	}
	return w, p
}

// redeem answers what a code is worth, as the specifications have it.
func (p *provider) redeem(w http.ResponseWriter, r *http.Request) {
	p.asked.Add(1)
	if p.breaks != nil {
		p.breaks(w)
		return
	}
	user, password, _ := r.BasicAuth()
	asked, known := p.codes[r.PostFormValue("code")]
	delete(p.codes, r.PostFormValue("code"))
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	if r.Method != http.MethodPost || user != "mall-pages" || password != "s3cret" || !known || r.PostFormValue("grant_type") != "authorization_code" ||
		r.PostFormValue("redirect_uri") != asked.Get("redirect_uri") || base64.RawURLEncoding.EncodeToString(sum[:]) != asked.Get("code_challenge") {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		p.say(w, map[string]string{"error": "invalid_grant"})
		return
	}
	claims := p.claims()
	claims["aud"], claims["nonce"] = "mall-pages", asked.Get("nonce")
	p.change(claims)
	w.Header().Set("Content-Type", "application/json")
	p.say(w, map[string]any{"access_token": "opaque", "token_type": "Bearer", "id_token": sign(p.t, jwt.SigningMethodES256, "k", p.key, claims, map[string]any{"typ": "JWT"})})
}

// leave begins to sign in: where the browser is sent, and the cookie that it keeps.
func (w *world) leave(change ...func(*http.Request)) (to *url.URL, cookie string) {
	w.t.Helper()
	rec := w.do(request("GET", "/oidc/sign-in", "", change...))
	cookies := rec.Result().Cookies()
	if rec.Code != http.StatusSeeOther || len(cookies) != 1 {
		w.t.Fatalf("%d %v", rec.Code, rec.Header())
	}
	if c := cookies[0]; !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.MaxAge != 600 || len(c.Value) < 43 {
		w.t.Errorf("cookie %v", c)
	}
	to, err := url.Parse(rec.Header().Get("Location"))
	if err != nil {
		w.t.Fatal(err)
	}
	return to, cookies[0].Name + "=" + cookies[0].Value
}

// let is what an issuer does once somebody has signed in there: it sends the browser back.
func (p *provider) let(to *url.URL) url.Values {
	code := fmt.Sprint("code-", len(p.codes), p.asked.Load())
	p.codes[code] = to.Query()
	return url.Values{"state": {to.Query().Get("state")}, "code": {code}}
}

func (w *world) back(query url.Values, cookie string) *httptest.ResponseRecorder {
	r := request("GET", "/oidc/callback?"+query.Encode(), "", with("Sec-Fetch-Site", "cross-site"))
	if cookie != "" {
		r.Header.Set("Cookie", cookie)
	}
	return w.do(r)
}

// session returns the cookies that let somebody in.
func session(rec *httptest.ResponseRecorder) (list []*http.Cookie) {
	for _, c := range rec.Result().Cookies() {
		if c.Name == "souk" {
			list = append(list, c)
		}
	}
	return list
}

// Somebody signs in at the issuer and is who the issuer says, in a session of ours.
func TestSignInOutside(t *testing.T) {
	t.Parallel()
	w, p := signInWorld(t)
	to, cookie := w.leave(with("Host", "evil.example"))
	q := to.Query()
	if at := to.Scheme + "://" + to.Host + to.Path; at != p.URL+"/authorize" {
		t.Errorf("sent to %s", at)
	}
	for name, want := range map[string]string{
		"client_id": "mall-pages", "response_type": "code", "redirect_uri": redirect, "scope": "openid", "code_challenge_method": "S256",
	} {
		if q.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, q.Get(name), want)
		}
	}
	for _, name := range []string{"state", "nonce", "code_challenge"} {
		if len(q.Get(name)) != 43 {
			t.Errorf("%s is %q", name, q.Get(name))
		}
	}
	if _, value, _ := strings.Cut(cookie, "="); strings.Contains(to.String(), value) {
		t.Error("the secret of the sign-in is in the address")
	}
	rec := w.back(p.let(to), cookie)
	got := session(rec)
	if rec.Code != 200 || len(got) != 1 || got[0].SameSite != http.SameSiteStrictMode || !got[0].HttpOnly || !strings.Contains(rec.Body.String(), `content="0;url=/staff"`) {
		t.Fatalf("%d %v %s", rec.Code, rec.Header(), rec.Body)
	}
	if rec := w.do(request("GET", "/x", "", with("Cookie", "souk="+got[0].Value))); rec.Code != 200 || !strings.Contains(rec.Body.String(), "staff:anna") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	// The session is ours: it is renewed, and ended, like any other.
	w.clock.move(door.DefaultTTL * 2 / 3)
	if rec := w.do(request("GET", "/x", "", with("Cookie", "souk="+got[0].Value))); len(session(rec)) != 1 {
		t.Error("the session is not renewed")
	}
	if err := w.authority.RevokeSubject(door.Staff, "anna"); err != nil {
		t.Fatal(err)
	}
	refused(t, w.do(request("GET", "/x", "", with("Cookie", "souk="+got[0].Value))), 401, "unauthenticated")
}

// FAILURES 13: nobody is signed in by what was used before, began elsewhere, or was meant for somebody else.
func TestSignInOutsideIsGuarded(t *testing.T) {
	t.Parallel()
	w, p := signInWorld(t)
	fails := func(what string, rec *httptest.ResponseRecorder, status int) {
		t.Helper()
		if rec.Code != status || len(session(rec)) != 0 || strings.Contains(rec.Body.String(), "code-") {
			t.Errorf("%s: %d %v %s", what, rec.Code, rec.Header(), rec.Body)
		}
	}
	to, cookie := w.leave()
	other, otherCookie := w.leave()
	if to.Query().Get("state") == other.Query().Get("state") || cookie == otherCookie {
		t.Error("two sign-ins are the same")
	}
	fails("without the browser that began", w.back(p.let(to), ""), 400)
	fails("with another browser", w.back(p.let(to), otherCookie), 400)
	without := p.let(to)
	delete(without, "state")
	fails("without a state", w.back(without, cookie), 400)
	fails("without anything", w.back(url.Values{}, ""), 400)
	mixed := p.let(to)
	mixed.Set("iss", "https://evil.example")
	fails("from another issuer", w.back(mixed, cookie), 400)
	if n := p.asked.Load(); n != 0 {
		t.Errorf("the issuer was asked %d times for that", n)
	}

	// A state comes back once, though its cookie and another code come with it.
	if rec := w.back(p.let(to), cookie); len(session(rec)) != 1 {
		t.Fatalf("the control fails: %d %s", rec.Code, rec.Body)
	}
	asked := p.asked.Load()
	fails("a state again", w.back(p.let(to), cookie), 400)
	if p.asked.Load() != asked {
		t.Error("the issuer was asked again")
	}
	fresh := func(change func(url.Values)) *httptest.ResponseRecorder {
		t.Helper()
		to, cookie := w.leave()
		q := p.let(to)
		change(q)
		return w.back(q, cookie)
	}
	// Somebody else's code is worth nothing here, since its proof is in their browser; nor is one that was used.
	theirs, _ := w.leave()
	stolen := p.let(theirs).Get("code")
	fails("a stolen code", fresh(func(q url.Values) { q.Set("code", stolen) }), 403)
	fails("a code again", fresh(func(q url.Values) { q.Set("code", stolen) }), 403)
	fails("a code that never was", fresh(func(q url.Values) { q.Set("code", "x") }), 403)
	fails("an error", fresh(func(q url.Values) {
		delete(q, "code")
		q.Set("error", "access_denied")
		q.Set("error_description", "code-<script>")
	}), 403)
	fails("a token in the address", fresh(func(q url.Values) { q.Set("access_token", "x") }), 401)
	// The issuer's own answer is looked at as well.
	for what, change := range map[string]func(jwt.MapClaims){
		"another nonce":       func(c jwt.MapClaims) { c["nonce"] = theirs.Query().Get("nonce") },
		"no nonce":            func(c jwt.MapClaims) { delete(c, "nonce") },
		"another client":      func(c jwt.MapClaims) { c["aud"] = "other" },
		"an access token":     func(c jwt.MapClaims) { c["aud"] = "souk-mall" },
		"given to another":    func(c jwt.MapClaims) { c["azp"] = "other" },
		"another issuer":      func(c jwt.MapClaims) { c["iss"] = "https://evil.example" },
		"expired":             func(c jwt.MapClaims) { c["exp"] = w.clock.Now().Add(-2 * time.Minute).Unix() },
		"no role":             func(c jwt.MapClaims) { delete(c, "role") },
		"a role of its own":   func(c jwt.MapClaims) { c["role"] = "device" },
		"a subject of no use": func(c jwt.MapClaims) { c["sub"] = "a b" },
	} {
		p.change = change
		fails(what, fresh(func(url.Values) {}), 403)
	}
	p.change = func(jwt.MapClaims) {}
	p.breaks = func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) }
	fails("an issuer in trouble", fresh(func(url.Values) {}), 503)
	p.breaks = func(w http.ResponseWriter) {
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(http.StatusTemporaryRedirect)
	}
	fails("an issuer that sends us elsewhere", fresh(func(url.Values) {}), 403)
	p.breaks = func(w http.ResponseWriter) { p.say(w, map[string]string{"access_token": "x", "token_type": "Bearer"}) }
	fails("no ID token", fresh(func(url.Values) {}), 403)
	p.breaks = nil
	// Where somebody goes then is ours to say.
	rec := fresh(func(q url.Values) {
		q.Set("next", "https://evil.example")
		q.Set("redirect_uri", "https://evil.example")
	})
	if len(session(rec)) != 1 || strings.Contains(rec.Body.String(), "evil") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	// Whoever makes up sign-ins has the issuer asked at a bounded rate.
	asked = p.asked.Load()
	statuses := map[int]int{}
	for range 300 {
		statuses[fresh(func(q url.Values) { q.Set("code", "x") }).Code]++
	}
	if n := p.asked.Load() - asked; n > 100 || statuses[403]+statuses[429] != 300 || statuses[429] == 0 {
		t.Errorf("the issuer was asked %d times: %v", n, statuses)
	}
}

func TestSignInOutsideIsConfigured(t *testing.T) {
	t.Parallel()
	c, key := &clock{now: time.Unix(1_800_000_000, 0)}, ecKey(t)
	o := stranger(t, c, jwk("k", key.Public()))
	for want, s := range map[string]door.SignInConfig{
		"as a client": {Redirect: redirect}, "ID tokens would let people in": {ID: "souk-mall", Redirect: redirect},
		"has to be https": {ID: "pages", Redirect: "http://mall.example/oidc/callback"}, "is no address": {ID: "pages"},
	} {
		if _, err := door.OpenIssuer(t.Context(), door.IssuerConfig{URL: o.URL, Audience: "souk-mall", SignIn: &s, Clock: c}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	// Where nobody signs in there are no routes for it, and an issuer without a sign-in is as good as any.
	o.answer["/.well-known/openid-configuration"] = func(w http.ResponseWriter) {
		o.say(w, map[string]string{"issuer": o.URL, "jwks_uri": o.URL + "/keys", "authorization_endpoint": "http://elsewhere.example"})
	}
	a, _ := o.open(door.IssuerConfig{})
	d, err := door.New(door.Config{Authority: a, Clock: c})
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(d.Routes(), func(r door.Route) bool { return strings.Contains(r.Pattern, "oidc") }) {
		t.Error("there are routes")
	}
	if _, err := door.OpenIssuer(t.Context(), door.IssuerConfig{URL: o.URL, Audience: "souk-mall", SignIn: &door.SignInConfig{ID: "pages", Redirect: redirect}, Clock: c}); err == nil {
		t.Error("people are sent elsewhere")
	}
	// A public client has no secret, and says who it is in the form; so does one whose issuer wants that.
	for _, secret := range []string{"", "s"} {
		o.answer["/.well-known/openid-configuration"] = func(w http.ResponseWriter) {
			o.say(w, map[string]any{
				"issuer": o.URL, "jwks_uri": o.URL + "/keys", "authorization_endpoint": o.URL + "/authorize", "token_endpoint": o.URL + "/token",
				"token_endpoint_auth_methods_supported": []string{"client_secret_post"},
			})
		}
		var form url.Values
		o.token = func(w http.ResponseWriter, r *http.Request) {
			if _, _, basic := r.BasicAuth(); basic || r.ParseForm() != nil {
				t.Error("it says who it is in a header")
			}
			form = maps.Clone(r.PostForm)
			w.WriteHeader(http.StatusBadRequest)
		}
		a, _ := o.open(door.IssuerConfig{SignIn: &door.SignInConfig{ID: "pages", Secret: secret, Redirect: redirect}})
		w := &world{t: t, clock: c, authority: a}
		if w.door, err = door.New(door.Config{Authority: a, Clock: c}); err != nil {
			t.Fatal(err)
		}
		to, cookie := w.leave()
		w.back(url.Values{"state": {to.Query().Get("state")}, "code": {"x"}}, cookie)
		if form.Get("client_id") != "pages" || form.Get("client_secret") != secret || form.Get("code_verifier") == "" {
			t.Errorf("%v", form)
		}
	}
}

// In a browser: who comes back from another site is signed in on the page that follows, though the session's cookie is kept from other sites.
func TestSignInOutsideInABrowser(t *testing.T) {
	t.Parallel()
	c, key := &clock{now: time.Unix(1_800_000_000, 0)}, ecKey(t)
	p := &provider{outside: stranger(t, c, jwk("k", key.Public())), key: key, codes: map[string]url.Values{}, change: func(jwt.MapClaims) {}}
	p.token = p.redeem
	p.URL = strings.Replace(p.URL, "127.0.0.1", "localhost", 1) // another site than that of the mall
	var mall *door.Door
	pages := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { mall.ServeHTTP(w, r) }))
	defer pages.Close()
	a, _ := p.open(door.IssuerConfig{SignIn: &door.SignInConfig{ID: "mall-pages", Secret: "s3cret", Redirect: pages.URL + door.CallbackPath}})
	var err error
	if mall, err = door.New(door.Config{Authority: a, Clock: c, Homes: map[door.Role]string{door.Staff: "/x"}}); err != nil {
		t.Fatal(err)
	}
	if err := mall.Gate("staff").Add(door.Route{Pattern: "GET /x", Access: everybody, Handle: fine}); err != nil {
		t.Fatal(err)
	}
	asked := make(chan url.Values, 1)
	p.pages = map[string]http.HandlerFunc{
		"/authorize": func(w http.ResponseWriter, r *http.Request) {
			asked <- r.URL.Query()
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte(`<form action="/let"><button>Let me in</button></form>`))
		},
		"/let": func(w http.ResponseWriter, r *http.Request) {
			q := <-asked
			http.Redirect(w, r, q.Get("redirect_uri")+"?"+p.let(&url.URL{RawQuery: q.Encode()}).Encode(), http.StatusFound)
		},
	}
	page := testserver.OpenPage(t, time.Minute)
	page.Go(pages.URL + door.SignInPath)
	page.Touch("button")
	page.Loaded(`location.pathname === "/x"`)
	if at := page.Text("body"); !strings.Contains(at, "staff:anna") {
		t.Errorf("it sees %s", at)
	}
}
