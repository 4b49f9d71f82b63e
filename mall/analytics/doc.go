// Package analytics counts.
//
// Decides: nothing.
//
// Keeps: the views sales (orders and revenue by hour), outcomes (what became of orders, by hour) and products (what was
// ordered of each). All can be made again from the log at any time.
//
// Handles: no command.
//
// Subscribes: to orders.*.
//
// Refuses: nothing.
//
// An event counts in the hour in which it happened, whenever it arrives. Revenue is that of approved orders as they were
// approved; what is cancelled later is counted beside it under outcomes, not taken off.
package analytics
