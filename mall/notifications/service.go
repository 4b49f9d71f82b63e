package notifications

import (
	"embed"

	"example.org/souk/backbone"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Service is the table of the service. sender may be nil where the service does not run.
func Service(sender Sender) *backbone.Service {
	return &backbone.Service{
		Name:  "notifications",
		About: "Minds who is told what.",
		Handles: []backbone.Handler{
			backbone.Decide(notifications, record),
		},
		Subscribes: []backbone.Subscriber{
			backbone.Whenever(tellApproved),
			backbone.Whenever(tellRejected),
			backbone.Whenever(tellBackordered),
			backbone.Whenever(tellCanceled),
			backbone.Whenever(tellExpired),
			backbone.Whenever(tellShort),
			backbone.Whenever(tellAmended),
			backbone.Whenever(tellReadied),
			backbone.Whenever(tellCompleted),
			backbone.Whenever(tellCharged),
			backbone.Whenever(tellChargeFailed),
		},
		Sends:      []backbone.Command{},
		Calls:      []backbone.CallType{sendCall(sender)},
		Views:      []backbone.View{contacts},
		Migrations: migrations,
	}
}
