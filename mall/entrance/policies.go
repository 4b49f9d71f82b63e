package entrance

import (
	"cmp"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/event"
)

// longest is how long a visit stays open where nobody saw the visitor leave.
const longest = 12 * time.Hour

func closeInTime(e VisitOpened, _ backbone.Meta) []backbone.Effect {
	due := time.UnixMicro(e.At).UTC().Add(longest)
	return []backbone.Effect{backbone.SetTimer(timer(e.Visit), due, CloseVisit{
		Visitor: e.Visitor, Visit: e.Visit, At: due.UnixMicro(), Reason: timedOut,
	})}
}

func closed(e VisitClosed, _ backbone.Meta) []backbone.Effect {
	return []backbone.Effect{backbone.CancelTimer(timer(e.Visit))}
}

func timer(visit string) string { return "visit/" + visit }

func closeWhenDeparted(e event.CustomerDeparted, m backbone.Meta) []backbone.Effect {
	c := CloseVisit{Visitor: mall.VisitorID(e.Store, e.Customer, e.Card), Visit: e.Visit, At: cmp.Or(e.At, m.Time.UnixMicro()), Reason: departed}
	if e.Unannounced {
		c.Visit = "" // an arrival may have been on its way to the exit
	}
	return []backbone.Effect{backbone.Send(c)}
}
