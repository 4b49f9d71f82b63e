package devices

import (
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"example.org/souk/backbone"
	"example.org/souk/backbone/backbonetest"
	"example.org/souk/mall/command"
	"example.org/souk/mall/customers"
	"example.org/souk/mall/depot"
	"example.org/souk/mall/entrance"
	"example.org/souk/mall/event"
	"example.org/souk/mall/exitgate"
	"example.org/souk/mall/fastlane"
	"example.org/souk/mall/greeter"
	"example.org/souk/mall/inventory"
	"example.org/souk/mall/logistics"
	"example.org/souk/mall/orders"
	"example.org/souk/mall/payments"
	"example.org/souk/mall/stores"
)

// What was taken in while its service is away is decided once that is there, once, as of the time when it was taken in: the same bag twice
// within a minute is no copy though both are decided at once, and who left in between has come twice. Red where the events lead to
// nothing, where the time of the decision counts, or where the entrance is not told of who left. What is due is told then; a welcome would
// greet somebody else by now. Red where it goes out however late.
func TestWhatWasTakenInIsDecidedLater(t *testing.T) {
	t.Parallel()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g, err := Open(Config{Listener: l})
	if err != nil {
		t.Fatal(err)
	}
	w := backbonetest.Start(t, backbonetest.Config{Parts: []*backbone.Service{
		Service(g), entrance.Service(), exitgate.Service(), greeter.Service(), fastlane.Service("EUR"), inventory.Service(), logistics.Service(nil),
		stores.Service(), customers.Service(), orders.Service(orders.Config{}), payments.Service(nil, payments.Config{}), depot.Service(depot.Config{}),
	}})
	g.Clock, g.Reader = w.Clock, w.Reader(ServiceName)
	if err := g.Serve(t.Context(), w.Runtime()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Close() })
	told := hear(t, g)
	for _, service := range []string{"entrance", "exitgate"} {
		if err := w.Runtime().Pause(t.Context(), service); err != nil {
			t.Fatal(err)
		}
	}
	in, out := came, went
	in.Customer, in.Repeated, out.Untimed = out.Customer, false, true
	began := w.Clock.Now()
	var want []time.Time
	for _, c := range []struct {
		id  string
		c   backbone.Command
		new bool
	}{
		{"a1", TakeArrival{in}, true},
		{"a1", TakeArrival{in}, false},
		{"d1", TakeDeparture{out}, true},
		{"d1", TakeDeparture{out}, false},
		{"a2", TakeArrival{in}, true},
		{"d2", TakeDeparture{out}, true},
	} {
		if a := w.Do(t, c.c, backbone.WithID(c.id)); a.Repeated == c.new {
			t.Errorf("%s: repeated is %v", c.id, a.Repeated)
		}
		if c.new {
			want = append(want, w.Clock.Now())
			w.Clock.Advance(time.Minute)
		}
	}
	w.Clock.Advance(time.Hour)
	for _, service := range []string{"entrance", "exitgate"} {
		if err := w.Runtime().Resume(t.Context(), service); err != nil {
			t.Fatal(err)
		}
	}
	w.Settle(t)
	at := map[string][]time.Duration{}
	for _, e := range append(w.Events(t, "entrance"), w.Events(t, "exitgate")...) {
		switch e := e.(type) {
		case event.CustomerArrived:
			at["came"] = append(at["came"], time.UnixMicro(e.At).Sub(began))
		case event.CustomerDeparted:
			at["left"] = append(at["left"], time.UnixMicro(e.At).Sub(began))
		}
	}
	for i, what := range []string{"came", "left"} {
		if got := at[what]; len(got) != 2 || got[0] != want[i].Sub(began) || got[1] != want[i+2].Sub(began) {
			t.Errorf("%s at %v, want %s and %s", what, got, want[i].Sub(began), want[i+2].Sub(began))
		}
	}
	if got := told(); len(got) != 2 || !strings.HasSuffix(got[0], "/payment-due") || got[1] != got[0] {
		t.Errorf("told %v", got)
	}
	// The last visit is over: whoever comes now is on another one.
	w.Do(t, command.ScanCard{Store: in.Store, Customer: in.Customer, Card: in.Card, Device: in.Device})
	w.Settle(t)
	if n := len(w.Events(t, "entrance")); n != 3 {
		t.Errorf("%d visits, want 3", n)
	}
	if got := told(); len(got) != 3 || !strings.HasSuffix(got[2], "/display-welcome") {
		t.Errorf("told %v", got)
	}
}

// hear returns what tells on which topics of older systems something went out.
func hear(t *testing.T, g *Gateway) func() []string {
	t.Helper()
	var mu sync.Mutex
	var topics []string
	if err := g.server.Subscribe("souk/market/#", 1, func(_ *mqtt.Client, _ packets.Subscription, pk packets.Packet) {
		mu.Lock()
		defer mu.Unlock()
		topics = append(topics, pk.TopicName)
	}); err != nil {
		t.Fatal(err)
	}
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string(nil), topics...)
	}
}
