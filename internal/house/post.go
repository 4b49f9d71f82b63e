package house

import (
	"context"
	"errors"
	"fmt"

	"example.org/souk/backbone"
	"example.org/souk/mall/event"
	"example.org/souk/mall/notifications"
	"example.org/souk/provider/mail"
)

// post sends the notifications service's notices by mail. It is the one place where
// a customer's name and address are opened.
type post struct {
	keys     *backbone.Keys
	contacts *backbone.Reader
	mail     interface {
		Send(ctx context.Context, m mail.Message) error
	}
}

// Send implements notifications.Sender.
func (p post) Send(ctx context.Context, key string, n notifications.Notice) (channel string, err error) {
	contact, known, err := notifications.GetContact(ctx, p.contacts, n.Customer)
	switch {
	case err != nil:
		return "", err
	case !known:
		return "", backbone.Transient(errors.New("the customer's contact is not known yet"))
	}
	address, ok, err := p.keys.Reveal(ctx, string(contact.Email))
	if err != nil {
		return "", err
	}
	if contact.Forgotten || !ok || address == "" {
		return "", backbone.Permanent(errors.New("the customer has no address"))
	}
	name, _, err := p.keys.Reveal(ctx, string(contact.Name))
	if err != nil {
		return "", err
	}
	subject, text, err := notifications.Render(n, name)
	if err != nil {
		return "", backbone.Permanent(err)
	}
	if err := p.mail.Send(ctx, mail.Message{ID: key, To: address, Subject: subject, Text: text}); err != nil {
		if mail.ClassOf(err) == mail.Permanent {
			return "", backbone.Permanent(fmt.Errorf("mail: %w", err))
		}
		return "", backbone.Transient(fmt.Errorf("mail: %w", err))
	}
	return event.ChannelEmail, nil
}
