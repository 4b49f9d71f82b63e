package robot

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	robotsv1 "example.org/souk/api/gen/souk/robots/v1"
	soukv1 "example.org/souk/api/gen/souk/v1"
)

const (
	ok       = robotsv1.ErrorCode_ERROR_CODE_UNSPECIFIED
	sameID   = robotsv1.ErrorCode_ERROR_CODE_SAME_ORDER_UPDATE_ID
	outdated = robotsv1.ErrorCode_ERROR_CODE_OUTDATED_ORDER_UPDATE
	active   = robotsv1.ErrorCode_ERROR_CODE_OTHER_ORDER_ACTIVE
	changed  = robotsv1.ErrorCode_ERROR_CODE_BASE_CHANGED
	noOrder  = robotsv1.ErrorCode_ERROR_CODE_NO_ORDER_TO_CANCEL
)

func newTestBrain() *brain {
	return newBrain(1, 0, Config{Speed: 1000, Carries: 20}, "s1")
}

func stop(n int64, released bool) *robotsv1.OrderStop {
	return &robotsv1.OrderStop{Stop: n, Sku: fmt.Sprintf("sku-%d", n), Quantity: 2, At: &soukv1.Place{X: n * 1000}, Released: released}
}

func orderOf(id string, update int64, stops ...*robotsv1.OrderStop) *robotsv1.RobotOrder {
	return &robotsv1.RobotOrder{Order: &robotsv1.OrderRef{OrderId: id, UpdateId: update}, Stops: stops}
}

func told(o *robotsv1.RobotOrder) *robotsv1.WorkResponse {
	return &robotsv1.WorkResponse{Say: &robotsv1.WorkResponse_Order{Order: o}}
}

func instantly(kind robotsv1.InstantKind, ref *robotsv1.OrderRef) *robotsv1.WorkResponse {
	return &robotsv1.WorkResponse{Say: &robotsv1.WorkResponse_Instant{Instant: &robotsv1.Instant{Kind: kind, Order: ref}}}
}

// answer takes what the robot said of actions, as the mall does.
func answer(b *brain, refusal string) (taken []*robotsv1.ActionStatus) {
	taken = append(taken, b.open...)
	for _, a := range taken {
		b.tell(&robotsv1.WorkResponse{Say: &robotsv1.WorkResponse_Taken{Taken: &robotsv1.Taken{Number: a.GetNumber(), Refusal: refusal}}})
	}
	return taken
}

// drive lets time pass until something is true; what is said of actions is taken.
func drive(t *testing.T, b *brain, f Faults, until func() bool) (said []*robotsv1.ActionStatus) {
	t.Helper()
	for range 10_000 {
		if until() {
			return said
		}
		b.step(100*time.Millisecond, f)
		said = append(said, answer(b, "")...)
	}
	t.Fatal("it never comes to that")
	return nil
}

// What is agreed about orders, each with what the robot says of it.
func TestOrdersAsAgreed(t *testing.T) {
	t.Parallel()
	first := orderOf("o1", 2, stop(1, true), stop(2, true), stop(3, false))
	for name, c := range map[string]struct {
		had  *robotsv1.RobotOrder
		told *robotsv1.RobotOrder
		want robotsv1.ErrorCode
		has  int64 // the update that it has then
	}{
		"the first":               {nil, first, ok, 2},
		"the same again":          {first, orderOf("o1", 2, stop(1, true), stop(2, true), stop(3, false)), ok, 2},
		"the same, other content": {first, orderOf("o1", 2, stop(1, true)), sameID, 2},
		"a lower update":          {first, orderOf("o1", 1, stop(1, true)), outdated, 2},
		"another order":           {first, orderOf("o2", 1, stop(1, true)), active, 2},
		"a new horizon":           {first, orderOf("o1", 3, stop(1, true), stop(2, true), stop(4, true)), ok, 3},
		"another base":            {first, orderOf("o1", 3, stop(1, true), stop(4, true)), changed, 2},
		"a shorter base":          {first, orderOf("o1", 3, stop(1, true)), changed, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newTestBrain()
			if c.had != nil {
				b.tell(told(c.had))
			}
			b.flush(true)
			if got := b.accept(c.told); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
			if got := b.order.GetOrder().GetUpdateId(); got != c.has {
				t.Errorf("it has update %d", got)
			}
		})
	}
	// Refusals are said, and name the order.
	b := newTestBrain()
	b.tell(told(first))
	b.flush(true)
	b.tell(told(orderOf("o2", 1, stop(1, true))))
	if e := b.flush(false)[0].GetError(); e.GetCode() != active || e.GetOrder().GetOrderId() != "o2" {
		t.Errorf("%v", e)
	}
	// Only an idle robot takes one.
	b = newTestBrain()
	b.tell(instantly(robotsv1.InstantKind_INSTANT_KIND_PAUSE, nil))
	if got := b.accept(first); got != active {
		t.Errorf("a robot that is paused: %v", got)
	}
	b = newTestBrain()
	b.last = &robotsv1.OrderRef{OrderId: "o1", UpdateId: 3}
	if got := b.accept(first); got != outdated {
		t.Errorf("an update below one that is over: %v", got)
	}
}

// An order is done to its end: stops, hand in, leave. What is not released is not begun.
func TestAnOrderIsDone(t *testing.T) {
	t.Parallel()
	b := newTestBrain()
	b.tell(told(orderOf("o1", 1, stop(1, true), stop(2, true), stop(3, false))))
	var kinds []robotsv1.ActionKind
	said := drive(t, b, Faults{}, func() bool { return b.order == nil })
	for _, a := range said {
		kinds = append(kinds, a.GetKind())
	}
	if got := fmt.Sprint(kinds); got != "[ACTION_KIND_PICK ACTION_KIND_PICK ACTION_KIND_HAND_IN ACTION_KIND_LEAVE]" {
		t.Errorf("%v", got)
	}
	want := []*soukv1.Line{{Sku: "sku-1", Quantity: 2}, {Sku: "sku-2", Quantity: 2}}
	for i, l := range said[2].GetLines() {
		if !proto.Equal(l, want[i]) {
			t.Errorf("it hands in %v", l)
		}
	}
	if b.mode() != robotsv1.RobotMode_ROBOT_MODE_IDLE || b.battery >= 100 {
		t.Errorf("it is %v with battery %v", b.mode(), b.battery)
	}
}

// A cancel is over when the actions have stopped, and not before.
func TestCancelStopsActionsFirst(t *testing.T) {
	t.Parallel()
	b := newTestBrain()
	o := orderOf("o1", 1, stop(1, true), stop(2, true))
	b.tell(told(o))
	drive(t, b, Faults{}, func() bool { return len(b.done) == 1 })
	b.tell(instantly(robotsv1.InstantKind_INSTANT_KIND_CANCEL, &robotsv1.OrderRef{OrderId: "o2"}))
	if e := b.out[len(b.out)-1].GetError(); e.GetCode() != noOrder {
		t.Errorf("a cancel of another order: %v", e)
	}
	b.tell(instantly(robotsv1.InstantKind_INSTANT_KIND_CANCEL, o.GetOrder()))
	if b.order == nil {
		t.Fatal("it has no order at once")
	}
	said := drive(t, b, Faults{}, func() bool { return b.order == nil })
	if len(said) != 2 || said[0].GetKind() != robotsv1.ActionKind_ACTION_KIND_HAND_IN || len(b.done) != 1 {
		t.Errorf("after the cancel it says %v", said)
	}
}

// Without a link a robot goes on, and says what it did under the same numbers until it is taken.
func TestWhatIsNotTakenIsSaidAgain(t *testing.T) {
	t.Parallel()
	b := newTestBrain()
	b.tell(told(orderOf("o1", 1, stop(1, true), stop(2, true))))
	for range 200 {
		b.step(100*time.Millisecond, Faults{})
		b.out = nil // there is no link
	}
	if len(b.open) != 2 || b.open[0].GetNumber() != 1 || b.open[1].GetNumber() != 2 {
		t.Fatalf("not taken: %v", b.open)
	}
	again := b.again()
	if len(again) != 3 || again[0].GetStatus().GetOrder().GetOrderId() != "o1" || again[2].GetAction().GetNumber() != 2 {
		t.Errorf("said again: %v", again)
	}
	drive(t, b, Faults{}, func() bool { return b.order == nil })
}

// A robot whose order was given to another puts back what it picked since, and hands in what it had before.
func TestAReplacedRobotGivesUp(t *testing.T) {
	t.Parallel()
	b := newTestBrain()
	b.tell(told(orderOf("o1", 1, stop(1, true), stop(2, true), stop(3, true))))
	drive(t, b, Faults{}, func() bool { return len(b.done) == 1 })
	for len(b.open) == 0 {
		b.step(100*time.Millisecond, Faults{})
	}
	answer(b, "assignment_replaced")
	said := drive(t, b, Faults{}, func() bool { return b.order == nil })
	if got := said[0].GetLines(); len(got) != 1 || got[0].GetSku() != "sku-1" {
		t.Errorf("it hands in %v", got)
	}
}

// Faults strike where they are switched on, and a seed gives the same ones.
func TestFaults(t *testing.T) {
	t.Parallel()
	outcomes := func(f Faults) string {
		b := newTestBrain()
		b.tell(told(orderOf("o1", 1, stop(1, true), stop(2, true), stop(3, true))))
		var text string
		for _, a := range drive(t, b, f, func() bool { return b.order == nil }) {
			text += fmt.Sprintf("%v %d;", a.GetOutcome(), a.GetPicked())
		}
		return text
	}
	if got := outcomes(Faults{Block: 100}); got != "OUTCOME_BLOCKED 0;OUTCOME_BLOCKED 0;OUTCOME_BLOCKED 0;OUTCOME_UNSPECIFIED 0;" {
		t.Errorf("blocked: %s", got)
	}
	if a, b := outcomes(Faults{Short: 50}), outcomes(Faults{Short: 50}); a != b {
		t.Errorf("the same seed gives %s and %s", a, b)
	}
	b := newTestBrain()
	b.tell(told(orderOf("o1", 1, stop(1, true))))
	b.step(100*time.Millisecond, Faults{Vanish: 100, VanishMS: 300})
	x := b.x
	if b.gone == 0 || b.step(100*time.Millisecond, Faults{}) || b.x != x {
		t.Error("it did not vanish")
	}
	drive(t, b, Faults{}, func() bool { return b.order == nil })
	b = newTestBrain()
	b.tell(told(orderOf("o1", 1, stop(1, true))))
	b.flush(true)
	drive(t, b, Faults{Drain: 100}, func() bool { return len(b.done) == 1 })
	b.out = nil
	if said := b.flush(false); len(said) != 1 || said[0].GetStatus().GetBattery() != least || !b.low {
		t.Errorf("it was drained, and says %v", said)
	}
	if err := (Faults{Short: 101}).check(); err == nil {
		t.Error("101 percent are taken")
	}
}

// A robot charges when it is told to and is free, and is idle again when it is full.
func TestCharges(t *testing.T) {
	t.Parallel()
	b := newTestBrain()
	b.tell(told(orderOf("o1", 1, stop(1, true))))
	b.battery = 15
	b.tell(instantly(robotsv1.InstantKind_INSTANT_KIND_CHARGE, nil))
	drive(t, b, Faults{}, func() bool { return b.order == nil })
	if b.mode() != robotsv1.RobotMode_ROBOT_MODE_CHARGING {
		t.Errorf("it is %v", b.mode())
	}
	drive(t, b, Faults{}, func() bool { return b.mode() == robotsv1.RobotMode_ROBOT_MODE_IDLE })
	if b.battery < full {
		t.Errorf("it is idle with %v", b.battery)
	}
}
