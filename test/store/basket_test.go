package store

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"example.org/souk/internal/testserver"
)

// till calls the baskets of a mall with curl, as somebody.
type till struct {
	t          *testing.T
	url, token string
	calls      int
}

// till opens one at a process of the mall.
func (m *mall) till(url, role, subject string) *till {
	m.t.Helper()
	return &till{t: m.t, url: url, token: strings.TrimSpace(m.souk("token", "--role", role, "--subject", subject))}
}

// call makes a call under a command id of its own, and returns the status and the answer.
func (c *till) call(method, fields string) (status string, answer map[string]any) {
	c.t.Helper()
	c.calls++
	return c.again(method, fmt.Sprintf(`{"commandId":"k%d",%s}`, c.calls, fields))
}

func (c *till) again(method, body string) (status string, answer map[string]any) {
	c.t.Helper()
	if method == "GetBasket" {
		body = "{" + body[strings.Index(body, ",")+1:]
	}
	out, err := exec.CommandContext(c.t.Context(), "curl", "-sS", "-w", "\n%{http_code}", c.url+"/souk.v1.BasketsService/"+method,
		"-H", "Authorization: Bearer "+c.token, "-H", "Content-Type: application/json", "-d", body).Output()
	if err != nil {
		c.t.Fatal(err)
	}
	text, status, _ := strings.Cut(string(out), "\n")
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		c.t.Fatalf("%s of %s: %v in %s", method, body, err, out)
	}
	return status, answer
}

// must makes a call that has to be answered with this.
func (c *till) must(status, method, fields string) map[string]any {
	c.t.Helper()
	got, answer := c.call(method, fields)
	if got != status {
		c.t.Fatalf("%s of %s: %s %v, want %s", method, fields, got, answer, status)
	}
	return answer
}

// B2, B10, B11: a basket by curl, from its start to its checkout, with a price that changes on the way, a customer who may not, and the
// mall killed in between. The events are these, and no others follow in the service. Red when a price change is not asked about, and
// when an answer is given before it is durable.
func TestB2B10B11_ABasketByCurl(t *testing.T) {
	t.Parallel()
	m := start(t, program(t), t.TempDir(), nil)
	m.seed()
	c := m.till(m.url, "customer", "CUSTOMER_001")
	other := m.till(m.url, "customer", "CUSTOMER_002")
	c.must("200", "StartBasket", `"basket":"B1","customer":"CUSTOMER_001"`)
	other.must("404", "AddItem", `"basket":"B1","product":"PRODUCT_001","quantity":1`)
	c.must("200", "AddItem", `"basket":"B1","product":"PRODUCT_001","quantity":3`)
	c.must("400", "AddItem", `"basket":"B1","product":"PRODUCT_001","quantity":0`)
	c.must("400", "AddItem", `"basket":"B1","product":"NOTHING","quantity":1`)
	c.must("200", "RemoveItem", `"basket":"B1","product":"PRODUCT_001","quantity":2`)
	c.must("200", "AddItem", `"basket":"B1","product":"PRODUCT_002","quantity":2`)

	m.souk("product", "price", "PRODUCT_001", "11.50")
	var basket string
	await(t, "the basket shows the price", func() bool {
		data, err := json.Marshal(c.must("200", "GetBasket", `"basket":"B1"`))
		basket = string(data)
		return err == nil && strings.Contains(basket, `"changed":{"price":{"amount":"1150","currency":"EUR"},"priceVersion":"2","product":"PRODUCT_001"}`)
	})
	for _, want := range []string{`"status":"BASKET_STATUS_OPEN"`, `"quantity":"1"`, `"total":{"amount":"2000","currency":"EUR"}`} {
		if !strings.Contains(basket, want) {
			t.Errorf("without %s: %s", want, basket)
		}
	}
	if refused := c.must("400", "CheckoutBasket", `"basket":"B1","order":"ORDER_1"`); !strings.Contains(fmt.Sprint(refused["message"]), "price_changed") {
		t.Errorf("%v", refused)
	}
	c.must("400", "AcceptPrices", `"basket":"B1","prices":[{"product":"PRODUCT_001","price":{"amount":"1000","currency":"EUR"}}]`)
	c.must("200", "AcceptPrices", `"basket":"B1","prices":[{"product":"PRODUCT_001","price":{"amount":"1150","currency":"EUR"},"priceVersion":"2"}]`)
	m.kill9()
	m.begin()
	c.url = m.url // another port in a mall of one process
	out := c.must("200", "CheckoutBasket", `"basket":"B1","order":"ORDER_1","whenShort":"WHEN_SHORT_REST"`)
	last := fmt.Sprintf(`{"commandId":"k%d","basket":"B1","order":"ORDER_1","whenShort":"WHEN_SHORT_REST"}`, c.calls)
	m.souk("product", "price", "PRODUCT_001", "20")
	m.idle()
	status, repeated := c.again("CheckoutBasket", last)
	if status != "200" || fmt.Sprint(repeated["answer"].(map[string]any)["events"]) != fmt.Sprint(out["answer"].(map[string]any)["events"]) {
		t.Errorf("again: %s %v, first %v", status, repeated, out)
	}
	var got []string
	for _, row := range rows(t, m.binary, m.dir, "event", "replay", "basket/B1") {
		got = append(got, strings.Split(fmt.Sprint(row["type"]), ".")[2])
	}
	if want := "BasketStarted ItemAdded ItemRemoved ItemAdded PricesAccepted BasketCheckedOut"; strings.Join(got, " ") != want {
		t.Errorf("events %v, want %s", got, want)
	}
	event := rows(t, m.binary, m.dir, "event", "tail", "--stream", "basket/B1", "-n", "1")[0]
	data, err := json.Marshal(event["data"])
	if err != nil || !strings.Contains(string(data), `"total":{"amount":2150,"currency":"EUR"}`) || event["actor"] != "customer:CUSTOMER_001" {
		t.Errorf("%s by %v: %v", data, event["actor"], err)
	}
	m.holdsRebuilt()
}

// A basket that nobody checks out ends by itself, after the time that the shop says, and is gone for whoever comes later. What an
// operator does to one is shown.
func TestBasketsByTheCommandLine(t *testing.T) {
	t.Parallel()
	binary, dir := program(t), t.TempDir()
	m := start(t, binary, dir, nil, "--basket-hold", "2s")
	m.seed()
	m.souk("basket", "start", "--customer", "CUSTOMER_001", "--basket", "B1")
	await(t, "the basket ends", func() bool { return rows(t, binary, dir, "basket", "show", "B1")[0]["status"] == "canceled" })
	refused(t, binary, dir, 1, "not_open", "basket", "add", "B1", "PRODUCT_001=1")
	m.stop()

	m.flags[1] = "1h"
	m.begin()
	started := rows(t, binary, dir, "basket", "start", "--customer", "CUSTOMER_002")[0]
	id := fmt.Sprint(started["basket"])
	got := rows(t, binary, dir, "basket", "add", id, "PRODUCT_001=2", "Product 2=3")
	if len(got) != 2 || got[0]["quantity"] != 2.0 || got[1]["product"] != "PRODUCT_002" || fmt.Sprint(got[0]["total"]) != "map[amount:3500 currency:EUR]" {
		t.Errorf("added: %v", got)
	}
	m.souk("product", "price", "PRODUCT_002", "4")
	m.idle()
	if got := rows(t, binary, dir, "basket", "show", id); fmt.Sprint(got[1]["now"]) != "map[amount:400 currency:EUR]" || got[0]["now"] != nil {
		t.Errorf("shown: %v", got)
	}
	refused(t, binary, dir, 1, "price_changed", "basket", "checkout", id)
	refused(t, binary, dir, 1, "price_changed", "basket", "accept", id, "PRODUCT_002=5")
	refused(t, binary, dir, 2, "PRODUCT=PRICE", "basket", "accept", id, "PRODUCT_002")
	refused(t, binary, dir, 1, "too_few", "basket", "remove", id, "PRODUCT_001=3")
	refused(t, binary, dir, 1, "customer_refused", "basket", "start", "--customer", "NOBODY")
	m.souk("basket", "accept", id, "PRODUCT_002=4")
	m.souk("basket", "remove", id, "PRODUCT_001=1")
	before := rows(t, binary, dir, "basket", "show", id)[0]["until"]
	if after := rows(t, binary, dir, "basket", "extend", id)[0]["until"]; fmt.Sprint(after) <= fmt.Sprint(before) {
		t.Errorf("extended from %v to %v", before, after)
	}
	if got := rows(t, binary, dir, "basket", "checkout", id, "--when-short", "cancel"); got[0]["status"] != "checked_out" || got[0]["order"] != id {
		t.Errorf("checked out: %v", got)
	}
	refused(t, binary, dir, 1, "not_open", "basket", "cancel", id)
	m.holds()
}

// B11: a process that runs baskets without customers asks the process that runs them about whoever it has not heard of, and refuses
// nobody whom it cannot ask about; whom it knows it lets in by itself. Red when baskets refuses before it asks.
func TestB11_CustomersOfOtherProcesses(t *testing.T) {
	t.Parallel()
	db := testserver.PostgresOwn(t, "max_connections=200").Database(t)
	m := split(t, program(t), t.TempDir(), db, []string{"online stores customers inventory keys", "baskets"})
	m.seed()
	c := m.till(m.of("baskets").url, "staff", "anna")
	c.must("200", "StartBasket", `"basket":"B1","customer":"CUSTOMER_001"`)

	conn, err := pgx.Connect(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	hear := func() {
		t.Helper()
		await(t, "baskets has heard of the customers", func() bool {
			var n int
			err := conn.QueryRow(t.Context(), `SELECT COUNT(*) FROM baskets.customers`).Scan(&n)
			return err == nil && n == 3
		})
	}
	hear()
	if _, err := conn.Exec(t.Context(), `DELETE FROM baskets.customers WHERE customer <> 'CUSTOMER_001'`); err != nil {
		t.Fatal(err)
	}
	c.must("200", "StartBasket", `"basket":"B2","customer":"CUSTOMER_002"`)
	c.must("400", "StartBasket", `"basket":"B3","customer":"NOBODY"`)
	m.of("customers").proc.Kill9()
	await(t, "nobody can be asked", func() bool {
		status, _ := c.call("StartBasket", `"basket":"B4","customer":"NOBODY"`)
		return status == "503"
	})
	c.must("503", "StartBasket", `"basket":"B5","customer":"CUSTOMER_002"`)
	c.must("200", "StartBasket", `"basket":"B6","customer":"CUSTOMER_001"`)
	m.beginWhatEnded()
	await(t, "they can be asked again", func() bool {
		status, _ := c.call("StartBasket", `"basket":"B5","customer":"CUSTOMER_002"`)
		return status == "200"
	})
	m.souk("view", "rebuild", "baskets", "known")
	hear()
}
