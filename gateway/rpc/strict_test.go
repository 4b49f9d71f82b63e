package rpc

import (
	"strings"
	"testing"

	"example.org/souk/mall/event"

	soukv1 "example.org/souk/api/gen/souk/v1"
)

// What nobody knows in the JSON that somebody writes is refused and never passed over: a mistyped filter would find everything, a mistyped count
// would be 0. Red with the codec that the library brings.
func TestJSONIsReadStrictly(t *testing.T) {
	t.Parallel()
	b := begin(t)
	for _, c := range []struct{ method, body, names string }{
		{"SearchService/FindOrders", `{"custmer":"bruno"}`, "custmer"},
		{"SearchService/FindOrders", `{"statuses":["READY"]}`, "statuses"},
		{"InventoryService/CountStock", `{"commandId":"c1","sku":"LAMP","count":"38","reason":"counted"}`, "count"},
		{"InventoryService/CountStock", ``, "nothing was sent"},
		{"InventoryService/CountStock", `{"` + strings.Repeat("y", 50_000) + `":1}`, "unknown field"},
	} {
		for _, contentType := range []string{"application/json", "application/json; charset=utf-8"} {
			status, data := b.post("staff:mona", c.method, contentType, []byte(c.body))
			if len(data) > 400 {
				t.Errorf("%s %.40s…: the answer has %d bytes", c.method, c.body, len(data))
			}
			if status != 400 || !strings.Contains(string(data), `"invalid_argument"`) || !strings.Contains(string(data), c.names) {
				t.Errorf("%s %s as %s: %d %s", c.method, c.body, contentType, status, data)
			}
		}
	}
	list, err := b.log("engineer:eve", &soukv1.ReadLogRequest{Service: "inventory", Types: []string{event.StockAdjustedV1}})
	if err != nil || len(list) > 0 {
		t.Errorf("something was counted: %v, %v", list, err)
	}
	if status, data := b.post("staff:mona", "InventoryService/GetLevel", "application/json", []byte(`{"sku":"LAMP"}`)); status != 200 {
		t.Errorf("what is known: %d %s", status, data)
	}
}
