package inventory

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"example.org/souk/mall"
)

var update = flag.Bool("update", false, "write the samples that are missing; a sample that exists is frozen and stays")

// What the service keeps to itself stands in its log for ever as well, so it is frozen like what it publishes.
func TestFrozenSamples(t *testing.T) {
	t.Parallel()
	l := []mall.Line{{SKU: "PRODUCT_001", Quantity: 3}, {SKU: "PRODUCT_002", Quantity: 2}}
	for _, sample := range []any{
		StockShifted{Order: "ORDER_001", Held: -3, Committed: 3},
		StockTaken{SKU: "PRODUCT_001", Location: "main", Visit: "VISIT_001", Quantity: 2},
		PurchaseSettled{Purchase: "PURCHASE_001", Quantity: 20, Canceled: true},
		TakeDelivery{SKU: "PRODUCT_001", Location: "main", Purchase: "PURCHASE_001", Quantity: 20, Settled: 20},
		ForgetPurchase{SKU: "PRODUCT_001", Location: "main", Purchase: "PURCHASE_001", Open: 20},
		ThresholdSet{SKU: "PRODUCT_001", Location: "main", Threshold: 5, Quantity: 20},
		StockAwaited{Order: "ORDER_001", Lines: l},
		StockNotAwaited{Order: "ORDER_001"},
		StockCounted{SKU: "PRODUCT_001", Location: "main", Counted: 3},
		BackordersDue{SKU: "PRODUCT_001", Location: "main", Orders: []Backorder{{Order: "ORDER_001", Lines: l}}},
		StockRequested{Order: "ORDER_001", Location: "main", Lines: l, Expires: 1_790_000_000_000_000},
		ReservationIssued{Order: "ORDER_001"},
		ShortNoted{Order: "ORDER_001", SKU: "PRODUCT_001", Quantity: 1},
		NoteShort{Order: "ORDER_001", Location: "main", SKU: "PRODUCT_001", Quantity: 1},
		ReservationClosed{Order: "ORDER_001", Reason: mall.ReasonOrderCanceled},
		ResumeBackorders{SKU: "PRODUCT_001", Location: "main", Orders: []Backorder{{Order: "ORDER_001", Lines: l}}},
	} {
		checkSample(t, wireOf(sample), sample)
	}
	// Fields that came to a type when its sample was frozen already stand in a second one.
	for _, sample := range []any{
		ShortNoted{Order: "ORDER_001", SKU: "PRODUCT_001", Quantity: 1, Counts: 2},
	} {
		checkSample(t, wireOf(sample)+".more", sample)
	}
}

func wireOf(sample any) string {
	switch s := sample.(type) {
	case interface{ EventType() string }:
		return s.EventType()
	case interface{ CommandType() string }:
		return s.CommandType()
	}
	return ""
}

func checkSample(t *testing.T, name string, sample any) {
	t.Helper()
	path := filepath.Join("testdata", name+".json")
	want, err := json.MarshalIndent(sample, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	stored, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && *update {
		stored, err = want, os.WriteFile(path, want, 0o644)
	}
	if err != nil {
		t.Error(err)
		return
	}
	if !bytes.Equal(stored, want) {
		t.Errorf("%s is no longer written as it was:\n%s", name, want)
	}
	read := reflect.New(reflect.TypeOf(sample))
	if err := json.Unmarshal(stored, read.Interface()); err != nil || !reflect.DeepEqual(read.Elem().Interface(), sample) {
		t.Errorf("%s is no longer read as it was: %v", name, err)
	}
}
