package house

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"example.org/souk/gateway/door"
)

// OIDCConfig names an OpenID provider whose tokens are taken beside the mall's own. See door.IssuerConfig.
type OIDCConfig struct {
	// Issuer is its URL; "" for none.
	Issuer string
	// Audience is how its access tokens name the mall.
	Audience string
	// SubjectClaim and RoleClaim say who bears a token and what they are; Roles translates the latter.
	SubjectClaim, RoleClaim string
	Roles                   map[string]string
	// Client is how the issuer knows the mall where people sign in there by a browser; "": they do not. SecretFile holds the client's
	// secret, if it has one. Redirect is the address of door.CallbackPath as browsers reach it; default the web server's own.
	Client, SecretFile, Redirect string
}

// trustIssuer reads the issuer outside, if there is one.
func (h *House) trustIssuer(ctx context.Context) (err error) {
	c := h.cfg.OIDC
	if c.Issuer == "" {
		if c.Audience != "" || c.Client != "" || len(c.Roles) > 0 {
			return errors.New("an audience, roles or a client of an issuer that is not named")
		}
		return nil
	}
	var browsers *door.SignInConfig
	if c.Client != "" {
		browsers = &door.SignInConfig{ID: c.Client, Redirect: cmp.Or(c.Redirect, h.URL()+door.CallbackPath)}
		if c.SecretFile != "" {
			secret, err := os.ReadFile(c.SecretFile)
			if err != nil {
				return fmt.Errorf("secret at the issuer outside: %w", err)
			}
			browsers.Secret = strings.TrimSpace(string(secret))
		}
	}
	h.issuer, err = door.OpenIssuer(ctx, door.IssuerConfig{
		URL: c.Issuer, Audience: c.Audience, SubjectClaim: c.SubjectClaim, RoleClaim: c.RoleClaim, Roles: c.Roles, SignIn: browsers, Clock: clock{}, Logger: h.cfg.Logger,
	})
	if err != nil {
		return fmt.Errorf("sign-in from outside: %w", err)
	}
	h.Authority.Trust(h.issuer)
	return nil
}

// accounts returns where people sign in with an account of the issuer outside; "" where they do not.
func (h *House) accounts() string {
	if h.cfg.OIDC.Client == "" {
		return ""
	}
	if base, ok := strings.CutSuffix(h.cfg.OIDC.Redirect, door.CallbackPath); ok {
		return base + door.SignInPath
	}
	return h.URL() + door.SignInPath
}
