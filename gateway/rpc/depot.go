package rpc

import (
	"context"
	"net/http"
	"time"

	"connectrpc.com/connect"

	soukv1 "example.org/souk/api/gen/souk/v1"
	"example.org/souk/api/gen/souk/v1/soukv1connect"
	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/depot"
)

var depotPolicy = map[string]Access{
	"CreateShoppingList": processes,
	"InitiateShopping":   processes,
	"CancelList":         processes,
	"PlaceStore":         shop,
	"AssignList":         shop,
	"RecoverItems":       shop,
	"RegisterRobot":      shop,
	"RetireRobot":        shop,
	"SteerRobot":         shop,
	"GetList":            lookers,
	"ListLists":          lookers,
	"ListRobots":         lookers,
	"FollowRobots":       processes,
}

// depotFace answers for the depot. What robots do they say elsewhere.
type depotFace struct{ *server }

func serveDepot(s *server, o ...connect.HandlerOption) (string, http.Handler) {
	return soukv1connect.NewDepotServiceHandler(depotFace{s}, o...)
}

func (h depotFace) CreateShoppingList(ctx context.Context, r *connect.Request[soukv1.CreateShoppingListRequest]) (*connect.Response[soukv1.CreateShoppingListResponse], error) {
	c := command.CreateShoppingList{List: r.Msg.GetList(), Order: r.Msg.GetOrder(), WhenShort: mall.WhenShort(r.Msg.GetWhenShort())}
	for _, s := range r.Msg.GetStops() {
		c.Stops = append(c.Stops, mall.Stop{Stop: s.GetStop(), Store: s.GetStore(), SKU: s.GetSku(), Name: s.GetName(), Quantity: s.GetQuantity()})
	}
	a, err := h.do(ctx, r.Msg, c)
	return done(&soukv1.CreateShoppingListResponse{Answer: a}, err)
}

func (h depotFace) InitiateShopping(ctx context.Context, r *connect.Request[soukv1.InitiateShoppingRequest]) (*connect.Response[soukv1.InitiateShoppingResponse], error) {
	a, err := h.do(ctx, r.Msg, command.InitiateShopping{List: r.Msg.GetList()})
	return done(&soukv1.InitiateShoppingResponse{Answer: a}, err)
}

func (h depotFace) CancelList(ctx context.Context, r *connect.Request[soukv1.CancelListRequest]) (*connect.Response[soukv1.CancelListResponse], error) {
	a, err := h.do(ctx, r.Msg, command.CancelList{List: r.Msg.GetList(), Reason: r.Msg.GetReason()})
	return done(&soukv1.CancelListResponse{Answer: a}, err)
}

func (h depotFace) PlaceStore(ctx context.Context, r *connect.Request[soukv1.PlaceStoreRequest]) (*connect.Response[soukv1.PlaceStoreResponse], error) {
	if r.Msg.GetAt() == nil {
		return nil, wrong("at", "is required")
	}
	a, err := h.do(ctx, r.Msg, depot.PlaceStore{Store: r.Msg.GetStore(), At: &mall.Place{X: r.Msg.GetAt().GetX(), Y: r.Msg.GetAt().GetY()}})
	return done(&soukv1.PlaceStoreResponse{Answer: a}, err)
}

func (h depotFace) AssignList(ctx context.Context, r *connect.Request[soukv1.AssignListRequest]) (*connect.Response[soukv1.AssignListResponse], error) {
	a, err := h.do(ctx, r.Msg, command.AssignList{List: r.Msg.GetList(), Robot: r.Msg.GetRobot()})
	return done(&soukv1.AssignListResponse{Answer: a}, err)
}

func (h depotFace) RecoverItems(ctx context.Context, r *connect.Request[soukv1.RecoverItemsRequest]) (*connect.Response[soukv1.RecoverItemsResponse], error) {
	a, err := h.do(ctx, r.Msg, command.RecoverItems{List: r.Msg.GetList(), Lost: r.Msg.GetLost()})
	return done(&soukv1.RecoverItemsResponse{Answer: a}, err)
}

func (h depotFace) RegisterRobot(ctx context.Context, r *connect.Request[soukv1.RegisterRobotRequest]) (*connect.Response[soukv1.RegisterRobotResponse], error) {
	a, err := h.do(ctx, r.Msg, command.RegisterRobot{
		Robot: r.Msg.GetRobot(), Carries: r.Msg.GetCarries(), Home: mall.Place{X: r.Msg.GetHome().GetX(), Y: r.Msg.GetHome().GetY()},
	})
	return done(&soukv1.RegisterRobotResponse{Answer: a}, err)
}

func (h depotFace) RetireRobot(ctx context.Context, r *connect.Request[soukv1.RetireRobotRequest]) (*connect.Response[soukv1.RetireRobotResponse], error) {
	a, err := h.do(ctx, r.Msg, command.RetireRobot{Robot: r.Msg.GetRobot()})
	return done(&soukv1.RetireRobotResponse{Answer: a}, err)
}

func (h depotFace) SteerRobot(ctx context.Context, r *connect.Request[soukv1.SteerRobotRequest]) (*connect.Response[soukv1.SteerRobotResponse], error) {
	a, err := h.do(ctx, r.Msg, command.SteerRobot{Robot: r.Msg.GetRobot(), Steer: mall.Steer(r.Msg.GetSteer())})
	return done(&soukv1.SteerRobotResponse{Answer: a}, err)
}

func (h depotFace) GetList(ctx context.Context, r *connect.Request[soukv1.GetListRequest]) (*connect.Response[soukv1.GetListResponse], error) {
	if err := validID("list", r.Msg.GetList()); err != nil {
		return nil, err
	}
	l, found, err := depot.ListOf(ctx, h.Reader(depot.ServiceName), r.Msg.GetList())
	if err == nil && !found {
		return nil, ErrNotFound
	}
	return done(&soukv1.GetListResponse{List: shoppingListOf(l)}, unread(err))
}

func (h depotFace) ListLists(ctx context.Context, r *connect.Request[soukv1.ListListsRequest]) (*connect.Response[soukv1.ListListsResponse], error) {
	n, err := page(r.Msg.GetAfter(), r.Msg.GetLimit())
	if err != nil {
		return nil, err
	}
	list, err := depot.Lists(ctx, h.Reader(depot.ServiceName), r.Msg.GetAfter(), n)
	answer := &soukv1.ListListsResponse{}
	for _, l := range list {
		answer.Lists = append(answer.Lists, shoppingListOf(l))
	}
	return done(answer, unread(err))
}

func (h depotFace) ListRobots(ctx context.Context, r *connect.Request[soukv1.ListRobotsRequest]) (*connect.Response[soukv1.ListRobotsResponse], error) {
	n, err := page(r.Msg.GetAfter(), r.Msg.GetLimit())
	if err != nil {
		return nil, err
	}
	list, err := depot.Robots(ctx, h.Reader(depot.ServiceName), r.Msg.GetAfter(), n)
	answer := &soukv1.ListRobotsResponse{}
	for _, b := range list {
		answer.Robots = append(answer.Robots, &soukv1.Robot{
			Robot: b.Robot, Carries: b.Carries, Home: placeOf(b.Home), State: string(b.State), Battery: b.Battery, At: placeOf(b.At), List: b.List,
		})
	}
	return done(answer, unread(err))
}

// Robots knows where the robots are whose streams are in this process. Nothing of it waits for whoever asks.
type Robots interface {
	// Sightings returns those that said something after a number, each once and as it is now, and the number to ask with next; 0 asks for
	// all that came since the start.
	Sightings(since uint64) (list []*soukv1.RobotSighting, last uint64)
	// Watch returns a channel that receives a value (coalesced) after each change, and a function that ends it.
	Watch() (changed <-chan struct{}, stop func())
}

// noRobots is a process in which there are none.
type noRobots struct{}

func (noRobots) Sightings(uint64) ([]*soukv1.RobotSighting, uint64) { return nil, 0 }
func (noRobots) Watch() (<-chan struct{}, func())                   { return nil, func() {} }

const (
	// sightEvery is how often who follows robots is told of them. However many say something meanwhile, each is told once.
	sightEvery = 100 * time.Millisecond
	// sightedAtOnce bounds the robots of one answer of a stream.
	sightedAtOnce = 1000
)

func (h depotFace) FollowRobots(ctx context.Context, _ *connect.Request[soukv1.FollowRobotsRequest], stream *connect.ServerStream[soukv1.FollowRobotsResponse]) error {
	changed, stop := h.Robots.Watch()
	defer stop()
	pace := time.NewTicker(sightEvery)
	defer pace.Stop()
	seen, first := uint64(0), true
	for {
		list, last := h.Robots.Sightings(seen)
		for len(list) > 0 || first {
			n := min(len(list), sightedAtOnce)
			if err := send(ctx, stream, &soukv1.FollowRobotsResponse{Robots: list[:n]}); err != nil {
				return err
			}
			list, first = list[n:], false
		}
		seen = last
		if err := wait(ctx, h.Closing, pace.C); err != nil {
			return err
		}
		if err := wait(ctx, h.Closing, changed); err != nil {
			return err
		}
	}
}

// wait receives from a channel, unless there is a reason to wait no more.
func wait[T any](ctx context.Context, closing <-chan struct{}, c <-chan T) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-closing:
		return backbone.ErrStopped
	case <-c:
		return nil
	}
}

// page judges where a list begins and how long it may be.
func page(after string, most int32) (int, error) {
	if after != "" {
		if err := validID("after", after); err != nil {
			return 0, err
		}
	}
	return limit(most, 100, 1000)
}

func shoppingListOf(l depot.List) *soukv1.ShoppingList {
	return &soukv1.ShoppingList{List: l.List, Order: l.Order, State: l.State, Robot: l.Robot}
}

func placeOf(p mall.Place) *soukv1.Place { return &soukv1.Place{X: p.X, Y: p.Y} }
