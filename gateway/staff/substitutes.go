package staff

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"example.org/souk/gateway/door"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
)

// Catalogue knows what is sold.
type Catalogue interface {
	// Find returns what can be ordered now under a SKU, a barcode or a name; false where nothing can. How many pieces is not set.
	Find(ctx context.Context, text string) (mall.Item, bool, error)
	// Known reports whether a SKU is a product's, or was before that was removed.
	Known(ctx context.Context, sku string) (bool, error)
}

// draft is what somebody would send instead of what was not found. It stands in the address of the page and nowhere else, so it is nothing
// to anybody before it is decided.
type draft struct {
	Chosen []mall.Item
	// Find, Pieces and Price are what was typed of one more, where something is wrong with it.
	Find, Pieces, Price string
	Wrong, Why          string // the field that is wrong, "" for none, and what to do about it
}

// maxTyped bounds what is looked for, in bytes.
const maxTyped = 200

// readDraft reads what was chosen before, by its SKU, pieces and price of a piece, and what is to be added.
func (g *Gateway) readDraft(ctx context.Context, o *Order, q url.Values) (d draft, err error) {
	pieces, prices := q["n"], q["each"]
	if len(q["sku"]) > mall.MaxLines || len(pieces) != len(q["sku"]) || len(prices) != len(pieces) {
		return d, door.InvalidField("sku", fmt.Sprintf("must come with as many n and each, at most %d times", mall.MaxLines))
	}
	for i, sku := range q["sku"] {
		if err := g.choose(ctx, o, &d, sku, pieces[i], prices[i]); err != nil {
			return d, err
		}
	}
	if len(q["find"]) == 0 {
		return d, nil
	}
	return d, g.choose(ctx, o, &d, strings.TrimSpace(q.Get("find")), q.Get("pieces"), q.Get("price"))
}

// choose adds what was typed to a draft, or says what is wrong with it. A price that is not given is the catalogue's.
func (g *Gateway) choose(ctx context.Context, o *Order, d *draft, find, pieces, price string) error {
	wrong := func(field, why string) error {
		d.Find, d.Pieces, d.Price, d.Wrong, d.Why = find, pieces, price, field, why
		return nil
	}
	if find == "" || len(find) > maxTyped {
		return wrong("find", "Say which goods come instead.")
	}
	item, found, err := g.Catalogue.Find(ctx, find)
	switch {
	case err != nil:
		return unavailable(err)
	case !found:
		return wrong("find", "Nothing that can be ordered has this SKU, barcode or whole name: "+find+".")
	case item.Price.Currency != o.Total.Currency:
		return wrong("find", item.Name+" is sold in "+item.Price.Currency+", and the order is in "+o.Total.Currency+".")
	case len(d.Chosen) == mall.MaxLines:
		return wrong("find", fmt.Sprintf("No more than %d goods can come instead.", mall.MaxLines))
	}
	if item.Quantity, err = strconv.ParseInt(cmp.Or(pieces, "1"), 10, 64); err != nil || item.Quantity < 1 || item.Quantity > mall.MaxQuantity {
		return wrong("pieces", fmt.Sprintf("Pieces must be a whole number from 1 to %d.", mall.MaxQuantity))
	}
	if price != "" {
		if item.Price.Amount, err = strconv.ParseInt(price, 10, 64); err != nil || item.Price.Amount < 0 {
			return wrong("price", "The price of a piece must be a whole number in minor units, such as 450 for 4.50.")
		}
	}
	chosen := append(d.Chosen, item)
	err = command.DecideShort{Order: o.Order, Choice: mall.ShortSubstitute, Substitutes: chosen}.Validate()
	if field, ok := errors.AsType[*mall.FieldError](err); ok {
		return wrong("find", "Not added: "+field.Field+" "+field.Reason+".")
	}
	d.Chosen = chosen
	return nil
}

// replacing is the page on which somebody chooses what comes instead of what was not found.
type replacing struct {
	Order
	draft
	viewer
	// Choosing says that there is something to choose, and that the one who looks may.
	Choosing bool
}

// chooseSubstitutes answers with the page on which that is done. Nothing is decided by it.
func (g *Gateway) chooseSubstitutes(w http.ResponseWriter, r *door.Request) error {
	id, err := idIn(r, "order")
	if err != nil {
		return err
	}
	o, found, err := g.Orders.Order(r.Context(), id)
	switch {
	case err != nil:
		return unavailable(err)
	case !found:
		return door.NotFound("order")
	}
	page := replacing{Order: o, viewer: viewerOf(r)}
	page.Choosing = len(o.Short) > 0 && page.Acts()
	if page.Choosing {
		if page.draft, err = g.readDraft(r.Context(), &o, r.URL.Query()); err != nil {
			return err
		}
	}
	return answerPage(w, "substitutes.html", page)
}

// missing is a line that was not found, as its customer knows it.
type missing struct {
	mall.Line
	Name string
}

// Gone lists what was not found and nobody has decided on.
func (p replacing) Gone() []missing {
	list := make([]missing, len(p.Short))
	for n, line := range p.Short {
		list[n] = missing{line, line.SKU}
		for _, i := range p.Items {
			if i.SKU == line.SKU {
				list[n].Name = i.Name
			}
		}
	}
	return list
}

// Room is what that would have cost: what comes instead may cost no more.
func (p replacing) Room() (mall.Money, error) {
	all, err := mall.Total(p.Items)
	if err != nil {
		return all, err
	}
	rest, err := mall.Total(mall.Without(p.Items, p.Short))
	if err != nil {
		return rest, err
	}
	return all.Sub(rest)
}

// Cost is what the chosen goods cost together.
func (p replacing) Cost() (mall.Money, error) { return mall.Total(p.Chosen) }

// Dear tells whether that is more than there is room for.
func (p replacing) Dear() (bool, error) {
	room, err := p.Room()
	if err != nil {
		return false, err
	}
	cost, err := p.Cost()
	return cost.Amount > room.Amount, err
}

// Without lists the chosen goods but for one.
func (p replacing) Without(n int) []mall.Item {
	return append(append([]mall.Item{}, p.Chosen[:n]...), p.Chosen[n+1:]...)
}

// Body is what decides for the chosen goods.
func (p replacing) Body() (string, error) {
	text, err := json.Marshal(map[string]any{"choice": mall.ShortSubstitute, "substitutes": p.Chosen})
	return string(text), err
}
