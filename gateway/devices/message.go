package devices

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
)

const (
	// maxPacket bounds a packet, in bytes.
	maxPacket = 64 << 10
	// maxCodes bounds what is scanned in one bag.
	maxCodes = 2_000
)

// errNonsense says that a message cannot be read. What wraps it says why, without what the message holds.
var errNonsense = errors.New("the message makes no sense")

func nonsense(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errNonsense, fmt.Sprintf(format, args...))
}

// seen is what a device has seen: who came, or who left with what.
type seen struct {
	id       string // of the message, given by the device; empty: none
	stamp    string // when the device saw it, as it wrote it; empty: it did not say
	customer string // a customer's id or what a card says
	codes    []code // in the bag; of departures
}

// code is what was scanned, and how often.
type code struct {
	text     string
	quantity int64
}

// cloudEvent is the envelope in which devices may put what they have seen; see CloudEvents 1.0, structured mode.
type cloudEvent struct {
	SpecVersion string          `json:"specversion"`
	ID          word            `json:"id"`
	Time        word            `json:"time"`
	Data        json.RawMessage `json:"data"`
}

// scan is the body of an arrival or a departure.
type scan struct {
	Timestamp word     `json:"timestamp"`
	Customer  word     `json:"customer_id"`
	Card      word     `json:"card"`
	Products  []word   `json:"product_ids"`
	Items     []amount `json:"items"`
	Tags      []word   `json:"tags"`
}

type amount struct {
	SKU      word  `json:"sku"`
	Quantity int64 `json:"qty"`
}

// word is a text, or a number as it is written.
type word string

// UnmarshalJSON reads a JSON string or number.
func (w *word) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, (*string)(w))
	}
	var n json.Number
	if err := json.Unmarshal(b, &n); err != nil {
		return errors.New("want a text or a number")
	}
	*w = word(n)
	return nil
}

// read reads what a device has seen. given is an id that came beside the payload, as MQTT 5 and CloudEvents allow.
func read(w what, payload []byte, given string) (seen, error) {
	payload = bytes.TrimSpace(payload)
	s := seen{id: given}
	if w == arrival && len(payload) > 0 && payload[0] != '{' { // a bare card number
		var card word
		if err := json.Unmarshal(payload, &card); err != nil {
			card = word(payload)
		}
		s.customer = string(card)
		return s, s.check()
	}
	var envelope cloudEvent
	if err := json.Unmarshal(payload, &envelope); err != nil {
		return s, nonsense("it is no JSON object")
	}
	body := payload
	if envelope.SpecVersion != "" {
		if envelope.ID == "" || len(envelope.Data) == 0 {
			return s, nonsense("the event has no id or no data")
		}
		s.id, body = string(envelope.ID), envelope.Data
	}
	var in scan
	if err := json.Unmarshal(body, &in); err != nil {
		return s, nonsense("a field has another type than it should have")
	}
	s.stamp = string(in.Timestamp)
	if s.stamp == "" {
		s.stamp = string(envelope.Time)
	}
	s.customer = string(in.Customer)
	if s.customer == "" {
		s.customer = string(in.Card)
	}
	if w == depart {
		if err := s.fill(in); err != nil {
			return s, err
		}
	}
	return s, s.check()
}

// fill counts what is in the bag: a product as often as it is named, an item as often as it says, and a tag, which is of one
// piece, once.
func (s *seen) fill(in scan) error {
	if len(in.Products)+len(in.Items)+len(in.Tags) > maxCodes {
		return nonsense("more than %d things in a bag", maxCodes)
	}
	counted := map[string]int64{}
	for _, p := range in.Products {
		counted[string(p)]++
	}
	for _, i := range in.Items {
		if i.Quantity < 1 || i.Quantity > mall.MaxQuantity {
			return nonsense("a quantity must be 1 to %d", mall.MaxQuantity)
		}
		counted[string(i.SKU)] += i.Quantity
	}
	tags := map[word]bool{}
	for _, t := range in.Tags {
		if tags[t] {
			continue
		}
		tags[t] = true
		product, _, _ := strings.Cut(string(t), "/") // product/serial
		counted[product]++
	}
	for text, n := range counted {
		if text == "" || len(text) > 200 {
			return nonsense("what was scanned must have 1 to 200 bytes")
		}
		s.codes = append(s.codes, code{text, min(n, mall.MaxQuantity)})
	}
	slices.SortFunc(s.codes, func(a, b code) int { return strings.Compare(a.text, b.text) })
	return nil
}

func (s seen) check() error {
	switch {
	case mall.ValidID(s.customer) != nil:
		return nonsense("customer_id must be 1 to 64 letters, digits, _ or -")
	case len(s.id) > 200 || len(s.stamp) > 64:
		return nonsense("an id has at most 200 bytes, a timestamp 64")
	}
	return nil
}

// commandID names the command of a message, so that a copy is known. Without an id and without a time nothing tells copies
// apart; then each has an id of its own, and the service judges.
func (s seen) commandID(device, name string, payload []byte) (id string, timed bool) {
	switch {
	case s.id != "":
		return "mqtt_" + digest(device+"\n"+name+"\n"+s.id), true
	case s.stamp != "":
		return "mqtt_" + instant(s.stamp) + digest(device+"\n"+name+"\n\n"+string(payload)), true
	}
	return "mqtt_" + rand.Text(), false
}

// instant begins the id of what happened at a time that a device has written, where that is one.
func instant(stamp string) string {
	at, err := time.Parse(time.RFC3339, stamp)
	if err != nil {
		return ""
	}
	return mall.Instant(at)
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// ask makes the command of what a device has seen.
func (g *Gateway) ask(ctx context.Context, l Login, w what, s seen, untimed, repeated bool) (backbone.Command, error) {
	customer, known, err := g.Shop.Visitor(ctx, s.customer)
	if err != nil {
		return nil, err
	}
	card := ""
	if customer != s.customer {
		card = s.customer
	}
	if !known {
		customer = ""
	}
	if w == arrival {
		c := command.ScanCard{Store: l.Store, Customer: customer, Card: card, Device: l.Device, Untimed: untimed, Repeated: untimed && repeated}
		return c, sensible(c.Validate())
	}
	location, known, err := g.Shop.Place(ctx, l.Store)
	if err != nil {
		return nil, err
	}
	if !known {
		return nil, fmt.Errorf("store %s is not known yet", l.Store)
	}
	c := command.ScanExit{
		Store: l.Store, Location: location, Customer: customer, Card: card, Device: l.Device, Untimed: untimed, Repeated: untimed && repeated,
	}
	counted := map[string]int64{}
	for _, k := range s.codes {
		sku, known, err := g.Shop.SKU(ctx, l.Store, k.text)
		switch {
		case err != nil:
			return nil, err
		case known:
		case mall.ValidID(k.text) == nil:
			sku = k.text
		default: // a misread; what it was is not free
			sku = "unknown-" + digest(k.text)[:22]
		}
		counted[sku] = min(counted[sku]+k.quantity, mall.MaxQuantity)
	}
	for sku, n := range counted {
		c.Lines = append(c.Lines, mall.Line{SKU: sku, Quantity: n})
	}
	slices.SortFunc(c.Lines, func(a, b mall.Line) int { return strings.Compare(a.SKU, b.SKU) })
	return c, sensible(c.Validate())
}

func sensible(err error) error {
	if err == nil {
		return nil
	}
	return nonsense("%v", err)
}
