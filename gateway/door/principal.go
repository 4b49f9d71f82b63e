package door

import (
	"fmt"
	"slices"
	"time"
)

// Role is a kind of caller. Each has its own gateways.
type Role string

// The roles. An engineer minds the machinery, not the shop.
const (
	Customer Role = "customer"
	Staff    Role = "staff"
	Robot    Role = "robot"
	Device   Role = "device"
	Partner  Role = "partner"
	Engineer Role = "engineer"
)

// Roles lists all roles.
func Roles() []Role { return []Role{Customer, Staff, Robot, Device, Partner, Engineer} }

func (r Role) valid() bool { return slices.Contains(Roles(), r) }

// Rank tells members of staff apart. It is no role: whoever is a clerk in the morning and a manager in the evening stays one person,
// under one subject.
type Rank string

// The ranks of staff, lowest first. Every other role has none.
const (
	Clerk   Rank = "clerk"
	Manager Rank = "manager"
)

// Ranks lists all ranks.
func Ranks() []Rank { return []Rank{Clerk, Manager} }

// rankOf returns the rank that a grant of a role means; the empty rank of staff is a clerk's.
func rankOf(role Role, rank Rank) (Rank, error) {
	switch {
	case role == Staff && rank == "":
		return Clerk, nil
	case role == Staff && slices.Contains(Ranks(), rank), rank == "":
		return rank, nil
	}
	return "", fmt.Errorf("rank %q: only %s has one: use one of %v", rank, Staff, Ranks())
}

// Gates names the gateways that serve a role, and so the audience of its tokens.
func (r Role) Gates() []string {
	switch r {
	case Customer:
		return []string{"online", "kiosk", "rpc"}
	case Staff:
		return []string{"online", "kiosk", "staff", "rpc"}
	case Robot:
		return []string{"robots"}
	case Device:
		return []string{"devices", "kiosk"}
	case Partner:
		return []string{"partner"}
	case Engineer:
		return []string{"staff", "console", "rpc"}
	}
	return nil
}

// Principal is somebody whose token was verified.
type Principal struct {
	Role    Role
	Rank    Rank   // of staff
	Subject string // the id of the customer, the member of staff, the robot ...
	Session string
	Expires time.Time

	key   string        // role:subject
	since time.Time     // when the session began
	ttl   time.Duration // of the token
	gates []string
	kid   string     // of the key of ours that signed the token; "": none did
	by    *signature // of a token of an issuer outside; nil: it is not of one
}

// Actor returns the principal as events name who caused them: "customer:CUSTOMER_001".
func (p *Principal) Actor() string { return p.key }

func principalOf(c *claims, kid string) *Principal {
	return &Principal{
		Role: c.Role, Rank: c.Rank, Subject: c.Subject, Session: c.Session, Expires: c.ExpiresAt.Time,
		key: subjectKey(c.Role, c.Subject), since: c.Since.Time, ttl: c.ExpiresAt.Sub(c.IssuedAt.Time), gates: c.Audience, kid: kid,
	}
}

func subjectKey(r Role, subject string) string { return string(r) + ":" + subject }

// Scope says to which things a role's access to a route extends.
type Scope int

// The scopes.
const (
	// None is no access at all.
	None Scope = iota
	// Own is access to what belongs to the caller; the handler asks Caller.Owns.
	Own
	// All is access to everything that the route serves.
	All
)

// admits reports whether somebody's rank is enough for a route that is for managers only. It bars only staff: whoever of another role the
// route names is named for a reason.
func (p *Principal) admits(managers bool) bool {
	return !managers || p.Role != Staff || p.Rank == Manager
}

// Access is the policy of a route: who may use it, and on what. Roles that it does not name are refused.
type Access map[Role]Scope

// Caller is the principal of a request together with what the route's policy gives it. The zero Caller of a public route is nobody.
type Caller struct {
	Principal
	scope Scope
	asked bool
	alien bool // something was asked for that is somebody else's
}

// Owns reports whether the caller may see and act on what belongs to the named subject. Where it may not, the thing does not exist for the
// caller: a handler answers as if it were not there.
func (c *Caller) Owns(subject string) bool {
	c.asked = true
	owns := c.scope == All || c.scope == Own && c.Subject == subject
	c.alien = c.alien || !owns
	return owns
}

// Limited reports whether the caller's access is limited to what is its own.
func (c *Caller) Limited() bool { return c.scope == Own }
