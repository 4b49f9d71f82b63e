package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"example.org/souk/internal/control"
)

type orderPlace struct {
	Customer     string   `help:"Who orders: an id." required:""`
	Item         []string `help:"What and how many; again for each further line." required:"" placeholder:"SKU=QTY" sep:"none"`
	Order        string   `help:"The order's id; default a new one. The same id and content again is one order."`
	Payment      string   `help:"A payment that was authorized; default paid when collected."`
	WaitForStock bool     `help:"Wait for a delivery instead of being rejected."`
}

// Help implements kong's long help.
func (orderPlace) Help() string {
	return `Example:
  souk order place --customer amina --item LAMP-01=1 --item TEA-01=3 -o json

Prices are today's. It prints the order's id once the order is taken; whether it
can be carried through shows later: souk order show ID.`
}

// Run places an order.
func (c *orderPlace) Run(ctx context.Context, env Env, r *root) error {
	items, err := itemsOf(c.Item)
	if err != nil {
		return err
	}
	list, err := json.Marshal(items)
	if err != nil {
		return err
	}
	a := control.Args{"customer": c.Customer, "order": c.Order, "payment": c.Payment, "items": string(list)}
	if c.WaitForStock {
		a["wait"] = "yes"
	}
	return r.do(ctx, env, "order place", a)
}

// itemsOf reads lines as LAMP-01=2.
func itemsOf(lines []string) (items []control.Item, err error) {
	for _, line := range lines {
		at := strings.LastIndexByte(line, '=')
		if at < 1 {
			return nil, usageError{fmt.Errorf("--item %q: write SKU=QTY, for example LAMP-01=2", line)}
		}
		n, err := strconv.ParseInt(line[at+1:], 10, 64)
		if err != nil || n < 1 {
			return nil, usageError{fmt.Errorf("--item %q: the quantity must be a whole number above 0", line)}
		}
		items = append(items, control.Item{Product: line[:at], Quantity: n})
	}
	return items, nil
}

type customerCommand struct {
	Register  customerRegister  `cmd:"" help:"Take a customer in."`
	Card      customerCard      `cmd:"" help:"Give a customer a loyalty card in place of the one before."`
	Forget    customerForget    `cmd:"" help:"Forget a customer: what names them can never be read again. Or all of a list, after a database was put back."`
	Forgotten customerForgotten `cmd:"" help:"Print who was forgotten, by hashes of their ids, for the next time that a backup is put back."`
}

type customerForget struct {
	Customer string `arg:"" optional:"" help:"The customer's id."`
	From     string `help:"A list, as souk customer forgotten prints it and forgotten.txt of a data directory is." type:"existingfile" placeholder:"FILE" xor:"who"`
}

// Help implements kong's long help.
func (customerForget) Help() string {
	return `Examples:
  souk customer forget dora
  souk --db postgres://localhost/mall customer forget --from /vault/forgotten.txt

The key under which name, mail and phone are sealed is destroyed: no copy of them can
be read any more, in logs, views and files alike. A backup that was taken before still
has the key. With --from the keys of all in the list are destroyed where the database
has them again, at once, and the mall forgets them as customers as far as it runs.`
}

// Run forgets.
func (c *customerForget) Run(ctx context.Context, env Env, r *root) error {
	switch {
	case (c.Customer == "") == (c.From == ""):
		return errors.New("name a customer, or a list with --from")
	case c.Customer != "":
		return r.do(ctx, env, "customer forget", control.Args{"customer": c.Customer})
	}
	list, err := os.ReadFile(c.From)
	if err != nil {
		return err
	}
	return r.do(ctx, env, "customer forget all", control.Args{"list": string(list)})
}

type customerForgotten struct{}

// Help implements kong's long help.
func (customerForgotten) Help() string {
	return `Example:
  souk customer forgotten > /vault/forgotten.txt

A hash of the id and the time, one person a line: it tells nothing to who does not know
the ids. Keep it apart from the backups, and newer than they are: what is in a backup
cannot tell who was forgotten after it.`
}

// Run prints the list.
func (c *customerForgotten) Run(ctx context.Context, env Env, r *root) error {
	return r.do(ctx, env, "customer forgotten", control.Args{})
}

type customerRegister struct {
	Customer string `help:"The customer's id; default a new one. It stands in logs, so it must name nobody."`
	Name     string `help:"Name of the person." required:""`
	Email    string `help:"Where mail goes."`
	SMS      string `help:"Where text messages go." name:"sms"`
	Card     string `help:"Loyalty card."`
	Asking   string `help:"How to tell them what waits for them: email or sms; default as the shop does." enum:",email,sms" default:""`
	Progress string `help:"How to tell them how their orders get on: email, sms or none." enum:",email,sms,none" default:""`
	Receipts string `help:"How to send them receipts: email, sms or none." enum:",email,sms,none" default:""`
}

// Help implements kong's long help.
func (customerRegister) Help() string {
	return `Example:
  souk customer register --customer dora --name "Dora" --email dora@souk.example

Name, mail and phone are sealed under a key of that person before they are stored
anywhere. It prints the customer's id.`
}

// Run registers a customer.
func (c *customerRegister) Run(ctx context.Context, env Env, r *root) error {
	return r.do(ctx, env, "customer register", control.Args{
		"customer": c.Customer, "name": c.Name, "email": c.Email, "sms": c.SMS, "card": c.Card,
		"asking": c.Asking, "progress": c.Progress, "receipts": c.Receipts,
	})
}
