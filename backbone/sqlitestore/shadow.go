package sqlitestore

import (
	"context"
	"fmt"
	"strings"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/internal/sqlstore"
)

// Shadow implements driver.Rebuilder.
func (s *Store) Shadow(table string) string { return "shadow_" + table }

// CreateShadow implements driver.Rebuilder.
func (s *Store) CreateShadow(ctx context.Context, service string, tables []string) error {
	if err := s.Check(service); err != nil {
		return err
	}
	return s.Update(ctx, func(q sqlstore.Conn) error {
		for _, table := range tables {
			live, shadow := s.Name(service, table), s.Name(service, s.Shadow(table))
			if _, err := q.Exec(ctx, "DROP TABLE IF EXISTS "+shadow); err != nil {
				return err
			}
			definitions, err := definitions(ctx, q, service+"_"+table)
			if err != nil {
				return err
			}
			if len(definitions) == 0 {
				return fmt.Errorf("service %s has no table %s", service, table)
			}
			for _, d := range definitions {
				text := strings.Replace(d.sql, live, shadow, 1)
				if d.index != "" {
					text = strings.Replace(text, quote(d.index), quote(shadowIndex(d.index)), 1)
				}
				if text == d.sql {
					return fmt.Errorf("table %s: a definition does not name it in braces: %s", table, d.sql)
				}
				if _, err := q.Exec(ctx, text); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func shadowIndex(name string) string { return name + "_shadow" }

// definition is the SQL of a table, or of one of its indexes.
type definition struct{ index, sql string }

// definitions returns a table's SQL, then that of its named indexes.
func definitions(ctx context.Context, q sqlstore.Conn, table string) ([]definition, error) {
	rows, err := q.Query(ctx, `SELECT CASE type WHEN 'index' THEN name ELSE '' END, sql FROM sqlite_schema
		WHERE tbl_name = $1 AND type IN ('table', 'index') AND sql IS NOT NULL ORDER BY type = 'index', name`, table)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []definition
	for rows.Next() {
		var d definition
		if err := rows.Scan(&d.index, &d.sql); err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, rows.Err()
}

// Seize implements driver.Rebuilder.
func (s *Store) Seize(ctx context.Context, t driver.Tx, service string, _, subscriptions []string) ([]driver.Checkpoint, error) {
	if err := s.Check(service); err != nil {
		return nil, err
	}
	own, ok := t.(*tx)
	if !ok || own.s != s {
		return nil, fmt.Errorf("the transaction is not one of this store")
	}
	return s.Core.Seize(ctx, own.Conn, service, subscriptions)
}

// SwapShadow implements driver.Rebuilder. SQLite cannot rename an index, so the
// named ones are built again under their own names: about a second for a million
// rows.
func (s *Store) SwapShadow(ctx context.Context, t driver.Tx, service string, tables []string) error {
	if err := s.Check(service); err != nil {
		return err
	}
	own, ok := t.(*tx)
	if !ok || own.s != s {
		return fmt.Errorf("the transaction is not one of this store")
	}
	q := own.Conn
	for _, table := range tables {
		live, shadow := s.Name(service, table), s.Name(service, s.Shadow(table))
		before, err := definitions(ctx, q, service+"_"+table)
		if err != nil {
			return err
		}
		statements := []string{"DROP TABLE " + live, "ALTER TABLE " + shadow + " RENAME TO " + live}
		for _, d := range before {
			if d.index != "" {
				statements = append(statements, "DROP INDEX IF EXISTS "+quote(shadowIndex(d.index)), d.sql)
			}
		}
		for _, text := range statements {
			if _, err := q.Exec(ctx, text); err != nil {
				return fmt.Errorf("swap %s: %w", table, err)
			}
		}
	}
	return nil
}

// DropShadow implements driver.Rebuilder.
func (s *Store) DropShadow(ctx context.Context, service string, tables []string) error {
	if err := s.Check(service); err != nil {
		return err
	}
	return s.Update(ctx, func(q sqlstore.Conn) error {
		for _, table := range tables {
			if _, err := q.Exec(ctx, "DROP TABLE IF EXISTS "+s.Name(service, s.Shadow(table))); err != nil {
				return err
			}
		}
		return nil
	})
}
