package rpc

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
	"time"
	"unicode"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	soukv1 "example.org/souk/api/gen/souk/v1"
	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
)

// What the messages of several services are made of, in both directions.

// do validates a command and decides it under the id that its request carries. What it refuses is an error.
func (s *server) do(ctx context.Context, request interface{ GetCommandId() string }, c command.Command) (*soukv1.Answer, error) {
	v := visitOf(ctx)
	id := request.GetCommandId()
	if err := validID("commandId", id); err != nil {
		return nil, err
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	answer, err := s.Commands.Do(ctx, c, backbone.WithID(v.commandID(id)), backbone.By(v.actor), backbone.WithTrace(v.trace))
	if err == nil {
		err = answer.Err()
	}
	if err != nil {
		return nil, err
	}
	return answered(id, &answer), nil
}

// answered is the answer to a command as it travels, without a refusal. id is the one by which the caller knows the command.
func answered(id string, a *backbone.Answer) *soukv1.Answer {
	wire := &soukv1.Answer{CommandId: id, Repeated: a.Repeated}
	for _, r := range a.Refs {
		wire.Events = append(wire.Events, &soukv1.EventRef{Type: r.Type, Id: r.ID, Stream: r.Stream})
	}
	return wire
}

// commandID is the id under which a command of the caller is known. The ids of processes are taken as they are. Those of
// everybody else are their own: they neither meet each other's nor those that the mall makes.
func (v *visit) commandID(id string) string {
	if v.caller.Kind == Process {
		return id
	}
	sum := sha256.Sum256([]byte(v.caller.key() + "\x00" + id))
	return "rpc-" + base64.RawURLEncoding.EncodeToString(sum[:])
}

// done returns the response of a command.
func done[T any](response *T, err error) (*connect.Response[T], error) {
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(response), nil
}

// unread is the error of a read that the database did not answer.
func unread(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return errors.Join(backbone.ErrUnavailable, err)
}

func wrong(field, reason string) error { return &mall.FieldError{Field: field, Reason: reason} }

func validID(field, id string) error {
	if mall.ValidID(id) != nil {
		return wrong(field, "must be 1 to 64 letters, digits, _ or -")
	}
	return nil
}

func optionalID(field, id string) error {
	if id == "" {
		return nil
	}
	return validID(field, id)
}

// maxShort bounds texts that are only compared with what is there, in bytes.
const maxShort = 256

func shortText(field, text string) error {
	if len(text) > maxShort || strings.ContainsFunc(text, unicode.IsControl) {
		return wrong(field, "must have at most 256 bytes and no control characters")
	}
	return nil
}

// location returns the location that a request means.
func location(name string) string {
	if name == "" {
		return mall.MainLocation
	}
	return name
}

// limit returns how many entries a request asks for: usual where it says nothing, most at most.
func limit(n int32, usual, most int) (int, error) {
	switch {
	case n < 0:
		return 0, wrong("limit", "must not be negative")
	case n == 0:
		return usual, nil
	}
	return min(int(n), most), nil
}

func notNegative(field string, n int64) error {
	if n < 0 {
		return wrong(field, "must not be negative")
	}
	return nil
}

// money reads an amount; a missing one has no currency, which no command takes.
func money(m *soukv1.Money) mall.Money {
	return mall.Money{Amount: m.GetAmount(), Currency: m.GetCurrency()}
}

// moneyOf writes an amount; the zero Money is none.
func moneyOf(m mall.Money) *soukv1.Money {
	if m == (mall.Money{}) {
		return nil
	}
	return &soukv1.Money{Amount: m.Amount, Currency: m.Currency}
}

func lines(list []*soukv1.Line) []mall.Line {
	all := make([]mall.Line, len(list))
	for i, l := range list {
		all[i] = mall.Line{SKU: l.GetSku(), Quantity: l.GetQuantity()}
	}
	return all
}

func items(list []*soukv1.Item) []mall.Item {
	all := make([]mall.Item, len(list))
	for i, l := range list {
		all[i] = mall.Item{Product: l.GetProduct(), SKU: l.GetSku(), Name: l.GetName(), Price: money(l.GetPrice()), Quantity: l.GetQuantity()}
	}
	return all
}

func itemsOf(list []mall.Item) []*soukv1.Item {
	all := make([]*soukv1.Item, len(list))
	for i, l := range list {
		all[i] = &soukv1.Item{Product: l.Product, Sku: l.SKU, Name: l.Name, Price: moneyOf(l.Price), Quantity: l.Quantity}
	}
	return all
}

// micros reads an instant as microseconds since 1970; a missing one is 0.
func micros(field string, t *timestamppb.Timestamp) (int64, error) {
	if t == nil {
		return 0, nil
	}
	if err := t.CheckValid(); err != nil {
		return 0, wrong(field, "must be a time of the years 1 to 9999")
	}
	if t.AsTime().UnixMicro() <= 0 {
		return 0, wrong(field, "must be after 1970")
	}
	return t.AsTime().UnixMicro(), nil
}

// timeOf writes an instant; the zero time is none.
func timeOf(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func microsOf(t int64) *timestamppb.Timestamp {
	if t == 0 {
		return nil
	}
	return timestamppb.New(time.UnixMicro(t))
}

// send sends one message of a stream. A reader that does not take it ends the stream.
func send[T any](ctx context.Context, stream *connect.ServerStream[T], message *T) error {
	v := visitOf(ctx)
	if v.stall != nil {
		_ = v.stall(true) // a connection that has no deadlines has none here either
		defer func() { _ = v.stall(false) }()
	}
	return stream.Send(message)
}
