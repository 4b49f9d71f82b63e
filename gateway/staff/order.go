package staff

import (
	"cmp"
	"context"
	"crypto/rand"
	"net/http"
	"slices"
	"strings"
	"time"

	"example.org/souk/gateway/door"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
)

// How long an order may take to hear that it is paid, and how often it is asked.
const (
	paidWithin = 5 * time.Second
	paidEvery  = 20 * time.Millisecond
)

// open lists the statuses of orders that have not ended, in the order in which one follows the other, and ended those of orders that have.
func open() []string {
	return []string{"PENDING", "RESERVED", "BACKORDERED", "APPROVED", "PICKING", "SHORT", "READY", "CANCELLING"}
}

func ended() []string { return []string{"COMPLETED", "REJECTED", "CANCELED", "EXPIRED"} }

func (g *Gateway) listOrders(w http.ResponseWriter, r *door.Request) error {
	status := strings.ToUpper(r.URL.Query().Get("status"))
	if all := append(open(), ended()...); status != "" && !slices.Contains(all, status) {
		return door.InvalidField("status", "must be one of "+strings.Join(all, ", "))
	}
	limit, err := limitOf(r)
	if err != nil {
		return err
	}
	var only []string
	if status != "" {
		only = []string{status}
	}
	list, err := g.Orders.Latest(r.Context(), only, limit+1)
	return answerFirst(w, "orders", list, limit, err)
}

// showOrder answers with an order, a browser with its page.
func (g *Gateway) showOrder(w http.ResponseWriter, r *door.Request) error {
	id, err := idIn(r, "order")
	if err != nil {
		return err
	}
	w.Header().Add("Vary", "Accept")
	o, found, err := g.Orders.Order(r.Context(), id)
	if err == nil && found && door.Browses(r.Header) {
		return g.answerOrderPage(w, r, o)
	}
	return answerOne(w, "order", o, found, err)
}

// answerOrder answers with an order as it is after a command.
func (g *Gateway) answerOrder(w http.ResponseWriter, r *door.Request, id string) error {
	o, found, err := g.Orders.Order(r.Context(), id)
	return answerOne(w, "order", o, found, err)
}

func (g *Gateway) cancelOrder(w http.ResponseWriter, r *door.Request) error {
	id, err := idIn(r, "order")
	if err != nil {
		return err
	}
	c := command.CancelOrder{Order: id}
	if err := (form{"reason": &c.Reason}).read(r.Body); err != nil {
		return err
	}
	if err := g.do(r, "cancel", c); err != nil {
		return err
	}
	return g.answerOrder(w, r, id)
}

func (g *Gateway) decideShort(w http.ResponseWriter, r *door.Request) error {
	id, err := idIn(r, "order")
	if err != nil {
		return err
	}
	var choice string
	c := command.DecideShort{Order: id}
	if err := (form{"choice": &choice, "substitutes": &c.Substitutes}).read(r.Body); err != nil {
		return err
	}
	c.Choice = mall.WhenShort(choice)
	if err := g.do(r, "decide", c); err != nil {
		return err
	}
	return g.answerOrder(w, r, id)
}

// settling is what a clerk is told who would take money, or give goods, before it is known whether the customer owes any.
func settling() error {
	return door.NotYet("payment_settling", "The payment of this order is being settled. Take no money; try again in a moment.")
}

// atCounter returns the order of the path, whose money or goods are to change hands. One that is being settled is refused for now, before a
// command is sent: its refusal would be the answer for good.
func (g *Gateway) atCounter(r *door.Request) (Order, error) {
	id, err := idIn(r, "order")
	if err != nil {
		return Order{}, err
	}
	o, found, err := g.Orders.Order(r.Context(), id)
	switch {
	case err != nil:
		return o, unavailable(err)
	case !found:
		return o, door.NotFound("order")
	case o.Settling:
		return o, settling()
	}
	return o, nil
}

// takePayment records that the customer has paid at the depot.
func (g *Gateway) takePayment(w http.ResponseWriter, r *door.Request) error {
	if err := (form{}).read(r.Body); err != nil {
		return err
	}
	o, err := g.atCounter(r)
	if err != nil {
		return err
	}
	if err := g.do(r, "pay", command.PayInvoice{Invoice: o.Order}); err != nil { // an invoice has the id of its order
		return err
	}
	return g.answerOrder(w, r, o.Order)
}

// handOver gives the goods to the customer. With takePayment it takes the money first, in the same breath, of an order that is ready: for
// another nobody hands anything over, and nothing is taken.
func (g *Gateway) handOver(w http.ResponseWriter, r *door.Request) error {
	pay := false
	if err := (form{"takePayment": &pay}).read(r.Body); err != nil {
		return err
	}
	o, err := g.atCounter(r)
	if err != nil {
		return err
	}
	if pay && !o.Paid && o.Status == "READY" {
		if err := g.do(r, "pay", command.PayInvoice{Invoice: o.Order}); err != nil {
			return err
		}
		if err := g.untilPaid(r.Context(), o.Order); err != nil {
			return err
		}
	}
	if err := g.do(r, "hand over", command.HandOverOrder{Order: o.Order}); err != nil {
		return err
	}
	return g.answerOrder(w, r, o.Order)
}

// untilPaid waits until an order has heard that it is paid, which payments tell it of by an event.
func (g *Gateway) untilPaid(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, paidWithin)
	defer cancel()
	tick := time.NewTicker(paidEvery)
	defer tick.Stop()
	for {
		if o, _, err := g.Orders.Order(ctx, id); err == nil && o.Paid {
			return nil
		}
		select {
		case <-ctx.Done():
			return unavailable(ctx.Err())
		case <-tick.C:
		}
	}
}

func (g *Gateway) showPayment(w http.ResponseWriter, r *door.Request) error {
	id, err := idIn(r, "payment")
	if err != nil {
		return err
	}
	p, found, err := g.Payments.Payment(r.Context(), id)
	return answerOne(w, "payment", p, found, err)
}

func (g *Gateway) showInvoice(w http.ResponseWriter, r *door.Request) error {
	id, err := idIn(r, "invoice")
	if err != nil {
		return err
	}
	i, found, err := g.Payments.Invoice(r.Context(), id)
	return answerOne(w, "invoice", i, found, err)
}

func (g *Gateway) listApprovals(w http.ResponseWriter, r *door.Request) error {
	limit, err := limitOf(r)
	if err != nil {
		return err
	}
	list, err := latestApprovals(r.Context(), g.Own, limit+1)
	return answerFirst(w, "approvals", list, limit, err)
}

func (g *Gateway) showApproval(w http.ResponseWriter, r *door.Request) error {
	id, err := idIn(r, "approval")
	if err != nil {
		return err
	}
	a, found, err := approvalOf(r.Context(), g.Own, id)
	return answerOne(w, "approval", a, found, err)
}

// askApproval keeps a question until somebody else decides it. A client that names the approval can ask again under the same id.
func (g *Gateway) askApproval(w http.ResponseWriter, r *door.Request) error {
	c := AskApproval{Approval: strings.ToLower(rand.Text())}
	if key := r.Header.Get("Idempotency-Key"); key != "" {
		c.Approval = keyed(r, "approval", key)
	}
	var what string
	err := form{"approval": &c.Approval, "what": &what, "subject": &c.Subject, "amount": &c.Amount, "reason": &c.Reason}.read(r.Body)
	if err != nil {
		return err
	}
	c.What = What(what)
	if err := cmp.Or(c.Validate(), g.known(r.Context(), c)); err != nil {
		return err
	}
	if err := g.do(r, "ask", c); err != nil {
		return err
	}
	return created(w, "approval", c.Approval, "/staff/approvals/"+c.Approval)
}

// known refuses to ask for what there is not, so that nobody else is troubled by a slip. Where that cannot be looked up now, who carries it out
// says so.
func (g *Gateway) known(ctx context.Context, c AskApproval) error {
	var is string
	var found bool
	var err error
	switch c.What {
	case RefundPayment:
		is = "a payment"
		_, found, err = g.Payments.Payment(ctx, c.Subject)
	case RefundInvoice:
		is = "an order that was to be paid at the depot"
		_, found, err = g.Payments.Invoice(ctx, c.Subject)
	case OpenGate:
		is = "a device of this mall"
		var list []Device
		list, err = g.Devices.Devices(ctx)
		found = slices.ContainsFunc(list, func(d Device) bool { return d.Device == c.Subject })
	}
	if err == nil && !found {
		return door.InvalidField("subject", "must be "+is)
	}
	return nil
}

func (g *Gateway) giveApproval(w http.ResponseWriter, r *door.Request) error {
	id, err := idIn(r, "approval")
	if err != nil {
		return err
	}
	if err := (form{}).read(r.Body); err != nil {
		return err
	}
	if err := g.do(r, "give", GiveApproval{id}); err != nil {
		return err
	}
	a, found, err := approvalOf(r.Context(), g.Own, id)
	return answerOne(w, "approval", a, found, err)
}

func (g *Gateway) refuseApproval(w http.ResponseWriter, r *door.Request) error {
	id, err := idIn(r, "approval")
	if err != nil {
		return err
	}
	c := RefuseApproval{Approval: id}
	if err := (form{"reason": &c.Reason}).read(r.Body); err != nil {
		return err
	}
	if err := g.do(r, "refuse", c); err != nil {
		return err
	}
	a, found, err := approvalOf(r.Context(), g.Own, id)
	return answerOne(w, "approval", a, found, err)
}
