package house

import (
	"context"
	"errors"
	"fmt"

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
}

// trustIssuer reads the issuer outside, if there is one.
func (h *House) trustIssuer(ctx context.Context) (err error) {
	c := h.cfg.OIDC
	if c.Issuer == "" {
		if c.Audience != "" || len(c.Roles) > 0 {
			return errors.New("an audience, or roles, of an issuer that is not named")
		}
		return nil
	}
	h.issuer, err = door.OpenIssuer(ctx, door.IssuerConfig{
		URL: c.Issuer, Audience: c.Audience, SubjectClaim: c.SubjectClaim, RoleClaim: c.RoleClaim, Roles: c.Roles, Clock: clock{}, Logger: h.cfg.Logger,
	})
	if err != nil {
		return fmt.Errorf("sign-in from outside: %w", err)
	}
	h.Authority.Trust(h.issuer)
	return nil
}
