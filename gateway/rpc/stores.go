package rpc

import (
	"cmp"
	"context"
	"math"
	"net/http"
	"time"

	"connectrpc.com/connect"

	soukv1 "example.org/souk/api/gen/souk/v1"
	"example.org/souk/api/gen/souk/v1/soukv1connect"
	"example.org/souk/mall/command"
	"example.org/souk/mall/stores"
)

var storesPolicy = map[string]Access{
	"CreateStore":          shop,
	"RebrandStore":         shop,
	"EnableParticipation":  shop,
	"DisableParticipation": shop,
	"AddProduct":           shop,
	"RebrandProduct":       shop,
	"AssignBarcode":        shop,
	"CategorizeProduct":    shop,
	"IncreasePrice":        shop,
	"DecreasePrice":        shop,
	"RemoveProduct":        shop,
	"GetStore":             everybody,
	"ListStores":           everybody,
	"GetProduct":           everybody,
	"FindProduct":          everybody,
	"FindBarcode":          everybody,
	"ListProducts":         everybody,
	"ListCategories":       everybody,
	"ListPrices":           everybody,
	"GetPrice":             everybody,
}

// storesFace answers for stores.
type storesFace struct{ *server }

func serveStores(s *server, o ...connect.HandlerOption) (string, http.Handler) {
	return soukv1connect.NewStoresServiceHandler(storesFace{s}, o...)
}

func (h storesFace) CreateStore(ctx context.Context, r *connect.Request[soukv1.CreateStoreRequest]) (*connect.Response[soukv1.CreateStoreResponse], error) {
	a, err := h.do(ctx, r.Msg, command.CreateStore{Store: r.Msg.GetStore(), Name: r.Msg.GetName(), Location: r.Msg.GetLocation()})
	return done(&soukv1.CreateStoreResponse{Answer: a}, err)
}

func (h storesFace) RebrandStore(ctx context.Context, r *connect.Request[soukv1.RebrandStoreRequest]) (*connect.Response[soukv1.RebrandStoreResponse], error) {
	a, err := h.do(ctx, r.Msg, command.RebrandStore{Store: r.Msg.GetStore(), Name: r.Msg.GetName()})
	return done(&soukv1.RebrandStoreResponse{Answer: a}, err)
}

func (h storesFace) EnableParticipation(ctx context.Context, r *connect.Request[soukv1.EnableParticipationRequest]) (*connect.Response[soukv1.EnableParticipationResponse], error) {
	a, err := h.do(ctx, r.Msg, command.EnableParticipation{Store: r.Msg.GetStore()})
	return done(&soukv1.EnableParticipationResponse{Answer: a}, err)
}

func (h storesFace) DisableParticipation(ctx context.Context, r *connect.Request[soukv1.DisableParticipationRequest]) (*connect.Response[soukv1.DisableParticipationResponse], error) {
	a, err := h.do(ctx, r.Msg, command.DisableParticipation{Store: r.Msg.GetStore()})
	return done(&soukv1.DisableParticipationResponse{Answer: a}, err)
}

func (h storesFace) AddProduct(ctx context.Context, r *connect.Request[soukv1.AddProductRequest]) (*connect.Response[soukv1.AddProductResponse], error) {
	a, err := h.do(ctx, r.Msg, command.AddProduct{
		Product: r.Msg.GetProduct(), Store: r.Msg.GetStore(), Name: r.Msg.GetName(), Description: r.Msg.GetDescription(), SKU: r.Msg.GetSku(),
		Barcode: r.Msg.GetBarcode(), Category: r.Msg.GetCategory(), Price: money(r.Msg.GetPrice()),
		RestockThreshold: r.Msg.GetRestockThreshold(), RestockQuantity: r.Msg.GetRestockQuantity(),
	})
	return done(&soukv1.AddProductResponse{Answer: a}, err)
}

func (h storesFace) RebrandProduct(ctx context.Context, r *connect.Request[soukv1.RebrandProductRequest]) (*connect.Response[soukv1.RebrandProductResponse], error) {
	a, err := h.do(ctx, r.Msg, command.RebrandProduct{Product: r.Msg.GetProduct(), Name: r.Msg.GetName(), Description: r.Msg.GetDescription()})
	return done(&soukv1.RebrandProductResponse{Answer: a}, err)
}

func (h storesFace) AssignBarcode(ctx context.Context, r *connect.Request[soukv1.AssignBarcodeRequest]) (*connect.Response[soukv1.AssignBarcodeResponse], error) {
	a, err := h.do(ctx, r.Msg, command.AssignBarcode{Product: r.Msg.GetProduct(), Barcode: r.Msg.GetBarcode()})
	return done(&soukv1.AssignBarcodeResponse{Answer: a}, err)
}

func (h storesFace) CategorizeProduct(ctx context.Context, r *connect.Request[soukv1.CategorizeProductRequest]) (*connect.Response[soukv1.CategorizeProductResponse], error) {
	a, err := h.do(ctx, r.Msg, command.CategorizeProduct{Product: r.Msg.GetProduct(), Category: r.Msg.GetCategory()})
	return done(&soukv1.CategorizeProductResponse{Answer: a}, err)
}

func (h storesFace) IncreasePrice(ctx context.Context, r *connect.Request[soukv1.IncreasePriceRequest]) (*connect.Response[soukv1.IncreasePriceResponse], error) {
	a, err := h.do(ctx, r.Msg, command.IncreasePrice{Product: r.Msg.GetProduct(), Price: money(r.Msg.GetPrice())})
	return done(&soukv1.IncreasePriceResponse{Answer: a}, err)
}

func (h storesFace) DecreasePrice(ctx context.Context, r *connect.Request[soukv1.DecreasePriceRequest]) (*connect.Response[soukv1.DecreasePriceResponse], error) {
	a, err := h.do(ctx, r.Msg, command.DecreasePrice{Product: r.Msg.GetProduct(), Price: money(r.Msg.GetPrice())})
	return done(&soukv1.DecreasePriceResponse{Answer: a}, err)
}

func (h storesFace) RemoveProduct(ctx context.Context, r *connect.Request[soukv1.RemoveProductRequest]) (*connect.Response[soukv1.RemoveProductResponse], error) {
	a, err := h.do(ctx, r.Msg, command.RemoveProduct{Product: r.Msg.GetProduct()})
	return done(&soukv1.RemoveProductResponse{Answer: a}, err)
}

func (h storesFace) GetStore(ctx context.Context, r *connect.Request[soukv1.GetStoreRequest]) (*connect.Response[soukv1.GetStoreResponse], error) {
	if err := validID("store", r.Msg.GetStore()); err != nil {
		return nil, err
	}
	s, found, err := stores.GetStore(ctx, h.Reader("stores"), r.Msg.GetStore())
	if err == nil && !found {
		return nil, ErrNotFound
	}
	return done(&soukv1.GetStoreResponse{Store: storeOf(s)}, unread(err))
}

func (h storesFace) ListStores(ctx context.Context, r *connect.Request[soukv1.ListStoresRequest]) (*connect.Response[soukv1.ListStoresResponse], error) {
	n, err := limit(r.Msg.GetLimit(), 100, 1000)
	if err == nil {
		err = optionalID("after", r.Msg.GetAfter())
	}
	if err != nil {
		return nil, err
	}
	list, err := stores.ListStores(ctx, h.Reader("stores"), r.Msg.GetAfter(), r.Msg.GetParticipating(), n)
	answer := &soukv1.ListStoresResponse{}
	for _, s := range list {
		answer.Stores = append(answer.Stores, storeOf(s))
	}
	return done(answer, unread(err))
}

func storeOf(s stores.Store) *soukv1.Store {
	return &soukv1.Store{Store: s.Store, Name: s.Name, Location: s.Location, Participating: s.Participating}
}

func (h storesFace) GetProduct(ctx context.Context, r *connect.Request[soukv1.GetProductRequest]) (*connect.Response[soukv1.GetProductResponse], error) {
	if err := validID("product", r.Msg.GetProduct()); err != nil {
		return nil, err
	}
	p, found, err := stores.Get(ctx, h.Reader("stores"), r.Msg.GetProduct())
	if err == nil && !found {
		return nil, ErrNotFound
	}
	return done(&soukv1.GetProductResponse{Product: productOf(p)}, unread(err))
}

func (h storesFace) FindProduct(ctx context.Context, r *connect.Request[soukv1.FindProductRequest]) (*connect.Response[soukv1.FindProductResponse], error) {
	if err := shortText("skuOrName", r.Msg.GetSkuOrName()); err != nil {
		return nil, err
	}
	find := stores.Find
	if r.Msg.GetAnyOfSku() {
		find = stores.OfSKU
	}
	p, found, err := find(ctx, h.Reader("stores"), r.Msg.GetSkuOrName())
	if err == nil && !found {
		return nil, ErrNotFound
	}
	return done(&soukv1.FindProductResponse{Product: productOf(p)}, unread(err))
}

func (h storesFace) FindBarcode(ctx context.Context, r *connect.Request[soukv1.FindBarcodeRequest]) (*connect.Response[soukv1.FindBarcodeResponse], error) {
	if err := cmp.Or(validID("barcode", r.Msg.GetBarcode()), optionalID("store", r.Msg.GetStore())); err != nil {
		return nil, err
	}
	p, found, err := stores.FindBarcode(ctx, h.Reader("stores"), r.Msg.GetStore(), r.Msg.GetBarcode())
	if err == nil && !found {
		return nil, ErrNotFound
	}
	return done(&soukv1.FindBarcodeResponse{Product: productOf(p)}, unread(err))
}

func (h storesFace) ListProducts(ctx context.Context, r *connect.Request[soukv1.ListProductsRequest]) (*connect.Response[soukv1.ListProductsResponse], error) {
	n, err := limit(r.Msg.GetLimit(), 100, 1000)
	if err == nil {
		err = cmp.Or(optionalID("after", r.Msg.GetAfter()), optionalID("store", r.Msg.GetStore()), shortText("category", r.Msg.GetCategory()))
	}
	if err != nil {
		return nil, err
	}
	f := stores.Filter{After: r.Msg.GetAfter(), Store: r.Msg.GetStore(), Category: r.Msg.GetCategory(), Orderable: r.Msg.GetOrderable()}
	list, err := stores.List(ctx, h.Reader("stores"), f, n)
	answer := &soukv1.ListProductsResponse{}
	for _, p := range list {
		answer.Products = append(answer.Products, productOf(p))
	}
	return done(answer, unread(err))
}

func (h storesFace) ListCategories(ctx context.Context, r *connect.Request[soukv1.ListCategoriesRequest]) (*connect.Response[soukv1.ListCategoriesResponse], error) {
	n, err := limit(r.Msg.GetLimit(), 100, 1000)
	if err = cmp.Or(err, optionalID("store", r.Msg.GetStore())); err != nil {
		return nil, err
	}
	list, err := stores.Categories(ctx, h.Reader("stores"), r.Msg.GetStore(), n)
	return done(&soukv1.ListCategoriesResponse{Categories: list}, unread(err))
}

func (h storesFace) ListPrices(ctx context.Context, r *connect.Request[soukv1.ListPricesRequest]) (*connect.Response[soukv1.ListPricesResponse], error) {
	if err := validID("product", r.Msg.GetProduct()); err != nil {
		return nil, err
	}
	list, err := stores.Prices(ctx, h.Reader("stores"), r.Msg.GetProduct())
	answer := &soukv1.ListPricesResponse{}
	for _, p := range list {
		answer.Prices = append(answer.Prices, priceOf(p))
	}
	return done(answer, unread(err))
}

func (h storesFace) GetPrice(ctx context.Context, r *connect.Request[soukv1.GetPriceRequest]) (*connect.Response[soukv1.GetPriceResponse], error) {
	at, err := micros("at", r.Msg.GetAt())
	if err = cmp.Or(validID("product", r.Msg.GetProduct()), err); err != nil {
		return nil, err
	}
	if r.Msg.GetAt() == nil {
		at = math.MaxInt64 // no price is of a later time
	}
	p, found, err := stores.PriceAt(ctx, h.Reader("stores"), r.Msg.GetProduct(), time.UnixMicro(at))
	if err == nil && !found {
		return nil, ErrNotFound
	}
	return done(&soukv1.GetPriceResponse{Price: priceOf(p)}, unread(err))
}

func priceOf(p stores.Price) *soukv1.Price {
	return &soukv1.Price{Version: p.Version, Price: moneyOf(p.Price), Since: timeOf(p.Since)}
}

func productOf(p stores.Product) *soukv1.Product {
	return &soukv1.Product{
		Product: p.Product, Store: p.Store, Location: p.Location, Sku: p.SKU, Barcode: p.Barcode, Name: p.Name,
		Description: p.Description, Price: moneyOf(p.Price), PriceVersion: p.PriceVersion, Orderable: p.Orderable, Category: p.Category,
	}
}
