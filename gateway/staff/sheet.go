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

// sheet is the page of one order.
type sheet struct {
	Order
	Role  door.Role
	Rank  door.Rank
	Actor string
	Time  time.Time
	// Set aside or taken before, and asked for at the depot; nil where there is none.
	Prepaid *Payment
	Bill    *Invoice
	// Unknown says that the money cannot be looked up now. The page is shown without it.
	Unknown bool
}

// answerSheet answers with the page of an order as it is now.
func (g *Gateway) answerSheet(w http.ResponseWriter, r *door.Request, o Order) error {
	s := sheet{Order: o, Role: r.Caller.Role, Rank: r.Caller.Rank, Actor: r.Caller.Actor(), Time: g.Clock.Now().UTC()}
	if o.Payment != "" {
		p, found, err := g.Payments.Payment(r.Context(), o.Payment)
		if found {
			s.Prepaid = &p
		}
		s.Unknown = err != nil
	}
	i, found, err := g.Payments.Invoice(r.Context(), o.OrderLine.Order) // an invoice has the id of its order
	if found {
		s.Bill = &i
	}
	s.Unknown = s.Unknown || err != nil
	return answerPage(w, "order.html", s)
}

// Acts reports whether the one who looks may do anything.
func (s sheet) Acts() bool { return s.Role == door.Staff }

// Open reports whether the order has not ended.
func (s sheet) Open() bool { return slices.Contains(open(), s.Status) }

// Gone is how many pieces of an item were not found and wait for a decision.
func (s sheet) Gone(i mall.Item) int64 {
	for _, line := range s.Short {
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
