package entrance

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/event"
)

// copyWithin is how soon another scan at the same device is taken for a copy, in microseconds.
const copyWithin = 2_000_000

// visitor is the state of one who comes and goes in one store.
type visitor struct {
	Visits int64  // opened so far
	Open   string // the visit that is open; empty: none
	Since  int64  // when the last visit was opened
	Device string // at which device
}

var visitors = &backbone.Aggregate[visitor]{
	Name:    "visitor",
	Public:  []backbone.Event{event.CustomerArrived{}},
	Private: []backbone.Event{VisitOpened{}, VisitClosed{}},
	Evolve:  evolve,
	// A regular comes for years.
	SnapshotEvery:  500,
	SnapshotSchema: "1",
}

func evolve(s visitor, e backbone.Event) visitor {
	switch e := e.(type) {
	case event.CustomerArrived:
		s.Visits, s.Open = s.Visits+1, e.Visit
	case VisitOpened:
		s.Since, s.Device = e.At, e.Device
	case VisitClosed:
		s.Open = ""
	}
	return s
}

func scan(s visitor, c command.ScanCard, m backbone.Meta) ([]backbone.Event, error) {
	at := cmp.Or(c.Taken, m.Time.UnixMicro())
	var before []backbone.Event
	switch {
	case s.Open != "" && c.Left > s.Since: // seen at a gate, and not heard of here yet
		before = append(before, VisitClosed{Visit: s.Open, Reason: departed})
	case s.Open != "":
		return nil, nil
	case c.Untimed && s.Visits > 0 && c.Device == s.Device && (c.Repeated || at-s.Since <= copyWithin):
		return nil, nil // a copy of the scan that opened the last visit
	}
	visit := visitID(c.Stream(), s.Visits+1, at)
	return append(before,
		event.CustomerArrived{Store: c.Store, Visit: visit, Customer: c.Customer, Card: c.Card, At: c.Taken},
		VisitOpened{Visitor: c.Stream(), Visit: visit, Device: c.Device, At: at},
	), nil
}

// visitID names the n-th visit of a visitor, which began at the instant, in microseconds.
func visitID(visitor string, n, at int64) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d", visitor, n))
	return "v" + mall.Instant(time.UnixMicro(at)) + base64.RawURLEncoding.EncodeToString(sum[:16])
}

// CloseVisit closes a visit: the named one, or, where the departure knew of none, the one that was open at the instant At.
type CloseVisit struct {
	Visitor string `json:"visitor"`
	Visit   string `json:"visit"`
	At      int64  `json:"at"`
	Reason  string `json:"reason"`
}

// Why a visit is closed.
const (
	departed = "departed"
	timedOut = "timed_out"
)

// CommandType returns the wire name.
func (CloseVisit) CommandType() string { return "souk.entrance.CloseVisit.v1" }

// Stream returns the id of the visitor.
func (c CloseVisit) Stream() string { return c.Visitor }

func closeVisit(s visitor, c CloseVisit, _ backbone.Meta) ([]backbone.Event, error) {
	switch {
	case s.Open == "":
		return nil, nil
	case c.Visit == s.Open, c.Visit == "" && s.Since <= c.At:
		return []backbone.Event{VisitClosed{Visit: s.Open, Reason: c.Reason}}, nil
	}
	return nil, nil
}

// VisitOpened says where and when the visit was opened.
type VisitOpened struct {
	Visitor string `json:"visitor"`
	Visit   string `json:"visit"`
	Device  string `json:"device"`
	At      int64  `json:"at"`
}

// VisitClosed says that the visit is over.
type VisitClosed struct {
	Visit  string `json:"visit"`
	Reason string `json:"reason"`
}

// EventType returns the wire name.
func (VisitOpened) EventType() string { return "souk.entrance.VisitOpened.v1" }

// EventType returns the wire name.
func (VisitClosed) EventType() string { return "souk.entrance.VisitClosed.v1" }
