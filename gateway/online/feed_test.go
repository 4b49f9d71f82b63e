package online_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"example.org/souk/gateway/door"
	"example.org/souk/gateway/online"
	"example.org/souk/mall"
	"example.org/souk/mall/event"
)

type frame struct {
	N                                                   int64
	ID, AggregateID, Resource, Operation, Type, Subject string
	Data                                                json.RawMessage
}

// serve puts the door behind a real listener, whose address is returned.
func serve(t *testing.T, w *world) string {
	t.Helper()
	server := httptest.NewUnstartedServer(w.door)
	server.Config = w.door.Server()
	server.Start()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func limit(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

type reader struct {
	t    *testing.T
	conn *websocket.Conn
}

func connect(t *testing.T, addr, query, token string) *reader {
	t.Helper()
	conn, rsp, err := websocket.Dial(limit(t), "ws://"+addr+"/feed"+query, &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + token}}}) //nolint:bodyclose // the library owns the body of an upgraded connection
	if err != nil {
		t.Fatal(err, rsp)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	return &reader{t, conn}
}

func (r *reader) next() frame {
	r.t.Helper()
	kind, data, err := r.conn.Read(limit(r.t))
	if err != nil || kind != websocket.MessageText {
		r.t.Fatal(kind, err)
	}
	var f frame
	if err := json.Unmarshal(data, &f); err != nil {
		r.t.Fatalf("%s: %v", data, err)
	}
	return f
}

// closed reads to the end and asks with which code that came.
func (r *reader) closed(code websocket.StatusCode, reason string) {
	r.t.Helper()
	for {
		_, _, err := r.conn.Read(limit(r.t))
		if err == nil {
			continue
		}
		if e, ok := errors.AsType[websocket.CloseError](err); !ok || e.Code != code || e.Reason != reason {
			r.t.Errorf("closed with %v, want %v %s", err, code, reason)
		}
		return
	}
}

var items = []mall.Item{
	{Product: "PRODUCT_001", SKU: "SKU_1", Name: "One", Price: eur(1000), Quantity: 3},
	{Product: "PRODUCT_002", SKU: "SKU_2", Name: "Two", Price: eur(500), Quantity: 2},
}

// order1Story is what the orders service says of ORDER_001 until it is approved.
func (s *shop) order1Story() {
	s.change(func() {
		s.orders["ORDER_001"] = online.Order{ID: "ORDER_001", Customer: "CUSTOMER_001", Status: "APPROVED", Items: items, Total: eur(4000)}
	})
	s.tell("CUSTOMER_001", event.OrderPlaced{Order: "ORDER_001", Message: "72029ae3-9876-4d2f-a0ae-aaee86b8ec34", Customer: "CUSTOMER_001", Items: items, Total: eur(4000)},
		online.Asked, online.Happened)
	s.tell("CUSTOMER_001", event.OrderStockReserved{
		Order: "ORDER_001", Customer: "CUSTOMER_001", InventoryEvent: "inv-1",
		Lines: []mall.Line{{SKU: "SKU_1", Quantity: 3}, {SKU: "SKU_2", Quantity: 2}},
	}, online.Stocked, online.Happened)
	s.tell("CUSTOMER_001", event.OrderApproved{Order: "ORDER_001", Customer: "CUSTOMER_001"}, online.Happened)
}

func TestE4_Feed(t *testing.T) {
	t.Parallel()
	w := open(t, door.Config{})
	addr := serve(t, w)
	token := w.token(door.Customer, "CUSTOMER_001")
	live := connect(t, addr, "", token)
	other := connect(t, addr, "", w.token(door.Customer, "CUSTOMER_002"))
	w.shop.order1Story()
	const order = `{"orderId":"ORDER_001","customerId":"CUSTOMER_001","status":"PENDING","totalPrice":40,"totalQuantity":5,` +
		`"items":[{"productId":"PRODUCT_001","price":10,"quantity":3},{"productId":"PRODUCT_002","price":5,"quantity":2}]}`
	want := []frame{
		{1, "72029ae3-9876-4d2f-a0ae-aaee86b8ec34", "ORDER_001", "ORDER", "ORDER_CREATE", "COMMAND", "ORDER_001", json.RawMessage(order)},
		{2, "e2", "ORDER_001", "ORDER", "ORDER_CREATED", "EVENT", "ORDER_001", json.RawMessage(order)},
		{
			3, "inv-1", "ORDER_001", "INVENTORY", "INVENTORY_RESERVED", "EVENT", "ORDER_001",
			json.RawMessage(`{"inventories":[{"productId":"PRODUCT_001","quantity":3},{"productId":"PRODUCT_002","quantity":2}]}`),
		},
		{4, "e4", "ORDER_001", "ORDER", "INVENTORY_RESERVED", "EVENT", "ORDER_001", json.RawMessage(`{"status":"RESERVED"}`)},
		{5, "e5", "ORDER_001", "ORDER", "ORDER_APPROVED", "EVENT", "ORDER_001", json.RawMessage(`{"status":"APPROVED"}`)},
	}
	for _, f := range want {
		if got := live.next(); !reflect.DeepEqual(got, f) {
			t.Errorf("got  %+v %s\nwant %+v", got, got.Data, f)
		}
	}
	// Who comes back gets what was missed, from wherever it was; nobody else gets anything.
	for since := range want {
		again := connect(t, addr, fmt.Sprintf("?since=%d", since), token)
		for _, f := range want[since:] {
			if got := again.next(); !reflect.DeepEqual(got, f) {
				t.Errorf("since %d: got %+v, want %+v", since, got, f)
			}
		}
	}
	w.shop.tell("CUSTOMER_002", event.OrderApproved{Order: "ORDER_9", Customer: "CUSTOMER_002"}, online.Happened)
	if f := other.next(); f.N != 1 || f.AggregateID != "ORDER_9" {
		t.Errorf("%+v", f)
	}
	// Who has seen all of it waits for more; a number that was never given is of another feed, as after a restore, whose next frames would be missed.
	connect(t, addr, "?since=5", token)
	bearer := with("Authorization", "Bearer "+token)
	upgrade := []func(*http.Request){bearer, with("Connection", "Upgrade"), with("Upgrade", "websocket"), with("Sec-WebSocket-Version", "13"), with("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==")}
	refused(t, w.do("GET", "/feed?since=6", "", upgrade...), 410, "position_unknown")
	refused(t, w.do("GET", "/feed?since=9223372036854775807", "", upgrade...), 410, "position_unknown")
	staff := connect(t, addr, "?customer=CUSTOMER_001&since=4", w.token(door.Staff, "S1"))
	if f := staff.next(); f.N != 5 {
		t.Errorf("%+v", f)
	}
}

func TestFeedOfOtherEvents(t *testing.T) {
	t.Parallel()
	w := open(t, door.Config{})
	w.shop.orders["O"] = online.Order{ID: "O", Customer: "C", Items: items}
	w.shop.tell("C", event.OrderPlaced{Order: "O", Customer: "C", Items: items[:1], Total: eur(3000)}, online.Asked)
	w.shop.tell("C", event.OrderRejected{Order: "O", Customer: "C", Reason: mall.ReasonOutOfStock, SKU: "SKU_2", Wanted: 2}, online.Stocked, online.Happened)
	w.shop.tell("C", event.OrderRejected{Order: "O", Customer: "C", Reason: mall.ReasonCustomerRefused}, online.Happened)
	w.shop.tell("C", event.OrderBackordered{Order: "O", Customer: "C", SKU: "SKU_1", Wanted: 3, Available: 1}, online.Happened)
	w.shop.tell("C", event.OrderShort{Order: "O", Customer: "C", Missing: []mall.Line{{SKU: "SKU_1", Quantity: 1}}}, online.Happened)
	w.shop.tell("C", event.OrderAmended{
		Order: "O", Customer: "C", Choice: mall.ShortSubstitute, Missing: []mall.Line{{SKU: "SKU_1", Quantity: 1}},
		Substitutes: []mall.Item{{Product: "PRODUCT_003", SKU: "SKU_3", Price: eur(900), Quantity: 1}}, Total: eur(2900),
	}, online.Happened)
	w.shop.tell("C", event.OrderPaid{Order: "O", Customer: "C", Amount: eur(3000)}, online.Happened)
	w.shop.tell("C", event.OrderCanceled{Order: "O", Customer: "C", Reason: "changed my mind"}, online.Happened)
	w.shop.tell("C", event.StockReceived{SKU: "SKU_1"}, online.Happened) // a type that this gateway does not know
	r := connect(t, serve(t, w), "", w.token(door.Customer, "C"))
	for _, want := range []string{
		`ORDER ORDER_CREATE {"orderId":"O","customerId":"C","status":"PENDING","totalPrice":30,"totalQuantity":3,"items":[{"productId":"PRODUCT_001","price":10,"quantity":3}]}`,
		`INVENTORY INVENTORY_REJECTED {"reason":"out_of_stock","productId":"PRODUCT_002","wanted":2,"available":0}`,
		`ORDER ORDER_REJECTED {"status":"REJECTED","reason":"out_of_stock","productId":"PRODUCT_002","wanted":2,"available":0}`,
		`ORDER ORDER_REJECTED {"status":"REJECTED","reason":"customer_refused"}`,
		`ORDER ORDER_BACKORDERED {"status":"BACKORDERED","productId":"PRODUCT_001","wanted":3,"available":1}`,
		`ORDER ORDER_SHORT {"status":"SHORT","missing":[{"productId":"PRODUCT_001","quantity":1}]}`,
		`ORDER ORDER_AMENDED {"status":"PICKING","missing":[{"productId":"PRODUCT_001","quantity":1}],"totalPrice":29,"substitutes":[{"productId":"PRODUCT_003","price":9,"quantity":1}]}`,
		`ORDER ORDER_PAID {}`,
		`ORDER ORDER_CANCELED {"status":"CANCELED","reason":"changed my mind"}`,
		`ORDER souk.inventory.StockReceived.v1 {"productId":"SKU_1","wanted":0,"available":0}`,
	} {
		f := r.next()
		if got := f.Resource + " " + f.Operation + " " + string(f.Data); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if f.N == 1 && f.ID != "place-O" {
			t.Errorf("a command without a message id is %q", f.ID)
		}
	}
}

// A long feed arrives whole while it grows.
func TestFeedGrowsWhileRead(t *testing.T) {
	t.Parallel()
	const all = 1000
	w := open(t, door.Config{})
	addr := serve(t, w)
	grow := func(n int) {
		for i := range n {
			w.shop.tell("C", event.OrderApproved{Order: fmt.Sprintf("O%d", i), Customer: "C"}, online.Happened)
		}
	}
	grow(all / 2)
	r := connect(t, addr, "", w.token(door.Customer, "C"))
	grown := make(chan struct{})
	go func() { defer close(grown); grow(all / 2) }()
	for n := int64(1); n <= all; n++ {
		if f := r.next(); f.N != n {
			t.Fatalf("got %d, want %d", f.N, n)
		}
	}
	<-grown
}

// A lost pulse only delays: the feed looks by itself.
func TestFeedWithoutPulses(t *testing.T) {
	t.Parallel()
	w := open(t, door.Config{}, func(c *online.Config) { c.Pulses, c.PingEvery = &door.Hub{}, 10*time.Millisecond })
	r := connect(t, serve(t, w), "", w.token(door.Customer, "C"))
	r.conn.SetReadLimit(1 << 20)
	w.shop.tell("C", event.OrderApproved{Order: "O1", Customer: "C"}, online.Happened)
	if f := r.next(); f.N != 1 {
		t.Errorf("%+v", f)
	}
}

func TestFeedNeverSkips(t *testing.T) {
	t.Parallel()
	w := open(t, door.Config{})
	w.shop.tell("C", event.OrderApproved{Order: "O1", Customer: "C"}, online.Happened, online.Happened)
	w.shop.feeds["C"][1].N = 3
	r := connect(t, serve(t, w), "", w.token(door.Customer, "C"))
	r.next()
	r.closed(websocket.StatusInternalError, "the feed has a hole")
}

func TestFeedEnds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		end    func(*world, *reader)
		code   websocket.StatusCode
		reason string
	}{
		"revoked": {func(w *world, _ *reader) {
			if err := w.authority.RevokeSubject(door.Customer, "C"); err != nil {
				t.Error(err)
			}
		}, websocket.StatusPolicyViolation, "signed out"},
		"expired": {func(w *world, _ *reader) { w.clock.move(time.Hour) }, websocket.StatusPolicyViolation, "token expired"},
		"expired, with something to say": {func(w *world, _ *reader) {
			w.clock.move(time.Hour)
			w.shop.tell("C", event.OrderApproved{Order: "O1", Customer: "C"}, online.Happened)
		}, websocket.StatusPolicyViolation, "token expired"},
		"spoken to": {func(_ *world, r *reader) {
			if err := r.conn.Write(limit(t), websocket.MessageText, []byte("hello")); err != nil {
				t.Error(err)
			}
		}, websocket.StatusPolicyViolation, "a feed is only read"},
		"database away": {func(w *world, _ *reader) {
			w.shop.change(func() { w.shop.broken = errors.New("away") })
			w.shop.Notify("C")
		}, websocket.StatusTryAgainLater, "unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := open(t, door.Config{}, func(c *online.Config) {
				if name == "expired" {
					c.PingEvery = 20 * time.Millisecond
				}
			})
			w.shop.tell("C", event.OrderApproved{Order: "O0", Customer: "C"}, online.Happened)
			r := connect(t, serve(t, w), "", w.token(door.Customer, "C"))
			r.next()
			c.end(w, r)
			r.closed(c.code, c.reason)
		})
	}
}

// A reader that does not read is let go, and what it did not take is not kept for it.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	w := open(t, door.Config{}, func(c *online.Config) { c.SlowAfter = 20 * time.Millisecond })
	w.shop.change(func() {
		big, err := json.Marshal(event.OrderCanceled{Order: "O", Customer: "C", Reason: strings.Repeat("x", 64<<10)})
		if err != nil {
			t.Fatal(err)
		}
		for n := range int64(400) { // more than a connection's buffers take
			w.shop.feeds["C"] = append(w.shop.feeds["C"], online.Entry{N: n + 1, Part: online.Happened, Event: "e", Type: event.OrderCanceledV1, Data: big})
		}
	})
	ended := make(chan door.Observation, 1)
	w = reopen(t, w, func(o door.Observation) { ended <- o })
	r := connect(t, serve(t, w), "", w.token(door.Customer, "C"))
	select {
	case <-ended:
	case <-limit(t).Done():
		t.Fatal("a reader that does not read keeps its feed")
	}
	r.conn.SetReadLimit(1 << 20)
	for n := 0; ; n++ {
		if _, _, err := r.conn.Read(limit(t)); err != nil {
			if n >= 400 {
				t.Error("everything was sent")
			}
			return
		}
	}
}

// reopen opens the same shop behind a door that is observed.
func reopen(t *testing.T, w *world, observe func(door.Observation)) *world {
	next := open(t, door.Config{Observe: observe}, func(c *online.Config) {
		c.SlowAfter, c.Orders, c.Pulses = 20*time.Millisecond, w.shop, w.shop
	})
	next.shop = w.shop
	return next
}

func TestFeedIsGuarded(t *testing.T) {
	t.Parallel()
	w := open(t, door.Config{StreamsPerCaller: 1})
	addr := serve(t, w)
	token := w.token(door.Customer, "C")
	dial := func(query string, header http.Header) int {
		conn, rsp, err := websocket.Dial(limit(t), "ws://"+addr+"/feed"+query, &websocket.DialOptions{HTTPHeader: header}) //nolint:bodyclose // the library owns the body of an upgraded connection
		if err == nil {
			_ = conn.CloseNow()
			return http.StatusSwitchingProtocols
		}
		if rsp == nil {
			t.Fatal(err)
		}
		return rsp.StatusCode
	}
	cookie := func(origin string) http.Header {
		return http.Header{"Cookie": {"souk=" + token}, "Origin": {origin}}
	}
	for _, c := range []struct {
		query  string
		header http.Header
		status int
	}{
		{"", nil, 401},
		{"?token=" + token, nil, 401},
		{"?access_token=" + token, http.Header{"Authorization": {"Bearer " + token}}, 401},
		{"", http.Header{"Authorization": {"Bearer " + w.token(door.Robot, "R")}}, 403},
		{"", cookie("http://evil.example"), 403},
		{"", cookie("null"), 403},
		{"", cookie("http://" + addr + ".evil.example"), 403},
		{"", cookie("https://" + addr), 403},
		{"", http.Header{"Authorization": {"Bearer " + token}, "Origin": {"http://evil.example"}}, 403},
		{"?customer=D", cookie("http://" + addr), 404},
		{"?since=-1", cookie("http://" + addr), 400},
		{"?since=x", cookie("http://" + addr), 400},
		{"?customer=a%20b", cookie("http://" + addr), 400},
	} {
		if got := dial(c.query, c.header); got != c.status {
			t.Errorf("%s %v: %d, want %d", c.query, c.header, got, c.status)
		}
	}
	refused(t, w.do("GET", "/feed", "", with("Authorization", "Bearer "+token)), 426, "upgrade_required")
	connect(t, addr, "", token)
	if got := dial("", cookie("http://"+addr)); got != 429 {
		t.Errorf("a second feed: %d", got)
	}
}

func TestFeedByCookie(t *testing.T) {
	t.Parallel()
	w := open(t, door.Config{})
	addr := serve(t, w)
	w.shop.tell("C", event.OrderApproved{Order: "O1", Customer: "C"}, online.Happened)
	conn, _, err := websocket.Dial(limit(t), "ws://"+addr+"/feed", &websocket.DialOptions{ //nolint:bodyclose // the library owns the body of an upgraded connection
		HTTPHeader: http.Header{"Cookie": {"souk=" + w.token(door.Customer, "C")}, "Origin": {"http://" + addr}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.CloseNow() }()
	if f := (&reader{t, conn}).next(); f.N != 1 {
		t.Errorf("%+v", f)
	}
}
