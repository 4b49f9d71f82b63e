package door

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"slices"
	"time"

	"golang.org/x/oauth2"
)

// SignInConfig says how the mall is known at an issuer where people sign in by a browser. ID and Redirect are required.
type SignInConfig struct {
	// ID is the mall's as a client of the issuer. It is another one than the audience of access tokens, so that an ID token lets nobody in.
	ID string
	// Secret is the client's; "" for a public client. Either way a code is worth something only to the browser that asked for it (PKCE).
	Secret string
	// Redirect is the address of CallbackPath as browsers reach it.
	Redirect string
}

// Paths of signing in at an issuer outside.
const (
	SignInPath   = "/oidc/sign-in"
	CallbackPath = "/oidc/callback"
)

// signInFor is how long somebody may take to sign in.
const signInFor = 10 * time.Minute

// signIns are those at an issuer outside. What is remembered of one is in the browser alone, so that it may come back to another process.
type signIns struct {
	SignInConfig
	used  *Limiter // secrets of sign-ins that came back
	asked *Limiter // bounds how often the issuer is asked what a code is worth
}

func newSignIns(c *SignInConfig, audience string) (*signIns, error) {
	switch {
	case c == nil:
		return nil, nil
	case c.ID == "":
		return nil, errors.New("say how the issuer knows the mall as a client")
	case c.ID == audience:
		return nil, fmt.Errorf("the client is called %q, and so is the audience of access tokens: ID tokens would let people in", c.ID)
	}
	if err := reachable(c.Redirect); err != nil {
		return nil, err
	}
	return &signIns{
		SignInConfig: *c,
		used:         NewLimiter(Rate{PerSecond: 1 / signInFor.Seconds(), Burst: 1}, 1<<16),
		asked:        NewLimiter(Rate{PerSecond: 20, Burst: 100}, 2),
	}, nil
}

// client is the mall as a client of the issuer.
func (i *Issuer) client() *oauth2.Config {
	i.mu.RLock()
	d := i.document
	i.mu.RUnlock()
	c := &oauth2.Config{
		ClientID: i.signIns.ID, ClientSecret: i.signIns.Secret, RedirectURL: i.signIns.Redirect, Scopes: []string{"openid"},
		Endpoint: oauth2.Endpoint{AuthURL: d.Authorize, TokenURL: d.Token, AuthStyle: oauth2.AuthStyleInHeader},
	}
	if c.ClientSecret == "" || len(d.Methods) > 0 && !slices.Contains(d.Methods, "client_secret_basic") {
		c.Endpoint.AuthStyle = oauth2.AuthStyleInParams
	}
	return c
}

// derived returns what belongs to a sign-in whose secret a browser holds: its state, its nonce, or its proof of having asked for a code.
func derived(secret, what string) string {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(what))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// The purposes of what is derived.
const forState, forNonce, forCode = "state", "nonce", "code"

// addSignIn adds the routes of people who sign in at an issuer outside.
func (d *Door) addSignIn() error {
	if i := d.authority.outside; i == nil || i.signIns == nil {
		return nil
	}
	return d.Gate(ownGate).Add(
		Route{Pattern: "GET " + SignInPath, Public: true, Handle: d.leaveToSignIn},
		Route{Pattern: "GET " + CallbackPath, Public: true, Handle: d.comeBack},
	)
}

// leaveToSignIn sends a browser to the issuer.
func (d *Door) leaveToSignIn(w http.ResponseWriter, _ *Request) error {
	secret := random(32)
	d.setSignIn(w, secret, int(signInFor.Seconds()))
	w.Header().Set("Location", d.authority.outside.client().AuthCodeURL(derived(secret, forState),
		oauth2.SetAuthURLParam("nonce", derived(secret, forNonce)), oauth2.S256ChallengeOption(derived(secret, forCode))))
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

// setSignIn sets the cookie of a sign-in that is under way. Its way back begins at another site, so it may not be strict.
func (d *Door) setSignIn(w http.ResponseWriter, secret string, seconds int) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // without TLS it is bound to loopback
		Name: d.cookieName() + "-sign-in", Value: secret, Path: "/", MaxAge: seconds, HttpOnly: true, Secure: d.config.TLS, SameSite: http.SameSiteLaxMode,
	})
}

// welcomePage goes on by itself, from a page of ours: a browser that was sent on at once would not bring its new cookie along.
const welcomePage = `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta http-equiv="refresh" content="0;url=%[1]s"><title>Signed in</title>
<p><a href="%[1]s">Go on</a></p>
`

// comeBack takes a browser in that comes from the issuer.
func (d *Door) comeBack(w http.ResponseWriter, r *Request) error {
	i := d.authority.outside
	cookie, err := r.Cookie(d.cookieName() + "-sign-in")
	d.setSignIn(w, "", -1)
	query := r.URL.Query()
	switch {
	case err != nil || cookie.Value == "" || !hmac.Equal([]byte(query.Get("state")), []byte(derived(cookie.Value, forState))),
		query.Has("iss") && query.Get("iss") != i.config.URL, i.signIns.used.Take(cookie.Value, d.clock.Now()) > 0:
		return NewProblem(http.StatusBadRequest, "sign_in_again", "This sign-in did not begin in this browser, or is over; sign in again.")
	case query.Get("code") == "":
		return NewProblem(http.StatusForbidden, "not_signed_in", "Signing in did not succeed.")
	}
	if wait := i.signIns.asked.Take("", d.clock.Now()); wait > 0 {
		return tooMany(wait)
	}
	g, err := i.redeem(r.Context(), query.Get("code"), cookie.Value)
	if err != nil {
		i.complain("somebody could not sign in", err)
		if errors.Is(err, errNoAnswer) {
			p := NewProblem(http.StatusServiceUnavailable, "unavailable", "Nobody can sign in at the moment; try again.")
			p.RetryAfter = 5 * time.Second
			return p
		}
		return NewProblem(http.StatusForbidden, "not_signed_in", "Signing in did not succeed, or you have no part in this mall.")
	}
	token, p, err := d.authority.Issue(g)
	if err != nil {
		return err
	}
	d.setCookie(w, token, p.since.Add(MaxSession+p.ttl))
	d.log.InfoContext(r.Context(), "signed in", "actor", p.key, "session", p.Session, "issuer", i.config.URL)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, err = fmt.Fprintf(w, welcomePage, html.EscapeString(cmp.Or(d.config.Homes[p.Role], "/")))
	return err
}

// errNoAnswer says that the issuer did not say what a code is worth.
var errNoAnswer = errors.New("the issuer cannot be asked")

// redeem asks the issuer who signed in.
func (i *Issuer) redeem(ctx context.Context, code, secret string) (g Grant, err error) {
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, oauth2.HTTPClient, i.config.Client), readWithin)
	defer cancel()
	answer, err := i.client().Exchange(ctx, code, oauth2.VerifierOption(derived(secret, forCode)))
	if err != nil {
		_, lost := errors.AsType[*url.Error](err)
		if said, ok := errors.AsType[*oauth2.RetrieveError](err); lost || ok && said.Response.StatusCode >= http.StatusInternalServerError {
			err = fmt.Errorf("%w: %w", errNoAnswer, err)
		}
		return g, err
	}
	token, _ := answer.Extra("id_token").(string)
	if len(token) > maxOutside {
		return g, errors.New("the ID token is too long")
	}
	c, _, err := i.check(token, i.signIns.ID)
	if err != nil {
		return g, fmt.Errorf("ID token: %w", err)
	}
	nonce, _ := c["nonce"].(string)
	switch party, named := c["azp"]; {
	case !hmac.Equal([]byte(nonce), []byte(derived(secret, forNonce))):
		return g, errors.New("ID token: it is of another sign-in")
	case named && party != i.signIns.ID:
		return g, errors.New("ID token: it was given to another client")
	}
	is, subject, err := i.identity(c)
	return Grant{Role: is.role, Rank: is.rank, Subject: subject}, err
}
