package stores

import (
	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/event"
)

// What the service refuses about products; compare with errors.Is.
var (
	ErrProductExists  = backbone.Refuse("product_exists", "the product exists already")
	ErrProductUnknown = backbone.Refuse("product_unknown", "there is no such product")
	ErrProductRemoved = backbone.Refuse("product_removed", "the product was taken out of the catalogue")
	ErrNotHigher      = backbone.Refuse("not_higher", "the price is not above the one of now")
	ErrNotLower       = backbone.Refuse("not_lower", "the price is not below the one of now")
	ErrCurrency       = backbone.Refuse("wrong_currency", "a product keeps the currency that it was added with")
)

// product is the state of a product. The zero value is one that nobody added.
type product struct {
	Store        string
	SKU          string
	Name         string
	Description  string
	Barcode      string
	Category     string
	Price        mall.Money
	PriceVersion int64 // 1 for the first price, then counted up
	Removed      bool
}

var products = &backbone.Aggregate[product]{
	Name: "product",
	Public: []backbone.Event{
		event.ProductAdded{},
		event.RestockThresholdSet{},
		event.ProductRebranded{},
		event.BarcodeAssigned{},
		event.ProductCategorized{},
		event.PriceIncreased{},
		event.PriceDecreased{},
		event.ProductRemoved{},
	},
	Evolve: evolveProduct,
}

func evolveProduct(s product, e backbone.Event) product {
	switch e := e.(type) {
	case event.ProductAdded:
		return product{
			Store: e.Store, SKU: e.SKU, Name: e.Name, Description: e.Description, Barcode: e.Barcode, Category: e.Category, Price: e.Price, PriceVersion: 1,
		}
	case event.ProductRebranded:
		s.Name, s.Description = e.Name, e.Description
	case event.BarcodeAssigned:
		s.Barcode = e.Barcode
	case event.ProductCategorized:
		s.Category = e.Category
	case event.PriceIncreased:
		s.Price, s.PriceVersion = e.Price, e.PriceVersion
	case event.PriceDecreased:
		s.Price, s.PriceVersion = e.Price, e.PriceVersion
	case event.ProductRemoved:
		s.Removed = true
	}
	return s
}

// onSale returns the refusal of everything that needs a product in the catalogue.
func (s product) onSale() error {
	switch {
	case s.Store == "":
		return ErrProductUnknown
	case s.Removed:
		return ErrProductRemoved
	}
	return nil
}

func productAndStore(c command.AddProduct) []backbone.Ref {
	return []backbone.Ref{products.Ref(c.Product), stores.Ref(c.Store)}
}

func addProduct(l backbone.Loaded, c command.AddProduct, _ backbone.Meta) ([]backbone.Append, error) {
	shop := stores.State(l, c.Store)
	if !shop.exists() {
		return nil, ErrStoreUnknown
	}
	if products.State(l, c.Product).Store != "" {
		return nil, ErrProductExists
	}
	events := []backbone.Event{event.ProductAdded{
		Product: c.Product, Store: c.Store, Location: shop.Location, Name: c.Name, Description: c.Description,
		SKU: c.SKU, Barcode: c.Barcode, Category: c.Category, Price: c.Price,
		RestockThreshold: c.RestockThreshold, RestockQuantity: c.RestockQuantity,
	}}
	if c.RestockThreshold > 0 {
		events = append(events, event.RestockThresholdSet{
			SKU: c.SKU, Location: shop.Location, Threshold: c.RestockThreshold, Quantity: c.RestockQuantity,
		})
	}
	return []backbone.Append{products.Append(c.Product, events...)}, nil
}

func rebrandProduct(s product, c command.RebrandProduct, _ backbone.Meta) ([]backbone.Event, error) {
	if err := s.onSale(); err != nil {
		return nil, err
	}
	if s.Name == c.Name && s.Description == c.Description {
		return nil, nil
	}
	return one(event.ProductRebranded{Product: c.Product, Store: s.Store, SKU: s.SKU, Name: c.Name, Description: c.Description})
}

func assignBarcode(s product, c command.AssignBarcode, _ backbone.Meta) ([]backbone.Event, error) {
	if err := s.onSale(); err != nil || s.Barcode == c.Barcode {
		return nil, err
	}
	return one(event.BarcodeAssigned{Product: c.Product, Store: s.Store, SKU: s.SKU, Barcode: c.Barcode})
}

func categorizeProduct(s product, c command.CategorizeProduct, _ backbone.Meta) ([]backbone.Event, error) {
	if err := s.onSale(); err != nil || s.Category == c.Category {
		return nil, err
	}
	return one(event.ProductCategorized{Product: c.Product, Store: s.Store, SKU: s.SKU, Category: c.Category})
}

func increasePrice(s product, c command.IncreasePrice, _ backbone.Meta) ([]backbone.Event, error) {
	if err := s.onSale(); err != nil {
		return nil, err
	}
	switch order, err := c.Price.Cmp(s.Price); {
	case err != nil || c.Price.Currency != s.Price.Currency:
		return nil, ErrCurrency
	case order <= 0:
		return nil, ErrNotHigher
	}
	return one(event.PriceIncreased{
		Product: c.Product, Store: s.Store, SKU: s.SKU, From: s.Price, Price: c.Price, PriceVersion: s.PriceVersion + 1,
	})
}

func decreasePrice(s product, c command.DecreasePrice, _ backbone.Meta) ([]backbone.Event, error) {
	if err := s.onSale(); err != nil {
		return nil, err
	}
	switch order, err := c.Price.Cmp(s.Price); {
	case err != nil || c.Price.Currency != s.Price.Currency:
		return nil, ErrCurrency
	case order >= 0:
		return nil, ErrNotLower
	}
	return one(event.PriceDecreased{
		Product: c.Product, Store: s.Store, SKU: s.SKU, From: s.Price, Price: c.Price, PriceVersion: s.PriceVersion + 1,
	})
}

func removeProduct(s product, c command.RemoveProduct, _ backbone.Meta) ([]backbone.Event, error) {
	switch {
	case s.Store == "":
		return nil, ErrProductUnknown
	case s.Removed:
		return nil, nil
	}
	return one(event.ProductRemoved{Product: c.Product, Store: s.Store, SKU: s.SKU})
}
