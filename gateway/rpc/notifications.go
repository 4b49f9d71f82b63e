package rpc

import (
	"context"
	"net/http"

	"connectrpc.com/connect"

	soukv1 "example.org/souk/api/gen/souk/v1"
	"example.org/souk/api/gen/souk/v1/soukv1connect"
	"example.org/souk/mall/notifications"
)

var notificationsPolicy = map[string]Access{
	"GetContact": ownLook,
}

// notificationsFace answers for notifications.
type notificationsFace struct{ *server }

func serveNotifications(s *server, o ...connect.HandlerOption) (string, http.Handler) {
	return soukv1connect.NewNotificationsServiceHandler(notificationsFace{s}, o...)
}

func (h notificationsFace) GetContact(ctx context.Context, r *connect.Request[soukv1.GetContactRequest]) (*connect.Response[soukv1.GetContactResponse], error) {
	id := r.Msg.GetCustomer()
	if !visitOf(ctx).owns(id) {
		return nil, ErrNotFound
	}
	if err := validID("customer", id); err != nil {
		return nil, err
	}
	c, found, err := notifications.GetContact(ctx, h.Reader("notifications"), id)
	if err == nil && !found {
		return nil, ErrNotFound
	}
	return done(&soukv1.GetContactResponse{Contact: &soukv1.Contact{
		Customer: id, Name: string(c.Name), Email: string(c.Email), Sms: string(c.SMS), Forgotten: c.Forgotten, Tell: toldOf(c.Tell),
	}}, unread(err))
}
