// Package bench puts load on a mall as its users would, through its ways in, and
// says what came of it. The load and the mall are processes of their own on one
// machine, so what the client needs is counted against what the mall can do, but
// not as the mall's own cost.
package bench
