package house

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"example.org/souk/backbone"
	"example.org/souk/gateway/door"
)

// RestoreConfig says what is restored and where to. Data and File are required.
type RestoreConfig struct {
	// Data is the directory that becomes a mall's. It is made where it does not exist, and must be empty where it does.
	Data string
	// File is a copy of a database that Backup made.
	File string
	// Keys is a copy of the directory of signing keys, which the backup does not hold; without it the mall makes new ones when
	// it starts, and everybody signs in again.
	Keys string
	// Forgotten is a list of persons who were forgotten since: their keys are destroyed again before the directory has the database. Without it
	// whoever was forgotten since is known again.
	Forgotten Forgotten
	Added     []*backbone.Service
}

// Restored says what a restored directory holds.
type Restored struct {
	Services int   // whose logs were verified
	Verified int64 // sealed records
	Unsealed int64 // younger than the last seals
	Back     int   // persons of the list whose keys were in the backup, and are destroyed
}

// staging is where a restore prepares everything, inside the directory, so that whatever goes wrong leaves no database.
const staging = ".restoring"

// Restore makes the data directory of a mall from a backup. The database is checked as a file and its logs against their seals before the
// directory has it; on an error the directory is as it was.
func Restore(ctx context.Context, c RestoreConfig) (r Restored, err error) {
	if err := isBackup(c.File); err != nil {
		return r, err
	}
	made, err := emptyDirectory(c.Data)
	if err != nil {
		return r, err
	}
	stage := filepath.Join(c.Data, staging)
	if err := os.Mkdir(stage, 0o700); err != nil {
		return r, err
	}
	defer func() {
		if removed := os.RemoveAll(stage); err == nil {
			err = removed
		}
		if err != nil && made {
			_ = os.Remove(c.Data) // it may have been filled by somebody else meanwhile
		}
	}()
	if err := copyFile(ctx, filepath.Join(stage, database), c.File); err != nil {
		return r, err
	}
	if r, err = verifyCopy(ctx, stage, c); err != nil {
		return r, err
	}
	if c.Keys != "" {
		if err := copyKeys(ctx, filepath.Join(stage, "keys"), c.Keys); err != nil {
			return r, err
		}
	}
	return r, moveUp(stage, c.Data)
}

// isBackup refuses what cannot be a whole copy.
func isBackup(file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a file that souk backup made", file)
	}
	if wal, err := os.Stat(file + "-wal"); err == nil && wal.Size() > 0 {
		return fmt.Errorf("%s was copied from under a database in use (%s-wal lies beside it); copy with souk backup", file, filepath.Base(file))
	}
	return nil
}

// emptyDirectory makes a directory, or sees that there is nothing in it.
func emptyDirectory(path string) (made bool, err error) {
	list, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return true, os.MkdirAll(path, 0o700)
	}
	switch {
	case err != nil:
		return false, err
	case len(list) == 0:
		return false, nil
	case list[0].Name() == staging && len(list) == 1:
		return false, fmt.Errorf("%s is where a restore is at work, or was stopped: when none is, remove it", filepath.Join(path, staging))
	}
	return false, fmt.Errorf("%s is not empty (it holds %s); restore into a directory of its own", path, list[0].Name())
}

// verifyCopy opens the copy as a mall that does not run, checks it, and keeps the heads of its seals.
func verifyCopy(ctx context.Context, stage string, c RestoreConfig) (r Restored, err error) {
	h, err := Open(ctx, Config{Data: stage, Quiet: true, Added: c.Added, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return r, fmt.Errorf("%s cannot be opened as a mall's database: %w", c.File, err)
	}
	defer func() {
		err = errors.Join(err, h.Stop(context.WithoutCancel(ctx)), os.Remove(filepath.Join(stage, database+".lock")))
	}()
	if err := h.integrity(ctx); err != nil {
		return r, fmt.Errorf("%s: %w", c.File, err)
	}
	has, err := h.value(ctx, `SELECT count(*) FROM sqlite_master WHERE name = 'orders_bb_log'`)
	if err != nil {
		return r, err
	}
	if has == "0" {
		return r, fmt.Errorf("%s holds no mall", c.File)
	}
	if err := h.Migrate(ctx); err != nil {
		return r, err
	}
	for _, name := range h.Runtime.Services() {
		report, err := h.Runtime.Reader(name).Verify(ctx, backbone.Seal{})
		if err != nil {
			return r, fmt.Errorf("%s: %w", c.File, err)
		}
		if report.Seals > 0 {
			if err := h.keepHead(name, report.Head); err != nil {
				return r, err
			}
		}
		r.Services, r.Verified, r.Unsealed = r.Services+1, r.Verified+report.Records, r.Unsealed+report.Unsealed
	}
	if _, r.Back, err = h.ForgetAgain(ctx, c.Forgotten); err != nil {
		return r, err
	}
	return r, h.listForgotten(ctx, c.Forgotten)
}

// listForgotten begins the list of a directory: with all that another list has, and whoever is forgotten here.
func (h *House) listForgotten(ctx context.Context, also Forgotten) error {
	list, err := h.WhoIsForgotten(ctx)
	if err != nil {
		return err
	}
	maps.Copy(list, also)
	if len(list) == 0 {
		return nil
	}
	var text strings.Builder
	for _, hash := range slices.Sorted(maps.Keys(list)) {
		text.WriteString(forgottenLine(hash, list[hash]))
	}
	return newFile(filepath.Join(h.cfg.Data, forgottenFile), strings.NewReader(text.String()))
}

// integrity has SQLite look at every page of the database.
func (h *House) integrity(ctx context.Context) error {
	found, err := h.value(ctx, `PRAGMA integrity_check(1)`)
	if err == nil && found != "ok" {
		err = fmt.Errorf("the database is damaged: %s", found)
	}
	return err
}

// value returns the first column of a query's first row as text.
func (h *House) value(ctx context.Context, sql string) (value string, err error) {
	rows, err := h.stores.shared.Query(ctx, sql)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	if rows.Next() {
		if err := rows.Scan(&value); err != nil {
			return "", err
		}
	}
	return value, rows.Err()
}

// copyKeys copies signing keys and what was revoked, and sees that they can be used.
func copyKeys(ctx context.Context, to, from string) error {
	list, err := os.ReadDir(from)
	if err != nil {
		return fmt.Errorf("signing keys: %w", err)
	}
	if err := os.Mkdir(to, 0o700); err != nil {
		return err
	}
	copied := 0
	for _, f := range list {
		if f.Type().IsRegular() && filepath.Ext(f.Name()) == ".json" {
			if err := copyFile(ctx, filepath.Join(to, f.Name()), filepath.Join(from, f.Name())); err != nil {
				return fmt.Errorf("signing keys: %w", err)
			}
			copied++
		}
	}
	if copied == 0 {
		return fmt.Errorf("%s holds no signing keys", from)
	}
	_, err = door.OpenAuthority(to, clock{})
	return err
}

// moveUp gives the directory what was prepared, the database last: without it there is no mall.
func moveUp(stage, data string) error {
	list, err := os.ReadDir(stage)
	if err != nil {
		return err
	}
	for _, f := range list {
		if f.Name() == database {
			continue
		}
		if err := os.Rename(filepath.Join(stage, f.Name()), filepath.Join(data, f.Name())); err != nil {
			return err
		}
	}
	// A link, unlike a rename, does not replace the database of a mall that was started here meanwhile.
	if err := os.Link(filepath.Join(stage, database), filepath.Join(data, database)); err != nil {
		return err
	}
	return syncDirectory(data)
}

// copyFile copies a file to a new one, as newFile makes it.
func copyFile(ctx context.Context, to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	return newFile(to, cancellable{ctx, in})
}

// newFile makes a file that only its owner can read, and flushes it.
func newFile(to string, from io.Reader) error {
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err = io.Copy(out, from); err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}

// cancellable is a reader that ends with its context.
type cancellable struct {
	ctx context.Context //nolint:containedctx // it lives as long as one copy
	io.Reader
}

// Read implements io.Reader.
func (c cancellable) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.Reader.Read(p)
}

func syncDirectory(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
