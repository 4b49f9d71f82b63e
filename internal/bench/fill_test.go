package bench

import (
	"testing"

	"example.org/souk/backbone"
	"example.org/souk/internal/house"
	"example.org/souk/mall/analytics"
)

// A filled mall has a log that is whole and sealed, and its services take nothing of it for news.
func TestFilledMall(t *testing.T) {
	t.Parallel()
	ctx, dir := t.Context(), t.TempDir()
	if err := begin(ctx, dir); err != nil {
		t.Fatal(err)
	}
	if _, err := fillMall(ctx, dir, 600, t.Output()); err != nil {
		t.Fatal(err)
	}
	h, err := house.Open(ctx, house.Config{Data: dir, Quiet: true, Empty: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := h.Stop(ctx); err != nil {
			t.Error(err)
		}
	}()
	if err := h.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if err := idle(ctx, h.Runtime); err != nil {
		t.Fatal(err)
	}
	report, err := h.Runtime.Reader("orders").Verify(ctx, backbone.Seal{})
	if err != nil || report.Records != 600 || report.Unsealed != 0 {
		t.Errorf("the log: %+v, %v; want 600 records, all sealed", report, err)
	}
	counted, err := analytics.Outcomes(ctx, h.Runtime.Reader("analytics"), filledSince, filledSince.AddDate(1, 0, 0))
	if err != nil || len(counted) != 0 {
		t.Errorf("analytics took what it had passed: %v, %v", counted, err)
	}
}

// An odd number of events would end with an order that was never approved, and views would not show the sums.
func TestFillRefusesHalfAnOrder(t *testing.T) {
	t.Parallel()
	if err := fill(t.Context(), nil, 7, nil); err == nil {
		t.Error("filled")
	}
}

// A disk that has no room is left alone.
func TestRoom(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := roomFor(dir, 1000); err != nil {
		t.Error(err)
	}
	if err := roomFor(dir, 1<<50); err == nil {
		t.Error("there is room for 2^50 events")
	}
}
