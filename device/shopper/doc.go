// Package shopper is a kiosk with people before it, to try a mall with: they look around, choose, order, change their minds, walk off, or come to
// the depot and pay. It knows only the wire: the REST interface of the kiosk and its server-sent events.
//
// What people do follows from a seed: the same seed gives the same people, wishes and order. What goes wrong follows from it, too, as
// long as the same faults are switched on: baskets that are left behind, orders that are called off or never collected, and
// requests that are sent twice or whose answers are lost. Faults can be switched while it runs.
package shopper
