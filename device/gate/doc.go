// Package gate is a gate to try a shop with: people come in through it and leave with bags, and the mall has it opened by hand (open.go). It knows only the wire.
//
// What people do follows from a seed: the same seed gives the same people, bags and order. What goes wrong on the way follows
// from it, too, as long as the same faults are switched on: messages that are sent twice, change places, are misread or lost,
// and spells without a connection. Faults can be switched while it runs.
package gate
