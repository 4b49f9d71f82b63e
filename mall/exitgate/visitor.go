package exitgate

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/event"
)

const (
	// copyWithin is how soon the same bag at the same device is taken for a copy, in microseconds.
	copyWithin = 2_000_000
	// longest is how long a visit stays open, in microseconds; the entrance closes it then, too.
	longest = int64(12 * time.Hour / time.Microsecond)
)

// visitor is the state of one who comes and goes in one store.
type visitor struct {
	Open       string // the visit that they are on; empty: none that is known
	Since      int64  // when it began
	Departures int64
	Left       int64  // when they last left
	Device     string // through which gate
	Bag        string // a digest of what they had with them
}

var visitors = &backbone.Aggregate[visitor]{
	Name:           "visitor",
	Public:         []backbone.Event{event.CustomerDeparted{}},
	Private:        []backbone.Event{VisitAdopted{}, BagScanned{}},
	Evolve:         evolve,
	SnapshotEvery:  500,
	SnapshotSchema: "1",
}

func evolve(s visitor, e backbone.Event) visitor {
	switch e := e.(type) {
	case VisitAdopted:
		s.Open, s.Since = e.Visit, e.At
	case event.CustomerDeparted:
		s.Open, s.Departures = "", s.Departures+1
	case BagScanned:
		s.Left, s.Device, s.Bag = e.At, e.Device, e.Bag
	}
	return s
}

func scan(s visitor, c command.ScanExit, m backbone.Meta) ([]backbone.Event, error) {
	at, bag := cmp.Or(c.Taken, m.Time.UnixMicro()), digest(bagOf(c.Lines))
	if c.Untimed && s.Departures > 0 && s.Device == c.Device && s.Bag == bag && (c.Repeated || at-s.Left <= copyWithin) {
		return nil, nil // a copy of the last one
	}
	visit, announced := s.Open, s.Open != "" && at-s.Since <= longest
	if !announced {
		visit = "u" + mall.Instant(time.UnixMicro(at)) + digest(fmt.Sprintf("%s/%d", c.Stream(), s.Departures+1))
	}
	lines := c.Lines
	if lines == nil {
		lines = []mall.Line{}
	}
	return []backbone.Event{
		event.CustomerDeparted{
			Store: c.Store, Location: c.Location, Visit: visit, Customer: c.Customer, Card: c.Card, Unannounced: !announced, Lines: lines, At: c.Taken,
		},
		BagScanned{Device: c.Device, Bag: bag, At: at},
	}, nil
}

// bagOf writes what is in a bag; the same goods in the same order give the same text.
func bagOf(lines []mall.Line) string {
	var b strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&b, "%d %s\n", l.Quantity, l.SKU)
	}
	return b.String()
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// AdoptVisit tells of a visit that was opened at the instant At.
type AdoptVisit struct {
	Visitor string `json:"visitor"`
	Visit   string `json:"visit"`
	At      int64  `json:"at"`
}

// CommandType returns the wire name.
func (AdoptVisit) CommandType() string { return "souk.exitgate.AdoptVisit.v1" }

// Stream returns the id of the visitor.
func (c AdoptVisit) Stream() string { return c.Visitor }

// adopt keeps the visit, unless its visitor was seen leaving since: the arrival was slower than they.
func adopt(s visitor, c AdoptVisit, _ backbone.Meta) ([]backbone.Event, error) {
	if c.At <= s.Left || c.Visit == s.Open {
		return nil, nil
	}
	return []backbone.Event{VisitAdopted{Visit: c.Visit, At: c.At}}, nil
}

// VisitAdopted says that the visitor is on this visit, since the instant At.
type VisitAdopted struct {
	Visit string `json:"visit"`
	At    int64  `json:"at"`
}

// BagScanned says where and when the bag of a departure was scanned.
type BagScanned struct {
	Device string `json:"device"`
	Bag    string `json:"bag"` // a digest
	At     int64  `json:"at"`
}

// EventType returns the wire name.
func (VisitAdopted) EventType() string { return "souk.exitgate.VisitAdopted.v1" }

// EventType returns the wire name.
func (BagScanned) EventType() string { return "souk.exitgate.BagScanned.v1" }
