package depot

import (
	"context"

	"example.org/souk/backbone"
	"example.org/souk/mall/event"
)

// fleet is inline: a robot that reconnects is told what it has to do now.
var fleet = backbone.View{
	Name:   "fleet",
	Tables: []string{"robots"},
	Inline: true,
	Projections: []backbone.Projection{
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.RobotRegistered) error {
			return tx.Exec(ctx, `INSERT INTO {robots} AS r (robot, carries, home_x, home_y, state, battery, x, y, list, lost, upd, steer)
				VALUES ($1, $2, $3, $4, 'offline', 0, $3, $4, '', '', 0, '') ON CONFLICT (robot) DO UPDATE
				SET carries = excluded.carries, home_x = excluded.home_x, home_y = excluded.home_y`, e.Robot, e.Carries, e.Home.X, e.Home.Y)
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.RobotRetired) error {
			return tx.Exec(ctx, `DELETE FROM {robots} WHERE robot = $1`, e.Robot)
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.RobotChanged) error {
			return tx.Exec(ctx, `UPDATE {robots} SET state = $2,
				steer = CASE WHEN ($2 = 'charging' AND steer = 'charge') OR ($2 = 'paused' AND steer = 'pause') OR ($2 <> 'paused' AND steer = 'resume')
				THEN '' ELSE steer END WHERE robot = $1`, e.Robot, string(e.State))
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.RobotSteered) error {
			return tx.Exec(ctx, `UPDATE {robots} SET steer = $2 WHERE robot = $1`, e.Robot, string(e.Steer))
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.RobotLost) error {
			return tx.Exec(ctx, `UPDATE {robots} SET state = 'offline', list = '', lost = '', upd = 0, steer = '' WHERE robot = $1`, e.Robot)
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e LeaseRenewed) error {
			return tx.Exec(ctx, `UPDATE {robots} SET battery = $2, x = $3, y = $4 WHERE robot = $1`, e.Robot, e.Battery, e.At.X, e.At.Y)
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e RobotTasked) error {
			return tx.Exec(ctx, `UPDATE {robots} SET list = $2, lost = $3, upd = $4 WHERE robot = $1`, e.Robot, e.List, e.Lost, e.Update)
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e RobotFreed) error {
			return tx.Exec(ctx, `UPDATE {robots} SET list = '', lost = '', upd = 0 WHERE robot = $1`, e.Robot)
		}),
	},
}

// listing shows the lists.
var listing = backbone.View{
	Name:   "listing",
	Tables: []string{"lists"},
	Inline: true,
	Projections: []backbone.Projection{
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.ShoppingListCreated) error {
			return tx.Exec(ctx, `INSERT INTO {lists} AS l (list, ord, state, robot, created, stops, settled) VALUES ($1, $2, $3, '', $4, $5, 0)
				ON CONFLICT (list) DO UPDATE SET state = excluded.state`, e.List, e.Order, string(pending), tx.Message().Time.UnixMicro(), len(e.Stops))
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.ShoppingListAvailable) error {
			return show(ctx, tx, e.List, available, "")
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.ShoppingListAssigned) error {
			return show(ctx, tx, e.List, assigned, e.Robot)
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.ShoppingListReassigned) error {
			return show(ctx, tx, e.List, assigned, e.Robot)
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.StopPicked) error {
			return settle(ctx, tx, e.List, e.Robot)
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.StopShort) error {
			return settle(ctx, tx, e.List, e.Robot)
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e CarrierLost) error {
			return tx.Exec(ctx, `UPDATE {lists} SET robot = '' WHERE list = $1 AND robot = $2`, e.List, e.Robot)
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.ShoppingListCompleted) error {
			return show(ctx, tx, e.List, completed, "")
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.ShoppingListCanceled) error {
			return show(ctx, tx, e.List, canceled, "")
		}),
	},
}

func show(ctx context.Context, tx backbone.ViewTx, list string, state phase, robot string) error {
	return tx.Exec(ctx, `UPDATE {lists} SET state = $2, robot = $3 WHERE list = $1`, list, string(state), robot)
}

// settle counts a stop of a list. Each is picked or short once; see report.
func settle(ctx context.Context, tx backbone.ViewTx, list, robot string) error {
	return tx.Exec(ctx, `UPDATE {lists} SET state = $2, robot = $3, settled = settled + 1 WHERE list = $1`, list, string(active), robot)
}

// places shows where the stores are.
var places = backbone.View{
	Name:   "places",
	Inline: true,
	Projections: []backbone.Projection{
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e StorePlaced) error {
			return tx.Exec(ctx, `INSERT INTO {places} AS p (store, x, y) VALUES ($1, $2, $3)
				ON CONFLICT (store) DO UPDATE SET x = excluded.x, y = excluded.y`, e.Store, e.At.X, e.At.Y)
		}),
	},
}
