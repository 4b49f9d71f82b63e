package online

import (
	"context"
	"embed"
	"io/fs"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/event"
)

// ServiceName is the name of the gateway's service.
const ServiceName = "online"

//go:embed migrations/*.sql
var migrations embed.FS

// Service is the table of the gateway's service. Where the services behind the gateway run in other processes, it takes in
// durably what customers ask for, passes it on when they are there, and knows the catalogue by itself; see Intake.
func Service() *backbone.Service {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err) // the folder is compiled in
	}
	return &backbone.Service{
		Name:  ServiceName,
		About: "Takes orders in while the services that they are for are away.",
		Handles: []backbone.Handler{
			backbone.Decide(requests, takeOrder),
			backbone.Decide(requests, takeCancel),
			backbone.Decide(requests, turnAway),
		},
		Reacts:     []backbone.Subscriber{backbone.Whenever(cancelWhenAsked)},
		Sends:      []backbone.Command{command.CancelOrder{}},
		Sagas:      []backbone.SagaDefinition{placing},
		Views:      []backbone.View{products},
		Migrations: files,
	}
}

// products is what can be ordered, as far as this gateway has heard.
var products = backbone.View{
	Name:   "catalogue",
	Tables: []string{"shops", "products"},
	From:   backbone.FromFirst,
	Projections: []backbone.Projection{
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.ParticipationEnabled) error {
			return participates(ctx, tx, e.Store, 1)
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.ParticipationDisabled) error {
			return participates(ctx, tx, e.Store, 0)
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.ProductAdded) error {
			return tx.Exec(ctx, `INSERT INTO {products} (product, store, sku, name, price, currency, version, removed)
				VALUES ($1, $2, $3, $4, $5, $6, 1, 0)`, e.Product, e.Store, e.SKU, e.Name, e.Price.Amount, e.Price.Currency)
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.ProductRebranded) error {
			return tx.Exec(ctx, `UPDATE {products} SET name = $2 WHERE product = $1`, e.Product, e.Name)
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.PriceIncreased) error {
			return costs(ctx, tx, e.Product, e.Price, e.PriceVersion)
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.PriceDecreased) error {
			return costs(ctx, tx, e.Product, e.Price, e.PriceVersion)
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.ProductRemoved) error {
			return tx.Exec(ctx, `UPDATE {products} SET removed = 1 WHERE product = $1`, e.Product)
		}),
	},
}

func participates(ctx context.Context, tx backbone.ViewTx, store string, participating int) error {
	return tx.Exec(ctx, `INSERT INTO {shops} (store, participating) VALUES ($1, $2)
		ON CONFLICT (store) DO UPDATE SET participating = excluded.participating`, store, participating)
}

func costs(ctx context.Context, tx backbone.ViewTx, product string, price mall.Money, version int64) error {
	return tx.Exec(ctx, `UPDATE {products} SET price = $2, version = $3 WHERE product = $1`, product, price.Amount, version)
}
