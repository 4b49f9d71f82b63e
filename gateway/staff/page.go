package staff

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"example.org/souk/gateway/door"
	"example.org/souk/mall"
)

//go:embed page.html board.html order.html sales.html substitutes.html parts.html page.css page.js form.js
var files embed.FS

// pagePolicy keeps everything out that is not ours.
const pagePolicy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"

// pictureFor is for how long one picture is good for everybody who looks.
const pictureFor = 200 * time.Millisecond

// How much of everything a picture shows.
const (
	openOrders  = 200
	endedOrders = 20
	otherRows   = 50
)

// Snapshot is how the mall is. AsOf is where a socket goes on from: everything until there is in it. What happened while it was made may be
// in it and come again over the socket.
type Snapshot struct {
	AsOf      string      `json:"as_of"`
	Time      time.Time   `json:"time"`
	Orders    []OrderLine `json:"orders"` // that have not ended, newest first, and then the last that have
	Low       []Level     `json:"low"`
	Stock     []Level     `json:"stock"`
	Stores    []Shop      `json:"stores"`
	Purchases []Purchase  `json:"purchases"`
	Approvals []Approval  `json:"approvals"`
	Robots    []Robot     `json:"robots"`
	Lists     []List      `json:"lists"`
	Devices   []Device    `json:"devices"`
	// More names those of the lists that are cut. Of orders that have ended only the last are shown in any case.
	More []string `json:"more,omitempty"`
}

// Cut tells the page whether a list is.
func (s *Snapshot) Cut(list string) bool { return slices.Contains(s.More, list) }

// first returns the first of a list, of which one more was asked for, and notes where there are more.
func first[T any](s *Snapshot, name string, limit int, list []T) []T {
	if len(list) <= limit {
		return list
	}
	s.More = append(s.More, name)
	return list[:limit]
}

// picture makes one snapshot for everybody who asks at a time.
type picture struct {
	mu   sync.Mutex
	last *Snapshot
}

func (g *Gateway) look(ctx context.Context) (*Snapshot, error) {
	p := &g.picture
	p.mu.Lock()
	defer p.mu.Unlock()
	now := g.Clock.Now()
	if p.last != nil && now.Sub(p.last.Time) < pictureFor && !now.Before(p.last.Time) {
		return p.last, nil
	}
	s, err := g.take(ctx, now)
	if err != nil {
		return nil, unavailable(err)
	}
	p.last = s
	return s, nil
}

// take reads everything. The position comes first, so that nothing is lost between it and what is read.
func (g *Gateway) take(ctx context.Context, now time.Time) (*Snapshot, error) {
	heads, err := headsOf(ctx, g.Logs, g.follower.services)
	if err != nil {
		return nil, err
	}
	s := &Snapshot{AsOf: position{at: heads}.text(g.follower.services), Time: now.UTC()}
	for _, read := range []func() error{
		func() (err error) {
			s.Orders, err = g.Orders.Latest(ctx, open(), openOrders+1)
			s.Orders = first(s, "orders", openOrders, s.Orders)
			return err
		},
		func() error {
			list, err := g.Orders.Latest(ctx, ended(), endedOrders)
			s.Orders = append(slices.Clip(s.Orders), list...)
			return err
		},
		func() (err error) { s.Low, err = g.Stock.Low(ctx, otherRows+1); return err },
		func() (err error) { s.Stock, err = g.Stock.Levels(ctx, "", "", otherRows+1); return err },
		func() (err error) { s.Stores, err = g.Shops.Shops(ctx, "", otherRows+1); return err },
		func() (err error) { s.Purchases, err = g.Purchases.Purchases(ctx, otherRows+1); return err },
		func() (err error) { s.Approvals, err = latestApprovals(ctx, g.Own, otherRows+1); return err },
		func() (err error) { s.Robots, err = g.robots(ctx); return err },
		func() (err error) { s.Lists, err = g.Fleet.Lists(ctx, otherRows+1); return err },
		func() (err error) { s.Devices, err = g.Devices.Devices(ctx); return err },
	} {
		if err := read(); err != nil {
			return nil, err
		}
	}
	s.Low, s.Stock = first(s, "low", otherRows, s.Low), first(s, "stock", otherRows, s.Stock)
	s.Stores, s.Purchases = first(s, "stores", otherRows, s.Stores), first(s, "purchases", otherRows, s.Purchases)
	s.Approvals, s.Lists = first(s, "approvals", otherRows, s.Approvals), first(s, "lists", otherRows, s.Lists)
	return s, nil
}

func (g *Gateway) snapshot(w http.ResponseWriter, r *door.Request) error {
	s, err := g.look(r.Context())
	if err != nil {
		return err
	}
	return door.Answer(w, http.StatusOK, s)
}

// page answers with the whole page as it is now; board with the part of it that changes.
func (g *Gateway) page(w http.ResponseWriter, r *door.Request) error {
	return g.render(w, r, "page.html")
}

func (g *Gateway) board(w http.ResponseWriter, r *door.Request) error {
	return g.render(w, r, "board.html")
}

var pages = template.Must(template.New("").Funcs(template.FuncMap{
	"sign": sign, "word": word, "class": class, "person": person, "asked": asked, "took": took, "wish": wish, "told": told,
}).ParseFS(files, "page.html", "board.html", "order.html", "sales.html", "substitutes.html", "parts.html"))

func (g *Gateway) render(w http.ResponseWriter, r *door.Request, name string) error {
	s, err := g.look(r.Context())
	if err != nil {
		return err
	}
	return answerPage(w, name, shown{s, viewerOf(r)})
}

// answerPage answers with a page that loads nothing but what is ours.
func answerPage(w http.ResponseWriter, name string, data any) error {
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, name, data); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", pagePolicy)
	_, err := w.Write(b.Bytes())
	return err
}

func asset(name, contentType string) door.Handler {
	return func(w http.ResponseWriter, _ *door.Request) error {
		data, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		w.Header().Set("Content-Type", contentType)
		_, err = w.Write(data)
		return err
	}
}

// viewer is somebody who looks at a page.
type viewer struct {
	Role  door.Role
	Rank  door.Rank
	Actor string
}

func viewerOf(r *door.Request) viewer {
	return viewer{r.Caller.Role, r.Caller.Rank, r.Caller.Actor()}
}

// Acts reports whether the one who looks may do anything, Manages whether all of it.
func (v viewer) Acts() bool    { return v.Role == door.Staff }
func (v viewer) Manages() bool { return v.Rank == door.Manager }

// shown is a snapshot as the page shows it to somebody.
type shown struct {
	*Snapshot
	viewer
}

// Mine reports whether the one who looks has asked for an approval.
func (s shown) Mine(a Approval) bool { return a.Asker == s.Actor }

// Column is the orders of one status.
type column struct {
	Status string
	Orders []OrderLine
}

// Columns lists the statuses with their orders; the ends only where there are any.
func (s shown) Columns() []column {
	var list []column
	for _, status := range append(open(), ended()...) {
		c := column{Status: status}
		for _, o := range s.Orders {
			if o.Status == status {
				c.Orders = append(c.Orders, o)
			}
		}
		if len(c.Orders) > 0 || slices.Contains(open(), status) {
			list = append(list, c)
		}
	}
	return list
}

// Ready lists the orders that can be collected, the oldest first.
func (s shown) Ready() []OrderLine {
	var list []OrderLine
	for _, o := range slices.Backward(s.Orders) {
		if o.Status == "READY" {
			list = append(list, o)
		}
	}
	return list
}

// Short lists the orders for which something is missing that somebody has to decide on.
func (s shown) Short() []OrderLine {
	var list []OrderLine
	for _, o := range s.Orders {
		if o.Missing > 0 {
			list = append(list, o)
		}
	}
	return list
}

// Waiting lists the approvals that wait for somebody.
func (s shown) Waiting() []Approval {
	return slices.DeleteFunc(slices.Clone(s.Approvals), func(a Approval) bool { return a.Status != waiting })
}

// Troubled lists the robots that do not go on by themselves.
func (s shown) Troubled() []Robot {
	return slices.DeleteFunc(slices.Clone(s.Robots), func(r Robot) bool {
		return r.State != mall.RobotError && (r.State != mall.RobotOffline || r.List == "")
	})
}

// Calls counts what waits for somebody.
func (s shown) Calls() int { return len(s.Short()) + len(s.Waiting()) + len(s.Troubled()) }

// Age says for people how long something has been.
func (s shown) Age(t time.Time) string {
	switch d := s.Time.Sub(t); {
	case t.IsZero():
		return "never"
	case d < time.Minute:
		return fmt.Sprintf("%d s", max(0, int(d/time.Second)))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d/time.Minute))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d/time.Hour))
	default:
		return fmt.Sprintf("%d d", int(d/(24*time.Hour)))
	}
}

// lateAfter is when an order that should go on by itself is late.
const lateAfter = 10 * time.Minute

// Late reports whether an order has been waiting for too long.
func (s shown) Late(o OrderLine) bool {
	return slices.Contains([]string{"PENDING", "RESERVED", "APPROVED", "PICKING", "CANCELLING"}, o.Status) && s.Time.Sub(o.Placed) > lateAfter
}

// looks says how a status or a state is drawn: by a colour, and by a sign for who does not tell colours.
var looks = map[string]struct{ class, sign string }{
	"PENDING": {"run", "…"}, "RESERVED": {"run", "…"}, "BACKORDERED": {"wait", "◔"}, "APPROVED": {"run", "✓"}, "PICKING": {"run", "▶"}, "SHORT": {"bad", "✕"},
	"READY": {"good", "●"}, "CANCELLING": {"undo", "↩"}, "COMPLETED": {"good", "✓"}, "REJECTED": {"bad", "✕"}, "CANCELED": {"undo", "↩"},
	"EXPIRED": {"wait", "◔"},
	"offline": {"bad", "○"}, "idle": {"good", "●"}, "assigned": {"run", "▷"}, "working": {"run", "▶"}, "charging": {"wait", "⚡"},
	"paused": {"wait", "‖"}, "error": {"bad", "✕"},
	waiting: {"wait", "◔"}, given: {"run", "…"}, refused: {"undo", "↩"}, done: {"good", "✓"}, failed: {"bad", "✕"},
	"proposed": {"run", "…"}, "sent": {"run", "▶"}, "received": {"good", "✓"}, "canceled": {"undo", "↩"},
}

func sign(state any) string {
	if l, ok := looks[fmt.Sprint(state)]; ok {
		return l.sign
	}
	return "?"
}

func class(state any) string {
	if l, ok := looks[fmt.Sprint(state)]; ok {
		return l.class
	}
	return "wait"
}

func word(state any) string {
	return strings.ReplaceAll(strings.ToLower(fmt.Sprint(state)), "_", " ")
}

// person leaves the role away from an actor's name.
func person(actor string) string { return strings.TrimPrefix(actor, "staff:") }

// wish says what a customer wants when goods are not found.
func wish(w mall.WhenShort) string {
	switch w {
	case mall.ShortRest:
		return "the rest"
	case mall.ShortSubstitute:
		return "something like it, never dearer"
	case mall.ShortCancel:
		return "nothing then"
	}
	return "to be asked"
}

// asked says what an approval is for.
func asked(a Approval) string {
	switch a.What {
	case RefundPayment, RefundInvoice:
		if a.Amount != nil {
			return "Refund " + a.Amount.String()
		}
		return "Refund"
	case OpenGate:
		return "Open gate"
	}
	return word(a.What)
}
