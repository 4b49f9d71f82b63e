// Package drivertest checks implementations of the interfaces in package driver
// against their contract. A new store calls [RunStore] in a test of its own; the
// suite is all that a store must pass to be used.
package drivertest
