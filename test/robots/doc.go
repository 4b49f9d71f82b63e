// Package robots tries the mall with robots: the mall in one process on SQLite, and robots as other processes, which know only the
// wire.
package robots
