package staff

import (
	"cmp"
	"context"
	"net/http"
	"slices"

	"example.org/souk/gateway/door"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
)

func (g *Gateway) listShops(w http.ResponseWriter, r *door.Request) error {
	after, err := idOrNone(r, "after")
	if err != nil {
		return err
	}
	limit, err := limitOf(r)
	if err != nil {
		return err
	}
	list, err := g.Shops.Shops(r.Context(), after, limit+1)
	return answerFirst(w, "stores", list, limit, err)
}

func (g *Gateway) createStore(w http.ResponseWriter, r *door.Request) error {
	c := command.CreateStore{Location: mall.MainLocation}
	if err := (form{"store": &c.Store, "name": &c.Name, "location": &c.Location}).read(r.Body); err != nil {
		return err
	}
	if err := g.do(r, "create", c); err != nil {
		return err
	}
	return created(w, "store", c.Store, "/staff/stores")
}

func (g *Gateway) rebrandStore(w http.ResponseWriter, r *door.Request) error {
	id, err := idIn(r, "store")
	if err != nil {
		return err
	}
	c := command.RebrandStore{Store: id}
	if err := (form{"name": &c.Name}).read(r.Body); err != nil {
		return err
	}
	if err := g.do(r, "rebrand", c); err != nil {
		return err
	}
	return answerDone(w, "store", id)
}

func (g *Gateway) setParticipation(w http.ResponseWriter, r *door.Request) error {
	id, err := idIn(r, "store")
	if err != nil {
		return err
	}
	takesPart := true
	if err := (form{"participating": &takesPart}).read(r.Body); err != nil {
		return err
	}
	var c command.Command = command.EnableParticipation{Store: id}
	if !takesPart {
		c = command.DisableParticipation{Store: id}
	}
	if err := g.do(r, "participation", c); err != nil {
		return err
	}
	return answerDone(w, "store", id)
}

func (g *Gateway) listStock(w http.ResponseWriter, r *door.Request) error {
	afterSKU, err := idOrNone(r, "after")
	if err != nil {
		return err
	}
	afterLocation, err := idOrNone(r, "afterLocation")
	if err != nil {
		return err
	}
	limit, err := limitOf(r)
	if err != nil {
		return err
	}
	list, err := g.Stock.Levels(r.Context(), afterSKU, afterLocation, limit+1)
	return answerFirst(w, "levels", list, limit, err)
}

func (g *Gateway) showStock(w http.ResponseWriter, r *door.Request) error {
	sku, err := idIn(r, "sku")
	if err != nil {
		return err
	}
	location, err := idOrNone(r, "location")
	if err != nil {
		return err
	}
	level, err := g.Stock.Level(r.Context(), sku, cmp.Or(location, mall.MainLocation))
	return answerOne(w, "sku", level, true, err)
}

// changeStock carries out a command about a SKU at a location and answers with what is there then.
func (g *Gateway) changeStock(w http.ResponseWriter, r *door.Request, verb string, c command.Command, sku, location string) error {
	if err := g.do(r, verb, c); err != nil {
		return err
	}
	level, err := g.Stock.Level(r.Context(), sku, location)
	return answerOne(w, "sku", level, true, err)
}

// errUnsold is for goods of which nobody would ever hear again: a SKU is easily mistyped, or taken for the product's id.
var errUnsold = door.NewProblem(http.StatusNotFound, "sku_unknown", "No shop sells, or has ever sold, a product with this SKU. Nothing was taken in.")

// receiveStock takes goods in of what is sold, or was: what is left of it may still come.
func (g *Gateway) receiveStock(w http.ResponseWriter, r *door.Request) error {
	sku, err := idIn(r, "sku")
	if err != nil {
		return err
	}
	c := command.ReceiveStock{SKU: sku, Location: mall.MainLocation}
	if err := (form{"location": &c.Location, "quantity": &c.Quantity}).read(r.Body); err != nil {
		return err
	}
	switch known, err := g.Catalogue.Known(r.Context(), sku); {
	case err != nil:
		return unavailable(err)
	case !known:
		return errUnsold
	}
	return g.changeStock(w, r, "receive", c, sku, c.Location)
}

func (g *Gateway) adjustStock(w http.ResponseWriter, r *door.Request) error {
	sku, err := idIn(r, "sku")
	if err != nil {
		return err
	}
	c := command.AdjustStock{SKU: sku, Location: mall.MainLocation}
	if err := (form{"location": &c.Location, "delta": &c.Delta, "reason": &c.Reason}).read(r.Body); err != nil {
		return err
	}
	return g.changeStock(w, r, "adjust", c, sku, c.Location)
}

// countStock sets the books right. Where it is not said how many were counted it is refused: they are not 0.
func (g *Gateway) countStock(w http.ResponseWriter, r *door.Request) error {
	sku, err := idIn(r, "sku")
	if err != nil {
		return err
	}
	c := command.CountStock{SKU: sku, Location: mall.MainLocation, Counted: -1}
	if err := (form{"location": &c.Location, "counted": &c.Counted, "reason": &c.Reason}).read(r.Body); err != nil {
		return err
	}
	return g.changeStock(w, r, "count", c, sku, c.Location)
}

func (g *Gateway) listPurchases(w http.ResponseWriter, r *door.Request) error {
	limit, err := limitOf(r)
	if err != nil {
		return err
	}
	list, err := g.Purchases.Purchases(r.Context(), limit+1)
	return answerFirst(w, "purchases", list, limit, err)
}

func (g *Gateway) cancelPurchase(w http.ResponseWriter, r *door.Request) error {
	id, err := idIn(r, "purchase")
	if err != nil {
		return err
	}
	c := command.CancelPurchase{Purchase: id}
	if err := (form{"reason": &c.Reason}).read(r.Body); err != nil {
		return err
	}
	if err := g.do(r, "cancel", c); err != nil {
		return err
	}
	return answerDone(w, "purchase", id)
}

func (g *Gateway) acceptDelivery(w http.ResponseWriter, r *door.Request) error {
	id, err := idIn(r, "purchase")
	if err != nil {
		return err
	}
	c := command.AcceptDelivery{Purchase: id}
	if err := (form{"delivery": &c.Delivery, "sku": &c.SKU, "quantity": &c.Quantity}).read(r.Body); err != nil {
		return err
	}
	if err := g.do(r, "deliver", c); err != nil {
		return err
	}
	return answerDone(w, "purchase", id)
}

func (g *Gateway) priceUnknown(w http.ResponseWriter, r *door.Request) error {
	id, err := idIn(r, "visit")
	if err != nil {
		return err
	}
	c := command.PriceUnknown{Visit: id}
	if err := (form{"sku": &c.SKU, "price": &c.Price}).read(r.Body); err != nil {
		return err
	}
	if err := g.do(r, "price", c); err != nil {
		return err
	}
	return answerDone(w, "visit", id)
}

func (g *Gateway) listRobots(w http.ResponseWriter, r *door.Request) error {
	list, err := g.robots(r.Context())
	return answerList(w, "robots", list, err)
}

// robots returns the fleet in the order of its ids.
func (g *Gateway) robots(ctx context.Context) ([]Robot, error) {
	list, err := g.Fleet.Robots(ctx)
	slices.SortFunc(list, func(a, b Robot) int { return cmp.Compare(a.Robot, b.Robot) })
	return list, err
}

func (g *Gateway) steerRobot(w http.ResponseWriter, r *door.Request) error {
	id, err := idIn(r, "robot")
	if err != nil {
		return err
	}
	var steer string
	if err := (form{"steer": &steer}).read(r.Body); err != nil {
		return err
	}
	if err := g.do(r, "steer", command.SteerRobot{Robot: id, Steer: mall.Steer(steer)}); err != nil {
		return err
	}
	return answerDone(w, "robot", id)
}

func (g *Gateway) listLists(w http.ResponseWriter, r *door.Request) error {
	limit, err := limitOf(r)
	if err != nil {
		return err
	}
	list, err := g.Fleet.Lists(r.Context(), limit+1)
	return answerFirst(w, "lists", list, limit, err)
}

func (g *Gateway) listDevices(w http.ResponseWriter, r *door.Request) error {
	list, err := g.Devices.Devices(r.Context())
	return answerList(w, "devices", list, err)
}

// created answers a request that has made something.
func created(w http.ResponseWriter, what, id, location string) error {
	w.Header()["Location"] = []string{location}
	return door.Answer(w, http.StatusCreated, map[string]string{what: id})
}
