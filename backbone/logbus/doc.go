// Package logbus is the transport that needs no broker: subscriptions read the
// logs themselves. One process on SQLite works that way, and several processes
// on one or more PostgreSQL databases.
//
// A Bus keeps one tail a source: a bounded ring of the newest records. What the
// process commits itself enters the ring through Committed, microseconds after
// the commit and without being read back; what other processes commit is read
// from the store, woken by Store.Listen and by a slow poll. The log of an
// Exclusive store is polled too: a program may append to it within transactions
// of its own (sqlitestore.Append).
//
// Each subscription has one feed a source. A feed reads the store until it
// reaches the ring and the ring from then on, and goes back to the store when
// it falls behind the ring, so a slow subscription costs the others nothing and
// memory stays bounded.
//
// Messages carry their log's position, and the subscription's checkpoint, moved
// in the transaction of the effect, is the dedupe: a delivery's Prev is where its
// slice's checkpoint stands when everything before it is done, so the moves of a
// slice form a chain without holes. Positions that a slice skipped because
// nothing in them was for it are moved over by the Bus itself, now and then and
// at a clean stop.
//
// What must hold, and where: a slice is with one owner because the guarded Move
// compares the epoch that Claim raised; leases only say when to try. A slice's
// records are delivered in order because a feed admits a slice between two chunks
// (feed.join) and goes back to the slice's position first. The Bus moves a
// checkpoint only while it holds the slice's lock and the stored position equals
// the last delivered one (subscription.sweep), so it never races with an effect.
package logbus
