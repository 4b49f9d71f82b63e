package house

import (
	"context"
	"net/http"

	"connectrpc.com/connect"

	"example.org/souk/api/gen/souk/v1/soukv1connect"
	"example.org/souk/backbone"
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

// keysConfig says where the keys of persons are: in the database of their service, or, where that runs elsewhere, with the process that
// runs it, which lends them for a while.
func (h *House) keysConfig() backbone.KeysConfig {
	owner := backbone.KeyService().Name
	if h.peers == nil || !h.cfg.Quiet && h.runs(owner) {
		return backbone.KeysConfig{Store: h.stores.of(owner)}
	}
	return backbone.KeysConfig{Owner: rpc.RemoteKeys(soukv1connect.NewKeysServiceClient(h.peers.Client(), peers.URL(owner), connect.WithGRPC()))}
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
