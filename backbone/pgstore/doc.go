// Package pgstore keeps logs and tables in PostgreSQL, for any number of
// processes.
//
//	store, err := pgstore.Open(ctx, pgstore.Config{URL: "postgres://..."})
//
// Each service has a schema of its own. A batch is one transaction at READ
// COMMITTED whose statements travel together, rows as one array a column. Locks
// are taken in one order: the heads of streams, what services write, the
// backbone's rows, and last the head row of the log, which gives out positions. So
// positions are dense and in commit order, readers need no horizon, and a
// transaction that sits idle elsewhere holds nobody up.
//
// A commit whose connection is lost is looked up by its transaction id on another
// connection. Settings that durability rests on (fsync, full_page_writes,
// synchronous_commit) are checked when the store is opened.
//
// A program that has a PostgreSQL database of its own can append events within
// its transactions with [Append] or [AppendSQL], and take part as a consumer with
// [Inbox] or [InboxSQL].
package pgstore

import "example.org/souk/backbone/driver"

var (
	_ driver.Store = (*Store)(nil)
	_ driver.Tx    = (*tx)(nil)
)
