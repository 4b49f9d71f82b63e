package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"example.org/souk/internal/control"
	"example.org/souk/internal/house"
	"example.org/souk/internal/testserver"
	"example.org/souk/mall/event"
)

// witness is who stands at the supermarket with devices of their own, and knows what the mall has acknowledged and told: a gate that says of
// each bag once that it left, over a session that outlives its connection, and a till that hears what is due over another.
type witness struct {
	p           *play
	gate, till  mqtt.Client
	said, taken atomic.Int64
	leaving     chan struct{}
	passing     sync.WaitGroup
	store       string
	come        func(device, kind string) mqtt.Client

	mu   sync.Mutex
	told map[string]map[string]bool // what was said to be due, by visit
	of   map[string]int             // for how many visits, by bag
}

// cup is what everybody has in their bag, and of which the shelf asks for more as soon as a few are gone.
const cup = "cup"

// bag is what no product is called, so that it tells one departure from all others.
func bag(n int64) string { return fmt.Sprintf("bag-%06d", n) }

// watch has the witness come.
func (p *play) watch(t *testing.T, life context.Context) *witness {
	t.Helper()
	w := &witness{p: p, leaving: make(chan struct{}), told: map[string]map[string]bool{}, of: map[string]int{}}
	for _, do := range []struct {
		operation string
		with      control.Args
	}{
		{"product add", control.Args{"product": cup, "name": "Cup", "price": "2.00", "threshold": "1000", "restock": "8"}},
		{"stock receive", control.Args{"sku": cup, "quantity": "1004"}},
	} {
		if err := p.mall.operate(life, do.operation, do.with, nil); err != nil {
			t.Fatal(err)
		}
	}
	come := func(device, kind string) mqtt.Client {
		login, err := p.admit(life, device, kind)
		if err != nil {
			t.Fatal(err)
		}
		w.store = login.Store
		c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + strings.TrimPrefix(p.mall.mqtt(), "mqtt://")).SetClientID(device).
			SetUsername(device).SetPassword(login.Password).SetCleanSession(false).SetProtocolVersion(4).SetKeepAlive(15 * time.Second).
			SetAutoReconnect(true).SetMaxReconnectInterval(200 * time.Millisecond).SetDefaultPublishHandler(w.hear))
		if k := c.Connect(); k.Wait() && k.Error() != nil {
			t.Fatal(k.Error())
		}
		t.Cleanup(func() { c.Disconnect(0) })
		return c
	}
	w.come = come
	w.till = come("till-1", "till")
	if k := w.till.Subscribe("souk/v1/"+w.store+"/business/payment-due", 1, nil); k.Wait() && k.Error() != nil {
		t.Fatal(k.Error())
	}
	w.gate = come("gate-in-sight", "gate")
	_, buyers := house.DemoShop()
	for range 3 {
		w.passing.Go(func() {
			for w.pass("souk/v1/"+w.store+"/gate/gate-in-sight/event/customer-departed", buyers) {
			}
		})
	}
	return w
}

// fidget has another till ask again and again for what it has, so that what is kept of sessions grows until it is written anew.
func (w *witness) fidget() {
	till := w.come("till-2", "till")
	filters := map[string]byte{
		"souk/v1/" + w.store + "/business/payment-due": 1, "souk/v1/" + w.store + "/business/restock-needed": 1,
		"payment-due": 1, "RestockNeeded": 1, "CustomerArrival": 1, "customer-arrival": 1, "customer-departed": 1, "customer-departure": 1,
	}
	w.passing.Go(func() {
		for {
			select {
			case <-w.leaving:
				return
			default:
			}
			if k := till.SubscribeMultiple(filters, func(mqtt.Client, mqtt.Message) {}); k.Wait() && k.Error() != nil {
				select {
				case <-w.leaving:
					return
				case <-time.After(50 * time.Millisecond): // it is away: it connects by itself
				}
			}
		}
	})
}

// pass says of one bag that it left, and returns when that is acknowledged.
func (w *witness) pass(topic string, buyers []string) bool {
	select {
	case <-w.leaving:
		return false
	case <-time.After(50 * time.Millisecond): // nobody walks faster
	}
	n := w.said.Add(1)
	payload := fmt.Appendf(nil, `{"specversion":"1.0","id":"bag-%d","source":"/gate","type":"customer-departed","time":%q,"data":{"customer_id":%q,"items":[{"sku":%q,"qty":1},{"sku":%q,"qty":1}]}}`,
		n, time.Now().UTC().Format(time.RFC3339Nano), buyers[n%int64(len(buyers))], bag(n), cup)
	w.gate.Publish(topic, 1, false, payload).Wait()
	w.taken.Add(1)
	return true
}

// hear notes what the till is told.
func (w *witness) hear(_ mqtt.Client, m mqtt.Message) {
	var due struct {
		Data struct {
			Visit    string `json:"visit_id"`
			Unpriced []struct {
				Item string `json:"item_id"`
			}
		}
	}
	if err := json.Unmarshal(m.Payload(), &due); err != nil {
		w.p.note(fmt.Errorf("the till was told %s: %w", m.Payload(), err))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.told[due.Data.Visit] == nil {
		w.told[due.Data.Visit] = map[string]bool{}
		for _, u := range due.Data.Unpriced {
			w.of[u.Item]++
		}
	}
	w.told[due.Data.Visit][string(m.Payload())] = true
}

// underLoad waits until bags were taken and payments made since it was called.
func (w *witness) underLoad(t *testing.T) {
	t.Helper()
	moves := func() int {
		r, err := w.p.payment.Report()
		if err != nil {
			t.Fatal(err)
		}
		return len(r.Executions)
	}
	bags, money := w.taken.Load(), moves()
	if !testserver.Await(t.Context(), walkPatience, func() bool { return w.taken.Load() > bags+9 && moves() > money+2 }) {
		t.Fatalf("there is no load: %d bags taken and %d payments made within %v", w.taken.Load()-bags, moves()-money, walkPatience)
	}
}

// leave returns when all bags are acknowledged that were spoken of.
func (w *witness) leave() { close(w.leaving); w.passing.Wait() }

// awaitTold waits until the till was told of all that is due.
func (w *witness) awaitTold(t *testing.T) {
	t.Helper()
	known := func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return int64(len(w.of)) >= w.said.Load()
	}
	testserver.Await(t.Context(), 10*time.Second, known) // what is missing then is named by check
}

// check compares what was acknowledged and told with what the mall has kept, and notes what is broken in the result of the play.
func (w *witness) check(ctx context.Context) error {
	return w.p.look(ctx, func(h *house.House) error { return w.compare(ctx, &checker{h: h}) })
}

func (w *witness) compare(ctx context.Context, c *checker) error {
	broken := func(format string, args ...any) {
		w.p.result.Broken = append(w.p.result.Broken, fmt.Sprintf(format, args...))
	}
	visits, missed, issued, charged, bills := map[string][]string{}, map[string]int{}, map[string]int{}, map[string]int{}, map[string]int{}
	for _, err := range []error{
		events(ctx, c, "exitgate", func(e event.CustomerDeparted) {
			for _, l := range e.Lines {
				visits[l.SKU] = append(visits[l.SKU], e.Visit)
			}
		}),
		events(ctx, c, "inventory", func(e event.StockDiscrepancy) { missed[e.SKU]++ }),
		events(ctx, c, "inventory", func(e event.StockIssued) { issued[e.Visit]++ }),
		events(ctx, c, "fastlane", func(e event.PaymentDue) { bills[e.Visit]++ }),
		events(ctx, c, "payments", func(e event.VisitCharged) { charged[e.Visit]++ }),
	} {
		if err != nil {
			return err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for n := int64(1); n <= w.said.Load(); n++ {
		left := visits[bag(n)]
		if len(left) != 1 {
			broken("%s was acknowledged, and it left %d times", bag(n), len(left))
			continue
		}
		if v := left[0]; missed[bag(n)] != 1 || issued[v] != 1 || bills[v] != 1 || charged[v] != 1 || w.of[bag(n)] != 1 {
			broken("%s was acknowledged: it was noted as unknown %d times, its visit was issued %d times, billed %d times, charged %d times, and the till was told of %d visits",
				bag(n), missed[bag(n)], issued[v], bills[v], charged[v], w.of[bag(n)])
		}
	}
	for visit, bodies := range w.told {
		if bills[visit] == 0 || len(bodies) != 1 {
			broken("the till was told of visit %s in %d ways, and it is billed %d times", visit, len(bodies), bills[visit])
		}
	}
	for visit := range bills {
		if w.told[visit] == nil {
			broken("the till was never told of what is due for visit %s", visit)
		}
	}
	if w.said.Load() < 10 || w.taken.Load() != w.said.Load() {
		broken("%d bags left, %d of them acknowledged", w.said.Load(), w.taken.Load())
	}
	return nil
}
