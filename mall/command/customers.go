package command

import (
	"cmp"

	"example.org/souk/mall"
)

// RegisterCustomer asks that someone become a customer. The gateway seals the personal fields under the key of Customer
// first.
type RegisterCustomer struct {
	Customer string        `json:"customer"`
	Name     mall.Personal `json:"name"`
	Email    mall.Personal `json:"email,omitempty"` // empty: none given
	SMS      mall.Personal `json:"sms,omitempty"`   // phone number for text messages; empty: none given
	Card     string        `json:"card,omitempty"`  // loyalty card; empty: none

	Tell mall.Tell `json:"tell,omitzero"` // by which channel they want to be told what
}

// CommandType returns RegisterCustomerV1.
func (RegisterCustomer) CommandType() string { return RegisterCustomerV1 }

// Stream returns the id of the customer.
func (c RegisterCustomer) Stream() string { return c.Customer }

// Validate names the first wrong field.
func (c RegisterCustomer) Validate() error {
	return cmp.Or(
		id("customer", c.Customer),
		sealed("name", c.Name),
		optionalSealed("email", c.Email),
		optionalSealed("sms", c.SMS),
		optionalID("card", c.Card),
		tell("tell", c.Tell),
	)
}

// ChangeContact replaces the whole contact; a field left empty is taken away.
type ChangeContact struct {
	Customer string        `json:"customer"`
	Name     mall.Personal `json:"name"`
	Email    mall.Personal `json:"email,omitempty"`
	SMS      mall.Personal `json:"sms,omitempty"`

	Tell mall.Tell `json:"tell,omitzero"`
}

// CommandType returns ChangeContactV1.
func (ChangeContact) CommandType() string { return ChangeContactV1 }

// Stream returns the id of the customer.
func (c ChangeContact) Stream() string { return c.Customer }

// Validate names the first wrong field.
func (c ChangeContact) Validate() error {
	return cmp.Or(
		id("customer", c.Customer),
		sealed("name", c.Name),
		optionalSealed("email", c.Email),
		optionalSealed("sms", c.SMS),
		tell("tell", c.Tell),
	)
}

// EnableCustomer lets a disabled customer buy again.
type EnableCustomer struct {
	Customer string `json:"customer"`
}

// CommandType returns EnableCustomerV1.
func (EnableCustomer) CommandType() string { return EnableCustomerV1 }

// Stream returns the id of the customer.
func (c EnableCustomer) Stream() string { return c.Customer }

// Validate names the first wrong field.
func (c EnableCustomer) Validate() error {
	return id("customer", c.Customer)
}

// DisableCustomer stops a customer from buying. Running orders go on.
type DisableCustomer struct {
	Customer string `json:"customer"`
}

// CommandType returns DisableCustomerV1.
func (DisableCustomer) CommandType() string { return DisableCustomerV1 }

// Stream returns the id of the customer.
func (c DisableCustomer) Stream() string { return c.Customer }

// Validate names the first wrong field.
func (c DisableCustomer) Validate() error {
	return id("customer", c.Customer)
}

// LinkCard gives the customer a loyalty card in place of the one before.
type LinkCard struct {
	Customer string `json:"customer"`
	Card     string `json:"card"`
}

// CommandType returns LinkCardV1.
func (LinkCard) CommandType() string { return LinkCardV1 }

// Stream returns the id of the customer.
func (c LinkCard) Stream() string { return c.Customer }

// Validate names the first wrong field.
func (c LinkCard) Validate() error {
	return cmp.Or(
		id("customer", c.Customer),
		id("card", c.Card),
	)
}

// AuthorizeCustomer asks whether the customer may place this order. The answer is all that comes of it. Only the checkout
// saga sends it.
type AuthorizeCustomer struct {
	Customer string `json:"customer"`
	Order    string `json:"order"`
}

// CommandType returns AuthorizeCustomerV1.
func (AuthorizeCustomer) CommandType() string { return AuthorizeCustomerV1 }

// Stream returns the id of the customer.
func (c AuthorizeCustomer) Stream() string { return c.Customer }

// Validate names the first wrong field.
func (c AuthorizeCustomer) Validate() error {
	return cmp.Or(
		id("customer", c.Customer),
		id("order", c.Order),
	)
}

// ForgetCustomer destroys the customer's key, and with it every personal field of theirs, everywhere. It cannot be undone.
type ForgetCustomer struct {
	Customer string `json:"customer"`
}

// CommandType returns ForgetCustomerV1.
func (ForgetCustomer) CommandType() string { return ForgetCustomerV1 }

// Stream returns the id of the customer.
func (c ForgetCustomer) Stream() string { return c.Customer }

// Validate names the first wrong field.
func (c ForgetCustomer) Validate() error {
	return id("customer", c.Customer)
}
