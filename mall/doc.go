// Package mall holds the words that every service of the mall shares: money, ids, the lines of an order, sealed personal
// fields, and the error that names the field that is wrong.
//
// What services say to each other with these words lies one folder down: package event lists every fact that crosses a
// service's border, package command every request that does. Each service is a package beside them.
//
// Nothing here knows a clock, a database or a network, and every value may be shared between goroutines.
package mall
