package analytics

import (
	"cmp"
	"context"
	"fmt"
	"maps"
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

// content returns all rows, sorted.
func content(ctx context.Context, r *backbone.Reader) ([]string, error) {
	var list []string
	for table, columns := range map[string]int{"trades": 12, "lines": 10, "moves": 6, "started": 6, "goods": 2} {
		rows, err := r.Query(ctx, `SELECT * FROM {`+table+`}`)
		if err != nil {
			return nil, err
		}
		found, err := collect(rows, table, func(line *string, scan func(...any) error) error {
			values, into := make([]any, columns), make([]any, columns)
			for i := range values {
				into[i] = &values[i]
			}
			err := scan(into...)
			*line = fmt.Sprint(table, values)
			return err
		})
		if err != nil {
			return nil, err
		}
		list = append(list, found...)
	}
	slices.Sort(list)
	return list, nil
}

// project does with an event what the view does; that the view does it is tested in TestD6_TradeRebuilt.
func project(ctx context.Context, tx backbone.ViewTx, e backbone.Event) error {
	switch e := e.(type) {
	case event.OrderPlaced:
		return place(ctx, tx, e)
	case event.OrderAmended:
		return amend(ctx, tx, e)
	case event.OrderApproved:
		return mark(ctx, tx, ofOrder, e.Order, "approved")
	case event.OrderReadied:
		return mark(ctx, tx, ofOrder, e.Order, "readied")
	case event.OrderPaid:
		return mark(ctx, tx, ofOrder, e.Order, "paid")
	case event.OrderCompleted:
		return mark(ctx, tx, ofOrder, e.Order, "completed")
	case event.OrderRejected:
		return mark(ctx, tx, ofOrder, e.Order, "rejected")
	case event.OrderCancelling:
		return mark(ctx, tx, ofOrder, e.Order, "canceled")
	case event.OrderExpired:
		return mark(ctx, tx, ofOrder, e.Order, "expired")
	case event.BasketStarted:
		return start(ctx, tx, e)
	case event.BasketCheckedOut:
		return checkOut(ctx, tx, e)
	case event.BasketCanceled:
		return giveUp(ctx, tx, e)
	case event.CustomerDeparted:
		return depart(ctx, tx, e)
	case event.PaymentDue:
		return bill(ctx, tx, e)
	case event.ItemPriced:
		return price(ctx, tx, e)
	case event.PaymentCaptured:
		return capture(ctx, tx, e)
	case event.PaymentRefunded:
		return refund(ctx, tx, e)
	case event.InvoicePaid:
		return payInvoice(ctx, tx, e)
	case event.InvoiceRefunded:
		return refundInvoice(ctx, tx, e)
	case event.VisitCharged:
		return charge(ctx, tx, e)
	case event.VisitChargeFailed:
		return failCharge(ctx, tx, e)
	case event.ProductAdded:
		return stock(ctx, tx, e)
	}
	return fmt.Errorf("the view takes no %T", e)
}

// said is an event of a stream and when it happened.
type said struct {
	stream, id string
	at         time.Time
	e          backbone.Event
}

// day is what happened, stream by stream, and what has to be counted of it, reckoned along the way without a table.
type day struct {
	number  int
	begin   time.Time
	streams map[string][]said
	names   []string // of the streams, as they began

	sales  map[Figure]*Figure // by what is told apart; see cell
	counts map[Path][]Step
	took   map[string][]time.Duration
}

// cell returns the figure of one hour, shop or product.
func (d *day) cell(f Figure) *Figure {
	if d.sales[f] == nil {
		cell := f
		cell.Sold, cell.WalkInSold, cell.Refunded = eur(0), eur(0), eur(0)
		d.sales[f] = &cell
	}
	return d.sales[f]
}

func (d *day) say(stream string, at time.Time, e backbone.Event) {
	if d.streams[stream] == nil {
		d.names = append(d.names, stream)
	}
	d.streams[stream] = append(d.streams[stream], said{stream, fmt.Sprintf("%s#%d", stream, len(d.streams[stream])), at, e})
}

// all returns what happened in the order in which it did.
func (d *day) all() (list []said) {
	for _, name := range d.names {
		list = append(list, d.streams[name]...)
	}
	slices.SortStableFunc(list, func(a, b said) int { return a.at.Compare(b.at) })
	return list
}

// goods are what is sold. That of shop "cafe" is never said who sells it: the catalogue knows.
var goods = []mall.Item{
	{Product: "lamp", SKU: "LAMP", Price: eur(4999), Store: "souq"},
	{Product: "tea", SKU: "TEA", Price: eur(333), Store: "souq"},
	{Product: "cake", SKU: "CAKE", Price: eur(250)},
	{Product: "gift", SKU: "GIFT", Price: eur(0), Store: "souq"},
}

func shopOf(i mall.Item) string { return cmp.Or(i.Store, "cafe") }

// count adds to the figures what a trade has sold, and what is given back of it.
func (d *day) count(at time.Time, walkIn bool, items []mall.Item, back int64) {
	amounts := map[[2]string]int64{}
	units := map[[2]string]int64{}
	total := int64(0)
	for _, i := range items {
		key := [2]string{shopOf(i), i.SKU}
		units[key] += i.Quantity
		amounts[key] += i.Quantity * i.Price.Amount
		total += i.Quantity * i.Price.Amount
	}
	seen := map[Figure]bool{}
	upTo, given := map[Figure]int64{}, map[Figure]int64{}
	add := func(cell Figure, units, amount int64) {
		f := d.cell(cell)
		f.Units += units
		f.Sold.Amount += amount
		if walkIn {
			f.WalkInUnits += units
			f.WalkInSold.Amount += amount
		}
		if !seen[cell] && walkIn {
			f.WalkIns++
		} else if !seen[cell] {
			f.Orders++
		}
		seen[cell] = true
		upTo[cell] += amount
	}
	for key, n := range units {
		if n > 0 {
			add(Figure{Hour: at.Truncate(time.Hour)}, n, amounts[key])
			add(Figure{Shop: key[0]}, n, amounts[key])
			add(Figure{Shop: key[0], SKU: key[1]}, n, amounts[key])
		}
	}
	if back == 0 {
		return
	}
	// By hour it is the whole; by shop and product it is divided by what they cost, to the last cent.
	d.cell(Figure{Hour: at.Truncate(time.Hour)}).Refunded.Amount += back
	for _, bySKU := range []bool{false, true} {
		var cells []Figure
		for cell := range seen {
			if cell.Hour.IsZero() && (cell.SKU != "") == bySKU {
				cells = append(cells, cell)
			}
		}
		slices.SortFunc(cells, func(a, b Figure) int { return cmp.Or(cmp.Compare(a.Shop, b.Shop), cmp.Compare(a.SKU, b.SKU)) })
		sum, before := int64(0), int64(0)
		for _, cell := range cells {
			sum += upTo[cell]
			given[cell] = back*sum/total - before
			before = back * sum / total
			d.cell(cell).Refunded.Amount += given[cell]
		}
	}
}

// came notes how far somebody came on a path, and what became of them.
func (d *day) came(path Path, step int, fate func(*Step) *int64) {
	steps := d.counts[path]
	for i := range step + 1 {
		steps[i].Reached++
	}
	if fate != nil {
		*fate(&steps[step])++
	}
}

// draw draws a number from 0 to most.
func draw(t *rapid.T, what string, most int) int { return rapid.IntRange(0, most).Draw(t, what) }

// once is true about once in so many times.
func once(t *rapid.T, what string, in int) bool { return draw(t, what, in-1) == 0 }

var firstDay = time.Date(2026, 5, 1, 8, 0, 0, 0, time.UTC)

// days draws a day with orders, baskets and visits. That of another number is another time, with other ids.
func days(number int) *rapid.Generator[*day] {
	return rapid.Custom(func(t *rapid.T) *day {
		d := &day{
			number: number, begin: firstDay.AddDate(0, number, 0), streams: map[string][]said{}, sales: map[Figure]*Figure{},
			counts: map[Path][]Step{}, took: map[string][]time.Duration{},
		}
		for _, p := range paths {
			for _, s := range p.steps {
				d.counts[p.path] = append(d.counts[p.path], Step{Path: p.path, Step: s})
			}
		}
		for _, g := range goods {
			d.say("product "+g.Product, d.begin, event.ProductAdded{Product: g.Product, Store: shopOf(g), SKU: g.SKU, Price: g.Price})
		}
		for n := range 2 + draw(t, "orders", 4) {
			d.order(t, n)
		}
		for n := range draw(t, "visits", 3) {
			d.visit(t, n)
		}
		return d
	})
}

func items(t *rapid.T) (list []mall.Item) {
	for range 1 + draw(t, "items", 2) {
		i := goods[draw(t, "goods", len(goods)-1)]
		i.Quantity = int64(1 + draw(t, "quantity", 3))
		list = append(list, i)
	}
	return list
}

// later returns an instant after the last one.
func later(t *rapid.T, at *time.Time) time.Time {
	*at = at.Add(time.Duration(1+draw(t, "seconds", 3000)) * time.Second)
	return *at
}

func (d *day) order(t *rapid.T, n int) {
	id := fmt.Sprintf("o%d-%d", d.number, n)
	at := d.begin.Add(time.Duration(draw(t, "at", 20000)) * time.Second)
	list, path, first := items(t), Direct, 0
	basket := ""
	if once(t, "basket", 2) {
		path, first, basket = FromBasket, 2, fmt.Sprintf("b%d-%d", d.number, n)
		d.say(basket, later(t, &at), event.BasketStarted{Basket: basket})
		switch draw(t, "basket ends", 5) {
		case 0:
			d.came(path, 0, func(s *Step) *int64 { return &s.Waiting })
			return
		case 1:
			d.say(basket, later(t, &at), event.BasketCanceled{Basket: basket, Reason: "other plans"})
			d.came(path, 0, func(s *Step) *int64 { return &s.Canceled })
			return
		case 2:
			d.say(basket, later(t, &at), event.BasketCanceled{Basket: basket, Reason: mall.ReasonBasketExpired})
			d.came(path, 0, func(s *Step) *int64 { return &s.Expired })
			return
		}
		d.say(basket, later(t, &at), event.BasketCheckedOut{Basket: basket, Order: id})
	}
	placed := later(t, &at)
	total, err := mall.Total(list)
	if err != nil {
		t.Fatal(err)
	}
	d.say(id, placed, event.OrderPlaced{Order: id, Basket: basket, Items: list, Total: total})
	o := &running{day: d, id: id, at: &at, placed: placed, items: list, total: total, prepaid: once(t, "prepaid", 3)}
	step, fate := o.run(t)
	d.came(path, first+step, fate)
}

// running is an order on its way.
type running struct {
	*day
	id      string
	at      *time.Time
	placed  time.Time
	items   []mall.Item // that are left of it
	instead []mall.Item // came for what is not
	total   mall.Money
	prepaid bool
	taken   int64
	back    int64
}

func (o *running) next(t *rapid.T, e backbone.Event) time.Time {
	at := later(t, o.at)
	o.say(o.id, at, e)
	return at
}

// run takes the order as far as it comes, and returns how far that is.
func (o *running) run(t *rapid.T) (step int, fate func(*Step) *int64) {
	waiting := func(s *Step) *int64 { return &s.Waiting }
	rejected := func(s *Step) *int64 { return &s.Rejected }
	canceled := func(s *Step) *int64 { return &s.Canceled }
	expired := func(s *Step) *int64 { return &s.Expired }
	switch draw(t, "approval", 6) {
	case 0:
		return 0, waiting
	case 1:
		o.next(t, event.OrderRejected{Order: o.id})
		return 0, rejected
	case 2:
		o.next(t, event.OrderExpired{Order: o.id})
		return 0, expired
	}
	approved := o.next(t, event.OrderApproved{Order: o.id, Total: o.total})
	paid := !o.prepaid && once(t, "pays at once", 2)
	if paid {
		o.pay(t)
	}
	for range draw(t, "short", 2) {
		o.short(t)
	}
	if once(t, "still picking", 8) {
		o.count(o.placed, false, slices.Concat(o.items, o.instead), o.extra())
		return 1, waiting
	}
	ready := o.next(t, event.OrderReadied{Order: o.id, Total: o.total})
	o.took[StepPlaced] = append(o.took[StepPlaced], ready.Sub(o.placed))
	o.took[StepApproved] = append(o.took[StepApproved], ready.Sub(approved))
	if step = 2; paid {
		step = 3
	}
	switch draw(t, "what then", 6) {
	case 0:
		o.undo(t, event.OrderCancelling{Order: o.id})
		return step, canceled
	case 1:
		o.undo(t, event.OrderExpired{Order: o.id})
		return step, expired
	case 2:
		if !paid {
			o.count(o.placed, false, slices.Concat(o.items, o.instead), 0)
			return 2, waiting
		}
	}
	if !paid {
		o.pay(t)
	}
	if over := o.taken - o.back - o.total.Amount; over > 0 {
		o.giveBack(t, over)
	}
	step, fate = 3, waiting
	if !once(t, "not collected yet", 3) {
		o.next(t, event.OrderCompleted{Order: o.id, Total: o.total})
		step, fate = 4, nil
	}
	if o.total.Amount > 0 && once(t, "refund", 2) {
		o.giveBack(t, 1+int64(draw(t, "amount", int(o.total.Amount-1))))
	}
	o.count(o.placed, false, slices.Concat(o.items, o.instead), o.extra())
	return step, fate
}

// extra is what was given back of what is still sold.
func (o *running) extra() int64 {
	return max(0, min(o.total.Amount, o.back-max(0, o.taken-o.total.Amount)))
}

func (o *running) pay(t *rapid.T) {
	o.taken = o.total.Amount
	at := later(t, o.at)
	if o.prepaid {
		// What an invoice says of a payment is not said of other money; so it is with what is given back.
		o.say("invoice "+o.id, at, event.InvoicePaid{Invoice: o.id, Order: o.id, Payment: "p-" + o.id, Amount: o.total})
		o.say("pay "+o.id, at, event.PaymentCaptured{Payment: "p-" + o.id, Order: o.id, Amount: o.total})
	} else {
		o.say("invoice "+o.id, at, event.InvoicePaid{Invoice: o.id, Order: o.id, Amount: o.total})
	}
	o.next(t, event.OrderPaid{Order: o.id, Amount: o.total})
}

func (o *running) giveBack(t *rapid.T, amount int64) {
	o.back += amount
	at := later(t, o.at)
	if o.prepaid {
		o.say("invoice "+o.id, at, event.InvoiceRefunded{Invoice: o.id, Order: o.id, Payment: "p-" + o.id, Amount: eur(amount)})
		o.say("pay "+o.id, at, event.PaymentRefunded{Payment: "p-" + o.id, Order: o.id, Amount: eur(amount)})
		return
	}
	o.say("invoice "+o.id, at, event.InvoiceRefunded{Invoice: o.id, Order: o.id, Amount: eur(amount)})
}

// undo ends the order: all of its money is given back, and it counts nowhere.
func (o *running) undo(t *rapid.T, e backbone.Event) {
	o.next(t, e)
	if left := o.taken - o.back; left > 0 {
		o.giveBack(t, left)
	}
}

// short has something of the order missing; what is left of it is reckoned as the orders themselves do.
func (o *running) short(t *rapid.T) {
	if len(o.items) == 0 {
		return
	}
	i := o.items[draw(t, "missing", len(o.items)-1)]
	missing := []mall.Line{{SKU: i.SKU, Quantity: int64(1 + draw(t, "pieces", int(i.Quantity)-1))}}
	var instead []mall.Item
	if once(t, "substitute", 2) {
		instead = []mall.Item{{Product: "gift", SKU: "GIFT", Price: eur(0), Quantity: 1, Store: "souq"}}
	}
	o.items, o.instead = mall.Without(o.items, missing), append(o.instead, instead...)
	total, err := mall.Total(slices.Concat(o.items, o.instead))
	if err != nil {
		t.Fatal(err)
	}
	o.total = mall.Money{Amount: total.Amount, Currency: "EUR"}
	o.next(t, event.OrderAmended{Order: o.id, Missing: missing, Substitutes: instead, Total: o.total})
}

func (d *day) visit(t *rapid.T, n int) {
	id := fmt.Sprintf("o%d-%d", d.number, n) // as an order is called, which is another thing
	stream := "visit " + id
	at := d.begin.Add(time.Duration(draw(t, "leaves", 30000)) * time.Second)
	left := at
	d.say(stream, left, event.CustomerDeparted{Store: "cafe", Visit: id})
	if once(t, "not billed", 6) {
		d.came(WalkIn, 0, func(s *Step) *int64 { return &s.Waiting })
		return
	}
	due := event.PaymentDue{Store: "cafe", Visit: id, Total: eur(0)}
	var list []mall.Item
	for range draw(t, "lines", 2) {
		i := goods[draw(t, "bought", len(goods)-1)]
		i.Store, i.Product, i.Quantity = "cafe", "", int64(1+draw(t, "of it", 3))
		list = append(list, i)
		due.Lines = append(due.Lines, mall.PricedLine{SKU: i.SKU, Price: i.Price, Quantity: i.Quantity})
		due.Total.Amount += i.Price.Amount * i.Quantity
	}
	unpriced := once(t, "unknown", 3)
	if unpriced {
		due.Unpriced = []mall.Line{{SKU: "4006381333931", Quantity: 2}}
	}
	d.say("bill "+id, later(t, &at), due)
	charges := []int64{}
	if due.Total.Amount > 0 {
		charges = append(charges, due.Total.Amount)
	}
	if unpriced && once(t, "priced", 2) {
		unpriced = false
		i := mall.Item{Store: "cafe", SKU: "4006381333931", Price: eur(77), Quantity: 2}
		list, charges = append(list, i), append(charges, 154)
		d.say("bill "+id, later(t, &at), event.ItemPriced{Store: "cafe", Visit: id, SKU: i.SKU, Quantity: 2, Price: i.Price, Amount: eur(154)})
	}
	waits, fails, back := false, false, int64(0)
	for i, amount := range charges {
		payment := fmt.Sprintf("walkout-%s-%d", id, i)
		switch draw(t, "charge", 3) {
		case 0:
			waits = true
		case 1:
			fails = true
			d.say(payment, later(t, &at), event.VisitChargeFailed{Payment: payment, Visit: id, Amount: eur(amount)})
		default:
			d.say(payment, later(t, &at), event.PaymentCaptured{Payment: payment, Amount: eur(amount)})
			d.say(payment, at, event.VisitCharged{Payment: payment, Visit: id, Amount: eur(amount)})
			if once(t, "disputed", 3) {
				back += amount
				d.say(payment, later(t, &at), event.PaymentRefunded{Payment: payment, Amount: eur(amount)})
			}
		}
	}
	d.count(left, true, list, back)
	switch {
	case len(charges) == 0 && unpriced:
		d.came(WalkIn, 0, func(s *Step) *int64 { return &s.Waiting })
	case len(charges) == 0:
		d.came(WalkIn, 0, func(s *Step) *int64 { return &s.Free })
	case fails:
		d.came(WalkIn, 1, func(s *Step) *int64 { return &s.Rejected })
	case waits:
		d.came(WalkIn, 1, func(s *Step) *int64 { return &s.Waiting })
	default:
		d.came(WalkIn, 2, nil)
	}
}

// shuffled returns what happened in another order, with some of it more than once: of a stream nothing comes before what came before it there.
func (d *day) shuffled(t *rapid.T) []said {
	rest := map[string][]said{}
	maps.Copy(rest, d.streams)
	names := slices.Clone(d.names)
	var list []said
	for len(names) > 0 {
		i := draw(t, "stream", len(names)-1)
		list = append(list, rest[names[i]][0])
		if rest[names[i]] = rest[names[i]][1:]; len(rest[names[i]]) == 0 {
			names = slices.Delete(names, i, i+1)
		}
		if once(t, "again", 4) {
			list = append(list, list[draw(t, "what again", len(list)-1)])
		}
	}
	return list
}

// fill has the view take events and nothing else.
func fill(ctx context.Context, b *backbonetest.Bare, list []said) error {
	if err := b.Empty(ctx, trade.Tables...); err != nil {
		return err
	}
	for _, s := range list {
		if err := project(ctx, b.Tx(&backbone.Message{Meta: backbone.Meta{ID: s.id, Time: s.at}}), s.e); err != nil {
			return fmt.Errorf("%+v: %w", s, err)
		}
	}
	return nil
}

// differs says what the view answers otherwise than the day was.
func differs(ctx context.Context, r *backbone.Reader, want *day) error {
	from, until := want.begin.Add(-time.Hour), want.begin.AddDate(0, 1, 0).Add(-time.Hour)
	cells := map[By]func(*Figure) bool{
		ByHour:    func(f *Figure) bool { return !f.Hour.IsZero() },
		ByShop:    func(f *Figure) bool { return f.Shop != "" && f.SKU == "" },
		ByProduct: func(f *Figure) bool { return f.SKU != "" },
	}
	for _, by := range Bys() {
		got, err := SalesBy(ctx, r, by, from, until)
		if err != nil {
			return err
		}
		var list []Figure
		for _, f := range want.sales {
			if cells[by](f) {
				list = append(list, *f)
			}
		}
		slices.SortFunc(list, func(a, b Figure) int {
			return cmp.Or(a.Hour.Compare(b.Hour), cmp.Compare(a.Shop, b.Shop), cmp.Compare(a.SKU, b.SKU))
		})
		if !slices.Equal(got, list) {
			return fmt.Errorf("sales by %s are\n%+v\nwant\n%+v", by, got, list)
		}
	}
	steps, err := Funnel(ctx, r, from, until)
	if err != nil {
		return err
	}
	var wanted []Step
	for _, p := range paths {
		wanted = append(wanted, want.counts[p.path]...)
	}
	if !slices.Equal(steps, wanted) {
		return fmt.Errorf("the funnel is\n%+v\nwant\n%+v", steps, wanted)
	}
	waits, err := TimeToReady(ctx, r, from, until)
	if err != nil {
		return err
	}
	var expect []Wait
	for _, since := range []string{StepPlaced, StepApproved} {
		took := slices.Sorted(slices.Values(want.took[since]))
		w := Wait{Since: since, Orders: int64(len(took))}
		if n := len(took); n > 0 {
			w.Half, w.Most = took[(n-1)/2], took[(n*95+99)/100-1]
		}
		expect = append(expect, w)
	}
	if !slices.Equal(waits, expect) {
		return fmt.Errorf("orders took %+v, want %+v", waits, expect)
	}
	return nil
}

// scene is a day, and what happened on it in another order.
type scene struct {
	day      *day
	shuffled []said
}

var scenes = rapid.Custom(func(t *rapid.T) scene {
	d := days(0).Draw(t, "day")
	return scene{d, d.shuffled(t)}
})

// plays has the view take a day as it was and in another order.
func plays(ctx context.Context, b *backbonetest.Bare, s scene) error {
	if err := fill(ctx, b, s.day.all()); err != nil {
		return err
	}
	if err := differs(ctx, b.Reader(), s.day); err != nil {
		return err
	}
	inOrder, err := content(ctx, b.Reader())
	if err != nil {
		return err
	}
	if err := fill(ctx, b, s.shuffled); err != nil {
		return err
	}
	again, err := content(ctx, b.Reader())
	if err == nil && !slices.Equal(inOrder, again) {
		err = fmt.Errorf("in order\n%s\nand shuffled\n%s", strings.Join(inOrder, "\n"), strings.Join(again, "\n"))
	}
	return err
}

// D6: whatever happened, the view answers what was reckoned without it; in whatever order the streams' events come and however often, its tables
// are the same. Red when a count is added up as events come, when a refund is taken off a second time, and when an hour is that of the arrival.
func TestD6_TradeInAnyOrder(t *testing.T) {
	t.Parallel()
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		b := backbonetest.Tables(t, "sqlite", ":memory:", migrations)
		rapid.Check(t, func(r *rapid.T) {
			if err := plays(t.Context(), b, scenes.Draw(r, "scene")); err != nil {
				r.Fatal(err)
			}
		})
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		b := backbonetest.Tables(t, "pgx", testserver.Postgres(t).Database(t), migrations)
		for seed := range 8 {
			if err := plays(t.Context(), b, scenes.Example(seed)); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
	})
}

// The services that events come from; stand-ins say what they are told to say.
type (
	ofOrders   struct{}
	ofBaskets  struct{}
	ofPayments struct{}
	ofFastlane struct{}
	ofExitgate struct{}
	ofStores   struct{}
)

func (ofOrders) Name() string   { return "orders" }
func (ofBaskets) Name() string  { return "baskets" }
func (ofPayments) Name() string { return "payments" }
func (ofFastlane) Name() string { return "fastlane" }
func (ofExitgate) Name() string { return "exitgate" }
func (ofStores) Name() string   { return "stores" }

var owners = map[string]func(testing.TB, *backbonetest.World, string, backbone.Event){
	"orders": backbonetest.Say[ofOrders], "baskets": backbonetest.Say[ofBaskets], "payments": backbonetest.Say[ofPayments],
	"fastlane": backbonetest.Say[ofFastlane], "exitgate": backbonetest.Say[ofExitgate], "stores": backbonetest.Say[ofStores],
}

// D6, A7: the view as the backbone keeps it answers what was reckoned without it, though the events of the services come as they come; and made
// again from the logs it is the same, row for row. Red when the view leaves an event out, or takes one for another.
func TestD6_TradeRebuilt(t *testing.T) {
	t.Parallel()
	all := event.All()
	w := backbonetest.Start(t, backbonetest.Config{Start: firstDay, Parts: []*backbone.Service{
		backbonetest.StandIn[ofOrders](all...), backbonetest.StandIn[ofBaskets](all...), backbonetest.StandIn[ofPayments](all...),
		backbonetest.StandIn[ofFastlane](all...), backbonetest.StandIn[ofExitgate](all...), backbonetest.StandIn[ofStores](all...), Service(),
	}})
	// So many days that every type of event comes.
	seen := map[string]bool{}
	var told []*day
	for seed := 0; len(seen) < len(trade.Projections) && seed < 200; seed++ {
		d, known := days(len(told)).Example(seed), len(seen)
		for _, s := range d.all() {
			seen[s.e.EventType()] = true
		}
		if len(seen) > known {
			told = append(told, d)
		}
	}
	if len(seen) != len(trade.Projections) {
		t.Fatalf("the days have %d types of events, and the view takes %d", len(seen), len(trade.Projections))
	}
	for _, d := range told {
		for _, s := range d.all() {
			w.Clock.Set(s.at)
			owners[strings.Split(s.e.EventType(), ".")[1]](t, w, strings.ReplaceAll(s.stream, " ", "_"), s.e)
		}
	}
	w.Settle(t)
	for n, d := range told {
		if err := differs(t.Context(), w.Reader("analytics"), d); err != nil {
			t.Errorf("day %d: %v", n, err)
		}
	}
	live, err := content(t.Context(), w.Reader("analytics"))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Runtime().Rebuild(t.Context(), "analytics", "trade", nil); err != nil {
		t.Fatal(err)
	}
	again, err := content(t.Context(), w.Reader("analytics"))
	if err != nil {
		t.Fatal(err)
	}
	if len(live) < 50 || !slices.Equal(live, again) {
		gone := slices.DeleteFunc(slices.Clone(live), func(row string) bool { return slices.Contains(again, row) })
		fresh := slices.DeleteFunc(again, func(row string) bool { return slices.Contains(live, row) })
		t.Errorf("of %d rows of the view those that are gone when it is made again are\n%s\nand those that came\n%s",
			len(live), strings.Join(gone, "\n"), strings.Join(fresh, "\n"))
	}
}

// A refund is divided to the last cent.
func TestDivide(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		weights := rapid.SliceOfN(rapid.Int64Range(0, 1<<50), 0, 8).Draw(t, "weights")
		total := int64(0)
		for _, w := range weights {
			total += w
		}
		amount := rapid.Int64Range(0, total).Draw(t, "amount")
		sum := int64(0)
		for i, share := range divide(amount, weights) {
			if share < 0 || share > weights[i] {
				t.Fatalf("%d of %d", share, weights[i])
			}
			sum += share
		}
		if sum != amount {
			t.Fatalf("%d is divided into %d", amount, sum)
		}
	})
}
