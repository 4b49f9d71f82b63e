package alacarte

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"example.org/souk/backbone"
	"example.org/souk/backbone/pgstore"
)

// PlaceInPostgres is Place on PostgreSQL with pgx. With database/sql it is pgstore.AppendSQL.
func PlaceInPostgres(ctx context.Context, pool *pgxpool.Pool, o OrderPlaced) error {
	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `INSERT INTO orders (id, customer, cents) VALUES ($1, $2, $3)`, o.Order, o.Customer, o.Cents); err != nil {
			return err
		}
		_, err := pgstore.Append(ctx, tx, "shop", backbone.Outgoing{
			Stream: "order/" + o.Order, Events: []backbone.Event{o}, Time: time.Now(), Actor: "customer:" + o.Customer,
		}) // last: other appends wait from here to the commit
		return err
	})
	if err != nil {
		return err
	}
	return pgstore.Notify(ctx, pool, "shop") // a hint: subscriptions would look within a second
}
