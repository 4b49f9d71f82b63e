package mall

// Stop is a place on a robot's way: so many pieces of one SKU in one shop. Stops are numbered from 1 as the list names them.
type Stop struct {
	Stop     int64  `json:"stop"`
	Store    string `json:"store,omitempty"` // empty: where the goods of nobody in particular lie
	SKU      string `json:"sku"`
	Name     string `json:"name"`
	Quantity int64  `json:"quantity"`
}

// Stops returns the stops at which the items of an order are fetched, in their order.
func Stops(items []Item) []Stop {
	stops := make([]Stop, len(items))
	for i, item := range items {
		stops[i] = Stop{Stop: int64(i) + 1, Store: item.Store, SKU: item.SKU, Name: item.Name, Quantity: item.Quantity}
	}
	return stops
}

// Place is a point of the mall's floor, in centimetres from its south-west corner.
type Place struct {
	X int64 `json:"x"`
	Y int64 `json:"y"`
}

// RobotState says what a robot is about.
type RobotState string

// The states of a robot. It says by itself that it is idle, working, charging, paused or in error; it is assigned by the
// depot, and offline when nothing is heard of it.
const (
	RobotOffline  RobotState = "offline"
	RobotIdle     RobotState = "idle"
	RobotAssigned RobotState = "assigned"
	RobotWorking  RobotState = "working"
	RobotCharging RobotState = "charging"
	RobotPaused   RobotState = "paused"
	RobotError    RobotState = "error"
)

// Valid reports whether it is one of the states.
func (s RobotState) Valid() bool {
	switch s {
	case RobotOffline, RobotIdle, RobotAssigned, RobotWorking, RobotCharging, RobotPaused, RobotError:
		return true
	}
	return false
}

// Outcome is what became of a stop.
type Outcome string

// The outcomes of a stop.
const (
	OutcomePicked  Outcome = "picked"  // all pieces
	OutcomeShort   Outcome = "short"   // fewer, and there are no more
	OutcomeBlocked Outcome = "blocked" // none, since the way is barred
)

// Steer is what a robot is told beside its list.
type Steer string

// What a robot can be told.
const (
	SteerPause  Steer = "pause"
	SteerResume Steer = "resume"
	SteerCharge Steer = "charge" // go home
)

// Valid reports whether it is one of the three.
func (s Steer) Valid() bool { return s == SteerPause || s == SteerResume || s == SteerCharge }
