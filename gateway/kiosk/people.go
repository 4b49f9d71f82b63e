package kiosk

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/mail"
	"strings"
	"time"
	"unicode"

	"github.com/danielgtaylor/huma/v2"

	"example.org/souk/backbone"
	"example.org/souk/gateway/door"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
)

// who acts: for whom a command is made, within which trace, and since when it is asked for.
type who struct {
	actor, trace string
	since        time.Time // of the request's Idempotency-Key
}

func whoOf(r *door.Request) who { return who{r.Caller.Actor(), r.Trace, r.Since} }

// do validates a command, and has it decided under an id.
func (g *gateway) do(ctx context.Context, w who, id string, c command.Command) error {
	if err := c.Validate(); err != nil {
		return err
	}
	answer, err := g.Commands.Do(ctx, c, backbone.WithID(id), backbone.By(w.actor), backbone.WithTrace(w.trace))
	if err != nil {
		return err
	}
	return answer.Err()
}

// derive makes an id that is the same whenever the same parts come again, and that nobody guesses who does not know them. It begins
// with an instant (mall.Instant) that belongs to the parts; none is known of what comes from a page's form.
func derive(kind, at string, parts ...string) string {
	sum := sha256.Sum256([]byte(kind + "\x00" + strings.Join(parts, "\x00")))
	return kind + "-" + at + base64.RawURLEncoding.EncodeToString(sum[:18])
}

// secretLength is the length of the secret with which such an id ends.
const secretLength = 24

// asked is the instant at which something was asked for first.
func (w who) asked() string {
	if w.since.IsZero() {
		return ""
	}
	return mall.Instant(w.since)
}

// begun is the instant with which the id of a basket, or of its order, begins.
func begun(basket string) string {
	at, ok := strings.CutPrefix(basket, "basket-")
	if !ok || len(at) != mall.InstantLength+secretLength {
		return ""
	}
	return at[:mall.InstantLength]
}

// madeHere begins the ids of customers who were registered at a kiosk. The rest of such an id is a secret of whoever
// registered them, so a kiosk may open a session for them.
const madeHere = "walkin"

// Keyed is a request that has to have an Idempotency-Key; it is exported for the library that reads it.
type Keyed struct {
	Key string `header:"Idempotency-Key" required:"true" minLength:"1" maxLength:"257" doc:"Chosen by the client: a request that is sent again with the same key gets the first answer."`
}

type registerIn struct {
	Keyed
	Body struct {
		Name  string `json:"name,omitempty" maxLength:"200" doc:"Missing: a guest."`
		Email string `json:"email,omitempty" maxLength:"254"`
		SMS   string `json:"sms,omitempty" maxLength:"32" pattern:"^[+0-9 ()-]*$"`
		Card  string `json:"card,omitempty" maxLength:"64" pattern:"^[A-Za-z0-9_-]*$" doc:"A loyalty card to be theirs."`
	}
}

type registerOut struct {
	Body struct {
		Customer string `json:"customer"`
	}
}

type sessionIn struct {
	Body struct {
		Card     string `json:"card,omitempty" maxLength:"64" pattern:"^[A-Za-z0-9_-]*$" doc:"That was scanned."`
		Customer string `json:"customer,omitempty" maxLength:"64" pattern:"^[A-Za-z0-9_-]*$" doc:"Who was registered at a kiosk."`
	}
}

type sessionOut struct {
	Body struct {
		Customer string    `json:"customer"`
		Token    string    `json:"token" doc:"Send it as the bearer token."`
		Expires  time.Time `json:"expires"`
	}
}

type sessionEndOut struct{}

func (g *gateway) describePeople(a *api) {
	terminals := policy{access: door.Access{door.Device: door.All, door.Staff: door.All}}
	tags := []string{"people"}
	registering := terminals
	registering.creates = true
	add(a, huma.Operation{
		OperationID: "registerCustomer", Method: http.MethodPost, Path: "/customers", Tags: tags, DefaultStatus: http.StatusCreated,
		Summary: "Register a customer, or a guest",
	}, registering, func(ctx context.Context, r *door.Request, in *registerIn) (*registerOut, error) {
		b := in.Body
		id, err := g.register(ctx, whoOf(r), b.Name, b.Email, b.SMS, b.Card, in.Key)
		o := &registerOut{}
		o.Body.Customer = id
		return o, err
	})
	add(a, huma.Operation{
		OperationID: "openSession", Method: http.MethodPost, Path: "/sessions", Tags: tags, DefaultStatus: http.StatusCreated,
		Summary: "Let the person at the kiosk shop",
		Description: "Name the card that was scanned, or the customer that was registered before. The token is for the kiosk alone and short-lived; " +
			"asked again, another one is made, and nothing of it is kept.",
	}, terminals, func(ctx context.Context, _ *door.Request, in *sessionIn) (*sessionOut, error) {
		customer, err := g.standing(ctx, in.Body.Card, in.Body.Customer)
		if err != nil {
			return nil, err
		}
		token, p, err := g.open(customer)
		o := &sessionOut{}
		o.Body.Customer, o.Body.Token, o.Body.Expires = customer, token, p.Expires.UTC()
		return o, err
	})
	add(a, huma.Operation{
		OperationID: "endSession", Method: http.MethodPost, Path: "/sessions/end", Tags: tags, DefaultStatus: http.StatusNoContent,
		Summary: "End the session whose token this is",
	}, policy{access: door.Access{door.Customer: door.Own}}, func(_ context.Context, r *door.Request, _ *struct{}) (*sessionEndOut, error) {
		r.Caller.Owns(r.Caller.Subject)
		return &sessionEndOut{}, g.Authority.RevokeSession(r.Caller.Session)
	})
}

// standing returns who stands at the kiosk.
func (g *gateway) standing(ctx context.Context, card, customer string) (string, error) {
	switch {
	case (card == "") == (customer == ""):
		return "", door.InvalidField("card", "name either a card or a customer")
	case card != "":
		return g.byCard(ctx, card)
	case !strings.HasPrefix(customer, madeHere+"-"):
		return "", door.NotFound("customer of a kiosk")
	}
	return customer, nil
}

func (g *gateway) byCard(ctx context.Context, card string) (string, error) {
	if err := mall.ValidID(card); err != nil {
		return "", door.InvalidField("card", "must be 1 to 64 letters, digits, _ or -")
	}
	customer, known, err := g.People.ByCard(ctx, card)
	if err != nil {
		return "", unavailable(err)
	}
	if !known {
		return "", door.NotFound("card")
	}
	return customer, nil
}

// open issues the token of a session.
func (g *gateway) open(customer string) (string, door.Principal, error) {
	return g.Authority.Issue(door.Grant{Role: door.Customer, Subject: customer, Gates: []string{Gate}, TTL: g.SessionLife})
}

// guest is what somebody is called who does not say.
const guest = "Guest"

// register makes somebody a customer. Everything personal is sealed before anybody else hears of it.
func (g *gateway) register(ctx context.Context, w who, name, email, sms, card, key string) (string, error) {
	if strings.TrimSpace(name) == "" {
		name = guest
	}
	for _, f := range []struct{ field, text string }{{"name", name}, {"email", email}, {"sms", sms}} {
		if strings.ContainsFunc(f.text, unicode.IsControl) {
			return "", door.InvalidField(f.field, "must have no control characters")
		}
		if f.field != "sms" && mall.HoldsCard(f.text) {
			return "", door.InvalidField(f.field, mall.NoCard)
		}
	}
	if a, err := mail.ParseAddress(email); email != "" && (err != nil || a.Address != email) {
		return "", door.InvalidField("email", "is no address")
	}
	if sms != "" && !mall.ValidNumber(sms) {
		return "", door.InvalidField("sms", "is no number")
	}
	c := command.RegisterCustomer{Customer: derive(madeHere, w.asked(), w.actor, key), Card: card}
	for _, f := range []struct {
		text string
		into *mall.Personal
	}{{name, &c.Name}, {email, &c.Email}, {sms, &c.SMS}} {
		if f.text == "" {
			continue
		}
		sealed, err := g.People.Seal(ctx, c.Customer, f.text)
		if err != nil {
			return "", unavailable(err)
		}
		*f.into = sealed
	}
	return c.Customer, g.do(ctx, w, derive("register", w.asked(), w.actor, key), c)
}
