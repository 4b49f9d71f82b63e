package cli

import (
	"context"
	"errors"
	"fmt"

	"example.org/souk/backbone/sqlitestore"
	"example.org/souk/internal/control"
	"example.org/souk/internal/house"
)

type migrateCommand struct {
	DryRun bool   `help:"Only list what would be applied." xor:"what"`
	Roles  string `help:"Then give each service's tables on PostgreSQL to a role of its own, named PREFIX_SERVICE, which reads no other service's but the logs. Needs --db with the address of an administrator." xor:"what" placeholder:"PREFIX"`
	SQL    bool   `help:"Only print all tables as SQL; needs no data directory." name:"sql" xor:"what"`
}

// Help implements kong's long help.
func (migrateCommand) Help() string {
	return `Example:
  souk migrate --dry-run
  souk backup before.db && souk migrate
  souk migrate --sql > tables.sql
  souk --db postgres://admin@localhost/mall migrate --roles souk

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
	case c.Roles != "":
		if r.DB == "" {
			return usageError{errors.New("roles are for PostgreSQL: name the database with --db")}
		}
		return r.do(ctx, env, "migrate roles", control.Args{"prefix": c.Roles})
	case c.DryRun:
		return r.doOr(ctx, env, "migrate plan", control.Args{}, "nothing to do")
	}
	return r.doOr(ctx, env, "migrate", control.Args{}, "nothing to do")
}
