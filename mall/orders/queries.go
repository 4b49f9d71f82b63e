package orders

import (
	"context"
	"fmt"
	"strings"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/event"
)

// maxHistory bounds the events of one order that are read. No order comes near it.
const maxHistory = 200

// View is all that there is to know about an order.
type View struct {
	ID      string
	Version int64 // how many events it has had
	Order
	History []Step // oldest first
}

// Step says since when an order had a status. Status is as in Order.Shown.
type Step struct {
	Status string
	Time   time.Time
}

// Get returns an order as of now; false when it was never placed.
func Get(ctx context.Context, r *backbone.Reader, id string) (View, bool, error) {
	log, err := history(ctx, r, id)
	if err != nil || len(log) == 0 {
		return View{}, false, err
	}
	// The state is taken at the last event that was read, so that status and history agree.
	state, version, err := backbone.LoadAt(ctx, r, orders, id, log[len(log)-1].Version)
	if err != nil {
		return View{}, false, err
	}
	return View{ID: id, Version: version, Order: state, History: stepsOf(log)}, true, nil
}

func stepsOf(log []*backbone.Message) []Step {
	var list []Step
	var status Status
	reserved := false
	for _, m := range log {
		status = status.after(m.Type)
		reserved = reserved || m.Type == event.OrderStockReservedV1
		if now := shown(status, reserved); len(list) == 0 || list[len(list)-1].Status != now {
			list = append(list, Step{Status: now, Time: m.Time})
		}
	}
	return list
}

// Summary is a line of a list of orders. Status is as in Order.Shown.
type Summary struct {
	Order    string
	Customer string
	Status   string
	Total    mall.Money
	Placed   time.Time

	Paid      bool
	Undecided int // lines that are short and wait for a decision

	WhenShort   mall.WhenShort
	Substitutes []mall.Item
}

// Latest returns the n orders that were placed last, newest first. It reads the end of the log, so it keeps no table that
// every order would have to write.
func Latest(ctx context.Context, r *backbone.Reader, n int) ([]Summary, error) {
	placed, err := r.Log(ctx, backbone.ReadQuery{Types: []string{event.OrderPlacedV1}, Limit: n, Descending: true})
	if err != nil {
		return nil, fmt.Errorf("latest orders: %w", err)
	}
	list := make([]Summary, 0, len(placed))
	for _, m := range placed {
		id := strings.TrimPrefix(m.Stream, orders.Name+"/")
		o, _, err := backbone.Load(ctx, r, orders, id)
		if err != nil {
			return nil, fmt.Errorf("latest orders: %w", err)
		}
		list = append(list, Summary{
			Order: id, Customer: o.Customer, Status: o.Shown(), Total: o.Total, Placed: m.Time, Paid: o.Paid, Undecided: len(o.Undecided),
			WhenShort: o.WhenShort, Substitutes: o.Substitutes,
		})
	}
	return list, nil
}

// history returns the events of an order, oldest first.
func history(ctx context.Context, r *backbone.Reader, id string) ([]*backbone.Message, error) {
	log, err := r.Log(ctx, backbone.ReadQuery{Stream: orders.Ref(id).Stream(), Kinds: backbone.EventKinds(), Limit: maxHistory})
	if err != nil {
		return nil, fmt.Errorf("order %s: %w", id, err)
	}
	return log, nil
}
