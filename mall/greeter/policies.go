package greeter

import (
	"cmp"
	"context"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/event"
)

// greetWhenArrived looks up what is known of the visitor, for a moment only, and has them greeted.
func greetWhenArrived(ctx context.Context, tx backbone.Tx, e event.CustomerArrived) error {
	c := GreetVisitor{Store: e.Store, Visit: e.Visit, Arrived: cmp.Or(e.At, tx.Message().Time.UnixMicro())}
	if e.Customer != "" {
		rows, err := tx.QueryCommitted(ctx, `SELECT p.name, p.orders, (SELECT COUNT(*) FROM {pickups} AS w WHERE w.customer = p.customer AND w.ready = 1)
			FROM {people} AS p WHERE p.customer = $1`, e.Customer)
		if err != nil {
			return err
		}
		defer rows.Close()
		if rows.Next() {
			var name string
			if err := rows.Scan(&name, &c.Orders, &c.Waiting); err != nil {
				return err
			}
			c.Name = mall.Personal(name)
		}
		if err := rows.Err(); err != nil {
			return err
		}
	}
	tx.Do(backbone.Send(c))
	return nil
}
