package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"example.org/souk/gateway/devices"
	"example.org/souk/mall/event"
)

// Departures measures how many visitors may leave a supermarket in a second. Each leaves through a gate that tells of it by MQTT with
// QoS 1 and waits for the acknowledgement before the next one; meanwhile others come in one by one, and are greeted on a display.
type Departures struct {
	Program  []string      // runs souk; its arguments follow
	Duration time.Duration // of the load; default 10 s
	Gates    int           // default 128, each with a connection of its own
	Rate     int           // departures a second; 0: each gate goes on when it is answered
	Arrivals int           // a second at most, beside the departures; default 20
	Log      io.Writer     // hears of the progress; may be nil
}

// DeparturesResult is what a run found. Costs are those of souk's process.
type DeparturesResult struct {
	Loop              string   `json:"loop"`
	Acknowledged      int64    `json:"acknowledged"`
	AcknowledgedPerS  float64  `json:"acknowledgedPerSecond"`
	HandledPerS       float64  `json:"handledPerSecond"` // until nothing was in flight: stock issued, payment due, charged, the receipt sent
	AckMS             Times    `json:"ackMs"`
	Greeted           int      `json:"greeted"`
	GreetingMS        Times    `json:"greetingMs"` // from the publish of the arrival to the display
	CPUMSPerDeparture float64  `json:"cpuMsPerDeparture"`
	PeakRSSBytes      int64    `json:"peakRssBytes"`
	Violations        []string `json:"violations"`
}

// hall is the store in which the gates stand, that of world.
const hall = "s"

// greetWithin is how long a greeting is waited for.
const greetWithin = 10 * time.Second

// Run opens a supermarket, lets people pass, and compares what came of it with what was acknowledged.
func (d Departures) Run(ctx context.Context) (res DeparturesResult, err error) {
	d.setDefaults()
	res.Loop, res.Violations = loop(d.Rate), []string{}
	shop, rest := world(fewProducts)
	passwords := map[string]string{}
	add := func(kind devices.Kind, device string) {
		passwords[device] = devices.NewPassword()
		rest = append(rest, devices.AddDevice{Device: device, Store: hall, Kind: kind, Hash: devices.HashOf(passwords[device])})
	}
	for i := range d.Gates {
		add(devices.Gate, gateName(i))
	}
	add(devices.GateIn, "gate-in-1")
	add(devices.Display, "display-1")
	m, err := openWhole(ctx, d.Program, d.Log, shop, rest)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, m.remove()) }()
	connect := func(device string, heard func([]byte)) (*paho.Client, error) {
		return dialDevice(ctx, m.devices, device, passwords[device], heard)
	}
	gates := make([]*paho.Client, d.Gates)
	for i := range gates {
		if gates[i], err = connect(gateName(i), nil); err != nil {
			return res, err
		}
		defer hangUp(gates[i])
	}
	seen := make(chan struct{}, 1)
	display, err := connect("display-1", func([]byte) {
		select {
		case seen <- struct{}{}:
		default: // two greetings for one arrival: the counts below differ
		}
	})
	if err != nil {
		return res, err
	}
	defer hangUp(display)
	if _, err := display.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: "display-welcome", QoS: 1}}}); err != nil {
		return res, fmt.Errorf("display: %w", err)
	}
	entry, err := connect("gate-in-1", nil)
	if err != nil {
		return res, err
	}
	defer hangUp(entry)

	l := &leaving{failed: map[string]int{}}
	cpu, began := m.cpu(), time.Now()
	coming, stop := context.WithCancel(ctx)
	defer stop()
	var greets []time.Duration
	var arrived int64
	var comes sync.WaitGroup
	comes.Go(func() { greets, arrived = d.arrive(coming, entry, seen, l) })
	elapsed := put(ctx, d.Gates, d.Rate, d.Duration, func(gate int, due time.Time) { l.leave(ctx, gates[gate], gate, due) })
	stop()
	comes.Wait()
	if err := m.settled(ctx); err != nil {
		res.Violations = append(res.Violations, err.Error())
	}
	took := time.Since(began)
	res.Acknowledged = l.acknowledged.Load()
	res.AcknowledgedPerS, res.HandledPerS = rate(int(res.Acknowledged), elapsed), rate(int(res.Acknowledged), took)
	res.CPUMSPerDeparture = float64((m.cpu() - cpu).Microseconds()) / 1000 / float64(max(res.Acknowledged, 1))
	res.PeakRSSBytes = m.status("VmHWM:")
	res.AckMS, res.Greeted, res.GreetingMS = times(l.took), len(greets), times(greets)
	for what, n := range l.failed {
		res.Violations = append(res.Violations, fmt.Sprintf("%d x %s", n, what))
	}
	counts, err := m.end(ctx, event.CustomerDepartedV1, event.StockIssuedV1, event.PaymentDueV1, event.CustomerArrivedV1)
	if err != nil {
		return res, err
	}
	for _, wire := range []string{event.CustomerDepartedV1, event.StockIssuedV1, event.PaymentDueV1} {
		if counts[wire] != res.Acknowledged {
			res.Violations = append(res.Violations, fmt.Sprintf("%d departures were acknowledged, and there are %d of %s", res.Acknowledged, counts[wire], wire))
		}
	}
	if counts[event.CustomerArrivedV1] != arrived || int64(len(greets)) != arrived {
		res.Violations = append(res.Violations, fmt.Sprintf("%d came in, %d arrived, %d were greeted", arrived, counts[event.CustomerArrivedV1], len(greets)))
	}
	return res, nil
}

// fewProducts is how many there are where that is no matter.
const fewProducts = 50

func (d *Departures) setDefaults() {
	if d.Duration <= 0 {
		d.Duration = 10 * time.Second
	}
	if d.Gates <= 0 {
		d.Gates = 128
	}
	if d.Arrivals <= 0 {
		d.Arrivals = 20
	}
	if d.Log == nil {
		d.Log = io.Discard
	}
}

func gateName(i int) string { return fmt.Sprintf("gate-%d", i+1) }

// dialDevice connects a device to an MQTT server, mqtt://host:port.
func dialDevice(ctx context.Context, server, device, password string, heard func([]byte)) (*paho.Client, error) {
	at, err := url.Parse(server)
	if err != nil {
		return nil, fmt.Errorf("devices: %w", err)
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", at.Host)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", device, err)
	}
	client := paho.NewClient(paho.ClientConfig{
		Conn: conn, PacketTimeout: 30 * time.Second,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(r paho.PublishReceived) (bool, error) {
			if heard != nil {
				heard(r.Packet.Payload)
			}
			return true, nil
		}},
	})
	_, err = client.Connect(ctx, &paho.Connect{
		ClientID: device, Username: device, UsernameFlag: true, Password: []byte(password), PasswordFlag: true, KeepAlive: 60, CleanStart: true,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", device, err), conn.Close())
	}
	return client, nil
}

// hangUp ends a device's connection.
func hangUp(c *paho.Client) {
	_ = c.Disconnect(&paho.Disconnect{}) // the run is over
}

// leaving is what becomes of those who leave.
type leaving struct {
	acknowledged, number atomic.Int64
	mu                   sync.Mutex
	took                 []time.Duration
	failed               map[string]int
}

func (l *leaving) fail(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed[what]++
}

// publish tells of somebody who passes, as a CloudEvent, and returns when that is acknowledged.
func publish(ctx context.Context, c *paho.Client, gate, what string, number int64, data string) error {
	kind := "gate"
	if strings.HasPrefix(gate, "gate-in") {
		kind = "gate-in"
	}
	_, err := c.Publish(ctx, &paho.Publish{
		QoS: 1, Topic: "souk/v1/" + hall + "/" + kind + "/" + gate + "/event/" + what,
		Payload: fmt.Appendf(nil, `{"specversion":"1.0","id":"n%d","source":"/%s","type":"%s","time":"%s","data":%s}`,
			number, gate, what, time.Now().UTC().Format(time.RFC3339Nano), data),
	})
	return err
}

// leave tells of somebody who leaves with two pieces.
func (l *leaving) leave(ctx context.Context, c *paho.Client, gate int, due time.Time) {
	n := l.number.Add(1)
	data := fmt.Sprintf(`{"customer_id":"C%03d","items":[{"sku":"%s","qty":2}]}`, n%customers, product(int(n)%fewProducts))
	if err := publish(ctx, c, gateName(gate), "customer-departed", n, data); err != nil {
		if ctx.Err() == nil {
			l.fail(err.Error())
		}
		return
	}
	l.acknowledged.Add(1)
	took := time.Since(due)
	l.mu.Lock()
	l.took = append(l.took, took)
	l.mu.Unlock()
}

// arrive lets people in one after the other until ctx ends, each when the one before was greeted. It returns how long the greetings
// took and how many came.
func (d Departures) arrive(ctx context.Context, entry *paho.Client, seen <-chan struct{}, l *leaving) (greets []time.Duration, arrived int64) {
	apart := context.WithoutCancel(ctx) // who has begun to come in is greeted
	next := time.Now()
	for ctx.Err() == nil {
		if wait := time.Until(next); wait > 0 {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return greets, arrived
			}
		}
		next = time.Now().Add(time.Second / time.Duration(d.Arrivals))
		arrived++
		began := time.Now()
		if err := publish(apart, entry, "gate-in-1", "customer-arrived", arrived, fmt.Sprintf(`{"customer_id":"A%07d"}`, arrived)); err != nil {
			l.fail("arrival: " + err.Error())
			return greets, arrived
		}
		select {
		case <-seen:
			greets = append(greets, time.Since(began))
		case <-time.After(greetWithin):
			l.fail("somebody was not greeted")
			return greets, arrived
		}
	}
	return greets, arrived
}
