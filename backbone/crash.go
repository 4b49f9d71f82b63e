package backbone

import "example.org/souk/backbone/driver"

// CrashPoint marks a place in a gateway at which crash tests kill the process, as driver.CrashPoint does in the backbone: between what
// comes in, what is committed, and what is answered. The name is written out where it is called, since tests read the list of all points
// from the source. It does nothing and costs nothing unless the program is built with the tag crashpoints.
func CrashPoint(name string) { driver.CrashPoint(name) }
