package event

import "example.org/souk/mall"

// CustomerDeparted says that somebody left the shop with these goods, and closes their visit. What no product is known by stands among the
// lines as it was scanned. Lines may be empty.
type CustomerDeparted struct {
	Store    string `json:"store"`
	Location string `json:"location"` // of the store's goods
	Visit    string `json:"visit"`
	Customer string `json:"customer,omitempty"` // empty: nobody is known by the card
	Card     string `json:"card,omitempty"`     // that was scanned
	// Unannounced says that no visit of theirs was open, so that this one began with the departure.
	Unannounced bool        `json:"unannounced,omitempty"`
	Lines       []mall.Line `json:"lines"` // one a SKU
	// At is when they left, in microseconds, where that was before it was decided; 0: when the event happened.
	At int64 `json:"at,omitempty"`
}

// EventType returns CustomerDepartedV1.
func (CustomerDeparted) EventType() string { return CustomerDepartedV1 }
