package market

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"example.org/souk/internal/testmall"
	"example.org/souk/mall/event"
)

// due is a payment-due message.
type due struct {
	Customer string `json:"customer_id"`
	Amount   int64
	Currency string
	Visit    string `json:"visit_id"`
	Unpriced []struct {
		Item     string `json:"item_id"`
		Quantity int64
	}
}

func dues(t *testing.T, list []string) (all []due) {
	t.Helper()
	for _, text := range list {
		var d due
		if err := json.Unmarshal([]byte(text), &d); err != nil {
			t.Fatal(err)
		}
		all = append(all, d)
	}
	return all
}

// charged waits until so many visits are charged, and returns the charges.
func (m *market) charged(n int) []event.VisitCharged {
	m.t.Helper()
	var list []event.VisitCharged
	await(m.t, fmt.Sprint(n, " charges are made"), func() bool {
		list = testmall.Events[event.VisitCharged](m.Mall, event.VisitChargedV1)
		return len(list) >= n
	})
	m.Idle()
	return testmall.Events[event.VisitCharged](m.Mall, event.VisitChargedV1)
}

// mail returns all mail that was sent.
func (m *market) mail() string {
	m.t.Helper()
	text, err := os.ReadFile(filepath.Join(m.DirOf("notifications"), "mail.mbox"))
	if err != nil && !os.IsNotExist(err) {
		m.t.Fatal(err)
	}
	return string(text)
}

// A3 and A5: a departure issues each product by its multiplicity, charges it once and says so once, though the bag is told of
// twice. What is not on hand is a discrepancy, an unknown product is flagged. Red where the copy is decided again, where a
// product counts once however often it is named, or where an unknown product is left out.
func TestA3A5_Departure(t *testing.T) {
	t.Parallel()
	m := open(t)
	gate, till := m.device("gate-1"), m.device("till-1")
	told := till.sub("mqttv5", "payment-due", "customer-departed")
	gate.mustPub("mqttv311", "customer-arrival", arrivalOf("CUSTOMER_001", 1))
	m.Idle()
	bag := departureOf("CUSTOMER_001", 1, "PRODUCT_001", "PRODUCT_002", "PRODUCT_001", "4006381333999", "PRODUCT_001")
	for _, protocol := range protocols {
		gate.mustPub(protocol, "customer-departed", bag)
		gate.mustPub(protocol, "customer-departed", bag)
	}
	await(t, "payment is due", func() bool { return len(heard(told, "payment-due")) == 1 })
	m.Idle()
	if a, b := m.onHand("PRODUCT_001"), m.onHand("PRODUCT_002"); a != 7 || b != 14 {
		t.Errorf("%d and %d on hand, want 7 and 14", a, b)
	}
	got := dues(t, heard(told, "payment-due"))
	if len(got) != 1 || got[0].Customer != "CUSTOMER_001" || got[0].Amount != 3500 || got[0].Currency != "EUR" ||
		len(got[0].Unpriced) != 1 || got[0].Unpriced[0].Item != "4006381333999" || got[0].Unpriced[0].Quantity != 1 {
		t.Errorf("due: %+v", got)
	}
	arrived := testmall.Events[event.CustomerArrived](m.Mall, event.CustomerArrivedV1)
	if len(arrived) != 1 || got[0].Visit != arrived[0].Visit {
		t.Errorf("the visit of the payment is %s, that of the arrival %+v", got[0].Visit, arrived)
	}
	if n := len(heard(told, "customer-departed")); n != 1 {
		t.Errorf("older systems were told %d times of the departure", n)
	}
	charged := m.charged(1)
	if len(charged) != 1 || charged[0].Amount.Amount != 3500 || charged[0].Visit != got[0].Visit {
		t.Errorf("charged: %+v", charged)
	}
	// What nobody knows is a discrepancy of the stock and, priced by a clerk, charged as well.
	if d := testmall.Events[event.StockDiscrepancy](m.Mall, event.StockDiscrepancyV1); len(d) != 1 || d[0].SKU != "4006381333999" || d[0].Quantity != 1 {
		t.Errorf("discrepancies: %+v", d)
	}
	m.Souk("visit", "price", got[0].Visit, "4006381333999", "2.50")
	if charged = m.charged(2); len(charged) != 2 || charged[1].Amount.Amount != 250 {
		t.Errorf("charged: %+v", charged)
	}
	if out, err := m.Try("visit", "price", got[0].Visit, "4006381333999", "2.50"); err == nil {
		t.Errorf("priced twice: %s", out)
	}
	await(t, "the receipts are sent", func() bool { return strings.Count(m.mail(), "Subject: Your receipt") == 2 })
	if mail := m.mail(); strings.Count(mail, "Subject: Your receipt: 35.00 EUR") != 1 {
		t.Errorf("the mails are\n%s", mail)
	}
}

// A3: of the last two pieces three are carried out, and more of another that somebody has ordered.
func TestA3_WhatIsNotOnHand(t *testing.T) {
	t.Parallel()
	m := open(t)
	gate := m.device("gate-out-1")
	m.Souk("order", "place", "--customer", "CUSTOMER_002", "--item", "PRODUCT_001=9")
	m.Idle()
	gate.mustPub("mqttv5", "souk/v1/main-hall/gate-out/gate-out-1/event/customer-departed", `{"specversion":"1.0","id":"e1","source":"/gate-out-1",
		"type":"customer-departed","time":"2026-05-01T12:00:00Z","data":{"customer_id":"CUSTOMER_001","items":[{"sku":"PRODUCT_001","qty":3},{"sku":"PRODUCT_002","qty":17}]}}`)
	m.Idle()
	if a, b := m.onHand("PRODUCT_001"), m.onHand("PRODUCT_002"); a != 9 || b != 0 {
		t.Errorf("%d and %d on hand, want 9, which are promised, and none", a, b)
	}
	d := testmall.Events[event.StockDiscrepancy](m.Mall, event.StockDiscrepancyV1)
	if len(d) != 2 || d[0].Quantity != 2 || d[1].Quantity != 2 {
		t.Errorf("discrepancies: %+v", d)
	}
	if got := testmall.Events[event.PaymentDue](m.Mall, event.PaymentDueV1); len(got) != 1 || got[0].Total.Amount != 3*1000+17*500 {
		t.Errorf("due: %+v", got)
	}
}

// A tag of one piece counts once however often the gate reads it.
func TestA3_TagsCountOnce(t *testing.T) {
	t.Parallel()
	m := open(t)
	gate := m.device("gate-1")
	gate.mustPub("mqttv311", "customer-departure",
		`{"timestamp":"2026-05-01T12:00:00Z","customer_id":"CUSTOMER_001","tags":["PRODUCT_001/1","PRODUCT_001/2","PRODUCT_001/1","PRODUCT_002/7","PRODUCT_001/2"]}`)
	m.Idle()
	if a, b := m.onHand("PRODUCT_001"), m.onHand("PRODUCT_002"); a != 8 || b != 14 {
		t.Errorf("%d and %d on hand, want 8 and 14", a, b)
	}
}

// A5: what is due is what it cost when it left, also where it is worked out later; and of what came in while the fast lane was
// stopped nothing is lost. Red where the price of now is taken.
func TestA5_ThePriceOfTheMoment(t *testing.T) {
	t.Parallel()
	m := open(t)
	gate := m.device("gate-1")
	resume := m.pause("fastlane")
	gate.mustPub("mqttv5", "customer-departed", departureOf("CUSTOMER_001", 1, "PRODUCT_001"))
	m.Souk("product", "price", "PRODUCT_001", "99.00")
	gate.mustPub("mqttv5", "customer-departed", departureOf("CUSTOMER_001", 2, "PRODUCT_001"))
	resume()
	m.Idle()
	got := testmall.Events[event.PaymentDue](m.Mall, event.PaymentDueV1)
	if len(got) != 2 || got[0].Total.Amount != 1000 || got[1].Total.Amount != 9900 || got[0].Lines[0].PriceVersion != 1 || got[1].Lines[0].PriceVersion != 2 {
		t.Errorf("due: %+v", got)
	}
}

// A3: with the mall killed again and again while bags leave, each bag that was acknowledged is issued, billed and charged once.
// Red where the issue of a visit is not remembered.
func TestA3_KilledBetween(t *testing.T) {
	t.Parallel()
	m := open(t)
	m.Souk("stock", "receive", "PRODUCT_001", "1000")
	gate := m.device("gate-1")
	const kills, bags = 3, 12
	taken := 0
	for k := range kills {
		for b := range bags {
			n := k*bags + b
			bag := departureOf(fmt.Sprintf("CUSTOMER_00%d", 1+n%2), n, "PRODUCT_001", "PRODUCT_001")
			gate.mustPub(protocols[n%2], "customer-departed", bag)
			taken++
			if b == bags-1 {
				m.Kill9("devices", "exitgate", "inventory", "fastlane", "payments")
				m.begin()
				gate.mustPub(protocols[n%2], "customer-departed", bag) // the gate cannot know, so it says it again
			}
		}
	}
	m.Idle()
	departed, issued := testmall.Events[event.CustomerDeparted](m.Mall, event.CustomerDepartedV1), testmall.Events[event.StockIssued](m.Mall, event.StockIssuedV1)
	due, charged := testmall.Events[event.PaymentDue](m.Mall, event.PaymentDueV1), m.charged(taken)
	if len(departed) != taken || len(issued) != taken || len(due) != taken || len(charged) != taken {
		t.Errorf("%d departures, %d issues, %d dues, %d charges; want %d of each", len(departed), len(issued), len(due), len(charged), taken)
	}
	if got := m.onHand("PRODUCT_001"); got != int64(1010-2*taken) {
		t.Errorf("%d on hand, want %d", got, 1010-2*taken)
	}
	visits := map[string]bool{}
	for _, d := range due {
		visits[d.Visit] = true
	}
	if len(visits) != taken {
		t.Errorf("dues of %d visits, want %d", len(visits), taken)
	}
	m.Stop()
	ledger, err := os.ReadFile(filepath.Join(m.DirOf("payments"), "payment-stand-in", "ledger.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	captures := slices.DeleteFunc(strings.Split(string(ledger), "\n"), func(line string) bool { return !strings.Contains(line, `"op":"capture"`) })
	if len(captures) != taken {
		t.Errorf("the provider captured %d times, want %d", len(captures), taken)
	}
}
