package depot

import (
	"cmp"
	"embed"
	"time"

	"example.org/souk/backbone"
)

//go:embed migrations/*.sql
var migrations embed.FS

// ServiceName is the name of the service.
const ServiceName = "depot"

// Config is what the shop settles about the depot.
type Config struct {
	// Lease is how long a robot is counted on that is not heard of; default DefaultLease.
	Lease time.Duration
}

// Service is the table of the service.
func Service(c Config) *backbone.Service {
	c.Lease = cmp.Or(c.Lease, DefaultLease)
	return &backbone.Service{
		Name:  ServiceName,
		About: "Minds who fetches what: shopping lists and the robots that work on them.",
		Handles: []backbone.Handler{
			backbone.Decide(lists, create),
			backbone.DecideMany(initiateStreams, initiate).On(lists, floors),
			backbone.DecideMany(assignStreams, assign).On(lists, robots, floors),
			backbone.Decide(lists, report),
			backbone.DecideMany(deliverStreams, deliver).On(lists, floors),
			backbone.DecideMany(completeStreams, complete).On(lists, robots, floors),
			backbone.DecideMany(cancelStreams, cancel).On(lists, floors),
			backbone.DecideMany(recoverStreams, recoverItems).On(lists, floors),
			backbone.Decide(robots, register),
			backbone.DecideMany(retireStreams, retire).On(robots, floors),
			backbone.DecideMany(renewStreams, c.renew).On(robots, floors),
			backbone.DecideMany(steerStreams, steer).On(robots, floors),
			backbone.DecideMany(assignRecoveryStreams, assignRecovery).On(lists, robots, floors),
			backbone.DecideMany(expireStreams, expire).On(robots, lists, floors),
			backbone.DecideMany(offerStreams, offer).On(lists, floors),
			backbone.DecideMany(freeStreams, free).On(robots, floors),
			backbone.Decide(floors, placeStore),
		},
		Reacts: []backbone.Subscriber{
			backbone.Whenever(assignWhenMatched),
			backbone.Whenever(offerWhenPutOff),
			backbone.Whenever(freeWhenCalledOff),
			// A lease ends by itself unless it is renewed. The timer knows the robot's list, which has to hear of it.
			backbone.Whenever(watchWhenRenewed),
			backbone.Whenever(watchWhenTasked),
			backbone.Whenever(watchWhenFreed),
			backbone.Whenever(forgetWhenRetired),
		},
		Subscribes: []backbone.Subscriber{
			backbone.Whenever(placeWhenCreated).From(backbone.FromFirst),
		},
		Sends:      []backbone.Command{},
		Views:      []backbone.View{fleet, listing, places},
		Migrations: migrations,
	}
}
