package cli

import (
	"context"
	"strconv"

	"example.org/souk/internal/control"
)

type shoppingCommand struct {
	List shoppingList `cmd:"" help:"Shopping lists that are not done, the oldest first."`
}

type shoppingList struct {
	All   bool   `help:"Those that are done as well, by their ids."`
	After string `help:"With --all: those behind this one."`
	Limit int    `short:"n" default:"100" help:"How many at most."`
}

// Help implements kong's long help.
func (shoppingList) Help() string { return "Example:\n  souk shopping list -o json" }

// Run lists shopping lists.
func (c *shoppingList) Run(ctx context.Context, env Env, r *root) error {
	a := control.Args{"limit": strconv.Itoa(c.Limit), "after": c.After}
	if c.All {
		a["all"] = "yes"
	}
	return r.doOr(ctx, env, "shopping list", a, "No shopping list is like that.")
}
