package cli

import (
	"context"
	"fmt"
	"time"

	"example.org/souk/gateway/door"
	"example.org/souk/internal/control"
	"example.org/souk/internal/house"
)

type tokenCommand struct {
	Print  tokenPrint  `cmd:"" default:"withargs" help:"Print a bearer token."`
	Link   tokenLink   `cmd:"" help:"Print a link by which somebody signs in with a browser, once."`
	Revoke tokenRevoke `cmd:"" help:"End what somebody was let in with until now; their open streams are cut."`
	Rotate tokenRotate `cmd:"" help:"Have tokens signed with a new key."`
}

type tokenPrint struct {
	Role    string        `help:"customer, clerk, manager, robot, device, partner or engineer; staff is a clerk." required:""`
	Subject string        `help:"Who: an id." required:""`
	TTL     time.Duration `help:"How long it lasts." default:"1h" name:"ttl"`
}

// Help implements kong's long help.
func (tokenPrint) Help() string {
	return "Example:\n  curl -H \"Authorization: Bearer $(souk token --role customer --subject amina)\" http://127.0.0.1:8080/stock/lamp"
}

// Run prints a bearer token, signed with the keys of the mall.
func (c *tokenPrint) Run(ctx context.Context, env Env, r *root) error {
	role, rank, err := door.Named(c.Role)
	if err != nil {
		return err
	}
	authority, err := house.OpenAuthority(ctx, r.Data, r.DB)
	if err != nil {
		return err
	}
	token, _, err := authority.Issue(door.Grant{Role: role, Rank: rank, Subject: c.Subject, TTL: c.TTL})
	if err != nil {
		return err
	}
	fmt.Fprintln(env.Stdout, token)
	return nil
}

type tokenLink struct {
	Role    string `help:"customer, clerk, manager, device or engineer; staff is a clerk, and a kiosk a device." required:""`
	Subject string `help:"Who: an id." required:""`
}

// Help implements kong's long help.
func (tokenLink) Help() string {
	return `It is good for a quarter of an hour, at the process that made it, which is the one that runs on --data.

Example:
  souk token link --role clerk --subject anna`
}

// Run prints a link.
func (c *tokenLink) Run(ctx context.Context, env Env, r *root) error {
	a := control.Args{"role": c.Role, "subject": c.Subject}
	if r.Output == "table" {
		a["form"] = "text"
	}
	return r.do(ctx, env, "token link", a)
}

type tokenRevoke struct {
	Role    string `help:"customer, clerk, manager, robot, device, partner or engineer." required:""`
	Subject string `help:"Who: an id." required:""`
}

// Help implements kong's long help.
func (tokenRevoke) Help() string {
	return `Tokens and browsers' sessions that somebody was given until now are worth nothing any more,
and what they hold open is cut, within seconds in every process. They may sign in again: whoever
comes from an issuer outside has to be shut out there, and a device at the MQTT server or a robot
with "souk device revoke".

Example:
  souk token revoke --role clerk --subject anna`
}

// Run revokes.
func (c *tokenRevoke) Run(ctx context.Context, env Env, r *root) error {
	return r.do(ctx, env, "token revoke", control.Args{"role": c.Role, "subject": c.Subject})
}

type tokenRotate struct {
	Forget bool `help:"Forget all older keys: every token and session ends at once. For keys that somebody else may have."`
}

// Help implements kong's long help.
func (tokenRotate) Help() string {
	return `The new key signs as soon as every process knows it. Tokens of older keys stand until they
expire, so nobody notices.

Example:
  souk token rotate`
}

// Run rotates.
func (c *tokenRotate) Run(ctx context.Context, env Env, r *root) error {
	a := control.Args{}
	if c.Forget {
		a["forget"] = "yes"
	}
	return r.do(ctx, env, "token rotate", a)
}
