// Package door is what every way in over HTTP shares: who is at the door, what they may do, how much of it, and how they are told when they may not.
//
// One opens an Authority on the data directory, which holds the signing keys and what was revoked, and makes a Door with it. Each
// gateway takes a Gate of the door and registers its routes there. A route always says who may use it: one that does not is an error when the
// program is built, and Door.Routes lists them all, so that a test walks every route with every role.
//
//	authority, err := door.OpenAuthority(dir, clock)
//	d, err := door.New(door.Config{Authority: authority, Idempotency: table})
//	err = d.Gate("online").Add(door.Route{
//		Pattern: "GET /order/{id}",
//		Access:  door.Access{door.Customer: door.Own, door.Staff: door.All},
//		Handle:  show,
//	})
//	server := d.Server(listener address)
//
// What the door does for a request, in this order: it counts it among those in flight, carries its trace, bounds how often an address may knock,
// knows the caller by a bearer token or a cookie, keeps other sites' pages out, asks the route's policy, bounds how often the caller may ask,
// reads the body within its limit, answers a repeated Idempotency-Key from memory, and calls the handler. Whatever goes wrong
// is answered as a problem document (RFC 9457) without internals; a panic is answered too, and the process lives on.
//
// Ownership is part of the policy. Where a role's scope is Own, a handler asks Caller.Owns before it answers; one that
// forgets to is stopped when it tries to answer with success.
package door
