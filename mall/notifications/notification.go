package notifications

import (
	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/event"
)

// notification is the state of a notification: whether its end was recorded.
type notification struct{ Ended bool }

var notifications = &backbone.Aggregate[notification]{
	Name:   "notification",
	Public: []backbone.Event{event.NotificationSent{}, event.NotificationFailed{}},
	Evolve: func(notification, backbone.Event) notification { return notification{Ended: true} },
}

// RecordNotification brings the outcome of a sending back. The service sends it to itself.
type RecordNotification struct {
	Notification string `json:"notification"`
	Customer     string `json:"customer"`
	Order        string `json:"order,omitempty"`
	Template     string `json:"template"`
	Channel      string `json:"channel,omitempty"` // empty where none was chosen before it failed
	Failed       bool   `json:"failed,omitempty"`
	Reason       string `json:"reason,omitempty"`
}

// CommandType returns the wire name.
func (RecordNotification) CommandType() string { return "souk.notifications.RecordNotification.v1" }

// Stream returns the id of the notification.
func (c RecordNotification) Stream() string { return c.Notification }

func record(s notification, c RecordNotification, _ backbone.Meta) ([]backbone.Event, error) {
	switch {
	case s.Ended, c.Channel == string(mall.ByNone): // nobody was told, and nobody wanted to be
		return nil, nil
	case c.Failed:
		return []backbone.Event{event.NotificationFailed{
			Notification: c.Notification, Customer: c.Customer, Order: c.Order, Template: c.Template, Channel: c.Channel, Reason: c.Reason,
		}}, nil
	}
	return []backbone.Event{event.NotificationSent{
		Notification: c.Notification, Customer: c.Customer, Order: c.Order, Template: c.Template, Channel: c.Channel,
	}}, nil
}
