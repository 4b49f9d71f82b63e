package exitgate

import (
	"testing"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/backbonetest"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/event"
)

var (
	who  = mall.VisitorID("s1", "c1", "")
	at   = backbonetest.Epoch.UnixMicro()
	bag  = []mall.Line{{SKU: "ink", Quantity: 2}, {SKU: "pen", Quantity: 1}}
	left = command.ScanExit{Store: "s1", Location: "main", Customer: "c1", Device: "g1", Lines: bag}
	was  = BagScanned{Device: "g1", Bag: digest(bagOf(bag)), At: at}
)

func departure(visit string, lines []mall.Line) event.CustomerDeparted {
	return event.CustomerDeparted{Store: "s1", Location: "main", Visit: visit, Customer: "c1", Lines: lines}
}

func unannounced(n string, after time.Duration) event.CustomerDeparted {
	e := departure("u"+mall.Instant(backbonetest.Epoch.Add(after))+digest(who+"/"+n), bag)
	e.Unannounced = true
	return e
}

func events(list ...backbone.Event) []backbone.Event { return list }

func TestScans(t *testing.T) {
	t.Parallel()
	untimed := left
	untimed.Untimed = true
	other := untimed
	other.Lines = bag[:1]
	elsewhere := untimed
	elsewhere.Device = "g2"
	again := untimed
	again.Repeated = true
	empty := left
	empty.Lines = nil
	onVisit := VisitAdopted{Visit: "v1", At: at - 1}
	scannedAt := func(device string, lines []mall.Line, after time.Duration) BagScanned {
		return BagScanned{Device: device, Bag: digest(bagOf(lines)), At: at + after.Microseconds()}
	}
	for name, c := range map[string]struct {
		given []backbone.Event
		after time.Duration
		when  command.ScanExit
		then  []backbone.Event
	}{
		"of a visit":                        {events(onVisit), 0, left, events(departure("v1", bag), was)},
		"with nothing":                      {events(onVisit), 0, empty, events(departure("v1", []mall.Line{}), scannedAt("g1", nil, 0))},
		"without an arrival":                {nil, 0, left, events(unannounced("1", 0), was)},
		"after twelve hours":                {events(onVisit), 12 * time.Hour, left, events(unannounced("1", 12*time.Hour), scannedAt("g1", bag, 12*time.Hour))},
		"twice on one visit":                {events(onVisit, departure("v1", bag), was), time.Minute, left, events(unannounced("2", time.Minute), scannedAt("g1", bag, time.Minute))},
		"untimed, the same at once":         {events(onVisit, departure("v1", bag), was), 2 * time.Second, untimed, nil},
		"untimed, the same later":           {events(onVisit, departure("v1", bag), was), 3 * time.Second, untimed, events(unannounced("2", 3*time.Second), scannedAt("g1", bag, 3*time.Second))},
		"untimed, another bag at once":      {events(onVisit, departure("v1", bag), was, VisitAdopted{Visit: "v2", At: at + 1}), time.Second, other, events(departure("v2", bag[:1]), scannedAt("g1", bag[:1], time.Second))},
		"untimed, at another gate at once":  {events(onVisit, departure("v1", bag), was), time.Second, elsewhere, events(unannounced("2", time.Second), scannedAt("g2", bag, time.Second))},
		"untimed, sent before, much later":  {events(onVisit, departure("v1", bag), was), time.Hour, again, nil},
		"timed, the same at once: a second": {events(onVisit, departure("v1", bag), was), time.Second, left, events(unannounced("2", time.Second), scannedAt("g1", bag, time.Second))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			backbonetest.Given(t, Service(), c.given...).At(backbonetest.Epoch.Add(c.after)).When(c.when).Then(c.then...)
		})
	}
}

func TestVisits(t *testing.T) {
	t.Parallel()
	adopt := AdoptVisit{Visitor: who, Visit: "v1", At: at}
	adopted := VisitAdopted{Visit: "v1", At: at}
	for name, c := range map[string]struct {
		given []backbone.Event
		then  []backbone.Event
	}{
		"a first":               {nil, events(adopted)},
		"the same":              {events(adopted), nil},
		"after an earlier one":  {events(VisitAdopted{Visit: "v0", At: at - 9}, departure("v0", bag), BagScanned{At: at - 5}), events(adopted)},
		"told when it was over": {events(unannounced("1", 0), was), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			backbonetest.Given(t, Service(), c.given...).When(adopt).Then(c.then...)
		})
	}
}

func TestFrozenSamples(t *testing.T) {
	t.Parallel()
	backbonetest.Frozen(t,
		VisitAdopted{Visit: "VISIT_001", At: 1_790_000_000_000_000},
		BagScanned{Device: "gate-1", Bag: "dS1ZKgcnAYT5DPV4nS1Y2w", At: 1_790_000_000_000_000},
		AdoptVisit{Visitor: "VISITOR_001", Visit: "VISIT_001", At: 1_790_000_000_000_000},
	)
}
