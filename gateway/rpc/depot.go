package rpc

import (
	"context"
	"net/http"

	"connectrpc.com/connect"

	soukv1 "example.org/souk/api/gen/souk/v1"
	"example.org/souk/api/gen/souk/v1/soukv1connect"
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
