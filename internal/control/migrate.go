package control

import (
	"context"
	"errors"

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

// grantRoles brings the tables up to date, gives each service's to a role of its own, and prints which.
func grantRoles(ctx context.Context, h *house.House, a Args, emit Emit) error {
	if err := h.Migrate(ctx); err != nil {
		return err
	}
	list, err := h.GrantRoles(ctx, a["prefix"])
	for _, granted := range list {
		err = errors.Join(err, emit(granted))
	}
	return err
}

// missing lists what the database lacks.
func missing(ctx context.Context, h *house.House) ([]house.Pending, error) {
	return h.Lacks(ctx)
}

func emitPending(list []house.Pending, emit Emit) error {
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
