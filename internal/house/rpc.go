package house

import (
	"context"
	"net/http"
	"strings"

	"example.org/souk/gateway/door"
	"example.org/souk/gateway/online"
	"example.org/souk/gateway/rpc"
	"example.org/souk/internal/peers"
	"example.org/souk/mall"
	"example.org/souk/mall/baskets"
)

// programs is the way in for programs of the shop: the application services that run here, for other processes and for who bears a token.
func (h *House) programs() (http.Handler, error) {
	c := rpc.Config{
		Commands: h.Runtime, ReadCommand: h.Runtime.ReadCommand, Reader: h.Reader, Run: h.Runtime.Services(), Changed: h.Runtime.Changed, Control: steered{h.Runtime, h},
		Catalogue: h.prices(), Baskets: h.Baskets(), Keys: keeper{h.Keys, h}, Caller: h.caller, Clock: clock{}, Logger: h.cfg.Logger,
		Observe: h.metrics.observeCall, Opened: h.opened, Closing: h.closing, CallerRate: h.rate(1), AddressRate: h.rate(5),
	}
	if h.robots != nil {
		c.Robots = sighted{h.robots}
	}
	return rpc.New(c)
}

// servePrograms lets a server of the door speak gRPC, which needs HTTP/2, and takes what is for the application services to
// their handler.
func (h *House) servePrograms(server *http.Server, programs http.Handler) {
	server.Protocols = new(http.Protocols)
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetHTTP2(true) // where it speaks TLS
	server.Protocols.SetUnencryptedHTTP2(true)
	bound(server)
	others := server.Handler
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, prefix := range rpc.Paths() {
			if strings.HasPrefix(r.URL.Path, prefix) {
				programs.ServeHTTP(w, r)
				return
			}
		}
		others.ServeHTTP(w, r)
	})
}

// caller says who calls: a process by its certificate, everybody else by a token.
func (h *House) caller(r *http.Request) (*rpc.Caller, error) {
	if id, ok := peers.Identify(r.TLS); ok {
		return &rpc.Caller{Kind: rpc.Process, Subject: id}, nil
	}
	return h.bearer(r)
}

// bearer says who calls by the token that comes with the request. Cookies are not taken: no page calls here.
func (h *House) bearer(r *http.Request) (*rpc.Caller, error) {
	header := r.Header["Authorization"]
	if len(header) == 0 {
		return nil, nil
	}
	scheme, token, _ := strings.Cut(header[0], " ")
	if len(header) > 1 || !strings.EqualFold(scheme, "Bearer") {
		return nil, door.ErrToken
	}
	p, err := h.Authority.Verify(token, rpc.Gate)
	if err != nil {
		return nil, err
	}
	kinds := map[door.Role]rpc.Kind{door.Customer: rpc.Customer, door.Staff: rpc.Staff, door.Engineer: rpc.Engineer}
	kind, ok := kinds[p.Role]
	if !ok {
		return nil, door.ErrToken
	}
	return &rpc.Caller{
		Kind: kind, Subject: p.Subject, Clerk: p.Rank == door.Clerk, Expires: p.Expires,
		Follow: func(ctx context.Context) (context.Context, func()) { return h.Authority.Follow(ctx, &p) },
	}, nil
}

// prices is the catalogue that orders of programs are priced from, wherever its service runs.
func (h *House) prices() rpc.Catalogue {
	if h.here("stores") {
		return priced{catalogue{h.Reader("stores")}}
	}
	return priced{elsewhere{h.peers.Client()}}
}

// skuCatalogue is a catalogue that knows which SKUs there are, or were.
type skuCatalogue interface {
	online.Catalogue
	Known(ctx context.Context, sku string) (bool, error)
}

// Baskets fills in what commands about baskets say of customers and products. Where the service of customers runs elsewhere, that
// process is asked about those whom baskets has not heard of; the command line reads its database itself.
func (h *House) Baskets() baskets.Border {
	b := baskets.Border{Reader: h.Reader("baskets"), Customers: people{h.Reader("customers")}}
	if !h.cfg.Quiet && !h.here("customers") {
		b.Customers = elsewhere{h.peers.Client()}
	}
	return b
}

// priced shows the application services what can be ordered.
type priced struct{ skuCatalogue }

// Product implements rpc.Catalogue.
func (c priced) Product(ctx context.Context, id string) (mall.Item, bool, error) {
	p, ok, err := c.skuCatalogue.Product(ctx, id)
	return mall.Item{Product: id, SKU: p.SKU, Name: p.Name, Price: p.Price}, ok, err
}
