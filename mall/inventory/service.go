package inventory

import (
	"embed"

	"example.org/souk/backbone"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Service is the table of the service.
func Service() *backbone.Service {
	return &backbone.Service{
		Name:  "inventory",
		About: "Minds what is there, per location, and for whom it is held.",
		Handles: []backbone.Handler{
			backbone.Decide(stock, receive),
			backbone.Decide(stock, adjust),
			backbone.Decide(stock, count),
			backbone.Decide(stock, setThreshold),
			backbone.Decide(stock, takeDelivery),
			backbone.Decide(stock, forgetPurchase),
			backbone.DecideMany(issueStreams, issueStock).On(issues, stock),
			backbone.DecideMany(issueReservedStreams, issueReserved).On(reservations, issues, stock),
			backbone.DecideMany(reserveStreams, reserve).On(reservations, stock),
			backbone.DecideMany(commitStreams, commit).On(reservations, stock),
			backbone.DecideMany(releaseStreams, release).On(reservations, stock),
			backbone.DecideMany(expireStreams, expire).On(reservations, stock),
			backbone.DecideMany(noteShortStreams, noteShort).On(reservations, stock),
			backbone.DecideMany(resumeStreams, resume).On(reservations, stock),
		},
		Reacts: []backbone.Subscriber{
			// A reservation ends by itself unless something ends it before.
			backbone.Whenever(expireWhenHeld),
			backbone.Whenever(expireWhenWaiting),
			backbone.Whenever(keepWhenCommitted),
			backbone.Whenever(keepWhenIssued),
			backbone.Whenever(stopWhenReleased),
			backbone.Whenever(stopWhenClosed),
			// What became available goes to those who wait for it.
			backbone.Whenever(resumeWaiting),
		},
		Subscribes: []backbone.Subscriber{
			backbone.Whenever(adoptThreshold).From(backbone.FromFirst),
			backbone.Whenever(issueWhenDeparted).From(backbone.FromFirst),
			backbone.Whenever(takeWhenReceived).From(backbone.FromFirst),
			backbone.Whenever(forgetWhenCanceled).From(backbone.FromFirst),
			// What was short before this was heard of may have been counted since.
			backbone.Whenever(noteWhenShort),
		},
		Sends:      []backbone.Command{},
		Views:      []backbone.View{levels},
		Migrations: migrations,
	}
}
