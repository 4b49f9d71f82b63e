// Package house joins the parts of the mall in one process: the services and
// their database, the ways in, and what the services call outside. It is where a
// service's small interfaces meet the gateways and providers that fill them; the
// command line starts it, and tests start it in process on port 0.
package house
