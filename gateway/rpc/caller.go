package rpc

import (
	"context"
	"fmt"
	"time"
)

// Kind is a kind of caller.
type Kind string

// The kinds of callers.
const (
	// Process is a process of the mall. It acts for whom it names in the header Actor, or for itself.
	Process  Kind = "process"
	Staff    Kind = "staff"
	Engineer Kind = "engineer"
	Customer Kind = "customer"
)

// Kinds lists all kinds of callers.
func Kinds() []Kind { return []Kind{Process, Staff, Engineer, Customer} }

// Actor is the header in which a process names for whom it acts: "customer:C1". From everybody else it is ignored.
const Actor = "Souk-Actor"

// Caller is who calls.
type Caller struct {
	Kind Kind
	// Subject is the id of the process, the member of staff, the engineer or the customer.
	Subject string
	// Clerk says of staff that they are no managers.
	Clerk bool
	// Expires is when its credentials do; zero: never. Streams end then.
	Expires time.Time
	// Follow returns a context that ends when the credentials are revoked, and a function that ends the following. It
	// may be nil.
	Follow func(context.Context) (context.Context, func())
}

func (c *Caller) key() string { return string(c.Kind) + ":" + c.Subject }

// Scope says to which things a kind's access to a method extends.
type Scope int

// The scopes.
const (
	// None is no access at all.
	None Scope = iota
	// Own is access to what belongs to the caller.
	Own
	// All is access to everything that the method serves.
	All
)

// String returns the scope as the policy's documents show it.
func (s Scope) String() string { return [...]string{"-", "own", "all"}[s] }

// Access is the policy of a method: who may call it, and on what. Kinds that it does not name are refused.
type Access map[Kind]Scope

// The policies that several methods share. No other may change them.
var (
	processes = Access{Process: All}
	machinery = Access{Process: All, Engineer: All}
	shop      = Access{Process: All, Staff: All}
	lookers   = Access{Process: All, Staff: All, Engineer: All}
	everybody = Access{Process: All, Staff: All, Engineer: All, Customer: All}
	ownOrder  = Access{Process: All, Staff: All, Customer: Own}
	ownLook   = Access{Process: All, Staff: All, Engineer: All, Customer: Own}
)

// forManagers are the methods that clerks may not call: who sells in the mall and at which price, and what is on hand without a delivery.
var forManagers = []string{
	"/souk.v1.StoresService/CreateStore", "/souk.v1.StoresService/RebrandStore", "/souk.v1.StoresService/EnableParticipation",
	"/souk.v1.StoresService/DisableParticipation", "/souk.v1.InventoryService/AdjustStock",
	"/souk.v1.InventoryService/CountStock", "/souk.v1.DepotService/PlaceStore",
}

func (a Access) check() error {
	if len(a) == 0 {
		return fmt.Errorf("nobody may call it")
	}
	for k, s := range a {
		switch k {
		case Process, Staff, Engineer, Customer:
		default:
			return fmt.Errorf("%q is no kind of caller", k)
		}
		if s != Own && s != All {
			return fmt.Errorf("%s has no scope", k)
		}
	}
	return nil
}

// visit is what is known about a request while it is here.
type visit struct {
	caller Caller
	scope  Scope
	actor  string
	trace  string
	asked  bool // the handler asked whether something belongs to the caller
	alien  bool // it does not
	stall  func(waiting bool) error
	status int // what it came to, as an HTTP status; 0: nothing yet
}

// owns reports whether the caller may see and act on what belongs to a customer. Where it may not, the thing does not exist for the caller.
func (v *visit) owns(customer string) bool {
	v.asked = true
	owns := v.scope == All || v.scope == Own && v.caller.Kind == Customer && v.caller.Subject == customer
	v.alien = v.alien || !owns
	return owns
}

type visitKey struct{}

// visitOf returns the visit that a request's context carries.
func visitOf(ctx context.Context) *visit { return ctx.Value(visitKey{}).(*visit) }
