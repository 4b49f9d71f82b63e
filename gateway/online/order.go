package online

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/gateway/door"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
)

// orderBody is an order as the online store writes it.
type orderBody struct {
	Order         string         `json:"orderId"`
	Customer      string         `json:"customerId"`
	Status        string         `json:"status"`
	TotalPrice    json.Number    `json:"totalPrice"`
	TotalQuantity int64          `json:"totalQuantity"`
	Items         []itemBody     `json:"items"`
	Payment       string         `json:"payment,omitempty"`
	WhenShort     mall.WhenShort `json:"whenShort,omitempty"`
	Rejection     *shortBody     `json:"rejection,omitempty"`
	Backorder     *shortBody     `json:"backorder,omitempty"`
	History       []change       `json:"history,omitempty"`
}

type itemBody struct {
	Product  string      `json:"productId"`
	Price    json.Number `json:"price"`
	Quantity int64       `json:"quantity"`
}

type shortBody struct {
	Reason    string `json:"reason,omitempty"`
	Product   string `json:"productId,omitempty"`
	Wanted    int64  `json:"wanted"`
	Available int64  `json:"available"`
}

type change struct {
	Status string    `json:"status"`
	At     time.Time `json:"at"`
}

type stockBody struct {
	Product   string `json:"productId"`
	OnHand    int64  `json:"onHand"`
	Held      int64  `json:"held"`
	Committed int64  `json:"committed"`
	Available int64  `json:"available"`
}

// place takes an order. The order's id makes it safe to send again, whoever sent it first and however often.
func (g *gateway) place(w http.ResponseWriter, r *door.Request) error {
	c, total, err := g.readOrder(r)
	if err != nil {
		return err
	}
	if !r.Caller.Owns(c.Customer) {
		return door.NotFound("customer")
	}
	if err := g.price(r, &c, total); err != nil {
		// What was accepted once stays accepted, at the price of then.
		if known, ok, find := g.Orders.Order(r.Context(), c.Order); find == nil && ok && sameOrder(&known, &c) {
			return answerOrder(w, http.StatusOK, c.Order, known.Status)
		}
		return err
	}
	answer, err := g.Commands.Do(r.Context(), c, backbone.WithID(commandID("place", c.Order)),
		backbone.By(r.Caller.Actor()), backbone.WithTrace(r.Trace))
	if err == nil && answer.Err() == nil && !answer.Repeated {
		w.Header()["Location"] = []string{"/order/" + c.Order}
		return answerOrder(w, http.StatusAccepted, c.Order, "PENDING")
	}
	if err == nil {
		err = answer.Err()
	}
	if err != nil && !errors.Is(err, backbone.ErrDifferentCommand) && !isRefusal(err) {
		return err
	}
	known, ok, find := g.Orders.Order(r.Context(), c.Order)
	switch {
	case find != nil && err == nil: // accepted; how it stands cannot be seen now
		return answerOrder(w, http.StatusOK, c.Order, "PENDING")
	case find != nil:
		return errors.Join(backbone.ErrUnavailable, find)
	}
	switch {
	case ok && (err == nil || sameOrder(&known, &c)):
		return answerOrder(w, http.StatusOK, c.Order, known.Status)
	case err == nil: // accepted, and not to be seen yet
		return answerOrder(w, http.StatusOK, c.Order, "PENDING")
	case isRefusal(err) && !ok:
		return err
	}
	return door.NewProblem(http.StatusConflict, "different_content", "Another order has this id.")
}

func isRefusal(err error) bool {
	_, ok := errors.AsType[*backbone.Refusal](err)
	return ok
}

// answerOrder writes the short answer. Ids and statuses need no escaping.
func answerOrder(w http.ResponseWriter, code int, id, status string) error {
	b := make([]byte, 0, 128)
	b = append(b, `{"orderId":"`...)
	b = append(b, id...)
	b = append(b, `","status":"`...)
	b = append(b, status...)
	b = append(b, `"}`...)
	door.AnswerBytes(w, code, b)
	return nil
}

// commandID derives the id of a command from what it does to which order, so that a repeat is known as one.
func commandID(verb, order string) string {
	if id := verb + "-" + order; len(id) <= mall.MaxID {
		return id
	}
	sum := sha256.Sum256([]byte(order))
	return verb + "_" + base64.RawURLEncoding.EncodeToString(sum[:])
}

// readOrder reads the body strictly: every field is there, is known, has its type and can be.
func (g *gateway) readOrder(r *door.Request) (c command.PlaceOrder, total mall.Money, err error) {
	j := door.ReadJSON(r.Body)
	var has struct{ data, message, order bool }
	_ = j.Object(func(name string) error { // what goes wrong is j.End's to say
		if name != "data" {
			return j.Unknown()
		}
		has.data = true
		if err := j.Object(func(name string) (err error) {
			switch name {
			case "id":
				has.message = true
				c.Message, err = readID(j)
			case "order":
				has.order = true
				total, err = g.readOrderFields(j, &c)
			default:
				err = j.Unknown()
			}
			return err
		}); err != nil {
			return err
		}
		return required(j, "id", has.message, "order", has.order)
	})
	if err = j.End(); err == nil {
		err = required(j, "data", has.data)
	}
	return c, total, err
}

func (g *gateway) readOrderFields(j *door.JSON, c *command.PlaceOrder) (total mall.Money, err error) {
	var has struct{ order, customer, total, quantity, items bool }
	var quantity int64
	err = j.Object(func(name string) (err error) {
		switch name {
		case "orderId":
			has.order = true
			c.Order, err = readID(j)
		case "customerId":
			has.customer = true
			c.Customer, err = readID(j)
		case "totalPrice":
			has.total = true
			total, err = g.readMoney(j)
		case "totalQuantity":
			has.quantity = true
			quantity, err = readQuantity(j, mall.MaxLines*mall.MaxQuantity)
		case "items":
			has.items = true
			c.Items = make([]mall.Item, 0, 4)
			err = j.Array(mall.MaxLines, func(int) error {
				item, err := g.readItem(j)
				c.Items = append(c.Items, item)
				return err
			})
		case "payment":
			c.Payment, err = readID(j)
		case "waitForStock":
			c.WaitForStock, err = j.Bool()
		case "whenShort":
			c.WhenShort, err = readWhenShort(j)
		default:
			err = j.Unknown()
		}
		return err
	})
	if err == nil {
		err = required(j, "orderId", has.order, "customerId", has.customer, "totalPrice", has.total,
			"totalQuantity", has.quantity, "items", has.items)
	}
	if err != nil {
		return total, err
	}
	if len(c.Items) == 0 {
		return total, j.Wrong("items", "must not be empty")
	}
	for _, item := range c.Items {
		quantity -= item.Quantity
	}
	if quantity != 0 {
		return total, j.Wrong("totalQuantity", "must be the sum of the items' quantities")
	}
	return total, nil
}

func (g *gateway) readItem(j *door.JSON) (item mall.Item, err error) {
	var has struct{ product, price, quantity bool }
	err = j.Object(func(name string) (err error) {
		switch name {
		case "productId":
			has.product = true
			item.Product, err = readID(j)
		case "price":
			has.price = true
			item.Price, err = g.readMoney(j)
		case "quantity":
			has.quantity = true
			item.Quantity, err = readQuantity(j, mall.MaxQuantity)
		default:
			err = j.Unknown()
		}
		return err
	})
	if err == nil {
		err = required(j, "productId", has.product, "price", has.price, "quantity", has.quantity)
	}
	return item, err
}

// required takes pairs of a field's name and whether it was there.
func required(j *door.JSON, pairs ...any) error {
	for i := 0; i < len(pairs); i += 2 {
		if !pairs[i+1].(bool) {
			return j.Wrong(pairs[i].(string), "is required")
		}
	}
	return nil
}

func readID(j *door.JSON) (string, error) {
	id, err := j.String()
	if err == nil && mall.ValidID(id) != nil {
		err = j.Wrong("", "must be 1 to 64 letters, digits, _ or -")
	}
	return id, err
}

// readWhenShort reads what is to become of the order when goods are not found. To be asked is what nobody has to say.
func readWhenShort(j *door.JSON) (mall.WhenShort, error) {
	text, err := j.String()
	wish := mall.WhenShort(text)
	switch {
	case err != nil:
		return "", err
	case text == "" || !wish.Valid():
		return "", j.Wrong("", "must be ask, rest, substitute or cancel")
	case wish == mall.ShortAsk:
		return "", nil
	}
	return wish, nil
}

func readQuantity(j *door.JSON, most int64) (int64, error) {
	n, err := j.Int()
	if err == nil && (n < 1 || n > most) {
		err = j.Wrong("", "must be 1 to "+strconv.FormatInt(most, 10))
	}
	return n, err
}

func (g *gateway) readMoney(j *door.JSON) (mall.Money, error) {
	literal, err := j.Number()
	if err != nil {
		return mall.Money{}, err
	}
	m, err := mall.ParseMoney(string(literal), g.Currency)
	switch {
	case errors.Is(err, mall.ErrDecimals):
		return m, j.Wrong("", "has more decimals than "+g.Currency)
	case err != nil:
		return m, j.Wrong("", "is out of range")
	case m.Amount < 0:
		return m, j.Wrong("", "must not be negative")
	}
	return m, nil
}

// price completes the items from the catalogue, and asks that the customer was shown what holds now.
func (g *gateway) price(r *door.Request, c *command.PlaceOrder, total mall.Money) error {
	var changed []door.FieldError
	now := make([]mall.Item, len(c.Items))
	for i, item := range c.Items {
		p, ok, err := g.Catalogue.Product(r.Context(), item.Product)
		if err != nil {
			return errors.Join(backbone.ErrUnavailable, err)
		}
		if !ok {
			return door.InvalidField(itemField(i, "productId"), "is not a product that can be ordered")
		}
		if p.Price != item.Price {
			changed = append(changed, differs(itemField(i, "price"), item.Price, p.Price))
		}
		now[i] = mall.Item{Product: item.Product, SKU: p.SKU, Name: p.Name, Price: p.Price, Quantity: item.Quantity}
	}
	sum, err := mall.Total(now)
	if err != nil {
		return door.InvalidField("data.order.items", "cost more than an amount can hold")
	}
	if sum != total {
		changed = append(changed, differs("data.order.totalPrice", total, sum))
	}
	if len(changed) > 0 {
		p := door.NewProblem(http.StatusConflict, "price_changed", "The catalogue's prices are others; look again before you order.")
		p.Errors = changed
		return p
	}
	c.Items = now
	if err := c.Validate(); err != nil {
		if f, ok := errors.AsType[*mall.FieldError](err); ok {
			return door.InvalidField("data.order."+f.Field, f.Reason)
		}
		return err
	}
	return nil
}

func itemField(i int, name string) string {
	return "data.order.items[" + strconv.Itoa(i) + "]." + name
}

func differs(field string, sent, current mall.Money) door.FieldError {
	return door.FieldError{Field: field, Reason: "differs from the catalogue", Sent: sent.Number(), Current: current.Number()}
}

// sameOrder compares an accepted order with one that is asked for again, in what the customer decides. What only the catalogue says, or
// the id of the message, may have changed since.
func sameOrder(known *Order, c *command.PlaceOrder) bool {
	if known.Customer != c.Customer || known.Payment != c.Payment || known.WaitForStock != c.WaitForStock || known.WhenShort != c.WhenShort || len(known.Items) != len(c.Items) {
		return false
	}
	for i, item := range known.Items {
		other := c.Items[i]
		if item.Product != other.Product || item.Price != other.Price || item.Quantity != other.Quantity {
			return false
		}
	}
	return true
}

// show answers with an order as it stands.
func (g *gateway) show(w http.ResponseWriter, r *door.Request) error {
	o, err := g.ownOrder(r)
	if err != nil {
		return err
	}
	return door.Answer(w, http.StatusOK, bodyOf(&o))
}

// ownOrder returns the order of the path, if it is there for this caller.
func (g *gateway) ownOrder(r *door.Request) (Order, error) {
	id, err := pathID(r, "id")
	if err != nil {
		return Order{}, err
	}
	o, ok, err := g.Orders.Order(r.Context(), id)
	if err != nil {
		return o, errors.Join(backbone.ErrUnavailable, err)
	}
	if !ok || !r.Caller.Owns(o.Customer) {
		return o, door.NotFound("order")
	}
	return o, nil
}

func pathID(r *door.Request, name string) (string, error) {
	id := r.PathValue(name)
	if mall.ValidID(id) != nil {
		return "", door.InvalidField(name, "must be 1 to 64 letters, digits, _ or -")
	}
	return id, nil
}

// cancel asks that an order be undone. Asked again, it says how far that is.
func (g *gateway) cancel(w http.ResponseWriter, r *door.Request) error {
	o, err := g.ownOrder(r)
	if err != nil {
		return err
	}
	c := command.CancelOrder{Order: o.ID, Reason: "canceled by the " + string(r.Caller.Role)}
	if len(r.Body) > 0 {
		if c.Reason, err = readReason(r.Body, c.Reason); err != nil {
			return err
		}
	}
	if err := c.Validate(); err != nil {
		return err
	}
	answer, err := g.Commands.Do(r.Context(), c, backbone.WithID(commandID("cancel", o.ID)),
		backbone.By(r.Caller.Actor()), backbone.WithTrace(r.Trace))
	if errors.Is(err, backbone.ErrDifferentCommand) { // it was asked for before, with another reason
		answer, err = backbone.Answer{Outcome: backbone.Done, Repeated: true}, nil
	}
	if err == nil {
		err = answer.Err()
	}
	if err != nil {
		return err
	}
	now, ok, err := g.Orders.Order(r.Context(), o.ID)
	if err != nil || !ok {
		now = o // it is cancelled whatever we can see of it
		now.Status = "CANCELLING"
	}
	code := http.StatusAccepted
	if answer.Repeated {
		code = http.StatusOK
	}
	return answerOrder(w, code, o.ID, now.Status)
}

func readReason(body []byte, reason string) (string, error) {
	j := door.ReadJSON(body)
	_ = j.Object(func(name string) (err error) { // what goes wrong is j.End's to say
		if name != "reason" {
			return j.Unknown()
		}
		reason, err = j.String()
		return err
	})
	return reason, j.End()
}

// stock answers with what is there of a product.
func (g *gateway) stock(w http.ResponseWriter, r *door.Request) error {
	id, err := pathID(r, "productId")
	if err != nil {
		return err
	}
	l, ok, err := g.Stock.Level(r.Context(), id)
	if err != nil {
		return errors.Join(backbone.ErrUnavailable, err)
	}
	if !ok {
		return door.NotFound("product")
	}
	return door.Answer(w, http.StatusOK, stockBody{id, l.OnHand, l.Held, l.Committed, l.Available})
}

func (g *gateway) seed(w http.ResponseWriter, r *door.Request) error {
	if err := g.Seeder.Seed(r.Context()); err != nil {
		return err
	}
	return door.Answer(w, http.StatusOK, map[string]string{"status": "seeded"})
}

func (g *gateway) reset(w http.ResponseWriter, r *door.Request) error {
	if err := g.Seeder.Reset(r.Context()); err != nil {
		return err
	}
	return door.Answer(w, http.StatusOK, map[string]string{"status": "empty"})
}

func (g *gateway) ready(w http.ResponseWriter, r *door.Request) error {
	if err := g.Seeder.Ready(r.Context()); err != nil {
		return errors.Join(backbone.ErrUnavailable, err)
	}
	return door.Answer(w, http.StatusOK, map[string]string{"status": "ready"})
}

func bodyOf(o *Order) orderBody {
	b := orderBody{
		Order: o.ID, Customer: o.Customer, Status: o.Status, TotalPrice: o.Total.Number(),
		Items: itemsOf(o.Items), Payment: o.Payment, WhenShort: o.WhenShort,
	}
	for _, item := range o.Items {
		b.TotalQuantity += item.Quantity
	}
	for _, h := range o.History {
		b.History = append(b.History, change{h.Status, h.At.UTC()})
	}
	if s := o.Shortage; s != nil {
		short := &shortBody{Reason: s.Reason, Product: productOf(o.Items, s.SKU), Wanted: s.Wanted, Available: s.Available}
		if o.Status == "BACKORDERED" {
			b.Backorder = short
		} else {
			b.Rejection = short
		}
	}
	return b
}

func itemsOf(items []mall.Item) []itemBody {
	list := make([]itemBody, len(items))
	for i, item := range items {
		list[i] = itemBody{item.Product, item.Price.Number(), item.Quantity}
	}
	return list
}

// productOf returns the product that an order's item has under a SKU, or the SKU where none has.
func productOf(items []mall.Item, sku string) string {
	for _, item := range items {
		if item.SKU == sku {
			return item.Product
		}
	}
	return sku
}
