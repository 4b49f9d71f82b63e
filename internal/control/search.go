package control

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"example.org/souk/internal/house"
	"example.org/souk/mall"
	"example.org/souk/mall/search"
)

// found is a line of what was found. The history is that of the status, oldest first.
type found struct {
	Order    string     `json:"order"`
	Customer string     `json:"customer"`
	Status   string     `json:"status"`
	Total    mall.Money `json:"total"`
	Placed   time.Time  `json:"placed"`
	Changed  time.Time  `json:"changed"`
	Paid     bool       `json:"paid"`
	Goods    string     `json:"goods"`
	History  []since    `json:"history"`
}

type since struct {
	Status string    `json:"status"`
	Since  time.Time `json:"since"`
}

// searchOrders tells the orders that are wanted, newest first, up to a number of them.
func searchOrders(ctx context.Context, h *house.House, a Args, emit Emit) error {
	q, err := queryOf(a)
	if err != nil {
		return err
	}
	n, err := number(a, "limit", 50)
	if err != nil {
		return err
	}
	if n < 1 {
		return errors.New("--limit is at least 1")
	}
	for left := n; left > 0; {
		q.Limit = int(min(left, search.MaxLimit))
		page, err := search.Find(ctx, h.Reader("search"), q)
		if err != nil {
			return err
		}
		for _, o := range page.Orders {
			row := found{
				Order: o.ID, Customer: o.Customer, Status: o.Status, Total: o.Total, Placed: o.Placed, Changed: o.Changed, Paid: !o.Paid.IsZero(),
			}
			var goods []string
			for _, i := range o.Items {
				goods = append(goods, fmt.Sprintf("%d %s", i.Quantity, i.Name))
			}
			row.Goods = strings.Join(goods, ", ")
			for _, s := range o.History {
				row.History = append(row.History, since{s.Status, s.Since})
			}
			if err := emit(row); err != nil {
				return err
			}
		}
		if left -= int64(len(page.Orders)); page.Next == "" {
			return nil
		}
		q.Cursor = page.Next
	}
	return emit(cut(n, longerList))
}

// queryOf reads a query as the command line writes it.
func queryOf(a Args) (search.Query, error) {
	q := search.Query{
		Order: a["order"], Customer: a["customer"], Card: a["card"], Store: a["store"], Product: a["product"], Basket: a["basket"], Payment: a["payment"],
		Method: search.Method(a["method"]), Text: a["text"], Currency: a["currency"],
	}
	if a["status"] != "" {
		q.Statuses = strings.Split(strings.ToUpper(a["status"]), ",")
		for _, s := range q.Statuses {
			if !search.IsStatus(s) {
				return q, fmt.Errorf("%q is not the status of an order", strings.ToLower(s))
			}
		}
	}
	if a["paid"] != "" {
		q.Paid = new(a["paid"] == "yes")
	}
	var err error
	for name, into := range map[string]*int64{"least": &q.Least, "most": &q.Most} {
		if *into, err = number(a, name, 0); err != nil {
			return q, err
		}
	}
	for name, into := range map[string]*time.Time{"from": &q.From, "until": &q.Until} {
		if *into, err = instant(a, name, time.Time{}); err != nil {
			return q, err
		}
	}
	return q, q.Check()
}

func number(a Args, name string, usual int64) (int64, error) {
	if a[name] == "" {
		return usual, nil
	}
	n, err := strconv.ParseInt(a[name], 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s %q is not a whole number", name, a[name])
	}
	return n, nil
}
