package cli

import (
	"context"
	"fmt"
	"os"

	"example.org/souk/internal/control"
	"example.org/souk/internal/house"
)

type restoreCommand struct {
	File      string `arg:"" type:"path" help:"What souk backup made."`
	Keys      string `help:"Copy of the folder keys of the data directory that was backed up." type:"existingdir" placeholder:"DIR"`
	Forgotten string `help:"List of who was forgotten since the backup was taken, as souk customer forgotten prints it and forgotten.txt of a data directory is." type:"existingfile" placeholder:"FILE"`
}

// Help implements kong's long help.
func (restoreCommand) Help() string {
	return `Example:
  souk --data ./souk-again restore /backups/souk-monday.db --keys /vault/souk-keys --forgotten ./souk-data/forgotten.txt
  souk --data ./souk-again up

The data directory must be empty or not exist, and no mall may run there. The copy
is checked page by page, and its logs against their seals, before the directory has
it; if anything is wrong the directory stays as it was.

Keys that sign tokens are not in a backup. With --keys tokens and sessions that were
issued before hold on; without, new keys are made and everybody signs in again.
Keys of persons are in the backup: with --forgotten those of who was forgotten after it
was taken are destroyed again before the directory has it, and at the next start the
mall forgets them as customers; without, they are known again. What happened outside after it was taken (money
that was moved, mail that was sent) has happened; the mall may ask for it once more,
under the same keys. The ledger of the payment stand-in is not the mall's and is not
in the backup.`
}

// Run restores a backup.
func (c *restoreCommand) Run(ctx context.Context, env Env, r *root) error {
	if control.Running(ctx, r.Data) {
		return control.ErrRunning
	}
	config := house.RestoreConfig{Data: r.Data, File: c.File, Keys: c.Keys, Added: env.Added}
	forgotten := "nobody, without a list"
	if c.Forgotten != "" {
		var err error
		if config.Forgotten, err = readForgotten(c.Forgotten); err != nil {
			return err
		}
	}
	done, err := house.Restore(ctx, config)
	if err != nil {
		return err
	}
	if c.Forgotten != "" {
		forgotten = fmt.Sprint(done.Back)
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
		Forgotten string `json:"forgottenAgain"`
	}{r.Data, done.Services, done.Verified, done.Unsealed, keys, forgotten}); err != nil {
		return err
	}
	return t.end()
}

// readForgotten reads a list of who was forgotten.
func readForgotten(path string) (house.Forgotten, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return house.ReadForgotten(f)
}
