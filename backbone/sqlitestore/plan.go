package sqlitestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/pressly/goose/v3"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/internal/sqlstore"
)

// Pending is a migration that was not applied to a database.
type Pending struct {
	Service string
	Own     bool   // of the backbone's own tables, not of the service's
	File    string // NNNN_name.sql
}

// Plan lists what Migrate would apply, in its order, and changes nothing. A
// database without tables lacks all of them.
func (s *Store) Plan(ctx context.Context, schemas []driver.Schema) ([]Pending, error) {
	var list []Pending
	for _, schema := range schemas {
		sets, err := migrationsOf(schema)
		if err != nil {
			return nil, fmt.Errorf("plan %s: %w", schema.Service, err)
		}
		for _, set := range sets {
			applied, err := s.applied(ctx, schema.Service+"_"+set.versions)
			if err != nil {
				return nil, fmt.Errorf("plan %s: %w", schema.Service, err)
			}
			names, err := fs.Glob(set.files, "*.sql")
			if err != nil {
				return nil, err
			}
			for _, name := range names {
				version, err := goose.NumericComponent(name)
				if err != nil {
					return nil, fmt.Errorf("migration %s of %s: %w", name, schema.Service, err)
				}
				if !slices.Contains(applied, version) {
					list = append(list, Pending{schema.Service, set.own, name})
				}
			}
		}
	}
	return list, nil
}

// Script returns the tables of a service, the backbone's own and those of its
// migrations, as one text of SQL for people who run their migrations themselves.
// It notes the versions, so that Migrate then finds nothing to do.
func Script(schema driver.Schema) (string, error) {
	sets, err := migrationsOf(schema)
	if err != nil {
		return "", err
	}
	var all string
	for _, set := range sets {
		files, err := sqlstore.Export(goose.DialectSQLite3, set.files, tableName(schema.Service, set.versions), "")
		if err != nil {
			return "", err
		}
		text, err := sqlstore.Script(files)
		if err != nil {
			return "", err
		}
		all += text
	}
	return all, nil
}

// migrationSet is a list of migrations with a table of versions of its own.
type migrationSet struct {
	own      bool
	files    fs.FS
	versions string
}

// migrationsOf returns a service's migrations in the order in which they are applied.
func migrationsOf(schema driver.Schema) ([]migrationSet, error) {
	if err := sqlstore.CheckName(schema.Service); err != nil {
		return nil, err
	}
	name := func(table string) string { return tableName(schema.Service, table) }
	own, err := sqlstore.OwnMigrations(columnTypes, name, name, nil)
	if err != nil {
		return nil, err
	}
	sets := []migrationSet{{true, own, sqlstore.OwnVersions}}
	if schema.Migrations == nil {
		return sets, nil
	}
	files, err := sqlstore.ServiceMigrations(name, schema.Migrations)
	if err != nil {
		return nil, err
	}
	return append(sets, migrationSet{false, files, sqlstore.ServiceVersions}), nil
}

// applied reads a table of versions; one that does not exist is empty.
func (s *Store) applied(ctx context.Context, versions string) (list []int64, err error) {
	exists, err := s.integers(ctx, `SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = $1`, versions)
	if err != nil || exists[0] == 0 {
		return nil, err
	}
	return s.integers(ctx, `SELECT version_id FROM "`+versions+`" WHERE is_applied`)
}

func (s *Store) integers(ctx context.Context, text string, args ...any) (list []int64, err error) {
	rows, err := s.Query(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var n int64
		if err := rows.Scan(&n); err != nil {
			return nil, err
		}
		list = append(list, n)
	}
	return list, rows.Err()
}
