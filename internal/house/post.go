package house

import (
	"context"
	"errors"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/notifications"
	"example.org/souk/provider/mail"
	"example.org/souk/provider/sms"
)

// post sends the notifications service's notices by mail or text message. It is the one
// place where a customer's name, address and number are opened.
type post struct {
	keys     *backbone.Keys
	contacts *backbone.Reader
	mail     interface {
		Send(ctx context.Context, m mail.Message) error
	}
	sms texter
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
	address, err := p.reveal(ctx, contact.Email)
	if err != nil {
		return "", err
	}
	number, err := p.reveal(ctx, contact.SMS)
	if err != nil {
		return "", err
	}
	by := n.By(contact.Tell, address != "", number != "")
	if by == "" {
		return "", backbone.Permanent(errors.New("the customer has neither address nor number"))
	}
	if by == mall.ByNone {
		return string(by), nil
	}
	name, err := p.reveal(ctx, contact.Name)
	if err != nil {
		return "", err
	}
	subject, text, err := notifications.Render(n, name)
	if err != nil {
		return "", backbone.Permanent(err)
	}
	if by == mall.BySMS {
		// The subject says it all, and no more fits.
		err = p.sms.Send(ctx, sms.Message{ID: key, To: number, Text: subject})
		backbone.CrashPoint("text.sent")
		return string(by), classed(err, sms.ClassOf(err) == sms.Permanent)
	}
	err = p.mail.Send(ctx, mail.Message{ID: key, To: address, Subject: subject, Text: text})
	backbone.CrashPoint("letter.sent")
	return string(by), classed(err, mail.ClassOf(err) == mail.Permanent)
}

// reveal opens a token. What cannot be opened any more is empty, as what was never given.
func (p post) reveal(ctx context.Context, token mall.Personal) (string, error) {
	text, _, err := p.keys.Reveal(ctx, string(token))
	return text, err
}

func classed(err error, permanent bool) error {
	switch {
	case err == nil:
		return nil
	case permanent:
		return backbone.Permanent(err)
	}
	return backbone.Transient(err)
}
