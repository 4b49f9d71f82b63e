package logistics

import "example.org/souk/backbone"

// Service is the table of the service. bus may be nil where the service does not run.
func Service(bus Bus) *backbone.Service {
	return &backbone.Service{
		Name:  "logistics",
		About: "Minds refilling: purchases and deliveries.",
		Handles: []backbone.Handler{
			backbone.Decide(purchases, propose),
			backbone.Decide(purchases, recordSending),
			backbone.Decide(purchases, accept),
			backbone.Decide(purchases, cancel),
		},
		Reacts: []backbone.Subscriber{
			backbone.Whenever(sendWhenProposed),
			backbone.Whenever(recallWhenCanceled),
		},
		Subscribes: []backbone.Subscriber{
			backbone.Whenever(proposeWhenNeeded),
		},
		Sends: []backbone.Command{},
		Calls: []backbone.CallType{sendCall(bus)},
	}
}
