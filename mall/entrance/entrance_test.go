package entrance

import (
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"example.org/souk/backbone"
	"example.org/souk/backbone/backbonetest"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/event"
)

var (
	who     = mall.VisitorID("s1", "c1", "")
	scanned = command.ScanCard{Store: "s1", Customer: "c1", Card: "k1", Device: "g1"}
	arrived = event.CustomerArrived{Store: "s1", Visit: visitID(who, 1, backbonetest.Epoch.UnixMicro()), Customer: "c1", Card: "k1"}
	opened  = VisitOpened{Visitor: who, Visit: arrived.Visit, Device: "g1", At: backbonetest.Epoch.UnixMicro()}
	gone    = VisitClosed{Visit: arrived.Visit, Reason: departed}
)

func changed(c command.ScanCard, change func(*command.ScanCard)) command.ScanCard {
	change(&c)
	return c
}

func events(list ...backbone.Event) []backbone.Event { return list }

func TestScans(t *testing.T) {
	t.Parallel()
	untimed := changed(scanned, func(c *command.ScanCard) { c.Untimed = true })
	for _, c := range []struct {
		name  string
		given []backbone.Event
		after time.Duration
		when  command.ScanCard
		opens bool
	}{
		{"first", nil, 0, scanned, true},
		{"again while inside", events(arrived, opened), time.Hour, scanned, false},
		{"again after leaving", events(arrived, opened, gone), time.Second, scanned, true},
		{"untimed, at once after leaving", events(arrived, opened, gone), 2 * time.Second, untimed, false},
		{"untimed, later", events(arrived, opened, gone), 2*time.Second + time.Microsecond, untimed, true},
		{"untimed, at another gate", events(arrived, opened, gone), time.Second, changed(untimed, func(c *command.ScanCard) { c.Device = "g2" }), true},
		{"untimed, sent before", events(arrived, opened, gone), time.Hour, changed(untimed, func(c *command.ScanCard) { c.Repeated = true }), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			at := backbonetest.Epoch.Add(c.after)
			o := backbonetest.Given(t, Service(), c.given...).At(at).When(c.when)
			if !c.opens {
				o.ThenNothing()
				return
			}
			want := arrived
			if len(c.given) > 0 {
				want.Visit = visitID(who, 2, at.UnixMicro())
			}
			o.Then(want, VisitOpened{Visitor: who, Visit: want.Visit, Device: c.when.Device, At: at.UnixMicro()})
		})
	}
}

func TestVisitsEnd(t *testing.T) {
	t.Parallel()
	at := backbonetest.Epoch.UnixMicro()
	for name, c := range map[string]struct {
		given []backbone.Event
		when  CloseVisit
		then  []backbone.Event
	}{
		"by a departure":                {events(arrived, opened), CloseVisit{Visitor: who, Visit: arrived.Visit, At: at + 5, Reason: departed}, events(gone)},
		"once":                          {events(arrived, opened, gone), CloseVisit{Visitor: who, Visit: arrived.Visit, At: at + 5, Reason: departed}, nil},
		"another is open":               {events(arrived, opened), CloseVisit{Visitor: who, Visit: "v0", At: at + 5, Reason: departed}, nil},
		"by one that knew of none":      {events(arrived, opened), CloseVisit{Visitor: who, At: at, Reason: departed}, events(gone)},
		"not by one from before it":     {events(arrived, opened), CloseVisit{Visitor: who, At: at - 1, Reason: departed}, nil},
		"by the clock, though left":     {events(arrived, opened, gone), CloseVisit{Visitor: who, Visit: arrived.Visit, At: at, Reason: timedOut}, nil},
		"by the clock, still not seen":  {events(arrived, opened), CloseVisit{Visitor: who, Visit: arrived.Visit, At: at, Reason: timedOut}, events(VisitClosed{Visit: arrived.Visit, Reason: timedOut})},
		"of somebody who never came in": {nil, CloseVisit{Visitor: who, At: at, Reason: departed}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			backbonetest.Given(t, Service(), c.given...).When(c.when).Then(c.then...)
		})
	}
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	now := backbonetest.Epoch
	due := now.Add(12 * time.Hour)
	want := []backbone.Effect{backbone.SetTimer("visit/"+arrived.Visit, due, CloseVisit{Visitor: who, Visit: arrived.Visit, At: due.UnixMicro(), Reason: timedOut})}
	if got := closeInTime(opened, backbone.Meta{}); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	left := event.CustomerDeparted{Store: "s1", Visit: "v9", Customer: "c1", Card: "other"}
	want = []backbone.Effect{backbone.Send(CloseVisit{Visitor: who, Visit: "v9", At: now.UnixMicro(), Reason: departed})}
	if got := closeWhenDeparted(left, backbone.Meta{Time: now}); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	left.Unannounced = true
	want = []backbone.Effect{backbone.Send(CloseVisit{Visitor: who, At: now.UnixMicro(), Reason: departed})}
	if got := closeWhenDeparted(left, backbone.Meta{Time: now}); !reflect.DeepEqual(got, want) {
		t.Errorf("unannounced: %+v", got)
	}
}

// A visitor has one visit at a time, whatever comes in whatever order, and no two visits share an id.
func TestOneVisitAtATime(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		var history []backbone.Event
		seen, open := map[string]bool{}, ""
		now := backbonetest.Epoch
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 4000).Draw(rt, "ms")) * time.Millisecond)
			var out []backbone.Event
			if rapid.Bool().Draw(rt, "scan") {
				c := scanned
				c.Untimed, c.Repeated = rapid.Bool().Draw(rt, "untimed"), rapid.Bool().Draw(rt, "repeated")
				out, _ = scan(visitors.Fold(history...), c, backbone.Meta{Time: now})
			} else {
				c := CloseVisit{Visitor: who, Visit: rapid.SampledFrom([]string{"", open, "other"}).Draw(rt, "visit"), At: now.UnixMicro(), Reason: departed}
				out, _ = closeVisit(visitors.Fold(history...), c, backbone.Meta{Time: now})
			}
			for _, e := range out {
				switch e := e.(type) {
				case event.CustomerArrived:
					if open != "" || seen[e.Visit] {
						rt.Fatalf("visit %s while %q is open, seen before: %v", e.Visit, open, seen[e.Visit])
					}
					open, seen[e.Visit] = e.Visit, true
				case VisitClosed:
					if e.Visit != open {
						rt.Fatalf("closed %s while %q is open", e.Visit, open)
					}
					open = ""
				}
			}
			history = append(history, out...)
		}
	})
}

func TestFrozenSamples(t *testing.T) {
	t.Parallel()
	backbonetest.Frozen(t,
		VisitOpened{Visitor: "VISITOR_001", Visit: "VISIT_001", Device: "gate-1", At: 1_790_000_000_000_000},
		VisitClosed{Visit: "VISIT_001", Reason: departed},
		CloseVisit{Visitor: "VISITOR_001", Visit: "VISIT_001", At: 1_790_000_000_000_000, Reason: timedOut},
	)
}
