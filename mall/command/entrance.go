package command

import (
	"cmp"

	"example.org/souk/mall"
)

// ScanCard says that somebody came in. Customer is empty where nobody is known by the Card that was
// scanned.
type ScanCard struct {
	Store    string `json:"store"`
	Customer string `json:"customer,omitempty"`
	Card     string `json:"card,omitempty"`
	Device   string `json:"device"`
	// A scan without a time of its own may be the copy of one before: Untimed says that it has none, Repeated that whoever carried
	// it says that it was sent before.
	Untimed  bool `json:"untimed,omitempty"`
	Repeated bool `json:"repeated,omitempty"`
	// Taken is when a gateway took the scan in, in microseconds, where that was before it is decided; 0: now. Left is when the
	// visitor was last seen leaving by then; 0: not known.
	Taken int64 `json:"taken,omitempty"`
	Left  int64 `json:"left,omitempty"`
}

// CommandType returns ScanCardV1.
func (ScanCard) CommandType() string { return ScanCardV1 }

// Stream returns the id of the visitor of the store.
func (c ScanCard) Stream() string { return mall.VisitorID(c.Store, c.Customer, c.Card) }

// Validate names the first wrong field.
func (c ScanCard) Validate() error {
	return cmp.Or(
		id("store", c.Store),
		visitor(c.Customer, c.Card),
		id("device", c.Device),
		optionalInstant("taken", c.Taken),
		optionalInstant("left", c.Left),
	)
}
