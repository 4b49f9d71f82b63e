package control

import (
	"context"
	"fmt"
	"time"

	"example.org/souk/internal/house"
	"example.org/souk/mall/analytics"
)

// figures is what is told of sales, whatever they are told apart by. Amounts are minor units of the currency.
type figures struct {
	Orders      int64  `json:"orders"`
	WalkIns     int64  `json:"walkIns"`
	Units       int64  `json:"units"`
	WalkInUnits int64  `json:"walkInUnits"`
	Currency    string `json:"currency"`
	Sold        int64  `json:"sold"`
	WalkInSold  int64  `json:"walkInSold"`
	Refunded    int64  `json:"refunded"`
	Net         int64  `json:"net"`
}

// showSales tells what was sold, by hour, shop or product.
func showSales(ctx context.Context, h *house.House, a Args, emit Emit) error {
	from, until, err := spanOf(a)
	if err != nil {
		return err
	}
	list, err := analytics.SalesBy(ctx, h.Reader("analytics"), analytics.By(a["by"]), from, until)
	if err != nil {
		return err
	}
	for _, f := range list {
		told := figures{
			Orders: f.Orders, WalkIns: f.WalkIns, Units: f.Units, WalkInUnits: f.WalkInUnits, Currency: f.Sold.Currency,
			Sold: f.Sold.Amount, WalkInSold: f.WalkInSold.Amount, Refunded: f.Refunded.Amount, Net: f.Net().Amount,
		}
		var row any
		switch analytics.By(a["by"]) {
		case analytics.ByHour:
			row = struct {
				Hour time.Time `json:"hour"`
				figures
			}{f.Hour, told}
		case analytics.ByShop:
			row = struct {
				Shop string `json:"shop"`
				figures
			}{f.Shop, told}
		case analytics.ByProduct:
			row = struct {
				Shop string `json:"shop"`
				SKU  string `json:"sku"`
				figures
			}{f.Shop, f.SKU, told}
		}
		if err := emit(row); err != nil {
			return err
		}
	}
	return nil
}

// showFunnel tells how far baskets, orders and visits came; with times, how long orders took to be ready.
func showFunnel(ctx context.Context, h *house.House, a Args, emit Emit) error {
	from, until, err := spanOf(a)
	if err != nil {
		return err
	}
	if a["times"] != "" {
		list, err := analytics.TimeToReady(ctx, h.Reader("analytics"), from, until)
		for _, w := range list {
			if err := emit(struct {
				Since  string `json:"since"`
				Orders int64  `json:"orders"`
				P50    string `json:"p50"`
				P95    string `json:"p95"`
			}{w.Since, w.Orders, w.Half.String(), w.Most.String()}); err != nil {
				return err
			}
		}
		return err
	}
	list, err := analytics.Funnel(ctx, h.Reader("analytics"), from, until)
	for _, s := range list {
		if err := emit(struct {
			Path     string `json:"path"`
			Step     string `json:"step"`
			Reached  int64  `json:"reached"`
			Waiting  int64  `json:"waiting"`
			Rejected int64  `json:"rejected"`
			Canceled int64  `json:"canceled"`
			Expired  int64  `json:"expired"`
			Free     int64  `json:"free"`
		}{string(s.Path), s.Step, s.Reached, s.Waiting, s.Rejected, s.Canceled, s.Expired, s.Free}); err != nil {
			return err
		}
	}
	return err
}

// usualSpan is how far back is looked where nothing else is said.
const usualSpan = 24 * time.Hour

// spanOf reads from and until; where they are not said, it is the time until now, and the day before until.
func spanOf(a Args) (from, until time.Time, err error) {
	if until, err = instant(a, "until", time.Now()); err != nil {
		return from, until, err
	}
	from, err = instant(a, "from", until.Add(-usualSpan))
	return from, until, err
}

// instant reads a time.
func instant(a Args, name string, usual time.Time) (time.Time, error) {
	if a[name] == "" {
		return usual, nil
	}
	t, err := time.Parse(time.RFC3339, a[name])
	if err != nil {
		return t, fmt.Errorf("%s: write a time as 2026-05-01T12:00:00Z: %w", name, err)
	}
	return t, nil
}
