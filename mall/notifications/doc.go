// Package notifications minds who is told what.
//
// Decides: once for each message, whether it was sent or given up.
//
// Keeps: a stream for each notification, under the id of the event that it tells of; the view contacts, which says how
// each customer is reached, in sealed tokens.
//
// Handles: its own RecordNotification, with which the outcome of a sending comes back.
//
// Subscribes: to what customers are told about (orders.OrderApproved, OrderRejected, OrderBackordered, OrderShort, OrderAmended, OrderReadied,
// OrderCompleted, OrderCanceled, OrderExpired; payments.VisitCharged, which is the receipt, and VisitChargeFailed) and to customers.* for the contacts. The confirmation is sent on OrderApproved: stock is known then.
//
// Refuses: nothing.
//
// A sending is a call (interface Sender) whose request names the customer and holds nothing personal. Address and name are
// looked up and opened when it is sent, so a handler never waits for a contact that it has not heard of yet, and nobody
// forgotten in the meantime is written to. One event makes one Message-ID, however often it is tried. It goes by the channel that the customer wants for
// what it is about (mall.Tell): e-mail, text message, or none.
package notifications
