package command

import (
	"cmp"

	"example.org/souk/mall"
)

// CreateStore asks for a new shop, which takes no part in the mall yet.
type CreateStore struct {
	Store    string `json:"store"`
	Name     string `json:"name"`
	Location string `json:"location"` // where its goods lie
}

// CommandType returns CreateStoreV1.
func (CreateStore) CommandType() string { return CreateStoreV1 }

// Stream returns the id of the store.
func (c CreateStore) Stream() string { return c.Store }

// Validate names the first wrong field.
func (c CreateStore) Validate() error {
	return cmp.Or(
		id("store", c.Store),
		text("name", c.Name, maxName),
		id("location", c.Location),
	)
}

// RebrandStore gives the shop another name.
type RebrandStore struct {
	Store string `json:"store"`
	Name  string `json:"name"`
}

// CommandType returns RebrandStoreV1.
func (RebrandStore) CommandType() string { return RebrandStoreV1 }

// Stream returns the id of the store.
func (c RebrandStore) Stream() string { return c.Store }

// Validate names the first wrong field.
func (c RebrandStore) Validate() error {
	return cmp.Or(
		id("store", c.Store),
		text("name", c.Name, maxName),
	)
}

// EnableParticipation lets the shop's products be ordered.
type EnableParticipation struct {
	Store string `json:"store"`
}

// CommandType returns EnableParticipationV1.
func (EnableParticipation) CommandType() string { return EnableParticipationV1 }

// Stream returns the id of the store.
func (c EnableParticipation) Stream() string { return c.Store }

// Validate names the first wrong field.
func (c EnableParticipation) Validate() error {
	return id("store", c.Store)
}

// DisableParticipation stops the shop's products from being ordered.
type DisableParticipation struct {
	Store string `json:"store"`
}

// CommandType returns DisableParticipationV1.
func (DisableParticipation) CommandType() string { return DisableParticipationV1 }

// Stream returns the id of the store.
func (c DisableParticipation) Stream() string { return c.Store }

// Validate names the first wrong field.
func (c DisableParticipation) Validate() error {
	return id("store", c.Store)
}

// AddProduct puts a product of a shop into the catalogue.
type AddProduct struct {
	Product          string     `json:"product"`
	Store            string     `json:"store"`
	Name             string     `json:"name"`
	Description      string     `json:"description,omitempty"`
	SKU              string     `json:"sku"`
	Barcode          string     `json:"barcode,omitempty"`
	Category         string     `json:"category,omitempty"`
	Price            mall.Money `json:"price"`
	RestockThreshold int64      `json:"restockThreshold"` // order more below this; 0: never
	RestockQuantity  int64      `json:"restockQuantity"`  // how many more; 0 only with threshold 0
}

// CommandType returns AddProductV1.
func (AddProduct) CommandType() string { return AddProductV1 }

// Stream returns the id of the product.
func (c AddProduct) Stream() string { return c.Product }

// Validate names the first wrong field.
func (c AddProduct) Validate() error {
	return cmp.Or(
		id("product", c.Product),
		id("store", c.Store),
		text("name", c.Name, maxName),
		optionalText("description", c.Description, maxDescription, "\n\t"),
		id("sku", c.SKU),
		optionalID("barcode", c.Barcode),
		optionalText("category", c.Category, MaxCategory, ""),
		money("price", c.Price),
		restock("restockThreshold", c.RestockThreshold, "restockQuantity", c.RestockQuantity),
	)
}

// RebrandProduct gives the product another name and description; both are replaced.
type RebrandProduct struct {
	Product     string `json:"product"`
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
}

// CommandType returns RebrandProductV1.
func (RebrandProduct) CommandType() string { return RebrandProductV1 }

// Stream returns the id of the product.
func (c RebrandProduct) Stream() string { return c.Product }

// Validate names the first wrong field.
func (c RebrandProduct) Validate() error {
	return cmp.Or(
		id("product", c.Product),
		text("name", c.Name, maxName),
		optionalText("description", c.Description, maxDescription, "\n\t"),
	)
}

// AssignBarcode gives the product the code that is printed on it, or none.
type AssignBarcode struct {
	Product string `json:"product"`
	Barcode string `json:"barcode,omitempty"`
}

// CommandType returns AssignBarcodeV1.
func (AssignBarcode) CommandType() string { return AssignBarcodeV1 }

// Stream returns the id of the product.
func (c AssignBarcode) Stream() string { return c.Product }

// Validate names the first wrong field.
func (c AssignBarcode) Validate() error {
	return cmp.Or(
		id("product", c.Product),
		optionalID("barcode", c.Barcode),
	)
}

// CategorizeProduct asks that people who look around find the product under something, or under nothing any more.
type CategorizeProduct struct {
	Product  string `json:"product"`
	Category string `json:"category,omitempty"`
}

// MaxCategory bounds the name of a category, in characters.
const MaxCategory = 50

// CommandType returns the wire name.
func (CategorizeProduct) CommandType() string { return CategorizeProductV1 }

// Stream returns the product.
func (c CategorizeProduct) Stream() string { return c.Product }

// Validate checks the command.
func (c CategorizeProduct) Validate() error {
	return cmp.Or(
		id("product", c.Product),
		optionalText("category", c.Category, MaxCategory, ""),
	)
}

// IncreasePrice sets a price above the one of now.
type IncreasePrice struct {
	Product string     `json:"product"`
	Price   mall.Money `json:"price"` // the new price, not the difference
}

// CommandType returns IncreasePriceV1.
func (IncreasePrice) CommandType() string { return IncreasePriceV1 }

// Stream returns the id of the product.
func (c IncreasePrice) Stream() string { return c.Product }

// Validate names the first wrong field.
func (c IncreasePrice) Validate() error {
	return cmp.Or(
		id("product", c.Product),
		positiveMoney("price", c.Price),
	)
}

// DecreasePrice sets a price below the one of now.
type DecreasePrice struct {
	Product string     `json:"product"`
	Price   mall.Money `json:"price"` // the new price, not the difference
}

// CommandType returns DecreasePriceV1.
func (DecreasePrice) CommandType() string { return DecreasePriceV1 }

// Stream returns the id of the product.
func (c DecreasePrice) Stream() string { return c.Product }

// Validate names the first wrong field.
func (c DecreasePrice) Validate() error {
	return cmp.Or(
		id("product", c.Product),
		money("price", c.Price),
	)
}

// RemoveProduct takes the product out of the catalogue for good.
type RemoveProduct struct {
	Product string `json:"product"`
}

// CommandType returns RemoveProductV1.
func (RemoveProduct) CommandType() string { return RemoveProductV1 }

// Stream returns the id of the product.
func (c RemoveProduct) Stream() string { return c.Product }

// Validate names the first wrong field.
func (c RemoveProduct) Validate() error {
	return id("product", c.Product)
}
