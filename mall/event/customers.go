package event

import "example.org/souk/mall"

// CustomerRegistered says that someone became a customer, enabled from the start.
type CustomerRegistered struct {
	Customer string        `json:"customer"`
	Name     mall.Personal `json:"name"`
	Email    mall.Personal `json:"email,omitempty"` // empty: none given
	SMS      mall.Personal `json:"sms,omitempty"`   // phone number for text messages; empty: none given
	Card     string        `json:"card,omitempty"`  // loyalty card; empty: none linked

	Tell mall.Tell `json:"tell,omitzero"` // by which channel they want to be told what
}

// ContactChanged carries the whole contact as it is from now on, not the difference.
type ContactChanged struct {
	Customer string        `json:"customer"`
	Name     mall.Personal `json:"name"`
	Email    mall.Personal `json:"email,omitempty"`
	SMS      mall.Personal `json:"sms,omitempty"`

	Tell mall.Tell `json:"tell,omitzero"`
}

// CustomerEnabled says that a disabled customer may buy again.
type CustomerEnabled struct {
	Customer string `json:"customer"`
}

// CustomerDisabled says that the customer may not buy until enabled again. Running orders go on.
type CustomerDisabled struct {
	Customer string `json:"customer"`
}

// CardLinked says that a loyalty card belongs to the customer from now on, in place of the one before.
type CardLinked struct {
	Customer string `json:"customer"`
	Card     string `json:"card"`
}

// CustomerForgotten says that the customer's key is destroyed: no personal field of theirs can be opened any more,
// anywhere. The id remains, so that sums still add up.
type CustomerForgotten struct {
	Customer string `json:"customer"`
}

// EventType returns CustomerRegisteredV1.
func (CustomerRegistered) EventType() string { return CustomerRegisteredV1 }

// EventType returns ContactChangedV1.
func (ContactChanged) EventType() string { return ContactChangedV1 }

// EventType returns CustomerEnabledV1.
func (CustomerEnabled) EventType() string { return CustomerEnabledV1 }

// EventType returns CustomerDisabledV1.
func (CustomerDisabled) EventType() string { return CustomerDisabledV1 }

// EventType returns CardLinkedV1.
func (CardLinked) EventType() string { return CardLinkedV1 }

// EventType returns CustomerForgottenV1.
func (CustomerForgotten) EventType() string { return CustomerForgottenV1 }
