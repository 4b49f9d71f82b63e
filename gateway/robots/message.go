package robots

import (
	robotsv1 "example.org/souk/api/gen/souk/robots/v1"
	soukv1 "example.org/souk/api/gen/souk/v1"
	"example.org/souk/mall"
	"example.org/souk/mall/depot"
)

// What the depot says and what robots say, in the words of each other.

func place(p *soukv1.Place) mall.Place { return mall.Place{X: p.GetX(), Y: p.GetY()} }

func wirePlace(p mall.Place) *soukv1.Place { return &soukv1.Place{X: p.X, Y: p.Y} }

func lines(wire []*soukv1.Line) []mall.Line {
	list := make([]mall.Line, len(wire))
	for i, l := range wire {
		list[i] = mall.Line{SKU: l.GetSku(), Quantity: l.GetQuantity()}
	}
	return list
}

func wireLines(list []mall.Line) []*soukv1.Line {
	wire := make([]*soukv1.Line, len(list))
	for i, l := range list {
		wire[i] = &soukv1.Line{Sku: l.SKU, Quantity: l.Quantity}
	}
	return wire
}

// stateOf returns the state of a mode, "" for none that there is.
func stateOf(m robotsv1.RobotMode) mall.RobotState {
	switch m {
	case robotsv1.RobotMode_ROBOT_MODE_IDLE:
		return mall.RobotIdle
	case robotsv1.RobotMode_ROBOT_MODE_WORKING:
		return mall.RobotWorking
	case robotsv1.RobotMode_ROBOT_MODE_CHARGING:
		return mall.RobotCharging
	case robotsv1.RobotMode_ROBOT_MODE_PAUSED:
		return mall.RobotPaused
	case robotsv1.RobotMode_ROBOT_MODE_ERROR:
		return mall.RobotError
	}
	return ""
}

var outcomes = map[robotsv1.Outcome]mall.Outcome{
	robotsv1.Outcome_OUTCOME_PICKED: mall.OutcomePicked, robotsv1.Outcome_OUTCOME_SHORT: mall.OutcomeShort, robotsv1.Outcome_OUTCOME_BLOCKED: mall.OutcomeBlocked,
}

var wireOutcomes = map[mall.Outcome]robotsv1.Outcome{
	mall.OutcomePicked: robotsv1.Outcome_OUTCOME_PICKED, mall.OutcomeShort: robotsv1.Outcome_OUTCOME_SHORT, mall.OutcomeBlocked: robotsv1.Outcome_OUTCOME_BLOCKED,
}

func instant(kind robotsv1.InstantKind, ref *robotsv1.OrderRef) *robotsv1.WorkResponse {
	return &robotsv1.WorkResponse{Say: &robotsv1.WorkResponse_Instant{Instant: &robotsv1.Instant{Kind: kind, Order: ref}}}
}

// order is a task as a robot is told it. All stops are released: what may still change is not sent.
func order(ref *robotsv1.OrderRef, t *depot.Task) *robotsv1.RobotOrder {
	o := &robotsv1.RobotOrder{Order: ref, Carries: wireLines(t.Carries)}
	for i, s := range t.Stops {
		o.Stops = append(o.Stops, &robotsv1.OrderStop{
			Stop: s.Stop, Store: s.Store, Sku: s.SKU, Name: s.Name, Quantity: s.Quantity, At: wirePlace(t.Places[i]), Released: true,
		})
	}
	for _, d := range t.Done {
		o.Done = append(o.Done, &robotsv1.StopDone{Stop: d.Stop, Outcome: wireOutcomes[d.Outcome], Picked: d.Picked})
	}
	if t.Lost != "" {
		o.Recovery = &robotsv1.Recovery{Robot: t.Lost, At: wirePlace(t.At), Lines: wireLines(t.Lines)}
	}
	return o
}
