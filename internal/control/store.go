package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/internal/house"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/depot"
	"example.org/souk/mall/logistics"
	"example.org/souk/mall/stores"
)

// do has a command of the operator decided, once it makes sense by itself.
func do(ctx context.Context, h *house.House, a Args, c command.Command) error {
	if err := c.Validate(); err != nil {
		return err
	}
	answer, err := h.Do(ctx, c, backbone.By("operator:"+a["actor"]))
	return errors.Join(err, answer.Err())
}

// createStore opens a shop, whose products can be ordered at once.
func createStore(ctx context.Context, h *house.House, a Args, emit Emit) error {
	c := command.CreateStore{Store: a["store"], Name: a["name"], Location: cmp.Or(a["location"], mall.MainLocation)}
	if err := do(ctx, h, a, c); err != nil {
		return err
	}
	if err := do(ctx, h, a, command.EnableParticipation{Store: c.Store}); err != nil {
		return err
	}
	return emit(c)
}

// placeStore says where a shop is.
func placeStore(ctx context.Context, h *house.House, a Args, emit Emit) error {
	c := depot.PlaceStore{Store: a["store"], At: &mall.Place{}}
	for name, into := range map[string]*int64{"x": &c.At.X, "y": &c.At.Y} {
		metres, err := strconv.ParseInt(a[name], 10, 32)
		if err != nil {
			return fmt.Errorf("%s %q is no whole number of metres", name, a[name])
		}
		*into = metres * 100
	}
	if err := do(ctx, h, a, c); err != nil {
		return err
	}
	return emit(c)
}

// addProduct puts a product into the catalogue.
func addProduct(ctx context.Context, h *house.House, a Args, emit Emit) error {
	price, err := mall.ParseMoney(a["price"], h.Currency())
	if err != nil {
		return fmt.Errorf("price: %w", err)
	}
	c := command.AddProduct{
		Product: a["product"], Store: a["store"], Name: a["name"], SKU: cmp.Or(a["sku"], a["product"]), Barcode: a["barcode"], Price: price,
	}
	for name, field := range map[string]*int64{"threshold": &c.RestockThreshold, "restock": &c.RestockQuantity} {
		if *field, err = strconv.ParseInt(cmp.Or(a[name], "0"), 10, 64); err != nil {
			return fmt.Errorf("%s %q is not a whole number", name, a[name])
		}
	}
	if c.Store, err = storeOf(ctx, h, c.Store); err != nil {
		return err
	}
	if err := do(ctx, h, a, c); err != nil {
		return err
	}
	return emit(c)
}

// setPrice gives a product another price.
func setPrice(ctx context.Context, h *house.House, a Args, emit Emit) error {
	price, err := mall.ParseMoney(a["price"], h.Currency())
	if err != nil {
		return fmt.Errorf("price: %w", err)
	}
	p, found, err := stores.Get(ctx, h.Reader("stores"), a["product"])
	if err != nil || !found {
		return cmp.Or(err, fmt.Errorf("there is no product %q", a["product"]))
	}
	var c command.Command = command.IncreasePrice{Product: p.Product, Price: price}
	if order, err := price.Cmp(p.Price); err != nil || order < 0 {
		c = command.DecreasePrice{Product: p.Product, Price: price}
	}
	if err := do(ctx, h, a, c); err != nil {
		return err
	}
	return emit(struct {
		Product string     `json:"product"`
		Price   mall.Money `json:"price"`
	}{p.Product, price})
}

// linkCard gives a customer a card.
func linkCard(ctx context.Context, h *house.House, a Args, emit Emit) error {
	c := command.LinkCard{Customer: a["customer"], Card: a["card"]}
	if err := do(ctx, h, a, c); err != nil {
		return err
	}
	return emit(c)
}

// priceUnknown prices what stood in a bag without a price.
func priceUnknown(ctx context.Context, h *house.House, a Args, emit Emit) error {
	price, err := mall.ParseMoney(a["price"], h.Currency())
	if err != nil {
		return fmt.Errorf("price: %w", err)
	}
	c := command.PriceUnknown{Visit: a["visit"], SKU: a["item"], Price: price}
	if err := do(ctx, h, a, c); err != nil {
		return err
	}
	return emit(c)
}

// listPurchases shows what was ordered from suppliers, newest first; with open what is still to come of the latest.
func listPurchases(ctx context.Context, h *house.House, a Args, emit Emit) error {
	n, err := number(a, "limit", 100)
	if err != nil {
		return err
	}
	latest, err := logistics.Latest(ctx, h.Reader("logistics"), int(n)+1)
	if err != nil {
		return err
	}
	for i, p := range latest {
		if int64(i) == n {
			return emit(note(fmt.Sprintf("only the latest %d were looked at, and there are more: %s", n, longerList)))
		}
		if a["open"] != "" && (p.Open == 0 || p.Status == "canceled") {
			continue
		}
		if err := emit(struct {
			Purchase string    `json:"purchase"`
			SKU      string    `json:"sku"`
			Location string    `json:"location"`
			Quantity int64     `json:"quantity"`
			Open     int64     `json:"open"`
			Status   string    `json:"status"`
			Proposed time.Time `json:"proposed"`
		}(p)); err != nil {
			return err
		}
	}
	return nil
}

// cancelPurchase has no more come of a purchase.
func cancelPurchase(ctx context.Context, h *house.House, a Args, emit Emit) error {
	c := command.CancelPurchase{Purchase: a["purchase"], Reason: cmp.Or(a["why"], "canceled by an operator")}
	if err := do(ctx, h, a, c); err != nil {
		return err
	}
	return emit(c)
}

// acceptDelivery takes in what came for a purchase without a notice.
func acceptDelivery(ctx context.Context, h *house.House, a Args, emit Emit) error {
	n, err := strconv.ParseInt(a["quantity"], 10, 64)
	if err != nil {
		return fmt.Errorf("quantity %q is not a whole number", a["quantity"])
	}
	c := command.AcceptDelivery{Purchase: a["purchase"], Delivery: cmp.Or(a["delivery"], newID()), SKU: a["sku"], Quantity: n}
	if err := do(ctx, h, a, c); err != nil {
		return err
	}
	return emit(c)
}
