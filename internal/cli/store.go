package cli

import (
	"context"
	"strconv"

	"example.org/souk/internal/control"
)

type storeCommand struct {
	Create storeCreate `cmd:"" help:"Open a shop."`
	Place  storePlace  `cmd:"" help:"Say where a shop is, for robots."`
}

type storePlace struct {
	Store string `arg:"" help:"The shop's id."`
	X     string `arg:"" help:"Metres from the depot along the aisle."`
	Y     string `arg:"" help:"Metres from the depot across the aisles."`
}

// Help implements kong's long help.
func (storePlace) Help() string {
	return "A shop has a place from when it was opened: the next one along the aisles.\n\nExample:\n  souk store place corner 40 20"
}

// Run says where a shop is.
func (c *storePlace) Run(ctx context.Context, env Env, r *root) error {
	return r.do(ctx, env, "store place", control.Args{"store": c.Store, "x": c.X, "y": c.Y})
}

type storeCreate struct {
	Store    string `arg:"" help:"The shop's id."`
	Name     string `help:"What it is called." required:""`
	Location string `help:"Where its goods lie; default the main location."`
}

// Help implements kong's long help.
func (storeCreate) Help() string {
	return "Example:\n  souk store create corner --name \"Corner shop\" --location corner"
}

// Run opens a shop.
func (c *storeCreate) Run(ctx context.Context, env Env, r *root) error {
	return r.do(ctx, env, "store create", control.Args{"store": c.Store, "name": c.Name, "location": c.Location})
}

type productCommand struct {
	Add   productAdd   `cmd:"" help:"Put a product into the catalogue."`
	Price productPrice `cmd:"" help:"Give a product another price."`
}

type productAdd struct {
	Product   string `arg:"" help:"The product's id."`
	Price     string `arg:"" help:"What a piece costs, such as 4.90."`
	Name      string `help:"What it is called." required:""`
	Store     string `help:"The shop that sells it; default the only one."`
	SKU       string `help:"Default the product's id." name:"sku"`
	Barcode   string `help:"What a gate scans; it also knows the SKU and the product's id."`
	Threshold string `help:"Order more when less than this is on hand and on order; default never." default:"0"`
	Restock   string `help:"How many more." default:"0"`
}

// Help implements kong's long help.
func (productAdd) Help() string {
	return `Example:
  souk product add cup 7.50 --name "Tea cup" --barcode 4006381333931 --threshold 10 --restock 40
  souk stock receive cup 25`
}

// Run puts a product into the catalogue.
func (c *productAdd) Run(ctx context.Context, env Env, r *root) error {
	return r.do(ctx, env, "product add", control.Args{
		"product": c.Product, "price": c.Price, "name": c.Name, "store": c.Store, "sku": c.SKU, "barcode": c.Barcode,
		"threshold": c.Threshold, "restock": c.Restock,
	})
}

type productPrice struct {
	Product string `arg:"" help:"The product's id."`
	Price   string `arg:"" help:"What a piece costs from now on."`
}

// Help implements kong's long help.
func (productPrice) Help() string { return "Example:\n  souk product price cup 6.90" }

// Run gives a product another price.
func (c *productPrice) Run(ctx context.Context, env Env, r *root) error {
	return r.do(ctx, env, "product price", control.Args{"product": c.Product, "price": c.Price})
}

type customerCard struct {
	Customer string `arg:"" help:"The customer's id."`
	Card     string `arg:"" help:"What the card says."`
}

// Help implements kong's long help.
func (customerCard) Help() string { return "Example:\n  souk customer card amina 1001" }

// Run gives a customer a loyalty card.
func (c *customerCard) Run(ctx context.Context, env Env, r *root) error {
	return r.do(ctx, env, "customer card", control.Args{"customer": c.Customer, "card": c.Card})
}

type visitCommand struct {
	Price visitPrice `cmd:"" help:"Price what somebody walked out with and nobody knew the price of."`
}

type visitPrice struct {
	Visit string `arg:"" help:"The visit, as the payment-due message names it."`
	Item  string `arg:"" help:"What had no price, as that message names it."`
	Price string `arg:"" help:"What a piece costs."`
}

// Help implements kong's long help.
func (visitPrice) Help() string { return "Example:\n  souk visit price vXXXX 4006381333999 2.50" }

// Run prices an unknown product.
func (c *visitPrice) Run(ctx context.Context, env Env, r *root) error {
	return r.do(ctx, env, "visit price", control.Args{"visit": c.Visit, "item": c.Item, "price": c.Price})
}

type purchaseCommand struct {
	List    purchaseList    `cmd:"" help:"What was ordered from suppliers, newest first."`
	Cancel  purchaseCancel  `cmd:"" help:"Have no more come of a purchase; what runs low is asked for anew."`
	Deliver purchaseDeliver `cmd:"" help:"Take in what came for a purchase without a notice from its supplier."`
}

type purchaseList struct {
	Open  bool `help:"Only those of which something is still to come."`
	Limit int  `short:"n" default:"100" help:"How many are looked at at most."`
}

// Help implements kong's long help.
func (purchaseList) Help() string { return "Example:\n  souk purchase list --open" }

// Run lists purchases.
func (c *purchaseList) Run(ctx context.Context, env Env, r *root) error {
	a := control.Args{"limit": strconv.Itoa(c.Limit)}
	if c.Open {
		a["open"] = "yes"
	}
	return r.doOr(ctx, env, "purchase list", a, "No purchase is like that.")
}

type purchaseCancel struct {
	Purchase string `arg:"" help:"The purchase."`
	Why      string `help:"Why."`
}

// Help implements kong's long help.
func (purchaseCancel) Help() string {
	return "Example:\n  souk purchase cancel 06b1... --why \"sold out\""
}

// Run cancels a purchase.
func (c *purchaseCancel) Run(ctx context.Context, env Env, r *root) error {
	return r.do(ctx, env, "purchase cancel", control.Args{"purchase": c.Purchase, "why": c.Why})
}

type purchaseDeliver struct {
	Purchase string `arg:"" help:"The purchase."`
	SKU      string `arg:"" name:"sku"`
	Quantity string `arg:""`
	Delivery string `help:"The delivery's id; the same one again is a copy. Default a new one."`
}

// Help implements kong's long help.
func (purchaseDeliver) Help() string {
	return "Example:\n  souk purchase deliver 06b1... LAMP-01 40"
}

// Run takes a delivery in.
func (c *purchaseDeliver) Run(ctx context.Context, env Env, r *root) error {
	return r.do(ctx, env, "purchase deliver", control.Args{
		"purchase": c.Purchase, "sku": c.SKU, "quantity": c.Quantity, "delivery": c.Delivery,
	})
}
