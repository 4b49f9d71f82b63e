package rpc

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"connectrpc.com/connect"

	soukv1 "example.org/souk/api/gen/souk/v1"
	"example.org/souk/api/gen/souk/v1/soukv1connect"
	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/orders"
)

var ordersPolicy = map[string]Access{
	"PlaceOrder":       ownOrder,
	"CancelOrder":      ownOrder,
	"RejectOrder":      processes,
	"ApproveOrder":     processes,
	"DecideShort":      shop,
	"HandOverOrder":    shop,
	"GetOrder":         ownLook,
	"ListLatestOrders": lookers,
	"ListFeed":         ownLook,
	"FollowFeeds":      processes,
}

// ordersFace answers for orders.
type ordersFace struct{ *server }

func serveOrders(s *server, o ...connect.HandlerOption) (string, http.Handler) {
	return soukv1connect.NewOrdersServiceHandler(ordersFace{s}, o...)
}

// ErrPriceChanged is refused where an item was given a price that is not the catalogue's; with a list of Differs as data.
var ErrPriceChanged = backbone.Refuse("price_changed", "the catalogue's prices are others; look again before you order")

// Differs says of an item which price was sent and which one holds.
type Differs struct {
	Item    int        `json:"item"` // from 0
	Sent    mall.Money `json:"sent"`
	Current mall.Money `json:"current"`
}

func (h ordersFace) PlaceOrder(ctx context.Context, r *connect.Request[soukv1.PlaceOrderRequest]) (*connect.Response[soukv1.PlaceOrderResponse], error) {
	v := visitOf(ctx)
	if !v.owns(r.Msg.GetCustomer()) {
		return nil, ErrNotFound
	}
	expires, err := micros("expires", r.Msg.GetExpires())
	if err != nil {
		return nil, err
	}
	wish, known := whenShort[r.Msg.GetWhenShort()]
	if !known {
		return nil, wrong("whenShort", "is none that is known here")
	}
	c := command.PlaceOrder{
		Order: r.Msg.GetOrder(), Message: r.Msg.GetMessage(), Customer: r.Msg.GetCustomer(), Items: items(r.Msg.GetItems()),
		Payment: r.Msg.GetPayment(), WaitForStock: r.Msg.GetWaitForStock(), Expires: expires, WhenShort: wish,
	}
	if v.caller.Kind != Process {
		if err := h.price(ctx, &c); err != nil {
			return nil, err
		}
	}
	a, err := h.do(ctx, r.Msg, c)
	return done(&soukv1.PlaceOrderResponse{Answer: a}, err)
}

// price puts the catalogue's names and prices into the items of an order, and refuses others. What was accepted once stays
// what it is, at the price of then.
func (h ordersFace) price(ctx context.Context, c *command.PlaceOrder) error {
	if err := validID("order", c.Order); err != nil {
		return err
	}
	if n := len(c.Items); n > mall.MaxLines {
		return wrong("items", fmt.Sprintf("must have 1 to %d entries", mall.MaxLines))
	}
	known, found, err := orders.Get(ctx, h.Reader("orders"), c.Order)
	if err != nil {
		return unread(err)
	}
	if found && known.Customer == c.Customer && slices.EqualFunc(known.Items, c.Items, sameItem) {
		c.Items = known.Items
		return nil
	}
	if h.Catalogue == nil {
		return backbone.ErrUnavailable
	}
	var differ []Differs
	for i, item := range c.Items {
		field := fmt.Sprintf("items[%d].product", i)
		if err := validID(field, item.Product); err != nil {
			return err
		}
		p, ok, err := h.Catalogue.Product(ctx, item.Product)
		if err != nil {
			return unread(err)
		}
		if !ok {
			return wrong(field, "is not a product that can be ordered")
		}
		if item.Price != (mall.Money{}) && item.Price != p.Price {
			differ = append(differ, Differs{i, item.Price, p.Price})
		}
		p.Quantity = item.Quantity
		c.Items[i] = p
	}
	if len(differ) > 0 {
		return ErrPriceChanged.With(differ)
	}
	return nil
}

// sameItem compares an item that was ordered with one that is asked for. What was not said differs from nothing.
func sameItem(known, asked mall.Item) bool {
	return known.Product == asked.Product && known.Quantity == asked.Quantity && (asked.Price == mall.Money{} || asked.Price == known.Price)
}

func (h ordersFace) CancelOrder(ctx context.Context, r *connect.Request[soukv1.CancelOrderRequest]) (*connect.Response[soukv1.CancelOrderResponse], error) {
	v := visitOf(ctx)
	if v.scope == Own {
		if _, err := h.own(ctx, r.Msg.GetOrder()); err != nil {
			return nil, err
		}
	}
	a, err := h.do(ctx, r.Msg, command.CancelOrder{Order: r.Msg.GetOrder(), Reason: r.Msg.GetReason()})
	return done(&soukv1.CancelOrderResponse{Answer: a}, err)
}

func (h ordersFace) RejectOrder(ctx context.Context, r *connect.Request[soukv1.RejectOrderRequest]) (*connect.Response[soukv1.RejectOrderResponse], error) {
	a, err := h.do(ctx, r.Msg, command.RejectOrder{
		Order: r.Msg.GetOrder(), Reason: r.Msg.GetReason(), SKU: r.Msg.GetSku(), Wanted: r.Msg.GetWanted(), Available: r.Msg.GetAvailable(),
	})
	return done(&soukv1.RejectOrderResponse{Answer: a}, err)
}

func (h ordersFace) ApproveOrder(ctx context.Context, r *connect.Request[soukv1.ApproveOrderRequest]) (*connect.Response[soukv1.ApproveOrderResponse], error) {
	a, err := h.do(ctx, r.Msg, command.ApproveOrder{Order: r.Msg.GetOrder()})
	return done(&soukv1.ApproveOrderResponse{Answer: a}, err)
}

func (h ordersFace) DecideShort(ctx context.Context, r *connect.Request[soukv1.DecideShortRequest]) (*connect.Response[soukv1.DecideShortResponse], error) {
	a, err := h.do(ctx, r.Msg, command.DecideShort{
		Order: r.Msg.GetOrder(), Choice: mall.WhenShort(r.Msg.GetChoice()), Substitutes: items(r.Msg.GetSubstitutes()),
	})
	return done(&soukv1.DecideShortResponse{Answer: a}, err)
}

func (h ordersFace) HandOverOrder(ctx context.Context, r *connect.Request[soukv1.HandOverOrderRequest]) (*connect.Response[soukv1.HandOverOrderResponse], error) {
	a, err := h.do(ctx, r.Msg, command.HandOverOrder{Order: r.Msg.GetOrder()})
	return done(&soukv1.HandOverOrderResponse{Answer: a}, err)
}

// own returns an order that the caller may see.
func (h ordersFace) own(ctx context.Context, id string) (orders.View, error) {
	if err := validID("order", id); err != nil {
		return orders.View{}, err
	}
	o, found, err := orders.Get(ctx, h.Reader("orders"), id)
	if err != nil {
		return o, unread(err)
	}
	if !visitOf(ctx).owns(o.Customer) || !found {
		return o, ErrNotFound
	}
	return o, nil
}

func (h ordersFace) GetOrder(ctx context.Context, r *connect.Request[soukv1.GetOrderRequest]) (*connect.Response[soukv1.GetOrderResponse], error) {
	o, err := h.own(ctx, r.Msg.GetOrder())
	if err != nil {
		return nil, err
	}
	answer := &soukv1.Order{
		Order: o.ID, Customer: o.Customer, Status: statusOf(o.Shown()), Message: o.Message, Items: itemsOf(o.Items), Total: moneyOf(o.Total),
		Payment: o.Payment, WaitForStock: o.WaitForStock, Expires: microsOf(o.Expires), Paid: o.Paid, Collected: o.Collected, Reason: o.Reason,
		WhenShort: wishOf(o.WhenShort), Substitutes: itemsOf(o.Substitutes),
	}
	if o.Short.SKU != "" {
		answer.Shortage = &soukv1.Shortage{Sku: o.Short.SKU, Wanted: o.Short.Wanted, Available: o.Short.Available}
	}
	for _, s := range o.History {
		answer.History = append(answer.History, &soukv1.OrderStep{Status: statusOf(s.Status), Since: timeOf(s.Time)})
	}
	return done(&soukv1.GetOrderResponse{Order: answer}, nil)
}

// wishOf is what a customer wants when goods are not found, as it travels.
func wishOf(wish mall.WhenShort) soukv1.WhenShort {
	for travels, w := range whenShort {
		if w == wish {
			return travels
		}
	}
	return soukv1.WhenShort_WHEN_SHORT_UNSPECIFIED
}

// WhenShort reads what wishOf wrote.
func WhenShort(travels soukv1.WhenShort) mall.WhenShort { return whenShort[travels] }

// statusOf reads a status as orders show it.
func statusOf(shown string) soukv1.OrderStatus {
	return soukv1.OrderStatus(soukv1.OrderStatus_value["ORDER_STATUS_"+shown])
}

func (h ordersFace) ListLatestOrders(ctx context.Context, r *connect.Request[soukv1.ListLatestOrdersRequest]) (*connect.Response[soukv1.ListLatestOrdersResponse], error) {
	n, err := limit(r.Msg.GetLimit(), 20, 100)
	if err != nil {
		return nil, err
	}
	list, err := orders.Latest(ctx, h.Reader("orders"), n)
	answer := &soukv1.ListLatestOrdersResponse{}
	for _, o := range list {
		answer.Orders = append(answer.Orders, &soukv1.OrderSummary{
			Order: o.Order, Customer: o.Customer, Status: statusOf(o.Status), Total: moneyOf(o.Total), Placed: timeOf(o.Placed),
		})
	}
	return done(answer, unread(err))
}

var feedParts = map[orders.Part]soukv1.FeedPart{
	orders.Asked:    soukv1.FeedPart_FEED_PART_ASKED,
	orders.Stocked:  soukv1.FeedPart_FEED_PART_STOCKED,
	orders.Happened: soukv1.FeedPart_FEED_PART_HAPPENED,
}

func (h ordersFace) ListFeed(ctx context.Context, r *connect.Request[soukv1.ListFeedRequest]) (*connect.Response[soukv1.ListFeedResponse], error) {
	if !visitOf(ctx).owns(r.Msg.GetCustomer()) {
		return nil, ErrNotFound
	}
	n, err := limit(r.Msg.GetLimit(), 100, 1000)
	if err == nil {
		err = validID("customer", r.Msg.GetCustomer())
	}
	if err == nil {
		err = notNegative("after", r.Msg.GetAfter())
	}
	if err != nil {
		return nil, err
	}
	list, err := orders.Feed(ctx, h.Reader("orders"), r.Msg.GetCustomer(), r.Msg.GetAfter(), n)
	answer := &soukv1.ListFeedResponse{}
	for _, e := range list {
		answer.Entries = append(answer.Entries, &soukv1.FeedEntry{Number: e.N, Part: feedParts[e.Part], Event: e.Event, Type: e.Type, Data: e.Data})
	}
	return done(answer, unread(err))
}

// lookAgain is how often FollowFeeds looks for what another process has committed, of which no pulse tells here.
const lookAgain = time.Second

func (h ordersFace) FollowFeeds(ctx context.Context, r *connect.Request[soukv1.FollowFeedsRequest], stream *connect.ServerStream[soukv1.FollowFeedsResponse]) error {
	if err := notNegative("after", r.Msg.GetAfter()); err != nil {
		return err
	}
	changed, stop := h.Changed("orders")
	defer stop()
	reader := h.Reader("orders")
	at, err := reader.Head(ctx)
	if err != nil {
		return unread(err)
	}
	if after := r.Msg.GetAfter(); after > 0 {
		at = min(at, after)
	}
	if err := send(ctx, stream, &soukv1.FollowFeedsResponse{Position: at}); err != nil {
		return err
	}
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		grown, next, err := grownFeeds(ctx, reader, at)
		if err != nil {
			return unread(err)
		}
		if len(grown) > 0 {
			if err := send(ctx, stream, &soukv1.FollowFeedsResponse{Customers: grown, Position: next}); err != nil {
				return err
			}
		}
		if more := next > at; more {
			at = next
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-h.Closing:
			return backbone.ErrStopped
		case <-changed:
		case <-tick.C:
		}
	}
}

// grownFeeds names the customers of the events in the next piece of the log, and where it ends.
func grownFeeds(ctx context.Context, reader *backbone.Reader, at int64) (customers []string, next int64, err error) {
	const piece = 1000
	head, err := reader.Head(ctx)
	if err != nil || head <= at {
		return nil, at, err
	}
	list, err := reader.Log(ctx, backbone.ReadQuery{After: at, Until: head, Kinds: backbone.EventKinds(), Limit: piece})
	if err != nil {
		return nil, at, err
	}
	for _, m := range list {
		var of struct {
			Customer string `json:"customer"`
		}
		if json.Unmarshal(m.Data, &of) == nil && of.Customer != "" && !slices.Contains(customers, of.Customer) {
			customers = append(customers, of.Customer)
		}
	}
	if len(list) == piece {
		head = list[piece-1].Position
	}
	return customers, head, nil
}
