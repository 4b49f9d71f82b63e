package command

import (
	"cmp"

	"example.org/souk/mall"
)

// ScanExit says that somebody left with these goods. Customer is empty where nobody is known by the Card
// that was scanned.
type ScanExit struct {
	Store    string      `json:"store"`
	Location string      `json:"location"` // of the store's goods
	Customer string      `json:"customer,omitempty"`
	Card     string      `json:"card,omitempty"`
	Device   string      `json:"device"`
	Lines    []mall.Line `json:"lines"` // one a SKU; none for an empty bag
	// A scan without a time of its own may be the copy of one before: Untimed says that it has none, Repeated that whoever carried
	// it says that it was sent before.
	Untimed  bool `json:"untimed,omitempty"`
	Repeated bool `json:"repeated,omitempty"`
	// Taken is when a gateway took the scan in, in microseconds, where that was before it is decided; 0: now.
	Taken int64 `json:"taken,omitempty"`
}

// CommandType returns ScanExitV1.
func (ScanExit) CommandType() string { return ScanExitV1 }

// Stream returns the id of the visitor of the store.
func (c ScanExit) Stream() string { return mall.VisitorID(c.Store, c.Customer, c.Card) }

// Validate names the first wrong field.
func (c ScanExit) Validate() error {
	return cmp.Or(
		id("store", c.Store),
		id("location", c.Location),
		visitor(c.Customer, c.Card),
		id("device", c.Device),
		linesOrNone("lines", c.Lines),
		optionalInstant("taken", c.Taken),
	)
}
