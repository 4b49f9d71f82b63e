package kiosk

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"example.org/souk/backbone"
	"example.org/souk/gateway/door"
	"example.org/souk/mall"
)

// What is said of stock. Numbers are nobody's business.
const (
	inStock = "in_stock"
	low     = "low"
	out     = "out"
)

// moneyBody is an amount as it travels.
type moneyBody struct {
	Amount   int64  `json:"amount" doc:"Minor units." minimum:"0"`
	Currency string `json:"currency" doc:"ISO 4217." pattern:"^[A-Z]{3}$" example:"EUR"`
}

type storeBody struct {
	Store string `json:"store"`
	Name  string `json:"name"`
}

type productBody struct {
	Product      string    `json:"product"`
	Store        string    `json:"store"`
	StoreName    string    `json:"storeName"`
	Name         string    `json:"name"`
	Description  string    `json:"description,omitempty"`
	Category     string    `json:"category,omitempty"`
	Barcode      string    `json:"barcode,omitempty"`
	Price        moneyBody `json:"price"`
	PriceVersion int64     `json:"priceVersion" doc:"Grows whenever the price changes."`
	Sold         bool      `json:"sold" doc:"Listed, by a store that takes part."`
	Stock        string    `json:"stock" enum:"in_stock,low,out"`
}

type storesOut struct {
	Body struct {
		Stores []storeBody `json:"stores"`
	}
}

type categoriesIn struct {
	Store string `query:"store" maxLength:"64" pattern:"^[A-Za-z0-9_-]*$" doc:"Of this store only."`
}

type categoriesOut struct {
	Body struct {
		Categories []string `json:"categories"`
	}
}

type productsIn struct {
	Store    string `query:"store" maxLength:"64" pattern:"^[A-Za-z0-9_-]*$" doc:"Of this store only."`
	Category string `query:"category" maxLength:"50" doc:"Under this category only."`
	Q        string `query:"q" maxLength:"100" doc:"Part of the name or the description; or the SKU or barcode."`
	After    string `query:"after" maxLength:"64" pattern:"^[A-Za-z0-9_-]*$" doc:"The next of the page before."`
	Limit    int    `query:"limit" minimum:"1" maximum:"100" default:"50"`
}

type productsOut struct {
	Body struct {
		Products []productBody `json:"products"`
		Next     string        `json:"next,omitempty" doc:"Ask with after for what follows; missing at the end."`
	}
}

type productIn struct {
	Product string `path:"product" maxLength:"64" pattern:"^[A-Za-z0-9_-]+$"`
}

type productOut struct{ Body productBody }

func (g *gateway) describeCatalogue(a *api) {
	look := policy{access: door.Access{door.Customer: door.All, door.Staff: door.All, door.Device: door.All}}
	tags := []string{"catalogue"}
	add(a, huma.Operation{OperationID: "listStores", Method: http.MethodGet, Path: "/stores", Tags: tags, Summary: "The stores that take part"},
		look, func(ctx context.Context, _ *door.Request, _ *struct{}) (*storesOut, error) {
			list, err := g.stores(ctx)
			o := &storesOut{}
			o.Body.Stores = list
			return o, err
		})
	add(a, huma.Operation{OperationID: "listCategories", Method: http.MethodGet, Path: "/categories", Tags: tags, Summary: "The categories under which something can be ordered"},
		look, func(ctx context.Context, _ *door.Request, in *categoriesIn) (*categoriesOut, error) {
			list, err := g.Catalogue.Categories(ctx, in.Store)
			o := &categoriesOut{}
			o.Body.Categories = append([]string{}, list...)
			return o, unavailable(err)
		})
	add(a, huma.Operation{OperationID: "listProducts", Method: http.MethodGet, Path: "/products", Tags: tags, Summary: "What can be ordered"},
		look, func(ctx context.Context, _ *door.Request, in *productsIn) (*productsOut, error) {
			list, next, err := g.products(ctx, Query{Store: in.Store, Category: in.Category, Text: in.Q}, in.After, in.Limit)
			o := &productsOut{}
			o.Body.Products, o.Body.Next = list, next
			return o, err
		})
	add(a, huma.Operation{OperationID: "getProduct", Method: http.MethodGet, Path: "/products/{product}", Tags: tags, Summary: "One product"},
		look, func(ctx context.Context, _ *door.Request, in *productIn) (*productOut, error) {
			p, ok, err := g.Catalogue.Product(ctx, in.Product)
			if err != nil {
				return nil, unavailable(err)
			}
			if !ok {
				return nil, door.NotFound("product")
			}
			list, err := g.shown(ctx, []Product{p})
			if err != nil {
				return nil, err
			}
			return &productOut{list[0]}, nil
		})
}

// unavailable is the error of a read that was not answered.
func unavailable(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return errors.Join(backbone.ErrUnavailable, err)
}

func (g *gateway) stores(ctx context.Context) ([]storeBody, error) {
	all, err := g.Catalogue.Stores(ctx)
	if err != nil {
		return nil, unavailable(err)
	}
	list := make([]storeBody, len(all))
	for i, s := range all {
		list[i] = storeBody{s.ID, s.Name}
	}
	return list, nil
}

// products returns a page of the catalogue, and where the next one begins.
func (g *gateway) products(ctx context.Context, q Query, after string, limit int) (list []productBody, next string, err error) {
	q.Text = strings.TrimSpace(q.Text)
	for name, text := range map[string]string{"q": q.Text, "category": q.Category} {
		if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
			return nil, "", door.InvalidField(name, "must be UTF-8 without control characters")
		}
	}
	all, err := g.Catalogue.Products(ctx, q, after, limit+1)
	if err != nil {
		return nil, "", unavailable(err)
	}
	if len(all) > limit {
		all = all[:limit]
		next = all[limit-1].ID
	}
	list, err = g.shown(ctx, all)
	return list, next, err
}

// shown says of products what customers are told.
func (g *gateway) shown(ctx context.Context, all []Product) ([]productBody, error) {
	skus := make([]string, len(all))
	for i, p := range all {
		skus[i] = p.SKU
	}
	available, err := g.Stock.Available(ctx, skus)
	if err != nil {
		return nil, unavailable(err)
	}
	list := make([]productBody, len(all))
	for i, p := range all {
		list[i] = productBody{
			Product: p.ID, Store: p.Store, StoreName: p.StoreName, Name: p.Name, Description: p.Description, Category: p.Category, Barcode: p.Barcode,
			Price: moneyOf(p.Price), PriceVersion: p.PriceVersion, Sold: p.Sold, Stock: g.level(available[p.SKU]),
		}
	}
	return list, nil
}

// level says in a word how much there is.
func (g *gateway) level(available int64) string {
	switch {
	case available <= 0:
		return out
	case available < g.Low:
		return low
	}
	return inStock
}

func moneyOf(m mall.Money) moneyBody { return moneyBody{m.Amount, m.Currency} }
