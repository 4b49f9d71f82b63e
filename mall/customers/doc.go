// Package customers minds who may buy.
//
// Decides: whether someone is a customer, enabled or disabled, and which contact and loyalty card they have.
//
// Keeps: a stream for each customer. Names and addresses stand in it as sealed tokens that this package cannot open.
//
// Handles: RegisterCustomer, ChangeContact, EnableCustomer, DisableCustomer, LinkCard, AuthorizeCustomer, ForgetCustomer.
//
// Subscribes: to nothing.
//
// Refuses: customer_exists, customer_unknown, customer_disabled, customer_forgotten. A command that asks for what is
// already so is done without an event. AuthorizeCustomer never leaves an event: its answer is all that comes of it.
package customers
