package devices

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/event"
)

// screen is what a display shows, until it expires.
type screen struct {
	Visit   string   `json:"visit"`
	Lines   []string `json:"lines"`
	Expires string   `json:"expires_at"`
}

// Bodies as older systems know them.
type (
	welcomeBody struct {
		Timestamp string   `json:"timestamp"`
		Visit     string   `json:"visit_id"`
		Message   string   `json:"message"`
		Lines     []string `json:"lines"`
	}
	dueBody struct {
		Timestamp string       `json:"timestamp"`
		Customer  string       `json:"customer_id"`
		Amount    int64        `json:"amount"` // minor units
		Currency  string       `json:"currency"`
		Visit     string       `json:"visit_id"`
		Unpriced  []unknownRow `json:"unpriced,omitempty"` // for a clerk
	}
	unknownRow struct {
		Item     string `json:"item_id"`
		Quantity int64  `json:"quantity"`
	}
	restockBody struct {
		Timestamp string `json:"timestamp"`
		Item      string `json:"item_id"`
		Quantity  int64  `json:"quantity"`
		Threshold int64  `json:"threshold"`
	}
	movedBody struct {
		Timestamp string       `json:"timestamp"`
		Customer  string       `json:"customer_id"`
		Items     []unknownRow `json:"items,omitempty"`
	}
)

// showFor is how long a welcome stays on a display.
const showFor = 30 * time.Second

// tell publishes a notice. It waits until the sessions are back that those have who are away.
func (g *Gateway) tell(ctx context.Context, n Notice) error {
	if g.server == nil {
		return nil
	}
	select {
	case <-g.serving:
	case <-ctx.Done():
		return ctx.Err()
	}
	at := time.UnixMicro(n.Time).UTC()
	switch {
	case n.Until != 0 && g.Clock.Now().UnixMicro() > n.Until:
		return nil
	case n.Welcome != nil:
		return g.welcome(ctx, at, *n.Welcome)
	case n.Due != nil:
		return g.due(at, n.ID, *n.Due)
	case n.Restock != nil:
		return g.restock(ctx, at, n.ID, *n.Restock)
	case n.Open != nil:
		return g.open(at, n.ID, *n.Open)
	}
	return nil
}

// welcome opens the visitor's name and shows it. It is the one place where a name leaves for a device; a key that is gone
// makes a neutral greeting of it.
func (g *Gateway) welcome(ctx context.Context, at time.Time, e event.WelcomeShown) error {
	lines := []string{"Welcome"}
	if e.Name != "" {
		name, ok, err := g.Keys.Reveal(ctx, string(e.Name))
		if err != nil {
			return err
		}
		if name = strings.Join(strings.Fields(name), " "); ok && name != "" {
			lines = nil
			for _, l := range e.Lines {
				lines = append(lines, strings.ReplaceAll(l, "{name}", name))
			}
		}
	}
	devices, err := Logins(ctx, g.Reader, "")
	if err != nil {
		return err
	}
	body := screen{e.Visit, lines, stamp(g.Clock.Now().Add(showFor))}
	var errs []error
	for _, l := range devices {
		if l.Store == e.Store && l.Kind == Display {
			errs = append(errs, g.publish(l, ofDevice, nameContent, body, true))
		}
	}
	errs = append(errs, g.publish(Login{Store: e.Store}, ofOlder, nameWelcome, welcomeBody{stamp(at), e.Visit, lines[0], lines}, false))
	return errors.Join(errs...)
}

func (g *Gateway) due(at time.Time, id string, e event.PaymentDue) error {
	body := dueBody{stamp(at), e.Customer, e.Total.Amount, e.Total.Currency, e.Visit, rowsOf(e.Unpriced)}
	to := Login{Store: e.Store}
	return errors.Join(
		g.publish(to, ofBusiness, businessDue, g.enveloped(at, id, event.PaymentDueV1, body), false),
		g.publish(to, ofOlder, namePaymentDue, body, false),
	)
}

func (g *Gateway) restock(ctx context.Context, at time.Time, id string, e event.RestockNeeded) error {
	stores, err := g.Shop.StoresAt(ctx, e.Location)
	if err != nil {
		return err
	}
	body := restockBody{stamp(at), e.SKU, e.Quantity, e.Threshold}
	var errs []error
	for _, store := range stores {
		to := Login{Store: store}
		errs = append(errs,
			g.publish(to, ofBusiness, businessRestock, g.enveloped(at, id, event.RestockNeededV1, body), false),
			g.publish(to, ofOlder, nameRestock, body, false))
	}
	return errors.Join(errs...)
}

// order is what a device is told to do, on its topic cmd/{type}.
type order struct {
	ID        string `json:"id"` // names it in the device's ack
	Timestamp string `json:"ts"`
	Expires   string `json:"expires_at"` // it is not done later
}

// open tells a gate to open.
func (g *Gateway) open(at time.Time, id string, e GateOpened) error {
	l := Login{Device: e.Device, Store: e.Store, Kind: e.Kind}
	return g.publish(l, ofDevice, orderOpen, order{id, stamp(at), stamp(at.Add(openFor))}, false)
}

// echo tells older systems of what came in on a topic of ours, which they do not know. It goes out before the device has its
// acknowledgement.
func (g *Gateway) echo(l Login, w what, s seen) {
	at := s.stamp
	if at == "" {
		at = stamp(g.Clock.Now())
	}
	body := movedBody{Timestamp: at, Customer: s.customer}
	name := nameArrival
	if w == depart {
		name = nameDeparted
		for _, c := range s.codes {
			body.Items = append(body.Items, unknownRow{c.text, c.quantity})
		}
	}
	if err := g.publish(l, ofOlder, name, body, false); err != nil {
		g.Logger.Warn("older systems were not told of a visitor", "device", l.Device, "error", err)
	}
}

// here tells the devices of a store that we are here.
func (g *Gateway) here(store string) {
	body := struct {
		State     string `json:"state"`
		Timestamp string `json:"ts"`
	}{"ONLINE", stamp(g.Clock.Now())}
	if err := g.publish(Login{Store: store}, ofServer, nameConnection, body, true); err != nil {
		g.Logger.Warn("devices were not told that the mall is here", "store", store, "error", err)
	}
}

type envelope struct {
	SpecVersion string `json:"specversion"`
	ID          string `json:"id"`
	Source      string `json:"source"`
	Type        string `json:"type"`
	Time        string `json:"time"`
	Data        any    `json:"data"`
}

func (g *Gateway) enveloped(at time.Time, id, wire string, data any) envelope {
	return envelope{"1.0", id, "/souk/" + strings.Split(wire, ".")[1], wire, stamp(at), data}
}

// errMissed says that a message may have gone to a session that a new connection had just taken over, where nobody sends it on.
var errMissed = errors.New("a device that was connecting may have missed it")

// publish hands the server a message on a topic as it is to a device, or to all of its store, which the policy has to list. What is kept is kept for as
// long as it is shown. It is to be repeated after errMissed.
func (g *Gateway) publish(to Login, a area, name string, body any, keep bool) error {
	if t := row(a, name); t == nil || len(t.hear) == 0 {
		return fmt.Errorf("no device is told anything under the name %q", name)
	}
	payload, err := json.Marshal(body)
	if err != nil {
		return err
	}
	pk := packets.Packet{
		ProtocolVersion: 5,
		FixedHeader:     packets.FixedHeader{Type: packets.Publish, Qos: 1, Retain: keep},
		TopicName:       to.before(g.Chain, a) + name,
		Payload:         payload,
		PacketID:        1, // needed for form's sake; nothing answers
	}
	switch body.(type) {
	case screen:
		pk.Properties.MessageExpiryInterval = uint32(showFor / time.Second)
	case order:
		pk.Properties.MessageExpiryInterval = uint32(openFor / time.Second)
	}
	inline, ok := g.server.Clients.Get(mqtt.InlineClientId)
	if !ok {
		return errors.New("the MQTT server is not there")
	}
	missed := g.missed.Load()
	err = g.server.InjectPacket(inline, pk)
	backbone.CrashPoint("device.told")
	err = errors.Join(err, g.sessions.sync())
	backbone.CrashPoint("device.kept")
	if err == nil && g.missed.Load() != missed {
		err = errMissed
	}
	return err
}

func rowsOf(lines []mall.Line) []unknownRow {
	var rows []unknownRow
	for _, l := range lines {
		rows = append(rows, unknownRow{l.SKU, l.Quantity})
	}
	return rows
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
