package event

// CustomerArrived says that somebody came into the shop, and opens their visit. Customer is empty where nobody is known by the Card
// that was scanned.
type CustomerArrived struct {
	Store    string `json:"store"`
	Visit    string `json:"visit"`
	Customer string `json:"customer,omitempty"`
	Card     string `json:"card,omitempty"`
	// At is when they came, in microseconds, where that was before it was decided; 0: when the event happened.
	At int64 `json:"at,omitempty"`
}

// EventType returns CustomerArrivedV1.
func (CustomerArrived) EventType() string { return CustomerArrivedV1 }
