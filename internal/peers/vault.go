package peers

import (
	"context"
	"errors"
	"fmt"

	"example.org/souk/backbone/driver"
)

// Vault keeps secrets in the database that the processes share. Safe for concurrent use.
type Vault struct{ store driver.Store }

// NewVault returns the vault of a database.
func NewVault(store driver.Store) Vault { return Vault{store} }

// Where says for people where a secret is.
func (v Vault) Where(name string) string {
	return fmt.Sprintf("%q in %s", name, v.store.Name(schemaName, "secret"))
}

// Read returns what stands under a name; nil where nothing does.
func (v Vault) Read(ctx context.Context, name string) ([]byte, error) {
	return read(ctx, v.store.Query, v.store.Name(schemaName, "secret"), name)
}

func read(ctx context.Context, query func(context.Context, string, ...any) (driver.Rows, error), table, name string) (_ []byte, err error) {
	rows, err := query(ctx, `SELECT value FROM `+table+` WHERE name = $1`, name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	if !rows.Next() {
		return nil, rows.Err()
	}
	var value string
	if err := rows.Scan(&value); err != nil {
		return nil, err
	}
	if value == "" { // a change of it was given up
		return nil, nil
	}
	return []byte(value), nil
}

// Change replaces what stands under a name by what change makes of it; nobody else's change comes between.
func (v Vault) Change(ctx context.Context, name string, change func(old []byte) ([]byte, error)) (err error) {
	table := v.store.Name(schemaName, "secret")
	tx, err := v.store.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, tx.Rollback())
		}
	}()
	// The row is written before it is read, so that it is locked on every database, and there to be locked.
	if err := tx.Exec(ctx, []driver.Statement{{
		SQL:  `INSERT INTO ` + table + ` AS s (name, value) VALUES ($1, '') ON CONFLICT (name) DO UPDATE SET value = s.value`,
		Args: []any{name},
	}}); err != nil {
		return err
	}
	old, err := read(ctx, tx.Query, table, name)
	if err != nil {
		return err
	}
	value, err := change(old)
	if err != nil {
		return err
	}
	if err := tx.Exec(ctx, []driver.Statement{{
		SQL: `UPDATE ` + table + ` SET value = $2 WHERE name = $1`, Args: []any{name, string(value)},
	}}); err != nil {
		return err
	}
	return tx.Commit(ctx)
}
