// Package command lists every request that one service of the mall takes from outside itself, one file per owning service.
//
// A command is imperative and may be refused; the refusal is its answer. Its struct is its wire form, named by the
// constant that CommandType returns, under the same rules as an event's: names never change meaning, fields may be added, testdata holds
// one frozen sample of each type, which the tests of package mall keep true.
//
// Stream says which stream the command is decided on: the id of the order, customer, product, payment or stock that it is
// about. Validate says whether the command makes sense by itself; it is pure and needs no state. A gateway asks it before it accepts a
// command, and only a valid command may be sent on.
//
// Commands are plain values: copy them, share them, do not change the slices of one that somebody else has. As in package event,
// instants are microseconds since the Unix epoch and everything about a person beyond the customer's id is sealed.
package command

// Command is what the types of this package have in common.
type Command interface {
	// CommandType returns the wire name, as listed in wire.go.
	CommandType() string
	// Stream returns the id of the stream that the command is decided on. It is a valid id when Validate answers nil.
	Stream() string
	// Validate answers nil, or a *mall.FieldError that names the first field that is wrong.
	Validate() error
}
