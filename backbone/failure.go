package backbone

import (
	"errors"
)

// Class says what a failure means for the message that met it.
type Class int

// The classes of failures.
const (
	ClassUnknown        Class = iota // counts as an attempt, tried again later
	ClassTransient                   // likewise: something that passes
	ClassPermanent                   // parks at once: trying again cannot help
	ClassInfrastructure              // pauses and never counts: database, broker, lease, conflict, cancelled
)

// String returns the class's name.
func (c Class) String() string {
	return [...]string{"unknown", "transient", "permanent", "infrastructure"}[c]
}

type classError struct {
	error
	class Class
}

func (e *classError) Unwrap() error { return e.error }

// Permanent marks an error as one that trying again cannot help.
func Permanent(err error) error { return &classError{err, ClassPermanent} }

// Transient marks an error as one that passes by itself.
func Transient(err error) error { return &classError{err, ClassTransient} }

// ClassOf returns the class of an error.
func ClassOf(err error) Class {
	if e, ok := errors.AsType[*classError](err); ok {
		return e.class
	}
	return ClassUnknown
}

// Errors that Runtime.Do and its kin return, wrapped.
var (
	// ErrOverloaded: too much is waiting already. Nothing was recorded; try again later.
	ErrOverloaded = errors.New("overloaded")
	// ErrUnavailable: the database does not take the command now. Nothing was recorded.
	ErrUnavailable = errors.New("unavailable")
	// ErrPaused: the service is paused by an operator.
	ErrPaused = errors.New("service is paused")
	// ErrStopped: the runtime is stopping.
	ErrStopped = errors.New("stopped")
	// ErrDifferentCommand: a command of the same id but other content was answered before.
	ErrDifferentCommand = errors.New("another command with this id was answered before")
	// ErrNotHandled: no service of the parts list handles the command.
	ErrNotHandled = errors.New("no service handles the command")
)
