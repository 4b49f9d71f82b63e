package mall

// Tell says by which channel a customer wants to be told what. The zero value leaves it to the shop: by e-mail, or by text message where there is no address.
type Tell struct {
	Asking   Channel `json:"asking,omitempty"`   // what waits for them: goods that are short, an order to be collected, a charge that failed
	Progress Channel `json:"progress,omitempty"` // how an order gets on
	Receipts Channel `json:"receipts,omitempty"` // what was paid
}

// Channel is a way to tell a customer something. The empty value is the shop's choice.
type Channel string

// The channels. A channel that leads nowhere, since the customer gave no address or number for it, is replaced by the other one.
const (
	ByEmail Channel = "email"
	BySMS   Channel = "sms"
	ByNone  Channel = "none" // not at all
)

// Valid reports whether it is one of the three, or empty.
func (c Channel) Valid() bool {
	switch c {
	case "", ByEmail, BySMS, ByNone:
		return true
	}
	return false
}
