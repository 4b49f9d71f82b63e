package pgstore

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
			for _, text := range []string{
				"DROP TABLE IF EXISTS " + shadow,
				"CREATE TABLE " + shadow + " (LIKE " + live + " INCLUDING ALL)",
			} {
				if _, err := q.Exec(ctx, text); err != nil {
					return fmt.Errorf("shadow of %s: %w", table, err)
				}
			}
		}
		return nil
	})
}

// index is an index of a table, and what it is apart from names.
type index struct{ name, definition string }

func indexes(ctx context.Context, q sqlstore.Conn, service, table string) ([]index, error) {
	r, err := q.Query(ctx, `SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = $1 AND tablename = $2
		ORDER BY indexname`, service, table)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var out []index
	for r.Next() {
		var i index
		if err := r.Scan(&i.name, &i.definition); err != nil {
			return nil, err
		}
		unique := strings.HasPrefix(i.definition, "CREATE UNIQUE ")
		_, definition, ok := strings.Cut(i.definition, " USING ")
		if !ok {
			return nil, fmt.Errorf("index %s: cannot read %s", i.name, i.definition)
		}
		i.definition = fmt.Sprint(unique, definition)
		out = append(out, i)
	}
	return out, r.Err()
}

// Seize implements driver.Rebuilder.
func (s *Store) Seize(ctx context.Context, t driver.Tx, service string, tables, subscriptions []string) ([]driver.Checkpoint, error) {
	if err := s.Check(service); err != nil {
		return nil, err
	}
	own, ok := t.(*tx)
	if !ok || own.s != s {
		return nil, fmt.Errorf("the transaction is not one of this store")
	}
	names := make([]string, len(tables))
	for i, table := range tables {
		names[i] = s.Name(service, table)
	}
	if len(names) > 0 {
		// Before the checkpoints, as batches do. What has read a table may be about to write it, so readers wait too.
		if _, err := own.session.Exec(ctx, "LOCK TABLE "+strings.Join(names, ", ")+" IN ACCESS EXCLUSIVE MODE"); err != nil {
			return nil, err
		}
	}
	return s.Core.Seize(ctx, own.session, service, subscriptions)
}

// SwapShadow implements driver.Rebuilder. Indexes take the names of those that
// they replace.
func (s *Store) SwapShadow(ctx context.Context, t driver.Tx, service string, tables []string) error {
	if err := s.Check(service); err != nil {
		return err
	}
	own, ok := t.(*tx)
	if !ok || own.s != s {
		return fmt.Errorf("the transaction is not one of this store")
	}
	q := own.session
	for _, table := range tables {
		live, shadow := s.Name(service, table), s.Name(service, s.Shadow(table))
		before, err := indexes(ctx, q, service, table)
		if err != nil {
			return err
		}
		after, err := indexes(ctx, q, service, s.Shadow(table))
		if err != nil {
			return err
		}
		statements := []string{"DROP TABLE " + live, "ALTER TABLE " + shadow + " RENAME TO " + plain(table)}
		for _, old := range before {
			for i, now := range after {
				if now.definition == old.definition {
					statements = append(statements, "ALTER INDEX "+s.Name(service, now.name)+" RENAME TO "+plain(old.name))
					after = append(after[:i], after[i+1:]...)
					break
				}
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
