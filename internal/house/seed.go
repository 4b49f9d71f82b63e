package house

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"example.org/souk/backbone"
	"example.org/souk/gateway/door"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/customers"
)

// goods is a product with the stock that it begins with.
type goods struct {
	id, name, sku string
	price, stock  int64
	// More is ordered below threshold; 0: never.
	threshold, restock int64
	category           string
}

// person is a customer; the address is sealed before anything hears of it.
type person struct{ id, name, email, card string }

// testWorld is what the test mode's seed holds.
var testWorld = struct {
	goods  []goods
	people []person
}{
	[]goods{
		{id: "PRODUCT_001", name: "Product 1", sku: "PRODUCT_001", price: 1000, stock: 10},
		{id: "PRODUCT_002", name: "Product 2", sku: "PRODUCT_002", price: 500, stock: 15},
		{id: "Laptop", name: "Laptop", sku: "Laptop", price: 120000, stock: 10},
	},
	[]person{
		{"CUSTOMER_001", "Customer One", "customer.one@souk.example", ""},
		{"CUSTOMER_002", "Customer Two", "customer.two@souk.example", ""},
		{"PARTNER_001", "Partner One", "partner.one@souk.example", ""},
	},
}

// demoShop is what the first start of a house holds.
var demoShop = struct {
	goods  []goods
	people []person
}{
	[]goods{
		{"lamp", "Brass lamp", "LAMP-01", 4900, 40, 10, 30, "For the house"},
		{"rug", "Woven rug", "RUG-01", 18900, 12, 4, 8, "For the house"},
		{"tea", "Mint tea, 250 g", "TEA-01", 690, 200, 50, 150, "Tea and spices"},
		{"saffron", "Saffron, 1 g", "SAF-01", 850, 120, 30, 90, "Tea and spices"},
		{"tray", "Copper tray", "TRAY-01", 3250, 30, 8, 22, "For the table"},
		{"bowl", "Glazed bowl", "BOWL-01", 1450, 80, 20, 60, "For the table"},
	},
	[]person{
		{"amina", "Amina", "amina@souk.example", "1001"},
		{"bruno", "Bruno", "bruno@souk.example", "1002"},
		{"chen", "Chen", "chen@souk.example", "1003"},
	},
}

// Sample is a product of the demo shop with the price that it begins with, in minor units.
type Sample struct {
	Product, SKU string
	Price        int64
}

// DemoShop returns what the demo shop sells and who buys there.
func DemoShop() (sells []Sample, buyers []string) {
	for _, g := range demoShop.goods {
		sells = append(sells, Sample{g.id, g.sku, g.price})
	}
	for _, p := range demoShop.people {
		buyers = append(buyers, p.id)
	}
	return sells, buyers
}

const shopStore = "main-hall"

// SeedDemo opens the demo shop, as the first start of a mall in one process does.
func (h *House) SeedDemo(ctx context.Context) error {
	return h.seed(ctx, "demo", demoShop.goods, demoShop.people)
}

// seed brings goods and people in. Done again it changes nothing, since every
// command carries an id of its own; tag tells seeds of different worlds apart.
func (h *House) seed(ctx context.Context, tag string, list []goods, people []person) error {
	do := func(id string, c backbone.Command) error {
		a, err := h.Do(ctx, c, backbone.WithID("seed-"+tag+"-"+id), backbone.By("system:seed"))
		if err != nil {
			return fmt.Errorf("%s: %w", c.CommandType(), err)
		}
		return a.Err()
	}
	errs := []error{do("store", command.CreateStore{Store: shopStore, Name: "Main hall", Location: mall.MainLocation})}
	errs = append(errs, do("open", command.EnableParticipation{Store: shopStore}))
	for _, g := range list {
		errs = append(errs,
			do("product-"+g.id, command.AddProduct{
				Product: g.id, Store: shopStore, Name: g.name, SKU: g.sku, Category: g.category,
				Price: mall.Money{Amount: g.price, Currency: h.cfg.Currency}, RestockThreshold: g.threshold, RestockQuantity: g.restock,
			}),
			do("stock-"+g.id, command.ReceiveStock{SKU: g.sku, Location: mall.MainLocation, Quantity: g.stock}))
	}
	for _, p := range people {
		// What an earlier version sealed is another token each time, so whoever is there is not registered again.
		if c, err := customers.Get(ctx, h.Reader("customers"), p.id); err != nil || c.Status != customers.Unknown {
			errs = append(errs, err)
			continue
		}
		name, err := h.Keys.Seal(ctx, p.id, p.name)
		if err != nil {
			return err
		}
		email, err := h.Keys.Seal(ctx, p.id, p.email)
		if err != nil {
			return err
		}
		errs = append(errs, do("customer-"+p.id, command.RegisterCustomer{Customer: p.id, Name: mall.Personal(name), Email: mall.Personal(email), Card: p.card}))
	}
	return errors.Join(errs...)
}

// worlds fills and empties the world of a test.
type worlds struct{ h *House }

// Seed implements online.Seeder.
func (w worlds) Seed(ctx context.Context) error {
	epoch, err := w.epoch(ctx)
	if err != nil {
		return err
	}
	return w.h.seed(ctx, fmt.Sprintf("test%d", epoch), testWorld.goods, testWorld.people)
}

// Reset implements online.Seeder.
func (w worlds) Reset(ctx context.Context) error {
	epoch, err := w.epoch(ctx)
	if err != nil {
		return err
	}
	if err := w.h.Runtime.Reset(ctx); errors.Is(err, backbone.ErrShared) {
		return door.NewProblem(http.StatusConflict, "shared_database", "Only a database that one process has to itself can be emptied; begin again with a new one.")
	} else if err != nil {
		return err
	}
	if err := w.h.answers.clear(); err != nil {
		return err
	}
	w.h.Keys.Drop()
	value, err := json.Marshal(epoch + 1)
	if err != nil {
		return err
	}
	return w.h.stores.of("stores").SetValue(ctx, "stores", "world", value)
}

// Ready implements online.Seeder.
func (w worlds) Ready(ctx context.Context) error {
	_, err := w.h.stores.of("orders").Head(ctx, "orders")
	return err
}

// epoch counts the resets of this database.
func (w worlds) epoch(ctx context.Context) (n int64, err error) {
	value, err := w.h.stores.of("stores").Value(ctx, "stores", "world")
	if err != nil || value == nil {
		return 0, err
	}
	return n, json.Unmarshal(value, &n)
}
