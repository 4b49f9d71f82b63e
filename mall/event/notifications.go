package event

// Channels by which a customer is told something.
const (
	ChannelEmail = "email"
	ChannelSMS   = "sms"
)

// NotificationSent says that the message was handed to the mail server or the text message provider, which took it. Where it went is not said.
type NotificationSent struct {
	Notification string `json:"notification"`
	Customer     string `json:"customer"`
	Order        string `json:"order,omitempty"` // empty: about no order
	Template     string `json:"template"`
	Channel      string `json:"channel"`
}

// NotificationFailed says that the message was given up.
type NotificationFailed struct {
	Notification string `json:"notification"`
	Customer     string `json:"customer"`
	Order        string `json:"order,omitempty"`
	Template     string `json:"template"`
	Channel      string `json:"channel"`
	Reason       string `json:"reason"`
}

// EventType returns NotificationSentV1.
func (NotificationSent) EventType() string { return NotificationSentV1 }

// EventType returns NotificationFailedV1.
func (NotificationFailed) EventType() string { return NotificationFailedV1 }
