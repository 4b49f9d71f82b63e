package door

import (
	"cmp"
	"context"
	"net/http"
	"strings"
	"time"
)

// Probe is something that must work for the process to be ready.
type Probe struct {
	Name string
	// Check answers nil when it works. It is given a second.
	Check func(context.Context) error
}

// ownGate is the gate of the door's own routes; tokens of every gateway are taken there.
const ownGate = ""

// livePath and readyPath are for whoever watches over the process.
const livePath, readyPath = "/livez", "/readyz"

func (d *Door) addOwnRoutes() error {
	everybody := Access{}
	for _, r := range Roles() {
		everybody[r] = All
	}
	return d.Gate(ownGate).Add(
		Route{Pattern: "GET " + livePath, Public: true, Handle: d.live},
		Route{Pattern: "GET " + readyPath, Public: true, Handle: d.ready},
		Route{Pattern: "GET /sign-in/{code}", Public: true, Handle: d.askToSignIn},
		Route{Pattern: "POST /sign-in/{code}", Public: true, Handle: d.signIn},
		Route{Pattern: "POST /sign-out", Access: everybody, Handle: d.signOut},
	)
}

// live says that the process runs. It depends on nothing.
func (d *Door) live(w http.ResponseWriter, _ *Request) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, err := w.Write([]byte("ok\n"))
	return err
}

// ready says whether the process can do its work; with ?verbose it says what can not be done.
func (d *Door) ready(w http.ResponseWriter, r *Request) error {
	ctx, cancel := context.WithTimeout(r.Context(), time.Second)
	defer cancel()
	failed := make([]bool, len(d.config.Ready))
	done := make(chan struct{}, len(d.config.Ready))
	for i, p := range d.config.Ready {
		go func() {
			if err := p.Check(ctx); err != nil {
				failed[i] = true
				d.log.WarnContext(ctx, "not ready", "probe", p.Name, "error", err)
			}
			done <- struct{}{}
		}()
	}
	for range d.config.Ready {
		<-done
	}
	var b strings.Builder
	status := http.StatusOK
	for i, p := range d.config.Ready {
		mark := "[+]" + p.Name + " ok\n"
		if failed[i] {
			status, mark = http.StatusServiceUnavailable, "[-]"+p.Name+" failed\n"
		}
		if r.URL.Query().Has("verbose") {
			b.WriteString(mark)
		}
	}
	if status == http.StatusOK {
		b.WriteString("ready\n")
	} else {
		b.WriteString("not ready\n")
		w.Header().Set("Retry-After", "1")
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, err := w.Write([]byte(b.String()))
	return err
}

// signInPage posts to its own address, so that a link preview, which only gets it, does not use the code up.
const signInPage = `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Sign in</title>
<h1>Sign in</h1>
<p>This link works once. Do not pass it on.</p>
<form method="post"><button autofocus>Sign in</button></form>
`

func (d *Door) askToSignIn(w http.ResponseWriter, _ *Request) error {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'")
	_, err := w.Write([]byte(signInPage))
	return err
}

func (d *Door) signIn(w http.ResponseWriter, r *Request) error {
	token, p, err := d.authority.redeem(r.PathValue("code"))
	if err != nil {
		return NewProblem(http.StatusNotFound, "not_found", "This sign-in link was used, is too old, or never was; ask for another.")
	}
	d.setCookie(w, token, p.since.Add(MaxSession+p.ttl))
	d.log.InfoContext(r.Context(), "signed in", "actor", p.key, "session", p.Session)
	w.Header().Set("Location", cmp.Or(d.config.Homes[p.Role], "/"))
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

func (d *Door) signOut(w http.ResponseWriter, r *Request) error {
	if r.Caller.Session != "" {
		if err := d.authority.RevokeSession(r.Caller.Session); err != nil {
			return err
		}
	}
	w.Header().Del("Set-Cookie") // of a session that was just renewed
	d.setCookie(w, "", time.Unix(1, 0))
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// cookieName has the prefix, where that is possible, by which browsers keep other hosts from setting it.
func (d *Door) cookieName() string {
	if d.config.TLS {
		return "__Host-souk"
	}
	return "souk"
}

func (d *Door) setCookie(w http.ResponseWriter, token string, expires time.Time) {
	http.SetCookie(w, &http.Cookie{
		Name: d.cookieName(), Value: token, Path: "/", Expires: expires,
		HttpOnly: true, Secure: d.config.TLS, SameSite: http.SameSiteStrictMode,
	})
}
