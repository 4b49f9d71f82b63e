package sqlitestore

import (
	"context"
	"errors"
	"fmt"

	"github.com/pressly/goose/v3"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/internal/sqlstore"
)

// Pending is a migration that was not applied to a database.
type Pending = sqlstore.Pending

// Plan lists what Migrate would apply, in its order, and changes nothing. A
// database without tables lacks all of them.
func (s *Store) Plan(ctx context.Context, schemas []driver.Schema) ([]Pending, error) {
	var list []Pending
	for _, schema := range schemas {
		sets, err := migrationsOf(schema)
		if err != nil {
			return nil, fmt.Errorf("plan %s: %w", schema.Service, err)
		}
		lacks, _, err := s.lacking(ctx, schema.Service, sets)
		if err != nil {
			return nil, err
		}
		list = append(list, lacks...)
	}
	return list, nil
}

// lacking lists what is to be applied of a service's migrations, and reports whether none of them was.
func (s *Store) lacking(ctx context.Context, service string, sets []sqlstore.MigrationSet) (lacks []Pending, isNew bool, err error) {
	return sqlstore.Plan(service, sets, func(versions string) ([]int64, error) { return s.applied(ctx, service+"_"+versions) })
}

// Script returns the tables of a service, the backbone's own and those of its
// migrations, as one text of SQL for people who run their migrations themselves.
// It notes the versions, so that Migrate then finds nothing to do.
func Script(schema driver.Schema) (string, error) {
	sets, err := migrationsOf(schema)
	if err != nil {
		return "", err
	}
	return sqlstore.Script(goose.DialectSQLite3, sets, func(versions string) string { return tableName(schema.Service, versions) })
}

// migrationsOf returns a service's migrations in the order in which they are applied.
func migrationsOf(schema driver.Schema) ([]sqlstore.MigrationSet, error) {
	if err := sqlstore.CheckName(schema.Service); err != nil {
		return nil, err
	}
	name := func(table string) string { return tableName(schema.Service, table) }
	own, err := sqlstore.OwnMigrations(columnTypes, name, name, nil)
	if err != nil {
		return nil, err
	}
	sets := []sqlstore.MigrationSet{{Own: true, Files: own, Versions: sqlstore.OwnVersions}}
	if schema.Migrations == nil {
		return sets, nil
	}
	files, err := sqlstore.ServiceMigrations(name, schema.Migrations)
	if err != nil {
		return nil, err
	}
	return append(sets, sqlstore.MigrationSet{Files: files, Versions: sqlstore.ServiceVersions}), nil
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
