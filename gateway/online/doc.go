// Package online is the way in for the online store: orders and stock over REST, and a feed for each customer over WebSocket, in the names and
// numbers that the store speaks. Those names exist here alone; behind this package there are the mall's own commands and events.
//
// Register adds its routes to a door. What lies behind is a handful of small interfaces that the root of the program fills:
// Commands, Catalogue, Orders, Stock, Pulses and, in test mode, Seeder.
//
// Amounts are decimal major units of the shop's one currency, converted exactly. Ids are checked here before they go anywhere.
package online
