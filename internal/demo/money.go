package demo

import (
	"context"
	"fmt"
	"slices"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/event"
	"example.org/souk/mall/orders"
	"example.org/souk/mall/payments"
	paystandin "example.org/souk/provider/payment/standin"
)

// account is what the log has of a payment.
type account struct {
	order                                     string // that it was bound to; empty: none
	authorized, voided, captured, freed, back int64
	charged                                   int64 // to a visit
}

// aside is what is set aside of it, and neither taken nor freed.
func (a *account) aside() int64 { return a.authorized - a.voided - a.captured - a.freed }

// invoice is what the customer of an order was asked for.
type invoice struct {
	made   int    // how often one was written
	status string // as the search says it: open, paid or canceled; empty: there is none
	amount int64
}

// settlement is what a payment paid of an invoice, and what it was to give back of that.
type settlement struct {
	payment    string
	paid, back int64
}

// settled returns that of an order whose invoice was paid by a payment which is not the order's own. What that one came to stands with it.
func (l *ledger) settled(order string) settlement {
	s := l.settlements[order]
	if s == nil || l.accounts[s.payment] != nil && l.accounts[s.payment].order == order {
		return settlement{}
	}
	return *s
}

// account returns that of a payment, which the first event of it begins.
func (l *ledger) account(payment string) *account {
	if l.accounts[payment] == nil {
		l.accounts[payment] = &account{}
	}
	return l.accounts[payment]
}

// invoiceOf returns that of an order, or one that there is not.
func (l *ledger) invoiceOf(order string) invoice {
	if i := l.invoices[order]; i != nil {
		return *i
	}
	return invoice{}
}

// move books an amount from one account of the mall's ledger to another.
func (l *ledger) move(m mall.Money, from, to string) {
	if l.balances[m.Currency] == nil {
		l.balances[m.Currency] = map[string]int64{}
	}
	l.balances[m.Currency][from] -= m.Amount
	l.balances[m.Currency][to] += m.Amount
}

func (l *ledger) takePayment(m *backbone.Message) error {
	switch m.Type {
	case event.PaymentConfirmedV1:
		return booked(m, func(e event.PaymentConfirmed) { l.account(e.Payment).order = e.Order })
	case event.PaymentAuthorizedV1:
		return booked(m, func(e event.PaymentAuthorized) {
			l.account(e.Payment).authorized += e.Amount.Amount
			l.move(e.Amount, payments.Customers, payments.SetAside)
		})
	case event.PaymentVoidedV1:
		return booked(m, func(e event.PaymentVoided) {
			l.account(e.Payment).voided += e.Amount.Amount
			l.move(e.Amount, payments.SetAside, payments.Customers)
		})
	case event.PaymentCapturedV1:
		return booked(m, func(e event.PaymentCaptured) {
			a := l.account(e.Payment)
			a.captured, a.freed = a.captured+e.Amount.Amount, a.freed+e.Freed.Amount
			l.move(e.Amount, payments.SetAside, payments.Taken)
			if e.Freed.Amount > 0 {
				l.move(e.Freed, payments.SetAside, payments.Customers)
			}
		})
	case event.PaymentRefundedV1:
		return booked(m, func(e event.PaymentRefunded) {
			l.account(e.Payment).back += e.Amount.Amount
			l.move(e.Amount, payments.Taken, payments.Customers)
		})
	case event.VisitChargedV1:
		return booked(m, func(e event.VisitCharged) { l.account(e.Payment).charged += e.Amount.Amount })
	}
	return nil
}

func (l *ledger) takeInvoice(m *backbone.Message) error {
	say := func(order, status string, amount mall.Money) *invoice {
		if l.invoices[order] == nil {
			l.invoices[order] = &invoice{}
		}
		i := l.invoices[order]
		i.status, i.amount = status, amount.Amount
		return i
	}
	settles := func(order, payment string) *settlement {
		if l.settlements[order] == nil {
			l.settlements[order] = &settlement{payment: payment}
		}
		return l.settlements[order]
	}
	switch m.Type {
	case event.InvoiceCreatedV1:
		return booked(m, func(e event.InvoiceCreated) { say(e.Order, "open", e.Amount).made++ })
	case event.InvoiceAdjustedV1:
		return booked(m, func(e event.InvoiceAdjusted) { say(e.Order, "open", e.Amount) })
	case event.InvoiceCanceledV1:
		return booked(m, func(e event.InvoiceCanceled) { say(e.Order, "canceled", mall.Money{}) })
	case event.InvoicePaidV1:
		return booked(m, func(e event.InvoicePaid) {
			say(e.Order, "paid", e.Amount)
			if e.Payment == "" {
				l.move(e.Amount, payments.Customers, payments.Till)
			} else {
				settles(e.Order, e.Payment).paid += e.Amount.Amount
			}
		})
	case event.InvoiceRefundedV1:
		return booked(m, func(e event.InvoiceRefunded) {
			if e.Payment == "" {
				l.move(e.Amount, payments.Till, payments.Customers)
			} else {
				settles(e.Order, e.Payment).back += e.Amount.Amount
			}
		})
	}
	return nil
}

// walkOuts: every departure is billed once, for all that was in the bag, and each sum that is due was charged once, or it was said that it cannot be.
func (c *checker) walkOuts(ctx context.Context) error {
	left, due := map[string][]event.CustomerDeparted{}, map[string][]event.PaymentDue{}
	owed, settled, charged := map[string][]string{}, map[string][]string{}, 0
	sum := func(amount mall.Money, customer string) string { return fmt.Sprintf("%v by %q", amount, customer) }
	for _, err := range []error{
		events(ctx, c, "exitgate", func(e event.CustomerDeparted) { left[e.Visit] = append(left[e.Visit], e) }),
		events(ctx, c, "fastlane", func(e event.PaymentDue) {
			due[e.Visit] = append(due[e.Visit], e)
			if e.Total.Amount > 0 {
				owed[e.Visit] = append(owed[e.Visit], sum(e.Total, e.Customer))
			}
		}),
		events(ctx, c, "fastlane", func(e event.ItemPriced) { owed[e.Visit] = append(owed[e.Visit], sum(e.Amount, e.Customer)) }),
		events(ctx, c, "payments", func(e event.VisitCharged) {
			settled[e.Visit] = append(settled[e.Visit], sum(e.Amount, e.Customer))
			charged++
		}),
		events(ctx, c, "payments", func(e event.VisitChargeFailed) {
			settled[e.Visit] = append(settled[e.Visit], sum(e.Amount, e.Customer))
		}),
	} {
		if err != nil {
			return err
		}
	}
	for visit, departures := range left {
		if len(departures) != 1 || len(due[visit]) != 1 {
			c.broken("visit %s: %d departures and %d bills", visit, len(departures), len(due[visit]))
			continue
		}
		c.bill(departures[0], due[visit][0])
	}
	for visit, n := range due {
		if left[visit] == nil {
			c.broken("visit %s was billed %d times and nobody left", visit, len(n))
		}
	}
	for visit := range both(owed, settled) {
		if want, got := slices.Sorted(slices.Values(owed[visit])), slices.Sorted(slices.Values(settled[visit])); !slices.Equal(want, got) {
			c.broken("visit %s: due is %q, and charged, or said not to be had, was %q", visit, want, got)
		}
	}
	c.looked("%d departures: one bill each for what was in the bag; %d sums charged, once each", len(left), charged)
	return nil
}

// bill compares a bill with the departure that it is for.
func (c *checker) bill(left event.CustomerDeparted, due event.PaymentDue) {
	lines, sum := due.Unpriced, int64(0)
	for _, l := range due.Lines {
		lines = mall.AddLines(lines, []mall.Line{{SKU: l.SKU, Quantity: l.Quantity}})
		sum += l.Price.Amount * l.Quantity
	}
	if bag := mall.AddLines(left.Lines, nil); left.Customer != due.Customer || !slices.Equal(bag, mall.AddLines(lines, nil)) {
		c.broken("visit %s: %q left with %v, and %q is billed for %v", left.Visit, left.Customer, bag, due.Customer, lines)
	}
	if sum != due.Total.Amount {
		c.broken("visit %s: what is billed costs %d, and %v is due", left.Visit, sum, due.Total)
	}
}

// both has the keys of two maps.
func both[V, W any](a map[string]V, b map[string]W) map[string]bool {
	all := map[string]bool{}
	for k := range a {
		all[k] = true
	}
	for k := range b {
		all[k] = true
	}
	return all
}

// money: the provider did everything once, its ledger says of each payment what the log says, and so do ours.
func (c *checker) money(ctx context.Context) error {
	for key, n := range c.out.Payment.Executions {
		if n != 1 {
			c.broken("the payment provider executed %s %d times", key, n)
		}
	}
	l, err := c.reckon(ctx)
	if err != nil {
		return err
	}
	charged := int64(0)
	for id := range both(l.accounts, c.out.Payment.Payments) {
		a, theirs := account{}, c.out.Payment.Payments[id]
		if l.accounts[id] != nil {
			a = *l.accounts[id]
		}
		if theirs.Currency = ""; theirs != (paystandin.Account{Authorized: a.authorized, Voided: a.voided, Captured: a.captured, Refunded: a.back}) {
			c.broken("the log says of payment %s %+v, and the payment provider %+v", id, a, theirs)
		}
		if charged += a.charged; a.charged != 0 && a.charged != a.captured {
			c.broken("payment %s was charged to a visit with %d, and %d was captured", id, a.charged, a.captured)
		}
	}
	ours, err := payments.Ledger(ctx, c.h.Reader("payments"))
	if err != nil {
		return err
	}
	for _, s := range ours {
		t := c.out.Payment.Totals[s.Currency]
		if s.Authorized != t.Authorized || s.Voided != t.Voided || s.Captured != t.Captured || s.Refunded != t.Refunded {
			c.broken("our ledger says %+v, and the payment provider's %+v", s, t)
		}
		c.looked("%d payments: %s authorized, %s voided, %s captured, %s refunded, as at the provider", len(c.out.Payment.Payments),
			mall.Money{Amount: s.Authorized, Currency: s.Currency}, mall.Money{Amount: s.Voided, Currency: s.Currency},
			mall.Money{Amount: s.Captured, Currency: s.Currency}, mall.Money{Amount: s.Refunded, Currency: s.Currency})
	}
	if len(ours) != len(c.out.Payment.Totals) {
		c.broken("our ledger has %d currencies, and the payment provider's %d", len(ours), len(c.out.Payment.Totals))
	}
	return c.balance(ctx, l)
}

// balance: the accounts of our ledger sum to zero, and each is what payments and invoices came to.
func (c *checker) balance(ctx context.Context, l *ledger) error {
	accounts, err := payments.Accounts(ctx, c.h.Reader("payments"))
	if err != nil {
		return err
	}
	for currency := range both(accounts, l.balances) {
		sum := int64(0)
		for name := range both(accounts[currency], l.balances[currency]) {
			sum += accounts[currency][name]
			if got, want := accounts[currency][name], l.balances[currency][name]; got != want {
				c.broken("our account %q has %d %s, and payments and invoices come to %d", name, got, currency, want)
			}
		}
		if sum != 0 {
			c.broken("our accounts in %s sum to %d", currency, sum)
		}
	}
	c.looked("our accounts are what payments and invoices came to, and sum to zero")
	return nil
}

// invoices: an order has one invoice at most. One that is ready was asked for what it costs or is paid, one that is completed is paid, and of one that
// ended otherwise nothing is asked any more and nothing was kept. Nothing is set aside for an order that has ended. A payment that paid invoices has
// what they are over, and has given back what they were to have back.
func (c *checker) invoices(ctx context.Context) error {
	l, err := c.reckon(ctx)
	if err != nil {
		return err
	}
	for order, i := range l.invoices {
		if o, placed := c.state[order]; !placed || i.made != 1 {
			c.broken("order %s, which is %q, has %d invoices", order, o.Status, i.made)
		}
	}
	paid := 0
	for id, o := range c.state {
		d, i, s := *of(l.orders, id), l.invoiceOf(id), l.settled(id)
		d.taken, d.back = d.taken+s.paid, d.back+s.back
		if !squared(o.Status, &d, i) {
			c.broken("order %s is %s and costs %d: %d was taken, %d given back, and its invoice over %d is %q", id, o.Status, d.total, d.taken, d.back, i.amount, i.status)
		}
		if (o.Status == orders.Ready || o.Status == orders.Completed) && d.paid != d.taken {
			c.broken("order %s is %s and says that %d was paid, and %d was taken", id, o.Status, d.paid, d.taken)
		}
		if o.Status == orders.Completed {
			paid++
		}
	}
	for id, a := range l.accounts {
		if o, placed := c.state[a.order]; a.order != "" && (!placed || o.Status.Terminal()) && a.aside() != 0 {
			c.broken("of payment %s %d is set aside for order %s, which is %q", id, a.aside(), a.order, o.Status)
		}
	}
	c.settlements(l)
	c.looked("%d invoices, one an order at most; %d completed orders are paid to their sum, and nothing is kept of those that were undone", len(l.invoices), paid)
	return nil
}

// settlements compares what payments paid of invoices with what they have.
func (c *checker) settlements(l *ledger) {
	by := map[string]settlement{}
	for order := range l.settlements {
		if s := l.settled(order); s != (settlement{}) {
			by[s.payment] = settlement{s.payment, by[s.payment].paid + s.paid, by[s.payment].back + s.back}
		}
	}
	for id, s := range by {
		a := account{}
		if l.accounts[id] != nil {
			a = *l.accounts[id]
		}
		if a.order != "" || a.charged != 0 || a.captured < s.paid || a.back < s.back {
			c.broken("payment %s, which is %+v, paid invoices over %d, and was to give %d of it back", id, a, s.paid, s.back)
		}
	}
}

// squared tells whether the money of an order is as its status wants it. What was given back by hand leaves less than the order costs.
func squared(s orders.Status, d *deal, i invoice) bool {
	asked := d.taken
	if i.status == "open" {
		asked += i.amount
	}
	switch {
	case d.back > d.taken:
		return false
	case s == orders.Completed:
		return i.status != "open" && d.taken >= d.total && d.taken-d.back <= d.total
	case s == orders.Ready:
		return asked >= d.total && asked-d.back <= d.total
	case s.Terminal():
		return i.status != "open" && d.taken == d.back
	}
	return true
}
