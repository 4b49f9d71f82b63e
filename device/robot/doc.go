// Package robot is a robot to try a mall with, or many of them: it comes to the depot, takes orders, drives to the stops, picks,
// hands in, charges. It knows only the wire (souk.robots.v1.RobotsService).
//
// What goes wrong follows from a seed, as long as the same faults are switched on: stops where less is found, ways that are
// blocked, robots that vanish with what they carry, links that break, reports that are made twice, batteries that are
// empty at once. Faults can be switched while it runs.
//
// A robot keeps to what is agreed about orders: it takes one only when it is idle, ignores the same one again, refuses another, and what
// was released to it does not change. Without a link it goes on with the order that it has, and says later what it did, until that
// was taken.
package robot
