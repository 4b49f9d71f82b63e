package cli

import (
	"context"
	"fmt"

	"example.org/souk/internal/control"
)

type doctorCommand struct {
	HTTP string `help:"Address that the mall is to listen on." default:"127.0.0.1:8080" env:"SOUK_HTTP"`
	Full bool   `help:"Check every page of the database and every seal, however long that takes."`
}

// Help implements kong's long help.
func (doctorCommand) Help() string {
	return `Example:
  souk doctor
  souk doctor --full -o jsonl

It looks at the data directory, the disk, the keys, the port, the clock, the
database, what waits and the seals of the logs, whether the mall runs or not, and
says what to do about what it finds. It exits with 1 if a check fails; a warning
is no failure.`
}

// Run examines the mall.
func (c *doctorCommand) Run(ctx context.Context, env Env, r *root) error {
	t := newTable(env.Stdout, r.Output)
	t.wide = true
	failed := 0
	err := control.Examine(ctx, control.Examination{Data: r.Data, DB: r.DB, HTTP: c.HTTP, Full: c.Full, Added: env.Added}, func(f control.Finding) error {
		if f.State == control.Failed {
			failed++
		}
		return t.add(f)
	})
	if flushed := t.end(); err == nil {
		err = flushed
	}
	if err == nil && failed > 0 {
		err = fmt.Errorf("%d of the checks failed", failed)
	}
	return err
}
