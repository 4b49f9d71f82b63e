// Package standin is a supplier with a bus of its own, to try with and to start with: an MQTT server on loopback on which
// orders appear as RestockNeeded and from which delivery-notice and purchase-canceled come back.
//
// An order is acknowledged when it is in the ledger, a file that outlives the process. What was delivered is said again until
// somebody answers with a receipt, also after a restart. Faults can be switched while it runs, over HTTP with the password as
// the bearer token: GET and PUT /faults, GET /ledger, POST /deliver for what was held.
//
// Whoever has the password may subscribe to everything and speak as a supplier, too.
package standin
