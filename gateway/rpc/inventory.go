package rpc

import (
	"cmp"
	"context"
	"net/http"

	"connectrpc.com/connect"

	soukv1 "example.org/souk/api/gen/souk/v1"
	"example.org/souk/api/gen/souk/v1/soukv1connect"
	"example.org/souk/backbone"
	"example.org/souk/mall/command"
	"example.org/souk/mall/inventory"
)

var inventoryPolicy = map[string]Access{
	"ReceiveStock": shop,
	"AdjustStock":  shop,
	"CountStock":   shop,
	"SetThreshold": shop,
	"ReserveStock": processes,
	"CommitStock":  processes,
	"ReleaseStock": processes,
	"GetLevel":     everybody,
	"ListLevels":   lookers,
}

// inventoryFace answers for inventory.
type inventoryFace struct{ *server }

func serveInventory(s *server, o ...connect.HandlerOption) (string, http.Handler) {
	return soukv1connect.NewInventoryServiceHandler(inventoryFace{s}, o...)
}

func (h inventoryFace) ReceiveStock(ctx context.Context, r *connect.Request[soukv1.ReceiveStockRequest]) (*connect.Response[soukv1.ReceiveStockResponse], error) {
	if err := h.known(ctx, r.Msg.GetSku()); err != nil {
		return nil, err
	}
	a, err := h.do(ctx, r.Msg, command.ReceiveStock{SKU: r.Msg.GetSku(), Location: location(r.Msg.GetLocation()), Quantity: r.Msg.GetQuantity()})
	return done(&soukv1.ReceiveStockResponse{Answer: a}, err)
}

// known refuses a SKU that no product has or had, unless a process of the mall says it: goods of it would lie there, and nobody could order them.
func (h inventoryFace) known(ctx context.Context, sku string) error {
	if err := validID("sku", sku); err != nil || visitOf(ctx).caller.Kind == Process {
		return err
	}
	if h.Catalogue == nil {
		return backbone.ErrUnavailable
	}
	switch known, err := h.Catalogue.Known(ctx, sku); {
	case err != nil:
		return unread(err)
	case !known:
		return wrong("sku", "must be that of a product: no shop sells it, or has ever sold it")
	}
	return nil
}

func (h inventoryFace) AdjustStock(ctx context.Context, r *connect.Request[soukv1.AdjustStockRequest]) (*connect.Response[soukv1.AdjustStockResponse], error) {
	a, err := h.do(ctx, r.Msg, command.AdjustStock{SKU: r.Msg.GetSku(), Location: location(r.Msg.GetLocation()), Delta: r.Msg.GetDelta(), Reason: r.Msg.GetReason()})
	return done(&soukv1.AdjustStockResponse{Answer: a}, err)
}

func (h inventoryFace) CountStock(ctx context.Context, r *connect.Request[soukv1.CountStockRequest]) (*connect.Response[soukv1.CountStockResponse], error) {
	counted, err := countedIn(r.Msg)
	if err != nil {
		return nil, err
	}
	a, err := h.do(ctx, r.Msg, command.CountStock{
		SKU: r.Msg.GetSku(), Location: location(r.Msg.GetLocation()), Counted: counted, Reason: r.Msg.GetReason(),
	})
	return done(&soukv1.CountStockResponse{Answer: a}, err)
}

// countedIn returns how many pieces somebody counted. Where that is not said it is refused: they are not 0.
func countedIn(m *soukv1.CountStockRequest) (int64, error) {
	switch said := m.GetCounted(); {
	case m.Pieces == nil && said == 0:
		return 0, wrong("counted", "must be said; that there are none is said by pieces, which is 0 then")
	case m.Pieces == nil:
		return said, nil
	case said != 0 && said != m.GetPieces():
		return 0, wrong("pieces", "must be what counted is, where both are said")
	}
	return m.GetPieces(), nil
}

func (h inventoryFace) SetThreshold(ctx context.Context, r *connect.Request[soukv1.SetThresholdRequest]) (*connect.Response[soukv1.SetThresholdResponse], error) {
	a, err := h.do(ctx, r.Msg, command.SetThreshold{
		SKU: r.Msg.GetSku(), Location: location(r.Msg.GetLocation()), Threshold: r.Msg.GetThreshold(), Quantity: r.Msg.GetQuantity(),
	})
	return done(&soukv1.SetThresholdResponse{Answer: a}, err)
}

func (h inventoryFace) ReserveStock(ctx context.Context, r *connect.Request[soukv1.ReserveStockRequest]) (*connect.Response[soukv1.ReserveStockResponse], error) {
	expires, err := micros("expires", r.Msg.GetExpires())
	if err != nil {
		return nil, err
	}
	a, err := h.do(ctx, r.Msg, command.ReserveStock{
		Order: r.Msg.GetOrder(), Lines: lines(r.Msg.GetLines()), Location: location(r.Msg.GetLocation()), Wait: r.Msg.GetWait(), Expires: expires,
	})
	return done(&soukv1.ReserveStockResponse{Answer: a}, err)
}

func (h inventoryFace) CommitStock(ctx context.Context, r *connect.Request[soukv1.CommitStockRequest]) (*connect.Response[soukv1.CommitStockResponse], error) {
	a, err := h.do(ctx, r.Msg, command.CommitStock{Order: r.Msg.GetOrder(), Lines: lines(r.Msg.GetLines()), Location: location(r.Msg.GetLocation())})
	return done(&soukv1.CommitStockResponse{Answer: a}, err)
}

func (h inventoryFace) ReleaseStock(ctx context.Context, r *connect.Request[soukv1.ReleaseStockRequest]) (*connect.Response[soukv1.ReleaseStockResponse], error) {
	a, err := h.do(ctx, r.Msg, command.ReleaseStock{
		Order: r.Msg.GetOrder(), Lines: lines(r.Msg.GetLines()), Location: location(r.Msg.GetLocation()), Reason: r.Msg.GetReason(),
	})
	return done(&soukv1.ReleaseStockResponse{Answer: a}, err)
}

func (h inventoryFace) GetLevel(ctx context.Context, r *connect.Request[soukv1.GetLevelRequest]) (*connect.Response[soukv1.GetLevelResponse], error) {
	at := location(r.Msg.GetLocation())
	if err := cmp.Or(validID("sku", r.Msg.GetSku()), validID("location", at)); err != nil {
		return nil, err
	}
	l, err := inventory.Get(ctx, h.Reader("inventory"), r.Msg.GetSku(), at)
	return done(&soukv1.GetLevelResponse{Level: levelOf(l)}, unread(err))
}

func (h inventoryFace) ListLevels(ctx context.Context, r *connect.Request[soukv1.ListLevelsRequest]) (*connect.Response[soukv1.ListLevelsResponse], error) {
	n, err := limit(r.Msg.GetLimit(), 100, 1000)
	if err == nil && r.Msg.GetAfterSku()+r.Msg.GetAfterLocation() != "" {
		err = cmp.Or(validID("afterSku", r.Msg.GetAfterSku()), validID("afterLocation", location(r.Msg.GetAfterLocation())))
	}
	if err != nil {
		return nil, err
	}
	list, err := inventory.List(ctx, h.Reader("inventory"), r.Msg.GetAfterSku(), r.Msg.GetAfterLocation(), n)
	answer := &soukv1.ListLevelsResponse{}
	for _, l := range list {
		answer.Levels = append(answer.Levels, levelOf(l))
	}
	return done(answer, unread(err))
}

func levelOf(l inventory.Level) *soukv1.Level {
	return &soukv1.Level{
		Sku: l.SKU, Location: l.Location, OnHand: l.OnHand, Held: l.Held, Committed: l.Committed, Available: l.Available, Threshold: l.Threshold,
	}
}
