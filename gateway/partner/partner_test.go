package partner

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/event"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var update = flag.Bool("update", false, "write the golden files")

// C1: a body is read strictly. Red when an unknown field is passed over.
func TestC1_BodiesAreReadStrictly(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]any{
		`{"id":1,"item":"Laptop","quantity":1}`:              asked{"1", "Laptop", 1},
		`{"quantity":2,"item":"Mint tea, 250 g","id":"A-1"}`: asked{"A-1", "Mint tea, 250 g", 2},
		`{"id":-7,"item":"Laptop","quantity":1000000}`:       asked{"-7", "Laptop", 1_000_000},
		`{"id":"a b/é","item":"x","quantity":1}`:             asked{"a b/é", "x", 1},
		``:                               "",
		`[]`:                             "must be an object",
		`{"item":"Laptop","quantity":1}`: "id is required",
		`{"id":1,"quantity":1}`:          "item is required",
		`{"id":1,"item":"Laptop"}`:       "quantity is required",
		`{"id":1.5,"item":"Laptop","quantity":1}`:                         "id must be a whole number or a text",
		`{"id":1e3,"item":"Laptop","quantity":1}`:                         "id must be a whole number or a text",
		`{"id":true,"item":"Laptop","quantity":1}`:                        "id must be",
		`{"id":null,"item":"Laptop","quantity":1}`:                        "id must be",
		`{"id":"","item":"Laptop","quantity":1}`:                          "id must be 1 to 200 bytes",
		`{"id":"a\nb","item":"Laptop","quantity":1}`:                      "id must be 1 to 200 bytes without control characters",
		`{"id":1,"item":7,"quantity":1}`:                                  "item must be a string",
		`{"id":1,"item":"Laptop","quantity":0}`:                           "quantity must be 1 to 1000000",
		`{"id":1,"item":"Laptop","quantity":"1"}`:                         "quantity must be",
		`{"id":1,"item":"Laptop","quantity":1,"price":1}`:                 "price is not a known field",
		`{"id":1,"id":2,"item":"Laptop","quantity":1}`:                    "id must not be given twice",
		`{"id":1,"item":"Laptop","quantity":1} {}`:                        "",
		`{"id":1,"item":"` + strings.Repeat("x", 201) + `","quantity":1}`: "item must be 1 to 200 bytes",
	} {
		got, err := readOrder([]byte(body))
		if order, right := want.(asked); right {
			if err != nil || got != order {
				t.Errorf("%s: %+v, %v", body, got, err)
			}
		} else if err == nil || !strings.HasPrefix(causeOf(err), want.(string)) {
			t.Errorf("%s: %+v, %v, want %q", body, got, err, want)
		}
	}
}

// An order's id is valid whatever the partner's is, and no two pairs of account and id share one. Red when the length of
// the account is left out of the hash.
func TestOrderIDs(t *testing.T) {
	t.Parallel()
	if got := orderID("PARTNER_001", "1"); got != "PARTNER_001-1" {
		t.Errorf("%s", got)
	}
	rapid.Check(t, func(t *rapid.T) {
		account, id := rapid.StringMatching(`[a-b-]{1,6}`), rapid.StringMatching(`[a-b /-]{1,6}`)
		a, b := [2]string{account.Draw(t, "account"), id.Draw(t, "id")}, [2]string{account.Draw(t, "account"), id.Draw(t, "id")}
		x, y := orderID(a[0], a[1]), orderID(b[0], b[1])
		if mall.ValidID(x) != nil || (x == y) != (a == b) {
			t.Fatalf("%q is %s, %q is %s", a, x, b, y)
		}
	})
}

// What is kept of a body fits into an event, and a body that is no longer than 64 KiB is there to the last byte. Red when
// the text is kept whatever it grows to.
func TestNothingOfABodyIsLost(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", "{", "\xff\x00", strings.Repeat("<", maxBody), strings.Repeat("\x01", maxBody), strings.Repeat("x", maxBody+1)} {
		k := keep([]byte(body))
		event, err := json.Marshal(PartnerMessageRefused{Body: k})
		if err != nil || len(event) > backbone.MaxData {
			t.Errorf("%d bytes make an event of %d, %v", len(body), len(event), err)
		}
		var back PartnerMessageRefused
		if err := json.Unmarshal(event, &back); err != nil {
			t.Fatal(err)
		}
		if got := back.Body.Text + string(back.Body.Bytes); got != body[:min(len(body), maxBody)] || back.Body.Length != len(body) {
			t.Errorf("of %d bytes %d are kept, and the length is %d", len(body), len(got), back.Body.Length)
		}
	}
}

var laptop = mall.Item{Product: "p1", SKU: "LAP-01", Name: "Laptop", Price: mall.Money{Amount: 120000, Currency: "EUR"}, Quantity: 1}

func wish() TakePartnerOrder {
	return TakePartnerOrder{
		Order: "PARTNER_001-1", Connection: "amqp://there", Account: "PARTNER_001", ID: "1", Item: "Laptop", Quantity: 1, Product: laptop,
	}
}

// An order is taken once, whatever the catalogue says later; another under its id is a conflict; a refused one may come
// again. Red when the state does not keep what was asked for.
func TestDecidedOnce(t *testing.T) {
	t.Parallel()
	other, dearer, unsold := wish(), wish(), wish()
	other.Quantity, dearer.Product.Price.Amount, unsold.Product = 2, 130000, mall.Item{}
	taken, _ := take(order{}, wish(), backbone.Meta{})
	refusal, _ := take(order{}, unsold, backbone.Meta{})
	for _, c := range []struct {
		name    string
		given   []backbone.Event
		command TakePartnerOrder
		want    string
	}{
		{"new", nil, wish(), "OrderTaken"},
		{"again", taken, wish(), "OrderRepeated"},
		{"again, at another price", taken, dearer, "OrderRepeated"},
		{"again, and sold no more", taken, unsold, "OrderRepeated"},
		{"another", taken, other, "OrderConflicted"},
		{"not sold", nil, unsold, "OrderRefused"},
		{"sold later", refusal, wish(), "OrderTaken"},
	} {
		got, err := take(orders.Fold(c.given...), c.command, backbone.Meta{})
		if err != nil || len(got) != 1 || reflect.TypeOf(got[0]).Name() != c.want {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
	refused := RefusePartnerMessage{Message: "m"}
	first, _ := keepMessage(messages.Fold(), refused, backbone.Meta{})
	again, _ := keepMessage(messages.Fold(first...), refused, backbone.Meta{})
	refused.Redelivered = true
	copied, _ := keepMessage(messages.Fold(first...), refused, backbone.Meta{})
	if len(first) != 1 || len(again) != 1 || len(copied) != 0 {
		t.Errorf("%v %v %v", first, again, copied)
	}
}

// C5: each connection is told of an order, and gets the item of none that came from it. Red when From is forgotten.
func TestC5_WhoIsToldWhat(t *testing.T) {
	t.Parallel()
	g := &Gateway{links: []*link{{name: "amqp://there"}, {name: "kafka://here"}}}
	taken, _ := take(order{}, wish(), backbone.Meta{})
	say := AnnounceOrder{Order: "PARTNER_001-1", Customer: "PARTNER_001", Total: laptop.Price, Items: []mall.Item{laptop}}
	told := func(given []backbone.Event, c AnnounceOrder) (list []string) {
		events, err := announce(orders.Fold(given...), c, backbone.Meta{})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			for _, f := range g.publishWhenAnnounced(e.(OrderAnnounced), backbone.Meta{}) {
				p := reflect.ValueOf(f).FieldByName("Request").Interface().(Publication)
				messages, err := p.messages()
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range messages {
					list = append(list, p.Connection+" "+m.Name+" "+m.ID)
				}
			}
		}
		return list
	}
	want := []string{"amqp://there order.placed PARTNER_001-1", "kafka://here orders PARTNER_001-1-1", "kafka://here order.placed PARTNER_001-1"}
	if got := told(taken, say); !reflect.DeepEqual(got, want) {
		t.Errorf("%q", got)
	}
	if got := told(append(taken, OrderAnnounced{}), say); got != nil {
		t.Errorf("announced twice: %q", got)
	}
	want = append([]string{"amqp://there orders PARTNER_001-1-1"}, want...)
	if got := told(nil, say); !reflect.DeepEqual(got, want) {
		t.Errorf("placed elsewhere: %q", got)
	}
	say.Customer = "somebody"
	if got := told(taken, say); !reflect.DeepEqual(got, want) {
		t.Errorf("placed by somebody else under that id: %q", got)
	}
	if effects := announceWhenPlaced(event.OrderPlaced{Order: "o"}, backbone.Meta{}); !reflect.DeepEqual(effects, []backbone.Effect{backbone.Send(AnnounceOrder{Order: "o"})}) {
		t.Errorf("%+v", effects)
	}
}

// shelf sells laptops, and answers with an error first.
type shelf struct{ failed sync.Once }

func (s *shelf) Find(_ context.Context, item string) (p mall.Item, found bool, err error) {
	s.failed.Do(func() { err = errors.New("the catalogue is away") })
	if err != nil || item != "Laptop" {
		return mall.Item{}, false, err
	}
	return laptop, true, nil
}

// desk takes commands, and fails each once.
type desk struct {
	mu     sync.Mutex
	failed map[string]bool
	taken  []string
}

func (d *desk) Do(_ context.Context, c backbone.Command, options ...backbone.DoOption) (backbone.Answer, error) {
	var m backbone.Meta
	for _, o := range options {
		o(&m)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.failed[m.ID] {
		d.failed[m.ID] = true
		return backbone.Answer{}, backbone.ErrOverloaded
	}
	d.taken = append(d.taken, c.Stream()+" "+m.Actor)
	return backbone.Answer{Outcome: backbone.Done, Refs: []backbone.AppendedRef{{Type: OrderTaken{}.EventType()}}}, nil
}

// hand hands out messages once, and then waits.
type hand struct{ list []message }

func (h *hand) receive(ctx context.Context, up func(), give func(message) bool) error {
	up()
	for _, m := range h.list {
		if !give(m) {
			return nil
		}
	}
	h.list = nil
	<-ctx.Done()
	return nil
}

func (*hand) publish(context.Context, []outgoing) error { return nil }
func (*hand) close()                                    {}

// C4: a message is acknowledged when its command was taken, however often that was tried; what carries our mark is passed
// over. Red when it is acknowledged before the command is answered, and when an error drops it.
func TestC4_AcknowledgedWhenTaken(t *testing.T) {
	t.Parallel()
	d := &desk{failed: map[string]bool{}}
	ctx, end := context.WithCancel(t.Context())
	acknowledged := make(chan int, 3)
	h := &hand{}
	for n, body := range []string{`{"id":1,"item":"Laptop","quantity":1}`, `{"id":2,"item":"Laptop","quantity":1}`} {
		h.list = append(h.list, message{body: []byte(body), done: func() {
			d.mu.Lock()
			acknowledged <- len(d.taken)*10 + n
			d.mu.Unlock()
		}})
	}
	h.list = append(h.list, message{own: true, body: []byte("anything"), done: func() { acknowledged <- 100 }})
	counts := make(chan Outcome, 3)
	g, err := Open(Config{Account: "PARTNER_001", Instance: "here", Logger: slog.New(slog.DiscardHandler), Settled: func(_ string, o Outcome) { counts <- o }})
	if err != nil {
		t.Fatal(err)
	}
	g.links = []*link{{name: "here", account: "PARTNER_001", broker: h}}
	ended := make(chan struct{})
	go func() { defer close(ended); g.Run(ctx, d, &shelf{}) }()
	got := map[Outcome]int{}
	for range 3 {
		if n := <-acknowledged; n < 10 {
			t.Error("a message was acknowledged before its command was taken")
		}
		got[<-counts]++
	}
	end()
	<-ended
	if got[Taken] != 2 || got[Own] != 1 || len(d.taken) != 2 || !strings.HasSuffix(d.taken[0], " partner:PARTNER_001") {
		t.Errorf("%v, %q", got, d.taken)
	}
}

// A message that the broker names is one command however often it comes; one that it does not name is one each time.
func TestCommandIDs(t *testing.T) {
	t.Parallel()
	m := message{body: []byte("x"), receipt: "orders/0/7"}
	first, again := commandID("a", m), commandID("a", m)
	if first != again || first == commandID("b", m) || !backbone.ValidID(first) {
		t.Error(first, again)
	}
	m.receipt = ""
	if first, again = commandID("a", m), commandID("a", m); first == again || !backbone.ValidID(first) {
		t.Error(first, again)
	}
}

// What is said of an address never holds its password.
func TestOpen(t *testing.T) {
	t.Parallel()
	for _, urls := range [][]string{{"ftp://u:s3cret@h/"}, {"amqp://u:s3cret@h:x/"}, {"s3cret"}, {"amqp://u:s3cret@h", "amqp://v:s3cret@h"}, {"amqp://u:s3cret@%/"}, {"kafka://u:s3cret@h"}} {
		if _, err := Open(Config{URLs: urls, Account: "PARTNER_001", Instance: "here"}); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v", urls, err)
		}
	}
	if _, err := Open(Config{Account: "no account", Instance: "here"}); err == nil {
		t.Error("an account that is no id was taken")
	}
	g, err := Open(Config{URLs: []string{"amqp://u:s3cret@h:5672/v", "kafka://a:9092,b:9092"}, Account: "PARTNER_001", Instance: "here"})
	if err != nil || g.links[0].name != "amqp://h:5672/v" || g.links[1].name != "kafka://a:9092,b:9092" {
		t.Errorf("%+v, %v", g, err)
	}
}

// An account stands before an address, which may have a = itself; what is no account is refused without a word of the address. Red where
// the address's own = is taken for the account's.
func TestAccountsStandBeforeAddresses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][2]string{
		"amqp://h":                      {"", "amqp://h"},
		"PARTNER_002=amqp://h":          {"PARTNER_002", "amqp://h"},
		"amqp://u@h/?password_file=/f":  {"", "amqp://u@h/?password_file=/f"},
		"P=amqp://u@h/?password_file=f": {"P", "amqp://u@h/?password_file=f"},
	} {
		account, address, err := SplitAccount(text)
		if err != nil || account != want[0] || address != want[1] {
			t.Errorf("%s: %q, %q, %v", text, account, address, err)
		}
	}
	for _, text := range []string{"=amqp://u:s3cret@h", "no account=amqp://u:s3cret@h", "u:s3cret=x", strings.Repeat("x", 500) + "=amqp://u:s3cret@h"} {
		if _, _, err := SplitAccount(text); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := Open(Config{URLs: []string{"amqp://h"}, Accounts: map[string]string{"amqp://h": "no account"}, Account: "PARTNER_001", Instance: "here"}); err == nil {
		t.Error("an address's account that is no id was taken")
	}
}

// DOMAIN 4: an order belongs to the account of its connection, and the same id under two accounts is two orders. Red where the gateway's account is
// every connection's.
func TestC1_OrdersBelongToTheAccountOfTheirConnection(t *testing.T) {
	t.Parallel()
	g, err := Open(Config{
		URLs: []string{"amqp://one", "kafka://two", "nats://three"}, Account: "PARTNER_001", Instance: "here",
		Accounts: map[string]string{"kafka://two": "PARTNER_002"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := g.AccountsInUse(); !slices.Equal(got, []string{"PARTNER_001", "PARTNER_002"}) {
		t.Errorf("accounts %q", got)
	}
	list := &shelf{}
	list.failed.Do(func() {})
	d := &desk{failed: map[string]bool{}}
	for _, l := range g.links {
		in := &intake{g, l, d, list}
		j := job{command: "first" + l.account + l.name, asked: asked{"1", "Laptop", 1}}
		for range 2 { // the desk fails each once
			_, _ = in.decide(t.Context(), j)
		}
	}
	want := []string{"PARTNER_001-1 partner:PARTNER_001", "PARTNER_002-1 partner:PARTNER_002", "PARTNER_001-1 partner:PARTNER_001"}
	if !slices.Equal(d.taken, want) {
		t.Errorf("taken %q, want %q", d.taken, want)
	}
}

// What stands in the log stands there for ever.
func TestFrozenSamples(t *testing.T) {
	t.Parallel()
	body := kept{Text: "{", Bytes: []byte{1}, Length: 1}
	for _, sample := range []any{
		wish(),
		RefusePartnerOrder{"PARTNER_001-1", "amqp://there", "1", "Laptop", 1, "order_exists", "an order of this id was placed before"},
		AnnounceOrder{"ORDER_001", "CUSTOMER_001", laptop.Price, []mall.Item{laptop}},
		RecordUnpublished{"ORDER_001", "amqp://there", "deadline"},
		RefusePartnerMessage{"hash", "amqp://there", CauseMalformed, "id is required", body, true},
		OrderTaken{"PARTNER_001-1", "amqp://there", "PARTNER_001", "1", "Laptop", 1, laptop},
		OrderRepeated{"PARTNER_001-1", "amqp://there", true},
		OrderConflicted{"PARTNER_001-1", "amqp://there", "1", "Laptop", 2, "Laptop", 1},
		OrderRefused{"PARTNER_001-1", "amqp://there", "1", "Laptop", 1, CauseUnknownItem, "nobody sells it"},
		OrderAnnounced{"ORDER_001", "CUSTOMER_001", laptop.Price, []mall.Item{laptop}, "amqp://there"},
		OrderUnpublished{"ORDER_001", "amqp://there", "deadline"},
		PartnerMessageRefused{"hash", "amqp://there", CauseMalformed, "id is required", body},
		Publication{"amqp://there", "ORDER_001", "CUSTOMER_001", laptop.Price, []mall.Item{laptop}, true},
	} {
		name := reflect.TypeOf(sample).Name()
		switch s := sample.(type) {
		case backbone.Event:
			name = s.EventType()
		case backbone.Command:
			name = s.CommandType()
		}
		text, err := json.MarshalIndent(sample, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("testdata", name+".json")
		text = append(text, '\n')
		if *update {
			if err := os.WriteFile(path, text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if frozen, err := os.ReadFile(path); err != nil || !bytes.Equal(frozen, text) {
			t.Errorf("%s differs from what stands in logs (%v):\n%s", path, err, text)
		}
	}
}
