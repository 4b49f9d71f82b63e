package sqlitestore

import (
	"context"
	"slices"
	"strings"

	"example.org/souk/backbone/driver"
)

// kept are the tables that a reset leaves as they are.
var kept = []string{"bb_head", "bb_checkpoint", "bb_subscription", "bb_value", "bb_version", "bb_service_version"}

// Reset implements driver.Resetter.
func (s *Store) Reset(ctx context.Context, tx driver.Tx, service string) error {
	rows, err := tx.Query(ctx, `SELECT name FROM sqlite_master WHERE type = 'table' AND substr(name, 1, $1) = $2`, int64(len(service)+1), service+"_")
	if err != nil {
		return err
	}
	var statements []driver.Statement
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			_ = rows.Close() // the first error counts
			return err
		}
		table := strings.TrimPrefix(name, service+"_")
		if !slices.ContainsFunc(kept, func(k string) bool { return strings.HasPrefix(table, k) }) {
			statements = append(statements, driver.Statement{SQL: `DELETE FROM "` + name + `"`})
		}
	}
	if err := rows.Close(); err != nil {
		return err
	}
	return tx.Exec(ctx, statements)
}

var _ driver.Resetter = (*Store)(nil)
