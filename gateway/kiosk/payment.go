package kiosk

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"example.org/souk/gateway/door"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
)

// Payments shows how payments stand that are authorized before an order is placed. That they are asked for, and freed, goes
// by Commands: AuthorizePayment and VoidPayment. What was decided is seen at once.
type Payments interface {
	// Payment returns a payment; false where nobody asked for one of that id.
	Payment(ctx context.Context, id string) (Payment, bool, error)
}

// Payment is a payment as it stands now.
type Payment struct {
	Status string     // one of the statuses of payments
	Amount mall.Money // that was asked to be set aside
}

// The statuses of payments, as far as they matter before an order is placed.
const (
	PaymentAsked    = "asked"     // its provider has not answered yet
	PaymentSetAside = "set_aside" // the amount is authorized, and bound to no order
	PaymentDeclined = "declined"
	PaymentUnclear  = "unclear" // its provider never answered: what became of it is being found out, and undone
	PaymentOver     = "over"    // it was voided, or is being
	PaymentUsed     = "used"    // it is bound to an order
)

// maxAttempts is how often the payment of one basket is tried; then it is paid at the depot.
const maxAttempts = 5

// paying is the payment of a basket as its page shows it.
type paying struct {
	Basket  string
	ID      string
	Status  string // as of a Payment; "none": nobody asked for it
	Amount  moneyBody
	Attempt int
	Again   int  // the number of the next attempt; 0: there is none
	Change  bool // the customer has to decide what is to be done now
	Short   string
	Wait    bool
}

// attempt is one at paying what a basket comes to. A browser remembers it as such and not by the id of the payment: so nobody can name a payment that was
// not made for a basket of theirs. The zero attempt is none.
type attempt struct {
	basket string
	total  mall.Money
	n      int // from 1 to maxAttempts
}

// payment returns the id of the attempt's payment.
func (a attempt) payment() string {
	return derive("payment", begun(a.basket), a.basket, a.total.String(), strconv.Itoa(a.n))
}

// String returns what parseAttempt reads.
func (a attempt) String() string {
	return strings.Join([]string{a.basket, strconv.FormatInt(a.total.Amount, 10), a.total.Currency, strconv.Itoa(a.n)}, ".")
}

// parseAttempt returns none for what is no attempt.
func parseAttempt(text string) attempt {
	parts := strings.Split(text, ".")
	if len(parts) != 4 || mall.ValidID(parts[0]) != nil || mall.ValidCurrency(parts[2]) != nil {
		return attempt{}
	}
	amount, err := strconv.ParseInt(parts[1], 10, 64)
	n, err2 := strconv.Atoi(parts[3])
	if err != nil || err2 != nil || amount <= 0 || n < 1 || n > maxAttempts {
		return attempt{}
	}
	return attempt{parts[0], mall.Money{Amount: amount, Currency: parts[2]}, n}
}

// failed reports whether another attempt can be made.
func failed(status string) bool {
	return status == PaymentDeclined || status == PaymentOver || status == PaymentUnclear
}

// payment returns how the payment of a basket stands. It follows from the basket, from what it comes to and from the number of the attempt which payment that
// is, so that a form that is sent twice, or anew, asks for the same one. An attempt whose number is too high is the one that is due: none
// begins while the one before may still succeed.
func (p *pages) payment(ctx context.Context, b Basket, from url.Values) (*paying, error) {
	last, err := strconv.Atoi(from.Get("attempt"))
	if err != nil || last < 1 {
		last = 1
	}
	last = min(last, maxAttempts)
	show := &paying{Basket: b.ID, Amount: moneyOf(b.Total), Short: from.Get("whenShort"), Wait: from.Get("wait") != ""}
	for n := 1; n <= last; n++ {
		show.Attempt, show.ID = n, attempt{b.ID, b.Total, n}.payment()
		now, found, err := p.Payments.Payment(ctx, show.ID)
		if err != nil {
			return nil, unavailable(err)
		}
		show.Status = now.Status
		if !found {
			show.Status = "none"
		}
		if !failed(show.Status) {
			break
		}
	}
	show.Change = failed(show.Status)
	if show.Change && show.Attempt < maxAttempts {
		show.Again = show.Attempt + 1
	}
	return show, nil
}

// address is where the page of the payment stands.
func (s *paying) address(path string) string {
	q := url.Values{"basket": {s.Basket}, "attempt": {strconv.Itoa(s.Attempt)}, "whenShort": {s.Short}}
	if s.Wait {
		q.Set("wait", "yes")
	}
	return path + "?" + q.Encode()
}

// payBeforehand has the amount of a basket set aside. It returns the id of the payment when that is done, and "" as long as it is not: then the
// customer looks at the page of the payment.
func (p *pages) payBeforehand(v *visit, b Basket) (payment string, show *paying, err error) {
	if err := orderable(b); err != nil {
		return "", nil, err
	}
	if show, err = p.payment(v.ctx, b, v.form); err != nil {
		return "", nil, err
	}
	if show.Status == "none" || show.Status == PaymentAsked || show.Status == PaymentSetAside {
		if err := p.keep(v, attempt{b.ID, b.Total, show.Attempt}); err != nil {
			return "", nil, err
		}
	}
	switch show.Status {
	case PaymentSetAside:
		return show.ID, show, nil
	case "none":
		c := command.AuthorizePayment{Payment: show.ID, Customer: b.Customer, Amount: b.Total}
		if err := p.do(v.ctx, v.who.who(v.r), derive("authorize", "", show.ID), c); err != nil {
			return "", nil, err
		}
	}
	return "", show, nil
}

// keep has the browser remember an attempt before its payment is asked for, and frees before that what it remembers of another one: on an error it
// remembers the former, and nothing was asked for.
func (p *pages) keep(v *visit, a attempt) error {
	if v.who.paying != a {
		if _, err := p.free(v, v.who.paying); err != nil {
			return err
		}
	}
	v.who.paying = a
	p.remember(v.w, "payment", a.String())
	return nil
}

// orderable refuses a basket that would not be checked out as it is, before money is set aside for it.
func orderable(b Basket) error {
	for _, l := range b.Lines {
		if !l.Sold {
			return door.NewProblem(http.StatusConflict, "not_sold", "Something in the basket is not sold any more.")
		}
	}
	switch {
	case len(b.Lines) == 0:
		return door.NewProblem(http.StatusConflict, "basket_empty", "There is nothing in the basket.")
	case b.Total.Amount <= 0:
		return door.NewProblem(http.StatusConflict, "nothing_owed", "The basket costs nothing.")
	}
	return pricesHold(b)
}

// free gives back what was set aside by an attempt, where the basket is the caller's and no order can have it any more. It leaves alone what the basket, which
// is open and comes to the same still, may be checked out with, or was: a checkout may also be taken in. It reports whether nothing is left to be freed by the
// browser that remembers the attempt.
func (p *pages) free(v *visit, a attempt) (over bool, err error) {
	if a == (attempt{}) {
		return true, nil
	}
	b, found, err := p.Baskets.Basket(v.ctx, a.basket)
	switch {
	case err != nil:
		return false, unavailable(err)
	case !found || b.Customer != v.who.Subject:
		return true, nil
	case b.Status == BasketOpen && b.Total == a.total:
		return false, nil
	case b.Status == BasketCheckedOut && b.Payment == a.payment():
		return true, nil // freeOfNothing frees it where the order comes to nothing
	}
	if err := p.void(v, a.payment()); err != nil {
		return false, err
	}
	return true, nil
}

// void gives back what is set aside, or will be, for a payment that was made here.
func (p *pages) void(v *visit, payment string) error {
	now, found, err := p.Payments.Payment(v.ctx, payment)
	if err != nil {
		return unavailable(err)
	}
	if !found || now.Status != PaymentAsked && now.Status != PaymentSetAside {
		return nil
	}
	return p.do(v.ctx, v.who.who(v.r), derive("void", "", payment), command.VoidPayment{Payment: payment, Reason: "not needed"})
}

// forget ends what the browser remembers of a basket of the caller's that has ended, and frees what was set aside for it and for whichever the browser
// remembers, also where the answer that would have had it remember a payment was lost. One that cannot be freed now is remembered until the customer leaves, and
// is freed by payments after a time then, as all are that nobody takes.
func (p *pages) forget(v *visit, b Basket) {
	if v.who.basket == b.ID {
		p.remember(v.w, "basket", "")
		p.remember(v.w, "wishes", "")
	}
	if show, err := p.payment(v.ctx, b, url.Values{"attempt": {strconv.Itoa(maxAttempts)}}); err == nil {
		_, _ = p.free(v, attempt{b.ID, b.Total, show.Attempt}) // payments frees it otherwise
	}
	p.forgetPayment(v)
}

// forgetPayment frees what the browser remembers to be set aside.
func (p *pages) forgetPayment(v *visit) {
	if over, err := p.free(v, v.who.paying); over && err == nil && v.who.paying != (attempt{}) {
		p.remember(v.w, "payment", "")
	}
}

// freeOfNothing gives back what was set aside here for an order that came to nothing before the payment was bound to it, such as for want of goods: the services
// undo what is bound, and leave the rest to whoever had it set aside. It is asked for whenever the page shows such an order, until it is done. That the payment is
// of here is seen by what it is over, which is not what the order comes to where that is why the order was rejected.
func (p *pages) freeOfNothing(v *visit, o *orderBody) {
	if o.Payment == "" || o.Status == "completed" || !over(o) {
		return
	}
	paid, found, err := p.Payments.Payment(v.ctx, o.Payment)
	if err != nil || !found {
		return
	}
	for n := 1; n <= maxAttempts; n++ {
		if (attempt{o.Order, paid.Amount, n}).payment() == o.Payment {
			_ = p.void(v, o.Payment)
		}
	}
}

// payPage shows how the payment of the basket stands.
func (p *pages) payPage(v *visit) error {
	b, err := p.openBasket(v)
	if err != nil {
		return err
	}
	if b.Status == BasketCheckedOut {
		return v.to("/kiosk/orders/"+b.Order, "")
	}
	show, err := p.payment(v.ctx, b, v.r.URL.Query())
	if err != nil {
		return err
	}
	return p.write(v, http.StatusOK, "pay.html", view{Title: "pay", Paying: show, Live: show.address("/kiosk/pay/events")})
}

func (p *pages) followPayment(v *visit) error {
	b, err := p.openBasket(v)
	if err != nil {
		return err
	}
	asked := v.r.URL.Query()
	first, err := p.payment(v.ctx, b, asked)
	if err != nil {
		return err
	}
	return p.stay(v, []string{PaymentTopic(first.ID)}, func(ctx context.Context) ([]byte, int64, error) {
		show, err := p.payment(ctx, b, asked)
		return p.part(v.in, "pay", view{Paying: show}, 0, err)
	})
}

// beforehand reports whether the money of an order was set aside before it was placed, and is asked for in no other way.
func beforehand(o *orderBody) bool { return o.Payment != "" && !o.Paid && !o.Owed }
