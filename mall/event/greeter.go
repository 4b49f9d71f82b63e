package event

import "example.org/souk/mall"

// WelcomeShown says what the shop's displays show to a visitor. In Lines {name} stands where the name belongs; whoever shows them opens Name.
type WelcomeShown struct {
	Store string        `json:"store"`
	Visit string        `json:"visit"`
	Name  mall.Personal `json:"name,omitempty"` // empty: the visitor is not known
	Lines []string      `json:"lines"`
	// Arrived is when the visitor came, in microseconds; 0: when the event happened. One who came a while ago does not stand there any more.
	Arrived int64 `json:"arrived,omitempty"`
}

// EventType returns WelcomeShownV1.
func (WelcomeShown) EventType() string { return WelcomeShownV1 }
