package door

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"example.org/souk/backbone"
	"example.org/souk/mall"
)

// Bounds of tokens and what goes with them.
const (
	// MaxTTL is the longest life of a token.
	MaxTTL = 24 * time.Hour
	// DefaultTTL is the life of a token whose Grant names none.
	DefaultTTL = 15 * time.Minute
	// LinkTTL is how long a sign-in link can be used.
	LinkTTL = 15 * time.Minute
	// MaxSession is how long a browser stays signed in; its tokens are renewed until then.
	MaxSession = 12 * time.Hour
	// spreadFor is how long a new key is known before it signs: processes that share a vault look into it every few seconds.
	spreadFor = 10 * time.Second
	// leeway is how far the clocks of two machines may differ.
	leeway = 60 * time.Second

	issuer      = "souk"
	tokenType   = "at+jwt" // RFC 9068: an ID token of another system is no access token here
	maxToken    = 2048     // bytes
	maxCached   = 16384    // verified tokens kept
	maxLinks    = 1024     // sign-in links that nobody has used yet
	keysFile    = "signing-keys.json"
	revokedFile = "revoked.json"
)

// ErrToken says that a token is not one that this authority stands behind now. It never says why to its bearer.
var ErrToken = errors.New("token not accepted")

// ErrLink says that a sign-in code does not exist, is too old, or was used.
var ErrLink = errors.New("sign-in code not accepted")

// Authority issues tokens and knows them again. It keeps its signing keys and what was revoked in a vault, which several
// processes may share: see Refresh. Safe for concurrent use.
type Authority struct {
	vault Vault
	clock backbone.Clock

	mu       sync.RWMutex
	keys     []signingKey // oldest first
	revoked  revocations
	verified map[[sha256.Size]byte]*Principal
	before   map[[sha256.Size]byte]*Principal // verified, one generation ago
	streams  map[*stream]struct{}
	links    map[[sha256.Size]byte]link
	outside  *Issuer // whose tokens are taken beside our own; nil: nobody's
}

type signingKey struct {
	ID      string    `json:"kid"`
	Created time.Time `json:"created"`
	Seed    []byte    `json:"seed"`
	private ed25519.PrivateKey
}

// revocations says since when tokens of a session or a subject are worth nothing. An entry is dropped when the last token that it could meet has
// expired.
type revocations struct {
	Sessions map[string]time.Time `json:"sessions"`
	Subjects map[string]time.Time `json:"subjects"` // by role:subject
}

type stream struct {
	principal *Principal
	cut       context.CancelCauseFunc
}

type link struct {
	grant   Grant
	expires time.Time
}

// OpenAuthority opens the authority of a directory, which it makes, with a first key, where it does not exist. A key file
// that others may read is refused. One process at a time opens a directory.
func OpenAuthority(dir string, clock backbone.Clock) (*Authority, error) {
	vault, err := openFolder(dir)
	if err != nil {
		return nil, err
	}
	return OpenAuthorityIn(context.Background(), vault, clock)
}

// OpenAuthorityIn opens the authority that keeps its keys in a vault, and makes the first key of an empty one.
func OpenAuthorityIn(ctx context.Context, vault Vault, clock backbone.Clock) (*Authority, error) {
	a := &Authority{
		vault: vault, clock: clock,
		verified: map[[sha256.Size]byte]*Principal{},
		streams:  map[*stream]struct{}{},
		links:    map[[sha256.Size]byte]link{},
	}
	if err := a.Refresh(ctx); err != nil {
		return nil, err
	}
	if len(a.keys) > 0 {
		return a, nil
	}
	return a, a.addKey(ctx, func(keys []signingKey) bool { return len(keys) == 0 })
}

// Refresh takes over what other processes that share the vault have changed: new signing keys, and what was revoked, whose
// open streams are cut. Called every few seconds it bounds for how long a revocation elsewhere goes unnoticed here.
func (a *Authority) Refresh(ctx context.Context) error {
	keys, err := readKeys(ctx, a.vault)
	if err != nil {
		return err
	}
	revoked, err := readRevoked(ctx, a.vault)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.keys = keys
	a.adoptLocked(revoked)
	return nil
}

// adoptLocked adds what is revoked to what was, and cuts the streams that it concerns.
func (a *Authority) adoptLocked(r revocations) {
	now := a.clock.Now().UTC()
	next := revocations{Sessions: current(a.revoked.Sessions, now), Subjects: current(a.revoked.Subjects, now)}
	next.join(r)
	a.revoked = next
	for s := range a.streams {
		if err := a.revokedLocked(s.principal); err != nil {
			s.cut(err)
		}
	}
}

// join adds what others have revoked. The later instant of a name holds.
func (r revocations) join(others revocations) {
	for _, pair := range [][2]map[string]time.Time{{r.Sessions, others.Sessions}, {r.Subjects, others.Subjects}} {
		for name, since := range pair[1] {
			if since.After(pair[0][name]) {
				pair[0][name] = since
			}
		}
	}
}

// readKeys returns the signing keys of a vault, oldest first; none of an empty one.
func readKeys(ctx context.Context, vault Vault) ([]signingKey, error) {
	data, err := vault.Read(ctx, keysFile)
	if err != nil || data == nil {
		return nil, err
	}
	return decodeKeys(vault, data)
}

func decodeKeys(vault Vault, data []byte) (keys []signingKey, err error) {
	if err := decode(data, &keys); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", vault.Where(keysFile), err)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s holds no keys: restore it, or remove it to begin with a new one", vault.Where(keysFile))
	}
	for i := range keys {
		if len(keys[i].Seed) != ed25519.SeedSize || mall.ValidID(keys[i].ID) != nil {
			return nil, fmt.Errorf("%s: key %d is damaged: restore the file", vault.Where(keysFile), i+1)
		}
		keys[i].private = ed25519.NewKeyFromSeed(keys[i].Seed)
	}
	return keys, nil
}

func readRevoked(ctx context.Context, vault Vault) (r revocations, err error) {
	data, err := vault.Read(ctx, revokedFile)
	if err != nil {
		return r, err
	}
	return decodeRevoked(vault, data)
}

func decodeRevoked(vault Vault, data []byte) (r revocations, err error) {
	if data != nil {
		if err := decode(data, &r); err != nil {
			return r, fmt.Errorf("%s is damaged: %w", vault.Where(revokedFile), err)
		}
	}
	if r.Sessions == nil {
		r.Sessions = map[string]time.Time{}
	}
	if r.Subjects == nil {
		r.Subjects = map[string]time.Time{}
	}
	return r, nil
}

func decode(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

// Rotate makes a new key, which signs as soon as every process that shares the vault can know it. Older keys are known as long as a token of
// theirs can live: nobody notices.
func (a *Authority) Rotate(ctx context.Context) error {
	return a.addKey(ctx, func([]signingKey) bool { return true })
}

// Forget replaces all keys by a new one. Every token, session and open stream ends at once, in other processes when they Refresh. It is for
// keys that somebody else may have.
func (a *Authority) Forget(ctx context.Context) error {
	return a.changeKeys(ctx, func([]signingKey) (kept []signingKey, more bool) { return nil, true })
}

// addKey adds a key to those in the vault where they want one. Processes that begin on an empty vault together so agree on
// one first key.
func (a *Authority) addKey(ctx context.Context, wanted func([]signingKey) bool) error {
	return a.changeKeys(ctx, func(keys []signingKey) ([]signingKey, bool) {
		now := a.clock.Now()
		for len(keys) > 1 && now.Sub(keys[1].Created) > MaxTTL+spreadFor+leeway { // until then keys[0] may have signed
			keys = keys[1:]
		}
		return keys, wanted(keys)
	})
}

// changeKeys has the keys in the vault, those that are kept and where more is true a new one, be the keys.
func (a *Authority) changeKeys(ctx context.Context, change func([]signingKey) (kept []signingKey, more bool)) error {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return fmt.Errorf("new signing key: %w", err)
	}
	now := a.clock.Now()
	var keys []signingKey
	err = a.vault.Change(ctx, keysFile, func(old []byte) ([]byte, error) {
		keys = nil
		if old != nil {
			if keys, err = decodeKeys(a.vault, old); err != nil {
				return nil, err
			}
		}
		kept, more := change(keys)
		if keys = kept; !more {
			return old, nil
		}
		keys = append(keys, signingKey{ID: random(9), Created: now.UTC(), Seed: private.Seed(), private: private})
		return json.Marshal(keys)
	})
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.keys = keys
	a.adoptLocked(revocations{})
	return nil
}

// Grant is what a token is issued for.
type Grant struct {
	Role    Role
	Rank    Rank   // of staff; default Clerk
	Subject string // who: an id
	// Gates names the gateways that accept the token; nil means all that serve the role (see Role.Gates).
	Gates []string
	// TTL is the life of the token, at most MaxTTL; 0 means DefaultTTL.
	TTL time.Duration
}

type claims struct {
	jwt.RegisteredClaims
	Role    Role             `json:"role"`
	Rank    Rank             `json:"rank,omitempty"`
	Session string           `json:"sid"`
	Since   *jwt.NumericDate `json:"auth_time"`
}

// Issue returns a signed token.
func (a *Authority) Issue(g Grant) (token string, p Principal, err error) {
	if !g.Role.valid() {
		return "", p, fmt.Errorf("role %q: use one of %v", g.Role, Roles())
	}
	if g.Rank, err = rankOf(g.Role, g.Rank); err != nil {
		return "", p, err
	}
	if err := mall.ValidID(g.Subject); err != nil {
		return "", p, fmt.Errorf("subject: %w", err)
	}
	if g.TTL <= 0 {
		g.TTL = DefaultTTL
	}
	if g.TTL > MaxTTL {
		return "", p, fmt.Errorf("a token lives at most %v", MaxTTL)
	}
	if g.Gates == nil {
		g.Gates = g.Role.Gates()
	}
	return a.sign(g, random(16), a.clock.Now())
}

// Renew returns the next token of a session whose token has used up half of its life, or "" while that is not so, and once the session has
// lasted for MaxSession. Tokens of an issuer outside are its own to renew.
func (a *Authority) Renew(p *Principal) (string, error) {
	now := a.clock.Now()
	if p.by != nil || now.Before(p.Expires.Add(-p.ttl/2)) || now.Sub(p.since) > MaxSession {
		return "", nil
	}
	// The session's beginning stays what it was, so that a revocation of the subject that comes between is not outrun.
	token, _, err := a.sign(Grant{Role: p.Role, Rank: p.Rank, Subject: p.Subject, Gates: p.gates, TTL: p.ttl}, p.Session, p.since)
	return token, err
}

func (a *Authority) sign(g Grant, session string, since time.Time) (token string, p Principal, err error) {
	now := a.clock.Now()
	c := claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: issuer, Subject: g.Subject, Audience: g.Gates, ID: random(16),
			IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(g.TTL)),
		},
		Role: g.Role, Rank: g.Rank, Session: session, Since: jwt.NewNumericDate(since),
	}
	a.mu.RLock()
	key := a.keys[0]
	for _, k := range a.keys {
		if now.Sub(k.Created) >= spreadFor {
			key = k
		}
	}
	a.mu.RUnlock()
	t := jwt.NewWithClaims(jwt.SigningMethodEdDSA, c)
	t.Header["kid"], t.Header["typ"] = key.ID, tokenType
	token, err = t.SignedString(key.private)
	if err != nil {
		return "", p, fmt.Errorf("sign token: %w", err)
	}
	return token, *principalOf(&c, key.ID), nil
}

// Verify answers who bears a token that the named gateway accepts, or an error that wraps ErrToken.
func (a *Authority) Verify(token, gate string) (Principal, error) {
	p, err := a.verify(token, gate)
	if err != nil {
		return Principal{}, err
	}
	return *p, nil
}

// Trust takes the access tokens of an issuer outside as well. It is called before the first token is verified.
func (a *Authority) Trust(i *Issuer) {
	a.outside = i
	i.changed = func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.adoptLocked(revocations{})
	}
}

func (a *Authority) verify(token, gate string) (*Principal, error) {
	if len(token) > maxToken && (a.outside == nil || len(token) > maxOutside) {
		return nil, fmt.Errorf("%w: too long", ErrToken)
	}
	sum := sha256.Sum256([]byte(token))
	now := a.clock.Now()
	a.mu.RLock()
	p, fresh := a.verified[sum]
	if !fresh {
		p = a.before[sum]
	}
	var err error
	if p != nil {
		err = a.standsLocked(p, gate, now)
	}
	a.mu.RUnlock()
	if err != nil || fresh {
		return p, err
	}
	if p == nil {
		if p, err = a.parse(token, now); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrToken, err)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.verified) >= maxCached/2 {
		a.verified, a.before = make(map[[sha256.Size]byte]*Principal, maxCached/2), a.verified
	}
	a.verified[sum] = p
	return p, a.standsLocked(p, gate, now)
}

// parse checks everything about a token that never changes, and that its time is now.
func (a *Authority) parse(token string, now time.Time) (*Principal, error) {
	if a.outside != nil && issuerOf(token) == a.outside.config.URL {
		return a.outside.parse(token)
	}
	var c claims
	t, err := jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}),
		jwt.WithIssuer(issuer), jwt.WithExpirationRequired(), jwt.WithNotBeforeRequired(), jwt.WithIssuedAt(),
		jwt.WithLeeway(leeway), jwt.WithTimeFunc(func() time.Time { return now }), jwt.WithStrictDecoding(),
	).ParseWithClaims(token, &c, a.keyOf)
	switch {
	case err != nil:
		return nil, err
	case c.Role == Staff && c.Rank == "": // a token from before there were ranks
		c.Rank = Clerk
	}
	switch _, err := rankOf(c.Role, c.Rank); {
	case err != nil:
		return nil, err
	case !c.Role.valid(), mall.ValidID(c.Subject) != nil, mall.ValidID(c.Session) != nil, c.IssuedAt == nil, c.Since == nil:
		return nil, errors.New("claims are missing or wrong")
	case c.ExpiresAt.Sub(c.IssuedAt.Time) > MaxTTL:
		return nil, errors.New("lives too long")
	}
	kid, _ := t.Header["kid"].(string) // of a key that was found by it
	return principalOf(&c, kid), nil
}

// keyOf finds the key of a token among our own. A header that names keys elsewhere, or has anything else that we never
// write, is refused rather than passed over.
func (a *Authority) keyOf(t *jwt.Token) (any, error) {
	for name := range t.Header {
		if name != "alg" && name != "typ" && name != "kid" {
			return nil, errors.New("header has unknown members")
		}
	}
	if t.Header["typ"] != tokenType {
		return nil, errors.New("not an access token")
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	for _, k := range a.keys {
		if t.Header["kid"] == k.ID {
			return k.private.Public(), nil
		}
	}
	return nil, errors.New("unknown key")
}

// standsLocked checks what may change while a token lives.
func (a *Authority) standsLocked(p *Principal, gate string, now time.Time) error {
	if now.After(p.Expires.Add(leeway)) {
		return fmt.Errorf("%w: expired", ErrToken)
	}
	if gate != ownGate && !slices.Contains(p.gates, gate) {
		return fmt.Errorf("%w: not for this gateway", ErrToken)
	}
	return a.revokedLocked(p)
}

func (a *Authority) revokedLocked(p *Principal) error {
	if _, ok := a.revoked.Sessions[p.Session]; ok {
		return fmt.Errorf("%w: session revoked", ErrToken)
	}
	if since, ok := a.revoked.Subjects[p.key]; ok && !p.since.After(since) {
		return fmt.Errorf("%w: subject revoked", ErrToken)
	}
	gone := p.kid != "" && !slices.ContainsFunc(a.keys, func(k signingKey) bool { return k.ID == p.kid })
	if gone || p.by != nil && !p.by.issuer.stands(p.by) {
		return fmt.Errorf("%w: its key was taken back", ErrToken)
	}
	return nil
}

// RevokeSession makes every token of a session worthless at once and cuts its open streams.
func (a *Authority) RevokeSession(session string) error {
	return a.revoke(func(r revocations, now time.Time) { r.Sessions[session] = now })
}

// RevokeSubject makes every token worthless that somebody was given until now, and cuts their open streams. Tokens count time in
// seconds: one issued in the second of the revocation is worthless as well.
func (a *Authority) RevokeSubject(role Role, subject string) error {
	return a.revoke(func(r revocations, now time.Time) { r.Subjects[subjectKey(role, subject)] = now })
}

func (a *Authority) revoke(add func(revocations, time.Time)) error {
	now := a.clock.Now().UTC()
	added := revocations{Sessions: map[string]time.Time{}, Subjects: map[string]time.Time{}}
	add(added, now)
	a.mu.Lock()
	a.adoptLocked(added) // holds at once, even where it cannot be written down
	known := a.revoked
	a.mu.Unlock()
	return a.vault.Change(context.Background(), revokedFile, func(old []byte) ([]byte, error) {
		stored, err := decodeRevoked(a.vault, old)
		if err != nil {
			return nil, err
		}
		next := revocations{Sessions: current(stored.Sessions, now), Subjects: current(stored.Subjects, now)}
		next.join(known)
		return json.Marshal(next)
	})
}

func current(all map[string]time.Time, now time.Time) map[string]time.Time {
	kept := make(map[string]time.Time, len(all)+1)
	for k, since := range all {
		if now.Sub(since) <= MaxTTL+2*leeway {
			kept[k] = since
		}
	}
	return kept
}

// Follow returns a context that ends when the principal's token is revoked, with a cause that wraps ErrToken. The caller calls done when its stream ends.
func (a *Authority) Follow(ctx context.Context, p *Principal) (_ context.Context, done func()) {
	ctx, cut := context.WithCancelCause(ctx)
	s := &stream{principal: p, cut: cut}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.streams[s] = struct{}{}
	if err := a.revokedLocked(p); err != nil { // between Verify and here
		cut(err)
	}
	return ctx, func() {
		cut(nil)
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.streams, s)
	}
}

// Link returns a code that signs somebody in once, within LinkTTL. It is kept hashed, in memory only: after a restart one asks
// for another.
func (a *Authority) Link(g Grant) (code string, err error) {
	if _, _, err := a.Issue(g); err != nil { // so that a wrong grant is found by whom it concerns
		return "", err
	}
	code = random(24)
	now := a.clock.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	for sum, l := range a.links {
		if now.After(l.expires) {
			delete(a.links, sum)
		}
	}
	if len(a.links) >= maxLinks {
		return "", errors.New("too many sign-in links are unused: wait until some expire")
	}
	a.links[sha256.Sum256([]byte(code))] = link{grant: g, expires: now.Add(LinkTTL)}
	return code, nil
}

// redeem uses a code up and issues its token.
func (a *Authority) redeem(code string) (token string, p Principal, err error) {
	sum := sha256.Sum256([]byte(code))
	a.mu.Lock()
	l, ok := a.links[sum]
	delete(a.links, sum)
	a.mu.Unlock()
	if !ok || a.clock.Now().After(l.expires) {
		return "", p, ErrLink
	}
	return a.Issue(l.grant)
}

// random returns n random bytes as text that is an id.
func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: see its documentation
	return base64.RawURLEncoding.EncodeToString(b)
}
