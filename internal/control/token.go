package control

import (
	"context"

	"example.org/souk/gateway/door"
	"example.org/souk/internal/house"
)

// revokeTokens ends what somebody was let in with until now.
func revokeTokens(ctx context.Context, h *house.House, a Args, emit Emit) error {
	role, _, err := door.Named(a["role"])
	if err != nil {
		return err
	}
	authority, err := h.Tokens(ctx)
	if err != nil {
		return err
	}
	if err := authority.RevokeSubject(role, a["subject"]); err != nil {
		return err
	}
	return emit(struct {
		Role    string `json:"role"`
		Subject string `json:"subject"`
		Status  string `json:"status"`
	}{string(role), a["subject"], "revoked"})
}

// linkToken makes a link by which somebody signs in with a browser.
func linkToken(_ context.Context, h *house.House, a Args, emit Emit) error {
	role, rank, err := door.Named(a["role"])
	if err != nil {
		return err
	}
	url, err := h.SignIn(door.Grant{Role: role, Rank: rank, Subject: a["subject"]})
	if err != nil {
		return err
	}
	if a["form"] == "text" {
		return emit(text{url + "\n"})
	}
	return emit(struct {
		URL string `json:"url"`
	}{url})
}

// rotateKeys has tokens signed with a new key.
func rotateKeys(ctx context.Context, h *house.House, a Args, emit Emit) error {
	authority, err := h.Tokens(ctx)
	if err != nil {
		return err
	}
	rotate, status := authority.Rotate, "a new key signs from now on"
	if a["forget"] != "" {
		rotate, status = authority.Forget, "all older keys are forgotten"
	}
	if err := rotate(ctx); err != nil {
		return err
	}
	return emit(struct {
		Keys string `json:"keys"`
	}{status})
}
