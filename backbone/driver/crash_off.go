//go:build !crashpoints

package driver

// CrashPoint marks a place at which crash tests kill the process. It does nothing
// and costs nothing unless the program is built with the tag crashpoints.
func CrashPoint(string) {}
