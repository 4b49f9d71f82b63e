package cli

import (
	"context"

	"example.org/souk/internal/control"
	"example.org/souk/internal/house"
)

type restoreCommand struct {
	File string `arg:"" type:"path" help:"What souk backup made."`
	Keys string `help:"Copy of the folder keys of the data directory that was backed up." type:"existingdir" placeholder:"DIR"`
}

// Help implements kong's long help.
func (restoreCommand) Help() string {
	return `Example:
  souk --data ./souk-again restore /backups/souk-monday.db --keys /vault/souk-keys
  souk --data ./souk-again up

The data directory must be empty or not exist, and no mall may run there. The copy
is checked page by page, and its logs against their seals, before the directory has
it; if anything is wrong the directory stays as it was.

Keys that sign tokens are not in a backup. With --keys tokens and sessions that were
issued before hold on; without, new keys are made and everybody signs in again.
Keys of persons are in the backup: whoever was forgotten after it was taken is known
again, so have them forgotten again. What happened outside after it was taken (money
that was moved, mail that was sent) has happened; the mall may ask for it once more,
under the same keys. The ledger of the payment stand-in is not the mall's and is not
in the backup.`
}

// Run restores a backup.
func (c *restoreCommand) Run(ctx context.Context, env Env, r *root) error {
	if control.Running(ctx, r.Data) {
		return control.ErrRunning
	}
	done, err := house.Restore(ctx, house.RestoreConfig{Data: r.Data, File: c.File, Keys: c.Keys, Added: env.Added})
	if err != nil {
		return err
	}
	keys := "kept"
	if c.Keys == "" {
		keys = "made at the next start"
	}
	t := newTable(env.Stdout, r.Output)
	if err := t.add(struct {
		Directory string `json:"directory"`
		Services  int    `json:"services"`
		Verified  int64  `json:"verified"`
		Unsealed  int64  `json:"unsealed"`
		Keys      string `json:"signingKeys"`
	}{r.Data, done.Services, done.Verified, done.Unsealed, keys}); err != nil {
		return err
	}
	return t.end()
}
