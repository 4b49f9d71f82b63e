// Package faulty takes one safety step of the backbone away from a mall, by a wrapper around its transport or its databases: the tests
// of controls put it into a program of their own, run what they run otherwise too, and want the damage to be named. The mall
// itself knows nothing of it.
package faulty

import (
	"os"

	"example.org/souk/backbone/driver"
)

// Without names the variable of the environment that says which step a process lacks. Where it is empty, the process has all.
const Without = "FAULTY_WITHOUT"

// The steps.
const (
	Confirmation    = "confirmation"    // the relay moves its cursor whatever the broker says of what was sent
	Acknowledgement = "acknowledgement" // a message is acknowledged as it comes, before anything of it is committed
	Inbox           = "inbox"           // nothing is remembered of what was handled
	Epoch           = "epoch"           // an effect is committed whoever has the slice by then
	Anchors         = "anchors"         // whatever the broker has forgotten, it is thought to hold
)

// Transport returns what carries a mall's messages, without the step that this process lacks.
func Transport(t driver.Transport) driver.Transport {
	switch os.Getenv(Without) {
	case Confirmation:
		return hasty{t.(bus)}
	case Acknowledgement:
		return eager{t.(bus)}
	case Anchors:
		return trusting{t.(bus)}
	}
	return t
}

// Stores returns where the services of a mall keep what is theirs, without the step that this process lacks.
func Stores(of func(service string) driver.Store) func(service string) driver.Store {
	step := os.Getenv(Without)
	if step != Inbox && step != Epoch {
		return of
	}
	return func(service string) driver.Store {
		s := of(service)
		if s == nil {
			return nil
		}
		return store{s.(database), step}
	}
}
