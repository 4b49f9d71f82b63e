// Package sqlstore holds the SQL that the SQLite and the PostgreSQL store share:
// the backbone's own tables (bb_*), how a batch's rows are written and guarded,
// and how they are read back.
//
// A [Shape] describes one kind of statement over many rows, and a [Batch] holds
// the rows, column by column. Each database turns the two into what is fast
// there: SQLite binds them to VALUES lists of a few fixed lengths, PostgreSQL
// passes one array a column to unnest. Everything else is the subset of SQL that
// both understand, with table names in braces.
//
// Files: shape.go (statements over many rows), schema.go and migrate.go (tables),
// log.go (reading a log), tx.go (what a batch loads), apply.go (what it writes),
// slices.go (the rows that owners of slices work on), append.go (one record inside
// someone else's transaction).
package sqlstore
