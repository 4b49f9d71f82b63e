package devices

import (
	"context"
	"embed"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/event"
)

//go:embed migrations/*.sql
var migrations embed.FS

// ServiceName is the name of the gateway's service.
const ServiceName = "devices"

const (
	// What is of use for seconds only is told apart from what may wait, so that it never stands behind thousands of those.
	tellName    = "tell"
	tellNowName = "tell-now"
	// A welcome that comes late greets somebody else; the rest waits for a day.
	welcomeFor = 10 * time.Second
	tellFor    = 24 * time.Hour
	// A gate that hears late that it is to open opens for nobody.
	openFor = 5 * time.Second
)

// Service is the table of the service. g may be nil where it does not run.
func Service(g *Gateway) *backbone.Service {
	var caller backbone.Caller[Notice]
	if g != nil {
		caller = teller{g}
	}
	return &backbone.Service{
		Name:  ServiceName,
		About: "Minds which devices there are, what they have seen and what they are told.",
		Handles: []backbone.Handler{
			backbone.Decide(all, add),
			backbone.Decide(all, revoke),
			backbone.Decide(all, openGate),
			backbone.Decide(passages, takeArrival),
			backbone.Decide(passages, takeDeparture),
		},
		Reacts: []backbone.Subscriber{
			backbone.Whenever(tellGate),
			backbone.Whenever(passArrivalOn),
			backbone.Whenever(passDepartureOn),
		},
		Subscribes: []backbone.Subscriber{
			backbone.Whenever(tellWelcome),
			backbone.Whenever(tellDue),
			backbone.Whenever(tellRestock),
		},
		Sends:      []backbone.Command{command.ScanCard{}, command.ScanExit{}},
		Calls:      []backbone.CallType{backbone.CallTo(tellName, caller, toNobody), backbone.CallTo(tellNowName, caller, toNobody)},
		Views:      []backbone.View{logins},
		Migrations: migrations,
	}
}

// Notice is what devices are told. It stands in the log, so it holds nothing personal in the clear. One of Welcome, Due,
// Restock and Open is there.
type Notice struct {
	ID      string               `json:"id"` // of the event
	Time    int64                `json:"time"`
	Until   int64                `json:"until,omitempty"` // it is told to nobody later
	Welcome *event.WelcomeShown  `json:"welcome,omitempty"`
	Due     *event.PaymentDue    `json:"due,omitempty"`
	Restock *event.RestockNeeded `json:"restock,omitempty"`
	Open    *GateOpened          `json:"open,omitempty"`
}

func tellWelcome(e event.WelcomeShown, m backbone.Meta) []backbone.Effect {
	within := welcomeFor
	if e.Arrived != 0 {
		within -= m.Time.Sub(time.UnixMicro(e.Arrived))
	}
	return tell(tellNowName, m, e.Visit, within, Notice{Welcome: &e})
}

func tellDue(e event.PaymentDue, m backbone.Meta) []backbone.Effect {
	e.Lines = nil // what was in the bag concerns no device
	return tell(tellName, m, e.Visit, tellFor, Notice{Due: &e})
}

func tellRestock(e event.RestockNeeded, m backbone.Meta) []backbone.Effect {
	return tell(tellName, m, mall.StockID(e.SKU, e.Location), tellFor, Notice{Restock: &e})
}

func tellGate(e GateOpened, m backbone.Meta) []backbone.Effect {
	return tell(tellNowName, m, e.Device, openFor, Notice{Open: &e})
}

func tell(call string, m backbone.Meta, stream string, within time.Duration, n Notice) []backbone.Effect {
	n.ID, n.Time, n.Until = m.ID, m.Time.UnixMicro(), m.Time.Add(within).UnixMicro()
	return []backbone.Effect{backbone.MakeCall(call, "device-"+m.ID, stream, n, m.Time.Add(within))}
}

type teller struct{ gateway *Gateway }

// Call hands a notice to the devices that are there. MQTT keeps it for those that are subscribed and away.
func (t teller) Call(ctx context.Context, _ backbone.CallRequest, n Notice) (any, error) {
	return nil, t.gateway.tell(ctx, n)
}

// toNobody leaves no trace of a notice: whether somebody looked at a display is known to nobody.
func toNobody(Notice, backbone.CallOutcome) backbone.Command { return nil }
