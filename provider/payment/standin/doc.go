// Package standin is a stand-in for a payment provider. It moves no money and must not be put before real payments: it
// exists so that tests, demonstrations and developers have a provider whose failures can be switched on.
//
// It is a process of its own (cmd/paymentstandin), or a value that runs inside a test ([New], [Provider.Run]). It keeps
// a durable ledger and its own idea of what is allowed, shared with nobody, so that what a shop believes can be compared
// with what its provider did:
//
//   - one execution per Idempotency-Key, remembered for 24 hours; the same key with another content is 422;
//   - a payment is authorized once; authorized >= captured >= refunded; only what is uncaptured can be voided, as a whole;
//   - an entry is on disk before its answer leaves.
//
// Every request needs "Authorization: Bearer API-KEY":
//
//	POST /v1/payments/{payment}/authorize|void|capture|refund   with Idempotency-Key
//	GET  /v1/keys/{key}    what happened under a key, however old
//	GET  /ledger           the sums and, unless ?entries=false, every entry
//	GET  /faults, PUT /faults    see Faults; PUT replaces all of them
package standin
