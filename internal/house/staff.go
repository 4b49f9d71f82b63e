package house

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/gateway/devices"
	"example.org/souk/gateway/staff"
	"example.org/souk/mall"
	"example.org/souk/mall/analytics"
	"example.org/souk/mall/depot"
	"example.org/souk/mall/event"
	"example.org/souk/mall/inventory"
	"example.org/souk/mall/logistics"
	"example.org/souk/mall/orders"
	"example.org/souk/mall/payments"
	"example.org/souk/mall/search"
	"example.org/souk/mall/stores"
)

// openGate is how a gate is opened once two people agree.
func openGate(gate, key string) backbone.Command { return devices.OpenGate{Device: gate, Key: key} }

// openStaff adds the way in for staff to the door.
func (h *House) openStaff() (err error) {
	f := floor{h}
	h.staff, err = staff.Register(h.Door, staff.Config{
		Commands: h, Shops: f, Stock: f, Orders: f, Payments: f, Purchases: f, Fleet: f, Devices: f, Trade: f, Catalogue: f, Logs: f, Own: h.Reader(staff.ServiceName),
	})
	return err
}

// Staff returns where staff see the mall, "" where they come in elsewhere.
func (h *House) Staff() string {
	if h.staff == nil {
		return ""
	}
	return h.URL() + "/staff"
}

// floor shows staff the mall, wherever its services run: it reads what they have committed.
type floor struct{ h *House }

// Shops implements staff.Shops.
func (f floor) Shops(ctx context.Context, after string, limit int) ([]staff.Shop, error) {
	all, err := stores.ListStores(ctx, f.h.Reader("stores"), after, false, limit)
	list := make([]staff.Shop, len(all))
	for i, s := range all {
		list[i] = staff.Shop(s)
	}
	return list, err
}

// Find implements staff.Catalogue.
func (f floor) Find(ctx context.Context, text string) (mall.Item, bool, error) {
	reader := f.h.Reader("stores")
	p, found, err := stores.Find(ctx, reader, text)
	if err == nil && !found {
		p, found, err = stores.FindBarcode(ctx, reader, "", text)
	}
	return mall.Item{Product: p.Product, SKU: p.SKU, Name: p.Name, Price: p.Price, Store: p.Store}, found, err
}

// Known implements staff.Catalogue.
func (f floor) Known(ctx context.Context, sku string) (bool, error) {
	_, known, err := stores.OfSKU(ctx, f.h.Reader("stores"), sku)
	return known, err
}

// Levels implements staff.Stock.
func (f floor) Levels(ctx context.Context, afterSKU, afterLocation string, limit int) ([]staff.Level, error) {
	list, err := inventory.List(ctx, f.h.Reader("inventory"), afterSKU, afterLocation, limit)
	return levelsOf(list), err
}

// Low implements staff.Stock.
func (f floor) Low(ctx context.Context, limit int) ([]staff.Level, error) {
	list, err := inventory.Low(ctx, f.h.Reader("inventory"), limit)
	return levelsOf(list), err
}

// Level implements staff.Stock.
func (f floor) Level(ctx context.Context, sku, location string) (staff.Level, error) {
	l, err := inventory.Get(ctx, f.h.Reader("inventory"), sku, location)
	return staff.Level(l), err
}

func levelsOf(list []inventory.Level) []staff.Level {
	levels := make([]staff.Level, len(list))
	for i, l := range list {
		levels[i] = staff.Level(l)
	}
	return levels
}

// ordersLooked is how many of the orders that were placed last are looked through for those of a status. Older ones are found by search.
const ordersLooked = 200

// Latest implements staff.Orders. Where search does not run, orders before the last ordersLooked are not found by their status. Search may be
// a moment late with what becomes of those; what is shown of them is as of now all the same.
func (f floor) Latest(ctx context.Context, statuses []string, limit int) ([]staff.OrderLine, error) {
	look := ordersLooked
	if len(statuses) == 0 {
		look = limit
	}
	reader := f.h.Reader("orders")
	latest, err := orders.Latest(ctx, reader, look)
	if err != nil {
		return nil, err
	}
	var list []staff.OrderLine
	looked := map[string]bool{}
	for _, o := range latest {
		looked[o.Order] = true
		if (len(statuses) == 0 || slices.Contains(statuses, o.Status)) && len(list) < limit {
			line, err := f.line(ctx, staff.OrderLine{
				Order: o.Order, Customer: o.Customer, Status: o.Status, Total: o.Total, Placed: o.Placed, Paid: o.Paid, Missing: o.Undecided,
				WhenShort: o.WhenShort, Substitutes: o.Substitutes,
			})
			if err != nil {
				return nil, err
			}
			list = append(list, line)
		}
	}
	if len(list) == limit || len(latest) < look || !f.has("search") {
		return list, nil
	}
	q := search.Query{Statuses: statuses, Until: latest[len(latest)-1].Placed.Add(time.Microsecond), Limit: min(limit, search.MaxLimit)}
	for {
		older, err := search.Find(ctx, f.h.Reader("search"), q)
		if err != nil {
			return nil, err
		}
		for _, found := range older.Orders {
			if looked[found.ID] || len(list) == limit {
				continue
			}
			o, _, err := orders.Get(ctx, reader, found.ID)
			if err != nil {
				return nil, err
			}
			if slices.Contains(statuses, o.Shown()) {
				line, err := f.lineOf(ctx, o)
				if err != nil {
					return nil, err
				}
				line.Placed = found.Placed
				list = append(list, line)
			}
		}
		if q.Cursor = older.Next; q.Cursor == "" || len(list) == limit {
			return list, nil
		}
	}
}

func (f floor) lineOf(ctx context.Context, o orders.View) (staff.OrderLine, error) {
	return f.line(ctx, staff.OrderLine{
		Order: o.ID, Customer: o.Customer, Status: o.Shown(), Total: o.Total, Paid: o.Paid, Missing: len(o.Undecided),
		WhenShort: o.WhenShort, Substitutes: o.Substitutes,
	})
}

// line adds to what is known of an order what it does not say itself: the wish of who has none, and whether it is being settled.
func (f floor) line(ctx context.Context, o staff.OrderLine) (_ staff.OrderLine, err error) {
	o.WhenShort = cmp.Or(o.WhenShort, mall.ShortAsk)
	o.Settling, err = f.settling(ctx, o)
	return o, err
}

// settling tells whether the money of an order that is ready is on its way: nothing is asked for at the depot, or it was given there and the
// order has not heard of it.
func (f floor) settling(ctx context.Context, o staff.OrderLine) (bool, error) {
	if o.Paid || o.Status != "READY" {
		return false, nil
	}
	i, found, err := payments.InvoiceOf(ctx, f.h.Reader("payments"), o.Order)
	return !found || i.Paid(), err
}

// Order implements staff.Orders. Its history has every event of the order, with who caused it.
func (f floor) Order(ctx context.Context, id string) (staff.Order, bool, error) {
	reader := f.h.Reader("orders")
	v, found, err := orders.Get(ctx, reader, id)
	if err != nil || !found {
		return staff.Order{}, false, err
	}
	line, err := f.lineOf(ctx, v)
	if err != nil {
		return staff.Order{}, false, err
	}
	o := staff.Order{OrderLine: line, Payment: v.Payment, Items: v.Items, Short: v.Undecided, Reason: v.Reason, KeptUntil: v.KeptUntil()}
	log, err := reader.Log(ctx, backbone.ReadQuery{Stream: "order/" + id, Kinds: backbone.EventKinds(), Limit: 500})
	if err != nil {
		return staff.Order{}, false, err
	}
	for _, m := range log {
		if m.Type == event.OrderPlacedV1 {
			o.Placed = m.Time
		}
		o.History = append(o.History, staff.Change{Status: happened(m.Type), Time: m.Time, Actor: m.Actor})
	}
	return o, true, nil
}

// happened names what an event of an order says: "OrderStockReserved" for souk.orders.OrderStockReserved.v1.
func happened(wire string) string {
	if part := strings.Split(wire, "."); len(part) == 4 {
		return part[2]
	}
	return wire
}

// Payment implements staff.Payments.
func (f floor) Payment(ctx context.Context, id string) (staff.Payment, bool, error) {
	p, err := payments.Get(ctx, f.h.Reader("payments"), id)
	if err != nil || p.Status == payments.None {
		return staff.Payment{}, false, err
	}
	return staff.Payment{
		Payment: id, Status: string(p.Status), Customer: p.Customer, Order: p.Order, Visit: p.Visit, Amount: p.Amount, Refunded: p.Refunded,
	}, true, nil
}

// Invoice implements staff.Payments.
func (f floor) Invoice(ctx context.Context, id string) (staff.Invoice, bool, error) {
	i, found, err := payments.InvoiceOf(ctx, f.h.Reader("payments"), id)
	return staff.Invoice{Invoice: id, Status: i.Status, Customer: i.Customer, Order: i.Order, Amount: i.Amount, Refunded: i.Refunded}, found, err
}

// Purchases implements staff.Purchases.
func (f floor) Purchases(ctx context.Context, limit int) ([]staff.Purchase, error) {
	latest, err := logistics.Latest(ctx, f.h.Reader("logistics"), limit)
	list := make([]staff.Purchase, len(latest))
	for i, p := range latest {
		list[i] = staff.Purchase(p)
	}
	return list, err
}

// maxFleet bounds the robots that staff see.
const maxFleet = 4096

// Robots implements staff.Fleet. What a robot said of itself is newer than what the depot keeps of it.
func (f floor) Robots(ctx context.Context) ([]staff.Robot, error) {
	if !f.has(depot.ServiceName) {
		return nil, nil
	}
	fleet, err := depot.Robots(ctx, f.h.Reader(depot.ServiceName), "", maxFleet)
	list, said := make([]staff.Robot, len(fleet)), f.h.sighted.said()
	for i, b := range fleet {
		list[i] = staff.Robot{Robot: b.Robot, State: b.State, Battery: b.Battery, At: b.At, List: b.List}
		if s, ok := said[b.Robot]; ok {
			list[i].Battery, list[i].At, list[i].Seen = s.Battery, s.At, s.Seen
		}
	}
	return list, err
}

// Lists implements staff.Fleet.
func (f floor) Lists(ctx context.Context, limit int) ([]staff.List, error) {
	if !f.has(depot.ServiceName) {
		return nil, nil
	}
	all, err := depot.OpenLists(ctx, f.h.Reader(depot.ServiceName), limit)
	list := make([]staff.List, len(all))
	for i, l := range all {
		list[i] = staff.List{List: l.List, Order: l.Order, State: l.State, Robot: l.Robot, Stops: l.Stops, Picked: l.Settled}
	}
	return list, err
}

// has tells whether a service is in this mall, here or in another process.
func (f floor) has(service string) bool { return slices.Contains(f.h.Services(), service) }

// Devices implements staff.Devices.
func (f floor) Devices(ctx context.Context) ([]staff.Device, error) {
	logins, err := devices.Logins(ctx, f.h.Reader(devices.ServiceName), "")
	list := make([]staff.Device, len(logins))
	for i, l := range logins {
		list[i] = staff.Device{Device: l.Device, Store: l.Store, Kind: string(l.Kind)}
	}
	return list, err
}

// summing is the service that knows what was sold.
const summing = "analytics"

// Traded implements staff.Trade. Where analytics does not run nobody counts.
func (f floor) Traded(ctx context.Context, from, until time.Time) (t staff.Traded, err error) {
	if !f.has(summing) {
		return t, nil
	}
	reader := f.h.Reader(summing)
	for by, into := range map[analytics.By]*[]staff.Sale{analytics.ByHour: &t.Hours, analytics.ByShop: &t.Shops, analytics.ByProduct: &t.Products} {
		list, err := analytics.SalesBy(ctx, reader, by, from, until)
		if err != nil {
			return t, err
		}
		for _, s := range list {
			*into = append(*into, staff.Sale{
				Hour: s.Hour, Shop: s.Shop, SKU: s.SKU, Orders: s.Orders, WalkIns: s.WalkIns, Units: s.Units, Sold: s.Sold, Back: s.Refunded, Net: s.Net(),
			})
		}
	}
	steps, err := analytics.Funnel(ctx, reader, from, until)
	if err != nil {
		return t, err
	}
	for _, s := range steps {
		t.Steps = append(t.Steps, staff.Step{
			Path: string(s.Path), Step: s.Step, Reached: s.Reached, Waiting: s.Waiting, Fallen: s.Rejected + s.Canceled + s.Expired + s.Free,
		})
	}
	waits, err := analytics.TimeToReady(ctx, reader, from, until)
	for _, w := range waits {
		if w.Since == analytics.StepPlaced {
			t.Half, t.Most = w.Half, w.Most
		}
	}
	return t, err
}

// followed are the services whose events staff see. Those that mind what a person is called are none of them.
var followed = []string{depot.ServiceName, "devices", "fastlane", "inventory", "logistics", "orders", "payments", "staff", "stores"}

// Services implements staff.Logs.
func (f floor) Services() []string { return followed }

// Head implements staff.Logs.
func (f floor) Head(ctx context.Context, service string) (int64, error) {
	return f.h.Reader(service).Head(ctx)
}

// Events implements staff.Logs.
func (f floor) Events(ctx context.Context, service string, after, until int64, limit int) ([]*backbone.Message, error) {
	return f.h.Reader(service).Log(ctx, backbone.ReadQuery{After: after, Until: until, Kinds: backbone.EventKinds(), Limit: limit})
}

// Changed implements staff.Logs, for those services that run here. The others are looked at.
func (f floor) Changed() (<-chan struct{}, func()) {
	pulse := make(chan struct{}, 1)
	done := make(chan struct{})
	var stops []func()
	for _, service := range followed {
		changed, stop := f.h.Runtime.Changed(service)
		stops = append(stops, stop)
		f.h.loops.Go(func() {
			for {
				select {
				case <-done:
					return
				case <-changed:
				}
				select {
				case pulse <- struct{}{}:
				default: // one is waiting there already
				}
			}
		})
	}
	return pulse, func() {
		close(done)
		for _, stop := range stops {
			stop()
		}
	}
}
