// Package sqlitestore keeps logs and tables in a SQLite file that one process
// owns.
//
//	store, err := sqlitestore.Open(ctx, sqlitestore.Config{Path: "souk.db"})
//
// One connection writes, a few read, and one copies the write-ahead log to the
// database in the background. Every commit is flushed to the disk
// (synchronous=FULL), so a store commits many rows at once: see package driver.
// Settings that durability rests on are read back when the database is opened.
// A service's tables carry its name as a prefix: orders_bb_log.
//
// A program that has a SQLite database of its own can append events within its
// transactions with [Append], and take part as a consumer with [Inbox].
package sqlitestore

import "example.org/souk/backbone/driver"

var (
	_ driver.Store    = (*Store)(nil)
	_ driver.Backuper = (*Store)(nil)
	_ driver.Tx       = (*tx)(nil)
)
