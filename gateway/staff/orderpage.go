package staff

import (
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"

	"example.org/souk/gateway/door"
	"example.org/souk/mall"
)

// orderPage is an order as its page shows it to somebody.
type orderPage struct {
	Order
	viewer
	Time time.Time
	// Set aside or taken before, and asked for at the depot; nil where there is none.
	Prepaid *Payment
	Bill    *Invoice
	// Unknown says that the money cannot be looked up now. The page is shown without it.
	Unknown bool
}

// answerOrderPage answers with the page of an order as it is now.
func (g *Gateway) answerOrderPage(w http.ResponseWriter, r *door.Request, o Order) error {
	page := orderPage{Order: o, viewer: viewerOf(r), Time: g.Clock.Now().UTC()}
	if o.Payment != "" {
		p, found, err := g.Payments.Payment(r.Context(), o.Payment)
		if found {
			page.Prepaid = &p
		}
		page.Unknown = err != nil
	}
	i, found, err := g.Payments.Invoice(r.Context(), o.OrderLine.Order) // an invoice has the id of its order
	if found {
		page.Bill = &i
	}
	page.Unknown = page.Unknown || err != nil
	return answerPage(w, "order.html", page)
}

// Open reports whether the order has not ended.
func (p orderPage) Open() bool { return slices.Contains(open(), p.Status) }

// Gone is how many pieces of an item were not found and wait for a decision.
func (p orderPage) Gone(i mall.Item) int64 {
	for _, line := range p.Short {
		if line.SKU == i.SKU {
			return line.Quantity
		}
	}
	return 0
}

// told says for people what happened to an order: "stock reserved" for OrderStockReserved.
func told(what string) string {
	var b strings.Builder
	for n, letter := range strings.TrimPrefix(what, "Order") {
		if unicode.IsUpper(letter) && n > 0 {
			b.WriteByte(' ')
		}
		b.WriteRune(unicode.ToLower(letter))
	}
	return b.String()
}
