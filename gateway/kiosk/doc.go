// Package kiosk is the way in for people who stand at a kiosk: a REST interface that describes itself in OpenAPI 3.1, server-sent
// events by which a basket and an order are followed live, and the page that a kiosk shows.
//
// Three kinds of callers come here. A kiosk has a login of its own, in the role of a device: it may look at the catalogue, register people,
// and open a session for whoever stands before it, as a guest or by a card. A session is a customer's token for this gateway alone; with
// it baskets and orders are reached, each customer's own. Staff may do what both may.
//
// Register adds the routes to a door, which keeps the policy, the limits, the Idempotency-Keys and the form of problems.
// Each operation stands in a table with its policy, and is described and read by huma from the Go types of what it takes and gives.
// What lies behind is a handful of small interfaces that the root of the program fills: Commands, Catalogue, Stock, Baskets,
// Border, Orders, Payments, People and Pulses.
//
// Where services run in other processes, what is answered with 202 is taken in while they are away (intake.go): a checkout, and that an order be
// canceled. All else needs an answer, and is refused with 503 until they are there.
//
// What is in stock is told as in_stock, low or out; in numbers only beside a line of a basket that wants more than there is. Amounts are minor units with a currency. Ids
// are checked here before they go anywhere.
package kiosk
