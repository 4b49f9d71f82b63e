package event

import "example.org/souk/mall"

// StoreCreated says that a shop exists. It takes part in the mall once ParticipationEnabled says so.
type StoreCreated struct {
	Store    string `json:"store"`
	Name     string `json:"name"`
	Location string `json:"location"` // where its goods lie
}

// StoreRebranded gives the shop a new name.
type StoreRebranded struct {
	Store string `json:"store"`
	Name  string `json:"name"`
}

// ParticipationEnabled says that the shop's products can be ordered.
type ParticipationEnabled struct {
	Store string `json:"store"`
}

// ParticipationDisabled says that the shop's products cannot be ordered for now.
type ParticipationDisabled struct {
	Store string `json:"store"`
}

// ProductAdded puts a product into the catalogue. Its price has version 1.
type ProductAdded struct {
	Product     string     `json:"product"`
	Store       string     `json:"store"`
	Location    string     `json:"location"` // of the store
	Name        string     `json:"name"`
	Description string     `json:"description,omitempty"`
	SKU         string     `json:"sku"`
	Barcode     string     `json:"barcode,omitempty"`
	Category    string     `json:"category,omitempty"`
	Price       mall.Money `json:"price"`
	// Below RestockThreshold pieces, RestockQuantity pieces are ordered; 0 and 0 ask for no restocking. For inventory
	// RestockThresholdSet says so.
	RestockThreshold int64 `json:"restockThreshold"`
	RestockQuantity  int64 `json:"restockQuantity"`
}

// RestockThresholdSet says below how many pieces at a location how many are ordered. It stands beside the ProductAdded of a
// product that is to be restocked, and says what stock needs to know of it: neither what it is called nor what it costs.
type RestockThresholdSet struct {
	SKU       string `json:"sku"`
	Location  string `json:"location"`
	Threshold int64  `json:"threshold"`
	Quantity  int64  `json:"quantity"`
}

// ProductRebranded gives the product a new name and description; both are carried, changed or not.
type ProductRebranded struct {
	Product     string `json:"product"`
	Store       string `json:"store"`
	SKU         string `json:"sku"`
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
}

// BarcodeAssigned gives the product the code that is printed on it, instead of the one that it had.
type BarcodeAssigned struct {
	Product string `json:"product"`
	Store   string `json:"store"`
	SKU     string `json:"sku"`
	Barcode string `json:"barcode,omitempty"` // empty: none any more
}

// ProductCategorized says under what people find the product who look around.
type ProductCategorized struct {
	Product  string `json:"product"`
	Store    string `json:"store"`
	SKU      string `json:"sku"`
	Category string `json:"category,omitempty"` // empty: under nothing any more
}

// PriceIncreased sets a higher price. PriceVersion counts the prices that the product has had, without gaps, so a reader
// that keeps the greatest version has the price of now.
type PriceIncreased struct {
	Product      string     `json:"product"`
	Store        string     `json:"store"`
	SKU          string     `json:"sku"`
	From         mall.Money `json:"from"`
	Price        mall.Money `json:"price"`
	PriceVersion int64      `json:"priceVersion"`
}

// PriceDecreased sets a lower price. PriceVersion is as in PriceIncreased.
type PriceDecreased struct {
	Product      string     `json:"product"`
	Store        string     `json:"store"`
	SKU          string     `json:"sku"`
	From         mall.Money `json:"from"`
	Price        mall.Money `json:"price"`
	PriceVersion int64      `json:"priceVersion"`
}

// ProductRemoved takes the product out of the catalogue for good. What was ordered before stays ordered.
type ProductRemoved struct {
	Product string `json:"product"`
	Store   string `json:"store"`
	SKU     string `json:"sku"`
}

// EventType returns StoreCreatedV1.
func (StoreCreated) EventType() string { return StoreCreatedV1 }

// EventType returns StoreRebrandedV1.
func (StoreRebranded) EventType() string { return StoreRebrandedV1 }

// EventType returns ParticipationEnabledV1.
func (ParticipationEnabled) EventType() string { return ParticipationEnabledV1 }

// EventType returns ParticipationDisabledV1.
func (ParticipationDisabled) EventType() string { return ParticipationDisabledV1 }

// EventType returns ProductAddedV1.
func (ProductAdded) EventType() string { return ProductAddedV1 }

// EventType returns RestockThresholdSetV1.
func (RestockThresholdSet) EventType() string { return RestockThresholdSetV1 }

// EventType returns ProductRebrandedV1.
func (ProductRebranded) EventType() string { return ProductRebrandedV1 }

// EventType returns PriceIncreasedV1.
func (PriceIncreased) EventType() string { return PriceIncreasedV1 }

// EventType returns PriceDecreasedV1.
func (PriceDecreased) EventType() string { return PriceDecreasedV1 }

// EventType returns ProductRemovedV1.
func (ProductRemoved) EventType() string { return ProductRemovedV1 }

// EventType returns BarcodeAssignedV1.
func (BarcodeAssigned) EventType() string { return BarcodeAssignedV1 }

// EventType returns the wire name.
func (ProductCategorized) EventType() string { return ProductCategorizedV1 }
