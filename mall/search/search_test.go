package search

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"example.org/souk/backbone"
	"example.org/souk/backbone/backbonetest"
	"example.org/souk/internal/testserver"
	"example.org/souk/mall"
	"example.org/souk/mall/event"
)

// The services whose events are shown; stand-ins say what they are told to say.
type (
	ofOrders    struct{}
	ofPayments  struct{}
	ofStores    struct{}
	ofCustomers struct{}
)

func (ofOrders) Name() string    { return "orders" }
func (ofPayments) Name() string  { return "payments" }
func (ofStores) Name() string    { return "stores" }
func (ofCustomers) Name() string { return "customers" }

// world is the view on a database, and a clock that stands still until it is turned.
type world struct {
	Clock   *backbonetest.Clock
	reader  *backbone.Reader
	say     func(t *testing.T, stream string, e backbone.Event) // publishes an event on a stream of its owner
	settle  func(t *testing.T)                                  // returns when the view shows what was said
	rebuild func(t *testing.T)                                  // makes the view again
}

// everywhere runs a test on each database: on SQLite as a service among others, and on PostgreSQL on the view's tables alone.
func everywhere(t *testing.T, test func(t *testing.T, w world)) {
	t.Helper()
	for database, start := range map[string]func(*testing.T) world{"SQLite": start, "PostgreSQL": onPostgres} {
		t.Run(database, func(t *testing.T) {
			t.Parallel()
			test(t, start(t))
		})
	}
}

func start(t *testing.T) world {
	t.Helper()
	w := backbonetest.Start(t, backbonetest.Config{Parts: []*backbone.Service{
		backbonetest.StandIn[ofOrders](event.All()...), backbonetest.StandIn[ofPayments](event.All()...),
		backbonetest.StandIn[ofStores](event.All()...), backbonetest.StandIn[ofCustomers](event.All()...), Service(),
	}})
	return world{
		Clock: w.Clock, reader: w.Reader("search"), settle: func(t *testing.T) { t.Helper(); w.Settle(t) },
		rebuild: func(t *testing.T) {
			t.Helper()
			if err := w.Runtime().Rebuild(t.Context(), "search", "orders", nil); err != nil {
				t.Fatal(err)
			}
		},
		say: func(t *testing.T, stream string, e backbone.Event) {
			t.Helper()
			switch owner := strings.Split(e.EventType(), ".")[1]; owner {
			case "orders":
				backbonetest.Say[ofOrders](t, w, stream, e)
			case "payments":
				backbonetest.Say[ofPayments](t, w, stream, e)
			case "stores":
				backbonetest.Say[ofStores](t, w, stream, e)
			case "customers":
				backbonetest.Say[ofCustomers](t, w, stream, e)
			default:
				t.Fatalf("%s says nothing here", owner)
			}
		},
	}
}

func onPostgres(t *testing.T) world {
	t.Helper()
	type said struct {
		at time.Time
		e  backbone.Event
	}
	var all []said
	b := backbonetest.Tables(t, "pgx", testserver.Postgres(t).Database(t), migrations)
	clock := &backbonetest.Clock{}
	clock.Set(backbonetest.Epoch)
	take := func(t *testing.T, s said) {
		t.Helper()
		if err := found.Apply(t.Context(), b.Tx(&backbone.Message{Meta: backbone.Meta{Time: s.at}}), s.e); err != nil {
			t.Fatalf("%+v: %v", s.e, err)
		}
	}
	return world{
		Clock: clock, reader: b.Reader(), settle: func(*testing.T) {},
		say: func(t *testing.T, _ string, e backbone.Event) {
			t.Helper()
			all = append(all, said{clock.Now(), e})
			take(t, all[len(all)-1])
		},
		rebuild: func(t *testing.T) {
			t.Helper()
			if err := b.Empty(t.Context(), found.Tables...); err != nil {
				t.Fatal(err)
			}
			for _, s := range all {
				take(t, s)
			}
		},
	}
}

func (w world) find(t *testing.T, q Query) []string {
	t.Helper()
	page, err := Find(t.Context(), w.reader, q)
	if err != nil {
		t.Fatalf("%+v: %v", q, err)
	}
	list := []string{}
	for _, o := range page.Orders {
		list = append(list, o.ID)
	}
	return list
}

// one returns the order of an id.
func (w world) one(t *testing.T, order string) Order {
	t.Helper()
	page, err := Find(t.Context(), w.reader, Query{Order: order})
	if err != nil || len(page.Orders) != 1 {
		t.Fatalf("order %s: %+v, %v", order, page, err)
	}
	return page.Orders[0]
}

func eur(amount int64) mall.Money { return mall.Money{Amount: amount, Currency: "EUR"} }

func placed(order, customer string, items ...mall.Item) event.OrderPlaced {
	total, err := mall.Total(items)
	if err != nil {
		panic(err)
	}
	return event.OrderPlaced{Order: order, Customer: customer, Items: items, Total: total, Expires: 1}
}

var (
	lamp  = mall.Item{Product: "lamp", SKU: "LAMP-01", Name: "Brass lamp", Price: eur(4900), Quantity: 1, Store: "souq", StoreName: "Souq Café"}
	tea   = mall.Item{Product: "tea", SKU: "TEA-01", Name: "Grüner Tee", Price: eur(500), Quantity: 2} // its shop is not said
	fresh = mall.Item{Product: "mint", SKU: "MINT-01", Name: "Fresh mint", Price: eur(300), Quantity: 1}
)

// B18: an order is found with its totals, times and the history of its status, and with what payments say of it.
func TestB18_AnOrderIsFoundWithWhatBecameOfIt(t *testing.T) {
	t.Parallel()
	everywhere(t, becameOfIt)
}

func becameOfIt(t *testing.T, w world) {
	t.Helper()
	w.say(t, "souq", event.StoreCreated{Store: "souq", Name: "Souq Café", Location: "main"})
	w.say(t, "garden", event.StoreCreated{Store: "garden", Name: "Garden", Location: "main"})
	w.say(t, "tea", event.ProductAdded{Product: "tea", Store: "garden", Location: "main", Name: "Grüner Tee", SKU: "TEA-01", Price: eur(500)})
	w.say(t, "ada", event.CustomerRegistered{Customer: "ada", Name: "sealed", Card: "CARD-1"})
	begin := w.Clock.Now()
	at := func(minutes int) time.Time { return begin.Add(time.Duration(minutes) * time.Minute) }
	for i, e := range []backbone.Event{
		placed("o1", "ada", lamp, tea),
		event.OrderBackordered{Order: "o1", Customer: "ada", SKU: "LAMP-01", Wanted: 1},
		event.OrderStockReserved{Order: "o1", Customer: "ada"},
		event.OrderApproved{Order: "o1", Customer: "ada", Total: eur(5900)},
		event.OrderPicking{Order: "o1", Customer: "ada"},
		event.OrderShort{Order: "o1", Customer: "ada"},
		event.OrderShort{Order: "o1", Customer: "ada"}, // of another stop
		event.OrderAmended{Order: "o1", Customer: "ada", Choice: mall.ShortSubstitute, Substitutes: []mall.Item{fresh}, Total: eur(5200)},
		event.OrderReadied{Order: "o1", Customer: "ada", Total: eur(5200)},
		event.OrderPaid{Order: "o1", Customer: "ada", Amount: eur(5200)},
		event.OrderCollected{Order: "o1", Customer: "ada"},
		event.OrderCompleted{Order: "o1", Customer: "ada", Total: eur(5200)},
	} {
		w.Clock.Set(at(i))
		w.say(t, "o1", e)
	}
	w.say(t, "garden", event.StoreRebranded{Store: "garden", Name: "Jardin"})
	// What payments say comes beside it.
	w.say(t, "o1", event.InvoiceCreated{Invoice: "o1", Order: "o1", Customer: "ada", Amount: eur(5900)})
	w.say(t, "o1", event.InvoiceAdjusted{Invoice: "o1", Order: "o1", Customer: "ada", Amount: eur(5200)})
	w.say(t, "o1", event.InvoicePaid{Invoice: "o1", Order: "o1", Customer: "ada", Amount: eur(5200)})
	w.say(t, "o1", event.InvoiceRefunded{Invoice: "o1", Order: "o1", Customer: "ada", Amount: eur(300)})
	w.say(t, "o1", event.InvoiceRefunded{Invoice: "o1", Order: "o1", Customer: "ada", Amount: eur(200)})
	w.settle(t)
	teaSold := tea
	teaSold.Store, teaSold.StoreName = "garden", "Jardin"
	want := Order{
		ID: "o1", Customer: "ada", Name: "sealed", Items: []mall.Item{lamp, teaSold}, Total: eur(5200), Status: Completed,
		History: []Step{
			{Pending, at(0)},
			{Backordered, at(1)},
			{Reserved, at(2)},
			{Approved, at(3)},
			{Picking, at(4)},
			{Short, at(5)},
			{Picking, at(7)},
			{Ready, at(8)},
			{Completed, at(11)},
		},
		Placed: at(0), Changed: at(11), Paid: at(9), Collected: at(10),
		Money: Money{Invoice: "paid", Invoiced: eur(5200), Refunded: eur(500)},
	}
	page, err := Find(t.Context(), w.reader, Query{Customer: "ada"})
	if err != nil || page.Next != "" || !reflect.DeepEqual(page.Orders, []Order{want}) {
		t.Errorf("%+v, %v\nwant %+v", page, err, want)
	}
	for what, q := range map[string]Query{
		"its shop, as the item says":         {Store: "souq"},
		"its shop, as the catalogue says":    {Store: "garden"},
		"a product":                          {Product: "tea"},
		"a SKU":                              {Product: "LAMP-01"},
		"what came instead":                  {Product: "MINT-01"},
		"words, without their accents":       {Text: "gruner LAM cafe"},
		"a word of what came instead":        {Text: "mint"},
		"its id":                             {Order: "o1"},
		"its id as a word":                   {Text: "O1"},
		"its customer's card":                {Card: "CARD-1"},
		"how it is paid, and that it is":     {Method: AtDepot, Paid: new(true)},
		"a total":                            {Currency: "EUR", Least: 5200, Most: 5200},
		"when it was placed, to the instant": {From: at(0), Until: at(0).Add(time.Microsecond)},
	} {
		if got := w.find(t, q); !slices.Equal(got, []string{"o1"}) {
			t.Errorf("by %s: %v", what, got)
		}
	}
	for what, q := range map[string]Query{
		"another shop": {Store: "souk"}, "another product": {Product: "lam"}, "the middle of a word": {Text: "ss"}, "a name": {Text: "sealed"},
		"a word more": {Text: "lamp green"}, "another card": {Card: "CARD-2"}, "not paid": {Paid: new(false)}, "prepaid": {Method: Prepaid},
		"less": {Most: 5199}, "more": {Least: 5201}, "too early": {Until: at(0)}, "too late": {From: at(0).Add(time.Microsecond)},
		"another currency": {Currency: "USD"}, "another status": {Statuses: []string{Ready, Canceled}}, "another basket": {Basket: "b1"},
		"the customer's id as a word": {Text: "ada"},
	} {
		if got := w.find(t, q); len(got) != 0 {
			t.Errorf("by %s: %v", what, got)
		}
	}
	w.say(t, "ada", event.CustomerForgotten{Customer: "ada"})
	w.settle(t)
	if got := w.find(t, Query{Card: "CARD-1"}); len(got) != 0 {
		t.Errorf("the orders of somebody forgotten are found by their card: %v", got)
	}
	if o := w.one(t, "o1"); o.Name != "" || o.Customer != "ada" {
		t.Errorf("an order of somebody forgotten: %+v", o)
	}
}

// A prepaid order's money is told right whatever comes first: its own events or those of payments.
func TestMoneyComesInAnyOrder(t *testing.T) {
	t.Parallel()
	everywhere(t, moneyInAnyOrder)
}

func moneyInAnyOrder(t *testing.T, w world) {
	t.Helper()
	order := placed("early", "ada", lamp)
	order.Payment, order.Basket = "PAY-1", "basket-1"
	say := map[string][]backbone.Event{
		"orders":   {order, event.OrderApproved{Order: "early", Customer: "ada", Total: eur(4900)}},
		"payments": {event.PaymentConfirmed{Payment: "PAY-1", Order: "early", Amount: eur(4900)}, event.PaymentCaptured{Payment: "PAY-1", Order: "early", Amount: eur(4900)}, event.InvoiceRefunded{Invoice: "early", Order: "early", Amount: eur(900), Payment: "PAY-1"}, event.PaymentRefunded{Payment: "PAY-1", Order: "early", Amount: eur(900)}},
	}
	w.say(t, "PAY-0", event.PaymentVoided{Payment: "PAY-0", Customer: "ada", Amount: eur(1)}) // no order had it
	for _, e := range say["payments"] {
		w.say(t, "PAY-1", e)
	}
	w.settle(t)
	if got := w.find(t, Query{}); len(got) != 0 {
		t.Errorf("before it was placed %v is found", got)
	}
	for _, e := range say["orders"] {
		w.say(t, "early", e)
	}
	w.settle(t)
	o := w.one(t, "early")
	want := Money{Payment: "captured", Captured: eur(4900), Refunded: eur(900)}
	if o.Money != want || o.Status != Approved || o.Total != eur(4900) {
		t.Errorf("%+v", o)
	}
	for _, q := range []Query{{Payment: "PAY-1"}, {Basket: "basket-1"}, {Method: Prepaid}} {
		if got := w.find(t, q); !slices.Equal(got, []string{"early"}) {
			t.Errorf("%+v: %v", q, got)
		}
	}
}

// shopping makes an order at random, and returns what is to be found of it.
func shopping(random *rand.Rand, n int) (event.OrderPlaced, []backbone.Event) {
	items := []mall.Item{lamp, tea, fresh}
	random.Shuffle(len(items), func(i, j int) { items[i], items[j] = items[j], items[i] })
	items = slices.Clone(items[:1+random.IntN(3)])
	for i := range items {
		items[i].Quantity = 1 + random.Int64N(3)
	}
	o := placed(fmt.Sprintf("order_%03d", n), fmt.Sprintf("c%d", random.IntN(4)), items...)
	if random.IntN(3) == 0 {
		o.Payment = fmt.Sprintf("pay-%d", n)
	}
	rest := []backbone.Event{
		event.OrderStockReserved{Order: o.Order, Customer: o.Customer},
		event.OrderApproved{Order: o.Order, Customer: o.Customer, Total: o.Total},
		event.OrderPaid{Order: o.Order, Customer: o.Customer, Amount: o.Total},
		event.OrderPicking{Order: o.Order, Customer: o.Customer},
		event.OrderReadied{Order: o.Order, Customer: o.Customer, Total: o.Total},
	}
	rest = rest[:random.IntN(len(rest)+1)]
	if random.IntN(4) == 0 {
		rest = append(rest, event.OrderCancelling{Order: o.Order, Customer: o.Customer, Reason: "other plans"})
	}
	return o, rest
}

// expected is what the model knows of an order.
type expected struct {
	event.OrderPlaced
	at     time.Time
	status string
	paid   bool
}

func (e *expected) fits(q *Query) bool {
	sells := func(store string) bool {
		return slices.ContainsFunc(e.Items, func(i mall.Item) bool {
			return i.Store == store || i.Store == "" && store == "garden" && (i.Product == "tea" || i.Product == "mint")
		})
	}
	has := func(word string) bool {
		text := strings.NewReplacer("_", " ", "ü", "u", "é", "e").Replace(strings.ToLower(e.Order))
		for _, i := range e.Items {
			text += " " + strings.NewReplacer("ü", "u", "é", "e").Replace(strings.ToLower(i.Name+" "+i.StoreName))
		}
		return slices.ContainsFunc(strings.Fields(text), func(w string) bool { return strings.HasPrefix(w, word) })
	}
	switch {
	case q.Customer != "" && q.Customer != e.Customer,
		len(q.Statuses) > 0 && !slices.Contains(q.Statuses, e.status),
		q.Store != "" && !sells(q.Store),
		q.Product != "" && !slices.ContainsFunc(e.Items, func(i mall.Item) bool { return i.Product == q.Product || i.SKU == q.Product }),
		q.Payment != "" && q.Payment != e.Payment,
		q.Method != "" && (q.Method == Prepaid) != (e.Payment != ""),
		q.Paid != nil && *q.Paid != e.paid,
		q.Least > e.Total.Amount, q.Most > 0 && q.Most < e.Total.Amount,
		!q.From.IsZero() && e.at.Before(q.From), !q.Until.IsZero() && !e.at.Before(q.Until):
		return false
	}
	for _, w := range strings.Fields(q.Text) {
		if !has(w) {
			return false
		}
	}
	return true
}

// B18: whatever is asked for, in pages of whatever size, is what a plain search of all orders finds; and the view made again from the
// logs is the same, row for row (B14, D6).
func TestB18_EveryFilterAndTheCursorAgainstAModel(t *testing.T) {
	t.Parallel()
	everywhere(t, againstAModel)
}

func againstAModel(t *testing.T, w world) {
	t.Helper()
	const seed = 18
	random := rand.New(rand.NewPCG(seed, seed))
	for _, p := range []mall.Item{tea, fresh} {
		w.say(t, p.Product, event.ProductAdded{Product: p.Product, Store: "garden", Location: "main", Name: p.Name, SKU: p.SKU, Price: p.Price})
	}
	begin := w.Clock.Now()
	var all []*expected
	takeIn := func() {
		o, rest := shopping(random, len(all))
		w.say(t, o.Order, o)
		x := &expected{o, w.Clock.Now(), Pending, false}
		for _, e := range rest {
			w.say(t, o.Order, e)
			switch e.(type) {
			case event.OrderStockReserved:
				x.status = Reserved
			case event.OrderApproved:
				x.status = Approved
			case event.OrderPaid:
				x.paid = true
			case event.OrderPicking:
				x.status = Picking
			case event.OrderReadied:
				x.status = Ready
			case event.OrderCancelling:
				x.status = Cancelling
			}
		}
		all = append(all, x)
		if random.IntN(3) > 0 { // otherwise the next one is placed at the same instant
			w.Clock.Advance(time.Duration(random.IntN(50)) * time.Second)
		}
	}
	for range 120 {
		takeIn()
	}
	w.settle(t)
	some := func(r *rapid.T, name string, values ...string) string {
		return rapid.SampledFrom(append([]string{""}, values...)).Draw(r, name)
	}
	rapid.Check(t, func(r *rapid.T) {
		q := Query{
			Customer: some(r, "customer", "c0", "c1", "c9"), Store: some(r, "store", "souq", "garden"),
			Product: some(r, "product", "lamp", "MINT-01", "none"), Text: some(r, "text", "order", "bras", "tee gruner", "order 01", "fresh cafe", "x"),
			Method: Method(some(r, "method", string(Prepaid), string(AtDepot))), Payment: some(r, "payment", "pay-7", "pay-8"),
			Least: rapid.SampledFrom([]int64{0, 0, 500, 5000}).Draw(r, "least"), Most: rapid.SampledFrom([]int64{0, 0, 9000, 20000}).Draw(r, "most"),
			Limit: rapid.IntRange(1, 40).Draw(r, "limit"),
		}
		if rapid.Bool().Draw(r, "by status") {
			q.Statuses = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{Pending, Reserved, Approved, Ready, Cancelling}), 1, 3, rapid.ID).Draw(r, "statuses")
		}
		if rapid.Bool().Draw(r, "by pay") {
			q.Paid = new(rapid.Bool().Draw(r, "paid"))
		}
		if rapid.Bool().Draw(r, "by time") {
			q.From = begin.Add(time.Duration(rapid.IntRange(0, 2400).Draw(r, "from")) * time.Second)
			q.Until = q.From.Add(time.Duration(rapid.IntRange(0, 2400).Draw(r, "for")) * time.Second)
		}
		var want []string
		for _, x := range all {
			if x.fits(&q) {
				want = append(want, x.Order)
			}
		}
		sortNewest(all, want)
		var got []string
		for range len(all) + 1 {
			page, err := Find(t.Context(), w.reader, q)
			if err != nil {
				r.Fatal(err)
			}
			for _, o := range page.Orders {
				got = append(got, o.ID)
			}
			if q.Cursor = page.Next; page.Next == "" {
				break
			}
			if len(page.Orders) != q.Limit {
				r.Fatalf("a page of %d orders where %d were asked for says that more follow", len(page.Orders), q.Limit)
			}
		}
		if !slices.Equal(got, want) {
			r.Fatalf("%+v\nfinds %v\nand should find %v", q, got, want)
		}
	})
	stable(t, w, &all, takeIn)
	rebuilt(t, w)
}

// sortNewest sorts ids as they are found: those placed last first, and of one instant the greatest id.
func sortNewest(all []*expected, ids []string) {
	at := map[string]time.Time{}
	for _, x := range all {
		at[x.Order] = x.at
	}
	slices.SortFunc(ids, func(a, b string) int {
		if c := at[b].Compare(at[a]); c != 0 {
			return c
		}
		return strings.Compare(b, a)
	})
}

// stable reads pages while orders come in and change: none that was there at first is left out or told twice.
func stable(t *testing.T, w world, all *[]*expected, takeIn func()) {
	t.Helper()
	w.Clock.Advance(time.Second)
	before := map[string]int{}
	for _, x := range *all {
		before[x.Order] = 0
	}
	q := Query{Limit: 7}
	for more := true; more; more = q.Cursor != "" {
		page, err := Find(t.Context(), w.reader, q)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Orders {
			before[o.ID]++
		}
		q.Cursor = page.Next
		takeIn()
		w.say(t, (*all)[3].Order, event.OrderExpired{Order: (*all)[3].Order, Customer: "c0"})
		w.settle(t)
	}
	for id, n := range before {
		if n != 1 {
			t.Errorf("%s was told %d times", id, n)
		}
	}
}

// rebuilt makes the view again and compares all that it keeps.
func rebuilt(t *testing.T, w world) {
	t.Helper()
	content := func() (list []string) {
		for table, columns := range map[string]int{"found": 19, "terms": 2, "goods": 3, "shops": 2, "people": 3} {
			rows, err := w.reader.Query(t.Context(), `SELECT * FROM {`+table+`}`)
			if err != nil {
				t.Fatal(err)
			}
			for rows.Next() {
				values, into := make([]any, columns), make([]any, columns)
				for i := range values {
					into[i] = &values[i]
				}
				if err := rows.Scan(into...); err != nil {
					t.Fatal(err)
				}
				list = append(list, fmt.Sprint(table, values))
			}
			if err := errors.Join(rows.Err(), rows.Close()); err != nil {
				t.Fatal(err)
			}
		}
		slices.Sort(list)
		return list
	}
	live := content()
	w.rebuild(t)
	if again := content(); !slices.Equal(live, again) {
		t.Errorf("the view has %d rows, and %d when it is made again; they differ", len(live), len(again))
	}
}

func TestWords(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"":                           nil,
		" - _ ":                      nil,
		"Brass lamp, BRASS":          {"brass", "lamp"},
		"Café Crème brûlée":          {"brulee", "cafe", "creme"},
		"Cafe\u0301":                 {"cafe"}, // the accent is a rune of its own
		"Straße Łódź Ærø":            {"aero", "lodz", "strasse"},
		"ORDER_001":                  {"001", "order"},
		"茶 чай":                      {"чай", "茶"},
		strings.Repeat("a", 40):      {strings.Repeat("a", 32)},
		"\xff\xfe broken \x00 bytes": {"broken", "bytes"},
	} {
		if got := words(text); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestQueriesThatMakeNoSense(t *testing.T) {
	t.Parallel()
	for field, q := range map[string]Query{
		"order":       {Order: "/"},
		"customer":    {Customer: "a b"},
		"card":        {Card: "'"},
		"store":       {Store: "ä"},
		"product":     {Product: strings.Repeat("x", 65)},
		"basket":      {Basket: "."},
		"payment":     {Payment: "%"},
		"statuses[1]": {Statuses: []string{Ready, "ready"}},
		"statuses":    {Statuses: slices.Repeat(statuses, 2)},
		"method":      {Method: "cash"},
		"currency":    {Currency: "eur"},
		"least":       {Least: -1},
		"most":        {Most: -1},
		"limit":       {Limit: -1},
		"text":        {Text: strings.Repeat("a ", 200)},
		"cursor":      {Cursor: "MTI"},
	} {
		_, err := Find(t.Context(), nil, q)
		if bad, ok := errors.AsType[*mall.FieldError](err); !ok || bad.Field != field {
			t.Errorf("%+v: %v, want an error of %s", q, err, field)
		}
	}
	for _, text := range []string{"...", "a b c d e f g h i"} {
		if err := (&Query{Text: text}).Check(); err == nil {
			t.Errorf("text %q is taken", text)
		}
	}
	for _, c := range []string{"=", "MC5v", cursor{1, "a b"}.String(), cursor{-1, "o"}.String()} {
		if _, err := cursorOf(c); err == nil {
			t.Errorf("cursor %q is taken", c)
		}
	}
}
