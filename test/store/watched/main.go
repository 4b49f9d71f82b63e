// Command watched is souk with one service more, a watcher. It notes every order that is placed and approved, and how
// often it was told, by a handler and in a view; and it fails at orders whose ids ask for that, or holds them at a gate.
package main

import "example.org/souk"

func main() { souk.New().Add(watcher()).Main() }
