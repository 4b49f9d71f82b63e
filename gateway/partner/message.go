package partner

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"example.org/souk/gateway/door"
	"example.org/souk/mall"
)

// The names that partners know. They exist in this package alone.
const (
	ordersName = "orders"
	placedName = "order.placed"
	// groupName is how a broker knows what we have read.
	groupName = "souk.partner.orders"
	// markName is the header of what we publish, with the id of the order in it.
	markName = "souk-order"
)

const (
	maxText = 200       // of an id or the name of an item, in bytes
	maxBody = 64 << 10  // that is kept of a message which is refused, in bytes
	maxKept = 200 << 10 // of such a body within its event, in bytes
)

// asked is what a partner asks for.
type asked struct {
	ID       string `json:"id"`
	Item     string `json:"item"` // SKU or name
	Quantity int64  `json:"quantity"`
}

// readOrder reads a body strictly: every field is there, is known, has its type and can be.
func readOrder(body []byte) (a asked, err error) {
	j := door.ReadJSON(body)
	var has struct{ id, item, quantity bool }
	_ = j.Object(func(name string) (err error) { // what goes wrong is j.End's to say
		switch name {
		case "id":
			has.id = true
			a.ID, err = readID(j)
		case "item":
			has.item = true
			a.Item, err = readText(j)
		case "quantity":
			has.quantity = true
			if a.Quantity, err = j.Int(); err == nil && (a.Quantity < 1 || a.Quantity > mall.MaxQuantity) {
				err = j.Wrong("", fmt.Sprintf("must be 1 to %d", mall.MaxQuantity))
			}
		default:
			err = j.Unknown()
		}
		return err
	})
	err = j.End()
	for _, field := range []struct {
		name  string
		there bool
	}{{"id", has.id}, {"item", has.item}, {"quantity", has.quantity}} {
		if err == nil && !field.there {
			err = j.Wrong(field.name, "is required")
		}
	}
	return a, err
}

// readID reads a text or a whole number; 1 and "1" are the same id.
func readID(j *door.JSON) (string, error) {
	if j.IsString() {
		return readText(j)
	}
	n, err := j.Number()
	if err == nil && (len(n) > mall.MaxID || strings.ContainsAny(string(n), ".eE")) {
		err = j.Wrong("", "must be a whole number or a text")
	}
	return string(n), err
}

func readText(j *door.JSON) (string, error) {
	s, err := j.String()
	if err == nil && (s == "" || len(s) > maxText || strings.ContainsFunc(s, unicode.IsControl)) {
		err = j.Wrong("", fmt.Sprintf("must be 1 to %d bytes without control characters", maxText))
	}
	return s, err
}

// causeOf says in a line why a body is refused.
func causeOf(err error) string {
	p, ok := errors.AsType[*door.Problem](err)
	if !ok || len(p.Errors) == 0 {
		return err.Error()
	}
	if p.Errors[0].Field == "" {
		return p.Errors[0].Reason
	}
	return p.Errors[0].Field + " " + p.Errors[0].Reason
}

// orderID derives an order's id from the account and the partner's own id, so that two pairs never share one: it reads
// "account-id" where that splits in one way only, is an id and is short enough, and is a hash of both otherwise.
func orderID(account, id string) string {
	plain := account + "-" + id
	if mall.ValidID(plain) == nil && !strings.Contains(account, "-") {
		return plain
	}
	return "--" + digest(fmt.Appendf(nil, "%d:%s%s", len(account), account, id))
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// kept is what stands in the log of a body that no order could be read from: its text, or its bytes where it is no text
// or would grow too much as one.
type kept struct {
	Text   string `json:"text,omitempty"`
	Bytes  []byte `json:"bytes,omitempty"`
	Length int    `json:"length"` // of the whole body; what is longer than 64 KiB is cut
}

func keep(body []byte) kept {
	k := kept{Length: len(body)}
	body = body[:min(len(body), maxBody)]
	if utf8.Valid(body) {
		if text, err := json.Marshal(string(body)); err == nil && len(text) <= maxKept {
			k.Text = string(body)
			return k
		}
	}
	k.Bytes = append(k.Bytes, body...)
	return k
}

// outgoing is a message to be published.
type outgoing struct {
	Name  string // exchange, topic or subject
	ID    string // stays the same when it is sent again
	Order string
	Body  []byte
}

type placedBody struct {
	Order    string       `json:"order_id"`
	Customer string       `json:"user_id"`
	Total    json.Number  `json:"total"`
	Items    []placedItem `json:"items"`
}

type placedItem struct {
	SKU      string `json:"sku"`
	Quantity int64  `json:"qty"`
}

// messages writes what partners are told of an order: first its items, where they do not have them from elsewhere, then
// that it was placed.
func (p Publication) messages() ([]outgoing, error) {
	var list []outgoing
	add := func(name, id string, v any) error {
		body, err := json.Marshal(v)
		list = append(list, outgoing{Name: name, ID: id, Order: p.Order, Body: body})
		return err
	}
	placed := placedBody{Order: p.Order, Customer: p.Customer, Total: p.Total.Number()}
	for i, item := range p.Items {
		placed.Items = append(placed.Items, placedItem{item.SKU, item.Quantity})
		if p.Known {
			continue
		}
		if err := add(ordersName, fmt.Sprintf("%s-%d", p.Order, i+1), asked{p.Order, item.SKU, item.Quantity}); err != nil {
			return nil, err
		}
	}
	return list, add(placedName, p.Order, placed)
}
