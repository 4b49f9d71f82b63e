package kiosk

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"example.org/souk/gateway/door"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
)

//go:embed page/*
var files embed.FS

const (
	pagePolicy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
	htmlType   = "text/html; charset=utf-8"
	pageLimit  = 24       // products on a page
	formLimit  = 16 << 10 // bytes
)

// pages shows the gateway to people. Everything is a form and a page, so that it works without a script; the script only
// follows what happens, counts the time down, and asks whether somebody is there.
type pages struct {
	*gateway
	templates map[*tongue]*template.Template
}

// view is what a page shows.
type view struct {
	Title    string // key of it
	Message  string // what went wrong, or well
	Name     string // of who shops; "" where nobody has said
	Shopping bool   // somebody has a session
	Kiosk    bool   // the page stands at a kiosk, which many people use one after another
	IdleMS   int64
	WarnMS   int64
	Live     string // where the part named live is followed; "" where it is not
	Back     string // where forms come back to
	Here     string // the page's own address

	Stores   []storeBody
	Store    string
	Kinds    []string // categories
	Category string
	Query    string
	Products []productBody
	More     string // address of the next page; "" at the end
	Visit    string // makes what a page begins its own
	Basket   *basketBody
	Wishes   wishes // of the basket
	Order    *orderBody
	Orders   []summaryBody
	Paying   *paying
}

// shopper is who shops at the page: the customer whose own login it is, or whoever has a session at a kiosk.
type shopper struct {
	door.Principal
	basket string  // as the browser remembers it; "" where there is none
	paying attempt // by which money was set aside, as the browser remembers it
	kiosk  bool
}

func (s *shopper) who(r *door.Request) who { return who{s.Actor(), r.Trace, r.Since} }

func (g *gateway) showPages() error {
	p := &pages{g, map[*tongue]*template.Template{}}
	for _, t := range g.tongues.list {
		parsed, err := template.New("").Funcs(g.functions(t)).ParseFS(files, "page/*.html")
		if err != nil {
			return err
		}
		p.templates[t] = parsed
	}
	access := door.Access{door.Device: door.All, door.Staff: door.All, door.Customer: door.Own}
	var routes []door.Route
	for pattern, show := range map[string]func(*visit) error{
		"GET /kiosk": p.start, "GET /kiosk/shop": p.shop, "GET /kiosk/orders": p.orders, "GET /kiosk/orders/{order}": p.order, "GET /kiosk/pay": p.payPage,
		"POST /kiosk/card": p.card, "POST /kiosk/add": p.add, "POST /kiosk/take": p.take, "POST /kiosk/extend": p.extend,
		"POST /kiosk/language": p.speak, "POST /kiosk/accept": p.accept, "POST /kiosk/drop": p.drop, "POST /kiosk/checkout": p.checkout, "POST /kiosk/leave": p.leave,
		"POST /kiosk/wishes": p.choose, "POST /kiosk/again": p.again,
		"POST /kiosk/orders/{order}/cancel": p.cancelOrder, "POST /kiosk/orders/{order}/short": p.decideShort, "POST /kiosk/orders/{order}/pay": p.payOrder,
	} {
		routes = append(routes, door.Route{Pattern: pattern, Access: access, Handle: p.visited(show)})
	}
	for name, contentType := range map[string]string{"page.css": "text/css; charset=utf-8", "page.js": "text/javascript; charset=utf-8"} {
		routes = append(routes, door.Route{Pattern: "GET /kiosk/" + name, Public: true, Handle: file(name, contentType)})
	}
	routes = append(routes,
		door.Route{Pattern: "GET /kiosk/basket/events", Access: access, Stream: true, Handle: p.visited(p.followBasket)},
		door.Route{Pattern: "GET /kiosk/pay/events", Access: access, Stream: true, Handle: p.visited(p.followPayment)},
		door.Route{Pattern: "GET /kiosk/orders/{order}/events", Access: access, Stream: true, Handle: p.visited(p.followOrder)})
	return g.door.Gate(Gate).Add(routes...)
}

// functions are what pages of a language are drawn with.
func (g *gateway) functions(t *tongue) template.FuncMap {
	return template.FuncMap{
		"t": t.say, "lang": func() string { return t.Code }, "tongues": func() []*tongue { return g.tongues.list },
		"money":   func(m moneyBody) string { return mall.Money(m).String() },
		"initial": func(s string) string { return strings.ToUpper(string([]rune(s + " ")[0])) },
		"stock":   func(s string) string { return t.say("stock." + s) },
		"status":  func(s string) string { return "status." + s },
		"clock":   func(at time.Time) string { return at.Local().Format("15:04") },
		"day":     func(at time.Time) string { return at.Local().Format(t.say("day.layout")) },
		"stages":  stagesOf, "stage": func(o *orderBody) string { return t.stageOf(o) }, "over": over, "can": mayBeCanceled, "beforehand": beforehand,
		"pays":    func(s *paying) string { return t.say("pay." + s.Status) },
		"expired": func(b *basketBody) bool { return b.Reason == mall.ReasonBasketExpired },
		"only":    func(l lineBody) string { return t.only(*l.Available) },
		"scarce": func(b *basketBody) bool {
			return slices.ContainsFunc(b.Items, func(l lineBody) bool { return l.Available != nil })
		},
		"pieces": func(items []lineBody) (n int64) {
			for _, i := range items {
				n += i.Quantity
			}
			return n
		},
	}
}

func file(name, contentType string) door.Handler {
	return func(w http.ResponseWriter, _ *door.Request) error {
		data, err := files.ReadFile("page/" + name)
		if err != nil {
			return err
		}
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Content-Security-Policy", pagePolicy)
		_, err = w.Write(data)
		return err
	}
}

// visit is one request to the page.
type visit struct {
	w    http.ResponseWriter
	r    *door.Request
	ctx  context.Context
	form url.Values
	who  *shopper // nil: nobody has a session
	over bool     // somebody had one, which is over
	in   *tongue
}

// withoutSession are the forms that mean the same to whoever has no session any more. What any other asks for would be done for somebody else.
var withoutSession = map[string]bool{"/kiosk/card": true, "/kiosk/language": true, "/kiosk/leave": true}

// visited finds out who shops, and shows people what went wrong as people want to be told.
func (p *pages) visited(show func(*visit) error) door.Handler {
	return func(w http.ResponseWriter, r *door.Request) error {
		v := &visit{w: w, r: r, ctx: r.Context(), in: p.tongues.of(r.Request, p.cookie("language"))}
		if err := p.recognise(v); err != nil {
			return err
		}
		if r.Method == http.MethodPost {
			r.Request.Body = http.MaxBytesReader(w, r.Request.Body, formLimit)
			if err := r.Request.ParseForm(); err != nil {
				return door.NewProblem(http.StatusBadRequest, "malformed_form", "The form did not arrive whole.")
			}
			v.form = r.Request.PostForm
			p.wish(v)
		}
		if v.over && r.Method == http.MethodPost && !withoutSession[r.URL.Path] {
			p.remember(w, "shopper", "")
			return v.to("/kiosk/shop", "visit_over")
		}
		err := show(v)
		if err == nil {
			return nil
		}
		problem := door.ProblemOf(err)
		if problem.Status == http.StatusInternalServerError || w.Header().Get("Content-Type") == "text/event-stream" {
			return err
		}
		if r.Method == http.MethodPost {
			return v.to(back(v.form.Get("back")), problem.Code)
		}
		return p.write(v, problem.Status, "problem.html", view{Title: "sorry", Message: v.in.sentence(problem.Code)})
	}
}

// recognise finds out who shops.
func (p *pages) recognise(v *visit) error {
	c := &v.r.Caller
	basket, paying := p.remembered(v, "basket"), parseAttempt(p.remembered(v, "payment"))
	if mall.ValidID(basket) != nil {
		basket = ""
	}
	if c.Role == door.Customer {
		c.Owns(c.Subject)
		v.who = &shopper{c.Principal, basket, paying, false}
		return nil
	}
	cookie, err := v.r.Cookie(p.cookie("shopper"))
	if err != nil {
		return nil //nolint:nilerr // nobody stands there
	}
	principal, err := p.Authority.Verify(cookie.Value, Gate)
	if err != nil || principal.Role != door.Customer {
		v.over = true
		return nil //nolint:nilerr // the session is over
	}
	v.who = &shopper{principal, basket, paying, true}
	next, err := p.Authority.Renew(&principal)
	if err == nil && next != "" {
		p.remember(v.w, "shopper", next)
	}
	return err
}

// remembered returns what the browser says that it remembers by a cookie; "" where it remembers nothing.
func (p *pages) remembered(v *visit, name string) string {
	cookie, err := v.r.Cookie(p.cookie(name))
	if err != nil {
		return ""
	}
	return cookie.Value
}

// cookie names a cookie of the page beside the door's own.
func (p *pages) cookie(name string) string {
	if p.TLS {
		return "__Host-souk-" + name
	}
	return "souk-" + name
}

// remember sets a cookie that ends with the browser; "" takes it away.
func (p *pages) remember(w http.ResponseWriter, name, value string) {
	c := &http.Cookie{Name: p.cookie(name), Value: value, Path: "/", HttpOnly: true, Secure: p.TLS, SameSite: http.SameSiteStrictMode} //nolint:gosec // without TLS it is bound to loopback
	if value == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

// to sends the browser on, with what it is to say there.
func (v *visit) to(path, say string) error {
	if say != "" {
		u, err := url.Parse(path)
		if err != nil {
			return err
		}
		q := u.Query()
		q.Set("say", say)
		u.RawQuery = q.Encode()
		path = u.String()
	}
	v.w.Header().Set("Location", path)
	v.w.WriteHeader(http.StatusSeeOther)
	return nil
}

// back is where a form came from, if that is one of our pages.
func back(path string) string {
	u, err := url.Parse(path)
	if err != nil || u.Scheme != "" || u.Host != "" || u.Path != "/kiosk" && !strings.HasPrefix(u.Path, "/kiosk/") || strings.Contains(path, "\\") {
		return "/kiosk/shop"
	}
	q := u.Query()
	q.Del("say")
	q.Del("of")
	u.RawQuery = q.Encode()
	return u.String()
}

// write renders a page.
func (p *pages) write(v *visit, status int, name string, show view) error {
	if show.Message == "" {
		show.Message = v.in.sentence(v.r.URL.Query().Get("say"))
	}
	if v.over { // a basket is remembered still, for whose it is and signs in again
		show.Message = v.in.sentence("visit_over")
		p.remember(v.w, "shopper", "")
	}
	show.Here = back(v.r.URL.String())
	show.Kiosk = v.r.Caller.Role != door.Customer
	show.IdleMS, show.WarnMS = p.IdleAfter.Milliseconds(), p.WarnFor.Milliseconds()
	if v.who != nil {
		show.Shopping = true
		name, err := p.People.Name(v.ctx, v.who.Subject)
		if err == nil { // else nobody is greeted by name
			show.Name = name
		}
	}
	var b bytes.Buffer
	if err := p.templates[v.in].ExecuteTemplate(&b, name, show); err != nil {
		return err
	}
	v.w.Header().Set("Content-Type", htmlType)
	v.w.Header().Set("Content-Language", v.in.Code)
	v.w.Header().Add("Vary", "Accept-Language, Cookie")
	v.w.Header().Set("Content-Security-Policy", pagePolicy)
	v.w.WriteHeader(status)
	_, _ = v.w.Write(b.Bytes()) // a browser that went away is told nothing
	return nil
}

func (p *pages) start(v *visit) error {
	show := view{Title: "welcome"}
	if _, err := p.stores(v.ctx); err != nil {
		show.Message = v.in.say("say.paused")
	}
	return p.write(v, http.StatusOK, "start.html", show)
}

func (p *pages) shop(v *visit) error {
	q := v.r.URL.Query()
	show := view{Title: "shop", Store: q.Get("store"), Category: q.Get("category"), Query: strings.TrimSpace(q.Get("q")), Visit: rand.Text()}
	after := q.Get("after")
	if show.Store != "" && mall.ValidID(show.Store) != nil || after != "" && mall.ValidID(after) != nil || len(show.Query) > 100 || utf8.RuneCountInString(show.Category) > command.MaxCategory {
		return door.NotFound("page")
	}
	var err error
	if show.Stores, err = p.stores(v.ctx); err != nil {
		return err
	}
	if show.Kinds, err = p.Catalogue.Categories(v.ctx, show.Store); err != nil {
		return unavailable(err)
	}
	var next string
	if show.Products, next, err = p.products(v.ctx, Query{Store: show.Store, Category: show.Category, Text: show.Query}, after, pageLimit); err != nil {
		return err
	}
	if next != "" {
		show.More = "/kiosk/shop?" + url.Values{"store": {show.Store}, "category": {show.Category}, "q": {show.Query}, "after": {next}}.Encode()
	}
	if show.Basket, err = p.ownedBasket(v); err != nil {
		return err
	}
	show.Back = back(v.r.URL.String())
	if of := q.Get("of"); of != "" {
		show.Message = p.leftOut(v, of, show.Basket)
	}
	if show.Basket != nil && show.Basket.Status == BasketOpen {
		show.Wishes = p.wished(v, show.Basket.Basket)
		show.Live = "/kiosk/basket/events?" + url.Values{"back": {show.Back}, "visit": {show.Visit}}.Encode()
	}
	return p.write(v, http.StatusOK, "shop.html", show)
}

// ownedBasket returns the basket that the browser remembers, or nil where there is none for who shops.
func (p *pages) ownedBasket(v *visit) (*basketBody, error) {
	if v.who == nil || v.who.basket == "" {
		return nil, nil
	}
	b, err := p.basket(v.ctx, v.who.basket)
	if problem, ok := errors.AsType[*door.Problem](err); ok && problem.Status == http.StatusNotFound {
		return nil, nil
	}
	if err != nil || b.Customer != v.who.Subject || b.Status == BasketCheckedOut {
		return nil, err
	}
	return &b, nil
}

// openBasket returns the basket that a form or an address names, or else the one that the browser remembers, if it belongs to who shops. What a page says of its
// basket goes before what the browser remembers, which another page may have changed.
func (p *pages) openBasket(v *visit) (Basket, error) {
	closed := door.NewProblem(http.StatusConflict, "not_open", "There is no basket.")
	if v.who == nil {
		return Basket{}, closed
	}
	id := cmp.Or(v.form.Get("basket"), v.r.URL.Query().Get("basket"), v.who.basket)
	if mall.ValidID(id) != nil {
		return Basket{}, closed
	}
	b, ok, err := p.Baskets.Basket(v.ctx, id)
	if err != nil {
		return b, unavailable(err)
	}
	if !ok || b.Customer != v.who.Subject {
		return b, closed
	}
	return b, nil
}

// speak has the page go on in a language, until whoever chose it leaves.
func (p *pages) speak(v *visit) error {
	t := p.tongues.named(v.form.Get("language"))
	if t == nil {
		return door.InvalidField("language", "is none that is spoken here")
	}
	p.remember(v.w, "language", t.Code)
	return v.to(back(v.form.Get("back")), "")
}

func (p *pages) card(v *visit) error {
	if v.r.Caller.Role == door.Customer {
		return v.to("/kiosk/shop", "")
	}
	customer, err := p.byCard(v.ctx, strings.TrimSpace(v.form.Get("card")))
	if problem, ok := errors.AsType[*door.Problem](err); ok && problem.Status < 500 {
		return v.to("/kiosk", "unknown_card")
	}
	if err != nil {
		return err
	}
	if err := p.begin(v, customer); err != nil {
		return err
	}
	return v.to("/kiosk/shop", "")
}

// begin opens a session in this browser.
func (p *pages) begin(v *visit, customer string) error {
	token, principal, err := p.open(customer)
	if err != nil {
		return err
	}
	p.remember(v.w, "shopper", token)
	v.who = &shopper{Principal: principal, kiosk: true}
	return nil
}

// key is what the form calls itself, so that one that is sent twice takes effect once.
func (v *visit) key(name string) string {
	k := v.form.Get(name)
	if len(k) > 64 {
		k = k[:64]
	}
	return "page " + k
}

func (p *pages) add(v *visit) error {
	quantity, err := strconv.ParseInt(v.form.Get("quantity"), 10, 64)
	if err != nil {
		return door.InvalidField("quantity", "must be a number")
	}
	amount, err := strconv.ParseInt(v.form.Get("amount"), 10, 64)
	if err != nil {
		return door.InvalidField("amount", "must be a number")
	}
	if v.who == nil {
		// Nobody has to say who they are: whoever takes something becomes a guest.
		customer, err := p.register(v.ctx, whoOf(v.r), "", "", "", "", v.key("visit"))
		if err != nil {
			return err
		}
		if err := p.begin(v, customer); err != nil {
			return err
		}
	}
	b, err := p.basketToFill(v)
	if err != nil {
		return err
	}
	seen := mall.Money{Amount: amount, Currency: v.form.Get("currency")}
	if err := p.addItem(v.ctx, v.who.who(v.r), b.Basket, v.form.Get("product"), quantity, seen, v.key("key")); err != nil {
		return err
	}
	return v.to(back(v.form.Get("back")), "")
}

// basketToFill returns the open basket of who shops. Where there is none it begins one, which the browser remembers: one for each visit that a form names.
func (p *pages) basketToFill(v *visit) (*basketBody, error) {
	b, err := p.ownedBasket(v)
	if err != nil || b != nil && b.Status == BasketOpen {
		return b, err
	}
	started, err := p.gateway.start(v.ctx, v.who.who(v.r), v.who.Subject, v.key("visit"))
	if err != nil {
		return nil, err
	}
	p.remember(v.w, "basket", started.Basket)
	return &started, nil
}

func (p *pages) take(v *visit) error {
	b, err := p.openBasket(v)
	if err != nil {
		return err
	}
	quantity := int64(0) // all of it
	if v.form.Get("quantity") != "" {
		if quantity, err = strconv.ParseInt(v.form.Get("quantity"), 10, 64); err != nil || quantity < 1 {
			return door.InvalidField("quantity", "must be a number")
		}
	}
	if err := p.removeItem(v.ctx, v.who.who(v.r), b, v.form.Get("product"), quantity, v.key("key")); err != nil {
		return err
	}
	return v.to(back(v.form.Get("back")), "")
}

func (p *pages) extend(v *visit) error {
	b, err := p.openBasket(v)
	if err != nil {
		return err
	}
	if err := p.gateway.extend(v.ctx, v.who.who(v.r), b); err != nil {
		return err
	}
	return v.to(back(v.form.Get("back")), "extended")
}

// accept takes the prices that the page showed: "product amount currency version" each.
func (p *pages) accept(v *visit) error {
	b, err := p.openBasket(v)
	if err != nil {
		return err
	}
	var quotes []mall.Quote
	for _, line := range v.form["quote"] {
		var q mall.Quote
		if _, err := fmt.Sscanf(line, "%64s %d %3s %d", &q.Product, &q.Price.Amount, &q.Price.Currency, &q.PriceVersion); err != nil {
			return door.InvalidField("quote", "is none")
		}
		quotes = append(quotes, q)
	}
	if err := p.gateway.accept(v.ctx, v.who.who(v.r), b, quotes); err != nil {
		return err
	}
	return v.to(back(v.form.Get("back")), "")
}

func (p *pages) drop(v *visit) error {
	b, err := p.openBasket(v)
	if err != nil {
		return err
	}
	if b.Status == BasketCanceled { // another one is to begin
		p.forget(v, b)
		return v.to("/kiosk/shop", "")
	}
	if err := p.giveUp(v.ctx, v.who.who(v.r), b.ID, "given up by the customer"); err != nil {
		return err
	}
	p.forget(v, b)
	return v.to("/kiosk/shop", "dropped")
}

func (p *pages) checkout(v *visit) error {
	b, err := p.openBasket(v)
	if err != nil {
		return err
	}
	c := command.CheckoutBasket{
		Basket: b.ID, Order: b.ID, WaitForStock: v.form.Get("wait") != "", WhenShort: mall.WhenShort(v.form.Get("whenShort")),
	}
	if v.form.Get("pay") == "now" && b.Status == BasketOpen {
		payment, show, err := p.payBeforehand(v, b)
		if err != nil {
			return err
		}
		if c.Payment = payment; payment == "" {
			return v.to(show.address("/kiosk/pay"), "")
		}
	}
	if err := p.checkOut(v.ctx, v.who.who(v.r), b, c); err != nil {
		return err
	}
	p.forget(v, b)
	return v.to("/kiosk/orders/"+c.Order, "")
}

// leave ends a session: what was not ordered is given up, and whoever comes next finds nothing of it.
func (p *pages) leave(v *visit) error {
	if b, err := p.openBasket(v); err == nil {
		if b.Status == BasketOpen {
			// What cannot be given up now expires by itself.
			_ = p.giveUp(v.ctx, v.who.who(v.r), b.ID, "left at the kiosk")
		}
		p.forget(v, b)
	} else if v.who != nil {
		p.forgetPayment(v)
	}
	p.remember(v.w, "basket", "")
	p.remember(v.w, "payment", "")
	p.remember(v.w, "wishes", "")
	p.remember(v.w, "shopper", "")
	p.remember(v.w, "language", "")
	if v.who != nil && v.who.kiosk {
		if err := p.Authority.RevokeSession(v.who.Session); err != nil {
			return err
		}
	}
	return v.to("/kiosk", "left")
}

func (p *pages) orders(v *visit) error {
	if v.who == nil {
		return v.to("/kiosk", "")
	}
	list, _, err := p.history(v.ctx, v.who.Subject, "", 50)
	if err != nil {
		return err
	}
	return p.write(v, http.StatusOK, "orders.html", view{Title: "orders.yours", Orders: list})
}

// ownedOrder returns an order, if it belongs to who shops.
func (p *pages) ownedOrder(v *visit, id string) (orderBody, error) {
	if v.who == nil || mall.ValidID(id) != nil {
		return orderBody{}, door.NotFound("order")
	}
	o, err := p.gateway.order(v.ctx, id)
	if err == nil && o.Customer != v.who.Subject {
		err = door.NotFound("order")
	}
	return o, err
}

func (p *pages) order(v *visit) error {
	o, err := p.ownedOrder(v, v.r.PathValue("order"))
	if err != nil {
		return err
	}
	p.freeOfNothing(v, &o)
	visit := rand.Text()
	return p.write(v, http.StatusOK, "order.html", view{Title: "order", Order: &o, Visit: visit, Live: "/kiosk/orders/" + o.Order + "/events?visit=" + visit})
}

// changed does something to the order of the path and shows it again.
func (p *pages) changed(v *visit, say string, do func(o orderBody) error) error {
	o, err := p.ownedOrder(v, v.r.PathValue("order"))
	if err != nil {
		return err
	}
	path := "/kiosk/orders/" + o.Order
	if err := do(o); err != nil {
		return v.to(path, door.ProblemOf(err).Code)
	}
	return v.to(path, say)
}

func (p *pages) cancelOrder(v *visit) error {
	return p.changed(v, "", func(o orderBody) error { return p.cancel(v.ctx, v.who.who(v.r), o, "") })
}

func (p *pages) decideShort(v *visit) error {
	return p.changed(v, "done", func(o orderBody) error { return p.decide(v.ctx, v.who.who(v.r), o, v.form.Get("choice")) })
}

// payOrder is the kiosk's own word, or the clerk's: the money is there.
func (p *pages) payOrder(v *visit) error {
	if v.r.Caller.Role == door.Customer {
		return door.NewProblem(http.StatusForbidden, "forbidden", "Pay at the depot.")
	}
	return p.changed(v, "paid", func(o orderBody) error { return p.pay(v.ctx, whoOf(v.r), o) })
}

// followBasket sends the part of the page that shows the basket, whenever it is another one.
func (p *pages) followBasket(v *visit) error {
	b, err := p.ownedBasket(v)
	if err != nil {
		return err
	}
	if b == nil {
		return door.NotFound("basket")
	}
	chosen := p.wished(v, b.Basket) // whoever chooses something else meanwhile keeps it: the script sees to that
	return p.stay(v, []string{BasketTopic(b.Basket), Prices}, func(ctx context.Context) ([]byte, int64, error) {
		now, err := p.basket(ctx, b.Basket)
		return p.part(v.in, "basket", view{Basket: &now, Wishes: chosen, Visit: v.r.URL.Query().Get("visit"), Back: back(v.r.URL.Query().Get("back"))}, now.Version, err)
	})
}

func (p *pages) followOrder(v *visit) error {
	o, err := p.ownedOrder(v, v.r.PathValue("order"))
	if err != nil {
		return err
	}
	visit := v.r.URL.Query().Get("visit") // of the page, so that its forms stay the same
	return p.stay(v, []string{OrderTopic(o.Order), BasketTopic(o.Order)}, func(ctx context.Context) ([]byte, int64, error) {
		now, err := p.gateway.order(ctx, o.Order)
		p.freeOfNothing(v, &now)
		return p.part(v.in, "order", view{Order: &now, Visit: visit, Kiosk: v.r.Caller.Role != door.Customer}, now.Version, err)
	})
}

func (p *pages) part(in *tongue, name string, show view, version int64, err error) ([]byte, int64, error) {
	var b bytes.Buffer
	if err == nil {
		err = p.templates[in].ExecuteTemplate(&b, name, show)
	}
	return b.Bytes(), version, err
}

// stay streams a part of the page for as long as the session stands.
func (p *pages) stay(v *visit, topics []string, see look) error {
	first, err := frameOf(v.ctx, "part", see)
	if err != nil {
		return err
	}
	ctx, done := p.Authority.Follow(v.ctx, &v.who.Principal)
	defer done()
	p.stream(ctx, v.w, v.r, "part", v.r.Header.Get("Last-Event-ID"), first, topics, see)
	return nil
}

// stage is one of the steps that an order takes, as its customer sees them.
type stage struct {
	Name  string // key of it
	State string // done, now or ahead
}

var stages = []string{"stage.ordered", "stage.confirmed", "stage.collected", "stage.at-depot", "stage.handed-over"}

// reached says how far along the stages each status is.
var reached = map[string]int{"pending": 0, "reserved": 0, "backordered": 0, "approved": 1, "picking": 2, "short": 2, "ready": 3, "completed": 4}

func stagesOf(o *orderBody) []stage {
	at, known := reached[o.Status]
	list := make([]stage, len(stages))
	for i, name := range stages {
		list[i] = stage{name, "ahead"}
		switch {
		case known && (i < at || o.Status == "completed"):
			list[i].State = "done"
		case known && i == at:
			list[i].State = "now"
		}
	}
	return list
}

// only says how many can be had of what more is wanted of.
func (t *tongue) only(available int64) string {
	if available == 0 {
		return t.say("basket.none")
	}
	return t.say("basket.only", available)
}

// stageOf says in a sentence how an order stands.
func (t *tongue) stageOf(o *orderBody) string {
	switch o.Status {
	case "pending", "reserved":
		return t.say("so.checking")
	case "backordered":
		return t.say("so.backordered")
	case "approved":
		return t.say("so.approved")
	case "picking":
		if o.Stops > 0 {
			return t.say("so.collecting", o.Picked, o.Stops)
		}
		return t.say("so.picking")
	case "short":
		return t.say("so.short")
	case "ready":
		if o.Paid {
			return t.say("so.ready-paid")
		}
		if beforehand(o) {
			return t.say("so.ready-settling")
		}
		return t.say("so.ready")
	case "completed":
		return t.say("so.completed")
	case "rejected":
		for _, item := range o.Items {
			if item.Product == o.Product {
				return t.say("so.too-little", item.Name)
			}
		}
		return t.say("so.rejected")
	case "expired":
		return t.say("so.expired")
	case "cancelling":
		return t.say("so.cancelling")
	case "canceled":
		return t.say("so.canceled")
	}
	return t.say("so.other")
}

func over(o *orderBody) bool {
	switch o.Status {
	case "completed", "rejected", "expired", "canceled":
		return true
	}
	return false
}

func mayBeCanceled(o *orderBody) bool { return !over(o) && o.Status != "cancelling" }
