// Package payment talks to a payment provider over HTTP.
//
// A [Client] authorizes, voids, captures and refunds. Every one of these carries the caller's key as Idempotency-Key: the
// provider executes a key once and answers it alike for as long as it remembers it, so a call of unknown outcome is made
// again with the same key, or settled with [Client.Ask].
//
// A decline is an answer, not an error. Errors are of type [*Error] and carry their [Class] as data, because what to do
// next depends on it alone:
//
//   - [Unavailable]: it was not executed. Make the same call again later.
//   - [Unknown]: it may have been executed. Ask, or make the same call with the same key; never with another one.
//   - [Refused]: it was not executed and never will be. Give up.
//
// A key older than the provider's memory (24 hours at the stand-in) must only be asked about: sent again it would be a
// new call.
//
// Some providers report outcomes a second time through a callback; [OpenCallback] checks and reads one.
//
// The package standin beside this one is a stand-in for a provider, for tests, demonstrations and development: it moves
// no money.
package payment
