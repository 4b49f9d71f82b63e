// Package robots is the way in and out for robots: one stream of gRPC a robot, in both directions (souk.robots.v1.RobotsService).
//
//	gateway, err := robots.New(robots.Config{
//		Commands: runtime, Reader: runtime.Reader("depot"), Changed: runtime.Changed, Logins: logins,
//	})
//	go gateway.Run(ctx)
//	server.Handle(gateway.Path(), gateway)
//
// A robot comes with the login of a device of the kind robot. It joins the fleet by its Hello. What it is to do is the
// depot's to say: the gateway keeps nothing but what the robot said last, and compares the two. Where they differ it sends an
// order, or cancels one; so a lost link, a restart on either side or another process changes nothing.
//
// What a robot has done is a command of the depot and is answered (Taken) when it is durable. A robot says it again until then,
// under the same number, and it counts once. A robot that is heard of has its lease renewed, three times a lease and when its
// mode changes. One that says that it is in error is not counted on.
//
// Positions are shown to others in the process (Sightings, Watch), which may tell other processes, and kept nowhere: only the last of each
// robot is there, and one that comes too early after another is dropped.
//
// The gateway runs where the depot runs.
package robots
