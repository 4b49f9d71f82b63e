package kiosk

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"example.org/souk/backbone"
	"example.org/souk/gateway/door"
	"example.org/souk/mall"
)

// again puts what can be had of an order, or of a basket that has ended, into the basket of whoever it belongs to: as many pieces of each as were in it, as far as
// they are there, less those that the basket holds already. A form that is sent twice fills one basket once. What was left out is said where it leads to.
func (p *pages) again(v *visit) error {
	of := v.form.Get("of")
	items, err := p.wantedBefore(v, of)
	if err != nil {
		return err
	}
	offered, err := p.offered(v.ctx, items)
	if err != nil {
		return err
	}
	if len(offered) == 0 {
		return door.NewProblem(http.StatusConflict, "nothing_there", "Nothing of it can be had now.")
	}
	b, err := p.basketToFill(v)
	if err != nil {
		return err
	}
	held := piecesOf(b)
	for _, i := range items {
		lacking := offered[i.Product] - held[i.Product]
		delete(offered, i.Product)
		if lacking <= 0 {
			continue
		}
		err := p.addItem(v.ctx, v.who.who(v.r), b.Basket, i.Product, lacking, mall.Money{}, v.key("visit")+" "+i.Product)
		// Another number was put in by the same form before, or it is sold no more as of now: either is seen in the basket.
		refusal, refused := errors.AsType[*backbone.Refusal](err)
		if err != nil && !errors.Is(err, backbone.ErrDifferentCommand) && (!refused || refusal.Code != "not_sold") {
			return err
		}
	}
	return v.to("/kiosk/shop?of="+of+"#basket", "")
}

// wantedBefore returns what was in an order, or in a basket that was given up or has expired, of who shops. An order has the id of its basket.
func (p *pages) wantedBefore(v *visit, id string) ([]orderedBody, error) {
	o, err := p.ownedOrder(v, id)
	if problem, ok := errors.AsType[*door.Problem](err); err == nil || !ok || problem.Status != http.StatusNotFound || v.who == nil || mall.ValidID(id) != nil {
		return o.Items, err
	}
	b, err := p.basket(v.ctx, id)
	if err != nil {
		return nil, err
	}
	if b.Customer != v.who.Subject || b.Status != BasketCanceled {
		return nil, door.NotFound("basket")
	}
	items := make([]orderedBody, len(b.Items))
	for i, l := range b.Items {
		items[i] = orderedBody{l.Product, l.Name, l.Quantity, l.Price, l.Total}
	}
	return items, nil
}

// offered returns how many pieces of which products can be had now, and never more than are wanted.
func (g *gateway) offered(ctx context.Context, items []orderedBody) (map[string]int64, error) {
	var sold []Product
	var skus []string
	wanted := map[string]int64{}
	for _, i := range items {
		if wanted[i.Product] += i.Quantity; wanted[i.Product] > i.Quantity {
			continue // it stands there twice
		}
		p, found, err := g.Catalogue.Product(ctx, i.Product)
		if err != nil {
			return nil, unavailable(err)
		}
		if found && p.Sold {
			sold, skus = append(sold, p), append(skus, p.SKU)
		}
	}
	left, err := g.Stock.Available(ctx, skus)
	if err != nil {
		return nil, unavailable(err)
	}
	offered := map[string]int64{}
	for _, p := range sold {
		if n := min(wanted[p.ID], left[p.SKU]); n > 0 {
			offered[p.ID] = n
			left[p.SKU] -= n // another store may sell the same
		}
	}
	return offered, nil
}

func piecesOf(b *basketBody) map[string]int64 {
	pieces := map[string]int64{}
	if b != nil {
		for _, l := range b.Items {
			pieces[l.Product] += l.Quantity
		}
	}
	return pieces
}

// leftOut says what was wanted before and did not come into the basket that was filled with it; "" where who shops has wanted no such thing.
func (p *pages) leftOut(v *visit, of string, b *basketBody) string {
	items, err := p.wantedBefore(v, of)
	if err != nil {
		return ""
	}
	held, lacking := piecesOf(b), []string{}
	for _, i := range items {
		n := i.Quantity - held[i.Product]
		held[i.Product] = max(held[i.Product]-i.Quantity, 0)
		if n > 0 {
			lacking = append(lacking, fmt.Sprintf("%d × %s", n, i.Name))
		}
	}
	if len(lacking) == 0 {
		return v.in.say("again.all")
	}
	return v.in.say("again.left-out", strings.Join(lacking, ", "))
}
