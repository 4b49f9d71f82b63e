package partner

import (
	"context"
	"fmt"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/event"
)

// ServiceName is the name of the gateway's service.
const ServiceName = "partner"

// patience is how long a connection is tried before partners there are not told of an order.
const patience = 7 * 24 * time.Hour

const publishName = "publish"

// Publication is what one connection is to be told of an order.
type Publication struct {
	Connection string      `json:"connection"`
	Order      string      `json:"order"`
	Customer   string      `json:"customer"`
	Total      mall.Money  `json:"total"`
	Items      []mall.Item `json:"items"`
	// Known says that the order came from this connection, so its item has been there.
	Known bool `json:"known,omitempty"`
}

// Service is the table of the service. It tells the gateway's connections of orders.
func (g *Gateway) Service() *backbone.Service {
	return &backbone.Service{
		Name:  ServiceName,
		About: "Minds what comes from partners and what they are told.",
		Handles: []backbone.Handler{
			backbone.Decide(orders, take),
			backbone.Decide(orders, refuse),
			backbone.Decide(orders, announce),
			backbone.Decide(orders, unpublished),
			backbone.Decide(messages, keepMessage),
		},
		Reacts:     []backbone.Subscriber{backbone.Whenever(g.publishWhenAnnounced)},
		Subscribes: []backbone.Subscriber{backbone.Whenever(announceWhenPlaced)},
		Sends:      []backbone.Command{},
		Sagas:      []backbone.SagaDefinition{placing},
		Calls:      []backbone.CallType{backbone.CallTo(publishName, publisher{g}, unlessPublished)},
	}
}

// placing places an order that was taken.
var placing = &backbone.Saga[OrderTaken]{
	Name:    "placing",
	Version: 1,
	Starts:  backbone.StartsOn(func(e OrderTaken, _ backbone.Meta) (string, OrderTaken) { return e.Order, e }),
	Steps: []backbone.Step[OrderTaken]{{
		Name: "place order",
		Do: func(e OrderTaken) backbone.Command {
			c := command.PlaceOrder{Order: e.Order, Customer: e.Account, Items: []mall.Item{e.Product}}
			if mall.ValidID(e.ID) == nil {
				c.Message = e.ID
			}
			return c
		},
		OnTimeout: backbone.Wait,
	}},
	Rejected: func(e OrderTaken, _ string, r backbone.Refusal) backbone.Command {
		return RefusePartnerOrder{
			Order: e.Order, Connection: e.Connection, ID: e.ID, Item: e.Item, Quantity: e.Quantity, Cause: r.Code, Detail: r.Detail,
		}
	},
}

func announceWhenPlaced(e event.OrderPlaced, _ backbone.Meta) []backbone.Effect {
	return []backbone.Effect{backbone.Send(AnnounceOrder{Order: e.Order, Customer: e.Customer, Total: e.Total, Items: e.Items})}
}

// publishWhenAnnounced makes a call for each connection. They are of streams of their own, since one that is away delays
// none of the others.
func (g *Gateway) publishWhenAnnounced(e OrderAnnounced, m backbone.Meta) []backbone.Effect {
	var effects []backbone.Effect
	for _, l := range g.links {
		key := digest([]byte(l.name))[:10] + "-" + e.Order
		effects = append(effects, backbone.MakeCall(publishName, key, key, Publication{
			Connection: l.name, Order: e.Order, Customer: e.Customer, Total: e.Total, Items: e.Items, Known: e.From == l.name,
		}, m.Time.Add(patience)))
	}
	return effects
}

type publisher struct{ gateway *Gateway }

// Call returns when the broker has confirmed everything. A broker cannot be asked what became of a message, so what is in
// doubt is sent again under the same id.
func (p publisher) Call(ctx context.Context, _ backbone.CallRequest, r Publication) (any, error) {
	l := p.gateway.link(r.Connection)
	if l == nil {
		return nil, backbone.Permanent(fmt.Errorf("there is no connection to %s any more", r.Connection))
	}
	list, err := r.messages()
	if err != nil {
		return nil, backbone.Permanent(err)
	}
	if err := l.broker.publish(ctx, list); err != nil {
		return nil, backbone.Transient(err)
	}
	backbone.CrashPoint("partner.told")
	return nil, nil
}

// unlessPublished tells only what did not go out: what did is at the broker.
func unlessPublished(p Publication, o backbone.CallOutcome) backbone.Command {
	if !o.Failed {
		return nil
	}
	return RecordUnpublished{Order: p.Order, Connection: p.Connection, Cause: o.Cause}
}
