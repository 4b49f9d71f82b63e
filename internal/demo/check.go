package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/internal/house"
	"example.org/souk/mall"
	"example.org/souk/mall/analytics"
	"example.org/souk/mall/event"
	"example.org/souk/mall/inventory"
	"example.org/souk/mall/orders"
	"example.org/souk/mall/search"
	mailstandin "example.org/souk/provider/mail/standin"
	paystandin "example.org/souk/provider/payment/standin"
	smsstandin "example.org/souk/provider/sms/standin"
	supplierstandin "example.org/souk/provider/supplier/standin"
)

// Outside is what others know of the mall: their own ledgers, and the newest seal of each service's log, which stands beside the databases.
type Outside struct {
	Payment  paystandin.Report
	Mail     mailstandin.Report
	Texts    smsstandin.Report
	Supplier []supplierstandin.Entry
	Head     func(service string) (backbone.Seal, error)
}

// Findings is what Check found.
type Findings struct {
	Looked []string `json:"looked"` // what holds, with how much of it there was
	Broken []string `json:"broken"` // what does not hold
}

// Check looks at a mall in which nothing is under way any more, and whose robots and supplier have done what there was to do. It reads the logs of the
// services and compares what follows from them with what the services show and what the outside has on its books.
func Check(ctx context.Context, h *house.House, out Outside) (Findings, error) {
	c := newChecker(h, out)
	return c.look(
		ctx, c.logs, c.orders, c.lists, c.stock, c.goods, c.supplies, c.walkOuts, c.money, c.invoices, c.letters, c.counts, c.trade, c.finds, c.leftovers,
	)
}

// Agrees is what of Check holds of any mall in which nothing is under way, whatever its orders wait for and whatever was done to it: what its services
// show of the stock, of orders and of trade is what follows from the logs, and the books of the payment provider and of the mail server say the same.
// Without out nobody outside is compared.
func Agrees(ctx context.Context, h *house.House, out *Outside) (Findings, error) {
	if out == nil {
		c := newChecker(h, Outside{})
		return c.look(ctx, c.read, c.stock, c.counts, c.trade, c.finds)
	}
	c := newChecker(h, *out)
	return c.look(ctx, c.read, c.stock, c.counts, c.trade, c.finds, c.money, c.letters)
}

func newChecker(h *house.House, out Outside) *checker {
	return &checker{h: h, out: out, state: map[string]orders.Order{}}
}

// look does one part after another.
func (c *checker) look(ctx context.Context, parts ...func(context.Context) error) (Findings, error) {
	for _, part := range parts {
		c.right = true
		if err := part(ctx); err != nil {
			return c.found, err
		}
	}
	return c.found, nil
}

type checker struct {
	h      *house.House
	out    Outside
	found  Findings
	right  bool // nothing is broken of what is being looked at
	placed []event.OrderPlaced
	state  map[string]orders.Order
	books  *ledger // once something was reckoned
}

// looked says what was looked at and holds.
func (c *checker) looked(format string, args ...any) {
	if !c.right {
		return
	}
	c.found.Looked = append(c.found.Looked, fmt.Sprintf(format, args...))
}

func (c *checker) broken(format string, args ...any) {
	c.right = false
	c.found.Broken = append(c.found.Broken, fmt.Sprintf(format, args...))
}

// each calls f for all that stands in a service's log, or for what is of these types.
func (c *checker) each(ctx context.Context, service string, f func(*backbone.Message) error, types ...string) error {
	r := c.h.Reader(service)
	for after := int64(0); ; {
		list, err := r.Log(ctx, backbone.ReadQuery{After: after, Limit: 5000, Types: types})
		if err != nil {
			return fmt.Errorf("log of %s: %w", service, err)
		}
		for _, m := range list {
			after = m.Position
			if err := f(m); err != nil {
				return fmt.Errorf("log of %s, position %d: %w", service, m.Position, err)
			}
		}
		if len(list) == 0 {
			return nil
		}
	}
}

// events calls f for the events of one type in a service's log.
func events[E backbone.Event](ctx context.Context, c *checker, service string, f func(E)) error {
	var zero E
	return c.each(ctx, service, func(m *backbone.Message) error {
		var e E
		if err := json.Unmarshal(m.Data, &e); err != nil {
			return err
		}
		f(e)
		return nil
	}, zero.EventType())
}

// logs: the versions of each stream are dense, and the seals hold.
func (c *checker) logs(ctx context.Context) error {
	records := 0
	for _, service := range c.h.Services() {
		versions := map[string]int64{}
		err := c.each(ctx, service, func(m *backbone.Message) error {
			records++
			if m.Version == 0 {
				return nil
			}
			if versions[m.Stream]++; m.Version != versions[m.Stream] {
				c.broken("log of %s: %s has version %d where %d is next", service, m.Stream, m.Version, versions[m.Stream])
				versions[m.Stream] = m.Version
			}
			return nil
		})
		if err != nil {
			return err
		}
		head, err := c.out.Head(service)
		if err != nil {
			return err
		}
		if _, err := c.h.Reader(service).Verify(ctx, head); err != nil {
			c.broken("log of %s: %v", service, err)
		}
	}
	c.looked("%d records in %d logs: nothing is missing between them, and the seals hold", records, len(c.h.Services()))
	return nil
}

// read takes in which orders were placed and how each is: the service knows all of them.
func (c *checker) read(ctx context.Context) error {
	if err := events(ctx, c, "orders", func(e event.OrderPlaced) { c.placed = append(c.placed, e) }); err != nil {
		return err
	}
	for _, p := range c.placed {
		v, found, err := orders.Get(ctx, c.h.Reader("orders"), p.Order)
		if err != nil {
			return err
		}
		if !found {
			c.broken("order %s was placed, and the service does not know it", p.Order)
			continue
		}
		c.state[p.Order] = v.Order
	}
	return nil
}

// orders: each has ended or waits for something that may come, and was approved once at most.
func (c *checker) orders(ctx context.Context) error {
	if err := c.read(ctx); err != nil {
		return err
	}
	approvals := map[string]int{}
	if err := events(ctx, c, "orders", func(e event.OrderApproved) { approvals[e.Order]++ }); err != nil {
		return err
	}
	states := map[orders.Status]int{}
	for id, o := range c.state {
		states[o.Status]++
		if !o.Status.Terminal() && !waits[o.Status] {
			c.broken("order %s is %s, and nothing is under way", id, o.Status)
		}
		if n := approvals[id]; n > 1 {
			c.broken("order %s was approved %d times", id, n)
		}
	}
	c.looked("%d orders: each has ended or waits for something that may come (%s)", len(c.placed), tally(states))
	return nil
}

// waits are the states in which an order may wait for what the mall cannot do: that goods come, or its customer.
var waits = map[orders.Status]bool{orders.Backordered: true, orders.Short: true, orders.Ready: true}

// lists: each shopping list was done once or called off, and no robot has two.
func (c *checker) lists(ctx context.Context) error {
	made, done, off, of := map[string]int{}, map[string]int{}, map[string]int{}, map[string]string{}
	for _, err := range []error{
		events(ctx, c, "depot", func(e event.ShoppingListCreated) { made[e.List]++; of[e.List] = e.Order }),
		events(ctx, c, "depot", func(e event.ShoppingListCompleted) { done[e.List]++ }),
		events(ctx, c, "depot", func(e event.ShoppingListCanceled) { off[e.List]++ }),
	} {
		if err != nil {
			return err
		}
	}
	for list, n := range made {
		if n != 1 || done[list] > 1 || off[list] > 1 || done[list]+off[list] == 0 {
			c.broken("shopping list %s of an order that is %s was made %d times, done %d times and called off %d times", list, c.state[of[list]].Status, n, done[list], off[list])
		}
	}
	c.looked("%d shopping lists: %d done, once each, and %d called off", len(made), len(done), len(off))
	return nil
}

// shown is what the search and the logs say of an order alike.
type shown struct {
	Status, Customer, Invoice    string
	Total                        mall.Money
	Paid, Collected              bool
	Captured, Invoiced, Refunded int64
}

// finds: the search shows every order once, as it is, and what the logs have of its money.
func (c *checker) finds(ctx context.Context) error {
	l, err := c.reckon(ctx)
	if err != nil {
		return err
	}
	seen := map[string]int{}
	for q := (search.Query{Limit: search.MaxLimit}); ; {
		page, err := search.Find(ctx, c.h.Reader("search"), q)
		if err != nil {
			return err
		}
		for _, o := range page.Orders {
			seen[o.ID]++
			is, d, i := c.state[o.ID], of(l.orders, o.ID), l.invoiceOf(o.ID)
			says := shown{
				o.Status, o.Customer, o.Money.Invoice, o.Total, !o.Paid.IsZero(), !o.Collected.IsZero(),
				o.Money.Captured.Amount, o.Money.Invoiced.Amount, o.Money.Refunded.Amount,
			}
			if want := (shown{is.Shown(), is.Customer, i.status, is.Total, is.Paid, is.Collected, d.captured, i.amount, d.back}); says != want {
				c.broken("the search shows order %s as %+v, and it is %+v", o.ID, says, want)
			}
		}
		if q.Cursor = page.Next; q.Cursor == "" {
			break
		}
	}
	for _, p := range c.placed {
		if seen[p.Order] != 1 {
			c.broken("the search shows order %s %d times", p.Order, seen[p.Order])
		}
	}
	c.looked("the search shows %d orders as they are", len(seen))
	return nil
}

// tally prints how many there are of each, in the order of their names.
func tally[K ~string](counts map[K]int) string {
	var list []string
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		list = append(list, fmt.Sprintf("%d %s", counts[k], k))
	}
	return strings.Join(list, ", ")
}

// shelves are the books of all SKUs and locations, as a log says them.
type shelves map[string]*shelf

// shelf is what the books of a SKU at a location must say.
type shelf struct {
	hand, held, committed  int64
	stocked, asked         bool
	owed                   bool // more has to be asked for with the very next event
	ordered                int64
	threshold              int64
	crossings, restocks    int
	received, taken, moved int64 // pieces in, out, and corrected
}

// settle is asked behind each change of what is there or will be: whoever falls below the threshold asks for more, once.
func (s *shelf) settle() {
	if s.hand >= s.threshold {
		s.ordered = 0
	}
	if s.hand+s.ordered >= s.threshold {
		s.asked = false
	}
}

// due tells whether more has to be asked for now.
func (s *shelf) due() bool { return s.stocked && !s.asked && s.hand+s.ordered < s.threshold }

// closesChange are the events behind which a shelf that is below its threshold asks for more. One decision may change what is on hand more than
// once, and says the level behind the last change; a threshold changes no level.
var closesChange = map[string]bool{event.InventoryUpdatedV1: true, inventory.ThresholdSet{}.EventType(): true}

// book books the next event of a log, and says what is wrong with it.
func (all shelves) book(m *backbone.Message, broken func(format string, args ...any)) error {
	id, found := strings.CutPrefix(m.Stream, "stock/")
	if !found || m.Version == 0 {
		return nil
	}
	s := all[id]
	if s == nil {
		s = &shelf{}
		all[id] = s
	}
	if s.owed && m.Type != event.RestockNeededV1 {
		broken("stock of %s fell below %d and no more was asked for", id, s.threshold)
	}
	s.owed = false
	if err := s.apply(m); err != nil {
		return err
	}
	if m.Type == event.RestockNeededV1 {
		if s.restocks++; s.asked {
			broken("more of %s was asked for twice", id)
		}
		s.asked = true
	}
	s.settle()
	if closesChange[m.Type] && s.due() {
		s.owed = true
		s.crossings++
	}
	if s.hand-s.held-s.committed < 0 {
		broken("stock of %s: %d on hand, %d held, %d committed at position %d", id, s.hand, s.held, s.committed, m.Position)
	}
	return nil
}

// sums says what does not add up at the end of a log, and returns how many times more was asked for.
func (all shelves) sums(broken func(format string, args ...any)) (restocks int) {
	for id, s := range all {
		restocks += s.restocks
		if s.restocks != s.crossings {
			broken("stock of %s fell below its threshold %d times, and more was asked for %d times", id, s.crossings, s.restocks)
		}
		if s.hand != s.received-s.taken+s.moved {
			broken("stock of %s: %d received, %d taken, %d corrected, and %d on hand", id, s.received, s.taken, s.moved, s.hand)
		}
	}
	return restocks
}

// stock: what is on hand, held, committed, issued and received adds up for each SKU and location, is shown as it is, and
// whoever fell below the threshold asked for more exactly once.
func (c *checker) stock(ctx context.Context) error {
	all := shelves{}
	err := c.each(ctx, "inventory", func(m *backbone.Message) error { return all.book(m, c.broken) })
	if err != nil {
		return err
	}
	restocks := all.sums(c.broken)
	levels, err := inventory.List(ctx, c.h.Reader("inventory"), "", "", 10_000)
	if err != nil {
		return err
	}
	for _, l := range levels {
		id := mall.StockID(l.SKU, l.Location)
		s := all[id]
		delete(all, id)
		if s == nil || l.Threshold != s.threshold || l.OnHand != s.hand || l.Held != s.held || l.Committed != s.committed || l.Available != s.hand-s.held-s.committed {
			c.broken("stock of %s at %s is shown as %+v, and the log says %+v", l.SKU, l.Location, l, s)
		}
	}
	for id, s := range all { // of what was never there nothing is shown
		if s.stocked || s.threshold != 0 {
			c.broken("stock of %s is not shown, and the log says %+v", id, s)
		}
	}
	c.looked("%d SKUs: received, held, committed and issued add up; %d times more was asked for, once a crossing", len(levels), restocks)
	return nil
}

// apply books one event of a shelf.
func (s *shelf) apply(m *backbone.Message) error {
	switch m.Type {
	case event.StockReceivedV1:
		return booked(m, func(e event.StockReceived) {
			s.hand, s.received, s.stocked = s.hand+e.Quantity, s.received+e.Quantity, true
		})
	case event.StockAdjustedV1:
		return booked(m, func(e event.StockAdjusted) { s.hand, s.moved, s.stocked = s.hand+e.Delta, s.moved+e.Delta, true })
	case inventory.StockTaken{}.EventType():
		return booked(m, func(e inventory.StockTaken) { s.hand, s.taken = s.hand-e.Quantity, s.taken+e.Quantity })
	case inventory.StockShifted{}.EventType():
		return booked(m, func(e inventory.StockShifted) { s.held, s.committed = s.held+e.Held, s.committed+e.Committed })
	case inventory.ThresholdSet{}.EventType():
		return booked(m, func(e inventory.ThresholdSet) { s.threshold = e.Threshold })
	case inventory.PurchaseSettled{}.EventType():
		return booked(m, func(e inventory.PurchaseSettled) {
			s.ordered = max(0, s.ordered-e.Quantity)
			s.asked = s.asked && !e.Canceled
		})
	case event.RestockNeededV1:
		return booked(m, func(e event.RestockNeeded) { s.ordered += e.Quantity })
	}
	return nil
}

func booked[E any](m *backbone.Message, f func(E)) error {
	var e E
	err := json.Unmarshal(m.Data, &e)
	if err == nil {
		f(e)
	}
	return err
}

// supplies: the supplier was told of each purchase once, as it stands in our log, and what it has on its books as delivered or called off came
// in once.
func (c *checker) supplies(ctx context.Context) error {
	asked, sent := map[string]event.PurchaseProposed{}, map[string]int{}
	var came, gone []string // deliveries and purchases, as often as we have them
	for _, err := range []error{
		events(ctx, c, "logistics", func(e event.PurchaseProposed) { asked[e.Purchase] = e }),
		events(ctx, c, "logistics", func(e event.PurchaseSent) { sent[e.Purchase]++ }),
		events(ctx, c, "logistics", func(e event.PurchaseCanceled) { gone = append(gone, e.Purchase) }),
		events(ctx, c, "logistics", func(e event.GoodsReceived) {
			came = append(came, fmt.Sprintf("%s of %d %s for %s", e.Delivery, e.Quantity, e.SKU, e.Purchase))
		}),
	} {
		if err != nil {
			return err
		}
	}
	books := map[string]int{}
	var delivered, canceled []string
	for _, e := range c.out.Supplier {
		switch e.What {
		case supplierstandin.Ordered:
			books[e.Purchase]++
			if p := asked[e.Purchase]; p.SKU != e.Item || p.Quantity != e.Quantity {
				c.broken("the supplier has purchase %s of %d %s on its books, and we have %+v", e.Purchase, e.Quantity, e.Item, p)
			}
		case supplierstandin.Delivered:
			delivered = append(delivered, fmt.Sprintf("%s of %d %s for %s", e.Delivery, e.Quantity, e.Item, e.Purchase))
		case supplierstandin.Canceled:
			canceled = append(canceled, e.Purchase)
		}
	}
	for id := range asked {
		early := sent[id] == 0 && slices.Contains(gone, id) // the supplier called it off before we had noted that it was sent
		if books[id] != 1 || sent[id] != 1 && !early {
			c.broken("purchase %s was sent %d times, and the supplier has it %d times", id, sent[id], books[id])
		}
	}
	for _, both := range [][2][]string{{came, delivered}, {gone, canceled}} {
		if ours, theirs := slices.Sorted(slices.Values(both[0])), slices.Sorted(slices.Values(both[1])); !slices.Equal(ours, theirs) {
			c.broken("what came in, or was called off, is %q, and on the supplier's books %q", ours, theirs)
		}
	}
	c.looked("%d purchases: on the supplier's books once each, with %d deliveries, each come in once", len(asked), len(delivered))
	return nil
}

// letters: what was sent stands at the mail server under one Message-ID each, or with the text message provider under one id each, and nothing else does.
func (c *checker) letters(ctx context.Context) error {
	for channel, have := range map[string]map[string]int{event.ChannelEmail: c.out.Mail.Copies, event.ChannelSMS: c.out.Texts.Copies} {
		sent := map[string]bool{}
		err := events(ctx, c, "notifications", func(e event.NotificationSent) {
			if e.Channel == channel {
				sent[e.Notification] = true
			}
		})
		if err != nil {
			return err
		}
		taken := map[string]bool{}
		for id := range have {
			key, _, _ := strings.Cut(strings.TrimPrefix(id, "notification-"), "@")
			if taken[key] {
				c.broken("notification %s came by %s under two ids", key, channel)
			}
			taken[key] = true
			if !sent[key] {
				c.broken("who sends by %s has %s, which was never sent", channel, id)
			}
		}
		for id := range sent {
			if !taken[id] {
				c.broken("notification %s was sent by %s, and who sends so does not have it", id, channel)
			}
		}
		c.looked("%d letters by %s: one id each", len(sent), channel)
	}
	return nil
}

// counts: analytics has counted what stands in the log of orders.
func (c *checker) counts(ctx context.Context) error {
	want := map[string]int64{}
	for outcome, kind := range map[string]string{
		analytics.Placed: event.OrderPlacedV1, analytics.Approved: event.OrderApprovedV1, analytics.Rejected: event.OrderRejectedV1,
		analytics.Canceled: event.OrderCanceledV1, analytics.Expired: event.OrderExpiredV1,
	} {
		err := c.each(ctx, "orders", func(*backbone.Message) error { want[outcome]++; return nil }, kind)
		if err != nil {
			return err
		}
	}
	got, err := analytics.Outcomes(ctx, c.h.Reader("analytics"), time.UnixMicro(0), time.Now().Add(24*time.Hour))
	if err != nil {
		return err
	}
	for outcome, n := range want {
		if got[outcome] != n {
			c.broken("analytics counted %d orders %s, and the log has %d", got[outcome], outcome, n)
		}
	}
	c.looked("analytics counted what the log has")
	return nil
}

// leftovers: nothing is parked and no call waits to be made.
func (c *checker) leftovers(ctx context.Context) error {
	for _, s := range c.h.Runtime.Subscriptions() {
		parked, err := c.h.Store(s.Service).ParkedRows(ctx, s.Service, s.Name, "", 10)
		if err != nil {
			return err
		}
		for _, p := range parked {
			c.broken("subscription %s of %s has parked %s of %s: %s", s.Name, s.Service, p.ID, p.Source, p.Cause)
		}
	}
	for _, svc := range c.h.Runtime.Parts() {
		calls, err := c.h.Store(svc.Name).Calls(ctx, svc.Name, 10)
		if err != nil {
			return err
		}
		for _, call := range calls {
			c.broken("%s has still to call %s (%s): %s", svc.Name, call.Name, call.ID, call.Cause)
		}
	}
	c.looked("nothing is parked, and no call waits")
	return nil
}
