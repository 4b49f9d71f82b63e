package cli

import (
	"context"
	"fmt"

	"example.org/souk/backbone/sqlitestore"
	"example.org/souk/internal/control"
	"example.org/souk/internal/house"
)

type migrateCommand struct {
	DryRun bool `help:"Only list what would be applied." xor:"what"`
	SQL    bool `help:"Only print all tables as SQL; needs no data directory." name:"sql" xor:"what"`
}

// Help implements kong's long help.
func (migrateCommand) Help() string {
	return `Example:
  souk migrate --dry-run
  souk backup before.db && souk migrate
  souk migrate --sql > tables.sql

"souk up" does it too when it starts. It lists what was applied; doing it again
changes nothing. The SQL notes the versions, so whoever runs it has nothing left to
migrate.`
}

// Run migrates the data directory.
func (c *migrateCommand) Run(ctx context.Context, env Env, r *root) error {
	switch {
	case c.SQL:
		for _, schema := range house.Schemas(house.Parts(house.Ports{}, env.Added...)) {
			text, err := sqlitestore.Script(schema)
			if err != nil {
				return err
			}
			fmt.Fprintf(env.Stdout, "-- %s\n%s", schema.Service, text)
		}
		return nil
	case c.DryRun:
		return r.doOr(ctx, env, "migrate plan", control.Args{}, "nothing to do")
	}
	return r.doOr(ctx, env, "migrate", control.Args{}, "nothing to do")
}
