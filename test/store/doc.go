// Package store proves the online store from outside: the program as a process,
// its users over HTTP and WebSocket, kill -9 at every crash point, and the
// invariants of what it kept, checked in its data directory afterwards. Its
// controls run the same with a program that lacks one safety step (package
// faulty), and want those invariants to be broken.
package store
