// Package robots tries the mall with robots, which are other processes and know only the wire: the mall in one process on SQLite, and with every
// service in a process of its own on PostgreSQL.
package robots
