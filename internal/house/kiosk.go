package house

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/gateway/kiosk"
	"example.org/souk/mall"
	"example.org/souk/mall/baskets"
	"example.org/souk/mall/customers"
	"example.org/souk/mall/depot"
	"example.org/souk/mall/entrance"
	"example.org/souk/mall/event"
	"example.org/souk/mall/inventory"
	"example.org/souk/mall/orders"
	"example.org/souk/mall/payments"
	"example.org/souk/mall/stores"
)

// standsBehindKiosks lists the services whose tables kiosks show.
var standsBehindKiosks = []string{"stores", "inventory", "baskets", "orders", depot.ServiceName, "payments", "entrance", "customers"}

// kioskStand returns what stands behind the kiosks. Commands go to wherever their services run; what is shown is read in the databases.
func (h *House) kioskStand() kiosk.Config {
	c := kiosk.Config{
		Commands: h, Catalogue: wares{h.Reader("stores")}, Stock: shelves{h.Reader("inventory")},
		Baskets: trolleys{h.Reader("baskets")}, Border: h.Baskets(), Orders: pickups{h.Reader("orders"), h.Reader(depot.ServiceName), h.Reader("payments")},
		Payments: tills{h.Reader("payments")},
		People:   patrons{h.Keys, h.Reader("entrance"), h.Reader("customers")}, Authority: h.Authority, Pulses: &h.kiosks,
		Currency: h.cfg.Currency, Closing: h.closing, TLS: h.secure(),
	}
	if h.peers != nil {
		c.Intake = &kiosk.Intake{Local: h.Runtime, Log: h.Reader(kiosk.Gate)}
	}
	return c
}

// wares shows kiosks what is sold.
type wares struct{ stores *backbone.Reader }

// maxStores bounds the stores that kiosks show, and maxSearched the products that one search looks through.
const (
	maxStores   = 1000
	maxSearched = 10_000
	searchChunk = 200
)

func (w wares) names(ctx context.Context) (map[string]string, error) {
	list, err := stores.ListStores(ctx, w.stores, "", false, maxStores)
	names := make(map[string]string, len(list))
	for _, s := range list {
		names[s.Store] = s.Name
	}
	return names, err
}

// Stores implements kiosk.Catalogue.
func (w wares) Stores(ctx context.Context) ([]kiosk.Store, error) {
	list, err := stores.ListStores(ctx, w.stores, "", true, maxStores)
	shown := make([]kiosk.Store, len(list))
	for i, s := range list {
		shown[i] = kiosk.Store{ID: s.Store, Name: s.Name}
	}
	return shown, err
}

// maxCategories bounds the categories that kiosks show.
const maxCategories = 100

// Categories implements kiosk.Catalogue.
func (w wares) Categories(ctx context.Context, store string) ([]string, error) {
	return stores.Categories(ctx, w.stores, store, maxCategories)
}

// Products implements kiosk.Catalogue.
func (w wares) Products(ctx context.Context, q kiosk.Query, after string, limit int) ([]kiosk.Product, error) {
	names, err := w.names(ctx)
	if err != nil {
		return nil, err
	}
	text := strings.ToLower(q.Text)
	var list []kiosk.Product
	for looked := 0; looked < maxSearched; looked += searchChunk {
		chunk, err := stores.List(ctx, w.stores, stores.Filter{After: after, Store: q.Store, Category: q.Category, Orderable: true}, searchChunk)
		if err != nil {
			return nil, err
		}
		for _, p := range chunk {
			if strings.Contains(strings.ToLower(p.Name), text) || strings.Contains(strings.ToLower(p.Description), text) || p.SKU == q.Text || p.Barcode == q.Text {
				list = append(list, wareOf(p, names[p.Store]))
			}
			if len(list) == limit {
				return list, nil
			}
		}
		if len(chunk) < searchChunk {
			break
		}
		after = chunk[len(chunk)-1].Product
	}
	return list, nil
}

// Product implements kiosk.Catalogue.
func (w wares) Product(ctx context.Context, id string) (kiosk.Product, bool, error) {
	p, found, err := stores.Get(ctx, w.stores, id)
	if err != nil || !found {
		return kiosk.Product{}, false, err
	}
	s, _, err := stores.GetStore(ctx, w.stores, p.Store)
	return wareOf(p, s.Name), true, err
}

func wareOf(p stores.Product, store string) kiosk.Product {
	return kiosk.Product{
		ID: p.Product, Store: p.Store, StoreName: store, SKU: p.SKU, Barcode: p.Barcode, Name: p.Name, Description: p.Description, Category: p.Category,
		Price: p.Price, PriceVersion: p.PriceVersion, Sold: p.Orderable,
	}
}

// shelves shows kiosks what is there.
type shelves struct{ inventory *backbone.Reader }

// Available implements kiosk.Stock.
func (s shelves) Available(ctx context.Context, skus []string) (map[string]int64, error) {
	return inventory.Available(ctx, s.inventory, skus, mall.MainLocation)
}

// trolleys shows kiosks their baskets.
type trolleys struct{ baskets *backbone.Reader }

// Basket implements kiosk.Baskets.
func (t trolleys) Basket(ctx context.Context, id string) (kiosk.Basket, bool, error) {
	v, found, err := baskets.Get(ctx, t.baskets, id)
	if err != nil || !found {
		return kiosk.Basket{}, false, err
	}
	b := kiosk.Basket{
		ID: id, Customer: v.Customer, Status: string(v.Status), Total: v.Total, Expires: time.UnixMicro(v.Expires), Order: v.Order, Payment: v.Payment, Reason: v.Reason,
		Version: v.Version,
	}
	for _, l := range v.Lines {
		b.Lines = append(b.Lines, kiosk.Line{Item: l.Item, Sold: l.Sold, Now: l.Now})
	}
	return b, true, nil
}

// Owner implements kiosk.Baskets.
func (t trolleys) Owner(ctx context.Context, id string) (string, bool, error) {
	return baskets.Owner(ctx, t.baskets, id)
}

// pickups shows kiosks their orders.
type pickups struct{ orders, depot, payments *backbone.Reader }

// Order implements kiosk.Orders.
func (p pickups) Order(ctx context.Context, id string) (kiosk.Order, bool, error) {
	v, found, err := orders.Get(ctx, p.orders, id)
	if err != nil || !found {
		return kiosk.Order{}, false, err
	}
	o := kiosk.Order{
		ID: id, Customer: v.Customer, Status: strings.ToLower(v.Shown()), Items: v.Items, Total: v.Total, Payment: v.Payment, Paid: v.Paid,
		Version: v.Version, Missing: v.Undecided, Reason: v.Reason, SKU: v.Order.Short.SKU, KeptUntil: v.KeptUntil(),
	}
	for _, s := range v.History {
		o.History = append(o.History, kiosk.Change{Status: strings.ToLower(s.Status), At: s.Time})
	}
	if v.Status == orders.Picking || v.Status == orders.Short {
		o.Stops = int64(len(mall.Stops(v.Items)))
		picked, err := p.depot.Log(ctx, backbone.ReadQuery{Stream: "list/" + id, Types: []string{event.StopPickedV1}, Limit: mall.MaxLines})
		if err == nil { // else an order is shown without how far the robot is
			o.Picked = min(int64(len(picked)), o.Stops)
		}
	}
	if !v.Paid && !v.Status.Terminal() {
		i, found, err := payments.InvoiceOf(ctx, p.payments, id)
		o.Owed = found && err == nil && i.Pending() // else an order is shown without what is asked for it
	}
	return o, true, nil
}

// History implements kiosk.Orders. It reads what the customer's feed says was placed, so that no table is kept of it.
func (p pickups) History(ctx context.Context, customer, after string, limit int) ([]kiosk.Summary, error) {
	const chunk, most = 500, 20
	var placed []string
	for since, n := int64(0), 0; n < most; n++ {
		list, err := orders.Feed(ctx, p.orders, customer, since, chunk)
		if err != nil {
			return nil, err
		}
		for _, e := range list {
			var of struct {
				Order string `json:"order"`
			}
			if e.Type == event.OrderPlacedV1 && e.Part == orders.Happened && json.Unmarshal(e.Data, &of) == nil {
				placed = append(placed, of.Order)
			}
		}
		if len(list) < chunk {
			break
		}
		since = list[len(list)-1].N
	}
	slices.Reverse(placed)
	if i := slices.Index(placed, after); i >= 0 {
		placed = placed[i+1:]
	}
	shown := make([]kiosk.Summary, 0, limit)
	for _, id := range placed[:min(limit, len(placed))] {
		v, _, err := orders.Get(ctx, p.orders, id)
		if err != nil {
			return nil, err
		}
		s := kiosk.Summary{ID: id, Status: strings.ToLower(v.Shown()), Total: v.Total}
		if len(v.History) > 0 {
			s.Placed = v.History[0].Time
		}
		shown = append(shown, s)
	}
	return shown, nil
}

// tills shows kiosks how the payments stand that were authorized beforehand.
type tills struct{ payments *backbone.Reader }

// Payment implements kiosk.Payments.
func (t tills) Payment(ctx context.Context, id string) (kiosk.Payment, bool, error) {
	v, err := payments.Get(ctx, t.payments, id)
	p := kiosk.Payment{Amount: v.Amount}
	switch v.Status {
	case payments.Authorizing:
		p.Status = kiosk.PaymentAsked
	case payments.Authorized:
		p.Status = kiosk.PaymentSetAside
	case payments.Declined:
		p.Status = kiosk.PaymentDeclined
	case payments.Unclear:
		p.Status = kiosk.PaymentUnclear
	case payments.Voiding, payments.Voided:
		p.Status = kiosk.PaymentOver
	default:
		p.Status = kiosk.PaymentUsed
	}
	return p, v.Status != payments.None, err
}

// patrons tells kiosks who people are.
type patrons struct {
	keys                *backbone.Keys
	entrance, customers *backbone.Reader
}

// ByCard implements kiosk.People. What is known at the entrance may be somebody's id as well, which is no card.
func (v patrons) ByCard(ctx context.Context, card string) (string, bool, error) {
	customer, known, err := entrance.Known(ctx, v.entrance, card)
	return customer, known && customer != card, err
}

// Name implements kiosk.People.
func (v patrons) Name(ctx context.Context, customer string) (string, error) {
	c, err := customers.Get(ctx, v.customers, customer)
	if err != nil || c.Name == "" {
		return "", err
	}
	name, _, err := v.keys.Reveal(ctx, string(c.Name))
	return name, err
}

// Seal implements kiosk.People.
func (v patrons) Seal(ctx context.Context, customer, text string) (mall.Personal, error) {
	token, err := v.keys.Seal(ctx, customer, text)
	return mall.Personal(token), err
}

// wakers are the services whose events kiosks follow, with the topic that an event is of.
var wakers = map[string]func(m *backbone.Message) string{
	"stores":   func(*backbone.Message) string { return kiosk.Prices },
	"baskets":  func(m *backbone.Message) string { return kiosk.BasketTopic(idOf(m.Stream)) },
	"orders":   func(m *backbone.Message) string { return kiosk.OrderTopic(idOf(m.Stream)) },
	"payments": func(m *backbone.Message) string { return kiosk.PaymentTopic(idOf(m.Stream)) },
	"depot":    func(m *backbone.Message) string { return kiosk.OrderTopic(idOf(m.Stream)) }, // a list has the id of its order
}

// idOf is the id in the name of a stream.
func idOf(stream string) string { return stream[strings.LastIndexByte(stream, '/')+1:] }
