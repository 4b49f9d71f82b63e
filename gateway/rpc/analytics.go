package rpc

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	soukv1 "example.org/souk/api/gen/souk/v1"
	"example.org/souk/api/gen/souk/v1/soukv1connect"
	"example.org/souk/mall/analytics"
)

var analyticsPolicy = map[string]Access{
	"GetSales":        lookers,
	"BreakDownSales":  lookers,
	"GetFunnel":       lookers,
	"GetTimeToReady":  lookers,
	"GetOutcomes":     lookers,
	"ListTopProducts": lookers,
}

// analyticsFace answers for analytics.
type analyticsFace struct{ *server }

func serveAnalytics(s *server, o ...connect.HandlerOption) (string, http.Handler) {
	return soukv1connect.NewAnalyticsServiceHandler(analyticsFace{s}, o...)
}

// longest is for how long a read may count.
const longest = 366 * 24 * time.Hour

// span reads from and until, both of which are required.
func span(from, until *timestamppb.Timestamp) (time.Time, time.Time, error) {
	begin, err := micros("from", from)
	end, endErr := micros("until", until)
	switch {
	case cmp.Or(err, endErr) != nil:
		return time.Time{}, time.Time{}, cmp.Or(err, endErr)
	case begin == 0:
		return time.Time{}, time.Time{}, wrong("from", "is required")
	case end == 0:
		return time.Time{}, time.Time{}, wrong("until", "is required")
	case end < begin || time.Duration(end-begin)*time.Microsecond > longest:
		return time.Time{}, time.Time{}, wrong("until", "must be after from, by 366 days at most")
	}
	return time.UnixMicro(begin), time.UnixMicro(end), nil
}

func (h analyticsFace) GetSales(ctx context.Context, r *connect.Request[soukv1.GetSalesRequest]) (*connect.Response[soukv1.GetSalesResponse], error) {
	from, until, err := span(r.Msg.GetFrom(), r.Msg.GetUntil())
	if err != nil {
		return nil, err
	}
	list, err := analytics.Sales(ctx, h.Reader("analytics"), from, until)
	answer := &soukv1.GetSalesResponse{}
	for _, l := range list {
		answer.Hours = append(answer.Hours, &soukv1.SalesHour{Begin: timeOf(l.Begin), Orders: l.Orders, Revenue: moneyOf(l.Revenue)})
	}
	return done(answer, unread(err))
}

var salesBy = map[soukv1.SalesBy]analytics.By{
	soukv1.SalesBy_SALES_BY_HOUR: analytics.ByHour, soukv1.SalesBy_SALES_BY_SHOP: analytics.ByShop, soukv1.SalesBy_SALES_BY_PRODUCT: analytics.ByProduct,
}

func (h analyticsFace) BreakDownSales(ctx context.Context, r *connect.Request[soukv1.BreakDownSalesRequest]) (*connect.Response[soukv1.BreakDownSalesResponse], error) {
	by, known := salesBy[r.Msg.GetBy()]
	if !known {
		return nil, wrong("by", "must be hour, shop or product")
	}
	from, until, err := span(r.Msg.GetFrom(), r.Msg.GetUntil())
	if err != nil {
		return nil, err
	}
	list, err := analytics.SalesBy(ctx, h.Reader("analytics"), by, from, until)
	answer := &soukv1.BreakDownSalesResponse{}
	for _, f := range list {
		answer.Figures = append(answer.Figures, &soukv1.SalesFigure{
			Hour: timeOf(f.Hour), Shop: f.Shop, Sku: f.SKU, Orders: f.Orders, WalkIns: f.WalkIns, Units: f.Units, WalkInUnits: f.WalkInUnits,
			Sold: moneyOf(f.Sold), WalkInSold: moneyOf(f.WalkInSold), Refunded: moneyOf(f.Refunded), Net: moneyOf(f.Net()),
		})
	}
	return done(answer, unread(err))
}

func (h analyticsFace) GetFunnel(ctx context.Context, r *connect.Request[soukv1.GetFunnelRequest]) (*connect.Response[soukv1.GetFunnelResponse], error) {
	from, until, err := span(r.Msg.GetFrom(), r.Msg.GetUntil())
	if err != nil {
		return nil, err
	}
	list, err := analytics.Funnel(ctx, h.Reader("analytics"), from, until)
	answer := &soukv1.GetFunnelResponse{}
	for _, s := range list {
		answer.Steps = append(answer.Steps, &soukv1.FunnelStep{
			Path: string(s.Path), Step: s.Step, Reached: s.Reached, Waiting: s.Waiting, Rejected: s.Rejected, Canceled: s.Canceled, Expired: s.Expired, Free: s.Free,
		})
	}
	return done(answer, unread(err))
}

func (h analyticsFace) GetTimeToReady(ctx context.Context, r *connect.Request[soukv1.GetTimeToReadyRequest]) (*connect.Response[soukv1.GetTimeToReadyResponse], error) {
	from, until, err := span(r.Msg.GetFrom(), r.Msg.GetUntil())
	if err != nil {
		return nil, err
	}
	list, err := analytics.TimeToReady(ctx, h.Reader("analytics"), from, until)
	answer := &soukv1.GetTimeToReadyResponse{}
	for _, w := range list {
		answer.Times = append(answer.Times, &soukv1.TimeToReady{Since: w.Since, Orders: w.Orders, P50: durationpb.New(w.Half), P95: durationpb.New(w.Most)})
	}
	return done(answer, unread(err))
}

func (h analyticsFace) GetOutcomes(ctx context.Context, r *connect.Request[soukv1.GetOutcomesRequest]) (*connect.Response[soukv1.GetOutcomesResponse], error) {
	from, until, err := span(r.Msg.GetFrom(), r.Msg.GetUntil())
	if err != nil {
		return nil, err
	}
	counts, err := analytics.Outcomes(ctx, h.Reader("analytics"), from, until)
	return done(&soukv1.GetOutcomesResponse{Outcomes: counts}, unread(err))
}

func (h analyticsFace) ListTopProducts(ctx context.Context, r *connect.Request[soukv1.ListTopProductsRequest]) (*connect.Response[soukv1.ListTopProductsResponse], error) {
	n, err := limit(r.Msg.GetLimit(), 100, 1000)
	if err != nil {
		return nil, err
	}
	list, err := analytics.Products(ctx, h.Reader("analytics"), n)
	answer := &soukv1.ListTopProductsResponse{}
	for _, p := range list {
		answer.Products = append(answer.Products, &soukv1.ProductSales{
			Product: p.Product, Orders: p.Orders, Quantity: p.Quantity, Amount: moneyOf(p.Amount),
		})
	}
	return done(answer, unread(err))
}
