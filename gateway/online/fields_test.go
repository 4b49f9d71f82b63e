package online_test

import (
	"errors"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"example.org/souk/gateway/door"
	"example.org/souk/gateway/door/doortest"
	"example.org/souk/gateway/online"
	"example.org/souk/mall"
	"example.org/souk/mall/event"
)

// FAILURES 4: whatever stands behind the store, a customer is told these fields and no others, testdata/fields.txt has them all; and none of them has a
// SKU, where goods lie, which price of the catalogue it was, what they were called for the stockroom, or who else is a customer. Red where an
// answer or a frame gets a field, where one is written as it is read, and where a route answers that is not tried here.
func TestF10_ACustomerIsToldTheseFields(t *testing.T) {
	t.Parallel()
	w := open(t, door.Config{})
	ours := []mall.Item{
		{Product: "PRODUCT_001", SKU: "canary-sku-1", Name: "canary-name", Price: eur(1000), Quantity: 3, Store: "canary-store", StoreName: "canary-store", PriceVersion: 77001},
		{Product: "PRODUCT_002", SKU: "canary-sku-2", Name: "canary-name", Price: eur(500), Quantity: 2, Store: "canary-store", StoreName: "canary-store", PriceVersion: 77001},
	}
	heard, all := doortest.Fields{}, ""
	tried := map[string]bool{}
	hear := func(way string, body []byte) {
		t.Helper()
		all += string(body)
		heard.Hear(t, way, body)
	}
	as := w.as(door.Customer, "CUSTOMER_001")
	call := func(pattern, path, body string) *httptest.ResponseRecorder {
		t.Helper()
		method, _, _ := strings.Cut(pattern, " ")
		rec := w.do(method, path, body, as)
		way := pattern
		if rec.Code >= 400 {
			way = "refusals"
		} else {
			tried[pattern] = true
		}
		hear(way, rec.Body.Bytes())
		return rec
	}
	call("POST /order", "/order", order1)
	call("POST /order", "/order", order1)
	call("POST /order", "/order", strings.Replace(order1, `"quantity":3`, `"quantity":4`, 1))
	call("POST /order", "/order", `{"data":{}}`)
	for _, o := range []online.Order{
		{Status: "REJECTED", Shortage: &online.Shortage{Reason: mall.ReasonOutOfStock, SKU: "canary-sku-2", Wanted: 2, Available: 1}},
		{Status: "BACKORDERED", Shortage: &online.Shortage{SKU: "canary-sku-1", Wanted: 3, Available: 1}, WaitForStock: true},
		{Status: "APPROVED", Payment: "PAY-1", History: []online.Change{{Status: "PENDING"}, {Status: "APPROVED"}}},
	} {
		o.ID, o.Customer, o.Items, o.Total = "ORDER_001", "CUSTOMER_001", ours, eur(4000)
		w.shop.change(func() { w.shop.orders["ORDER_001"] = o })
		call("GET /order/{id}", "/order/ORDER_001", "")
	}
	w.shop.change(func() {
		w.shop.orders["ORDER_9"] = online.Order{ID: "ORDER_9", Customer: "canary-customer", Items: ours, Total: eur(4000)}
	})
	call("GET /order/{id}", "/order/ORDER_9", "")
	call("GET /stock/{productId}", "/stock/PRODUCT_001", "")
	w.shop.change(func() { w.shop.broken = errors.New("canary-trouble in SELECT") })
	call("GET /stock/{productId}", "/stock/PRODUCT_001", "")
	call("GET /order/{id}", "/order/ORDER_001", "")
	w.shop.change(func() { w.shop.broken = nil })

	const c = "CUSTOMER_001"
	w.shop.tell(c, event.OrderPlaced{Order: "ORDER_001", Message: "m-1", Customer: c, Items: ours, Total: eur(4000), Payment: "PAY-1"}, online.Asked, online.Happened)
	lines := []mall.Line{{SKU: "canary-sku-1", Quantity: 1}}
	w.shop.tell(c, event.OrderStockReserved{Order: "ORDER_001", Customer: c, InventoryEvent: "inv-1", Lines: lines}, online.Stocked, online.Happened)
	w.shop.tell(c, event.OrderRejected{Order: "ORDER_001", Customer: c, Reason: mall.ReasonOutOfStock, SKU: "canary-sku-2", Wanted: 2}, online.Stocked, online.Happened)
	w.shop.tell(c, event.OrderBackordered{Order: "ORDER_001", Customer: c, SKU: "canary-sku-1", Wanted: 3, Available: 1}, online.Happened)
	w.shop.tell(c, event.OrderShort{Order: "ORDER_001", Customer: c, Missing: lines}, online.Happened)
	w.shop.tell(c, event.OrderAmended{Order: "ORDER_001", Customer: c, Choice: mall.ShortSubstitute, Missing: lines, Substitutes: ours[:1], Total: eur(2900)}, online.Happened)
	w.shop.tell(c, event.OrderPaid{Order: "ORDER_001", Customer: c, Amount: eur(3000)}, online.Happened)
	r := connect(t, serve(t, w), "", w.token(door.Customer, c))
	for range w.shop.feeds[c] {
		kind, data, err := r.conn.Read(limit(t))
		if err != nil || kind != websocket.MessageText {
			t.Fatal(kind, err)
		}
		hear("GET /feed", data)
	}
	tried["GET /feed"] = true
	call("POST /order/{id}/cancel", "/order/ORDER_001/cancel", "")

	for _, rt := range w.door.Routes() {
		if rt.Gate == online.Gate && !tried[rt.Pattern] {
			t.Errorf("%s is not tried", rt.Pattern)
		}
	}
	for _, secret := range []string{"canary", "77001"} {
		if at := strings.Index(all, secret); at >= 0 {
			t.Errorf("a customer is told ...%s...", all[max(0, at-80):min(len(all), at+80)])
		}
	}
	heard.Compare(t)
}
