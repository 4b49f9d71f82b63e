package online_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"example.org/souk/backbone"
	"example.org/souk/gateway/door"
	"example.org/souk/gateway/online"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func eur(amount int64) mall.Money { return mall.Money{Amount: amount, Currency: "EUR"} }

// shop stands in for everything behind the gateway, in memory.
type shop struct {
	door.Hub

	mu       sync.Mutex
	products map[string]online.Product
	orders   map[string]online.Order
	answers  map[string]backbone.Command // by command id
	options  []backbone.Meta             // of each command
	feeds    map[string][]online.Entry
	broken   error // what reading answers
	refuse   error // what Do answers
	seeded   int
}

func newShop() *shop {
	return &shop{
		products: map[string]online.Product{
			"PRODUCT_001": {SKU: "SKU_1", Name: "One", Price: eur(1000)},
			"PRODUCT_002": {SKU: "SKU_2", Name: "Two", Price: eur(500)},
		},
		orders:  map[string]online.Order{},
		answers: map[string]backbone.Command{},
		feeds:   map[string][]online.Entry{},
	}
}

func (s *shop) Do(_ context.Context, c backbone.Command, options ...backbone.DoOption) (backbone.Answer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var m backbone.Meta
	for _, o := range options {
		o(&m)
	}
	if s.refuse != nil {
		if r, ok := errors.AsType[*backbone.Refusal](s.refuse); ok {
			return backbone.Answer{Outcome: backbone.Refused, Refusal: r}, nil
		}
		return backbone.Answer{}, s.refuse
	}
	if first, ok := s.answers[m.ID]; ok {
		if !reflect.DeepEqual(first, c) {
			return backbone.Answer{}, fmt.Errorf("do: %w", backbone.ErrDifferentCommand)
		}
		return backbone.Answer{Outcome: backbone.Done, Repeated: true}, nil
	}
	s.answers[m.ID], s.options = c, append(s.options, m)
	switch c := c.(type) {
	case command.PlaceOrder:
		total, err := mall.Total(c.Items)
		if err != nil {
			return backbone.Answer{}, err
		}
		s.orders[c.Order] = online.Order{
			ID: c.Order, Customer: c.Customer, Status: "PENDING", Items: c.Items, Total: total,
			Payment: c.Payment, WaitForStock: c.WaitForStock, WhenShort: c.WhenShort, History: []online.Change{{Status: "PENDING", At: time.Unix(1, 0)}},
		}
	case command.CancelOrder:
		o := s.orders[c.Order]
		o.Status = "CANCELLING"
		s.orders[c.Order] = o
	}
	return backbone.Answer{Outcome: backbone.Done}, nil
}

func (s *shop) Product(_ context.Context, id string) (online.Product, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.products[id]
	return p, ok, s.broken
}

func (s *shop) Order(_ context.Context, id string) (online.Order, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.orders[id]
	return o, ok, s.broken
}

func (s *shop) Feed(_ context.Context, customer string, after int64, limit int) ([]online.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.feeds[customer]
	i, _ := slices.BinarySearchFunc(all, after+1, func(e online.Entry, n int64) int { return int(e.N - n) })
	return slices.Clone(all[i:min(len(all), i+limit)]), s.broken
}

func (s *shop) Level(_ context.Context, product string) (online.Level, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.products[product]
	return online.Level{OnHand: 10, Held: 2, Committed: 1, Available: 7}, ok, s.broken
}

func (s *shop) Seed(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seeded++
	return s.broken
}

func (s *shop) Reset(context.Context) error { return s.Seed(context.Background()) }
func (s *shop) Ready(context.Context) error { return s.broken }

func (s *shop) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// tell adds an event to a customer's feed.
func (s *shop) tell(customer string, e backbone.Event, parts ...online.Part) {
	data, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	s.change(func() {
		for _, p := range parts {
			n := int64(len(s.feeds[customer]) + 1)
			s.feeds[customer] = append(s.feeds[customer], online.Entry{N: n, Part: p, Event: fmt.Sprintf("e%d", n), Type: e.EventType(), Data: data})
		}
	})
	s.Notify(customer)
}

type world struct {
	t         testing.TB
	shop      *shop
	clock     *clock
	authority *door.Authority
	door      *door.Door
}

func open(t testing.TB, config door.Config, change ...func(*online.Config)) *world {
	t.Helper()
	w := &world{t: t, shop: newShop(), clock: &clock{now: time.Unix(1_800_000_000, 0)}}
	var err error
	if w.authority, err = door.OpenAuthority(t.TempDir(), w.clock); err != nil {
		t.Fatal(err)
	}
	config.Authority, config.Clock, config.Logger = w.authority, w.clock, slog.New(slog.DiscardHandler)
	if w.door, err = door.New(config); err != nil {
		t.Fatal(err)
	}
	c := online.Config{Commands: w.shop, Catalogue: w.shop, Orders: w.shop, Stock: w.shop, Pulses: w.shop, Seeder: w.shop, Currency: "EUR"}
	for _, f := range change {
		f(&c)
	}
	if err := online.Register(w.door, c); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) token(role door.Role, subject string) string {
	w.t.Helper()
	token, _, err := w.authority.Issue(door.Grant{Role: role, Subject: subject, Gates: []string{online.Gate}})
	if err != nil {
		w.t.Fatal(err)
	}
	return token
}

// as lets a request be made by somebody; "" is nobody.
func (w *world) as(role door.Role, subject string) func(*http.Request) {
	token := w.token(role, subject)
	return with("Authorization", "Bearer "+token)
}

func with(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func (w *world) do(method, path, body string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, c := range change {
		c(r)
	}
	rec := httptest.NewRecorder()
	w.door.ServeHTTP(rec, r)
	return rec
}

type problem struct {
	Code    string
	TraceID string `json:"trace_id"`
	Errors  []door.FieldError
}

func refused(t *testing.T, rec *httptest.ResponseRecorder, status int, code string) problem {
	t.Helper()
	var p problem
	if err := json.Unmarshal(rec.Body.Bytes(), &p); err != nil {
		t.Fatalf("%d %q is no problem document: %v", rec.Code, rec.Body, err)
	}
	if rec.Code != status || p.Code != code || p.TraceID == "" {
		t.Fatalf("got %d %s, want %d %s: %s", rec.Code, p.Code, status, code, rec.Body)
	}
	if (status == 429 || status == 503) && rec.Header().Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	return p
}

func answered(t *testing.T, rec *httptest.ResponseRecorder, status int, body string) {
	t.Helper()
	var got, want any
	if err := json.Unmarshal([]byte(body), &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil || rec.Code != status || !reflect.DeepEqual(got, want) {
		t.Fatalf("got %d %s, want %d %s", rec.Code, rec.Body, status, body)
	}
}

const order1 = `{"data":{"id":"72029ae3-9876-4d2f-a0ae-aaee86b8ec34","order":{"orderId":"ORDER_001","customerId":"CUSTOMER_001","totalPrice":40,"totalQuantity":5,` +
	`"items":[{"productId":"PRODUCT_001","price":10,"quantity":3},{"productId":"PRODUCT_002","price":5,"quantity":2}]}}}`

func TestE1_PlaceAndShow(t *testing.T) {
	t.Parallel()
	w := open(t, door.Config{})
	as := w.as(door.Customer, "CUSTOMER_001")
	rec := w.do("POST", "/order", order1, as, with("Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"))
	answered(t, rec, 202, `{"orderId":"ORDER_001","status":"PENDING"}`)
	if rec.Header().Get("Location") != "/order/ORDER_001" {
		t.Errorf("Location: %q", rec.Header().Get("Location"))
	}
	m := w.shop.options[0]
	if m.ID != "place-ORDER_001" || m.Actor != "customer:CUSTOMER_001" || m.Trace != "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" {
		t.Errorf("%+v", m)
	}
	if c := w.shop.answers[m.ID].(command.PlaceOrder); c.Message != "72029ae3-9876-4d2f-a0ae-aaee86b8ec34" ||
		!reflect.DeepEqual(c.Items[1], mall.Item{Product: "PRODUCT_002", SKU: "SKU_2", Name: "Two", Price: eur(500), Quantity: 2}) {
		t.Errorf("%+v", c)
	}
	answered(t, w.do("GET", rec.Header().Get("Location"), "", as), 200, `{"orderId":"ORDER_001","customerId":"CUSTOMER_001","status":"PENDING","totalPrice":40,"totalQuantity":5,
		"items":[{"productId":"PRODUCT_001","price":10,"quantity":3},{"productId":"PRODUCT_002","price":5,"quantity":2}],"history":[{"status":"PENDING","at":"1970-01-01T00:00:01Z"}]}`)
	w.shop.change(func() {
		o := w.shop.orders["ORDER_001"]
		o.Status, o.Shortage = "REJECTED", &online.Shortage{Reason: mall.ReasonOutOfStock, SKU: "SKU_2", Wanted: 2, Available: 1}
		w.shop.orders["ORDER_001"] = o
	})
	if rec := w.do("GET", "/order/ORDER_001", "", as); !strings.Contains(rec.Body.String(), `"rejection":{"reason":"out_of_stock","productId":"PRODUCT_002","wanted":2,"available":1}`) {
		t.Error(rec.Body)
	}
	answered(t, w.do("GET", "/stock/PRODUCT_001", "", as), 200, `{"productId":"PRODUCT_001","onHand":10,"held":2,"committed":1,"available":7}`)
	refused(t, w.do("GET", "/stock/PRODUCT_009", "", as), 404, "not_found")
	refused(t, w.do("GET", "/order/ORDER_009", "", as), 404, "not_found")
	for _, id := range []string{"a.b", "a%20b", "%27", "a%0Ab", "%E4", strings.Repeat("a", 65), "*", "%3E"} {
		for _, path := range []string{"/order/", "/stock/"} {
			refused(t, w.do("GET", path+id, "", as), 400, "invalid_field")
		}
		refused(t, w.do("POST", "/order/"+id+"/cancel", "", as), 400, "invalid_field")
	}
}

// An order id makes a repeat: the status of now, whatever else changed since.
func TestE2_Repeats(t *testing.T) {
	t.Parallel()
	w := open(t, door.Config{})
	as := w.as(door.Customer, "CUSTOMER_001")
	var done sync.WaitGroup
	var mu sync.Mutex
	codes := map[int]int{}
	for range 100 {
		done.Go(func() {
			rec := w.do("POST", "/order", order1, as)
			mu.Lock()
			defer mu.Unlock()
			codes[rec.Code]++
			if !strings.Contains(rec.Body.String(), "ORDER_001") {
				t.Error(rec.Body)
			}
		})
	}
	done.Wait()
	if codes[202] != 1 || codes[200] != 99 {
		t.Errorf("%v", codes)
	}
	w.shop.change(func() {
		o := w.shop.orders["ORDER_001"]
		o.Status = "APPROVED"
		w.shop.orders["ORDER_001"] = o
	})
	const approved = `{"orderId":"ORDER_001","status":"APPROVED"}`
	answered(t, w.do("POST", "/order", order1, as), 200, approved)
	answered(t, w.do("POST", "/order", strings.Replace(order1, "72029ae3", "99999999", 1), as), 200, approved)
	answered(t, w.do("POST", "/order", strings.Replace(order1, `"price":10,`, `"price":10.00,`, 1), as), 200, approved)
	w.shop.change(func() {
		w.shop.products["PRODUCT_001"] = online.Product{SKU: "SKU_1", Name: "Renamed", Price: eur(1000)}
	})
	answered(t, w.do("POST", "/order", order1, as), 200, approved)
	w.shop.change(func() {
		w.shop.products["PRODUCT_001"] = online.Product{SKU: "SKU_1", Name: "Dearer", Price: eur(1001)}
	})
	answered(t, w.do("POST", "/order", order1, as), 200, approved)
	w.shop.change(func() { delete(w.shop.products, "PRODUCT_001") })
	answered(t, w.do("POST", "/order", order1, as), 200, approved)
	w.shop.change(func() { w.shop.refuse = backbone.Refuse("order_exists", "was placed before") })
	w.shop.change(func() { w.shop.products["PRODUCT_001"] = online.Product{SKU: "SKU_1", Name: "One", Price: eur(1000)} })
	answered(t, w.do("POST", "/order", order1, as), 200, approved) // placed through another way in
}

func TestE3_OtherContent(t *testing.T) {
	t.Parallel()
	w := open(t, door.Config{})
	staff := w.as(door.Staff, "S1")
	if rec := w.do("POST", "/order", order1, staff); rec.Code != 202 {
		t.Fatal(rec.Body)
	}
	for _, change := range []*strings.Replacer{
		strings.NewReplacer("CUSTOMER_001", "CUSTOMER_002"),
		strings.NewReplacer(`"price":5,"quantity":2`, `"price":5,"quantity":4`, `"totalPrice":40`, `"totalPrice":50`, `"totalQuantity":5`, `"totalQuantity":7`),
		strings.NewReplacer(`"totalQuantity"`, `"waitForStock":true,"totalQuantity"`),
		strings.NewReplacer(`"totalQuantity"`, `"payment":"P1","totalQuantity"`),
		strings.NewReplacer(`"totalQuantity"`, `"whenShort":"rest","totalQuantity"`),
		strings.NewReplacer(`,{"productId":"PRODUCT_002","price":5,"quantity":2}`, ``, `40`, `30`, `"totalQuantity":5`, `"totalQuantity":3`),
	} {
		body := change.Replace(order1)
		refused(t, w.do("POST", "/order", body, staff), 409, "different_content")
	}
	if len(w.shop.orders) != 1 || len(w.shop.answers) != 1 {
		t.Error("something changed")
	}
	w.shop.refuse = backbone.Refuse("too_late", "has expired")
	refused(t, w.do("POST", "/order", strings.Replace(order1, "ORDER_001", "ORDER_002", 1), staff), 409, "too_late")
}

// What a customer wants when goods are not found goes with the order, and to be asked is the same as to say nothing. Red when it is lost on the way,
// or when a repeat that says it in other words is another order.
func TestWishesWhenShort(t *testing.T) {
	t.Parallel()
	w := open(t, door.Config{})
	as := w.as(door.Customer, "CUSTOMER_001")
	for wish, want := range map[string]mall.WhenShort{"ask": "", "rest": mall.ShortRest, "substitute": mall.ShortSubstitute, "cancel": mall.ShortCancel} {
		body := strings.NewReplacer("ORDER_001", "ORDER_"+wish, `"totalQuantity"`, `"whenShort":"`+wish+`","totalQuantity"`).Replace(order1)
		if rec := w.do("POST", "/order", body, as); rec.Code != 202 {
			t.Fatal(rec.Body)
		}
		if got := w.shop.orders["ORDER_"+wish].WhenShort; got != want {
			t.Errorf("%s became %q", wish, got)
		}
		if rec := w.do("GET", "/order/ORDER_"+wish, "", as); rec.Code != 200 || strings.Contains(rec.Body.String(), `"whenShort":"`+wish+`"`) != (want != "") {
			t.Errorf("%s is shown as %s", wish, rec.Body)
		}
	}
	if rec := w.do("POST", "/order", strings.Replace(order1, "ORDER_001", "ORDER_ask", 1), as); rec.Code != 200 {
		t.Errorf("who says nothing is told %d %s", rec.Code, rec.Body)
	}
}

func TestB12_InvalidOrders(t *testing.T) {
	t.Parallel()
	w := open(t, door.Config{})
	as := w.as(door.Customer, "CUSTOMER_001")
	const o, i0, i1 = "data.order.", "data.order.items[0].", "data.order.items[1]."
	for _, c := range []struct{ old, new, field string }{
		{`"data":`, `"Data":`, "Data"},
		{`{"data":`, `{"data":{},"data":`, "data.id"},
		{`"id":"72029ae3-9876-4d2f-a0ae-aaee86b8ec34",`, ``, "data.id"},
		{`"id":"72029ae3-9876-4d2f-a0ae-aaee86b8ec34"`, `"id":"a b"`, "data.id"},
		{`"id":"72029ae3-9876-4d2f-a0ae-aaee86b8ec34"`, `"id":7`, "data.id"},
		{`"order":{`, `"order":null,"x":{`, "data.order"},
		{`"orderId":"ORDER_001",`, ``, o + "orderId"},
		{`"orderId":"ORDER_001"`, `"orderId":""`, o + "orderId"},
		{`"orderId":"ORDER_001"`, `"orderId":"a.b"`, o + "orderId"},
		{`"orderId":"ORDER_001"`, `"orderId":"` + strings.Repeat("a", 65) + `"`, o + "orderId"},
		{`"orderId":"ORDER_001"`, `"orderId":"a\u0000"`, o + "orderId"},
		{`"orderId":"ORDER_001"`, `"orderId":"A","orderId":"ORDER_001"`, o + "orderId"},
		{`"customerId":"CUSTOMER_001",`, ``, o + "customerId"},
		{`"totalPrice":40,`, ``, o + "totalPrice"},
		{`"totalPrice":40`, `"totalPrice":"40"`, o + "totalPrice"},
		{`"totalPrice":40`, `"totalPrice":-40`, o + "totalPrice"},
		{`"totalPrice":40`, `"totalPrice":40.001`, o + "totalPrice"},
		{`"totalPrice":40`, `"totalPrice":1e400`, o + "totalPrice"},
		{`"totalPrice":40`, `"totalPrice":99999999999999999999`, o + "totalPrice"},
		{`"totalPrice":40`, `"totalPrice":NaN`, o + "totalPrice"},
		{`"totalQuantity":5,`, ``, o + "totalQuantity"},
		{`"totalQuantity":5`, `"totalQuantity":6`, o + "totalQuantity"},
		{`"totalQuantity":5`, `"totalQuantity":5.0`, o + "totalQuantity"},
		{`"totalQuantity":5`, `"totalQuantity":0`, o + "totalQuantity"},
		{`"items":`, `"status":"APPROVED","items":`, o + "status"},
		{`"items":`, `"role":"staff","items":`, o + "role"},
		{`"items":`, `"payment":"a b","items":`, o + "payment"},
		{`"items":`, `"waitForStock":1,"items":`, o + "waitForStock"},
		{`"items":`, `"whenShort":"perhaps","items":`, o + "whenShort"},
		{`"items":`, `"whenShort":"","items":`, o + "whenShort"},
		{`"items":`, `"whenShort":true,"items":`, o + "whenShort"},
		{`"items":[`, `"items":[],"x":[`, o + "x"},
		{`"productId":"PRODUCT_001",`, ``, i0 + "productId"},
		{`"productId":"PRODUCT_001"`, `"productId":"PRODUCT_404"`, i0 + "productId"},
		{`"productId":"PRODUCT_002"`, `"productId":"a/b"`, i1 + "productId"},
		{`"price":10,`, ``, i0 + "price"},
		{`"price":10`, `"price":10.001`, i0 + "price"},
		{`"price":10`, `"price":-10`, i0 + "price"},
		{`"price":10`, `"price":true`, i0 + "price"},
		{`,"quantity":3`, ``, i0 + "quantity"},
		{`"quantity":3`, `"quantity":0`, i0 + "quantity"},
		{`"quantity":3`, `"quantity":-3`, i0 + "quantity"},
		{`"quantity":3`, `"quantity":1.5`, i0 + "quantity"},
		{`"quantity":3`, `"quantity":"3"`, i0 + "quantity"},
		{`"quantity":2`, `"quantity":1000001`, i1 + "quantity"},
		{`"quantity":2`, `"quantity":9223372036854775807`, i1 + "quantity"},
		{`"quantity":2`, `"quantity":99999999999999999999`, i1 + "quantity"},
		{`"quantity":2}`, `"quantity":2,"coupon":"x"}`, i1 + "coupon"},
	} {
		body := strings.Replace(order1, c.old, c.new, 1)
		if body == order1 {
			t.Fatalf("%s is not there", c.old)
		}
		if p := refused(t, w.do("POST", "/order", body, as), 400, "invalid_field"); len(p.Errors) != 1 || p.Errors[0].Field != c.field || p.Errors[0].Reason == "" {
			t.Errorf("%s: %+v, want %s", c.new, p.Errors, c.field)
		}
	}
	empty := order1[:strings.Index(order1, `[`)] + `[]}}}`
	if p := refused(t, w.do("POST", "/order", empty, as), 400, "invalid_field"); p.Errors[0].Field != "data.order.items" {
		t.Error(p)
	}
	many := order1[:strings.Index(order1, `[`)] + `[` + strings.Repeat(`{"productId":"PRODUCT_001","price":10,"quantity":1},`, mall.MaxLines) + `{}]}}}`
	if p := refused(t, w.do("POST", "/order", many, as), 400, "invalid_field"); p.Errors[0].Field != "data.order.items" {
		t.Error(p)
	}
	if p := refused(t, w.do("POST", "/order", `{}`, as), 400, "invalid_field"); p.Errors[0].Field != "data" {
		t.Error(p)
	}
	for _, body := range []string{``, `x`, order1 + "x", order1[:len(order1)-1], strings.Repeat("[", 10_000), strings.Repeat(`{"data":`, 5_000)} {
		if rec := w.do("POST", "/order", body, as); rec.Code != 400 {
			t.Errorf("%.20q: %d", body, rec.Code)
		}
	}
	refused(t, w.do("POST", "/order", order1+strings.Repeat(" ", 64<<10), as), 413, "body_too_large")
	refused(t, w.do("POST", "/order", order1, as, with("Content-Type", "text/plain")), 415, "unsupported_media_type")
	refused(t, w.do("PUT", "/order", order1, as), 405, "method_not_allowed")
	if len(w.shop.answers) != 0 {
		t.Error("something was done")
	}
}

func TestPriceChanged(t *testing.T) {
	t.Parallel()
	w := open(t, door.Config{})
	as := w.as(door.Customer, "CUSTOMER_001")
	w.shop.products["PRODUCT_001"] = online.Product{SKU: "SKU_1", Name: "One", Price: eur(1250)}
	p := refused(t, w.do("POST", "/order", order1, as), 409, "price_changed")
	want := []door.FieldError{
		{Field: "data.order.items[0].price", Reason: "differs from the catalogue", Sent: "10", Current: "12.5"},
		{Field: "data.order.totalPrice", Reason: "differs from the catalogue", Sent: "40", Current: "47.5"},
	}
	if !reflect.DeepEqual(p.Errors, want) {
		t.Errorf("%+v", p.Errors)
	}
	w.shop.products["PRODUCT_001"] = online.Product{SKU: "SKU_1", Name: "One", Price: eur(1000)}
	if p := refused(t, w.do("POST", "/order", strings.Replace(order1, `"totalPrice":40`, `"totalPrice":39.99`, 1), as), 409, "price_changed"); p.Errors[0].Sent != "39.99" || p.Errors[0].Current != "40" {
		t.Errorf("%+v", p.Errors)
	}
}

func TestB16_EveryRouteAndRole(t *testing.T) {
	t.Parallel()
	for _, mode := range []bool{false, true} {
		w := open(t, door.Config{TestMode: mode})
		n := 0
		for _, rt := range w.door.Routes() {
			if rt.Gate != online.Gate {
				continue
			}
			n++
			method, path, _ := strings.Cut(rt.Pattern, " ")
			path = strings.NewReplacer("{id}", "ORDER_001", "{productId}", "PRODUCT_001").Replace(path)
			refused(t, w.do(method, path, ""), 401, "unauthenticated")
			for _, role := range door.Roles() {
				rec := w.do(method, path, "", w.as(role, "CUSTOMER_001"))
				allowed := role == door.Staff || role == door.Customer && !rt.TestOnly
				if !allowed {
					refused(t, rec, 403, "forbidden")
				} else if rec.Code == 401 || rec.Code == 403 || rec.Code >= 500 {
					t.Errorf("%s as %s: %d", rt.Pattern, role, rec.Code)
				}
			}
		}
		if want := map[bool]int{false: 5, true: 8}[mode]; n != want {
			t.Errorf("%d routes in test mode %v", n, mode)
		}
	}
}

func TestOwnOrdersOnly(t *testing.T) {
	t.Parallel()
	w := open(t, door.Config{})
	own, other, staff := w.as(door.Customer, "CUSTOMER_001"), w.as(door.Customer, "CUSTOMER_002"), w.as(door.Staff, "S1")
	refused(t, w.do("POST", "/order", order1, other), 404, "not_found")
	if rec := w.do("POST", "/order", order1, own); rec.Code != 202 {
		t.Fatal(rec.Body)
	}
	// What is another's and what is not there cannot be told apart.
	strip := func(rec *httptest.ResponseRecorder) string {
		p := refused(t, rec, 404, "not_found")
		return strings.NewReplacer(p.TraceID, "", "ORDER_001", "", "ORDER_404", "").Replace(rec.Body.String())
	}
	for _, c := range []struct{ method, path string }{{"GET", "/order/%s"}, {"POST", "/order/%s/cancel"}} {
		theirs, none := w.do(c.method, fmt.Sprintf(c.path, "ORDER_001"), "", other), w.do(c.method, fmt.Sprintf(c.path, "ORDER_404"), "", other)
		if a, b := strip(theirs), strip(none); a != b {
			t.Errorf("%s\n%s", a, b)
		}
	}
	refused(t, w.do("GET", "/feed?customer=CUSTOMER_001", "", other), 404, "not_found")
	refused(t, w.do("POST", "/order", strings.Replace(order1, "CUSTOMER_001", "CUSTOMER_002", 1), other), 409, "different_content")
	if rec := w.do("GET", "/order/ORDER_001", "", staff); rec.Code != 200 {
		t.Errorf("staff: %d", rec.Code)
	}
	if len(w.shop.answers) != 1 {
		t.Error("something was done for somebody else")
	}
}

func TestE7_Cancel(t *testing.T) {
	t.Parallel()
	w := open(t, door.Config{})
	as := w.as(door.Customer, "CUSTOMER_001")
	w.do("POST", "/order", order1, as)
	const cancelling = `{"orderId":"ORDER_001","status":"CANCELLING"}`
	answered(t, w.do("POST", "/order/ORDER_001/cancel", "", as), 202, cancelling)
	answered(t, w.do("POST", "/order/ORDER_001/cancel", "", as), 200, cancelling)
	answered(t, w.do("POST", "/order/ORDER_001/cancel", `{"reason":"changed my mind"}`, as), 200, cancelling)
	for body, field := range map[string]string{`{"why":"x"}`: "why", `{"reason":1}`: "reason", `{"reason":""}`: "reason", `{"reason":"a\u001bb"}`: "reason"} {
		if p := refused(t, w.do("POST", "/order/ORDER_001/cancel", body, as), 400, "invalid_field"); p.Errors[0].Field != field {
			t.Errorf("%s: %+v", body, p)
		}
	}
	w.shop.refuse = backbone.Refuse("not_open", "The order is not open any more.")
	refused(t, w.do("POST", "/order/ORDER_001/cancel", "", as), 409, "not_open")
}

// Ids of any legal length make different commands.
func TestCommandIDs(t *testing.T) {
	t.Parallel()
	w := open(t, door.Config{})
	as := w.as(door.Staff, "S1")
	seen := map[string]bool{}
	for _, id := range []string{"A", strings.Repeat("A", 58), strings.Repeat("A", 59), strings.Repeat("A", 64), strings.Repeat("A", 63) + "B"} {
		if rec := w.do("POST", "/order", strings.Replace(order1, "ORDER_001", id, 1), as); rec.Code != 202 {
			t.Fatal(rec.Body)
		}
		if rec := w.do("POST", "/order/"+id+"/cancel", "", as); rec.Code != 202 {
			t.Fatal(rec.Body)
		}
	}
	for _, m := range w.shop.options {
		if seen[m.ID] || mall.ValidID(m.ID) != nil {
			t.Errorf("%q", m.ID)
		}
		seen[m.ID] = true
	}
}

func TestF11_Unavailable(t *testing.T) {
	t.Parallel()
	w := open(t, door.Config{})
	as := w.as(door.Customer, "CUSTOMER_001")
	for err, code := range map[error]string{
		backbone.ErrOverloaded: "overloaded", backbone.ErrUnavailable: "unavailable", backbone.ErrPaused: "unavailable",
		backbone.ErrStopped: "stopping", context.DeadlineExceeded: "timeout",
	} {
		w.shop.refuse = err
		refused(t, w.do("POST", "/order", order1, as), 503, code)
	}
	w.shop.refuse = nil
	w.do("POST", "/order", order1, as)
	w.shop.broken = errors.New("SELECT failed: database is locked")
	for _, path := range []string{"GET /order/ORDER_001", "GET /stock/PRODUCT_001", "POST /order/ORDER_001/cancel", "POST /order"} {
		method, path, _ := strings.Cut(path, " ")
		body := ""
		if path == "/order" {
			body = order1
		}
		if rec := w.do(method, path, body, as); rec.Code != 503 || strings.Contains(rec.Body.String(), "SELECT") {
			t.Errorf("%s %s: %d %s", method, path, rec.Code, rec.Body)
		}
	}
	refused(t, w.do("GET", "/feed", "", as, with("Upgrade", "websocket")), 503, "unavailable")

	slow := open(t, door.Config{CallerRate: door.Rate{PerSecond: 1, Burst: 1}})
	as = slow.as(door.Customer, "CUSTOMER_001")
	slow.do("POST", "/order", order1, as)
	refused(t, slow.do("POST", "/order", order1, as), 429, "too_many_requests")
}

func TestF9_IdempotencyKey(t *testing.T) {
	t.Parallel()
	w := open(t, door.Config{})
	as, key := w.as(door.Customer, "CUSTOMER_001"), with("Idempotency-Key", "k1")
	first := w.do("POST", "/order", order1, as, key)
	again := w.do("POST", "/order", order1, as, key)
	if first.Code != 202 || again.Code != 202 || again.Body.String() != first.Body.String() || again.Header().Get("Location") != "/order/ORDER_001" {
		t.Errorf("%d %s", again.Code, again.Body)
	}
	refused(t, w.do("POST", "/order", strings.Replace(order1, "ORDER_001", "ORDER_002", 1), as, key), 422, "key_reused")
	if rec := w.do("POST", "/order", order1, as); rec.Code != 200 {
		t.Errorf("without the key it is a repeat of the order: %d", rec.Code)
	}
	invalid := strings.Replace(order1, "40", "41", 1)
	key = with("Idempotency-Key", "k2")
	refused(t, w.do("POST", "/order", `{}`, as, key), 400, "invalid_field")
	if rec := w.do("POST", "/order", strings.Replace(order1, "ORDER_001", "ORDER_002", 1), as, key); rec.Code != 202 {
		t.Errorf("a request that was wrong used the key up: %s", rec.Body)
	}
	key = with("Idempotency-Key", "k3")
	refused(t, w.do("POST", "/order", strings.Replace(invalid, "ORDER_001", "ORDER_003", 1), as, key), 409, "price_changed")
	refused(t, w.do("POST", "/order", strings.Replace(invalid, "ORDER_001", "ORDER_003", 1), as, key), 409, "price_changed")
}

// The original's printed commands work as they are: curl without a token, on this machine, in test mode only.
func TestE1_TestMode(t *testing.T) {
	t.Parallel()
	here := func(r *http.Request) { r.RemoteAddr, r.Host = "127.0.0.1:4000", "localhost:8901" }
	w := open(t, door.Config{TestMode: true})
	answered(t, w.do("POST", "/automation-testing/seed", "", here), 200, `{"status":"seeded"}`)
	answered(t, w.do("GET", "/automation-testing/ready", "", here), 200, `{"status":"ready"}`)
	answered(t, w.do("POST", "/order", order1, here), 202, `{"orderId":"ORDER_001","status":"PENDING"}`)
	if rec := w.do("GET", "/order/ORDER_001", "", here); rec.Code != 200 {
		t.Error(rec.Body)
	}
	answered(t, w.do("DELETE", "/automation-testing/all", "", here), 200, `{"status":"empty"}`)
	if w.shop.seeded != 2 {
		t.Error(w.shop.seeded)
	}
	refused(t, w.do("POST", "/automation-testing/seed", "", here, with("Origin", "http://evil.example")), 403, "foreign_origin")
	refused(t, w.do("GET", "/feed", "", here), 400, "invalid_field")
	w.shop.broken = errors.New("away")
	refused(t, w.do("GET", "/automation-testing/ready", "", here), 503, "unavailable")

	plain := open(t, door.Config{})
	refused(t, plain.do("POST", "/automation-testing/seed", "", here), 404, "not_found")
	refused(t, plain.do("POST", "/automation-testing/seed", "", plain.as(door.Staff, "S1")), 404, "not_found")
	refused(t, plain.do("GET", "/order/ORDER_001", "", here), 401, "unauthenticated")
}

func TestRegisterWantsEverything(t *testing.T) {
	t.Parallel()
	s := newShop()
	whole := online.Config{Commands: s, Catalogue: s, Orders: s, Stock: s, Pulses: s, Currency: "EUR"}
	for _, c := range []struct {
		test   bool
		change func(*online.Config)
	}{
		{false, func(c *online.Config) { c.Commands = nil }},
		{false, func(c *online.Config) { c.Catalogue = nil }},
		{false, func(c *online.Config) { c.Orders = nil }},
		{false, func(c *online.Config) { c.Stock = nil }},
		{false, func(c *online.Config) { c.Pulses = nil }},
		{false, func(c *online.Config) { c.Currency = "euro" }},
		{true, func(*online.Config) {}},
	} {
		a, err := door.OpenAuthority(t.TempDir(), &clock{})
		if err != nil {
			t.Fatal(err)
		}
		d, err := door.New(door.Config{Authority: a, TestMode: c.test})
		if err != nil {
			t.Fatal(err)
		}
		broken := whole
		c.change(&broken)
		if err := online.Register(d, broken); err == nil {
			t.Errorf("%+v was accepted", broken)
		}
	}
}

// Whatever comes, the answer is an order or a refusal that is the client's business, and only whole orders get through.
func FuzzPostOrder(f *testing.F) {
	f.Add(order1)
	for _, seed := range []string{
		``, `{}`, `null`, `[]`, `{"data":null}`, `{"data":{"id":1}}`, `{"data":{"id":"a","order":{"items":[{}]}}}`,
		strings.Replace(order1, "40", "4e1", 1), strings.Replace(order1, "40", "-0", 1), strings.Replace(order1, "ORDER_001", `\ud83d\ude00`, 1),
		strings.Replace(order1, `:3`, `:1000000`, 1), strings.Replace(order1, "PRODUCT_002", "PRODUCT_001", 1), order1 + order1,
	} {
		f.Add(seed)
	}
	w := open(f, door.Config{CallerRate: door.Rate{PerSecond: 1e9, Burst: 1e6}})
	as := w.as(door.Staff, "S1")
	f.Fuzz(func(t *testing.T, body string) {
		rec := w.do("POST", "/order", body, as)
		switch rec.Code {
		case 200, 202:
			var sent any
			if err := json.Unmarshal([]byte(body), &sent); err != nil {
				t.Fatalf("%q was accepted: %v", body, err)
			}
		case 400, 409, 413, 415:
			refused(t, rec, rec.Code, errorCode(rec))
		default:
			t.Fatalf("%q: %d %s", body, rec.Code, rec.Body)
		}
	})
}

func errorCode(rec *httptest.ResponseRecorder) string {
	var p problem
	_ = json.Unmarshal(rec.Body.Bytes(), &p) // refused judges it
	return p.Code
}

// accepting answers every command at once; it costs nothing beside the gateway.
type accepting struct{ *shop }

func (accepting) Do(context.Context, backbone.Command, ...backbone.DoOption) (backbone.Answer, error) {
	return backbone.Answer{Outcome: backbone.Done}, nil
}

type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(status int)      { s.status = status }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }

func BenchmarkPostOrder(b *testing.B) {
	w := open(b, door.Config{CallerRate: door.Rate{PerSecond: 1e9, Burst: 1e6}}, func(c *online.Config) { c.Commands = accepting{newShop()} })
	r := httptest.NewRequest("POST", "/order", nil)
	r.Header.Set("Content-Type", "application/json")
	w.as(door.Customer, "CUSTOMER_001")(r)
	body := strings.NewReader(order1)
	r.Body, r.ContentLength = http.NoBody, int64(len(order1))
	s := &sink{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		body.Reset(order1)
		again := *r
		again.Body = readCloser{body}
		s.status = 0
		clear(s.header)
		w.door.ServeHTTP(s, &again)
		if s.status != 202 {
			b.Fatal(s.status)
		}
	}
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }
