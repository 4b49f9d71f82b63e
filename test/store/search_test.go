package store

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// foundOrder is an order as SearchService writes it in JSON.
type foundOrder struct {
	Order, Customer, Name, Status string
	Total                         struct{ Amount, Currency string }
	Placed, Changed               time.Time
	Items                         []struct {
		Item             struct{ Name, Quantity string }
		Store, StoreName string
	}
	History []struct {
		Status string
		Since  time.Time
	}
}

// find asks SearchService over HTTP.
func (m *mall) find(bearer, request string) (list []foundOrder, next string) {
	m.t.Helper()
	status, answer := m.call("POST", "/souk.v1.SearchService/FindOrders", request, "Authorization", bearer, "Content-Type", "application/json")
	var found struct {
		Orders     []foundOrder
		NextCursor string
	}
	if err := json.Unmarshal([]byte(answer), &found); err != nil || status != 200 {
		m.t.Fatalf("find %s: %d %s %v", request, status, answer, err)
	}
	return found.Orders, found.NextCursor
}

// B18: an order that was accepted is found within 2 s, and each change of it within 2 s, with its total, its times and the history of its status, by a program
// with a bearer token and from the command line; and no name stands in what is found. Red when the view leaves an event out.
func TestB18_AnOrderIsFoundWithinTwoSeconds(t *testing.T) {
	t.Parallel()
	binary := program(t)
	m := start(t, binary, t.TempDir(), nil)
	m.seed()
	bearer := m.token(binary, "staff")
	m.must(202, "POST", "/order", order("FIND_1", "CUSTOMER_001", item{"PRODUCT_001", 10, 3}, item{"PRODUCT_002", 5, 2}))
	accepted := time.Now()
	var found []foundOrder
	await(t, "FIND_1 is found", func() bool {
		found, _ = m.find(bearer, `{"text":"find"}`)
		return len(found) == 1
	})
	if took := time.Since(accepted); took > 2*time.Second {
		t.Errorf("it was found after %v", took)
	}
	await(t, "FIND_1 is found as approved", func() bool {
		found, _ = m.find(bearer, `{"text":"find"}`)
		return len(found) == 1 && found[0].Status == "ORDER_STATUS_APPROVED"
	})
	if took := time.Since(found[0].Changed); took > 2*time.Second {
		t.Errorf("it was found as approved %v after it was", took)
	}
	f := found[0]
	var statuses []string
	for i, s := range f.History {
		statuses = append(statuses, strings.TrimPrefix(s.Status, "ORDER_STATUS_"))
		if s.Since.Before(accepted.Add(-time.Minute)) || i > 0 && s.Since.Before(f.History[i-1].Since) {
			t.Errorf("the history has no times that can be: %+v", f.History)
		}
	}
	if f.Order != "FIND_1" || f.Customer != "CUSTOMER_001" || f.Total.Amount != "4000" || f.Total.Currency != "EUR" || len(f.Items) != 2 ||
		!slices.Equal(statuses, []string{"PENDING", "RESERVED", "APPROVED"}) || !f.Placed.Equal(f.History[0].Since) || !f.Changed.Equal(f.History[2].Since) {
		t.Errorf("found %+v", f)
	}
	if f.Items[0].Store == "" || f.Items[0].StoreName == "" || !strings.HasPrefix(f.Name, "sealed:") {
		t.Errorf("neither shop nor sealed name: %+v", f)
	}
	for words, want := range map[string]int{
		"find --customer CUSTOMER_001 --status approved": 1, "--product PRODUCT_002 --least 4000 --most 4000": 1, "find --customer CUSTOMER_002": 0,
		"--method prepaid": 0, "--from 2999-01-01T00:00:00Z": 0, "--store " + f.Items[0].Store: 1,
	} {
		var rows []struct{ Order, Status string }
		if err := json.Unmarshal([]byte(m.souk(append([]string{"-o", "json", "order", "search"}, strings.Fields(words)...)...)), &rows); err != nil || len(rows) != want {
			t.Errorf("souk order search %s: %+v, %v", words, rows, err)
		}
	}
}

// B7: every subscriber sees every event: 1,000 orders are 1,000 rows of search, read in pages that neither repeat nor leave out one,
// and 1,000 letters in the mail server, each under a Message-ID of its own (B17). Red when a subscription skips a message.
func TestB7_AThousandOrders(t *testing.T) {
	t.Parallel()
	binary := program(t)
	out := startOutside(t, binary)
	m := startWith(t, out, binary, t.TempDir(), nil)
	m.seed()
	m.souk("stock", "receive", "PRODUCT_002", "2000")
	bearer := m.token(binary, "staff")
	const number = 1000
	next := make(chan int)
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for n := range next {
				if status, answer := m.call("POST", "/order", order("B7_"+strconv.Itoa(n), "CUSTOMER_001", item{"PRODUCT_002", 5, 1})); status != 202 {
					t.Errorf("order %d: %d %s", n, status, answer)
				}
			}
		})
	}
	for n := range number {
		next <- n
	}
	close(next)
	clients.Wait()
	m.settle()
	seen := map[string]bool{}
	for cursor, pages := "", 0; pages == 0 || cursor != ""; pages++ {
		var list []foundOrder
		list, cursor = m.find(bearer, fmt.Sprintf(`{"limit":300,"text":"b7","statuses":["ORDER_STATUS_APPROVED"],"cursor":%q}`, cursor))
		for _, f := range list {
			if seen[f.Order] {
				t.Errorf("%s is told twice", f.Order)
			}
			seen[f.Order] = true
		}
	}
	copies := out.letters(t).Copies
	if len(seen) != number || len(copies) != number {
		t.Errorf("%d orders, %d rows of search, %d letters", number, len(seen), len(copies))
	}
	for id, n := range copies {
		if n != 1 {
			t.Errorf("letter %s came %d times", id, n)
		}
	}
}
