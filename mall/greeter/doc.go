// Package greeter minds what the displays say to whoever comes in: the Hello Helper.
//
// Decides: once for each visit, what is shown: a welcome by name, the loyalty standing, orders that wait to be picked up; for
// somebody unknown a neutral greeting.
//
// Keeps: a stream for each visit (greeting); the views people and pickups, its own idea of customers and of their orders.
// Names stand there, in the log and in the event as sealed tokens, which this package cannot open.
//
// Handles: its own GreetVisitor.
//
// Subscribes: to entrance.CustomerArrived; to customers.CustomerRegistered, ContactChanged and CustomerForgotten for the names;
// to orders.OrderApproved, OrderReadied, OrderCollected, OrderCompleted, OrderCanceled and OrderExpired.
//
// Refuses: nothing. A customer that it has not heard of yet is greeted like a stranger: nobody waits at a door.
package greeter
