package kiosk

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"example.org/souk/backbone"
	"example.org/souk/gateway/door"
	"example.org/souk/mall"
)

// orderAgain puts what can be had of an order into the basket of whoever ordered it: as many pieces of each as were ordered, as far as they are there, less
// those that the basket holds already. A form that is sent twice fills one basket once. What was left out is said where it leads to.
func (p *pages) orderAgain(v *visit) error {
	o, err := p.ownedOrder(v, v.r.PathValue("order"))
	if err != nil {
		return err
	}
	path := "/kiosk/orders/" + o.Order
	offered, err := p.offered(v.ctx, o.Items)
	if err != nil {
		return v.to(path, door.ProblemOf(err).Code)
	}
	if len(offered) == 0 {
		return v.to(path, "nothing_there")
	}
	b, err := p.basketToFill(v)
	if err != nil {
		return v.to(path, door.ProblemOf(err).Code)
	}
	held := piecesOf(b)
	for _, i := range o.Items {
		lacking := offered[i.Product] - held[i.Product]
		delete(offered, i.Product)
		if lacking <= 0 {
			continue
		}
		err := p.addItem(v.ctx, v.who.who(v.r), b.Basket, i.Product, lacking, mall.Money{}, v.key("visit")+" "+i.Product)
		// Another number was put in by the same form before, or it is sold no more as of now: either is seen in the basket.
		refusal, refused := errors.AsType[*backbone.Refusal](err)
		if err != nil && !errors.Is(err, backbone.ErrDifferentCommand) && (!refused || refusal.Code != "not_sold") {
			return v.to(path, door.ProblemOf(err).Code)
		}
	}
	return v.to("/kiosk/shop?of="+o.Order+"#basket", "")
}

// offered returns of which of the products in an order how many pieces can be had now, and never more than were ordered.
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

// leftOut says what of an order did not come into the basket that was filled with it; "" where there is no such order for who shops.
func (p *pages) leftOut(v *visit, order string, b *basketBody) string {
	o, err := p.ownedOrder(v, order)
	if err != nil {
		return ""
	}
	held, lacking := piecesOf(b), []string{}
	for _, i := range o.Items {
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
