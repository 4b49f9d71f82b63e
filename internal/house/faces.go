package house

import (
	"context"
	"net/http"

	"example.org/souk/gateway/online"
	"example.org/souk/gateway/rpc"
	"example.org/souk/internal/peers"
	"example.org/souk/mall"
)

// caller says who calls: a process by its certificate, everybody else by a token.
func (h *House) caller(r *http.Request) (*rpc.Caller, error) {
	if id, ok := peers.Identify(r.TLS); ok {
		return &rpc.Caller{Kind: rpc.Process, Subject: id}, nil
	}
	return h.bearer(r)
}

// prices is the catalogue that orders of programs are priced from, wherever its service runs.
func (h *House) prices() rpc.Catalogue {
	if h.here("stores") {
		return priced{catalogue{h.Reader("stores")}}
	}
	return priced{elsewhere{h.peers.Client()}}
}

// priced shows the application services what can be ordered.
type priced struct{ online.Catalogue }

// Product implements rpc.Catalogue.
func (c priced) Product(ctx context.Context, id string) (mall.Item, bool, error) {
	p, ok, err := c.Catalogue.Product(ctx, id)
	return mall.Item{Product: id, SKU: p.SKU, Name: p.Name, Price: p.Price}, ok, err
}
