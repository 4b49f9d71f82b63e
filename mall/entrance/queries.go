package entrance

import (
	"context"
	"fmt"

	"example.org/souk/backbone"
)

// Known returns the customer that a scan is of: whose card it is, or whose id. False means that nobody is known by it; a
// customer of a moment ago may not be yet.
func Known(ctx context.Context, r *backbone.Reader, scanned string) (customer string, known bool, err error) {
	rows, err := r.Query(ctx, `SELECT customer FROM {cards} WHERE card = $1 OR customer = $1
		ORDER BY CASE WHEN card = $1 THEN 0 ELSE 1 END, linked DESC LIMIT 1`, scanned)
	if err != nil {
		return "", false, fmt.Errorf("cards: %w", err)
	}
	defer rows.Close()
	if !rows.Next() {
		return "", false, rows.Err()
	}
	if err := rows.Scan(&customer); err != nil {
		return "", false, fmt.Errorf("cards: %w", err)
	}
	return customer, true, rows.Err()
}
