package exitgate

import (
	"cmp"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/event"
)

func adoptWhenArrived(e event.CustomerArrived, m backbone.Meta) []backbone.Effect {
	return []backbone.Effect{backbone.Send(AdoptVisit{
		Visitor: mall.VisitorID(e.Store, e.Customer, e.Card), Visit: e.Visit, At: cmp.Or(e.At, m.Time.UnixMicro()),
	})}
}
