package main

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"

	"example.org/souk/backbone"
)

// Booked says that a customer has booked a trip.
type Booked struct {
	Booking  string `json:"booking"`
	Customer string `json:"customer"`
	Cents    int64  `json:"cents"`
}

// EventType is the event's wire name. Version 1 had whole euros.
func (Booked) EventType() string { return "travel.bookings.Booked.v2" }

// Upcast reads what version 1 wrote.
func (Booked) Upcast(version int, raw []byte) ([]byte, error) {
	if version != 1 {
		return nil, fmt.Errorf("there was no version %d", version)
	}
	var old struct {
		Booking, Customer string
		Euros             int64
	}
	if err := json.Unmarshal(raw, &old); err != nil {
		return nil, err
	}
	return json.Marshal(Booked{Booking: old.Booking, Customer: old.Customer, Cents: 100 * old.Euros})
}

// Book is the command that leads to it.
type Book struct {
	Booking, Customer string
	Cents             int64
}

// CommandType is the command's wire name.
func (Book) CommandType() string { return "travel.bookings.Book.v1" }

// Stream is the id that the command is decided on.
func (c Book) Stream() string { return c.Booking }

// Booking is the state of one.
type Booking struct {
	Customer string
	Cents    int64
}

var booking = &backbone.Aggregate[Booking]{
	Name:   "booking",
	Public: []backbone.Event{Booked{}},
	Evolve: func(b Booking, e backbone.Event) Booking {
		if e, ok := e.(Booked); ok {
			return Booking{Customer: e.Customer, Cents: e.Cents}
		}
		return b
	},
}

func book(b Booking, c Book, _ backbone.Meta) ([]backbone.Event, error) {
	if b.Customer != "" {
		return nil, backbone.Refuse("booked", "%s has it", b.Customer)
	}
	return []backbone.Event{Booked(c)}, nil // the struct, not a pointer to it
}

//go:embed migrations/*.sql
var migrations embed.FS

// Parts lists all services, whichever of them a process runs.
func Parts() []*backbone.Service {
	return []*backbone.Service{{
		Name:    "bookings",
		About:   "Books trips.",
		Handles: []backbone.Handler{backbone.Decide(booking, book)},
	}, {
		Name:       "customers",
		About:      "Knows what each customer has booked.",
		Views:      []backbone.View{backbone.ViewOf("trips", backbone.FromFirst, count).KeyedBy(func(e Booked) string { return e.Customer })},
		Migrations: migrations,
	}, {
		Name:       "agents",
		About:      "Tells travel agents.",
		Subscribes: []backbone.Subscriber{backbone.On(tell).From(backbone.FromFirst)},
	}}
}

func count(ctx context.Context, tx backbone.ViewTx, e Booked) error {
	return tx.Exec(ctx, `INSERT INTO {trips} AS t (customer, bookings, cents) VALUES ($1, 1, $2)
		ON CONFLICT (customer) DO UPDATE SET bookings = t.bookings + 1, cents = t.cents + excluded.cents`, e.Customer, e.Cents)
}

// tell cannot deal with what costs nothing: trying again would not help.
func tell(_ context.Context, _ backbone.Tx, e Booked) error {
	if e.Cents <= 0 {
		return backbone.Permanent(errors.New("a trip that costs nothing"))
	}
	return nil
}
