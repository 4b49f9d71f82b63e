// Package event lists every fact that one service of the mall publishes and others may hear, one file per owning service.
//
// An event is past tense and final. Its struct is its wire form; the constant that EventType returns names that form on
// every transport and never changes meaning: a new meaning is a new version beside the old one. Fields may be added, and a reader passes
// over those that it does not know. testdata holds one frozen sample of each type, which the tests of package mall keep true.
//
// What the envelope says is not said again here: the event's own id, when it happened, who did it and what caused it. Ids
// are opaque (mall.ValidID). Instants are microseconds since the Unix epoch. Quantities are pieces. Everything about a person beyond the
// customer's id is sealed (mall.Personal), and inventory's events know neither persons nor prices.
//
// All events are plain values: copy them, share them, do not change the slices of one that somebody else has.
package event

// Event is what the types of this package have in common.
type Event interface {
	// EventType returns the wire name, as listed in wire.go.
	EventType() string
}
