package control

import (
	"context"

	"example.org/souk/backbone/sqlitestore"
	"example.org/souk/internal/house"
)

// pending is a migration that the database lacks.
type pending struct {
	Service   string `json:"service"`
	Tables    string `json:"tables"` // backbone or service
	Migration string `json:"migration"`
}

// planMigrations prints what migrate would apply.
func planMigrations(ctx context.Context, h *house.House, _ Args, emit Emit) error {
	list, err := missing(ctx, h)
	if err != nil {
		return err
	}
	return emitPending(list, emit)
}

// migrate brings the tables up to date and prints what it applied.
func migrate(ctx context.Context, h *house.House, _ Args, emit Emit) error {
	list, err := missing(ctx, h)
	if err != nil {
		return err
	}
	if err := h.Migrate(ctx); err != nil {
		return err
	}
	return emitPending(list, emit)
}

// missing lists what the database lacks.
func missing(ctx context.Context, h *house.House) ([]sqlitestore.Pending, error) {
	store, err := h.SQLite()
	if err != nil {
		return nil, err
	}
	return store.Plan(ctx, house.Schemas(h.Runtime.Parts()))
}

func emitPending(list []sqlitestore.Pending, emit Emit) error {
	for _, p := range list {
		tables := "service"
		if p.Own {
			tables = "backbone"
		}
		if err := emit(pending{p.Service, tables, p.File}); err != nil {
			return err
		}
	}
	return nil
}
