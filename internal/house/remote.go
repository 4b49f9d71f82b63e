package house

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"connectrpc.com/connect"

	soukv1 "example.org/souk/api/gen/souk/v1"
	"example.org/souk/api/gen/souk/v1/soukv1connect"
	"example.org/souk/backbone"
	"example.org/souk/gateway/online"
	"example.org/souk/gateway/rpc"
	"example.org/souk/internal/peers"
	"example.org/souk/mall"
)

// elsewhere asks services that run in other processes.
type elsewhere struct{ client *http.Client }

func (e elsewhere) orders() soukv1connect.OrdersServiceClient {
	return soukv1connect.NewOrdersServiceClient(e.client, peers.URL("orders"), connect.WithGRPC())
}

func (e elsewhere) stores() soukv1connect.StoresServiceClient {
	return soukv1connect.NewStoresServiceClient(e.client, peers.URL("stores"), connect.WithGRPC())
}

func (e elsewhere) customers() soukv1connect.CustomersServiceClient {
	return soukv1connect.NewCustomersServiceClient(e.client, peers.URL("customers"), connect.WithGRPC())
}

func (e elsewhere) inventory() soukv1connect.InventoryServiceClient {
	return soukv1connect.NewInventoryServiceClient(e.client, peers.URL("inventory"), connect.WithGRPC())
}

// do has a command decided by the process that runs its service.
func (e elsewhere) do(ctx context.Context, service string, c backbone.Command, options ...backbone.DoOption) (backbone.Answer, error) {
	var m backbone.Meta
	for _, o := range options {
		o(&m)
	}
	data, err := json.Marshal(c)
	if err != nil {
		return backbone.Answer{}, fmt.Errorf("encode %s: %w", c.CommandType(), err)
	}
	client := soukv1connect.NewCommandsServiceClient(e.client, peers.URL(service), connect.WithGRPC())
	r, err := client.Decide(ctx, connect.NewRequest(&soukv1.DecideRequest{
		Type: c.CommandType(), Data: data, CommandId: m.ID, Actor: m.Actor, Correlation: m.Correlation, Causation: m.Causation, Trace: m.Trace,
	}))
	if err != nil {
		return backbone.Answer{}, wrong(err)
	}
	return rpc.AnswerOf(r.Msg), nil
}

// Product implements online.Catalogue.
func (e elsewhere) Product(ctx context.Context, id string) (online.Product, bool, error) {
	r, err := e.stores().GetProduct(ctx, connect.NewRequest(&soukv1.GetProductRequest{Product: id}))
	if found, err := found(err); !found {
		return online.Product{}, false, err
	}
	p := r.Msg.GetProduct()
	return online.Product{SKU: p.GetSku(), Name: p.GetName(), Price: money(p.GetPrice())}, p.GetOrderable(), nil
}

// Find implements partner.Catalogue.
func (e elsewhere) Find(ctx context.Context, skuOrName string) (mall.Item, bool, error) {
	r, err := e.stores().FindProduct(ctx, connect.NewRequest(&soukv1.FindProductRequest{SkuOrName: skuOrName}))
	if found, err := found(err); !found {
		return mall.Item{}, false, err
	}
	p := r.Msg.GetProduct()
	return mall.Item{Product: p.GetProduct(), SKU: p.GetSku(), Name: p.GetName(), Price: money(p.GetPrice())}, true, nil
}

// Known asks whether a SKU is a product's, or was.
func (e elsewhere) Known(ctx context.Context, sku string) (bool, error) {
	_, err := e.stores().FindProduct(ctx, connect.NewRequest(&soukv1.FindProductRequest{SkuOrName: sku, AnyOfSku: true}))
	return found(err)
}

// MayBuy implements baskets.Customers.
func (e elsewhere) MayBuy(ctx context.Context, customer string) (bool, error) {
	r, err := e.customers().GetCustomer(ctx, connect.NewRequest(&soukv1.GetCustomerRequest{Customer: customer}))
	if found, err := found(err); !found {
		return false, err
	}
	return r.Msg.GetCustomer().GetStatus() == soukv1.CustomerStatus_CUSTOMER_STATUS_ENABLED, nil
}

// level asks for the stock of a SKU.
func (e elsewhere) level(ctx context.Context, sku string) (online.Level, error) {
	r, err := e.inventory().GetLevel(ctx, connect.NewRequest(&soukv1.GetLevelRequest{Sku: sku, Location: mall.MainLocation}))
	if err != nil {
		return online.Level{}, wrong(err)
	}
	l := r.Msg.GetLevel()
	return online.Level{OnHand: l.GetOnHand(), Held: l.GetHeld(), Committed: l.GetCommitted(), Available: l.GetAvailable()}, nil
}

// Order implements online.Orders.
func (e elsewhere) Order(ctx context.Context, id string) (online.Order, bool, error) {
	r, err := e.orders().GetOrder(ctx, connect.NewRequest(&soukv1.GetOrderRequest{Order: id}))
	if found, err := found(err); !found {
		return online.Order{}, false, err
	}
	m := r.Msg.GetOrder()
	o := online.Order{
		ID: id, Customer: m.GetCustomer(), Status: status(m.GetStatus()), Total: money(m.GetTotal()),
		Payment: m.GetPayment(), WaitForStock: m.GetWaitForStock(), WhenShort: rpc.WhenShort(m.GetWhenShort()),
	}
	for _, i := range m.GetItems() {
		o.Items = append(o.Items, mall.Item{
			Product: i.GetProduct(), SKU: i.GetSku(), Name: i.GetName(), Price: money(i.GetPrice()), Quantity: i.GetQuantity(),
		})
	}
	for _, s := range m.GetHistory() {
		o.History = append(o.History, online.Change{Status: status(s.GetStatus()), At: s.GetSince().AsTime()})
	}
	if s := m.GetShortage(); m.GetReason() != "" || s.GetSku() != "" {
		o.Shortage = &online.Shortage{Reason: m.GetReason(), SKU: s.GetSku(), Wanted: s.GetWanted(), Available: s.GetAvailable()}
	}
	return o, true, nil
}

var feedParts = map[soukv1.FeedPart]online.Part{
	soukv1.FeedPart_FEED_PART_ASKED: online.Asked, soukv1.FeedPart_FEED_PART_STOCKED: online.Stocked, soukv1.FeedPart_FEED_PART_HAPPENED: online.Happened,
}

// Feed implements online.Orders.
func (e elsewhere) Feed(ctx context.Context, customer string, after int64, limit int) ([]online.Entry, error) {
	r, err := e.orders().ListFeed(ctx, connect.NewRequest(&soukv1.ListFeedRequest{Customer: customer, After: after, Limit: int32(limit)}))
	if err != nil {
		return nil, wrong(err)
	}
	entries := make([]online.Entry, len(r.Msg.GetEntries()))
	for i, f := range r.Msg.GetEntries() {
		part, known := feedParts[f.GetPart()]
		if !known {
			return nil, fmt.Errorf("feed of %s: entry %d is of a part that is not known here", customer, f.GetNumber())
		}
		entries[i] = online.Entry{N: f.GetNumber(), Part: part, Event: f.GetEvent(), Type: f.GetType(), Data: f.GetData()}
	}
	return entries, nil
}

// follow calls notify with each customer whose feed grew, until the stream or ctx ends.
func (e elsewhere) follow(ctx context.Context, notify func(customer string)) error {
	stream, err := e.orders().FollowFeeds(ctx, connect.NewRequest(&soukv1.FollowFeedsRequest{}))
	if err != nil {
		return wrong(err)
	}
	defer func() { _ = stream.Close() }()
	for stream.Receive() {
		for _, c := range stream.Msg().GetCustomers() {
			notify(c)
		}
	}
	return wrong(stream.Err())
}

// wrong is what an answer's error was on the other side. Where nobody is there to ask, nothing was done.
func wrong(err error) error {
	if errors.Is(err, peers.ErrAbsent) {
		return fmt.Errorf("%w: %w", backbone.ErrUnavailable, peers.ErrAbsent)
	}
	return rpc.ErrorOf(err)
}

// found splits an answer's error into whether there is such a thing and what went wrong.
func found(err error) (bool, error) {
	if failed, ok := errors.AsType[*connect.Error](err); ok && failed.Code() == connect.CodeNotFound {
		return false, nil
	}
	return err == nil, wrong(err)
}

func money(m *soukv1.Money) mall.Money {
	return mall.Money{Amount: m.GetAmount(), Currency: m.GetCurrency()}
}

// status is a status as customers are shown it.
func status(s soukv1.OrderStatus) string {
	return s.String()[len("ORDER_STATUS_"):]
}

// remoteStock shows the online store the stock of what the gateway's catalogue names.
type remoteStock struct {
	catalogue online.Catalogue
	elsewhere elsewhere
}

// Level implements online.Stock.
func (s remoteStock) Level(ctx context.Context, product string) (online.Level, bool, error) {
	p, _, err := s.catalogue.Product(ctx, product)
	if err != nil || p.SKU == "" {
		return online.Level{}, false, err
	}
	l, err := s.elsewhere.level(ctx, p.SKU)
	return l, err == nil, err
}

// keysConfig says where the keys of persons are: in the database of their service, or, where that runs elsewhere, with the process that
// runs it, which lends them for a while.
func (h *House) keysConfig() backbone.KeysConfig {
	owner := backbone.KeyService().Name
	if h.peers == nil || !h.cfg.Quiet && h.runs(owner) {
		return backbone.KeysConfig{Store: h.stores.of(owner)}
	}
	return backbone.KeysConfig{Owner: rpc.RemoteKeys(soukv1connect.NewKeysServiceClient(h.peers.Client(), peers.URL(owner), connect.WithGRPC()))}
}
