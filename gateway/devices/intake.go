package devices

import (
	"example.org/souk/backbone"
	"example.org/souk/mall/command"
)

// Where the services that decide run in other processes, what devices have seen is taken in here: it is durable in the log of this
// service before it is acknowledged, and goes to its service from there, whenever that is there. All replicas of the gateway share
// that log, so a copy is known at each.

// TakeArrival takes in that somebody came.
type TakeArrival struct {
	Scan command.ScanCard `json:"scan"`
}

// CommandType returns the wire name.
func (TakeArrival) CommandType() string { return "souk.devices.TakeArrival.v1" }

// Stream returns the id of the visitor.
func (c TakeArrival) Stream() string { return c.Scan.Stream() }

// TakeDeparture takes in that somebody left with something.
type TakeDeparture struct {
	Scan command.ScanExit `json:"scan"`
}

// CommandType returns the wire name.
func (TakeDeparture) CommandType() string { return "souk.devices.TakeDeparture.v1" }

// Stream returns the id of the visitor.
func (c TakeDeparture) Stream() string { return c.Scan.Stream() }

// ArrivalTaken says that a device has seen somebody come, and that the entrance will be told.
type ArrivalTaken struct {
	Scan command.ScanCard `json:"scan"`
}

// EventType returns the wire name.
func (ArrivalTaken) EventType() string { return "souk.devices.ArrivalTaken.v1" }

// DepartureTaken says that a device has seen somebody leave, and that the exit gate will be told.
type DepartureTaken struct {
	Scan command.ScanExit `json:"scan"`
}

// EventType returns the wire name.
func (DepartureTaken) EventType() string { return "souk.devices.DepartureTaken.v1" }

// passage is what was taken in of a visitor of a store. Whether a scan without an id and without a time is a copy of another one is for its
// service to say.
type passage struct {
	Left int64 // when they were last seen leaving
}

var passages = &backbone.Aggregate[passage]{
	Name:           "passage",
	Private:        []backbone.Event{ArrivalTaken{}, DepartureTaken{}},
	Evolve:         evolvePassage,
	SnapshotEvery:  500,
	SnapshotSchema: "1",
}

func evolvePassage(s passage, e backbone.Event) passage {
	if e, ok := e.(DepartureTaken); ok {
		s.Left = e.Scan.Taken
	}
	return s
}

// takeArrival says when the visitor was last seen leaving, since the entrance may hear of that later than of the arrival.
func takeArrival(s passage, c TakeArrival, m backbone.Meta) ([]backbone.Event, error) {
	c.Scan.Taken, c.Scan.Left = m.Time.UnixMicro(), s.Left
	return []backbone.Event{ArrivalTaken(c)}, nil
}

func takeDeparture(_ passage, c TakeDeparture, m backbone.Meta) ([]backbone.Event, error) {
	c.Scan.Taken = m.Time.UnixMicro()
	return []backbone.Event{DepartureTaken(c)}, nil
}

func passArrivalOn(e ArrivalTaken, _ backbone.Meta) []backbone.Effect {
	return []backbone.Effect{backbone.Send(e.Scan)}
}

func passDepartureOn(e DepartureTaken, _ backbone.Meta) []backbone.Effect {
	return []backbone.Effect{backbone.Send(e.Scan)}
}

// taken is the command by which a scan is taken in.
func taken(c backbone.Command) backbone.Command {
	switch c := c.(type) {
	case command.ScanCard:
		return TakeArrival{c}
	case command.ScanExit:
		return TakeDeparture{c}
	}
	return c
}
