package door

import (
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"

	"example.org/souk/backbone"
	"example.org/souk/mall"
)

// Bounds of what an issuer outside of the mall may cost, and of how long it is believed.
const (
	// keysEvery is how often the keys of an issuer are read: a key that it took back is worth nothing after that.
	keysEvery = 5 * time.Minute
	// keysFor is for how long keys are believed whose issuer cannot be read any more.
	keysFor = 24 * time.Hour
	// unknownEvery is how far apart readings are that tokens with an unknown key ask for.
	unknownEvery = 10 * time.Second
	// readWithin bounds one reading, maxDocument what is read at once in bytes.
	readWithin  = 5 * time.Second
	maxDocument = 256 << 10
	// maxKeys bounds the keys of an issuer, maxWaiting the requests that wait for a reading.
	maxKeys, maxWaiting = 64, 64
	// maxOutside bounds a token of an issuer, in bytes: they carry more than ours.
	maxOutside = 8192
	// leastRSA is the shortest RSA key that is believed, in bits.
	leastRSA = 2048
)

// methods are the ways to sign that an issuer may use. None of them can be checked with a secret.
var methods = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// IssuerConfig says which issuer outside of the mall is believed, and what its tokens mean here. URL and Audience are required.
type IssuerConfig struct {
	// URL is the issuer as its tokens name it, to the letter. Other than on loopback it is https.
	URL string
	// Audience is how tokens name the mall.
	Audience string
	// SubjectClaim says who bears a token, by the id that the mall knows them under; default "sub". Choose one that people cannot
	// change themselves: whoever bears the id of a customer is that customer.
	SubjectClaim string
	// RoleClaim says what the bearer is: a name, or a list with a name in it. One that lies deeper is written with dots; default "role".
	RoleClaim string
	// Roles translates the names of that claim into roles and ranks of ours; see Named. Default: customer, clerk, manager and engineer mean
	// themselves. Nobody is a device, a robot or a partner who is not named so here.
	Roles map[string]string
	// SignIn says how people sign in there by a browser; nil: they do not.
	SignIn *SignInConfig
	// Client reads the issuer; default one of its own. Redirects are not followed.
	Client *http.Client
	// Clock defaults to the system's.
	Clock backbone.Clock
	// Logger defaults to slog.Default(). It is told, a few times a second at most, why tokens are not taken.
	Logger *slog.Logger
}

// Issuer is an OpenID provider whose access tokens an Authority takes beside its own; see Authority.Trust. Its keys are read at start, every few
// minutes, and, at a bounded rate, when a token names one that is not known. While it is away the keys that were read last are believed
// for a day. Safe for concurrent use.
type Issuer struct {
	config  IssuerConfig
	roles   map[string]standing
	noisy   *Limiter
	signIns *signIns // nil: nobody signs in there
	waiting atomic.Int64
	changed func() // tells the authority that keys may have gone

	turn sync.Mutex // one reading at a time

	mu       sync.RWMutex
	document discovery
	keys     map[string]issuerKey
	read     time.Time     // when the keys were read last
	asked    time.Time     // when a token asked for a reading last
	asking   chan struct{} // closed when that is over; nil: it is
}

type standing struct {
	role Role
	rank Rank
}

// issuerKey is a public key by which tokens are known.
type issuerKey struct {
	public crypto.PublicKey
	alg    string // the one way to sign with it; "": any that fits
	print  string // tells keys apart
}

// discovery is what we ask of an issuer's description of itself.
type discovery struct {
	Issuer    string `json:"issuer"`
	Keys      string `json:"jwks_uri"`
	Authorize string `json:"authorization_endpoint"`
	Token     string `json:"token_endpoint"`
	// Methods are how clients say who they are at the token endpoint.
	Methods []string `json:"token_endpoint_auth_methods_supported"`
}

// Named returns the role, and of staff the rank, that a name means on the command line and in configurations: "clerk", "customer".
func Named(name string) (Role, Rank, error) {
	role, rank := Role(name), Rank("")
	if slices.Contains(Ranks(), Rank(name)) {
		role, rank = Staff, Rank(name)
	}
	if !role.valid() {
		return "", "", fmt.Errorf("role %q: use one of %v or %v", name, Roles(), Ranks())
	}
	rank, err := rankOf(role, rank)
	return role, rank, err
}

// OpenIssuer reads an issuer. It fails where the issuer cannot be read, says that it is another one, or has no key that we can use.
func OpenIssuer(ctx context.Context, c IssuerConfig) (*Issuer, error) {
	if c.Audience == "" {
		return nil, errors.New("say how the issuer's tokens name the mall: without an audience tokens for everybody else would be taken")
	}
	if err := reachable(c.URL); err != nil {
		return nil, fmt.Errorf("issuer: %w", err)
	}
	c.SubjectClaim, c.RoleClaim = cmp.Or(c.SubjectClaim, "sub"), cmp.Or(c.RoleClaim, "role")
	if c.Clock == nil {
		c.Clock = systemClock{}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	client := http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, TLSHandshakeTimeout: readWithin}}
	if c.Client != nil {
		client = *c.Client
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.Client = &client
	if len(c.Roles) == 0 {
		c.Roles = map[string]string{}
		for _, name := range []string{string(Customer), string(Clerk), string(Manager), string(Engineer)} {
			c.Roles[name] = name
		}
	}
	i := &Issuer{config: c, roles: map[string]standing{}, noisy: NewLimiter(Rate{PerSecond: 1, Burst: 5}, 2), changed: func() {}}
	for name, ours := range c.Roles {
		role, rank, err := Named(ours)
		if err != nil {
			return nil, fmt.Errorf("issuer: %q means: %w", name, err)
		}
		i.roles[name] = standing{role, rank}
	}
	var err error
	if i.signIns, err = newSignIns(c.SignIn, c.Audience); err != nil {
		return nil, fmt.Errorf("issuer: sign-in by a browser: %w", err)
	}
	if err := i.Refresh(ctx); err != nil {
		return nil, fmt.Errorf("issuer %s: %w", c.URL, err)
	}
	return i, nil
}

// reachable refuses addresses that cannot be trusted to be who they say.
func reachable(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return err
	case u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("%q is no address: write https://HOST/PATH", address)
	case u.Scheme == "https":
		return nil
	}
	if ip := net.ParseIP(u.Hostname()); u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()) {
		return nil
	}
	return fmt.Errorf("%q has to be https: whoever is between could say what its keys are", address)
}

// Run reads the keys every few minutes until ctx ends.
func (i *Issuer) Run(ctx context.Context) {
	tick := time.NewTicker(keysEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := i.Refresh(ctx); err != nil && ctx.Err() == nil {
			i.config.Logger.WarnContext(ctx, "the issuer of tokens cannot be read", "issuer", i.config.URL, "believed_until", i.lastRead().Add(keysFor), "error", err)
		}
	}
}

// Refresh reads what the issuer says of itself, and its keys. Tokens of a key that it took back are worth nothing from then on, and streams
// that they opened are cut. Where it cannot be read, everything stays as it was.
func (i *Issuer) Refresh(ctx context.Context) error {
	defer i.changed()
	var d discovery
	if err := i.get(ctx, strings.TrimSuffix(i.config.URL, "/")+"/.well-known/openid-configuration", &d); err != nil {
		return err
	}
	if d.Issuer != i.config.URL {
		return fmt.Errorf("it says that it is %q: name it exactly as it names itself", d.Issuer)
	}
	addresses := []string{d.Keys}
	if i.signIns != nil {
		addresses = append(addresses, d.Authorize, d.Token)
	}
	for _, address := range addresses {
		if u, err := url.Parse(address); err != nil || u.Host == "" {
			return fmt.Errorf("it says that its keys, or the sign-in, are at %q", address)
		} else if u.RawQuery, u.Fragment = "", ""; reachable(u.String()) != nil {
			return reachable(u.String())
		}
	}
	i.mu.Lock()
	i.document = d
	i.mu.Unlock()
	return i.readKeys(ctx)
}

// readKeys replaces the keys by those that the issuer has now.
func (i *Issuer) readKeys(ctx context.Context) error {
	i.turn.Lock()
	defer i.turn.Unlock()
	i.mu.RLock()
	from := i.document.Keys
	i.mu.RUnlock()
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := i.get(ctx, from, &set); err != nil {
		return err
	}
	if len(set.Keys) > maxKeys {
		return fmt.Errorf("it has %d keys; %d are too many already", len(set.Keys), maxKeys+1)
	}
	keys := map[string]issuerKey{}
	for _, raw := range set.Keys {
		var k jose.JSONWebKey
		if k.UnmarshalJSON(raw) != nil || k.KeyID == "" || !usable(&k) {
			continue // keys of other kinds, and for other uses, may lie beside ours
		}
		sum, err := k.Thumbprint(crypto.SHA256)
		if err != nil {
			return err
		}
		if _, twice := keys[k.KeyID]; twice {
			return fmt.Errorf("two of its keys are called %q", k.KeyID)
		}
		keys[k.KeyID] = issuerKey{k.Key, k.Algorithm, string(sum)}
	}
	if len(keys) == 0 {
		return fmt.Errorf("it has no key that tokens can be known by: public ones with a kid, for one of %v", methods)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys, i.read = keys, i.config.Clock.Now()
	return nil
}

// usable tells whether a key is a public one that checks signatures.
func usable(k *jose.JSONWebKey) bool {
	if k.Use != "" && k.Use != "sig" || k.Algorithm != "" && !slices.Contains(methods, k.Algorithm) || !k.IsPublic() || !k.Valid() {
		return false
	}
	switch key := k.Key.(type) {
	case *rsa.PublicKey:
		return key.N.BitLen() >= leastRSA
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return true
	}
	return false
}

// get reads a document.
func (i *Issuer) get(ctx context.Context, address string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, readWithin)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return err
	}
	r.Header.Set("Accept", "application/json")
	rsp, err := i.config.Client.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = rsp.Body.Close() }() // it was read
	if rsp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", address, rsp.Status)
	}
	data, err := io.ReadAll(io.LimitReader(rsp.Body, maxDocument+1))
	switch {
	case err != nil:
		return err
	case len(data) > maxDocument:
		return fmt.Errorf("%s answers more than %d bytes", address, maxDocument)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%s answers something else than it should: %w", address, err)
	}
	return nil
}

func (i *Issuer) lastRead() time.Time {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return i.read
}

// known returns a key that is believed now.
func (i *Issuer) known(kid string) (issuerKey, bool) {
	i.mu.RLock()
	defer i.mu.RUnlock()
	if i.config.Clock.Now().Sub(i.read) > keysFor {
		return issuerKey{}, false
	}
	k, ok := i.keys[kid]
	return k, ok
}

// stands tells whether the key that a token was known by still is one of the issuer's.
func (i *Issuer) stands(s *signature) bool {
	k, ok := i.known(s.kid)
	return ok && k.print == s.print
}

// keyOf finds the key of a token. It may have been made since the keys were read, so the issuer is asked where it is unknown, unless it was
// asked a moment ago.
func (i *Issuer) keyOf(kid string) (issuerKey, bool) {
	k, ok := i.known(kid)
	if ok || kid == "" || len(kid) > 256 {
		return k, ok
	}
	if i.waiting.Add(1) <= maxWaiting {
		i.ask()
	}
	i.waiting.Add(-1)
	return i.known(kid)
}

// ask reads the keys anew, or waits for who does; it returns at once where that was done a moment ago.
func (i *Issuer) ask() {
	i.mu.Lock()
	now, asking := i.config.Clock.Now(), i.asking
	if asking != nil {
		i.mu.Unlock()
		<-asking
		return
	}
	if since := now.Sub(i.asked); since >= 0 && since < unknownEvery {
		i.mu.Unlock()
		return
	}
	i.asked, i.asking = now, make(chan struct{})
	i.mu.Unlock()
	defer func() {
		i.mu.Lock()
		close(i.asking)
		i.asking = nil
		i.mu.Unlock()
		i.changed()
	}()
	if err := i.readKeys(context.Background()); err != nil {
		i.config.Logger.Warn("the issuer of tokens cannot be asked for a key", "issuer", i.config.URL, "error", err)
	}
}

// signature is what a token of an issuer was known by.
type signature struct {
	issuer     *Issuer
	kid, print string
}

// issuerOf returns the issuer that a token names, which nobody has vouched for yet.
func issuerOf(token string) string {
	_, rest, _ := strings.Cut(token, ".")
	payload, _, _ := strings.Cut(rest, ".")
	data, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return ""
	}
	var c struct {
		Issuer string `json:"iss"`
	}
	_ = json.Unmarshal(data, &c) // then it names none
	return c.Issuer
}

// parse checks everything about an access token that never changes, and that its time is now.
func (i *Issuer) parse(token string) (*Principal, error) {
	p, err := i.bearer(token)
	if err != nil {
		i.complain("a token of the issuer is not taken", err)
	}
	return p, err
}

// complain tells operators what callers are not told, a few times a second at most.
func (i *Issuer) complain(what string, err error) {
	if i.noisy.Take("", i.config.Clock.Now()) == 0 {
		i.config.Logger.Warn(what, "issuer", i.config.URL, "error", err)
	}
}

func (i *Issuer) bearer(token string) (*Principal, error) {
	c, by, err := i.check(token, i.config.Audience)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"nonce", "at_hash", "c_hash"} {
		if c[name] != nil {
			return nil, errors.New("it is an ID token, which says who somebody is and lets nobody in")
		}
	}
	if kind, ok := c["typ"].(string); ok && !strings.EqualFold(kind, "Bearer") { // a claim of Keycloak's
		return nil, errors.New("it is no access token")
	}
	return i.principal(c, by)
}

// identity returns whom claims speak of.
func (i *Issuer) identity(c jwt.MapClaims) (is standing, subject string, err error) {
	if is, err = i.standing(c); err != nil {
		return is, "", err
	}
	subject, _ = claim(c, i.config.SubjectClaim).(string)
	if err := mall.ValidID(subject); err != nil {
		return is, "", fmt.Errorf("claim %q: %w", i.config.SubjectClaim, err)
	}
	return is, subject, nil
}

// principal returns who bears a token of these claims.
func (i *Issuer) principal(c jwt.MapClaims, by *signature) (*Principal, error) {
	is, subject, err := i.identity(c)
	if err != nil {
		return nil, err
	}
	issued, expires := moment(c, "iat"), moment(c, "exp")
	switch {
	case issued.IsZero():
		return nil, errors.New("it does not say when it was issued")
	case expires.Sub(issued) > MaxTTL:
		return nil, fmt.Errorf("it lives longer than %v: nobody would remember for so long what is revoked", MaxTTL)
	}
	since := issued
	if t := moment(c, "auth_time"); !t.IsZero() && t.Before(issued) {
		since = t
	}
	// A session is known by what the issuer calls it, and a token without one is a session of its own. It can be none of ours.
	name, _ := cmp.Or(c["sid"], c["jti"]).(string)
	sum := sha256.Sum256([]byte(i.config.URL + "\n" + cmp.Or(name, subject+"\n"+issued.String())))
	return &Principal{
		Role: is.role, Rank: is.rank, Subject: subject, Session: base64.RawURLEncoding.EncodeToString(sum[:]), Expires: expires,
		key: subjectKey(is.role, subject), since: since, ttl: expires.Sub(issued), gates: is.role.Gates(), by: by,
	}, nil
}

// check returns the claims of a token of the issuer's that is for somebody, and whose time is now.
func (i *Issuer) check(token, audience string) (jwt.MapClaims, *signature, error) {
	c, by := jwt.MapClaims{}, &signature{issuer: i}
	_, err := jwt.NewParser(
		jwt.WithValidMethods(methods), jwt.WithIssuer(i.config.URL), jwt.WithAudience(audience), jwt.WithExpirationRequired(), jwt.WithIssuedAt(),
		jwt.WithLeeway(leeway), jwt.WithTimeFunc(i.config.Clock.Now), jwt.WithStrictDecoding(),
	).ParseWithClaims(token, &c, func(t *jwt.Token) (any, error) {
		// A header that names or brings keys is refused rather than passed over.
		for name := range t.Header {
			if !slices.Contains([]string{"alg", "typ", "kid", "x5t", "x5t#S256"}, name) {
				return nil, errors.New("header has unknown members")
			}
		}
		kind, _ := t.Header["typ"].(string)
		switch strings.ToLower(kind) {
		case "", "jwt", "at+jwt", "application/at+jwt":
		default:
			return nil, errors.New("not an access token")
		}
		by.kid, _ = t.Header["kid"].(string)
		key, ok := i.keyOf(by.kid)
		switch {
		case !ok:
			return nil, errors.New("the issuer has no such key")
		case key.alg != "" && key.alg != t.Header["alg"]:
			return nil, errors.New("signed in another way than its key is for")
		}
		by.print = key.print
		return key.public, nil
	})
	return c, by, err
}

// standing says what a token makes of its bearer. Names that mean nothing here are passed over; several that do are one of staff's ranks, the
// highest, or a mistake.
func (i *Issuer) standing(c jwt.MapClaims) (standing, error) {
	var names []string
	switch v := claim(c, i.config.RoleClaim).(type) {
	case string:
		names = []string{v}
	case []any:
		for _, one := range v {
			if name, ok := one.(string); ok {
				names = append(names, name)
			}
		}
	}
	found := map[Role]Rank{}
	for _, name := range names {
		is, ok := i.roles[name]
		if !ok {
			continue
		}
		if old, before := found[is.role]; !before || slices.Index(Ranks(), is.rank) > slices.Index(Ranks(), old) {
			found[is.role] = is.rank
		}
	}
	roles := slices.Sorted(maps.Keys(found))
	if len(roles) != 1 {
		return standing{}, fmt.Errorf("claim %q makes its bearer %v here: it has to be one", i.config.RoleClaim, roles)
	}
	return standing{roles[0], found[roles[0]]}, nil
}

// claim returns the claim of a name, or what a path with dots leads to.
func claim(c map[string]any, name string) any {
	if v, ok := c[name]; ok {
		return v
	}
	first, rest, ok := strings.Cut(name, ".")
	if deeper, is := c[first].(map[string]any); ok && is {
		return claim(deeper, rest)
	}
	return nil
}

// moment returns the time that a claim says; the zero one where it says none.
func moment(c jwt.MapClaims, name string) time.Time {
	seconds, ok := c[name].(float64)
	if !ok || seconds <= 0 || seconds > 1<<40 {
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0)
}
